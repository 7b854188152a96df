#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time of `ingot merge` beside `cat` of its inputs and `cp` of its output, medians.

    bench/bench_merge.py --build build --scratch DIR [--models 3] [--runs 5] [--method ties,linear | all]
    bench/bench_merge.py --scratch DIR --family 30b-a3b --layers 2 --method yoyo_fusion
    bench/bench_merge.py --scratch DIR --family 30b-a3b --layers 6 --method yoyo_fusion --cold

Makes the models (Qwen3-0.6B's names and shapes, random weights; --family: make_models.c) in DIR unless they are
there; give each family a DIR of its own. A model of 30b-a3b has 1.25 GB of embeddings and head, and 1.25 GB a layer
of 128 experts: 3.7 GB with 2 layers, 8.7 GB with 6. What is to be timed warm must fit the page cache, the inputs and
the output twice: three models of 2 layers want 19 GB.

The rounds are interleaved, so that a busy machine slows all of them down alike; "cpu" is processor time, which
hardly depends on what else runs. "allowed": warm, two reads of the inputs and one copy of the output; cold (--cold:
before each step the page cache drops the files), one read and one copy, the copy with sync. "of_allowed" is the merge's time over that, by the clock and by processor time. One line of
JSON for each method.
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


def forget(paths):
    """The page cache drops these files."""
    os.sync()
    for path in paths:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


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
    parser.add_argument("--family", default="0.6b", help="of make_models: 0.6b, 1.7b, 30b-a3b, names")
    parser.add_argument("--layers", help="fewer than the family's")
    parser.add_argument("--experts", help="fewer than the family's; with --layers")
    parser.add_argument("--cold", action="store_true")
    args = parser.parse_args()
    scratch, build = pathlib.Path(args.scratch), pathlib.Path(args.build)
    scratch.mkdir(parents=True, exist_ok=True)
    models = [scratch / f"m{i}" for i in range(args.models)]
    if not all(m.exists() for m in models):
        fewer = [n for n in (args.layers, args.experts) if n]
        subprocess.run([build / "bench/make_models", scratch, str(args.models), args.family, *fewer], check=True)
    out, copy = scratch / "out", scratch / "copy"
    for method in METHODS if args.method == "all" else args.method.split(","):
        recipe = scratch / "recipe.yaml"
        text, used = recipe_of(method, models, args.parameters)
        recipe.write_text(text)
        files = [s for m in used for s in sorted(m.glob("*.safetensors"))]
        shards = " ".join(str(s) for s in files)
        rows, peak = {"cat": [], "cp": [], "merge": []}, 0
        for _ in range(args.runs + (not args.cold)):  # the first warms the page cache and is not counted
            shutil.rmtree(out, ignore_errors=True)
            shutil.rmtree(copy, ignore_errors=True)
            if args.cold:
                forget(files)
            rows["cat"].append(timed(f"cat {shards} > /dev/null")[:2])
            if args.cold:
                forget(files)
            seconds, cpu, text = timed([build / "bench/bench_merge", recipe, out, args.threads])
            rows["merge"].append((seconds, cpu))
            peak = max(peak, json.loads(text)["peak_bytes"])
            copy.mkdir()
            forget(out.glob("*.safetensors"))
            if not args.cold:  # the merge leaves its output on the disk only
                timed(f"cat {out}/*.safetensors > /dev/null")
            rows["cp"].append(timed(f"cp {out}/*.safetensors {copy}/" + (f" && sync {copy}/*" if args.cold else ""))[:2])
        if not args.cold:
            rows = {k: v[1:] for k, v in rows.items()}
        wall, cpu = ({k: statistics.median(x[i] for x in v) for k, v in rows.items()} for i in range(2))
        allowed, of = [], []
        for took in (wall, cpu):
            allowed.append((1 if args.cold else 2) * took["cat"] + took["cp"])
            of.append(round(took["merge"] / allowed[-1], 2))
        read = sum(s.stat().st_size for s in files)
        shutil.rmtree(out)
        shutil.rmtree(copy)
        print(json.dumps({"case": f"merge {method} K={len(used)} {args.family}" + " cold" * args.cold,
                          **{k: round(v, 3) for k, v in wall.items()}, "allowed": round(allowed[0], 3),
                          "of_allowed": {"clock": of[0], "cpu": of[1]}, "cpu": {k: round(v, 2) for k, v in cpu.items()},
                          "input_GB/s": round(read / 1e9 / wall["merge"], 2), "peak_MB": round(peak / 1e6, 1)}), flush=True)


if __name__ == "__main__":
    main()
