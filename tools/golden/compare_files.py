#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A run of lm-evaluation-harness as `ingot compare` reads it, small enough to keep.

    eval_scores.py fixtures/models/base fixtures/tasks OUT --modes hf --limit 6 --files
    compare_files.py OUT/hf/fixtures__models__base tests/golden/compare/lm-eval/base

Samples files are copied as they are; of the results file what tells about the machine is left out. Made with lm-eval 0.4.13.
"""
import json
import pathlib
import shutil
import sys

KEPT = ("results", "versions", "n-shot", "higher_is_better", "n-samples", "lm_eval_version", "task_hashes", "model_source", "model_name",
        "model_name_sanitized", "chat_template", "chat_template_sha", "fewshot_as_multiturn")

source, target = map(pathlib.Path, sys.argv[1:])
target.mkdir(parents=True, exist_ok=True)
for path in sorted(source.iterdir()):
    if path.name.startswith("samples_"):
        shutil.copyfile(path, target / path.name)
    else:
        results = json.loads(path.read_text())
        (target / path.name).write_text(json.dumps({k: results[k] for k in KEPT}, indent=2, ensure_ascii=False))
