#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What lm-evaluation-harness puts before a model for given rows: every context, continuation and hash.

    eval_requests.py ROWS OUT.jsonl [--shots N --seed S] [--template FILE [--multiturn]] [--limit N]

ROWS holds TASK.jsonl and, for shots, TASK.train.jsonl. Golden files were made with lm-eval 0.4.13,
datasets 4.x and CPython 3.11. No model is loaded: tasks are built by the harness's own TaskManager from
its own YAML files, with the data set replaced by local files.
"""
import argparse
import hashlib
import json
import os
import pathlib
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
YAML = {
    "arc_challenge": "arc/arc_challenge", "arc_easy": "arc/arc_easy", "boolq": "super_glue/boolq/default",
    "hellaswag": "hellaswag/hellaswag", "openbookqa": "openbookqa/openbookqa", "piqa": "piqa/piqa",
    "winogrande": "winogrande/default",
}
SCORED = {"arc_challenge": "test", "arc_easy": "test", "openbookqa": "test"}


def yaml_file(rows, name, folder):
    from lm_eval import tasks
    files = {"validation": f"{rows}/{name}.jsonl", SCORED.get(name, "validation"): f"{rows}/{name}.jsonl"}
    pool = pathlib.Path(f"{rows}/{name}.train.jsonl")
    files["train"] = str(pool) if pool.exists() else f"{rows}/{name}.jsonl"
    path = pathlib.Path(folder) / f"{name}.yaml"
    path.write_text(
        f"include: {os.path.dirname(tasks.__file__)}/{YAML[name]}.yaml\ntask: {name}\ndataset_path: json\n"
        f"dataset_name: null\ndataset_kwargs:\n  data_files: {json.dumps(files)}\n")
    return str(path)


def build(rows, name, folder):
    from lm_eval import tasks
    return tasks.TaskManager().load([yaml_file(rows, name, folder)])["tasks"][name]


def renderer(path):
    import jinja2.sandbox
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(pathlib.Path(path).read_text())
    return lambda messages, add_generation_prompt=True: template.render(
        messages=messages, add_generation_prompt=add_generation_prompt)


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rows")
    parser.add_argument("out")
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--template")
    parser.add_argument("--multiturn", action="store_true")
    parser.add_argument("--limit", type=int)
    args = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for name in YAML:
            if not pathlib.Path(args.rows, f"{name}.jsonl").exists():
                continue
            task = build(os.path.abspath(args.rows), name, folder)
            task.set_config(key="num_fewshot", value=args.shots)
            task.set_fewshot_seed(seed=args.seed)
            task.build_all_requests(
                limit=args.limit, apply_chat_template=bool(args.template), fewshot_as_multiturn=args.multiturn,
                chat_template=renderer(args.template) if args.template else None)
            items = {}
            for one in task.instances:
                items.setdefault(one.doc_id, []).append(one)
            for doc_id, ones in sorted(items.items()):
                ones.sort(key=lambda one: one.idx)
                doc = ones[0].doc
                target = task.doc_to_target(doc)
                gold = task.doc_to_text(doc) if task.multiple_input else target
                contexts = [one.args[0] for one in ones]
                lines.append({
                    "task": name, "doc": doc_id, "gold": gold, "target": str(target),
                    "contexts": contexts[:1] if len(set(contexts)) == 1 else contexts,
                    "continuations": [one.args[1] for one in ones],
                    "lengths": [len(choice) for choice in task.doc_to_choice(doc)],
                    "doc_hash": sha(json.dumps(doc, indent=2, ensure_ascii=False)),
                })
    with open(args.out, "w", encoding="utf-8") as out:
        for line in lines:
            out.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
