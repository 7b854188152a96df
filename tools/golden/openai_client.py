#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ingot serve, asked by OpenAI's own client (openai 3.57).   openai_client.py --program build/cli/ingot"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import openai

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/serve"))
import parrot  # noqa: E402

MILLER = [{"role": "user", "content": "Who is the miller?"}]


def check(what, ok):
    print(("ok      " if ok else "DIFFERS ") + what)
    return ok


WEATHER = {"type": "function", "function": {"name": "weather", "description": "of a city", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
QUESTION = {"role": "user", "content": "What of Oslo?"}


def call_tools(program):
    """A loop of calls with a model that repeats an earlier turn (tests/serve/parrot.py): calls parsed, streamed and not; results told;
    the model's last word."""
    ok = True
    with tempfile.TemporaryDirectory() as folder:
        parrot.make(ROOT / "fixtures/models/lantern", folder)
        server = subprocess.Popen([program, "serve", folder, "--port", "0", "-q"], stdout=subprocess.PIPE, text=True)
        client = openai.OpenAI(base_url=server.stdout.readline().strip() + "/v1", api_key="none", max_retries=0)
        try:
            call = {"id": "call_0", "type": "function", "function": {"name": "weather", "arguments": json.dumps({"city": "Oslo", "days": [1, 2]})}}
            talk = [QUESTION, {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "call_0", "content": "rain"}, {"role": "assistant", "content": "It rains."}, QUESTION]
            how = {"model": "default", "tools": [WEATHER], "max_tokens": 200}
            whole = client.chat.completions.create(messages=talk, **how).choices[0]
            got = whole.message.tool_calls or []
            ok &= check("tool call", whole.finish_reason == "tool_calls" and len(got) == 1 and got[0].function.name == "weather"
                        and json.loads(got[0].function.arguments) == {"city": "Oslo", "days": [1, 2]})
            with client.chat.completions.stream(messages=talk, **how) as stream:
                events = [event.type for event in stream]
                streamed = stream.get_final_completion().choices[0]
            ok &= check("tool call, streamed", streamed.finish_reason == "tool_calls" and "tool_calls.function.arguments.done" in events
                        and streamed.message.tool_calls[0].function.name == "weather"
                        and json.loads(streamed.message.tool_calls[0].function.arguments) == {"city": "Oslo", "days": [1, 2]})
            talk += [whole.message, {"role": "tool", "tool_call_id": got[0].id, "content": "rain"}]
            last = client.chat.completions.create(messages=talk, **how).choices[0]
            ok &= check("its result told", last.message.content == "It rains." and last.finish_reason == "stop")
        finally:
            server.terminate()
            ok &= check("ends with 0", server.wait(60) == 0)
    return ok


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    args = parser.parse_args()
    model = ROOT / "fixtures/models/lantern"
    server = subprocess.Popen([args.program, "serve", str(model), "--port", "0", "-q", "--api-key", "k"], stdout=subprocess.PIPE, text=True)
    url = server.stdout.readline().strip()
    client = openai.OpenAI(base_url=url + "/v1", api_key="k", max_retries=0)
    ok = True
    try:
        ok &= check("models", [m.id for m in client.models.list()] == ["lantern"])
        whole = client.chat.completions.create(model="lantern", messages=MILLER, temperature=0, logprobs=True, top_logprobs=3)
        text = whole.choices[0].message.content
        ok &= check("chat", "Mira" in text and whole.choices[0].finish_reason == "stop" and whole.usage.total_tokens > 20)
        ok &= check("logprobs", "".join(t.token for t in whole.choices[0].logprobs.content) == text
                    and all(len(t.top_logprobs) == 3 for t in whole.choices[0].logprobs.content))
        pieces, usage = [], None
        for chunk in client.chat.completions.create(model="lantern", messages=MILLER, temperature=0, stream=True,
                                                    stream_options={"include_usage": True}):
            usage = chunk.usage or usage
            pieces += [c.delta.content or "" for c in chunk.choices]
        ok &= check("stream", "".join(pieces) == text and usage.completion_tokens == whole.usage.completion_tokens)
        with client.chat.completions.stream(model="lantern", messages=MILLER, temperature=0) as stream:
            for _ in stream:
                pass
            ok &= check("stream helper", stream.get_final_completion().choices[0].message.content == text)
        ok &= check("extra body", client.chat.completions.create(model="lantern", messages=MILLER, max_tokens=3,
                    extra_body={"chat_template_kwargs": {"enable_thinking": False}, "top_k": 5}).usage.completion_tokens <= 3)
        plain = client.completions.create(model="lantern", prompt="The miller", max_tokens=6, temperature=0, logprobs=2)
        ok &= check("completion", "".join(plain.choices[0].logprobs.tokens) == plain.choices[0].text)
        tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
        ok &= check("tools", client.chat.completions.create(model="lantern", messages=MILLER, tools=tools, max_tokens=4).id.startswith("chatcmpl-"))
        for error, how in [(openai.NotFoundError, {"model": "gpt-4"}), (openai.BadRequestError, {"temperature": -1}),
                           (openai.UnprocessableEntityError, {"n": 2})]:
            try:
                client.chat.completions.create(**{"model": "lantern", "messages": MILLER, **how})
                ok &= check(error.__name__, False)
            except error as raised:
                ok &= check(f"{error.__name__}: {raised.body['message']}", True)
        try:
            client.with_options(api_key="wrong").models.list()
            ok &= check("AuthenticationError", False)
        except openai.AuthenticationError:
            ok &= check("AuthenticationError", True)
    finally:
        server.terminate()
        ok &= check("ends with 0", server.wait(60) == 0)
    ok &= call_tools(args.program)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
