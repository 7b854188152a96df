#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time of `ingot merge` beside `cat` of its inputs and `cp` of its output, page cache warm, medians.

    bench/bench_merge.py --build build --scratch DIR [--models 3] [--runs 5] [--method ties,linear | all]

Makes the models (Qwen3-0.6B's shapes, random weights) in DIR unless they are there. The rounds are interleaved, so
that a busy machine slows all of them down alike; "cpu" is processor time, which hardly depends on what else runs.
"allowed": two reads of the inputs and one copy of the output. Prints one line of JSON for each method.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import time

SPARSE = "weight: 0.5, density: 0.5"
# parameters, and whether the first model is the base
METHODS = {
    "linear": ("weight: 0.5", False), "slerp": ("t: 0.4", True), "nuslerp": ("weight: 0.5", True), "multislerp": ("weight: 0.5", False),
    "karcher": ("", False), "model_stock": ("", True), "yoyo_scale": ("", True), "yoyo_fusion": ("center: geometric_median", False),
    "task_arithmetic": ("weight: 0.5", True), "ties": (SPARSE, True), "breadcrumbs": (SPARSE, True), "breadcrumbs_ties": (SPARSE, True),
    "dare_linear": (SPARSE, True), "dare_ties": (SPARSE, True), "della": (SPARSE, True), "sce": ("select_topk: 0.5", True),
    "ram": ("", True), "ramplus_tl": ("", True), "nearswap": ("t: 0.001", True), "arcee_fusion": ("", True),
}
PAIR = ("slerp", "nearswap", "arcee_fusion")  # a base and one model


def timed(command):
    """Seconds on the clock, seconds of processor, what it printed."""
    before, start = os.times(), time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, shell=isinstance(command, str))
    wall, after = time.monotonic() - start, os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system, done.stdout


def recipe_of(method, models, parameters):
    default, based = METHODS.get(method, ("", False))
    listed = models[:2] if method in PAIR else models
    text = f"merge_method: {method}\nmodels: [" + ", ".join(f"{{model: {m}}}" for m in listed[based:]) + "]\n"
    return text + f"base_model: {models[0]}\n" * based + f"parameters: {{{default if parameters is None else parameters}}}\n", listed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--scratch", required=True)
    parser.add_argument("--models", type=int, default=3)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--method", default="yoyo_fusion", help="a list, or all")
    parser.add_argument("--parameters", help="instead of the method's own here")
    parser.add_argument("--threads", default="0")
    args = parser.parse_args()
    scratch, build = pathlib.Path(args.scratch), pathlib.Path(args.build)
    scratch.mkdir(parents=True, exist_ok=True)
    models = [scratch / f"m{i}" for i in range(args.models)]
    if not all(m.exists() for m in models):
        subprocess.run([build / "bench/make_models", scratch, str(args.models)], check=True)
    out, copy = scratch / "out", scratch / "copy"
    for method in METHODS if args.method == "all" else args.method.split(","):
        recipe = scratch / "recipe.yaml"
        text, used = recipe_of(method, models, args.parameters)
        recipe.write_text(text)
        shards = " ".join(str(s) for m in used for s in sorted(m.glob("*.safetensors")))
        rows, peak = {"cat": [], "cp": [], "merge": []}, 0
        for _ in range(args.runs + 1):  # the first warms the page cache and is not counted
            shutil.rmtree(out, ignore_errors=True)
            shutil.rmtree(copy, ignore_errors=True)
            rows["cat"].append(timed(f"cat {shards} > /dev/null")[:2])
            seconds, cpu, text = timed([build / "bench/bench_merge", recipe, out, args.threads])
            rows["merge"].append((seconds, cpu))
            peak = max(peak, json.loads(text)["peak_bytes"])
            copy.mkdir()
            rows["cp"].append(timed(f"cp {out}/*.safetensors {copy}/")[:2])
        wall = {k: statistics.median(x[0] for x in v[1:]) for k, v in rows.items()}
        cpu = {k: statistics.median(x[1] for x in v[1:]) for k, v in rows.items()}
        read = sum(s.stat().st_size for m in used for s in m.glob("*.safetensors"))
        shutil.rmtree(out)
        shutil.rmtree(copy)
        print(json.dumps({"case": f"merge {method} K={len(used)}", **{k: round(v, 3) for k, v in wall.items()},
                          "allowed": round(2 * wall["cat"] + wall["cp"], 3), "cpu": {k: round(v, 2) for k, v in cpu.items()},
                          "input_GB/s": round(read / 1e9 / wall["merge"], 2), "peak_MB": round(peak / 1e6, 1)}), flush=True)


if __name__ == "__main__":
    main()
