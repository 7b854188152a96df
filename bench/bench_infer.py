#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prompt and decoding rates of bench_infer beside llama.cpp's llama-bench, on the same shapes.

    bench_infer.py gguf MODEL OUT.gguf                       a plain bf16 Qwen3 folder as GGUF
    bench_infer.py run BENCH_INFER LLAMA_BENCH FOLDER=GGUF.. [--prompt 512] [--new 64] [--rounds 5]

bench/make_models.c makes a folder of random weights, `ingot quantize` its quantised forms, llama.cpp's
llama-quantize those of the GGUF. Programs take turns, so that both see the same neighbours; the
table gives medians in tokens a second, and the ratio. Threads: one for each core, both.
Written for llama.cpp as in llama-cpp-python 0.3.36, built with GGML_NATIVE; gguf 0.17.
"""
import argparse
import json
import os
import pathlib
import statistics
import struct
import subprocess

NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm", "model.embed_tokens": "token_embd",
         "model.norm": "output_norm", "lm_head": "output"}


def tensors(folder):
    """Name and bf16 words of every tensor of a folder."""
    import numpy as np
    for path in sorted(folder.glob("*.safetensors")):
        data = np.memmap(path, dtype=np.uint8, mode="r")
        size = struct.unpack("<Q", data[:8].tobytes())[0]
        header = json.loads(data[8:8 + size].tobytes())
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            first, last = entry["data_offsets"]
            words = data[8 + size + first:8 + size + last].view(np.uint16)
            yield name.removesuffix(".weight"), words.reshape(entry["shape"])


def gguf_name(module):
    if module.startswith("model.layers."):
        _, _, layer, rest = module.split(".", 3)
        return f"blk.{layer}.{NAMES[rest]}.weight"
    return NAMES[module] + ".weight"


def write_gguf(folder, out):
    import gguf
    import numpy as np
    config = json.loads((folder / "config.json").read_text())
    w = gguf.GGUFWriter(str(out), "qwen3")
    w.add_context_length(config["max_position_embeddings"])
    w.add_embedding_length(config["hidden_size"])
    w.add_block_count(config["num_hidden_layers"])
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_head_count(config["num_attention_heads"])
    w.add_head_count_kv(config["num_key_value_heads"])
    w.add_key_length(config["head_dim"])
    w.add_value_length(config["head_dim"])
    w.add_rope_freq_base(config.get("rope_theta", 1e6))
    w.add_layer_norm_rms_eps(config["rms_norm_eps"])
    w.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    w.add_tokenizer_model("no_vocab")
    w.add_vocab_size(config["vocab_size"])
    for module, words in tensors(folder):
        if words.ndim == 1:
            w.add_tensor(gguf_name(module), (words.astype(np.uint32) << 16).view(np.float32))
        else:
            w.add_tensor(gguf_name(module), words.view(np.uint8),
                         raw_dtype=gguf.GGMLQuantizationType.BF16)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def ours(program, folder, args):
    out = subprocess.run([program, folder, str(args.prompt), str(args.new), "1"], check=True,
                         capture_output=True, text=True).stdout
    rates = {row["case"]: row["tokens_per_s"] for row in map(json.loads, out.splitlines())}
    return rates["prompt"], rates["decode"]


def theirs(program, model, args):
    out = subprocess.run([program, "-m", model, "-p", str(args.prompt), "-n", str(args.new), "-r", "1",
                          "-t", str(len(os.sched_getaffinity(0))), "-o", "json"], check=True,
                         capture_output=True, text=True).stdout
    rows = json.loads(out)
    return (next(r["avg_ts"] for r in rows if r["n_prompt"]),
            next(r["avg_ts"] for r in rows if r["n_gen"]))


def run(args):
    print(f"{'model':<12}{'case':<8}{'ingot':>10}{'llama.cpp':>11}{'ratio':>8}")
    for pair in args.pairs:
        folder, model = pair.split("=")
        rounds = [(ours(args.bench, folder, args), theirs(args.llama, model, args))
                  for _ in range(args.rounds)]
        for i, case in enumerate(("prompt", "decode")):
            a = statistics.median(r[0][i] for r in rounds)
            b = statistics.median(r[1][i] for r in rounds)
            ratio = statistics.median(r[0][i] / r[1][i] for r in rounds)
            print(f"{pathlib.Path(folder).name:<12}{case:<8}{a:>10.1f}{b:>11.1f}{ratio:>8.2f}",
                  flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    make = commands.add_parser("gguf")
    make.add_argument("folder", type=pathlib.Path)
    make.add_argument("out", type=pathlib.Path)
    make.set_defaults(call=lambda a: write_gguf(a.folder, a.out))
    bench = commands.add_parser("run")
    bench.add_argument("bench")
    bench.add_argument("llama")
    bench.add_argument("pairs", nargs="+", metavar="FOLDER=GGUF")
    bench.add_argument("--prompt", type=int, default=512)
    bench.add_argument("--new", type=int, default=64)
    bench.add_argument("--rounds", type=int, default=5)
    bench.set_defaults(call=run)
    args = parser.parse_args()
    args.call(args)


main()
