#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Streaming clients against a running server for a while: errors, memory, open files, fairness; with --hostile also what nobody
should send. Not a part of the check.

    load.py http://127.0.0.1:8080 --clients 32 --seconds 60 --hostile 4 --pid $(pgrep -f 'ingot serve')"""
import argparse
import http.client
import json
import os
import random
import re
import socket
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
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.M)}


# ---- what nobody should send; each returns what came back, which is a refusal or nothing ----

def send(address, data, more=b"", times=0, wait=0.0):
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as s:
        try:
            s.sendall(data)
            for _ in range(times):
                s.sendall(more)
                time.sleep(wait)
        except OSError:
            pass
        try:
            return s.recv(4096)
        except OSError:
            return b""


def post(body, path=b"/v1/chat/completions", length=None):
    return b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (path, length or len(body)) + body


def leave(address, rng):
    host, port = address.split(":")
    body = json.dumps({"messages": [{"role": "user", "content": "Tell me of the ferry."}], "stream": True, "max_tokens": 200}).encode()
    with socket.create_connection((host, int(port)), timeout=60) as s:
        s.sendall(post(body))
        s.recv(rng.randrange(1, 2000))
    return b""


HOSTILE = {
    "broken JSON": lambda a, r: send(a, post(bytes(r.choice(b'{}[]",:\\01eE-tfn\xff') for _ in range(r.randrange(1, 400))))),
    "deep JSON": lambda a, r: send(a, post(b"[" * 100000)),
    "100 MB body": lambda a, r: send(a, post(b"", length=10 ** 8), b"x" * 10 ** 6, 100),
    "100 MB in chunks": lambda a, r: send(a, b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
                                          b"f4240\r\n" + b"x" * 10 ** 6 + b"\r\n", 100),
    "slow header": lambda a, r: send(a, b"GET /health HTTP/1.1\r\n", b"X: y\r\n", 40, 0.25),
    "slow body": lambda a, r: send(a, post(b"{", length=1000), b" ", 40, 0.25),
    "half a request": lambda a, r: send(a, b"POST /v1/chat/comp"),
    "no HTTP": lambda a, r: send(a, r.randbytes(300) + b"\r\n\r\n"),
    "disconnect": leave,
}


def be_hostile(address, end, counts, wrong):
    rng = random.Random(99)
    while time.monotonic() < end:
        name = rng.choice(list(HOSTILE))
        try:
            got = HOSTILE[name](address, rng)
        except OSError as error:
            wrong.append(f"{name}: {error!r}")
            continue
        counts[name] = counts.get(name, 0) + 1
        if got and not re.match(rb"HTTP/1\.[01] 4\d\d ", got):
            wrong.append(f"{name}: {got[:80]}")


def spread(values):
    values = sorted(values)
    return {"least": round(values[0], 4), "median": round(statistics.median(values), 4), "most": round(values[-1], 4)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--hostile", type=int, default=0, help="threads that send what nobody should")
    parser.add_argument("--pid", help="of the server: its open files are counted")
    args = parser.parse_args()
    address = urllib.parse.urlparse(args.url).netloc
    end = time.monotonic() + args.seconds
    each = [{"firsts": [], "tokens": 0, "busy": 0.0} for _ in range(args.clients)]
    errors, hostile, wrong = [], {}, []

    def client(index):
        rng, own = random.Random(index), each[index]
        while time.monotonic() < end:
            start = time.monotonic()
            try:
                first, got = ask(address, rng.randrange(10 ** 6))
            except (OSError, RuntimeError, http.client.HTTPException) as error:
                errors.append(repr(error))
                continue
            own["firsts"].append(first)
            own["tokens"] += got
            own["busy"] += time.monotonic() - start

    threads = [threading.Thread(target=client, args=(i,)) for i in range(args.clients)]
    threads += [threading.Thread(target=be_hostile, args=(address, end, hostile, wrong)) for _ in range(args.hostile)]
    for thread in threads:
        thread.start()
    memory, files = [], []
    while time.monotonic() < end:
        time.sleep(args.seconds / 12)
        memory.append(round(metrics(address)["process_resident_memory_bytes"] / 1e6, 1))
        files.append(len(os.listdir(f"/proc/{args.pid}/fd")) if args.pid else 0)
    for thread in threads:
        thread.join()
    time.sleep(1)
    files.append(len(os.listdir(f"/proc/{args.pid}/fd")) if args.pid else 0)
    m = metrics(address)
    firsts = sorted(f for own in each for f in own["firsts"])
    print(json.dumps({
        "clients": args.clients, "seconds": args.seconds, "replies": len(firsts), "errors": len(errors), "first_errors": errors[:3],
        "replies_of_a_client": spread([len(own["firsts"]) for own in each]),
        "median_first_token_of_a_client": spread([statistics.median(own["firsts"]) for own in each]),
        "tokens_per_second_of_a_client": spread([own["tokens"] / own["busy"] for own in each]),
        "first_token_seconds": {"median": round(firsts[len(firsts) // 2], 4), "p99": round(firsts[len(firsts) * 99 // 100], 4)},
        "tokens_per_second": round(sum(own["tokens"] for own in each) / args.seconds),
        "tokens_per_step": round(m["ingot_stepped_tokens_total"] / m["ingot_steps_total"], 2),
        "hostile": hostile, "hostile_wrong": wrong[:5],
        "resident_megabytes": memory, "open_files": files}))


if __name__ == "__main__":
    main()
