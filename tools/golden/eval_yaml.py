#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What lm-evaluation-harness makes of tests/golden/eval/yaml: requests, gold, hashes, metrics.

    eval_yaml.py FOLDER OUT [--template FILE.jinja]

Made with lm-eval 0.4.13, datasets 5.2, jinja2 3.1.6. Committed: requests.jsonl; with
--template ../template.jinja (examples as turns of their own): chat.jsonl.
"""
import argparse
import json
import os
import pathlib

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
import eval_requests  # noqa: E402  (the environment comes first)

TASKS = ["science.yaml", "by_name.yml", "verdict.yaml", "blank.yaml", "letters.yaml"]


def lines(task, template):
    task.set_fewshot_seed(seed=1234)
    task.build_all_requests(apply_chat_template=bool(template), fewshot_as_multiturn=True,
                            chat_template=eval_requests.renderer(template) if template else None)
    items = {}
    for one in task.instances:
        items.setdefault(one.doc_id, []).append(one)
    for doc_id, ones in sorted(items.items()):
        ones.sort(key=lambda one: one.idx)
        doc = ones[0].doc
        target = task.doc_to_target(doc)
        gold = task.doc_to_text(doc) if task.multiple_input else target
        choices = task.doc_to_choice(doc)
        yield {"task": task.config.task, "doc": doc_id, "target": str(target),
               "gold": choices.index(gold) if isinstance(gold, str) else gold,
               "contexts": [one.args[0] for one in ones], "continuations": [one.args[1] for one in ones],
               "lengths": [len(choice) for choice in choices],
               "metrics": list(task._metric_fn_list),
               "doc_hash": eval_requests.sha(json.dumps(doc, indent=2, ensure_ascii=False))}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--template")
    args = parser.parse_args()
    out, template = args.out.absolute(), args.template and os.path.abspath(args.template)
    os.chdir(args.folder)
    from lm_eval import tasks
    with open(out, "w", encoding="utf-8") as file:
        for name in TASKS:
            loaded = tasks.TaskManager().load([os.path.abspath(name)])["tasks"]
            for task in loaded.values():
                for line in lines(task, template):
                    file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
