#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Logits of tiny random Qwen3 models by transformers in f32, for tests/unit/test_infer.c.

    logits_qwen3.py tests/golden/infer          makes the folders plain/ and mixed/
    logits_qwen3.py --model DIR OUT             logits of any folder, plain or MLX-quantised

Each folder holds config.json, model.safetensors, ids.bin (int32 tokens), logits.bin (f32, a row for
each token) and greedy.bin (int32: what greedy decoding says after the first PROMPT tokens). plain is
bf16, with YaRN and biases. In mixed every module has another of MLX's codecs; its reference runs on weights dequantised in
f32 (s * q + b, not rounded to bf16 as mlx's own kernels do).
Made with transformers 5.23.0, torch 2.15.0 (CPU), mlx 0.32.4.
"""
import json
import pathlib
import sys

import mlx.core as mx
import numpy as np
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

POSITIONS, PROMPT, NEW = 220, 150, 40
CODECS = [("affine", b, g) for b, g in [(8, 32), (6, 64), (5, 32), (4, 64), (3, 32), (2, 64), (6, 32),
                                        (8, 64), (5, 64), (4, 32), (3, 64), (2, 32)]]
CODECS += [("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)]


def tiny(**more):
    torch.manual_seed(7)
    config = Qwen3Config(vocab_size=64, hidden_size=64, intermediate_size=64, num_attention_heads=4,
                         num_key_value_heads=2, head_dim=16, max_position_embeddings=256,
                         initializer_range=0.25, bos_token_id=None, eos_token_id=3, **more)
    model = Qwen3ForCausalLM(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.copy_(0.2 * torch.randn_like(p) + (1 if "norm" in name else 0))
    return model.to(torch.bfloat16)


def reference(folder, state):
    """Runs transformers in f32 on `state`, writes what it says beside the model."""
    config = Qwen3Config.from_pretrained(folder)
    config.quantization_config = None
    model = Qwen3ForCausalLM(config).eval()
    state = {k: v.float() for k, v in state.items()}
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state, strict=True)
    rng = torch.Generator().manual_seed(1)
    count = min(POSITIONS, config.max_position_embeddings)
    ids = torch.randint(0, config.vocab_size, (1, count), generator=rng)
    greedy = ids[:, :PROMPT]
    with torch.no_grad():
        logits = model(ids).logits[0]
        for _ in range(NEW):
            step = model(greedy).logits[0, -1].argmax()
            greedy = torch.cat([greedy, step.view(1, 1)], 1)
    ids[0].numpy().astype("<i4").tofile(folder / "ids.bin")
    logits.numpy().astype("<f4").tofile(folder / "logits.bin")
    greedy[0, PROMPT:].numpy().astype("<i4").tofile(folder / "greedy.bin")


def dequantised(folder):
    """Every tensor of a folder as f32; packed ones by their scales and biases in f32."""
    tensors, state = {}, {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors.update(mx.load(str(file)))
    table = json.loads((folder / "config.json").read_text()).get("quantization", {})
    for name, value in tensors.items():
        module = name.rsplit(".", 1)[0]
        if name.endswith((".scales", ".biases")) and module + ".scales" in tensors:
            continue
        if module + ".scales" in tensors:
            entry = table.get(module, table)
            mode = entry.get("mode", "affine")
            scales, biases = tensors[module + ".scales"], tensors.get(module + ".biases")
            if mode == "affine":
                scales, biases = scales.astype(mx.float32), biases.astype(mx.float32)
            value = mx.dequantize(value, scales, biases, group_size=entry["group_size"],
                                  bits=entry["bits"], mode=mode, dtype=mx.float32)
        state[name] = torch.from_numpy(np.array(value.astype(mx.float32)))
    return state


def save(model, folder):
    """As bf16, without lm_head when it is tied; gives back what was written."""
    model.save_pretrained(folder)
    tied = model.config.tie_word_embeddings
    return {k: v for k, v in model.state_dict().items() if not (tied and k == "lm_head.weight")}


def make_plain(folder):
    rope = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64,
            "rope_theta": 10000.0}
    model = tiny(num_hidden_layers=1, tie_word_embeddings=True, attention_bias=True,
                 rope_parameters=rope)
    reference(folder, save(model, folder))


def make_mixed(folder):
    state = save(tiny(num_hidden_layers=2, tie_word_embeddings=False, rope_theta=10000.0), folder)
    config = json.loads((folder / "config.json").read_text())
    table, out = {"group_size": 64, "bits": 4, "mode": "affine"}, {}
    for i, (name, value) in enumerate(sorted(state.items())):
        module = name.rsplit(".", 1)[0]
        value = mx.array(value.float().numpy()).astype(mx.bfloat16)
        if value.ndim != 2:
            out[name] = value
            continue
        mode, bits, group = CODECS[i % len(CODECS)]
        parts = mx.quantize(value, group_size=group, bits=bits, mode=mode)
        for suffix, part in zip(("weight", "scales", "biases"), parts):
            out[f"{module}.{suffix}"] = part
        table[module] = {"group_size": group, "bits": bits, "mode": mode}
    config["quantization"] = table
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True))
    (folder / "generation_config.json").write_text('{"eos_token_id": [3, 5]}')
    mx.save_safetensors(str(folder / "model.safetensors"), out)
    reference(folder, dequantised(folder))


def main():
    if sys.argv[1] == "--model":
        source, out = map(pathlib.Path, sys.argv[2:4])
        out.mkdir(exist_ok=True)
        (out / "config.json").write_text((source / "config.json").read_text())
        reference(out, dequantised(source))
        return
    root = pathlib.Path(sys.argv[1])
    make_plain(root / "plain")
    make_mixed(root / "mixed")


main()
