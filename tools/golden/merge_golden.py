#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/merge/: small inputs, recipes, and what the reference programs make of them.

    tools/golden/merge_golden.py yoyo --old old.py --new new.py     (torch, numpy, safetensors)
    tools/golden/merge_golden.py mergekit                           (mergekit 0.1.5)
    tools/golden/merge_golden.py methods                            (mergekit 0.1.5: geometry, tasks, stepwise)
    tools/golden/merge_golden.py yoyo_scale --author YOYO-Scale.py  (commit 5104460)

NAME.safetensors holds "in.MODEL.TENSOR" and "out.CASE.TENSOR"; NAME.json the cases: parameters (the recipe's
own text, {N} standing for the path of model N), models, base, bound (relative L2). yoyo: the author's program
with its arithmetic widened to float64, see yoyo_parity.py. mergekit: mergekit-yaml on Qwen3 models of three
tiny layers, f32.
"""
import argparse
import itertools
import json
import pathlib
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/merge"


def store(tensor):
    return (tensor if tensor.dtype == torch.bfloat16 else tensor.float()).contiguous()


def write(name, inputs, outputs, cases):
    OUT.mkdir(parents=True, exist_ok=True)
    tensors = {f"in.{m}.{k}": v.contiguous() for m, model in enumerate(inputs) for k, v in model.items()}
    tensors |= {f"out.{c}.{k}": store(v) for c, result in enumerate(outputs) for k, v in result.items()}
    save_file(tensors, OUT / f"{name}.safetensors")
    (OUT / f"{name}.safetensors").chmod(0o644)
    (OUT / f"{name}.json").write_text(json.dumps({"cases": cases}, indent=1) + "\n")
    print(f"{len(cases)} cases, {(OUT / (name + '.safetensors')).stat().st_size} bytes")


# ---- yoyo ----

def yoyo_inputs():
    generator = torch.Generator().manual_seed(5)
    shapes = {"model.layers.0.mlp.up_proj.weight": (10, 16), "model.norm.weight": (17,), "lm_head.weight": (3, 3)}
    base = {k: 0.02 * torch.randn(s, generator=generator) for k, s in shapes.items()}
    models = [{k: v + 0.004 * (1 + i) * torch.randn(v.shape, generator=generator) for k, v in base.items()} for i in range(5)]
    return [{k: v.to(torch.bfloat16).float() for k, v in m.items()} for m in models]


def yoyo_cases():
    for k, center in itertools.product((2, 3, 4, 5), ("geometric_median", "coordinate_median", "anchor")):
        yield k, "2025-10", center, {}
        yield k, "2026-01", center, {}
    for center in ("geometric_median", "coordinate_median"):
        yield 3, "2025-10", center, {"truncate": "false"}
        yield 3, "2026-01", center, {"z_start": "zero"}
        yield 3, "2026-01", center, {"matrix_boost": "true"}
        yield 3, "2026-01", center, {"sign_align": "{1}"}
    yield 2, "2026-01", "anchor", {"matrix_boost": "true"}


def converged(author, tensors):
    """Whether the author's Weiszfeld, which stops after 100 rounds or at a step of 1e-6, is at its limit."""
    rows = torch.stack([t.double().flatten() for t in tensors])
    u = rows / (rows.square().mean(1, keepdim=True).add(1e-8).sqrt().clamp(min=1e-6) + 1e-8)
    near, far = author.geometric_median(u), author.geometric_median(u, max_iter=100000, tol=1e-14)
    return ((near - far).norm() / far.norm()).item() < 2e-7


