#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Benchmark items a second: ingot eval beside lm-evaluation-harness and llama-perplexity.

    bench_eval.py INGOT ROWS FOLDER.. [--limit 40] [--exact] [--rounds 3] [--isa full|avx512] [--json FILE]
                  [--lm-eval FOLDER --python PYTHON [--lm-limit 4] [--dtypes bfloat16,float32] [--batch-sizes 1,8,auto]]
                  [--llama LLAMA_PERPLEXITY --gguf FILE.gguf]

ROWS holds TASK.jsonl in the Hub's schema. bench/make_models.c makes a folder of Qwen3-0.6B's shapes (add a tokenizer),
`ingot quantize --recipe qx86-hi,qx65-hi` and `--mode mxfp4` its quantised forms, llama.cpp's convert_hf_to_gguf.py the
GGUF. Programs take turns, round by round. Items a second by the wall clock and, because other programs may be running,
by processor time (items for each second of one core); loading is measured by a run of one row of each task and taken
off. The tasks together: the same number of items of each; tokens are those of all requests as the harness feeds them,
whatever a program shares. The harness's own default is a batch of 1; "auto" tries how much fits (up to --batch-max, in
nine tenths of the memory that is free). llama-perplexity does hellaswag only (in its own definition), so that line is
beside ingot on hellaswag.

--isa avx512 keeps both sides off the instructions for bf16 and int8 (AVX512-BF16, VNNI, AMX): torch by ONEDNN_MAX_CPU_ISA and
ATEN_CPU_CAPABILITY, ingot by --exact, which is what bf16 weights get on such a processor. llama.cpp is left out: its
instructions are chosen when it is built.

--json writes machine, versions, arguments, and each program's rounds. Written for lm-eval 0.4.13 and llama.cpp as in
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
SEVEN = "arc_challenge,arc_easy,boolq,hellaswag,openbookqa,piqa,winogrande"
PLAIN_AVX512 = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "ATEN_CPU_CAPABILITY": "avx512",
                "MKL_ENABLE_INSTRUCTIONS": "AVX512"}
