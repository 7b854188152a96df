#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Logits of tiny random models of each family by transformers in f32, for tests/unit/test_infer.c
and test_families.c.

    logits_families.py tests/golden/infer build/cli/ingot [FAMILY ..]

Each folder holds what transformers saves (config.json, model.safetensors in bf16), ids.bin (int32
tokens), logits.bin (f32, a row for each token), greedy.bin (int32: what greedy decoding says after
the first PROMPT tokens), as-mlx.bin where mlx-lm scales RoPE otherwise (every STRIDE-th row of what
mlx-lm says in f32), and for each recipe of RECIPES RECIPE.bin: every STRIDE-th row of logits on
the weights that `ingot quantize --recipe RECIPE` makes of the folder, dequantised in f32 (s * q + b).
That folder has also been loaded and run by mlx-lm, whose logits in f32 have to agree.
Made with transformers 5.24.0, torch 2.15.0 (CPU), mlx 0.32.4, mlx-lm 0.32.2.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import mlx.core as mx
import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

POSITIONS, PROMPT, NEW, STRIDE = 220, 150, 40, 4
RECIPES = ["qx65-hi", "mxfp4"]
TINY = dict(vocab_size=64, hidden_size=64, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=256,
            initializer_range=0.25, bos_token_id=None, eos_token_id=3, tie_word_embeddings=False)
MOE = dict(num_experts=6, num_experts_per_tok=3, moe_intermediate_size=32, mlp_only_layers=[0])
VISION = dict(depth=1, hidden_size=16, intermediate_size=16, num_heads=2, out_hidden_size=64,
              num_position_embeddings=16, deepstack_visual_indexes=[0], patch_size=2,
              temporal_patch_size=1)
PLAIN = {**TINY, "initializer_range": 0.15}  # without norms of q and k, scores grow
LONG = {**PLAIN, "max_position_embeddings": 1024}  # for windows that slide across blocks of keys
MROPE = {"rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True,
         "rope_theta": 5000.0}


def yarn(theta):
    return {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64,
            "rope_theta": theta}


def vision(kind, **text):
    return kind(text_config={**TINY, "rope_parameters": MROPE, **text}, vision_config=VISION,
                tie_word_embeddings=False)


FAMILIES = {
    "qwen3_moe": lambda t: t.Qwen3MoeConfig(**{**TINY, **MOE}, norm_topk_prob=True,
                                            rope_parameters=yarn(10000.0)),
    "llama": lambda t: t.LlamaConfig(**PLAIN, mlp_bias=True, attention_bias=True, rope_parameters={
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64, "rope_theta": 5000.0}),
    "mistral": lambda t: t.MistralConfig(**LONG, sliding_window=37, rope_parameters={
        "rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}),
    "qwen2": lambda t: t.Qwen2Config(**{**PLAIN, "tie_word_embeddings": True, "head_dim": 32},
                                     use_sliding_window=True, sliding_window=50,
                                     max_window_layers=1),
    "qwen3_vl": lambda t: vision(t.Qwen3VLConfig),
    "qwen3_vl_moe": lambda t: vision(t.Qwen3VLMoeConfig, **{**MOE, "num_experts": 3,
                                                                   "moe_intermediate_size": 64}),
    "qwen3_next": lambda t: t.Qwen3NextConfig(
        **{**TINY, **MOE, "num_experts": 4, "num_experts_per_tok": 2, "num_hidden_layers": 3,
           "mlp_only_layers": [0, 1], "intermediate_size": 32, "initializer_range": 0.15},
        shared_expert_intermediate_size=32, linear_num_key_heads=2, linear_num_value_heads=4,
        linear_key_head_dim=8, linear_value_head_dim=16, full_attention_interval=3,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0,
                         "partial_rotary_factor": 0.25}),
    "gemma3_text": lambda t: t.Gemma3TextConfig(
        **{**LONG, "initializer_range": 0.25, "num_hidden_layers": 3,
           "tie_word_embeddings": True}, query_pre_attn_scalar=24,
        sliding_window=37, sliding_window_pattern=3, rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0}}),
}
# What mlx-lm computes otherwise on purpose: RoPE of qwen3_moe is never scaled, Mistral and Qwen2
# never slide.
MLX_DIFFERS = {"qwen3_moe", "mistral", "qwen2"}


def make(name):
    """A random model whose weights are bf16 numbers, in f32."""
    torch.manual_seed(7)
    config = FAMILIES[name](transformers)
    model = AutoModelForCausalLM.from_config(config) if name not in ("qwen3_vl", "qwen3_vl_moe") \
        else transformers.AutoModelForImageTextToText.from_config(config)
    model = model.float().eval()
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "norm" in key and p.dim() == 1:
                p.add_(0.2 * torch.randn_like(p))
            elif p.dim() == 1 or "experts" in key or "mlp.gate.weight" in key:
                p.copy_(0.25 * torch.randn_like(p))
            p.copy_(p.bfloat16().float())
    return model


def run(model, ids, new):
    greedy = ids[:, :PROMPT]
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0]
        for _ in range(new):
            step = model(input_ids=greedy).logits[0, -1].argmax()
            greedy = torch.cat([greedy, step.view(1, 1)], 1)
    return logits.numpy(), greedy[0, PROMPT:].numpy()