def make_yoyo(args):
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import yoyo_parity

    authors = {"2025-10": yoyo_parity.load_author(args.old, True), "2026-01": yoyo_parity.load_author(args.new, True)}
    inputs, outputs, cases = yoyo_inputs(), [], []
    for k, variant, center, extra in yoyo_cases():
        result, bound = {}, 2e-6
        for name in inputs[0]:
            tensors = [m[name] for m in inputs[:k]]
            options = dict(extra)
            if "sign_align" in options:
                options["sign_align"] = 2
            result[name] = yoyo_parity.run_author(authors[variant], tensors, name, variant, center, options)
            if center == "geometric_median" and k > 2 and not converged(authors[variant], tensors):
                bound = 2e-5
        if "matrix_boost" in extra:
            bound = 1e-4
        lines = [f'variant: "{variant}"', f"center: {center}"] + [f"{key}: {value}" for key, value in extra.items()]
        recipe = "merge_method: yoyo_fusion\nmodels:\n" + "".join(f"  - model: {{{i}}}\n" for i in range(k))
        recipe += "base_model: {0}\n" * (center == "anchor") + "parameters:\n" + "".join(f"  {line}\n" for line in lines)
        outputs.append(result)
        cases.append({"recipe": recipe, "bound": bound})
    write("yoyo", inputs, outputs, cases)


# ---- mergekit ----

LINEAR = "merge_method: linear\nmodels:\n"
MERGEKIT = [
    LINEAR + "  - model: {0}\n    parameters: {weight: 0.6}\n  - model: {1}\n    parameters: {weight: 0.4}\n",
    LINEAR + "  - model: {0}\n    parameters: {weight: 3}\n  - model: {1}\n    parameters: {weight: 1}\n  - model: {2}\n"
    "parameters: {weight: 0.5}\n",
    LINEAR + "  - model: {0}\n    parameters: {weight: 0.7}\n  - model: {1}\n    parameters: {weight: 0.7}\nparameters: {normalize: false}\n",
    LINEAR + "  - model: {0}\n    parameters:\n      weight:\n        - filter: mlp\n          value: [0, 0.25, 1]\n        - value: 0.8\n"
    "  - model: {1}\n    parameters:\n      weight:\n        - filter: self_attn\n          value: [1.0, 0.5]\n        - filter: norm\n          value: 0.1\n"
    "parameters: {weight: 0.3}\n",
    "merge_method: slerp\nbase_model: {0}\nmodels:\n  - model: {0}\n  - model: {1}\nparameters: {t: 0.35}\n",
    "merge_method: slerp\nbase_model: {1}\nmodels:\n  - model: {0}\n  - model: {1}\nparameters:\n  t:\n    - filter: self_attn\n"
    "      value: [0, 0.5, 0.3, 0.7, 1]\n    - filter: mlp\n      value: [1, 0.5, 0.7, 0.3, 0]\n    - value: 0.5\n",
    "merge_method: slerp\nbase_model: {0}\nmodels:\n  - model: {3}\nparameters: {t: 0.5}\n",
]
CONFIG = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 4, "intermediate_size": 5, "num_hidden_layers": 3,
          "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 2, "vocab_size": 5, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
          "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False, "torch_dtype": "float32", "attention_bias": False}


def tiny_models(count):
    import transformers

    models = []
    for i in range(count):
        torch.manual_seed(100 + i)
        model = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**CONFIG))
        state = {k: (v + 0.3 * torch.randn_like(v)).float().clone() for k, v in model.state_dict().items()}
        models.append(state)
    # Nearly parallel to the first: slerp turns into lerp.
    models.append({k: v * 1.5 + 1e-3 * torch.randn_like(v) for k, v in models[0].items()})
    return models


def make_mergekit(args):
    inputs = tiny_models(3)
    write("mergekit", inputs, run_mergekit(CONFIG, inputs, MERGEKIT), [{"recipe": r, "bound": 5e-7} for r in MERGEKIT])


# ---- the other methods of mergekit ----

def recipe(method, models, base=None, weights=None, each=None, shared=None, top=""):
    """YAML of one case; each: text of every model's parameters after the weight."""
    text = f"merge_method: {method}\nmodels:\n"
    for i, m in enumerate(models):
        own = ([f"weight: {weights[i]}"] if weights else []) + ([each] if each else [])
        text += f"  - model: {{{m}}}\n" + (f"    parameters: {{{', '.join(own)}}}\n" if own else "")
    text += f"base_model: {{{base}}}\n" if base is not None else ""
    return text + (f"parameters: {{{shared}}}\n" if shared else "") + top


