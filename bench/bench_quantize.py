#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Casting a model of Qwen3-0.6B's shapes (random bf16, 1.19 GB): ours, mlx_lm.convert, cat and cp.

    bench_quantize.py --work DIR [--runs 5] [--peer PYTHON] [--ours build/bench/bench_quantize]

Page cache warm, medians. Without --peer only ours, cat and cp. The model stays in DIR/model."""
import argparse
import json
import pathlib
import shutil
import statistics
import struct
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
HIDDEN, INNER, LAYERS, VOCAB, HEADS, KV, HEAD = 1024, 3072, 28, 151936, 16, 8, 128
CASES = [("affine:4:64", ["--q-bits", "4", "--q-group-size", "64"]),
         ("affine:6:32", ["--q-bits", "6", "--q-group-size", "32"]),
         ("mxfp4", ["--q-mode", "mxfp4"])]
MANY = ["qx86-hi", "qx65-hi", "mxfp4"]


def shapes():
    yield "model.embed_tokens.weight", (VOCAB, HIDDEN)
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        yield p + "self_attn.q_proj.weight", (HEADS * HEAD, HIDDEN)
        yield p + "self_attn.k_proj.weight", (KV * HEAD, HIDDEN)
        yield p + "self_attn.v_proj.weight", (KV * HEAD, HIDDEN)
        yield p + "self_attn.o_proj.weight", (HIDDEN, HEADS * HEAD)
        yield p + "self_attn.q_norm.weight", (HEAD,)
        yield p + "self_attn.k_norm.weight", (HEAD,)
        yield p + "mlp.gate_proj.weight", (INNER, HIDDEN)
        yield p + "mlp.up_proj.weight", (INNER, HIDDEN)
        yield p + "mlp.down_proj.weight", (HIDDEN, INNER)
        yield p + "input_layernorm.weight", (HIDDEN,)
        yield p + "post_attention_layernorm.weight", (HIDDEN,)
    yield "model.norm.weight", (HIDDEN,)


def make_model(folder):
    import numpy as np
    folder.mkdir(parents=True)
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes():
        n = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(7)
    with open(folder / "model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, shape in shapes():
            x = rng.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
            f.write((x.view(np.uint32) >> 16).astype(np.uint16).tobytes())
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": HIDDEN,
        "intermediate_size": INNER, "num_hidden_layers": LAYERS, "vocab_size": VOCAB,
        "num_attention_heads": HEADS, "num_key_value_heads": KV, "head_dim": HEAD, "rms_norm_eps": 1e-06,
        "rope_theta": 1000000, "max_position_embeddings": 40960, "tie_word_embeddings": True,
        "torch_dtype": "bfloat16", "hidden_act": "silu", "attention_bias": False}))
    for path in (ROOT / "fixtures/models/base").iterdir():
        if "token" in path.name:
            shutil.copy(path, folder)


def timed(command, clean=None):
    """Seconds and peak resident MB."""
    if clean:
        shutil.rmtree(clean, ignore_errors=True)
    start = time.perf_counter()
    out = subprocess.run(["/usr/bin/time", "-f", "%M", *command], check=True, capture_output=True, text=True)
    return time.perf_counter() - start, int(out.stderr.split()[-1]) / 1024


def median(runs, command, clean=None):
    got = [timed(command, clean) for _ in range(runs)]
    return statistics.median(s for s, _ in got), max(m for _, m in got)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("--work", required=True)
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--peer", help="python with mlx-lm; run once a case")
    ap.add_argument("--ours", default=str(ROOT / "build/bench/bench_quantize"))
    args = ap.parse_args()
    work = pathlib.Path(args.work)
    model = work / "model"
    if not model.exists():
        make_model(model)
    weights = str(model / "model.safetensors")
    cat, _ = median(args.runs, ["sh", "-c", f"cat {weights} > /dev/null"])
    print(f"cat of the input {cat:.2f} s", flush=True)
    slowest = 0
    for name, flags in CASES:
        out = work / name.replace(":", "_")
        ours, peak = median(args.runs, [args.ours, str(model), str(out), name], out)
        slowest = max(slowest, ours)
        made = out / "model.safetensors"
        cp, _ = median(args.runs, ["cp", str(made), str(work / "copy")])
        line = (f"{name:12} ours {ours:.2f} s {peak:.0f} MB; {made.stat().st_size / 1e6:.0f} MB out; "
                f"cp of it {cp:.2f} s; ours / (cat + cp) {ours / (cat + cp):.2f}")
        if args.peer:
            code = "import sys; from mlx_lm.convert import main; sys.argv[0] = 'convert'; main()"
            peer_out = work / "peer"
            theirs, their_peak = timed([args.peer, "-c", code, "--hf-path", str(model), "--mlx-path",
                                        str(peer_out), "-q", *flags], peer_out)
            same = made.read_bytes() == (peer_out / "model.safetensors").read_bytes()
            line += (f"; mlx_lm.convert {theirs:.2f} s {their_peak:.0f} MB; factor {theirs / ours:.1f}; "
                     f"{'same bytes' if same else 'DIFFERENT BYTES'}")
            shutil.rmtree(peer_out)
        print(line, flush=True)
        shutil.rmtree(out)
    singles = [median(args.runs, [args.ours, str(model), str(work / "one"), name], work / "one")[0]
               for name in MANY]
    shutil.rmtree(work / "one")
    many, peak = median(args.runs, [args.ours, str(model), str(work / "many"), *MANY], work / "many")
    print(f"{','.join(MANY)}: {many:.2f} s {peak:.0f} MB; alone {', '.join(f'{s:.2f}' for s in singles)} s; "
          f"ratio to the slowest {many / max(singles):.2f}")
    for name in ("many", "copy"):
        path = work / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    main()
