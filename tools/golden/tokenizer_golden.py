#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/merge/tokenizer/: models with different vocabularies, and what mergekit makes of them.

    tools/golden/tokenizer_golden.py          (mergekit 0.1.5, transformers 5.24, tokenizers 0.23.3)

m0, m1, m2 are Qwen3 models with one tiny layer and tokenizers of a few tokens. cases.json holds the recipes ({N} for
model N); outN.json the output's vocabulary, as tokenizers reads it, and vocab_size; outN.safetensors its tensors.
"""
import json
import pathlib
import shutil
import tempfile

import tokenizers
import torch
import transformers
import yaml
from safetensors.torch import load_file, save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/merge/tokenizer"
CONFIG = {"hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
          "head_dim": 4, "max_position_embeddings": 64, "tie_word_embeddings": False}
# tokens by id, merges, added tokens (content, special), rows
MODELS = [
    (["a", "b", "c", "ab", "abc"], [("a", "b"), ("ab", "c")], [("<s>", True)], 9),
    (["b", "a", "c", "bc", "ab", "d"], [("b", "c"), ("a", "b")], [("<|x|>", True), ("<s>", True)], 8),
    (["a", "b", "c", "ab", "abc", "cc"], [("a", "b"), ("ab", "c"), ("c", "c")], [("<s>", True), ("<tool>", False)], 8),
]
LINEAR = ("merge_method: linear\nmodels:\n  - {model: {0}, parameters: {weight: 1}}\n  - {model: {1}, parameters: {weight: 2}}\n"
          "  - {model: {2}, parameters: {weight: 0.5}}\ndtype: float32\n")
CASES = [
    LINEAR + "base_model: {0}\ntokenizer_source: base\n",
    LINEAR + "base_model: {0}\ntokenizer_source: union\n",
    LINEAR + "tokenizer_source: union\n",
    LINEAR + "base_model: {0}\ntokenizer_source: {1}\n",
    LINEAR + "base_model: {2}\ntokenizer:\n  source: union\n  pad_to_multiple_of: 8\n",
    LINEAR + "base_model: {0}\ntokenizer:\n  source: union\n  tokens:\n    <s>: {source: {2}, force: true}\n    <|x|>: {source: {1}}\n"
    "    <new>: {source: {kind: model_token, model: {1}, token: d}}\n    cc: {source: {kind: model_token, model: {0}, token_id: 7}}\n"
    "    bc: {source: {kind: zero}}\n",
]


def write_model(number, tokens, merges, added, rows):
    path = OUT / f"m{number}"
    path.mkdir(parents=True)
    torch.manual_seed(40 + number)
    model = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(vocab_size=rows, **CONFIG)).float()
    state = {k: v + 0.1 * torch.randn_like(v) for k, v in model.state_dict().items()}
    keep = ("embed_tokens", "lm_head", "model.norm")
    state = {k: v.contiguous() if any(w in k for w in keep) else v.contiguous() for k, v in state.items()}
    save_file(state, path / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict() | {"architectures": ["Qwen3ForCausalLM"], "torch_dtype": "float32"}
    (path / "config.json").write_text(json.dumps(config, indent=1))
    tok = tokenizers.Tokenizer(tokenizers.models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    for content, special in added:
        token = tokenizers.AddedToken(content, special=special, normalized=False)
        (tok.add_special_tokens if special else tok.add_tokens)([token])
    transformers.PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>").save_pretrained(path)


def run(text, out):
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    run_merge(MergeConfiguration.model_validate(yaml.safe_load(text)), str(out), MergeOptions(write_model_card=False, quiet=True))


def main():
    torch.set_grad_enabled(False)
    shutil.rmtree(OUT, ignore_errors=True)
    for i, model in enumerate(MODELS):
        write_model(i, *model)
    for number, recipe in enumerate(CASES):
        with tempfile.TemporaryDirectory() as folder:
            text = recipe
            for i in range(len(MODELS)):
                text = text.replace("{%d}" % i, str(OUT / f"m{i}"))
            out = pathlib.Path(folder) / "out"
            run(text, out)
            tensors = {}
            for shard in out.glob("*.safetensors"):
                tensors |= load_file(shard)
            tensors = {k: v.contiguous() for k, v in tensors.items() if "layers" not in k}
            save_file(tensors, OUT / f"out{number}.safetensors")
            vocab = tokenizers.Tokenizer.from_file(str(out / "tokenizer.json")).get_vocab(with_added_tokens=True)
            rows = json.loads((out / "config.json").read_text())["vocab_size"]
            (OUT / f"out{number}.json").write_text(json.dumps({"vocab": vocab, "vocab_size": rows}, sort_keys=True))
            print(number, rows, vocab)
    (OUT / "cases.json").write_text(json.dumps(CASES, indent=1) + "\n")
    for path in OUT.rglob("*"):
        if path.is_file():
            path.chmod(0o644)


if __name__ == "__main__":
    main()
