#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rates of bench_infer beside llama.cpp's, on the same shapes: a prompt, decoding, short texts.

    bench_infer.py gguf MODEL OUT.gguf                       a plain bf16 Qwen3 folder as GGUF
    bench_infer.py run BENCH_INFER LLAMA_BIN FOLDER=GGUF.. [--prompt 512] [--new 64] [--rounds 5]
    bench_infer.py all BUILD LLAMA_BIN DIR [--shape 0.6b|1.7b|30b-a3b [--layers N]]
                                                             makes what is missing in DIR, and runs

bench/make_models.c makes a folder of random weights, `ingot quantize` its quantised forms, llama.cpp's
llama-quantize those of the GGUF. LLAMA_BIN holds llama-bench and llama-batched-bench. Programs take
turns, so that both see the same neighbours; the table gives medians in tokens a second, the median of
the rounds' ratios, and for decoding of dense models the rate at which weights are read as a share of
that at which the same threads just read them, in the same round. `batch` is 16 texts of 64 tokens of which each one's last row
goes through the head. Threads: one for each core, both (--threads).
Written for llama.cpp as in llama-cpp-python 0.3.36, built with GGML_NATIVE; gguf 0.17.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import struct
import subprocess

NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm", "model.embed_tokens": "token_embd",
         "model.norm": "output_norm", "lm_head": "output", "mlp.gate": "ffn_gate_inp",
         "mlp.experts.gate_proj": "ffn_gate_exps", "mlp.experts.up_proj": "ffn_up_exps",
         "mlp.experts.down_proj": "ffn_down_exps"}


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


def stacked(folder, experts):
    """The same, but one tensor for the experts of a layer."""
    import numpy as np
    waiting = {}
    for module, words in tensors(folder):
        found = re.fullmatch(r"(.*\.experts)\.(\d+)\.(.*)", module)
        if not found:
            yield module, words
            continue
        parts = waiting.setdefault(f"{found[1]}.{found[3]}", {})
        parts[int(found[2])] = words
        if len(parts) == experts:
            del waiting[f"{found[1]}.{found[3]}"]
            yield f"{found[1]}.{found[3]}", np.stack([parts[e] for e in range(experts)])


def gguf_name(module):
    if module.startswith("model.layers."):
        _, _, layer, rest = module.split(".", 3)
        return f"blk.{layer}.{NAMES[rest]}.weight"
    return NAMES[module] + ".weight"


def write_gguf(folder, out):
    import gguf
    import numpy as np
    config = json.loads((folder / "config.json").read_text())
    experts = config.get("num_experts", 0)
    w = gguf.GGUFWriter(str(out), "qwen3moe" if experts else "qwen3")
    if experts:
        w.add_expert_count(experts)
        w.add_expert_used_count(config["num_experts_per_tok"])
        w.add_expert_feed_forward_length(config["moe_intermediate_size"])
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
    for module, words in stacked(folder, experts):
        if words.ndim == 1 or module.endswith("mlp.gate"):
            w.add_tensor(gguf_name(module), (words.astype(np.uint32) << 16).view(np.float32))
        else:
            w.add_tensor(gguf_name(module), words.view(np.uint8),
                         raw_dtype=gguf.GGMLQuantizationType.BF16)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


CASES = ("prompt", "decode", "batch")


def lines(command):
    """The JSON lines that a program prints."""
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def ours(program, folder, args):
    rows = lines([program, folder, str(args.prompt), str(args.new), "1", str(args.threads)])
    rates = {row["case"]: row["tokens_per_s"] for row in rows if "tokens_per_s" in row}
    return [rates[case] for case in CASES] + [rates["decode"] / rates["read"]]


def theirs(folder, model, args):
    threads = str(args.threads)
    rows = lines([f"{folder}/llama-bench", "-m", model, "-p", str(args.prompt), "-n", str(args.new), "-r",
                  "1", "-t", threads, "-o", "jsonl"])
    batch = lines([f"{folder}/llama-batched-bench", "-m", model, "-c", "2048", "-npp", "64", "-ntg", "1",
                   "-npl", "16", "-t", threads, "--output-format", "jsonl"])
    return [next(r["avg_ts"] for r in rows if r["n_prompt"]),
            next(r["avg_ts"] for r in rows if r["n_gen"]), batch[-1]["speed_pp"]]


def run(args):
    print(f"{'model':<12}{'case':<8}{'ingot':>10}{'llama.cpp':>11}{'ratio':>8}{'of memory':>11}")
    for pair in args.pairs:
        folder, model = pair.split("=")
        rounds = [(ours(args.bench, folder, args), theirs(args.llama, model, args))
                  for _ in range(args.rounds)]
        dense = "num_experts" not in json.loads(pathlib.Path(folder, "config.json").read_text())
        limit = statistics.median(r[0][-1] for r in rounds)
        for i, case in enumerate(CASES):
            a = statistics.median(r[0][i] for r in rounds)
            b = statistics.median(r[1][i] for r in rounds)
            ratio = statistics.median(r[0][i] / r[1][i] for r in rounds)
            share = f"{limit:>11.0%}" if case == "decode" and dense else ""
            print(f"{pathlib.Path(folder).name:<12}{case:<8}{a:>10.1f}{b:>11.1f}{ratio:>8.2f}{share}",
                  flush=True)


def make_all(args):
    """bf16, and 8, 6 and 4 bits in groups of 64, beside llama.cpp's types of these widths."""
    at = args.dir
    plain, gguf_file = at / "bf16", at / "BF16.gguf"
    if not plain.exists():
        few = [str(args.layers)] if args.layers else []
        subprocess.run([f"{args.build}/bench/make_models", str(at), "1", args.shape, *few], check=True)
        (at / "m0").rename(plain)
    if not gguf_file.exists():
        write_gguf(plain, gguf_file)
    args.bench = f"{args.build}/bench/bench_infer"
    args.pairs = [f"{plain}={gguf_file}"]
    for bits, kind in ((8, "Q8_0"), (6, "Q6_K"), (4, "Q4_0")):
        folder, model = at / f"q{bits}", at / f"{kind}.gguf"
        if not folder.exists():
            subprocess.run([f"{args.build}/cli/ingot", "quantize", str(plain), str(folder), "-b", str(bits),
                            "-g", "64", "-q"], check=True)
        if not model.exists():
            subprocess.run([f"{args.llama}/llama-quantize", "--pure", str(gguf_file), str(model), kind],
                           check=True, capture_output=True)
        args.pairs.append(f"{folder}={model}")
    run(args)


def add_limits(parser):
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))


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
    add_limits(bench)
    bench.set_defaults(call=run)
    everything = commands.add_parser("all")
    everything.add_argument("build")
    everything.add_argument("llama")
    everything.add_argument("dir", type=pathlib.Path)
    everything.add_argument("--shape", default="0.6b")
    everything.add_argument("--layers", type=int, help="fewer than the original has")
    add_limits(everything)
    everything.set_defaults(call=make_all)
    args = parser.parse_args()
    args.call(args)


main()
