#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/merge/views/: models with LoRA adapters on them as peft merges them, and float8 checkpoints
as torch reads them.

    tools/golden/views_golden.py          (peft 0.21.2, transformers 5.24, torch 2.15)

base/ is a Qwen3 of two tiny layers, f32; NAME/ an adapter, NAME.safetensors what merge_and_unload makes of it.
float8/ has weights in blocks of 128 x 128 (weight_scale_inv), with one scale and with one a row (weight_scale);
float8.safetensors holds the products in f32.
"""
import json
import pathlib
import shutil

import peft
import torch
import transformers
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/merge/views"
CONFIG = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
          "head_dim": 4, "vocab_size": 11, "max_position_embeddings": 64, "tie_word_embeddings": False}
ADAPTERS = {
    "plain": {"r": 3, "lora_alpha": 7, "target_modules": ["q_proj", "v_proj", "down_proj"]},
    "rslora": {"r": 4, "lora_alpha": 5, "use_rslora": True, "target_modules": ["k_proj", "up_proj", "embed_tokens"],
               "modules_to_save": ["lm_head"]},
    "pattern": {"r": 2, "lora_alpha": 4, "target_modules": ["o_proj", "gate_proj"], "rank_pattern": {"layers.1.mlp.gate_proj": 5},
                "alpha_pattern": {"layers.1.mlp.gate_proj": 9, "o_proj": 3}},
}


def base_model():
    torch.manual_seed(3)
    model = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**CONFIG)).float()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


def write_adapter(name, options):
    model = peft.get_peft_model(base_model(), peft.LoraConfig(task_type="CAUSAL_LM", **options))
    torch.manual_seed(5)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "lora_" in key or "modules_to_save" in key:
                p.copy_(0.3 * torch.randn_like(p))
    model.save_pretrained(OUT / name)
    (OUT / name / "README.md").unlink(missing_ok=True)
    merged = model.merge_and_unload()
    save_file({k: v.contiguous() for k, v in merged.state_dict().items()}, OUT / f"{name}.safetensors", metadata={"format": "pt"})


def float8():
    torch.manual_seed(9)
    fp8, plain = {}, {}

    def put(name, shape, scale, suffix, spread):
        q = (torch.randn(shape) * 100).to(torch.float8_e4m3fn)
        fp8[name] = q
        fp8[name + suffix] = scale
        plain[name] = q.float() * spread(scale)

    put("model.layers.0.mlp.up_proj.weight", (130, 6), torch.rand(2, 1) * 0.01, "_scale_inv",
        lambda s: s.repeat_interleave(128, 0)[:130])
    put("model.layers.0.self_attn.o_proj.weight", (3, 140), torch.rand(1, 2) * 0.01, "_scale_inv",
        lambda s: s.repeat_interleave(128, 1)[:, :140])
    put("model.layers.0.mlp.gate_proj.weight", (6, 5), torch.tensor(0.03), "_scale", lambda s: s)
    put("model.layers.0.mlp.down_proj.weight", (5, 6), (torch.rand(5, 1) * 0.01).bfloat16(), "_scale", lambda s: s.float())
    fp8["model.layers.0.mlp.gate_proj.input_scale"] = torch.tensor(1.5)
    fp8["model.norm.weight"] = plain["model.norm.weight"] = torch.randn(5)
    (OUT / "float8").mkdir(parents=True, exist_ok=True)
    save_file(fp8, OUT / "float8/model.safetensors", metadata={"format": "pt"})
    config = {"model_type": "qwen3", "torch_dtype": "bfloat16", "num_hidden_layers": 1,
              "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
    (OUT / "float8/config.json").write_text(json.dumps(config))
    save_file(plain, OUT / "float8.safetensors", metadata={"format": "pt"})


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    base_model().save_pretrained(OUT / "base")
    for name, options in ADAPTERS.items():
        write_adapter(name, options)
    float8()
    for path in OUT.rglob("*"):
        if path.is_file():
            path.chmod(0o644)


if __name__ == "__main__":
    main()
