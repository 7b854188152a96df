#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tests/golden/infer/cache.jsonl: logits of fixtures/models/lantern in f32 with mlx-lm's caches that forget or round (mlx-lm 0.32.2,
mlx 0.32.4 on the CPU). A line is a case: how the tokens are fed ("runs": lengths, in order), and for the last token of each run the
log-sum of all logits and those of a few tokens.

    python tools/golden/cache_mlx.py > tests/golden/infer/cache.jsonl"""
import json
import pathlib

import mlx.core as mx
import mlx_lm
import mlx_lm.models.cache as caches
from mlx_lm.generate import maybe_quantize_kv_cache

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "fixtures/models/lantern"
WATCHED = list(range(7, 2048, 400))


def text_ids(tokenizer, count):
    rows = [json.loads(line) for line in (ROOT / "fixtures/tasks/boolq.jsonl").read_text().splitlines()[:40]]
    ids = tokenizer.encode(" ".join(row["passage"] for row in rows))
    return ids[:count]


def run(model, cache, ids, runs, start=None, bits=None):
    out, at = [], 0
    for count in runs:
        logits = model(mx.array([ids[at:at + count]]), cache=cache)[0, -1]
        at += count
        if start:
            maybe_quantize_kv_cache(cache, start, 32, bits)
        out.append([round(float(x), 5) for x in [mx.logsumexp(logits), *(logits[t] for t in WATCHED)]])
    return out


def main():
    model, tokenizer = mlx_lm.load(str(MODEL))
    model.set_dtype(mx.float32)
    layers = len(model.layers)
    ids = text_ids(tokenizer, 420)
    assert len(ids) == 420
    print(json.dumps({"ids": ids, "watched": WATCHED}))
    plain = [100, *[1] * 100]
    rotating = [("a long prompt, 200 tokens, another prompt, 60 tokens", 64, [99, *[1] * 201, 30, *[1] * 60]),
                ("a short prompt", 40, [10, *[1] * 100]), ("several prompts", 40, [60, 1, 40, *[1] * 9, 150, *[1] * 20, 2, 3, *[1] * 5])]
    for name, window, runs in rotating:
        cache = [caches.RotatingKVCache(max_size=window, keep=4) for _ in range(layers)]
        print(json.dumps({"case": name, "window": window, "bits": 32, "group": 0, "runs": runs, "want": run(model, cache, ids, runs)}))
    for bits in [8, 4]:
        cache = [caches.QuantizedKVCache(group_size=32, bits=bits) for _ in range(layers)]
        print(json.dumps({"case": "codes", "window": 0, "bits": bits, "group": 32, "runs": plain, "want": run(model, cache, ids, plain)}))
    later = [("from the prompt on", 50, [60, *[1] * 60, 20, *[1] * 20]), ("from a reply's token on", 100, [60, *[1] * 60, 20, *[1] * 20])]
    for (name, start, runs), bits in [(case, bits) for case in later for bits in [8, 4]]:
        cache = [caches.KVCache() for _ in range(layers)]
        print(json.dumps({"case": name, "window": 0, "bits": bits, "group": 32, "start": start, "runs": runs,
                          "want": run(model, cache, ids, runs, start, bits)}))


if __name__ == "__main__":
    main()
