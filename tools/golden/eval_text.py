#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Perplexity and KL divergence of transformers models, by the definitions of llama-perplexity.

    eval_text.py MODEL TEXT [--kl-to REFERENCE] [--context 512] [--windows N]

Weights and arithmetic in f64; prints one JSON object. The constants in tests/unit/test_eval_text.c were
made with transformers 5.24 and torch 2.15: tests/golden/eval/text.txt, --context 64.
"""
import argparse
import json

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def mean_error(x):
    n = len(x)
    mean = x.mean()
    return mean.item(), ((x * x).mean() - mean * mean).clamp(min=0).div(n - 1).sqrt().item()


def percentile(values, percent):
    values = values.sort().values
    at = percent / 100 * (len(values) - 1)
    i = int(at)
    return ((1 - at + i) * values[i] + (at - i) * values[min(i + 1, len(values) - 1)]).item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--kl-to")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--windows", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    ids = tokenizer.encode(open(args.text, encoding="utf-8").read())
    models = [AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64)
              for path in (args.model, args.kl_to) if path]
    n, first = args.context, args.context // 2
    rows = [[] for _ in range(5)]
    for i in range(min(len(ids) // n, args.windows or len(ids))):
        window = torch.tensor(ids[i * n:(i + 1) * n])
        with torch.no_grad():
            logs = [m(window[None]).logits[0, first:-1].log_softmax(-1) for m in models]
        targets = window[first + 1:, None]
        nll = [-log.gather(1, targets)[:, 0] for log in logs]
        rows[0].append(nll[0])
        if len(models) > 1:
            rows[1].append(nll[1])
            rows[2].append((logs[1].exp() * (logs[1] - logs[0])).sum(-1))
            rows[3].append((-nll[0]).exp() - (-nll[1]).exp())
            rows[4].append((logs[0].argmax(-1) == logs[1].argmax(-1)).double())
    rows = [torch.cat(row) for row in rows if row]
    nll, error = mean_error(rows[0])
    ppl = torch.tensor(nll).double().exp().item()
    out = {"tokens": len(rows[0]), "ppl": ppl, "ppl_error": ppl * error}
    if len(models) > 1:
        base, base_error = mean_error(rows[1])
        out["ln_ppl_ratio"] = nll - base
        cov = ((rows[0] * rows[1]).mean().item() - nll * base) / (len(rows[0]) - 1)
        out["ln_ppl_ratio_error"] = (error ** 2 + base_error ** 2 - 2 * cov) ** 0.5
        out["correlation"] = cov / (error * base_error)
        out["kld"], out["kld_error"] = mean_error(rows[2])
        out["kld_percentiles"] = {str(p): percentile(rows[2], p)
                                  for p in (0, 0.1, 1, 5, 10, 50, 90, 95, 99, 99.9, 100)}
        out["delta_p"], out["delta_p_error"] = mean_error(rows[3])
        square, square_error = mean_error(rows[3] ** 2)
        out["rms_delta_p"], out["rms_delta_p_error"] = square ** 0.5, square_error / square ** 0.5 / 2
        out["same_top"] = rows[4].mean().item()
    print(json.dumps(out))


if __name__ == "__main__":
    main()
