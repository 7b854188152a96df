#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time of `ingot merge` beside `cat` of its inputs and `cp` of its output, page cache warm, medians.

    bench/bench_merge.py --build build --scratch DIR [--models 3] [--runs 5] [--out-dtype bfloat16]

Makes the models (Qwen3-0.6B's shapes, random weights) in DIR unless they are there. The rounds are
interleaved, so that a busy machine slows all three down alike. Prints one line of JSON.
"""
import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import time


def timed(command):
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, shell=isinstance(command, str))
    return time.monotonic() - start, done.stdout


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--scratch", required=True)
    parser.add_argument("--models", type=int, default=3)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--method", default="yoyo_fusion")
    parser.add_argument("--parameters", default="center: geometric_median")
    parser.add_argument("--threads", default="0")
    args = parser.parse_args()
    scratch, build = pathlib.Path(args.scratch), pathlib.Path(args.build)
    scratch.mkdir(parents=True, exist_ok=True)
    models = [scratch / f"m{i}" for i in range(args.models)]
    if not all(m.exists() for m in models):
        subprocess.run([build / "bench/make_models", scratch, str(args.models)], check=True)
    recipe, out, copy = scratch / "recipe.yaml", scratch / "out", scratch / "copy"
    listed = ", ".join(f"{{model: {m}}}" for m in models)
    recipe.write_text(f"merge_method: {args.method}\nmodels: [{listed}]\nparameters: {{{args.parameters}}}\n")
    shards = " ".join(str(s) for m in models for s in sorted(m.glob("*.safetensors")))
    rows = {"cat": [], "cp": [], "merge": []}
    peak = 0
    for _ in range(args.runs + 1):  # the first warms the page cache and is not counted
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(copy, ignore_errors=True)
        rows["cat"].append(timed(f"cat {shards} > /dev/null")[0])
        seconds, text = timed([build / "bench/bench_merge", recipe, out, args.threads])
        rows["merge"].append(seconds)
        peak = max(peak, json.loads(text)["peak_bytes"])
        copy.mkdir()
        rows["cp"].append(timed(f"cp {out}/*.safetensors {copy}/")[0])
    median = {k: statistics.median(v[1:]) for k, v in rows.items()}
    read = sum(s.stat().st_size for m in models for s in m.glob("*.safetensors"))
    shutil.rmtree(out)
    shutil.rmtree(copy)
    print(json.dumps({"case": f"merge {args.method} K={args.models}", **{k: round(v, 3) for k, v in median.items()},
                      "allowed": round(2 * median["cat"] + median["cp"], 3), "input_GB/s": round(read / 1e9 / median["merge"], 2),
                      "peak_MB": round(peak / 1e6, 1), "all": {k: [round(x, 3) for x in v[1:]] for k, v in rows.items()}}))


if __name__ == "__main__":
    main()
