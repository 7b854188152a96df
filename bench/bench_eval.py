#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Benchmark items a second: ingot eval beside lm-evaluation-harness and llama-perplexity.

    bench_eval.py INGOT ROWS FOLDER.. [--limit 40] [--exact] [--rounds 3]
                  [--lm-eval FOLDER --python PYTHON [--lm-limit 4] [--dtypes bfloat16,float32]]
                  [--llama LLAMA_PERPLEXITY --gguf FILE.gguf]

ROWS holds TASK.jsonl in the Hub's schema. bench/make_models.c makes a folder of Qwen3-0.6B's shapes (add
a tokenizer and the original's config.json), `ingot quantize` its quantised forms, llama.cpp's
convert_hf_to_gguf.py the GGUF. Programs take turns. Items a second by the wall clock and, because other
programs may be running, by processor time (items for each second of one core); loading is measured by a run
of few items and taken off. The seven tasks together: the same number of items of each; tokens are those of all
requests as the harness feeds them, whatever a program shares. llama-perplexity does hellaswag only (in its own
definition), so that line is beside ingot on hellaswag. Written for lm-eval 0.4.13 and llama.cpp as in
llama-cpp-python 0.3.36.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

FEW = 1
HARNESS = """
import json, os, sys, time
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
sys.path.insert(0, sys.argv[1])
import eval_requests, lm_eval, tempfile, resource
from lm_eval.models.huggingface import HFLM
model = HFLM(pretrained=sys.argv[2], device="cpu", dtype=sys.argv[3], batch_size=8)
with tempfile.TemporaryDirectory() as folder:
    files = [eval_requests.yaml_file(sys.argv[4], name, folder) for name in sys.argv[6].split(",")]
    spent, tokens = [0.0, 0.0], [0]
    inner, encode = model.loglikelihood, model._loglikelihood_tokens
    def timed(*args, **kwargs):
        wall, cpu = time.monotonic(), time.process_time()
        out = inner(*args, **kwargs)
        spent[0] += time.monotonic() - wall
        spent[1] += time.process_time() - cpu
        return out
    def counted(requests, *args, **kwargs):
        tokens[0] += sum(len(one[1]) + len(one[2]) - 1 for one in requests)
        return encode(requests, *args, **kwargs)
    model.loglikelihood, model._loglikelihood_tokens = timed, counted
    result = lm_eval.simple_evaluate(model=model, tasks=files, limit=int(sys.argv[5]), bootstrap_iters=0)
    items = sum(n["effective"] for n in result["n-samples"].values())
print("RESULT" + json.dumps([items, spent[0], spent[1], tokens[0]]))
"""


def spend(command):
    """Wall and processor seconds of a command."""
    before, start = os.times(), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = os.times()
    return (time.monotonic() - start,
            after.children_user + after.children_system - before.children_user - before.children_system)


def per_item(command, few, many):
    """Seconds of one item, load taken off: (wall, processor)."""
    a, b = spend(command(few)), spend(command(many))
    return tuple((y - x) / (many - few) for x, y in zip(a, b))


def ingot(args, folder, tasks):
    def command(limit):
        return [args.ingot, "eval", folder, "--data", args.rows, "--tasks", tasks, "--limit", str(limit),
                "--quiet"] + (["--exact"] if args.exact else [])
    count = len(tasks.split(","))
    return tuple(x / count for x in per_item(command, FEW, args.limit))


def harness(args, dtype, tasks):
    tools = pathlib.Path(__file__).resolve().parent.parent / "tools/golden"
    out = subprocess.run([args.python, "-c", HARNESS, str(tools), args.lm_eval, dtype, os.path.abspath(args.rows),
                          str(args.lm_limit), tasks], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         text=True).stdout
    line = next(x for x in out.splitlines() if x.startswith("RESULT"))
    items, wall, cpu, tokens = json.loads(line[6:])
    return (wall / items, cpu / items), tokens / items


def hellaswag_text(rows, folder):
    """llama-perplexity's form: context, gold, four endings."""
    path = pathlib.Path(folder) / "hellaswag.txt"
    with open(path, "w", encoding="utf-8") as out:
        for row in map(json.loads, open(pathlib.Path(rows) / "hellaswag.jsonl", encoding="utf-8")):
            context = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
            for line in (context, str(row["label"]), *row["endings"]):
                out.write(" ".join(line.split()) + "\n")
    return str(path)


def llama(args, text):
    def command(limit):
        return [args.llama, "-m", args.gguf, "-f", text, "--hellaswag", "--hellaswag-tasks", str(limit), "-t",
                str(len(os.sched_getaffinity(0)))]
    return per_item(command, FEW, args.limit)


def told(what, seconds):
    """Each figure as it comes: a long run that is stopped has said something."""
    print(f"{what}: {seconds[0]:.3f} s an item, {seconds[1]:.3f} of a processor", file=sys.stderr, flush=True)
    return seconds


def show(name, case, rounds, tokens):
    wall, cpu = (statistics.median(r[i] for r in rounds) for i in range(2))
    rate = f"{tokens / wall:>10.0f}" if tokens else f"{'':>10}"
    print(f"{name:<24}{case:<11}{1 / wall:>9.2f}{rate}{1 / cpu:>14.3f}", flush=True)
    return 1 / wall, 1 / cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ingot")
    parser.add_argument("rows")
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--tasks", default="arc_challenge,arc_easy,boolq,hellaswag,openbookqa,piqa,winogrande")
    parser.add_argument("--lm-eval", help="model folder for the harness")
    parser.add_argument("--python", default=sys.executable, help="that has lm_eval")
    parser.add_argument("--lm-limit", type=int, default=4)
    parser.add_argument("--dtypes", default="bfloat16,float32")
    parser.add_argument("--llama")
    parser.add_argument("--gguf")
    args = parser.parse_args()
    ours = {(f, c): [] for f in args.folders for c in (("seven", "hellaswag") if args.llama else ("seven",))}
    theirs = {d: [] for d in args.dtypes.split(",")} if args.lm_eval else {}
    others, tokens = [], 0
    with tempfile.TemporaryDirectory() as folder:
        text = hellaswag_text(args.rows, folder) if args.llama else None
        for _ in range(args.rounds):
            for dtype, rounds in theirs.items():
                seconds, tokens = harness(args, dtype, args.tasks)
                rounds.append(told(f"lm-eval {dtype}", seconds))
            if args.llama:
                others.append(told("llama-perplexity hellaswag", llama(args, text)))
            for (name, case), rounds in ours.items():
                seconds = ingot(args, name, args.tasks if case == "seven" else "hellaswag")
                rounds.append(told(f"ingot {name} {case}", seconds))
    print(f"{'program, model':<24}{'tasks':<11}{'items/s':>9}{'tokens/s':>10}{'items/core-s':>14}")
    for dtype, rounds in theirs.items():
        show(f"lm-eval HF {dtype}", "seven", rounds, tokens)
    if others:
        show("llama-perplexity", "hellaswag", others, 0)
    for (name, case), rounds in ours.items():
        show(f"ingot {pathlib.Path(name).name}", case, rounds, tokens if case == "seven" else 0)


if __name__ == "__main__":
    main()
