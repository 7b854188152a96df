#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/merge/gates/: routers' rows by mergekit-moe's code for gate_mode hidden, hidden_avg and cheap_embed.

    tools/golden/gates_golden.py          (mergekit 0.1.5, transformers 5.24, torch 2.15)

MODE.safetensors holds `rows` [layer, expert, hidden] of the fixture anvil; llama/ is a tiny Llama with its tokenizer's vocabulary, and
llama-MODE.safetensors its rows. mergekit loads the model in bf16; here it is made to load it in f32, so that there is something to
compare to. hidden_avg has one prompt in each list: mergekit's mean goes over the padding of shorter ones too.
"""
import pathlib
import shutil

import mergekit.moe.router as router
import torch
import transformers
from mergekit.common import ModelReference
from mergekit.moe.config import Expert
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests/golden/merge/gates"
FIXTURE = ROOT / "fixtures/models/anvil"
MANY = [(["prove that the anvil is heavy", "solve"], ["once upon a time there was a miller"]), (["write a story"], []),
        (["The old clock", "a", "It was late in the evening when the rain came"], ["numbers", "of all kinds"])]
ONE = [(["prove that the anvil is heavy"], ["once upon a time"]), (["write a story"], []), (["It was late in the evening"], ["numbers"])]


class InFloat32:
    @staticmethod
    def from_pretrained(*args, **kwargs):
        kwargs.pop("torch_dtype", None)
        return transformers.AutoModelForCausalLM.from_pretrained(*args, dtype=torch.float32, attn_implementation="eager", **kwargs)


def llama():
    torch.manual_seed(4)
    vocab = transformers.AutoConfig.from_pretrained(FIXTURE).vocab_size
    config = transformers.LlamaConfig(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
                                      num_key_value_heads=1, vocab_size=vocab, max_position_embeddings=64, tie_word_embeddings=True)
    model = transformers.LlamaForCausalLM(config).float()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    model.bfloat16().save_pretrained(OUT / "llama")
    (OUT / "llama/generation_config.json").unlink(missing_ok=True)


def rows(folder, mode, experts, dtype=InFloat32):
    tokenizer = transformers.AutoTokenizer.from_pretrained(FIXTURE)
    tokenizer.padding_side = "left"
    tokenizer.pad_token_id = tokenizer.bos_token_id
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    router.AutoModelForCausalLM = dtype
    experts = [Expert(source_model=str(folder), positive_prompts=p, negative_prompts=n) for p, n in experts]
    return router.get_gate_params(ModelReference.model_validate({"model": {"path": str(folder)}}), tokenizer, experts, mode=mode,
                                  device="cpu")


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    llama()
    for prefix, folder in (("", FIXTURE), ("llama-", OUT / "llama")):
        for mode, experts in (("hidden", MANY), ("hidden_avg", ONE), ("cheap_embed", MANY)):
            got = rows(folder, mode, experts)
            save_file({"rows": got.float().contiguous()}, OUT / f"{prefix}{mode}.safetensors")
            if mode != "cheap_embed":
                theirs = rows(folder, mode, experts, transformers.AutoModelForCausalLM).float()
                print(prefix + mode, tuple(got.shape), "its own bf16 is", float((got - theirs).abs().max()), "apart")
    for path in OUT.rglob("*"):
        if path.is_file():
            path.chmod(0o644)


if __name__ == "__main__":
    main()
