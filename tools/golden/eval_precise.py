#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How far ingot's and lm-evaluation-harness's log-likelihoods in f32 are from the model's own, in f64.

    eval_precise.py INGOT MODEL ROWS [--limit 40] [--modes plain,template,shots] [--threads 1]

Requests are those that the harness builds, in its tokens; the model in f64 is transformers', widened from the same
weights, and only continuations go through its head. ROWS as for eval_requests.py, with TASK.train.jsonl (5 examples).
Written for lm-eval 0.4.13 and transformers 5.24. Prints, for each mode and task: items, tokens of continuations,
the largest sum, and the largest absolute differences, one line each.
"""
import argparse
import json
import os
import pathlib
import subprocess
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
import eval_requests  # noqa: E402  (the environment comes first)
from eval_scores import task_files  # noqa: E402

ARGUMENTS = {"plain": [], "template": ["--chat-template"], "shots": ["--shots", "5"]}


def harness(lm, args, mode, folder):
    """The harness's samples, and its requests in tokens by their texts."""
    import lm_eval
    seen, inner = {}, lm._loglikelihood_tokens

    def kept(requests, *rest, **named):
        seen.update({texts: (context, continuation) for texts, context, continuation in requests})
        return inner(requests, *rest, **named)
    lm._loglikelihood_tokens = kept
    result = lm_eval.simple_evaluate(
        model=lm, tasks=task_files(args.rows, folder), limit=args.limit, log_samples=True, bootstrap_iters=0,
        apply_chat_template=mode == "template", num_fewshot=5 if mode == "shots" else None,
        fewshot_as_multiturn=False)
    lm._loglikelihood_tokens = inner
    return result["samples"], seen


def precise(model, context, continuation):
    """The sum in f64."""
    import torch
    tokens = torch.tensor([(context + continuation)[:-1]])
    with torch.no_grad():
        hidden = model.model(tokens).last_hidden_state[0, -len(continuation):]
        table = torch.log_softmax(model.lm_head(hidden), -1)
    assert table.dtype == torch.float64
    return table[range(len(continuation)), continuation].sum().item()


def ingot(args, mode, folder):
    subprocess.run([args.ingot, "eval", args.model, "--tasks", ",".join(eval_requests.YAML), "--data", args.rows,
                    "--limit", str(args.limit), "--exact", "--quiet", "--output", folder, "-j", str(args.threads),
                    *ARGUMENTS[mode]], check=True, stdout=subprocess.DEVNULL)
    out = {}
    for path in pathlib.Path(folder).glob("*/samples_*.jsonl"):
        for line in map(json.loads, open(path, encoding="utf-8")):
            for i, (name, texts) in enumerate(sorted(line["arguments"].items())):
                out[texts["arg_0"], texts["arg_1"]] = float(line["filtered_resps"][i][0])
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ingot")
    parser.add_argument("model")
    parser.add_argument("rows")
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--modes", default="plain,template,shots")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    import torch
    import transformers
    from lm_eval.models.huggingface import HFLM
    torch.set_num_threads(args.threads)
    lm = HFLM(pretrained=args.model, device="cpu", dtype="float32", batch_size=4)
    model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float64)
    print(f"{'mode':<10}{'task':<15}{'requests':>9}{'tokens':>8}{'least sum':>12}{'ingot-f64':>11}{'lm-eval-f64':>12}"
          f"{'ingot-lm-eval':>14}")
    for mode in args.modes.split(","):
        with tempfile.TemporaryDirectory() as folder:
            samples, tokens = harness(lm, args, mode, folder)
        with tempfile.TemporaryDirectory() as folder:
            ours = ingot(args, mode, folder)
        for task, lines in samples.items():
            rows = [(texts, one[0]) for line in lines for texts, one in zip(line["arguments"], line["filtered_resps"])]
            truth = [precise(model, *tokens[texts]) for texts, _ in rows]
            here = [ours[texts] for texts, _ in rows]
            there = [value for _, value in rows]
            apart = [max(abs(a - b) for a, b in zip(x, y)) for x, y in ((here, truth), (there, truth), (here, there))]
            print(f"{mode:<10}{task:<15}{len(rows):>9}{sum(len(tokens[t][1]) for t, _ in rows):>8}{min(truth):>12.1f}"
                  f"{apart[0]:>11.1e}{apart[1]:>12.1e}{apart[2]:>14.1e}", flush=True)


if __name__ == "__main__":
    main()
