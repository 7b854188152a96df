#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ingot serve, asked well and badly. Standard library only."""
import argparse
import http.client
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import parrot

PROGRAM, FIXTURES = None, None
MILLER = [{"role": "user", "content": "Who is the miller?"}]
LONG = "The baker sells bread at the market. "


class Server:
    def __init__(self, *options, model=None, files=None, **env):
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))) if files else None
        kept = {k: v for k, v in os.environ.items() if k != "INGOT_API_KEY"}
        self.process = subprocess.Popen([PROGRAM, "serve", str(model or FIXTURES / "models/lantern"), "--port", "0", "-q", "-j", "2",
                                         *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env={**kept, **env}, preexec_fn=limit)
        self.url = self.process.stdout.readline().strip()
        self.port = int(self.url.rsplit(":", 1)[1]) if self.url else None

    def request(self, method, path, body=None, headers=None, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        connection.close()
        return answer

    def chat(self, messages=None, status=200, **more):
        answer = self.request("POST", "/v1/chat/completions", {"messages": messages or MILLER, **more})
        assert answer.status == status, (answer.status, answer.text)
        return json.loads(answer.text)

    def say(self, messages=None, **more):
        return self.chat(messages, **more)["choices"][0]["message"]["content"]

    def complete(self, prompt, status=200, **more):
        answer = self.request("POST", "/v1/completions", {"prompt": prompt, **more})
        assert answer.status == status, (answer.status, answer.text)
        return json.loads(answer.text)

    def events(self, path, body):
        """The events of a stream, parsed, and whether [DONE] was the last."""
        answer = self.request("POST", path, {**body, "stream": True})
        assert answer.status == 200, answer.text
        assert answer.getheader("Content-Type") == "text/event-stream"
        lines = [line for line in answer.text.split("\n\n") if line]
        assert all(line.startswith("data: ") for line in lines), lines
        assert lines[-1] == "data: [DONE]", lines[-1]
        return [json.loads(line[6:]) for line in lines[:-1]]

    def metric(self, name):
        text = self.request("GET", "/metrics").text
        return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.M).group(1))

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    def close(self):
        if self.process.poll() is None:
            code, _, err = self.stop()
            assert code == 0 and err == "", (code, err)


class Case(unittest.TestCase):
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.options)

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def refused(self, body, status, says, path="/v1/chat/completions", **how):
        answer = self.server.request("POST", path, body, **how)
        self.assertEqual(answer.status, status, answer.text)
        error = json.loads(answer.text)["error"]
        self.assertIn(says, error["message"])
        self.assertEqual(set(error), {"message", "type", "param", "code"})
        return error


