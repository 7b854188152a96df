#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/adapter/: finetuned models, their bases, and the adapters that mergekit-extract-lora takes out.

    tools/golden/lora_golden.py          (mergekit 0.1.5, transformers 5.24, torch 2.15)

KIND/base and KIND/tuned are tiny models, KIND/CASE what mergekit makes of them.
"""
import pathlib
import shutil
import subprocess
import sys

import torch
import transformers

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/adapter"
CONFIG = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
          "head_dim": 8, "vocab_size": 24, "max_position_embeddings": 64}
KINDS = {
    "qwen3": (transformers.Qwen3Config, False, torch.float32),
    "llama": (transformers.LlamaConfig, True, torch.float32),
    "qwen2": (transformers.Qwen2Config, False, torch.bfloat16),
}
CASES = {
    "qwen3": {"plain": ["--max-rank", "6"], "epsilon": ["--max-rank", "9", "--sv-epsilon", "0.09", "--no-distribute-scale"],
              "some": ["--max-rank", "3", "-i", "self_attn", "-e", "embed_tokens", "-e", "lm_head", "-e", "k_proj", "--skip-undecomposable",
                       "--save-module", "v_proj"]},  # without the two -e and --skip it dies of its own --save-module
    "llama": {"plain": ["--max-rank", "4"], "embed": ["--max-rank", "5", "--embed-lora", "--skip-undecomposable"]},
    "qwen2": {"plain": ["--max-rank", "16"]},
}


def model(kind, seed):
    config, tied, dtype = KINDS[kind]
    torch.manual_seed(1)
    m = transformers.AutoModelForCausalLM.from_config(config(**CONFIG, tie_word_embeddings=tied)).float()
    with torch.no_grad():
        for p in m.parameters():
            p.add_(0.1 * torch.randn_like(p))
        torch.manual_seed(seed)
        for p in m.parameters() if seed else ():
            step = 0.02 * torch.randn_like(p)
            if p.dim() == 2:  # some directions more than others
                u, s, v = torch.linalg.svd(step, full_matrices=False)
                step = u @ torch.diag(s * 3 * 0.8 ** torch.arange(len(s))) @ v
            p.add_(step)
    return m.to(dtype)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    tool = pathlib.Path(sys.executable).parent / "mergekit-extract-lora"
    for kind, cases in CASES.items():
        for name, seed in (("base", 0), ("tuned", 7)):
            model(kind, seed).save_pretrained(OUT / kind / name)
            (OUT / kind / name / "generation_config.json").unlink(missing_ok=True)
        for case, options in cases.items():
            subprocess.run([tool, "--model", "./tuned", "--base-model", "./base", "--out-path", case, *options], cwd=OUT / kind,
                           check=True, stderr=subprocess.DEVNULL)
            (OUT / kind / case / "README.md").unlink()
    for path in OUT.rglob("*"):
        if path.is_file():
            path.chmod(0o644)


if __name__ == "__main__":
    main()
