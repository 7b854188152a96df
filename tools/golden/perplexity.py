#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tests/golden/eval/perplexity.json: transformers' perplexity of passages of fixtures/tasks/boolq.jsonl, which it puts into
tests/golden/eval/passages.txt, in windows of 64 whose second half is
scored, for each fixture model as it is and on the weights that `ingot quantize --recipe R` makes of it, dequantised in f32. Weights
and arithmetic in f64. Made with transformers 5.24.0, torch 2.15.0, mlx 0.32.4.

    python tools/golden/perplexity.py build/cli/ingot > tests/golden/eval/perplexity.json"""
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import torch
from logits_families import dequantised
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTEXT = 64


def perplexity(model, ids):
    nll = []
    for i in range(len(ids) // CONTEXT):
        window = torch.tensor(ids[i * CONTEXT:(i + 1) * CONTEXT])
        with torch.no_grad():
            logs = model(window[None]).logits[0, CONTEXT // 2:-1].log_softmax(-1)
        nll.append(-logs.gather(1, window[CONTEXT // 2 + 1:, None])[:, 0])
    return math.exp(torch.cat(nll).mean().item())


def main():
    ingot = sys.argv[1]
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in (ROOT / "fixtures/tasks/boolq.jsonl").read_text().splitlines()[:40]]
    text = "\n".join(row["passage"] for row in rows) + "\n"
    (ROOT / "tests/golden/eval/passages.txt").write_text(text)
    rows = []
    for name in ["base", "anvil", "lantern", "ballad"]:
        folder = ROOT / "fixtures/models" / name
        ids = AutoTokenizer.from_pretrained(folder).encode(text)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
        rows.append({"model": name, "recipe": None, "ppl": perplexity(model, ids)})
        for recipe in ["q4", "qx65-hi", "mxfp4"]:
            with tempfile.TemporaryDirectory() as scratch:
                out = pathlib.Path(scratch) / "q"
                subprocess.run([ingot, "quantize", folder, out, "--recipe", recipe, "-q"], check=True, stdout=subprocess.DEVNULL)
                state = dequantised(out)
            missing = model.load_state_dict({k: v.double() for k, v in state.items()}, strict=False)
            assert not missing.missing_keys and not missing.unexpected_keys, missing
            rows.append({"model": name, "recipe": recipe, "ppl": perplexity(model, ids)})
    print("[" + ",\n ".join(json.dumps(row) for row in rows) + "]")


if __name__ == "__main__":
    main()