HARNESS = """
import json, os, resource, sys, tempfile, time
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
job = json.loads(sys.argv[1])
free = next(int(line.split()[1]) * 1024 for line in open("/proc/meminfo") if line.startswith("MemAvailable"))
sys.path.insert(0, job["tools"])
import eval_requests, lm_eval, torch, transformers
from lm_eval.models.huggingface import HFLM
model = HFLM(pretrained=job["model"], device="cpu", dtype=job["dtype"], batch_size=job["batch"],
             max_batch_size=job["batch_max"])
resource.setrlimit(resource.RLIMIT_AS, (free * 9 // 10 + 2**33, -1))  # what is mapped already counts too
with tempfile.TemporaryDirectory() as folder:
    files = [eval_requests.yaml_file(job["rows"], name, folder) for name in job["tasks"].split(",")]
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
    result = lm_eval.simple_evaluate(model=model, tasks=files, limit=job["limit"], bootstrap_iters=0)
    items = sum(n["effective"] for n in result["n-samples"].values())
print("RESULT" + json.dumps({
    "items": items, "wall": spent[0], "cpu": spent[1], "tokens": tokens[0], "versions": {
        "lm_eval": lm_eval.__version__, "torch": torch.__version__, "transformers": transformers.__version__,
        "torch_cpu": torch.backends.cpu.get_cpu_capability()}}))
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


class Program:
    """One line of the table: a way to measure it, and what was measured."""

    def __init__(self, name, case, measure):
        self.name, self.case, self.measure = name, case, measure
        self.rounds, self.error = [], None

    def run(self):
        if self.error:
            return
        try:
            self.rounds.append(self.measure())
        except subprocess.CalledProcessError as error:
            self.error = (error.stderr or b"")[-2000:].decode(errors="replace").strip() or str(error)
            print(f"{self.name}: failed: {self.error.splitlines()[-1]}", file=sys.stderr, flush=True)
            return
        wall, cpu = self.rounds[-1]
        print(f"{self.name}, {self.case}: {wall:.3f} s an item, {cpu:.3f} of a processor", file=sys.stderr,
              flush=True)

    def result(self, tokens):
        """tokens: of an item of the seven tasks, as the harness feeds them; 0: not known."""
        out = {"program": self.name, "tasks": self.case, "rounds": [{"wall": w, "cpu": c} for w, c in self.rounds]}
        if self.error:
            out["error"] = self.error
        if self.rounds:
            wall, cpu = (statistics.median(r[i] for r in self.rounds) for i in range(2))
            out.update(items_per_second=1 / wall, items_per_core_second=1 / cpu)
            if tokens and self.case == "seven":
                out["tokens_per_second"] = tokens / wall
        return out


def ingot(args, folder, tasks):
    exact = args.exact or args.isa == "avx512"

    def command(limit):
        return [args.ingot, "eval", folder, "--data", args.rows, "--tasks", tasks, "--limit", str(limit),
                "--quiet"] + (["--exact"] if exact else [])
    count = len(tasks.split(","))
    return tuple(x / count for x in per_item(command, FEW, args.limit))


def harness(args, dtype, batch, told):
    tools = pathlib.Path(__file__).resolve().parent.parent / "tools/golden"
    job = {"tools": str(tools), "model": args.lm_eval, "dtype": dtype, "batch": batch, "batch_max": args.batch_max,
           "rows": os.path.abspath(args.rows), "limit": args.lm_limit, "tasks": args.tasks}
    environment = {**os.environ, **(PLAIN_AVX512 if args.isa == "avx512" else {})}
    out = subprocess.run([args.python, "-c", HARNESS, json.dumps(job)], check=True, env=environment,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout.decode()
    result = json.loads(next(x for x in out.splitlines() if x.startswith("RESULT"))[6:])
    told.update(result["versions"])
    told["tokens"] = result["tokens"] / result["items"]
    return result["wall"] / result["items"], result["cpu"] / result["items"]


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


def list_programs(args, text, told):
    programs = []
    if args.lm_eval:
        for dtype in args.dtypes.split(","):
            for batch in args.batch_sizes.split(","):
                size = int(batch) if batch.isdigit() else batch
                programs.append(Program(f"lm-eval HF {dtype} batch {batch}", "seven",
                                        lambda d=dtype, b=size: harness(args, d, b, told)))
    if text:
        programs.append(Program("llama-perplexity", "hellaswag", lambda: llama(args, text)))
    for folder in args.folders:
        for case in ("seven", "hellaswag") if text else ("seven",):
            tasks = args.tasks if case == "seven" else "hellaswag"
            programs.append(Program(f"ingot {pathlib.Path(folder).name}", case,
                                    lambda f=folder, t=tasks: ingot(args, f, t)))
    return programs


def machine():
    try:
        lines = open("/proc/cpuinfo", encoding="utf-8").read().splitlines()
    except OSError:
        return {"cores": os.cpu_count()}
    model = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), None)
    flags = next((x for x in lines if x.startswith("flags")), "").split()
    return {"cores": len(os.sched_getaffinity(0)), "cpu": model,
            "narrow": [x for x in ("avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8") if x in flags]}


def show(results):
    print(f"{'program, model':<36}{'tasks':<11}{'items/s':>9}{'tokens/s':>10}{'items/core-s':>14}")
    for one in results:
        if "items_per_second" not in one:
            print(f"{one['program']:<36}{one['tasks']:<11}   failed")
            continue
        rate = f"{one['tokens_per_second']:>10.0f}" if "tokens_per_second" in one else f"{'':>10}"
        print(f"{one['program']:<36}{one['tasks']:<11}{one['items_per_second']:>9.2f}{rate}"
              f"{one['items_per_core_second']:>14.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ingot")
    parser.add_argument("rows")
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--limit", type=int, default=40, help="rows of each task, more than 1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--isa", choices=("full", "avx512"), default="full")
    parser.add_argument("--tasks", default=SEVEN)
    parser.add_argument("--lm-eval", help="model folder for the harness")
    parser.add_argument("--python", default=sys.executable, help="that has lm_eval")
    parser.add_argument("--lm-limit", type=int, default=4)
    parser.add_argument("--dtypes", default="bfloat16,float32")
    parser.add_argument("--batch-sizes", default="1,8,auto")
    parser.add_argument("--batch-max", type=int, default=64)
    parser.add_argument("--llama")
    parser.add_argument("--gguf")
    parser.add_argument("--json", help="file for the result")
    args = parser.parse_args()
    if args.limit <= FEW or bool(args.llama) != bool(args.gguf):
        parser.error("--limit must be more than 1; --llama and --gguf go together")
    told = {}
    with tempfile.TemporaryDirectory() as folder:
        text = hellaswag_text(args.rows, folder) if args.llama and args.isa == "full" else None
        programs = list_programs(args, text, told)
        for _ in range(args.rounds):
            for program in programs:
                program.run()
    tokens = told.pop("tokens", 0)
    results = [program.result(tokens) for program in programs]
    show(results)
    if args.json:
        document = {"machine": machine(), "versions": told, "tokens_per_item": tokens, "arguments": vars(args),
                    "results": results}
        pathlib.Path(args.json).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 1 if any(program.error for program in programs) else 0


if __name__ == "__main__":
    sys.exit(main())