def geometry_cases():
    """Functions of inner products; models 1 .. 3 are finetunes of 0, 4 is far from all."""
    w2, w3 = (0.6, 0.3), (0.5, 0.3, 0.4)
    for shared in ("", "nuslerp_flatten: false", "nuslerp_flatten: false, nuslerp_row_wise: true"):
        yield recipe("nuslerp", [1, 2], None, w2, None, shared)
        yield recipe("nuslerp", [1, 2], 0, w2, None, shared)
    yield recipe("nuslerp", [1, 4], 0, (-0.5, 0.5))
    yield recipe("nuslerp", [0, 4], None, w2)
    yield recipe("multislerp", [1, 2, 4], None, w3)
    yield recipe("multislerp", [1, 2, 3], 0, w3)
    yield recipe("multislerp", [1, 2, 3], 0, w3, None, "normalize_weights: false")
    yield recipe("karcher", [1, 2, 3])
    yield recipe("karcher", [0, 4, 2], None, None, None, "max_iter: 50, tol: 1.0e-9")
    yield recipe("karcher", [1, 2], 0)
    yield recipe("model_stock", [1, 2, 3], 0)
    yield recipe("model_stock", [1, 4], 0, None, None, "filter_wise: true")
    # Of near models mergekit's divergence, a sum in f32, is noise.
    yield recipe("arcee_fusion", [4], 0)


def task_cases():
    w2, w3 = (0.6, 0.3), (0.6, 0.3, -0.2)
    yield recipe("task_arithmetic", [1, 2, 3], 0, w3)
    yield recipe("task_arithmetic", [1, 2], 0, w2, None, "lambda: 1.4, normalize: true")
    yield recipe("ties", [1, 2], 0, w2, "density: 0.3")
    yield recipe("ties", [1, 2, 3], 0, w3, "density: 0.5", "normalize: false, lambda: 0.7, rescale: true, int8_mask: true")
    yield recipe("ties", [1, 2, 3], 0, w3, "density: 0.001")
    yield recipe("breadcrumbs", [1, 2], 0, w2, "density: 0.5, gamma: 0.05")
    yield recipe("breadcrumbs", [1, 2], 0, w2, "density: 0.7", "rescale: true, normalize: true")
    yield recipe("breadcrumbs_ties", [1, 2, 3], 0, w3, "density: 0.9, gamma: 0.3")
    yield recipe("dare_ties", [1, 2], 0, w2, "density: 1.0")
    yield recipe("della_linear", [1, 2], 0, w2, "density: 1.0")
    yield recipe("sce", [1, 2, 3], 0)
    yield recipe("sce", [1, 2, 3], 0, None, None, "select_topk: 0.4")
    yield recipe("ram", [1, 2, 3], 0, None, None, "epsilon: 1.0e-3")
    yield recipe("ramplus_tl", [1, 2, 3], 0, None, None, "r: 0.1, alpha: 1.0, epsilon: 1.0e-3")
    yield recipe("nearswap", [1], 0, None, None, "t: 0.002")
    yield recipe("passthrough", [1], None, None, "scale: 0.3")


def stepwise_cases():
    """What numerics: mergekit reproduces bit for bit on bfloat16; cuts through equal deltas are not in it."""
    w2, w3 = (0.6, 0.3), (0.6, 0.3, -0.2)
    top = "numerics: mergekit\n"
    yield recipe("linear", [1, 2], None, w2, top=top)
    yield recipe("nuslerp", [1, 2], None, w2, top=top)
    yield recipe("nuslerp", [1, 2], 0, w2, None, "nuslerp_flatten: false", top=top)
    yield recipe("task_arithmetic", [1, 2, 3], 0, w3, top=top)
    yield recipe("task_arithmetic", [1, 2], 0, w2, None, "lambda: 1.4, normalize: true", top=top)
    yield recipe("dare_ties", [1, 2, 3], 0, w3, "density: 1.0", "normalize: true", top=top)
    yield recipe("sce", [1, 2, 3], 0, top=top)
    yield recipe("ram", [1, 2, 3], 0, None, None, "epsilon: 1.0e-3", top=top)
    yield recipe("nearswap", [1], 0, None, None, "t: 0.002", top=top)
    yield recipe("passthrough", [1], None, None, "scale: 0.3", top=top)


