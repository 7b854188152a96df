#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Streaming clients against a running server for a while: errors, memory, fairness. Not a part of the check.

    load.py http://127.0.0.1:8080 --clients 32 --seconds 60"""
import argparse
import http.client
import json
import random
import re
import statistics
import threading
import time
import urllib.parse

WHO = ["miller", "baker", "smith", "ferryman", "clockmaker", "tailor", "gardener", "teacher"]


def ask(address, seed):
    body = {"messages": [{"role": "user", "content": f"Who is the {WHO[seed % len(WHO)]}?"}], "stream": True, "max_tokens": 64,
            "temperature": 2, "seed": seed, "stream_options": {"include_usage": True}}
    connection = http.client.HTTPConnection(address, timeout=120)
    start = time.monotonic()
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {answer.read()[:200]}")
    first, tokens, done = None, 0, False
    for line in answer:
        if line.startswith(b"data: [DONE]"):
            done = True
        elif line.startswith(b"data: "):
            event = json.loads(line[6:])
            if "error" in event:
                raise RuntimeError(event["error"]["message"])
            if event["choices"] and event["choices"][0]["delta"].get("content") and first is None:
                first = time.monotonic() - start
            tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
    connection.close()
    if not done:
        raise RuntimeError("the stream ended early")
    return first or time.monotonic() - start, tokens


def metrics(address):
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.M)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    address = urllib.parse.urlparse(args.url).netloc
    end = time.monotonic() + args.seconds
    counts, firsts, tokens, errors = [0] * args.clients, [], [0], []

    def client(index):
        rng = random.Random(index)
        while time.monotonic() < end:
            try:
                first, got = ask(address, rng.randrange(10 ** 6))
            except (OSError, RuntimeError, http.client.HTTPException) as error:
                errors.append(repr(error))
                continue
            counts[index] += 1
            firsts.append(first)
            tokens[0] += got

    threads = [threading.Thread(target=client, args=(i,)) for i in range(args.clients)]
    for thread in threads:
        thread.start()
    memory = []
    while time.monotonic() < end:
        time.sleep(args.seconds / 12)
        memory.append(metrics(address)["process_resident_memory_bytes"])
    for thread in threads:
        thread.join()
    m = metrics(address)
    firsts.sort()
    print(json.dumps({
        "clients": args.clients, "seconds": args.seconds, "replies": sum(counts), "errors": len(errors), "first_errors": errors[:3],
        "replies_of_a_client": {"least": min(counts), "median": statistics.median(counts), "most": max(counts)},
        "first_token_seconds": {"median": round(firsts[len(firsts) // 2], 4), "p99": round(firsts[len(firsts) * 99 // 100], 4)},
        "tokens_per_second": round(tokens[0] / args.seconds), "tokens_per_step": round(m["ingot_stepped_tokens_total"] / m["ingot_steps_total"], 2),
        "resident_megabytes": [round(b / 1e6, 1) for b in memory]}))


if __name__ == "__main__":
    main()
