#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Processor time and peak memory of `ingot extract-lora` beside mergekit-extract-lora, one thread each, in turns.

    bench/bench_lora.py --build build --scratch DIR [--layers 4] [--rank 128] [--runs 2] [--peer mergekit-extract-lora]

The pair is make_models' (Qwen3-0.6B's names and shapes, of LAYERS layers): all matrices differ. Embeddings are left out of both, which
would be saved whole. One line of JSON: medians of processor seconds, the peer's over ours, largest resident sets, bytes written.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess


def timed(command):
    """Seconds of processor and the largest resident set of a command."""
    child = os.fork()
    if child == 0:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 1)
        os.dup2(devnull, 2)
        os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", HF_HUB_OFFLINE="1")
        os.execvp(command[0], command)
    _, status, usage = os.wait4(child, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)}: status {status}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def weight_bytes(folder):
    return sum(p.stat().st_size for p in folder.glob("*.safetensors"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--scratch", required=True)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--peer", help="mergekit-extract-lora; without it ours alone is timed")
    args = parser.parse_args()
    scratch, build = pathlib.Path(args.scratch).resolve(), pathlib.Path(args.build)
    if not (scratch / "m1").exists():
        scratch.mkdir(parents=True, exist_ok=True)
        subprocess.run([build / "bench/make_models", scratch, "2", "0.6b", str(args.layers)], check=True)
    base, tuned, out = scratch / "m0", scratch / "m1", scratch / "out"
    ours = [str(build / "cli/ingot"), "extract-lora", str(tuned), str(out), "--base", str(base), "-r", str(args.rank), "-e", "embed_tokens",
            "-e", "lm_head", "-j", "1", "-q"]
    theirs = [args.peer, "--model", str(tuned), "--base-model", str(base), "--out-path", str(out), "--max-rank", str(args.rank),
              "-e", "embed_tokens", "-e", "lm_head", "--quiet"]
    seconds, peak, size = {"ingot": [], "peer": []}, {"ingot": 0, "peer": 0}, {}
    for _ in range(args.runs):
        for name, command in (("ingot", ours), ("peer", theirs)):
            if command[0]:
                shutil.rmtree(out, ignore_errors=True)
                cpu, resident = timed(command)
                seconds[name].append(cpu)
                peak[name], size[name] = max(peak[name], resident), weight_bytes(out)
    shutil.rmtree(out)
    line = {"case": "extract-lora", "layers": args.layers, "rank": args.rank}
    for name, values in seconds.items():
        if values:
            line |= {f"{name}_cpu": round(statistics.median(values), 2), f"{name}_peak_bytes": peak[name], f"{name}_bytes": size[name]}
    if args.peer:
        line["ratio"] = round(line["peer_cpu"] / line["ingot_cpu"], 1)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
