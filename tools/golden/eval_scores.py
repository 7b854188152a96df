#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Log-likelihoods and metrics of lm-evaluation-harness and mlx_lm.evaluate for a model and local rows.

    eval_scores.py MODEL ROWS OUT --modes hf,hf-chat,hf-shots,mlx,mlx-chat,mlx-shots [--limit N] [--items N] [--files]

ROWS as for eval_requests.py. Writes OUT/MODE.jsonl: for each task a line with its metrics, then a line for
each item (of each task the first --items only). The committed files: fixtures/models/base on fixtures/tasks,
--limit 16 --items 8; long.jsonl: mode hf on tests/golden/eval/long. --files also keeps what the harness itself writes (results_*.json, samples_*.jsonl) and prints.
Golden files were made with lm-eval 0.4.13 (hf: f32 on the CPU) and mlx-lm 0.32 (CPU), CPython 3.11.
"""
import argparse
import json
import os
import pathlib
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
import eval_requests  # noqa: E402  (the environment comes first)

SHOTS = 3


def task_files(rows, folder):
    names = [name for name in eval_requests.YAML if pathlib.Path(rows, f"{name}.jsonl").exists()]
    return [eval_requests.yaml_file(os.path.abspath(rows), name, folder) for name in names]


def evaluate(model, mode, tasks, limit, out):
    import lm_eval
    from lm_eval.loggers import EvaluationTracker
    chat = mode.endswith("-chat")
    tracker = EvaluationTracker(output_path=str(out)) if out else None
    common = dict(tasks=tasks, limit=limit, log_samples=True, apply_chat_template=chat, evaluation_tracker=tracker,
                  num_fewshot=SHOTS if "-shots" in mode else None)
    if mode.startswith("hf"):
        result = lm_eval.simple_evaluate(
            model="hf", device="cpu", batch_size=8, model_args={"pretrained": model, "dtype": "float32"}, **common)
    else:
        import mlx.core as mx
        from mlx_lm.evaluate import MLXLM
        mx.set_default_device(mx.cpu)
        lm = MLXLM(model, use_chat_template=chat)
        lm._model.set_dtype(mx.float32)
        result = lm_eval.simple_evaluate(
            model=lm, model_args={"pretrained": model}, fewshot_as_multiturn=False, random_seed=123,
            numpy_random_seed=123, torch_random_seed=123, fewshot_random_seed=123, **common)
    if out:
        keep_files(tracker, result, out)
    return result


def keep_files(tracker, result, out):
    from lm_eval.utils import make_table
    samples = result["samples"]
    tracker.save_results_aggregated(results={k: v for k, v in result.items() if k != "samples"}, samples=samples)
    for name in result["configs"]:
        tracker.save_results_samples(task_name=name, samples=json.loads(json.dumps(samples[name], default=str)))
    pathlib.Path(out, "table.txt").write_text(make_table(result))


def lines(result, items):
    for name, values in result["results"].items():
        yield {"task": name, **{key.split(",")[0]: value for key, value in values.items()
                                if key.endswith(",none") and not isinstance(value, str)}}
        for sample in result["samples"][name][:items]:
            yield {"task": name, "doc": sample["doc_id"], "acc": sample["acc"],
                   "logprobs": [round(one[0], 6) for one in sample["filtered_resps"]],
                   "greedy": [bool(one[1]) for one in sample["filtered_resps"]]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("rows")
    parser.add_argument("out")
    parser.add_argument("--modes", default="hf")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--items", type=int)
    parser.add_argument("--files", action="store_true")
    args = parser.parse_args()
    for mode in args.modes.split(","):
        with tempfile.TemporaryDirectory() as folder:
            files = pathlib.Path(args.out, mode) if args.files else None
            result = evaluate(args.model, mode, task_files(args.rows, folder), args.limit, files)
        with open(pathlib.Path(args.out, f"{mode}.jsonl"), "w", encoding="utf-8") as out:
            for line in lines(result, args.items):
                out.write(json.dumps(line, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
