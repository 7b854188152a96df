#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The peer of bench_jinja.c: jinja2 in transformers' environment, same templates, same conversation.

    bench_jinja.py TEMPLATE..
"""
import json
import sys
import time

from transformers.utils import chat_template_utils as peer

MESSAGES = [{"role": "assistant" if i % 2 else "user", "content": "Gold melts at 1064 °C. " * 20} for i in range(25)]


def fastest(runs, function):
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        result = function()
        best = min(best, time.perf_counter() - start)
    return best * 1e6, result


for path in sys.argv[1:]:
    source = open(path).read()
    compile_us, template = fastest(10, lambda: peer._cached_compile_jinja_template(source))
    render_us, text = fastest(200, lambda: template.render(messages=MESSAGES, tools=None, documents=None, add_generation_prompt=True))
    print(json.dumps({"case": path, "open_us": round(compile_us, 1), "render_us": round(render_us, 1), "bytes": len(text.encode())}))