def ids_of(config):
    rng = torch.Generator().manual_seed(1)
    return torch.randint(0, 64, (1, POSITIONS), generator=rng)


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
        if name.endswith(".weight") and module + ".scales" in tensors:
            entry = table.get(module, table)
            mode = entry.get("mode", "affine")
            scales, biases = tensors[module + ".scales"], tensors.get(module + ".biases")
            if mode == "affine":
                scales, biases = scales.astype(mx.float32), biases.astype(mx.float32)
            value = mx.dequantize(value, scales, biases, group_size=entry["group_size"],
                                  bits=entry["bits"], mode=mode, dtype=mx.float32)
        state[name] = torch.from_numpy(np.array(value.astype(mx.float32)))
    return state


def into(model, state):
    """mlx's names and shapes to those of transformers in memory."""
    own = dict(model.named_parameters())
    left = set(own)
    whole_norms = any(k.endswith("conv1d.weight") and v.shape[2] == 1 for k, v in state.items())
    for name, value in state.items():
        name = name.replace("language_model.model.", "model.language_model.")
        name = name.replace("language_model.lm_head", "lm_head")
        with torch.no_grad():
            if ".switch_mlp." in name:
                stem, part = name.split(".switch_mlp.")
                inner = model.config.get_text_config().moe_intermediate_size
                if part.startswith("down"):
                    target = own[stem + ".experts.down_proj"]
                elif part.startswith("gate"):
                    target = own[stem + ".experts.gate_up_proj"][:, :inner]
                else:
                    target = own[stem + ".experts.gate_up_proj"][:, inner:]
                left.discard(stem + ".experts.down_proj")
                left.discard(stem + ".experts.gate_up_proj")
            else:
                target = own[name]
                left.discard(name)
            if name.endswith("norm.weight") and "linear_attn" not in name and whole_norms:
                value = value - 1
            if ".mlp.experts." in name:
                value = value.transpose(1, 2)
            target.copy_(value.reshape(target.shape))
    left = {k for k in left if "visual" not in k and k != "lm_head.weight"}
    assert not left, left


def older(config):
    """What mlx-lm does not find in a config.json of transformers 5."""
    more = {}
    rope = config.get("rope_parameters")
    if rope and "full_attention" in rope:  # Gemma 3
        more["rope_scaling"] = rope["full_attention"]
        more["rope_theta"] = rope["full_attention"]["rope_theta"]
        more["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        more["sliding_window_pattern"] = config["layer_types"].index("full_attention") + 1
    if rope and "rope_theta" in rope:
        more["rope_theta"] = rope["rope_theta"]
        more["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    if rope and "partial_rotary_factor" in rope:  # Qwen3-Next
        more["partial_rotary_factor"] = rope["partial_rotary_factor"]
        more["full_attention_interval"] = config["layer_types"].index("full_attention") + 1
    if "num_local_experts" in config:
        more["num_experts"] = config["num_local_experts"]
        more["norm_topk_prob"] = config.get("norm_topk_prob", True)
    if "text_config" in config:
        more["text_config"] = {**config["text_config"], **older(config["text_config"]),
                               "tie_word_embeddings": config["tie_word_embeddings"]}
    return more


def mlx_logits(folder, ids):
    import mlx_lm.utils
    config = json.loads((folder / "config.json").read_text())
    model, _ = mlx_lm.utils.load_model(folder, model_config=older(config))
    model.update(mlx_lm.utils.tree_map(
        lambda p: p.astype(mx.float32) if p.dtype == mx.bfloat16 else p, model.parameters()))
    return np.array(model(mx.array(ids.numpy()))[0].astype(mx.float32))


def quantised(name, folder, ingot, ids):
    for recipe in RECIPES:
        with tempfile.TemporaryDirectory() as scratch:
            out = pathlib.Path(scratch) / "q"
            subprocess.run([ingot, "quantize", folder, out, "--recipe", recipe], check=True)
            model = make(name)
            into(model, dequantised(out))
            logits = run(model, ids, 0)[0]
            far = np.abs(mlx_logits(out, ids) - logits).max()
            print(f"{name} {recipe}: mlx-lm differs by {far:.2g}")
            assert far < 1e-3 or name in MLX_DIFFERS
            logits[STRIDE - 1::STRIDE].astype("<f4").tofile(folder / f"{recipe}.bin")


def save(model, folder):
    """As transformers writes it, but for most of the vision tower; Qwen3-VL's fused experts as the
    published files have them, [expert, in, out], which transformers 5 turns when it reads."""
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    file = str(folder / "model.safetensors")
    kept = {k: v for k, v in load_file(file).items() if "visual" not in k or v.numel() < 64}
    for k in kept:
        if ".mlp.experts." in k and kept[k].dim() == 3:
            kept[k] = kept[k].transpose(1, 2).contiguous()
    save_file(kept, file, metadata={"format": "pt"})


def main():
    root, ingot = pathlib.Path(sys.argv[1]), sys.argv[2]
    for name in sys.argv[3:] or FAMILIES:
        folder = root / name
        shutil.rmtree(folder, ignore_errors=True)
        model = make(name)
        ids = ids_of(model.config)
        logits, greedy = run(model, ids, NEW)
        save(model, folder)
        ids[0].numpy().astype("<i4").tofile(folder / "ids.bin")
        logits.astype("<f4").tofile(folder / "logits.bin")
        greedy.astype("<i4").tofile(folder / "greedy.bin")
        if name == "qwen3_moe":
            mlx_logits(folder, ids)[STRIDE - 1::STRIDE].tofile(folder / "as-mlx.bin")
        quantised(name, folder, ingot, ids)


if __name__ == "__main__":
    main()
