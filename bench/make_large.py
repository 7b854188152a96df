#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A model of Qwen3-42B-A3B's shape (30B-A3B, 67 layers) as `ingot quantize --recipe qx65-hi` lays it out, of random codes: larger
than most memories, for what opening and first tokens cost.   make_large.py OUT [--layers 67] [--tokenizer FOLDER]"""
import argparse
import json
import os
import pathlib
import struct

HIDDEN, HEADS, KV, DIM, EXPERTS, INNER, VOCAB = 2048, 32, 4, 128, 128, 768, 151936
SHARD, PIECE = 5 * 10 ** 9, 1 << 24


def bf16(value):
    return struct.pack("<f", value)[2:]


def modules(layers):
    """(name, shape, bits, group) of what is quantised; bits 0: a norm."""
    yield "model.embed_tokens", [VOCAB, HIDDEN], 5, 32
    for i in range(layers):
        at, high = f"model.layers.{i}.", 6 if i % 4 == 0 else 5
        yield at + "input_layernorm", [HIDDEN], 0, 0
        yield at + "mlp.gate", [EXPERTS, HIDDEN], 8, 64
        for part, shape in {"gate": [INNER, HIDDEN], "up": [INNER, HIDDEN], "down": [HIDDEN, INNER]}.items():
            yield f"{at}mlp.switch_mlp.{part}_proj", [EXPERTS, *shape], 5, 32
        yield at + "post_attention_layernorm", [HIDDEN], 0, 0
        for part, shape in {"q": [HEADS * DIM, HIDDEN], "k": [KV * DIM, HIDDEN], "v": [KV * DIM, HIDDEN], "o": [HIDDEN, HEADS * DIM]}.items():
            yield f"{at}self_attn.{part}_proj", shape, high, 32
        for part in "qk":
            yield f"{at}self_attn.{part}_norm", [DIM], 0, 0
    yield "model.norm", [HIDDEN], 0, 0
    yield "lm_head", [VOCAB, HIDDEN], 6, 32


def tensors(layers):
    """(name, dtype, shape, bytes, fill): fill None is random codes; scale s and bias put values evenly around 0."""
    for name, shape, bits, group in modules(layers):
        count = 1
        for n in shape:
            count *= n
        if not bits:
            yield name + ".weight", "BF16", shape, 2 * count, bf16(1.0)
            continue
        scale = 0.05 / (1 << bits)
        yield name + ".weight", "U32", [*shape[:-1], shape[-1] * bits // 32], count * bits // 8, None
        for part, value in {"scales": scale, "biases": -scale * ((1 << bits) - 1) / 2}.items():
            yield f"{name}.{part}", "BF16", [*shape[:-1], shape[-1] // group], 2 * count // group, bf16(value)


def write_shard(path, listed):
    header, at = {"__metadata__": {"format": "mlx"}}, 0
    for name, dtype, shape, size, _ in listed:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, _, size, fill in listed:
            for done in range(0, size, PIECE):
                part = min(PIECE, size - done)
                file.write(os.urandom(part) if fill is None else fill * (part // 2))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--layers", type=int, default=67)
    parser.add_argument("--tokenizer", type=pathlib.Path, help="a folder with tokenizer.json")
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    shards, size = [[]], 0
    for tensor in tensors(args.layers):
        if size + tensor[3] > SHARD:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size += tensor[3]
    where = {}
    for i, listed in enumerate(shards):
        name = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        write_shard(args.out / name, listed)
        where |= {tensor[0]: name for tensor in listed}
    total = sum(t[3] for listed in shards for t in listed)
    (args.out / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": where}))
    quantization = {"group_size": 32, "bits": 5, "mode": "affine"}
    quantization |= {name: {"group_size": group, "bits": bits, "mode": "affine"} for name, _, bits, group in modules(args.layers) if bits}
    (args.out / "config.json").write_text(json.dumps({
        "model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], "hidden_size": HIDDEN, "intermediate_size": 6144,
        "num_attention_heads": HEADS, "num_key_value_heads": KV, "head_dim": DIM, "num_hidden_layers": args.layers, "vocab_size": VOCAB,
        "num_experts": EXPERTS, "num_experts_per_tok": 8, "moe_intermediate_size": INNER, "norm_topk_prob": True, "decoder_sparse_step": 1,
        "mlp_only_layers": [], "rope_theta": 1000000, "rms_norm_eps": 1e-6, "max_position_embeddings": 40960, "hidden_act": "silu",
        "tie_word_embeddings": False, "eos_token_id": 151645, "torch_dtype": "bfloat16", "quantization": quantization}))
    for name in ["tokenizer.json", "tokenizer_config.json"]:
        if args.tokenizer and (args.tokenizer / name).exists():
            (args.out / name).symlink_to((args.tokenizer / name).resolve())
    print(f"{args.out}: {total / 1e9:.2f} GB in {len(shards)} files")


if __name__ == "__main__":
    main()