class Answers(Case):
    def test_greedy_text_is_that_of_generate(self):
        for prompt in ["Who is the miller?", "Where is the bakery?", "Tell me of the ferry."]:
            out = subprocess.run([PROGRAM, "generate", f"{FIXTURES}/models/lantern", "--prompt", prompt, "-m", "40", "--json"],
                                 capture_output=True, text=True, check=True)
            want = json.loads(out.stdout)
            got = self.server.chat([{"role": "user", "content": prompt}], max_tokens=40, logprobs=True)
            choice = got["choices"][0]
            self.assertEqual(choice["message"], {"role": "assistant", "content": want["text"]})
            self.assertEqual(choice["finish_reason"], want["finish_reason"])
            self.assertEqual(got["usage"]["completion_tokens"], len(want["tokens"]))
            self.assertEqual(got["usage"]["prompt_tokens"], len(want["prompt_tokens"]))
            for entry, logprob in zip(choice["logprobs"]["content"], want["logprobs"], strict=True):
                self.assertAlmostEqual(entry["logprob"], logprob, places=3)

    def test_sampling_repeats_with_the_seed(self):
        how = {"temperature": 3, "top_k": 50, "max_tokens": 30}
        texts = {self.server.say(seed=seed, **how) for seed in [1, 2, 3, 4]}
        self.assertGreater(len(texts), 1)
        self.assertEqual(self.server.say(seed=2, **how), self.server.say(seed=2, **how))
        out = subprocess.run([PROGRAM, "generate", f"{FIXTURES}/models/lantern", "--prompt", "Who is the miller?", "-m", "30",
                              "--temp", "3", "--top-k", "50", "--seed", "2", "--json"], capture_output=True, text=True)
        self.assertEqual(self.server.say(seed=2, **how), json.loads(out.stdout)["text"])

    def test_completion_takes_text_or_ids(self):
        text = self.server.complete("The miller", max_tokens=8)
        ids = json.loads(subprocess.run([PROGRAM, "tokenize", f"{FIXTURES}/models/lantern", "--text", "The miller", "--json"],
                                        capture_output=True, text=True).stdout)["ids"]
        for prompt in [ids, [ids], ["The miller"]]:
            self.assertEqual(self.server.complete(prompt, max_tokens=8)["choices"], text["choices"])
        self.assertEqual(text["object"], "text_completion")
        self.assertEqual(text["choices"][0]["finish_reason"], "length")
        self.assertEqual(text["usage"]["completion_tokens"], 8)

    def test_logprobs_of_completions(self):
        choice = self.server.complete("The miller", max_tokens=8, logprobs=3)["choices"][0]
        logprobs = choice["logprobs"]
        self.assertEqual("".join(logprobs["tokens"]), choice["text"])
        for token, logprob, top in zip(logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True):
            self.assertEqual(max(top, key=top.get), token)
            self.assertAlmostEqual(top[token], logprob, places=5)
        self.assertEqual(logprobs["text_offset"][:2], [0, len(logprobs["tokens"][0])])

    def test_stop_strings_cut_the_text(self):
        whole = self.server.say()
        for stop in [" Mira", "ller is M", ["nowhere", " is"], ".", whole[-9:]]:
            ends = [whole.index(s) for s in ([stop] if isinstance(stop, str) else stop) if s in whole]
            got = self.server.chat(stop=stop, logprobs=True)
            self.assertEqual(got["choices"][0]["message"]["content"], whole[:min(ends)])
            self.assertEqual(got["choices"][0]["finish_reason"], "stop")
            told = "".join(entry["token"] for entry in (got["choices"][0]["logprobs"] or {"content": []})["content"])
            self.assertTrue(told.startswith(whole[:min(ends)]))

    def test_penalties_and_biases_act(self):
        whole = self.server.say()
        for how in [{"presence_penalty": 30}, {"frequency_penalty": 30}, {"repetition_penalty": 30}]:
            self.assertNotEqual(self.server.say(max_tokens=30, **how), whole)
        ids = json.loads(subprocess.run([PROGRAM, "tokenize", f"{FIXTURES}/models/lantern", "--text", " bread", "--json"],
                                        capture_output=True, text=True).stdout)["ids"]
        text = self.server.say(max_tokens=3, logit_bias={str(ids[0]): 100})
        self.assertEqual(text, " bread" * 3)

    def test_content_may_be_parts(self):
        parts = [{"type": "text", "text": "Who is"}, {"type": "text", "text": " the miller?"}]
        self.assertEqual(self.server.say([{"role": "user", "content": parts}]), self.server.say())

    def test_the_developers_word_is_the_systems(self):
        count = lambda role: self.server.chat([{"role": role, "content": "Be brief."}, *MILLER], max_tokens=2)["usage"]["prompt_tokens"]
        self.assertEqual(count("developer"), count("system"))

    def test_what_has_no_effect_is_let_be(self):
        self.assertEqual(self.server.say(user="u", metadata={"a": "b"}, store=True, service_tier="auto", prompt_cache_key="k", n=1,
                                         safety_identifier="s", response_format={"type": "text"}, modalities=["text"], stop=None,
                                         logit_bias=None, seed=None, stream_options={"include_usage": True}), self.server.say())

    def test_every_answer_has_an_id(self):
        ids = {self.server.request(method, path).getheader("X-Request-Id")
               for method, path in [("GET", "/v1/models"), ("GET", "/nothing"), ("HEAD", "/health"), ("OPTIONS", "/v1/models"), ("POST", "/v1/models")]}
        self.assertEqual(len(ids), 5)
        for one in ids:
            self.assertRegex(one, r"^req_[0-9a-f]{24}$")
        given = self.server.request("GET", "/health", headers={"X-Request-Id": "mine-1"}).getheader("X-Request-Id")
        self.assertEqual(given, "mine-1")
        self.assertRegex(self.server.request("GET", "/health", headers={"X-Request-Id": "a b"}).getheader("X-Request-Id"), "^req_")

    def test_options_tell_what_may_be_done(self):
        for path, allow in [("/v1/chat/completions", "POST, OPTIONS"), ("/v1/models", "GET, HEAD, OPTIONS")]:
            answer = self.server.request("OPTIONS", path)
            self.assertEqual((answer.status, answer.getheader("Allow"), answer.text), (204, allow, ""))
            self.assertIsNone(answer.getheader("Access-Control-Allow-Headers"))
        self.assertEqual(self.server.request("OPTIONS", "/nothing").status, 404)

    def test_metrics_are_prometheuss_text(self):
        self.server.chat(max_tokens=2)
        kinds, seen = {}, {}
        text = self.server.request("GET", "/metrics").text
        self.assertTrue(text.endswith("\n"))
        for line in text.splitlines():
            if line.startswith("# "):
                _, word, name, rest = line.split(" ", 3)
                self.assertIn(word, ["HELP", "TYPE"])
                self.assertNotIn((word, name), kinds)  # once, and before the values
                self.assertNotIn(name, seen)
                kinds[word, name] = rest
                continue
            name, labels, value = re.fullmatch(r'([a-z_:][a-z0-9_:]*)(\{[a-z]+="[^"\\\n]*"\})? (\S+)', line).groups()
            float(value)
            family = re.sub("_(bucket|sum|count)$", "", name) if name.startswith("ingot_time") else name
            self.assertIn(("TYPE", family), kinds)
            self.assertNotIn((name, labels), seen.setdefault(family, {}))
            seen[family][name, labels] = float(value)
        for (word, name), kind in kinds.items():
            self.assertEqual(word == "TYPE" and kind == "counter", word == "TYPE" and name.endswith("_total"), name)
        buckets = [(labels, value) for (name, labels), value in seen["ingot_time_to_first_token_seconds"].items() if labels]
        self.assertEqual(sorted(value for _, value in buckets), [value for _, value in buckets])
        self.assertEqual(buckets[-1], ('{le="+Inf"}', seen["ingot_time_to_first_token_seconds"]["ingot_time_to_first_token_seconds_count", None]))

    def raw(self, data, more=b""):
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=20) as s:
            s.sendall(data)
            out = b""
            while chunk := s.recv(65536):
                out += chunk
                if more and b"\r\n\r\n" in out:
                    s.sendall(more)
                    more = b""
            return out

    def test_connections_are_kept_and_old_clients_served(self):
        get = b"GET /health HTTP/1.1\r\nHost: localhost\r\n%b\r\n"
        out = self.raw(get % b"", get % b"Connection: close\r\n")
        self.assertEqual(out.count(b"HTTP/1.1 200"), 2)
        out = self.raw(b"GET /health HTTP/1.0\r\n\r\n")
        self.assertTrue(out.endswith(b'{"status":"ok"}'), out)
        body = json.dumps({"messages": MILLER, "max_tokens": 5, "stream": True}).encode()
        out = self.raw(b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        head, text = out.split(b"\r\n\r\n", 1)
        self.assertNotIn(b"chunked", head)
        self.assertTrue(text.startswith(b"data: {") and text.endswith(b"data: [DONE]\n\n"), text)

    def test_a_talk_is_not_read_again(self):
        talk = [{"role": "user", "content": "Where is the bakery, and who works there? " + LONG}]
        first = self.server.chat(talk, max_tokens=12)
        talk += [first["choices"][0]["message"], {"role": "user", "content": "And the miller?"}]
        second = self.server.chat(talk, max_tokens=12)["usage"]
        self.assertGreaterEqual(second["prompt_tokens_details"]["cached_tokens"], first["usage"]["prompt_tokens"])
        self.assertLess(second["prompt_tokens_details"]["cached_tokens"], second["prompt_tokens"])

    def test_tools_reach_the_template(self):
        tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
        plain = self.server.chat(max_tokens=2)["usage"]["prompt_tokens"]
        self.assertGreater(self.server.chat(tools=tools, max_tokens=2)["usage"]["prompt_tokens"], plain + 20)
        self.assertEqual(self.server.chat(tools=tools, tool_choice="none", max_tokens=2)["usage"]["prompt_tokens"], plain)
        talk = MILLER + [{"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Emberfold\"}"}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"}]
        self.server.chat(talk, tools=tools, max_tokens=2)

    def test_thinking_is_the_templates(self):
        plain = self.server.chat(max_tokens=2)["usage"]["prompt_tokens"]
        without = self.server.chat(max_tokens=2, chat_template_kwargs={"enable_thinking": False})["usage"]["prompt_tokens"]
        self.assertGreater(without, plain)
        thought = self.server.chat(MILLER + [{"role": "assistant", "content": "<think>\nThe mill"}], max_tokens=9,
                                   continue_final_message=True)
        self.assertIn("content", thought["choices"][0]["message"])

    def test_models_health_metrics_and_page(self):
        models = json.loads(self.server.request("GET", "/v1/models").text)
        self.assertEqual([m["id"] for m in models["data"]], ["lantern"])
        self.assertEqual(json.loads(self.server.request("GET", "/v1/models/lantern").text), models["data"][0])
        self.assertEqual(self.server.request("GET", "/v1/models/lanter%6e").status, 200)
        self.assertEqual(self.server.request("GET", "/v1/models/other").status, 404)
        self.assertEqual(json.loads(self.server.request("GET", "/health").text), {"status": "ok"})
        before = self.server.metric("ingot_generated_tokens_total")
        self.server.chat(max_tokens=5)
        self.assertEqual(self.server.metric("ingot_generated_tokens_total"), before + 5)
        self.assertGreater(self.server.metric("process_resident_memory_bytes"), 1e6)
        page = self.server.request("GET", "/")
        self.assertTrue(page.text.startswith("<!doctype html>"))
        self.assertIn("default-src 'none'", page.getheader("Content-Security-Policy"))
        self.assertNotRegex(page.text, r"(src|href)=[\"']?(https?:)?//")
        self.assertEqual(self.server.request("HEAD", "/health").status, 200)


class Streams(Case):
    def test_the_sum_of_the_pieces_is_the_text(self):
        for path, body in [("/v1/chat/completions", {"messages": MILLER, "max_tokens": 30}),
                           ("/v1/completions", {"prompt": "The miller", "max_tokens": 30})]:
            events = self.server.events(path, {**body, "logprobs": 2 if "prompt" in body else True})
            whole = json.loads(self.server.request("POST", path, body).text)
            choices = [event["choices"][0] for event in events]
            if "prompt" in body:
                self.assertEqual("".join(c["text"] for c in choices), whole["choices"][0]["text"])
                told = [t for c in choices if c["logprobs"] for t in c["logprobs"]["tokens"]]
            else:
                self.assertEqual(choices[0]["delta"], {"role": "assistant", "content": ""})
                self.assertEqual("".join(c["delta"].get("content", "") for c in choices),
                                 whole["choices"][0]["message"]["content"])
                told = [e["token"] for c in choices if c["logprobs"] for e in c["logprobs"]["content"]]
            self.assertEqual(len(told), whole["usage"]["completion_tokens"])
            self.assertEqual([c["finish_reason"] for c in choices if c["finish_reason"]], [whole["choices"][0]["finish_reason"]])
            self.assertEqual(len({event["id"] for event in events}), 1)

    def test_usage_comes_last_when_asked_for(self):
        body = {"messages": MILLER, "max_tokens": 5, "stream_options": {"include_usage": True}}
        events = self.server.events("/v1/chat/completions", body)
        self.assertEqual(events[-1]["choices"], [])
        self.assertEqual(events[-1]["usage"]["completion_tokens"], 5)
        self.assertTrue(all(event["usage"] is None for event in events[:-1]))
        self.assertNotIn("usage", self.server.events("/v1/chat/completions", {"messages": MILLER, "max_tokens": 5})[-1])

    def test_stop_strings_never_show(self):
        whole = self.server.say()
        for stop in ["ller is M", " Mira.", "mill."]:
            events = self.server.events("/v1/chat/completions", {"messages": MILLER, "stop": [stop]})
            text = "".join(event["choices"][0]["delta"].get("content", "") for event in events)
            self.assertEqual(text, whole[:whole.index(stop)])
            self.assertEqual(events[-1]["choices"][0]["finish_reason"], "stop")

    def test_tokens_come_one_by_one(self):
        # Tokens that are ready together come together: a long text makes many events on any machine.
        events = self.server.events("/v1/completions", {"prompt": "The miller", "max_tokens": 600,
                                                             "logit_bias": {"2039": -100, "2041": -100}})  # no end
        self.assertGreater(len(events), 8)


class Tools(unittest.TestCase):
    """The model of parrot.py says again what has been said after the same words: an earlier turn decides what it calls."""
    weather = [{"type": "function", "function": {"name": "weather", "description": "of a city", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}}]
    question = {"role": "user", "content": "What of Oslo?"}

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        parrot.make(FIXTURES / "models/lantern", cls.folder.name)
        cls.server = Server(model=cls.folder.name)

    @classmethod
    def tearDownClass(cls):
        cls.server.close()
        cls.folder.cleanup()

    def history(self, calls, content=None):
        """A talk in which the question was answered by calls, and what these gave by a sentence; and the question again."""
        tool_calls = [{"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
                      for i, (name, arguments) in enumerate(calls)]
        return [self.question, {"role": "assistant", "content": content, **({"tool_calls": tool_calls} if calls else {})},
                *({"role": "tool", "tool_call_id": call["id"], "content": "rain"} for call in tool_calls),
                {"role": "assistant", "content": "It rains."}, self.question]

    def stream(self, messages, **more):
        """A message put together from a stream, as a client does."""
        message, finish = {"content": "", "calls": []}, None
        for event in self.server.events("/v1/chat/completions", {"messages": messages, "max_tokens": 300, **more}):
            delta = event["choices"][0]["delta"]
            finish = event["choices"][0]["finish_reason"] or finish
            message["content"] += delta.get("content") or ""
            for call in delta.get("tool_calls", []):
                if call["index"] == len(message["calls"]):
                    message["calls"].append({"id": call["id"], "type": call["type"], "name": "", "arguments": ""})
                for key in ["name", "arguments"]:
                    message["calls"][call["index"]][key] += call["function"].get(key, "")
        return message, finish

    def check(self, messages, calls, content=None):
        choice = self.server.chat(messages, tools=self.weather, max_tokens=300)["choices"][0]
        message, finish = self.stream(messages, tools=self.weather)
        self.assertEqual((choice["finish_reason"], finish), ("tool_calls", "tool_calls"), choice)
        self.assertEqual((choice["message"]["content"] or "", message["content"]), (content or "", content or ""))
        got = [{"id": c["id"], "type": c["type"], **c["function"]} for c in choice["message"]["tool_calls"]]
        for said in [got, message["calls"]]:
            self.assertEqual([(c["type"], c["name"], json.loads(c["arguments"])) for c in said],
                             [("function", name, json.loads(arguments)) for name, arguments in calls])
            self.assertEqual(len({c["id"] for c in said}), len(calls))

    def test_calls_come_back_as_they_were_told(self):
        for arguments in ["{}", json.dumps({"city": 'a "b" \\ \n', "say": ["\u00fc \u65e5 </tool", 2.5, None, {"c": []}]})]:
            self.check(self.history([("weather", arguments)]), [("weather", arguments)])

    def test_several_calls_and_words_before_them(self):
        calls = [("weather", '{"city": "Oslo"}'), ("clock", '{"zone": "CET"}'), ("tide", '{"day": 2}')]
        self.check(self.history(calls), calls)
        self.check(self.history(calls[:1], "Let me look."), calls[:1], "Let me look.")

    def test_one_call_where_no_more_are_wanted(self):
        calls = [("weather", '{"city": "Oslo"}'), ("clock", '{"zone": "CET"}')]
        talk = self.history(calls, "Let me look.")
        choice = self.server.chat(talk, tools=self.weather, max_tokens=300, parallel_tool_calls=False)["choices"][0]
        message, finish = self.stream(talk, tools=self.weather, parallel_tool_calls=False)
        self.assertEqual((choice["finish_reason"], finish), ("tool_calls", "tool_calls"))
        self.assertEqual([c["function"]["name"] for c in choice["message"]["tool_calls"]], ["weather"])
        self.assertEqual(([c["name"] for c in message["calls"]], message["content"]), (["weather"], "Let me look."))

    def test_the_form_of_qwen_coder(self):
        xml = "<tool_call>\n<function=weather>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>"
        talk = self.history([], xml)
        self.check(talk[:2] + [talk[-1]], [("weather", '{"city": "Oslo", "days": 3}')])

    def test_what_is_no_call_is_text(self):
        words = "<tool_call>\n{\"name\": 1}\n</tool_call>"
        message, finish = self.stream([self.question, {"role": "assistant", "content": words}, self.question], tools=self.weather)
        self.assertEqual((message["calls"], finish), ([], "stop"))
        self.assertIn(words, message["content"])

    def test_without_tools_it_is_text(self):
        calls = [("weather", '{"city": "Oslo"}')]
        for how in [{}, {"tools": self.weather, "tool_choice": "none"}]:
            message, finish = self.stream(self.history(calls), **how)
            self.assertEqual((message["calls"], finish), ([], "stop"))
            self.assertIn('<tool_call>\n{"name": "weather"', message["content"])

    def test_a_loop_of_calls(self):
        messages = self.history([("weather", '{"city": "Oslo"}')])
        said = self.server.chat(messages, tools=self.weather, max_tokens=300)["choices"][0]["message"]
        messages += [said, {"role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": "rain"}]
        choice = self.server.chat(messages, tools=self.weather, max_tokens=300)["choices"][0]
        self.assertEqual((choice["message"]["content"], choice["finish_reason"]), ("It rains.", "stop"))


class Refusals(Case):
    options = ("--api-key", "secret", "--max-body", "100K", "--context", "256", "--name", "mine")
    key = {"Authorization": "Bearer secret"}

    def test_keys(self):
        for given in [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}, {"Authorization": "Bearer secretsecret"}]:
            error = self.refused({"messages": MILLER}, 401, "API key", headers=given)
            self.assertEqual(error["type"], "authentication_error")
            self.assertEqual(self.server.request("GET", "/v1/models", headers=given).status, 401)
            self.assertEqual(self.server.request("GET", "/metrics", headers=given).status, 401)
        self.assertEqual(self.server.request("GET", "/health").status, 200)
        self.assertEqual(self.server.request("GET", "/").status, 200)
        self.assertEqual(self.server.request("GET", "/v1/models", headers=self.key).status, 200)

    def test_bodies_that_are_not_requests(self):
        for body, says in [("", "no JSON"), ("{", "no JSON"), ("[]", "must be a JSON object"), ('{"messages": [}', "line 1"),
                           ("\xff\xfe", "no JSON"), ("[" * 100000, "no JSON"), ('{"a":' * 5000 + "1" + "}" * 5000, "no JSON"),
                           ("null", "must be a JSON object"), ('{"messages": "hello"}', "must be a list")]:
            self.refused(body.encode("latin-1"), 400, says, headers=self.key)

    def test_members_that_are_wrong(self):
        for more, param in [({"messages": []}, "messages"), ({"messages": [1]}, "messages"), ({"messages": [{"content": "x"}]}, "messages"),
                            ({"messages": [{"role": "user", "content": 7}]}, "messages"), ({"temperature": -1}, "temperature"),
                            ({"temperature": "hot"}, "temperature"), ({"top_p": 1.5}, "top_p"), ({"max_tokens": 0}, "max_tokens"),
                            ({"max_tokens": 1.5}, "max_tokens"), ({"stream": "yes"}, "stream"), ({"stop": [""]}, "stop"),
                            ({"stop": ["x"] * 17}, "stop"), ({"stop": 3}, "stop"), ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
                            ({"top_logprobs": 2}, "top_logprobs"), ({"logprobs": 2}, "logprobs"), ({"logit_bias": {"x": 1}}, "logit_bias"),
                            ({"logit_bias": []}, "logit_bias"), ({"tools": [{"type": "function"}]}, "tools"), ({"seed": "x"}, "seed"),
                            ({"stream_options": 1}, "stream_options"), ({"chat_template_kwargs": 1}, "chat_template_kwargs"),
                            ({"model": 3}, "model"), ({"parallel_tool_calls": 1}, "parallel_tool_calls"),
                            ({"logit_bias": {"2048": 1}}, "logit_bias"), ({"messages": [{"role": "critic", "content": "x"}]}, "messages"),
                            ({"messages": [{"role": "user"}]}, "messages"), ({"messages": [{"role": "tool", "content": None}]}, "messages"),
                            ({"messages": MILLER + [{"role": "assistant", "tool_calls": [{"id": "1"}]}]}, "messages")]:
            error = self.refused({"messages": MILLER, **more}, 400, "", headers=self.key)
            self.assertEqual((error["param"], error["type"]), (param, "invalid_request_error"), more)
        for prompt in [None, "", [], [1.5], [-1], [10 ** 6], {}]:
            self.refused({"prompt": prompt}, 400, "", path="/v1/completions", headers=self.key)

    def test_what_is_not_done(self):
        image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]
        for more, param in [({"n": 2}, "n"), ({"response_format": {"type": "json_object"}}, "response_format"),
                            ({"tool_choice": "required"}, "tool_choice"), ({"functions": []}, "functions"), ({"web_search_options": {}}, "web_search_options"),
                            ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"), ({"messages": image}, "messages")]:
            self.assertEqual(self.refused({"messages": MILLER, **more}, 422, "", headers=self.key)["param"], param)
        self.refused({"prompt": ["a", "b"]}, 422, "one prompt", path="/v1/completions", headers=self.key)
        self.refused({"prompt": "a", "echo": True}, 422, "echo", path="/v1/completions", headers=self.key)

    def test_sizes(self):
        error = self.refused({"messages": [{"role": "user", "content": LONG * 60}]}, 400, "the context is 256", headers=self.key)
        self.assertEqual(error["code"], "context_length_exceeded")
        self.refused({"messages": MILLER, "x": "y" * 120000}, 413, "larger than 102400 bytes", headers=self.key)
        got = self.server.request("POST", "/v1/chat/completions", {"messages": MILLER, "max_tokens": 10 ** 6, "logit_bias": {"2041": -100,
                                  "2039": -100}}, headers=self.key)
        usage = json.loads(got.text)["usage"]
        self.assertLessEqual(usage["total_tokens"], 257)
        self.assertEqual(json.loads(got.text)["choices"][0]["finish_reason"], "length")

    def test_models_methods_and_paths(self):
        error = self.refused({"messages": MILLER, "model": "gpt-4"}, 404, "'mine' is", headers=self.key)
        self.assertEqual(error["code"], "model_not_found")
        for name in ["mine", "default", "", None]:
            answer = self.server.request("POST", "/v1/chat/completions", {"messages": MILLER, "model": name, "max_tokens": 1}, self.key)
            self.assertEqual(answer.status, 200)
            self.assertEqual(json.loads(answer.text)["model"], "mine")
        self.refused({}, 404, "nothing at '/v1/embeddings'", path="/v1/embeddings", headers=self.key)
        for method, path, allow in [("GET", "/v1/chat/completions", "POST, OPTIONS"), ("POST", "/", "GET, HEAD, OPTIONS"),
                                    ("DELETE", "/v1/models", "GET, HEAD, OPTIONS")]:
            answer = self.server.request(method, path, headers=self.key)
            self.assertEqual((answer.status, answer.getheader("Allow")), (405, allow))

    def test_pages_of_other_sites(self):
        for headers in [{"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Host": f"evil.example:{self.server.port}"},
                        {"Origin": "null"}]:
            self.refused({"messages": MILLER}, 403, "", headers={**self.key, **headers})
        for headers in [{"Host": "localhost"}, {"Origin": f"http://127.0.0.1:{self.server.port}"}]:
            self.assertEqual(self.server.request("GET", "/health", headers=headers).status, 200)
        other = Server("--allow-origin", "https://friend.example")
        answer = other.request("OPTIONS", "/v1/chat/completions", headers={"Origin": "https://friend.example"})
        self.assertEqual((answer.status, answer.getheader("Access-Control-Allow-Origin")), (204, "https://friend.example"))
        # what OpenAI's client for browsers sends
        asked = "authorization,content-type,x-stainless-arch,x-stainless-lang,x-stainless-retry-count"
        answer = other.request("OPTIONS", "/v1/chat/completions", headers={
            "Origin": "https://friend.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": asked})
        self.assertEqual((answer.status, answer.getheader("Access-Control-Allow-Headers")), (204, asked))
        answer = other.request("OPTIONS", "/v1/models", headers={"Origin": "https://friend.example", "Access-Control-Request-Headers": "x;y"})
        self.assertEqual(answer.getheader("Access-Control-Allow-Headers"), "Authorization, Content-Type")
        self.assertIn("X-Request-Id", other.request("GET", "/health", headers={"Origin": "https://friend.example"})
                      .getheader("Access-Control-Expose-Headers"))
        self.assertEqual(other.request("GET", "/health", headers={"Origin": "https://evil.example"}).status, 403)
        other.close()


class Together(Case):
    options = ("--parallel", "4", "--queue", "100")

    def test_many_clients_get_what_one_gets(self):
        prompts = [f"Who is the {who}?" for who in ["miller", "baker", "smith", "ferryman", "clockmaker", "tailor"]]
        want = {p: self.server.say([{"role": "user", "content": p}], max_tokens=24) for p in prompts}
        wrong = []

        def ask(prompt, streams):
            messages = [{"role": "user", "content": prompt}]
            if streams:
                events = self.server.events("/v1/chat/completions", {"messages": messages, "max_tokens": 24})
                got = "".join(event["choices"][0]["delta"].get("content", "") for event in events)
            else:
                got = self.server.say(messages, max_tokens=24)
            if got != want[prompt]:
                wrong.append((prompt, got))

        threads = [threading.Thread(target=ask, args=(p, i % 2)) for i in range(6) for p in prompts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertGreater(self.server.metric("ingot_stepped_tokens_total"), 1.5 * self.server.metric("ingot_steps_total"))
        self.assertEqual(self.server.metric("ingot_requests_running"), 0)

    def test_a_common_beginning_is_computed_once(self):
        system = {"role": "system", "content": "You know Emberfold, its square and its mill. " + LONG * 5}
        before = self.server.metric("ingot_prompt_tokens_cached_total")
        for who in ["miller", "baker", "smith"]:
            usage = self.server.chat([system, {"role": "user", "content": f"Who is the {who}?"}], max_tokens=4)["usage"]
        self.assertGreater(usage["prompt_tokens_details"]["cached_tokens"], 40)
        self.assertGreater(self.server.metric("ingot_prompt_tokens_cached_total"), before + 80)


class Caches(unittest.TestCase):
    """Caches that rotate, change their form, or share a bounded memory."""
    people = ["miller", "baker", "smith", "ferryman", "clockmaker", "tailor"]

    def serve(self, *options):
        server = Server(*options)
        self.addCleanup(server.close)
        return server

    def ask_all(self, server, want, rounds=4, **how):
        """The same questions from many clients: wrong answers, and the most memory that caches took."""
        wrong, most = [], [0.0]

        def ask(prompt):
            got = server.say([{"role": "user", "content": prompt}], **how)
            if got != want[prompt]:
                wrong.append((prompt, got))

        threads = [threading.Thread(target=ask, args=(p,)) for _ in range(rounds) for p in want]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            most[0] = max(most[0], server.metric("ingot_cache_bytes"))
            time.sleep(0.01)
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        return most[0]

    def test_memory_for_all_caches_is_bounded(self):
        how = {"max_tokens": 24}
        free = self.serve("--parallel", "6")
        want = {f"Who is the {who}?": None for who in self.people}
        for prompt in want:
            want[prompt] = free.say([{"role": "user", "content": prompt}], **how)
        self.assertGreater(free.metric("ingot_cache_bytes"), 600e3)
        bound = 400000
        server = self.serve("--parallel", "6", "--cache-memory", str(bound), "--queue", "100")
        most = self.ask_all(server, want, **how)
        self.assertGreater(most, 0)
        self.assertLessEqual(most, bound)
        # the context is what fits, and a request that may fill it still runs; what is shared is shared still
        card = json.loads(server.request("GET", "/v1/models/lantern").text)
        self.assertLess(card["max_model_len"], 200)
        self.assertEqual(server.chat(MILLER * 40, status=400)["error"]["code"], "context_length_exceeded")
        server.chat([{"role": "user", "content": "Who is the miller?"}])
        talk = [{"role": "system", "content": LONG * 3}, *MILLER]
        server.chat(talk, max_tokens=4)
        talk[1] = {"role": "user", "content": "Who is the smith?"}
        self.assertGreater(server.chat(talk, max_tokens=4)["usage"]["prompt_tokens_details"]["cached_tokens"], 20)
        self.assertLessEqual(server.metric("ingot_cache_bytes"), bound)

    def test_too_little_memory_is_refused(self):
        server = Server("--cache-memory", "10000")
        _, err = server.process.communicate(timeout=60)
        self.assertEqual(server.process.returncode, 2)
        self.assertIn("memory of 0.0 MB for caches holds", err)

    def test_a_cache_that_rotates(self):
        server = self.serve("--max-kv", "64", "--parallel", "2", "--context", "400")
        endless = {"max_tokens": 300, "logit_bias": {"2041": -100, "2039": -100}}
        alone = server.chat(**endless)
        self.assertEqual(alone["usage"]["completion_tokens"], 300)
        self.assertLess(server.metric("ingot_cache_bytes"), 2.5e6)
        out = subprocess.run([PROGRAM, "generate", f"{FIXTURES}/models/lantern", "--prompt", "Who is the miller?", "-m", "40",
                              "--max-kv", "64", "--json"], capture_output=True, text=True, check=True)
        self.assertEqual(server.say(max_tokens=40), json.loads(out.stdout)["text"])
        # whatever the sessions held before: a prompt within the window, and one that is longer
        for prompt in [MILLER, [{"role": "user", "content": LONG * 12}]]:
            texts = set()
            for other in [MILLER, [{"role": "user", "content": "Tell me of the ferry."}]]:
                server.chat(other, **endless)
                texts.add(server.say(prompt, max_tokens=20))
            self.assertEqual(len(texts), 1, texts)

    def test_a_cache_that_changes_its_form(self):
        options = ("--kv-bits", "8", "--quantized-kv-start", "30")
        server = self.serve("--parallel", "3", "--queue", "100", *options)
        want = {}
        for who in self.people:
            out = subprocess.run([PROGRAM, "generate", f"{FIXTURES}/models/lantern", "--prompt", f"Who is the {who}?", "-m", "24",
                                  "--json", *options], capture_output=True, text=True, check=True)
            want[f"Who is the {who}?"] = json.loads(out.stdout)["text"]
        self.ask_all(server, want, max_tokens=24)


class Hostile(Case):
    options = ("--idle-timeout", "1", "--max-body", "1M", "--parallel", "1", "--queue", "2",
               "--connections", "20")
    forever = {"messages": MILLER, "max_tokens": 400, "logit_bias": {"2041": -100, "2039": -100}}

    def raw(self, data=b""):
        s = socket.create_connection(("127.0.0.1", self.server.port), timeout=20)
        s.sendall(data)
        return s

    def closed(self, s):
        try:
            while s.recv(65536):
                pass
        except ConnectionResetError:
            pass
        s.close()

    def tearDown(self):
        while self.server.metric("ingot_requests_running"):
            time.sleep(0.05)
        self.assertEqual(self.server.say(max_tokens=3), self.server.say(max_tokens=3))

    def test_slow_clients_are_closed(self):
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        begun = [self.raw(), self.raw(b"GET / HT"), self.raw(head), self.raw(head + b"Content-Length: 100\r\n\r\n{"),
                 self.raw(head + b"Transfer-Encoding: chunked\r\n\r\n")]
        for _ in range(8):
            time.sleep(0.25)
            for s, data in zip(begun[2:], [b"X-A: b\r\n", b"1", b"1\r\na\r\n"]):
                try:
                    s.sendall(data)
                except OSError:
                    pass
        for s in begun:
            s.settimeout(5)
            self.closed(s)

    def test_large_bodies(self):
        answer = b""
        s = self.raw(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n")
        try:
            for _ in range(1000):
                s.sendall(b"x" * 100000)
        except OSError:
            pass
        try:
            answer = s.recv(65536)
        except OSError:
            pass
        s.close()
        self.assertTrue(answer == b"" or b" 413 " in answer, answer)
        s = self.raw(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            s.sendall(b"186a0\r\n" + b"x" * 100000 + b"\r\n")
        s.sendall(b"0\r\n\r\n")
        self.assertIn(b" 413 ", s.recv(65536))
        s.close()
        self.assertLess(self.server.metric("process_resident_memory_bytes"), 300e6)

    def test_headers_and_lines_that_are_no_http(self):
        for data in [b"\0\1\2\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"y" * 70000 + b"\r\n\r\n",
                     b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
                     b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                     b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n", b"GET /%00%ff/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n"]:
            s = self.raw()
            try:
                s.sendall(data)
                got = s.recv(65536)
            except OSError:
                got = b""
            s.close()
            self.assertTrue(got == b"" or re.match(rb"HTTP/1\.[01] 4\d\d ", got), got[:100])

    def test_clients_that_leave_free_their_place(self):
        for stream in [True, False]:
            before = self.server.metric('ingot_replies_total{finish="cancelled"}')
            body = json.dumps({**self.forever, "stream": stream, "max_tokens": 490}).encode()
            s = self.raw(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            if stream:
                s.recv(100)
            else:
                while self.server.metric("ingot_requests_running") == 0:
                    time.sleep(0.01)
            s.close()
            end = time.time() + 10
            while self.server.metric("ingot_requests_running") and time.time() < end:
                time.sleep(0.02)
            self.assertGreaterEqual(self.server.metric('ingot_replies_total{finish="cancelled"}') +
                                    self.server.metric('ingot_replies_total{finish="length"}'), before + 1)

    def test_the_queue_is_bounded(self):
        statuses = []

        def ask():
            answer = self.server.request("POST", "/v1/chat/completions", {**self.forever, "max_tokens": 100})
            statuses.append((answer.status, answer.getheader("Retry-After")))

        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertLessEqual({s for s, _ in statuses}, {200, 429, 503})
        self.assertIn((429, "1"), statuses)
        self.assertIn((200, None), statuses)

    def test_connections_are_bounded(self):
        many = [self.raw() for _ in range(30)]
        time.sleep(0.2)
        for s in many:
            s.close()
        time.sleep(0.2)


class Life(unittest.TestCase):
    forever = Hostile.forever

    def test_it_drains(self):
        for number in [signal.SIGINT, signal.SIGTERM]:
            server = Server()
            done = []
            thread = threading.Thread(target=lambda: done.append(server.request("POST", "/v1/chat/completions", self.forever)))
            thread.start()
            while server.metric("ingot_requests_running") == 0:
                time.sleep(0.01)
            code, _, err = server.stop(number)
            thread.join()
            self.assertEqual((code, err), (0, ""))
            self.assertEqual((done[0].status, json.loads(done[0].text)["usage"]["completion_tokens"]), (200, 400))

    def test_it_does_not_wait_for_ever(self):
        server = Server("--drain-timeout", "0")
        answer = []

        def ask():
            try:
                answer.append(server.request("POST", "/v1/chat/completions", {**self.forever, "stream": True}).text)
            except (OSError, http.client.HTTPException) as error:
                answer.append(repr(error))

        thread = threading.Thread(target=ask)
        thread.start()
        while server.metric("ingot_requests_running") == 0:
            time.sleep(0.01)
        self.assertEqual(server.stop()[0], 0)
        thread.join()
        self.assertIn("the server is shutting down", answer[0].strip().split("\n\n")[-1])
        self.assertNotIn("[DONE]", answer[0])

    def test_new_clients_are_refused_while_it_drains(self):
        server = Server()
        thread = threading.Thread(target=server.request, args=("POST", "/v1/chat/completions", self.forever))
        thread.start()
        while server.metric("ingot_requests_running") == 0:
            time.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        refused = False
        while not refused and server.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", server.port), timeout=20).close()
            except ConnectionRefusedError:
                refused = True
            except OSError:
                pass  # in between
        thread.join()
        self.assertEqual((refused, server.process.wait(60)), (True, 0))
        server.process.communicate()

    def test_few_file_descriptors(self):
        server = Server(files=64)
        idle = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(100)]
        used = lambda: sum(map(int, pathlib.Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
        if pathlib.Path("/proc/self/stat").exists():
            before = used()
            time.sleep(0.5)
            self.assertLess(used() - before, 5)  # hundredths of a second: it does not spin
        for s in idle:
            s.close()
        self.assertEqual(server.say(max_tokens=2), server.say(max_tokens=2))
        server.close()

    def test_requests_have_a_time(self):
        server = Server("--request-timeout", "0.1", "--parallel", "1")
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(server.request("POST", "/v1/chat/completions", self.forever)))
                   for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        server.close()
        late = [json.loads(a.text)["error"]["message"] for a in answers if a.status == 503]
        self.assertEqual(set(late), {"the request took longer than the server allows"})
        self.assertLessEqual({a.status for a in answers}, {200, 503})

    def test_what_cannot_be_served(self):
        for args, code, says in [(["/nowhere"], 1, "/nowhere"), ([f"{FIXTURES}/models/lantern", "--host", "no.such.host.invalid"], 2, "the host"),
                                 ([f"{FIXTURES}/models/lantern", "--context", "100000"], 2, "the model's is 512"),
                                 ([f"{FIXTURES}/models/lantern", "--port", "70000"], 2, "out of range")]:
            got = subprocess.run([PROGRAM, "serve", *args], capture_output=True, text=True, timeout=60)
            self.assertEqual(got.returncode, code, got.stderr)
            self.assertIn(says, got.stderr)
        server = Server()
        got = subprocess.run([PROGRAM, "serve", f"{FIXTURES}/models/lantern", "--port", str(server.port)], capture_output=True,
                             text=True, timeout=60)
        self.assertEqual(got.returncode, 1)
        self.assertIn("cannot listen", got.stderr)
        server.close()

    def test_thoughts_that_the_template_begins(self):
        with tempfile.TemporaryDirectory() as folder:
            for file in (FIXTURES / "models/lantern").iterdir():
                if file.name != "chat_template.jinja":
                    os.symlink(file.resolve(), f"{folder}/{file.name}")
            template = (FIXTURES / "models/lantern/chat_template.jinja").read_text()
            start = "{{- '<|im_start|>assistant\\n' }}\n    {%- if enable_thinking"
            self.assertIn(start, template)
            pathlib.Path(folder, "chat_template.jinja").write_text(template.replace(start, start.replace("\\n' }}", "\\n<think>\\n' }}")))
            server = Server(model=folder)
            message = server.chat()["choices"][0]["message"]
            events = server.events("/v1/chat/completions", {"messages": MILLER})
            server.close()
        self.assertEqual(message["content"], "")
        self.assertGreater(len(message["reasoning_content"]), 5)
        self.assertEqual("".join(e["choices"][0]["delta"].get("reasoning_content", "") for e in events), message["reasoning_content"])

    def test_a_key_from_the_environment(self):
        server = Server(INGOT_API_KEY="hidden")
        self.assertEqual(server.request("GET", "/v1/models").status, 401)
        self.assertEqual(server.request("GET", "/v1/models", headers={"Authorization": "Bearer hidden"}).status, 200)
        server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--fixtures", required=True, type=pathlib.Path)
    parsed, rest = parser.parse_known_args()
    PROGRAM, FIXTURES = parsed.program, parsed.fixtures
    unittest.main(argv=[sys.argv[0], *rest])
