#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench_token beside Hugging Face's tokenizers and tiktoken, in one run, on one thread, in CPU time.

    bench_token.py BENCH_TOKEN TOKENIZER.json TEXT..     BENCH_TOKEN: build/bench/bench_token

Documents are 20,000 characters (bytes in bench_token). tiktoken is given the same vocabulary and split
pattern; it has neither NFC nor added tokens. The Python figures include making lists of ids.
"""
import json
import os
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import tiktoken  # noqa: E402
import tokenizers  # noqa: E402

ROUNDS = 3


def best(run):
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def as_tiktoken(path):
    spec = json.load(open(path, encoding="utf-8"))
    plain = [*range(33, 127), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    byte_of = {chr(b): b for b in plain}
    byte_of |= {chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in plain)}
    ranks = {bytes(byte_of[c] for c in t): i for t, i in spec["model"]["vocab"].items() if all(c in byte_of for c in t)}
    pattern = spec["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    return tiktoken.Encoding("bench", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def main():
    program, path, texts = sys.argv[1], sys.argv[2], sys.argv[3:]
    ours = [json.loads(x) for x in subprocess.run([program, path, *texts], check=True, capture_output=True, text=True).stdout.splitlines()]
    hf, tik = tokenizers.Tokenizer.from_file(path), as_tiktoken(path)
    load = best(lambda: tokenizers.Tokenizer.from_file(path))
    print(f"load: ingot {ours[0]['ns_min'] * 1e-6:.0f} ms, tokenizers {tokenizers.__version__} {load * 1e3:.0f} ms")
    for row, name in zip(ours[1:], texts):
        text = open(name, encoding="utf-8", newline="").read()
        documents = [text[i:i + 20000] for i in range(0, len(text), 20000)]
        rate = lambda run: row["bytes"] * 1e-6 / best(run)
        theirs = rate(lambda: [hf.encode(d, add_special_tokens=False).ids for d in documents])
        tiks = rate(lambda: [tik.encode_ordinary(d) for d in documents])
        mine = row["encode_MB/s"]
        print(f"{os.path.basename(name)}: ingot {mine:.1f} MB/s, tokenizers {theirs:.2f} ({mine / theirs:.0f} x), "
              f"tiktoken {tiktoken.__version__} {tiks:.1f} ({mine / tiks:.1f} x)")


if __name__ == "__main__":
    main()
