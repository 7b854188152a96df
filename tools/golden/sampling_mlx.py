#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What mlx-lm 0.32.2's samplers and logits processors leave of logits.   sampling_mlx.py > tests/golden/infer/sampling.jsonl

A line: the logits, the history, the options; "kept": tokens that may be drawn; "greedy" and "logprob" after penalties."""
import json
import random

import mlx.core as mx
from mlx_lm import sample_utils

VOCAB = 64
caught = []
sample_utils.categorical_sampling = lambda logits, temp: caught.append(logits) or mx.argmax(logits, axis=-1)


def case(rng, options, spread):
    logits = [round(rng.gauss(0, spread), 3) for _ in range(VOCAB)]
    history = [rng.randrange(VOCAB) for _ in range(rng.randrange(1, 50))]
    processors = sample_utils.make_logits_processors(options.get("logit_bias"), options.get("repetition_penalty"), 20,
                                                     options.get("presence_penalty"), 20, options.get("frequency_penalty"), 20)
    row = mx.array([logits])
    for process in processors:
        row = process(mx.array(history), row)
    logprobs = row - mx.logsumexp(row, keepdims=True)
    greedy = int(mx.argmax(logprobs, axis=-1).item())
    caught.clear()
    sample_utils.make_sampler(1.0, top_p=options.get("top_p", 0), min_p=options.get("min_p", 0), top_k=options.get("top_k", 0),
                              xtc_probability=options.get("xtc_probability", 0), xtc_threshold=options.get("xtc_threshold", 0),
                              xtc_special_tokens=options.get("xtc_spared", []))(logprobs)
    kept = [i for i, x in enumerate(caught[0][0].tolist()) if x > float("-inf")]
    if "logit_bias" in options:
        options = {**options, "logit_bias": {str(k): v for k, v in options["logit_bias"].items()}}
    return {"logits": logits, "history": history, **options, "kept": kept, "greedy": greedy,
            "logprob": round(logprobs[0, greedy].item(), 5)}


def main():
    rng = random.Random(3)
    for options in [{}, {"top_p": .5}, {"top_p": .9}, {"min_p": .1}, {"top_k": 5}, {"top_p": .8, "top_k": 3}, {"top_p": .9, "min_p": .2},
                    {"xtc_probability": 1.0, "xtc_threshold": .05}, {"xtc_probability": 1.0, "xtc_threshold": .1, "top_p": .6},
                    {"xtc_probability": 1.0, "xtc_threshold": .02, "min_p": .1, "top_k": 4},
                    {"xtc_probability": 1.0, "xtc_threshold": .02, "xtc_spared": [1, 5, 9, 20, 40]},
                    {"xtc_probability": 1.0, "xtc_threshold": .5}, {"repetition_penalty": 1.3}, {"presence_penalty": .8},
                    {"frequency_penalty": .4}, {"repetition_penalty": 1.2, "presence_penalty": .3, "frequency_penalty": .2, "top_p": .7},
                    {"logit_bias": {3: 4.5, 9: -100.0}, "repetition_penalty": 1.5, "min_p": .05}]:
        for spread in [.7, 2.0]:
            print(json.dumps(case(rng, options, spread)))


if __name__ == "__main__":
    main()
