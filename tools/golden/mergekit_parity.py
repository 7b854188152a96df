#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs recipes by mergekit and by ingot on tiny models of several families, side by side.

    tools/golden/mergekit_parity.py --ingot build/cli/ingot          (mergekit 0.1.5, transformers 5.24, torch 2.15)

The subjects are those of mergekit's own tests: every method, filters and gradients, numbers written as text, stacks of
slices, casts, vocabularies; the recipes are ours. Compared: names and shapes of all tensors, relative L2 over all of the
model, dtypes, and the config keys that a merge decides. A recipe that mergekit refuses must be refused. Random methods are
run with every element kept; what they draw is each program's own.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
import yaml
from safetensors.torch import load_file

SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "vocab_size": 64, "max_position_embeddings": 64, "tie_word_embeddings": False}
FAMILIES = {
    "llama": (transformers.LlamaForCausalLM, transformers.LlamaConfig(**SMALL)),
    "mistral": (transformers.MistralForCausalLM, transformers.MistralConfig(**SMALL)),
    "qwen2": (transformers.Qwen2ForCausalLM, transformers.Qwen2Config(**SMALL)),
    "qwen3": (transformers.Qwen3ForCausalLM, transformers.Qwen3Config(**SMALL, head_dim=8)),
    "granite": (transformers.GraniteForCausalLM, transformers.GraniteConfig(**SMALL)),
    "phi3": (transformers.Phi3ForCausalLM, transformers.Phi3Config(**SMALL, pad_token_id=0)),
    "gemma2": (transformers.Gemma2ForCausalLM, transformers.Gemma2Config(**dict(SMALL, tie_word_embeddings=True), head_dim=8)),
    "gpt2": (transformers.GPT2LMHeadModel, transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=64, n_positions=64)),
}
PAIR = "models:\n  - {model: A, parameters: {weight: 0.6}}\n  - {model: B, parameters: {weight: 0.4}}\n"
LIST = "models:\n  - model: A\n  - model: B\n"
TASK = "models:\n  - {model: A, parameters: {weight: 0.6, density: 0.3}}\n  - {model: B, parameters: {weight: 0.4, density: 0.7}}\nbase_model: C\n"
STACK = "slices:\n  - sources: [{model: A, layer_range: [0, 2]}]\n  - sources: [{model: B, layer_range: [0, 2]%s}]\nmerge_method: passthrough\n"
RECIPES = {
    "copy": "merge_method: passthrough\nmodels: [{model: A}]\n",
    "linear": "merge_method: linear\n" + PAIR,
    "linear as text": "merge_method: linear\nmodels:\n  - {model: A, parameters: {weight: '6e-1'}}\n  - {model: B, parameters: {weight: 4e-1}}\n",
    "linear by filter": "merge_method: linear\nmodels:\n  - model: A\n    parameters:\n      weight:\n        - {filter: mlp, value: [0, 1]}\n        - value: 0.5\n"
                        "  - {model: B, parameters: {weight: 0.5}}\n",
    "linear of zero weights": "merge_method: linear\nmodels:\n  - {model: A, parameters: {weight: 0}}\n  - {model: B, parameters: {weight: 1}}\n",
    "slerp": "merge_method: slerp\nbase_model: A\n" + LIST + "parameters: {t: 0.35}\n",
    "slerp by gradient": "merge_method: slerp\nbase_model: A\n" + LIST + "parameters: {t: [{filter: self_attn, value: [0, 0.5, 1]}, {filter: mlp, value: [1, 0]}, {value: 0.5}]}\n",
    "nuslerp": "merge_method: nuslerp\n" + PAIR,
    "nuslerp rows, base": "merge_method: nuslerp\nbase_model: C\nparameters: {nuslerp_row_wise: true, nuslerp_flatten: false}\n" + PAIR,
    "multislerp": "merge_method: multislerp\n" + PAIR,
    "karcher": "merge_method: karcher\n" + LIST,
    "task_arithmetic": "merge_method: task_arithmetic\nbase_model: C\n" + PAIR,
    "task_arithmetic, lambda": "merge_method: task_arithmetic\nbase_model: C\nparameters: {lambda: 1.5, normalize: true}\n" + PAIR,
    "ties": "merge_method: ties\n" + TASK,
    "ties, one element": "merge_method: ties\nbase_model: C\nmodels:\n  - {model: A, parameters: {weight: 1, density: 0.0001}}\n",
    "breadcrumbs": "merge_method: breadcrumbs\nparameters: {gamma: 0.05}\n" + TASK,
    "breadcrumbs_ties": "merge_method: breadcrumbs_ties\nparameters: {gamma: 0.1}\n" + TASK,
    "dare_ties, all kept": "merge_method: dare_ties\nbase_model: C\nmodels:\n  - {model: A, parameters: {weight: 0.6, density: 1.0}}\n  - {model: B, parameters: {weight: 0.4, density: 1.0}}\n",
    "della, bad epsilon": "merge_method: della\nparameters: {epsilon: 0.5}\n" + TASK,
    "sce": "merge_method: sce\nbase_model: C\nparameters: {select_topk: 0.5}\n" + LIST,
    "ram": "merge_method: ram\nbase_model: C\n" + LIST,
    "ramplus_tl": "merge_method: ramplus_tl\nbase_model: C\n" + LIST,
    "model_stock": "merge_method: model_stock\nbase_model: C\n" + LIST,
    "model_stock, rows": "merge_method: model_stock\nbase_model: C\nparameters: {filter_wise: true}\n" + LIST,
    "nearswap": "merge_method: nearswap\nbase_model: C\nmodels: [{model: A}]\nparameters: {t: 1.0e-4}\n",
    "stack": STACK % "",
    "stack, o_proj 0": STACK % ", parameters: {scale: [{filter: o_proj, value: 0.0}, {value: 1.0}]}",
    "out_dtype": "merge_method: linear\nout_dtype: float16\n" + PAIR,
    "dtype": "merge_method: linear\ndtype: bfloat16\n" + PAIR,
}
# bfloat16 is summed by mergekit in bfloat16, by ingot in f32: one rounding each
BOUND = {"dtype": 6e-3, "out_dtype": 3e-4}
CONFIG_KEYS = ["architectures", "model_type", "num_hidden_layers", "n_layer", "vocab_size", "torch_dtype", "dtype"]


