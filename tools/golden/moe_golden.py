#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/merge/moe/: what mergekit-moe makes of dense models beside Mixtral and Qwen3-MoE.

    tools/golden/moe_golden.py          (mergekit 0.1.5, transformers 5.24, torch 2.15)

qwen2/ is a tiny Qwen2 with the vocabulary of the fixture anvil; the Llama is that of gates/. Of each case CASE.txt has a line for each
tensor, its name, shape and the sha256 of its bytes (routers: -), and of config.json what the MoE adds; CASE.safetensors has the routers.
One model is all of the experts, told apart by residual_scale, a power of two.
"""
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests/golden/merge/moe"
FIXTURE = ROOT / "fixtures/models/anvil"
EXPERTS = """experts:
- {source_model: ./M, positive_prompts: [prove that the anvil is heavy], residual_scale: 2.0}
- {source_model: ./M, positive_prompts: [write a story], negative_prompts: [once upon a time], residual_scale: 0.5}
"""
HEAD = "base_model: ./M\ngate_mode: cheap_embed\ndtype: float32\n"
GATED = "shared_experts: [{source_model: ./M, positive_prompts: [It was late in the evening], residual_scale: 4.0}]\n"
PLAIN = "shared_experts: [{source_model: ./M, residual_scale: 4.0}]\n"
CASES = {"llama-deepseek": ("llama", "architecture: deepseek\nexperts_per_token: 1\n"), "llama-deepseek-shared": ("llama", PLAIN),
         "llama-qwen": ("llama", GATED), "qwen2-qwen": ("qwen2", GATED)}
KEYS = ("architectures", "model_type", "num_experts", "num_experts_per_tok", "decoder_sparse_step", "norm_topk_prob", "moe_intermediate_size",
        "shared_expert_intermediate_size", "n_routed_experts", "n_shared_experts", "first_k_dense_replace", "moe_layer_freq", "scoring_func",
        "auto_map", "use_sliding_window", "sliding_window")


def qwen2():
    torch.manual_seed(5)
    vocab = transformers.AutoConfig.from_pretrained(FIXTURE).vocab_size
    config = transformers.Qwen2Config(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
                                      num_key_value_heads=1, vocab_size=vocab, max_position_embeddings=64, tie_word_embeddings=True)
    model = transformers.Qwen2ForCausalLM(config).float()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    model.bfloat16().save_pretrained(OUT / "qwen2")
    (OUT / "qwen2/generation_config.json").unlink(missing_ok=True)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    qwen2()
    tool = pathlib.Path(sys.executable).parent / "mergekit-moe"
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        for kind, folder in (("llama", OUT.parent / "gates/llama"), ("qwen2", OUT / "qwen2")):
            shutil.copytree(folder, work / kind)
            for name in ("tokenizer.json", "tokenizer_config.json"):
                shutil.copy(FIXTURE / name, work / kind)
        for case, (kind, more) in CASES.items():
            (work / "r.yaml").write_text((HEAD + more + EXPERTS).replace("./M", f"./{kind}"))
            subprocess.run([tool, "r.yaml", case, "--i-understand-this-is-not-useful-without-training"], cwd=work, check=True,
                           stderr=subprocess.DEVNULL)
            routers, lines = {}, []
            for name, t in sorted(load_file(work / case / "model.safetensors").items()):
                gate = name.endswith("gate.weight") and "expert_gate" in name or name.endswith("mlp.gate.weight")
                assert t.dtype == torch.float32
                if gate:
                    routers[name] = t
                sha = "-" if gate else hashlib.sha256(t.contiguous().numpy().tobytes()).hexdigest()
                lines.append(f"{name} {'x'.join(map(str, t.shape))} {sha}")
            save_file(routers, OUT / f"{case}.safetensors")
            config = json.loads((work / case / "config.json").read_text())
            lines += [f"{key} = {json.dumps(config[key])}" for key in KEYS if key in config]
            (OUT / f"{case}.txt").write_text("\n".join(lines) + "\n")
    for path in OUT.rglob("*"):
        if path.is_file():
            path.chmod(0o644)


if __name__ == "__main__":
    main()
