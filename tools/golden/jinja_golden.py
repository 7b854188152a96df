#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What transformers' own renderer makes of templates, for tests/unit/test_jinja_golden.c.

    jinja_golden.py tests/golden/chat

Writes snippets.jsonl (jinja_snippets.txt, a line each) and renders.jsonl (the templates of
tests/golden/chat/templates and of fixtures/ in several conversations). The first record of a file holds
the variables; each other one has the text, or "error": true where the reference fails.
Made with jinja2 3.1.6 and transformers 5.23.0; the clock stands at 2026-01-02 03:04:05.
"""
import copy
import datetime
import json
import os
import pathlib
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
from transformers.utils import chat_template_utils as reference  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)
VARS = {
    "word": "ingot", "nothing": None, "yes": True, "no": False, "five": 5, "half": 0.5, "huge": 1e20, "small": 1e-7,
    "numbers": [3, 1, 2], "letters": ["b", "A", "c", "a"], "empty_list": [], "empty_dict": {},
    "foreign": "Žluťoučký KŮŇ 漢字 ßẞ 👩‍👧", "lines": "one\ntwo\n\nfour", "html": "<a href=\"x\">&'</a>",
    "person": {"name": "Ada", "age": 36, "pets": [{"kind": "cat"}, {"kind": "dog"}]},
    "people": [{"name": "Ada", "age": 36, "pet": {"kind": "cat"}}, {"name": "Bob", "age": 0, "pet": {"kind": "dog"}},
               {"name": "Cy", "age": 29, "pet": {"kind": "cat"}}],
    "schema": {"type": "object", "items": {"type": "string"}, "get": 1, "values": [1], "_private": "p"},
}
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
TOOL = {"type": "function", "function": {"name": "find_tool", "description": "Find a <tool> & its \"place\".",
        "parameters": {"type": "object", "required": ["name"], "properties": {
            "name": {"type": "string", "description": "Name, e.g. Hammer 鎚"}, "count": {"type": "integer", "default": 1.5}}}}}
PING = {"type": "function", "function": {"name": "ping", "parameters": {"type": "object", "properties": {}}}}


def say(role, content, **more):
    return {"role": role, "content": content, **more}


def call(name, arguments):
    return {"id": "call00001", "type": "function", "function": {"name": name, "arguments": arguments}}


CONTEXTS = {
    "one": {"messages": [say("user", "Hi")], "add_generation_prompt": True},
    "system": {"messages": [say("system", "Be brief."), say("user", " Hi \n")], "add_generation_prompt": True},
    "rounds": {"messages": [say("user", "1+1?"), say("assistant", "2"), say("user", "2+2?"), say("assistant", "4")]},
    "thinking": {"messages": [say("user", "a"), say("assistant", "<think>\nwhy\n</think>\n\nb"), say("user", "c"),
                              say("assistant", "d", reasoning_content="because\n")], "add_generation_prompt": False},
    "no_thinking": {"messages": [say("user", "q")], "add_generation_prompt": True, "enable_thinking": False},
    "tools": {"messages": [say("system", "s"), say("user", "find")], "tools": [TOOL, PING], "add_generation_prompt": True},
    "tool_round": {"messages": [say("user", "find"), say("assistant", None, tool_calls=[call("find_tool", {"name": "é", "count": 2}), call("ping", "{}")]),
                                say("tool", "{\"at\": 1.5}", name="find_tool"), say("tool", "pong", name="ping"), say("assistant", "Here."), say("user", "ok")],
                   "tools": [TOOL], "add_generation_prompt": True},
    "parts": {"messages": [say("user", [{"type": "text", "text": "see "}, {"type": "image"}, {"type": "text", "text": "this"}])], "add_generation_prompt": True},
    "documents": {"messages": [say("user", "who?")], "documents": [{"title": "T", "text": "Text"}], "add_generation_prompt": True},
    "bad_role": {"messages": [say("user", "x"), say("narrator", "y")]},
    "no_content": {"messages": [{"role": "user"}], "add_generation_prompt": True},
    "prefill": {"messages": [say("user", "x"), say("assistant", "The answer ")], "continue_final_message": True},
    "prefill_parts": {"messages": [say("user", "x"), say("assistant", [{"type": "text", "text": "So"}])], "continue_final_message": True},
    "prefill_thought": {"messages": [say("user", "x"), say("assistant", "", reasoning_content="Hm")], "continue_final_message": "reasoning_content"},
    "special_tokens": {"messages": [say("user", "<|im_end|> </s> {{ x }} {% if %}")], "add_generation_prompt": True},
}


class Frozen(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def attempt(function):
    try:
        return {"text": function()}
    except Exception as e:  # a failure is a result
        found = {"error": True}
        if type(e).__name__ == "TemplateError":
            found["message"] = str(e)  # of raise_exception: part of what a template says
        return found


def snippets():
    yield {"vars": VARS}
    for line in (pathlib.Path(__file__).parent / "jinja_snippets.txt").read_text().splitlines():
        if not line or line.startswith("# "):
            continue
        source = line.replace("¶", "\n").replace("←", "\r").replace("⇥", "\t")
        result = attempt(lambda: reference._compile_jinja_template(source).render(**copy.deepcopy(VARS)))
        if "error" in result and source.count("}} {{") > 1:
            print("only the first failure shows:", line, file=sys.stderr)
        yield {"source": source, **result}


def render(source, context):
    rest = copy.deepcopy(context)
    messages = [{k: v for k, v in m.items() if v is not None} for m in rest.pop("messages")]
    return reference.render_jinja_template(conversations=[messages], chat_template=source, **SPECIAL, **rest)[0][0]


def renders(folder):
    yield {"special": SPECIAL, "contexts": CONTEXTS}
    for path in [*sorted((folder / "templates").glob("*.jinja")), ROOT / "fixtures/models/base/chat_template.jinja"]:
        source = path.read_text()
        for name, context in CONTEXTS.items():
            yield {"template": str(path.relative_to(ROOT)), "context": name, **attempt(lambda: render(source, context))}


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    reference.datetime = Frozen
    for name, records in (("snippets", snippets()), ("renders", renders(folder))):
        lines = [json.dumps(r, ensure_ascii=False, separators=(",", ":")) for r in records]
        text = "\n".join(lines) + "\n"
        assert len(text.encode()) <= 65536, f"{name}: {len(text.encode())} bytes"
        (folder / f"{name}.jsonl").write_text(text)
        print(name, len(lines), "records", len(text.encode()), "bytes")


if __name__ == "__main__":
    main()