def make_models(folder, make, config):
    for i, name in enumerate("CAB"):  # A and B are finetunes of C
        torch.manual_seed(5)
        model = make(config).float()
        torch.manual_seed(50 + i)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.02 * torch.randn_like(p))
                if i:
                    p.add_(0.006 * torch.randn_like(p))
        model.save_pretrained(folder / name, safe_serialization=True)


def run_mergekit(text, out):
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    run_merge(MergeConfiguration.model_validate(yaml.safe_load(text)), str(out),
              MergeOptions(copy_tokenizer=False, write_model_card=False, quiet=True, allow_crimes=False))


def load(folder):
    return {k: v for shard in folder.glob("*.safetensors") for k, v in load_file(shard).items()}


def differences(theirs, ours, bound):
    a, b = load(theirs), load(ours)
    if a.keys() != b.keys():
        yield f"names: {sorted(a.keys() ^ b.keys())[:4]}"
        return
    apart = size = 0.0
    for name in a:
        if a[name].shape != b[name].shape or a[name].dtype != b[name].dtype:
            yield f"{name}: {a[name].dtype} {list(a[name].shape)}, ours {b[name].dtype} {list(b[name].shape)}"
            return
        if b[name].isnan().any():
            yield f"{name}: NaN"
        apart += float((a[name].double() - b[name].double()).square().sum())
        size += float(a[name].double().square().sum())
    if not apart <= bound ** 2 * size:
        yield f"{(apart / size) ** 0.5:.2e} relative, at most {bound:.0e}"
    one, two = (json.loads((f / "config.json").read_text()) for f in (theirs, ours))
    for key in CONFIG_KEYS:
        if one.get(key) != two.get(key):
            yield f"config {key}: {one.get(key)}, ours {two.get(key)}"


def compare(folder, name, text, ingot):
    for model in "ABC":
        for end in "\n,}":
            text = text.replace(f"model: {model}{end}", f"model: {folder / model}{end}")
    theirs, ours, recipe = folder / "theirs", folder / "ours", folder / "recipe.yaml"
    recipe.write_text(text)
    try:
        run_mergekit(text, theirs)
        refused = None
    except Exception as error:  # whatever it is
        refused = error
    got = subprocess.run([ingot, "merge", str(recipe), str(ours), "-q"], capture_output=True, text=True)
    if refused or got.returncode:
        if refused and got.returncode:
            return "both refuse", True
        if refused and "validate_layer_type" in str(refused):
            layers = json.loads((ours / "config.json").read_text())
            good = len(layers["layer_types"]) == layers["num_hidden_layers"] == 4
            return "mergekit leaves layer_types as it was, and fails; ingot's has an entry a layer", good
        if not refused and "matches no tensor" in got.stderr:
            return "ingot refuses a filter that matches nothing, mergekit ignores it", True
        return f"mergekit: {str(refused).splitlines()[:1]}; ingot: {got.stderr.strip()}", False
    found = list(differences(theirs, ours, BOUND.get(name, 1e-6)))
    return "; ".join(found) or "same", not found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ingot", required=True)
    parser.add_argument("--family", action="append", choices=FAMILIES)
    parser.add_argument("--recipe", action="append", choices=RECIPES)
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    bad = 0
    for family in args.family or FAMILIES:
        with tempfile.TemporaryDirectory() as base:
            make_models(pathlib.Path(base), *FAMILIES[family])
            for name in args.recipe or RECIPES:
                with tempfile.TemporaryDirectory() as work:
                    for model in "ABC":
                        (pathlib.Path(work) / model).symlink_to(pathlib.Path(base) / model)
                    said, good = compare(pathlib.Path(work), name, RECIPES[name], args.ingot)
                bad += not good
                if not good or said != "same":
                    print(f"{family}, {name}: {said}", flush=True)
    print(f"{bad} differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