TINY = dict(CONFIG, num_hidden_layers=1, hidden_size=8, intermediate_size=12, head_dim=4, vocab_size=10)


def finetunes(dtype):
    """A base, three finetunes of it (a third of the deltas 0, as in real ones), and a model far away."""
    generator = torch.Generator().manual_seed(11)
    shapes = {"model.embed_tokens.weight": (10, 8), "lm_head.weight": (10, 8), "model.norm.weight": (8,)}
    layer = {"input_layernorm": (8,), "post_attention_layernorm": (8,), "self_attn.q_norm": (4,), "self_attn.k_norm": (4,),
             "self_attn.q_proj": (8, 8), "self_attn.k_proj": (4, 8), "self_attn.v_proj": (4, 8), "self_attn.o_proj": (8, 8),
             "mlp.gate_proj": (12, 8), "mlp.up_proj": (12, 8), "mlp.down_proj": (8, 12)}
    shapes |= {f"model.layers.0.{k}.weight": v for k, v in layer.items()}
    draw = lambda shape: torch.randn(shape, generator=generator)
    base = {k: 1 + 0.1 * draw(s) if len(s) == 1 else 0.04 * draw(s) for k, s in shapes.items()}
    models = [base]
    for i in range(4):
        size = 0.5 if i == 3 else 0.006
        models.append({k: v + size * draw(v.shape) * (torch.rand(v.shape, generator=generator) > 1 / 3) for k, v in base.items()})
    return [{k: v.to(dtype) for k, v in m.items()} for m in models]


def run_mergekit(config, inputs, recipes):
    import yaml
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    torch.set_grad_enabled(False)
    outputs = []
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder) / f"m{i}" for i in range(len(inputs))]
        for path, model in zip(paths, inputs):
            path.mkdir()
            save_file(model, path / "model.safetensors", metadata={"format": "pt"})
            (path / "config.json").write_text(json.dumps(config))
        for number, text in enumerate(recipes):
            for i, path in enumerate(paths):
                text = text.replace("{%d}" % i, str(path))
            out = pathlib.Path(folder) / f"out{number}"
            run_merge(MergeConfiguration.model_validate(yaml.safe_load(text)), str(out),
                      MergeOptions(copy_tokenizer=False, write_model_card=False, allow_crimes=False, quiet=True))
            outputs.append({k: v for shard in out.glob("*.safetensors") for k, v in load_file(shard).items()})
    return outputs


def make_methods(args):
    for name, dtype, cases, bound in (("geometry", torch.float32, geometry_cases(), 5e-7), ("tasks", torch.float32, task_cases(), 2e-7),
                                      ("stepwise", torch.bfloat16, stepwise_cases(), 0)):
        recipes, config = list(cases), dict(TINY, torch_dtype=str(dtype)[6:])
        inputs = finetunes(dtype)[:5 if name == "geometry" else 4]
        write(name, inputs, run_mergekit(config, inputs, recipes), [{"recipe": r, "bound": bound} for r in recipes])


# ---- yoyo_scale ----

# Not models 1 to 4 together: where all shares go under 0 at once the author's active set stops at 0, which is no
# minimum.

def make_scale(args):
    import importlib.util
    spec = importlib.util.spec_from_file_location("author", args.author)
    author = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(author)
    inputs, outputs, cases = finetunes(torch.float32), [], []
    for models in ([1], [1, 2], [1, 2, 3], [1, 4]):
        outputs.append({k: author.calculate_yoyo_scale_weight(inputs[0][k], [inputs[m][k] for m in models])[0] for k in inputs[0]})
        cases.append({"recipe": recipe("yoyo_scale", models, 0), "bound": 2e-7})
    write("yoyo_scale", inputs, outputs, cases)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["yoyo", "mergekit", "methods", "yoyo_scale"])
    parser.add_argument("--old")
    parser.add_argument("--new")
    parser.add_argument("--author", help="YOYO-Scale.py")
    args = parser.parse_args()
    {"yoyo": make_yoyo, "mergekit": make_mergekit, "methods": make_methods, "yoyo_scale": make_scale}[args.what](args)


if __name__ == "__main__":
    main()
