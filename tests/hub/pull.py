#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ingot pull, against a Hub on the loopback that is slow, broken and hostile in turn. Standard library only."""
import argparse
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import fake_hub
from fake_hub import FakeHub, body, forever, redirect, slow, status, trickle

PROGRAM, FIXTURES = None, None
LARGE = random.Random(7).randbytes(300_000)
CONFIG = b'{"model_type": "none"}\n'


class Case(unittest.TestCase):
    def setUp(self):
        self.hub = FakeHub()
        self.addCleanup(self.hub.close)
        folder = tempfile.TemporaryDirectory(prefix="ingot-hub-")
        self.addCleanup(folder.cleanup)
        self.work = pathlib.Path(folder.name)
        self.cache = self.work / "hub"
        self.repo = self.hub.add("org/name", {"config.json": CONFIG, "sub/dir/note.txt": b"", "large.bin": LARGE},
                                 lfs=["large.bin"])
        self.large = hashlib.sha256(LARGE).hexdigest()
        self.folder = self.cache / "models--org--name"
        self.part = self.folder / "blobs" / f"{self.large}.incomplete"

    def env(self, **more):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "XDG_", "TRANSFORMERS"))
                and not k.lower().endswith("_proxy")}
        return {**kept, "HOME": str(self.work), "HF_HUB_CACHE": str(self.cache), "HF_ENDPOINT": self.hub.url,
                "NO_PROXY": "*", **more}

    def start(self, *args, **more):
        return subprocess.Popen([PROGRAM, *args], env=self.env(**more), cwd=self.work, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def ingot(self, *args, code=0, **more):
        process = self.start(*args, **more)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, code, out + err)
        return out, err

    def pull(self, *args, **more):
        out, _ = self.ingot("pull", *(args or ("org/name",)), "--json", "-q", **more)
        return json.loads(out)["pulled"]

    def refused(self, *args, says, **more):
        """Fails, says so, and leaves no blob with a final name that is not whole."""
        _, err = self.ingot("pull", *(args or ("org/name",)), "-q", code=1, **more)
        self.assertIn(says, err)
        for blob in self.cache.glob("*/blobs/*"):
            self.assertTrue(blob.name.endswith(".incomplete") or self.is_right(blob), blob)
        return err

    def is_right(self, blob):
        data = blob.read_bytes()
        return blob.name in (hashlib.sha256(data).hexdigest(), fake_hub.git_sha1(data))

    def check_whole(self):
        snapshot = self.folder / "snapshots" / self.repo.commit
        for path, data in self.repo.files.items():
            self.assertEqual((snapshot / path).read_bytes(), data, path)
        self.assertEqual((self.folder / "refs/main").read_text(), self.repo.commit)
        self.assertEqual(sorted(p.name for p in (self.folder / "blobs").iterdir()),
                         sorted({self.repo.etag(p) for p in self.repo.files}))

    def paths(self, stores=None):
        return [path for _, path, _, at in self.hub.requests if stores is None or at == stores]


class Layout(Case):
    def test_the_caches_layout_and_a_second_pull(self):
        report, = self.pull()
        self.check_whole()
        self.assertEqual(report["commit"], self.repo.commit)
        self.assertEqual(report["path"], str(self.folder / "snapshots" / self.repo.commit))
        self.assertEqual((report["files"], report["files_fetched"]), (3, 3))
        self.assertEqual(report["bytes"], len(LARGE) + len(CONFIG))
        self.assertEqual(report["bytes_fetched"], len(LARGE) + len(CONFIG))
        link = self.folder / "snapshots" / self.repo.commit / "sub/dir/note.txt"
        self.assertEqual(os.readlink(link), "../../../../blobs/" + fake_hub.git_sha1(b""))
        tree = json.loads((self.folder / f"trees/{self.repo.commit}.json").read_text())
        self.assertEqual(tree["format_version"], 1)
        self.assertEqual(tree["files"]["large.bin"],
                         {"size": len(LARGE), "blob_id": self.repo.blob("large.bin"), "lfs_sha256": self.large,
                          "lfs_size": len(LARGE)})
        self.assertEqual(list(tree["files"]), sorted(self.repo.files))
        self.assertTrue((self.cache / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172"))
        self.hub.requests.clear()
        report, = self.pull()
        self.assertEqual((report["files_fetched"], report["bytes_fetched"]), (0, 0))
        self.assertEqual(len(self.hub.requests), 1)

    def test_revisions_data_sets_and_globs(self):
        self.repo.revisions = ("main", "refs/pr/1")
        self.pull("org/name@refs/pr/1", "--include", "*.json,sub/")
        self.assertEqual((self.folder / "refs/refs/pr/1").read_text(), self.repo.commit)
        self.assertIn("/revision/refs%2Fpr%2F1?", self.hub.requests[0][1])
        found = {p.name for p in (self.folder / "snapshots" / self.repo.commit).rglob("*") if not p.is_dir()}
        self.assertEqual(found, {"config.json", "note.txt"})
        self.pull("org/name@" + self.repo.commit, "--exclude", "*.bin")
        self.assertFalse((self.folder / "refs" / self.repo.commit).exists())
        self.assertFalse(self.paths(stores=True))
        data = self.hub.add("org/rows", {"a b/t\u00e4st#1.jsonl": b"{}\n"}, kind="datasets")
        self.pull("datasets/org/rows")
        self.assertEqual((self.cache / "datasets--org--rows/snapshots" / data.commit / "a b/t\u00e4st#1.jsonl")
                         .read_bytes(), b"{}\n")
        _, err = self.ingot("pull", "org/name", "--include", "*.gguf", code=2)
        self.assertIn("none of the 3 files", err)
        self.ingot("pull", code=2)
        self.ingot("pull", "name", code=2)

    def test_benchmarks(self):
        self.hub.add("allenai/ai2_arc", {"README.md": b"x", "ARC-Easy/test-00000-of-00001.parquet": b"e",
                                         "ARC-Challenge/test-00000-of-00001.parquet": b"c"}, kind="datasets")
        self.hub.add("Rowan/hellaswag", {"README.md": b"x", "data/validation-00000-of-00001.parquet": b"h"},
                     kind="datasets")
        self.pull("--tasks", "arc_easy,hellaswag")
        found = {str(p.relative_to(p.parents[1])) for p in self.cache.glob("datasets--*/snapshots/*/*/*.parquet")}
        self.assertEqual(found, {"ARC-Easy/test-00000-of-00001.parquet", "data/validation-00000-of-00001.parquet"})
        rows = (FIXTURES / "tasks/piqa.jsonl").read_bytes().splitlines(True)
        self.hub.add("baber/piqa", {"data/validation.jsonl": b"".join(rows[:3])}, kind="datasets")
        score = ("eval", str(FIXTURES / "models/anvil"), "--tasks", "piqa", "--json", "-q")
        self.assertGreater(json.loads(self.ingot(*score)[0])[0]["results"][0]["items"], 3)
        self.pull("--tasks", "piqa")
        self.assertEqual(json.loads(self.ingot(*score)[0])[0]["results"][0]["items"], 3)
        _, err = self.ingot("pull", "--tasks", "arc_esay", code=2)
        self.assertIn("did you mean 'arc_easy'", err)

    def test_a_model_is_run_by_its_name(self):
        files = {p.name: p.read_bytes() for p in (FIXTURES / "models/anvil").iterdir()}
        self.hub.add("demo/anvil", files, lfs=["model.safetensors"])
        _, err = self.ingot("inspect", "demo/anvil", code=1)
        self.assertIn("`ingot pull demo/anvil` gets it", err)
        self.pull("demo/anvil")
        out, _ = self.ingot("inspect", "demo/anvil")
        self.assertIn("47 tensors", out)
        (self.work / "r.yaml").write_text("merge_method: linear\nmodels:\n- {model: demo/anvil}\n"
                                          f"- {{model: {FIXTURES}/models/lantern}}\nparameters: {{weight: 1}}\n")
        self.ingot("merge", "r.yaml", "out", "-q", "--no-trace")
        self.assertIn("- demo/anvil\n", (self.work / "out/README.md").read_text())
        self.assertTrue((self.work / "out/tokenizer.json").exists())

    def test_a_folder_of_its_own(self):
        report, = self.pull("org/name", "--to", "mine")
        mine = self.work / "mine"
        self.assertEqual(report["path"], "mine")
        self.assertEqual((mine / "large.bin").read_bytes(), LARGE)
        self.assertEqual((mine / "sub/dir/note.txt").read_bytes(), b"")
        note = (mine / ".cache/huggingface/download/large.bin.metadata").read_text().splitlines()
        self.assertEqual(note[:2], [self.repo.commit, self.large])
        self.assertFalse(self.cache.exists())
        self.assertEqual(self.pull("org/name", "--to", "mine")[0]["files_fetched"], 0)
        new = self.hub.add("org/name", {"config.json": b"new", "large.bin": LARGE}, lfs=["large.bin"])
        self.assertEqual(self.pull("org/name", "--to", "mine")[0]["files_fetched"], 1)
        self.assertEqual((mine / "config.json").read_bytes(), b"new")
        (mine / "config.json").write_text("my own")
        os.utime(mine / "config.json", (time.time() + 60,) * 2)
        _, err = self.ingot("pull", "org/name", "--to", "mine", code=2)
        self.assertIn("use --force", err)
        self.assertEqual((mine / "config.json").read_text(), "my own")
        self.pull("org/name", "--to", "mine", "--force")
        self.assertEqual((mine / "config.json").read_bytes(), new.files["config.json"])


class Access(Case):
    def test_the_token_goes_to_the_hub_only(self):
        self.repo.private = True
        self.refused(says="set HF_TOKEN")
        self.pull(HF_TOKEN="hf_good\n")
        seen = {(stores, headers.get("Authorization")) for _, _, headers, stores in self.hub.requests[1:]}
        self.assertEqual(seen, {(False, "Bearer hf_good"), (True, None)})
        home = self.work / "home"
        home.mkdir()
        (home / "token").write_text("hf_good\n")
        self.assertEqual(self.pull(HF_HOME=str(home))[0]["files_fetched"], 0)
        self.assertEqual(self.pull(HF_TOKEN_PATH="~/home/token")[0]["files_fetched"], 0)
        self.refused(says="does not take the token", HF_TOKEN="hf_bad")
        self.ingot("pull", "org/name", code=2, HF_TOKEN="hf good")

    def test_refusals_say_what_to_do(self):
        self.refused("org/nope", says="'org/nope' does not exist on the Hub, or is private")
        self.refused("org/nope", says="check the name", HF_TOKEN="hf_good")
        self.refused("org/name@v9", says="has no revision 'v9'")
        self.repo.gated = True
        self.refused(says=f"accept its terms at {self.hub.url}/org/name, then set HF_TOKEN")
        self.refused(says="this token has no access", HF_TOKEN="hf_good")
        self.assertFalse((self.folder / "refs").exists())
        self.refused("org/name", "--retries", "0", says="cannot reach the Hub", HF_ENDPOINT="http://127.0.0.1:9")
        self.ingot("pull", "org/name", code=2, HF_ENDPOINT="ftp://x")

    def test_offline(self):
        self.refused(says="HF_HUB_OFFLINE forbids", HF_HUB_OFFLINE="1")
        self.assertEqual(self.hub.requests, [])
        self.pull("org/name", "--include", "*.json")
        self.hub.requests.clear()
        self.refused(says="not as a whole", HF_HUB_OFFLINE="1")
        report, = self.pull("org/name", "--include", "*.json", HF_HUB_OFFLINE="1")
        self.assertEqual(report["files"], 1)
        self.assertEqual(self.hub.requests, [])


class Interrupted(Case):
    def cut(self, keep):
        return forever(lambda handler: handler.cut(LARGE, keep))

    def test_cut_connections_are_gone_on_from(self):
        self.hub.faults[f"/{self.large}"] = [self.cut(40_000)]
        report, = self.pull("org/name", "--retries", "0")
        self.check_whole()
        ranges = [headers.get("Range") for _, _, headers, stores in self.hub.requests if stores]
        self.assertEqual(ranges, [None] + [f"bytes={n}-" for n in range(40_000, 300_000, 40_000)])
        self.assertEqual(report["bytes_fetched"], len(LARGE) + len(CONFIG))

    def stop(self, number):
        self.hub.faults[f"/{self.large}"] = [slow(LARGE, 10_000, 0.05)]
        process = self.start("pull", "org/name", "-q")
        end = time.time() + 20
        while time.time() < end and not (self.part.exists() and self.part.stat().st_size >= 50_000):
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
        self.assertFalse((self.folder / "refs/main").exists())
        have = self.part.stat().st_size
        self.hub.requests.clear()
        self.pull()
        self.check_whole()
        self.assertEqual([h.get("Range") for _, _, h, stores in self.hub.requests if stores], [f"bytes={have}-"])
        return process.returncode, err

    def test_ctrl_c(self):
        for number in [signal.SIGINT, signal.SIGTERM]:
            code, err = self.stop(number)
            self.assertEqual(code, 130)
            self.assertIn("goes on where this one stopped", err)
            shutil.rmtree(self.cache)

    def test_kill(self):
        self.stop(signal.SIGKILL)

    def test_bad_bytes_left_over(self):
        self.part.parent.mkdir(parents=True)
        self.part.write_bytes(b"x" * 1000)
        _, err = self.ingot("pull", "org/name")
        self.assertIn("an interrupted download may have left bad ones", err)
        self.check_whole()

    def test_more_left_over_than_the_file_has(self):
        self.part.parent.mkdir(parents=True)
        self.part.write_bytes(LARGE + b"x")
        self.pull()
        self.check_whole()

    def test_a_blob_cut_short(self):
        self.pull()
        blob = self.folder / "blobs" / self.large
        blob.write_bytes(LARGE[:99])
        _, err = self.ingot("pull", "org/name")
        self.assertIn("another size", err)
        self.check_whole()

    def test_two_at_once(self):
        self.hub.faults[f"/{self.large}"] = [slow(LARGE, 20_000, 0.02)]
        both = [self.start("pull", "org/name", "--json", "-q") for _ in range(2)]
        for process in both:
            out, err = process.communicate(timeout=30)
            self.assertEqual(process.returncode, 0, out + err)
        self.check_whole()
        self.assertEqual(len([p for p in self.paths(stores=True) if p == f"/{self.large}"]), 1)


class Trouble(Case):
    def fault(self, *faults):
        self.hub.faults = {f"/{self.large}": list(faults)}

    def test_waits_when_told_to(self):
        self.hub.faults["/api/"] = [status(429, [("Retry-After", "1")])]
        start = time.time()
        _, err = self.ingot("pull", "org/name")
        self.assertGreater(time.time() - start, 0.9)
        self.assertIn("limits how often it is asked", err)
        self.check_whole()
        self.hub.faults["/api/"] = [status(429, [("RateLimit", '"api";r=0;t=1000')])]
        self.refused(says="asks to wait for 1000 s")
        self.hub.faults["/api/"] = [status(503)]
        self.refused("org/name", "--retries", "0", says="answers 503, a made fault: try again later")

    def test_tries_again(self):
        self.fault(status(500), status(403))  # of the store: an address that has run out
        self.pull()
        self.check_whole()
        self.assertEqual(self.paths().count("/org/name/resolve/" + self.repo.commit + "/large.bin"), 3)

    def test_lengths_that_lie(self):
        for lie in (body(LARGE, len(LARGE) + 1), body(LARGE[:-1], len(LARGE) - 1), body(LARGE[:1000], None)):
            self.fault(forever(lie))
            self.refused("org/name", "--retries", "0", says="large.bin")
        self.fault(body(LARGE + b"x", None))
        self.refused(says="sends more than the file's 300000 bytes")

    def test_other_bytes(self):
        other = LARGE[:-1] + b"?"
        self.fault(forever(body(other, len(other))))
        self.refused(says="do not have the digest that the Hub states")
        self.assertEqual(self.part.stat().st_size, 0)
        self.hub.add("org/small", {"config.json": CONFIG})
        self.hub.faults = {"/org/small/resolve": [forever(body(b"{}" + CONFIG[2:], len(CONFIG)))]}
        self.refused("org/small", says="git SHA-1")

    def test_parts_that_are_other_parts(self):
        def lie(handler):
            handler.send(206, LARGE[5:], [("Content-Range", f"bytes 5-{len(LARGE) - 1}/{len(LARGE)}")])
            return True

        def whole(handler):
            handler.send(200, LARGE)
            return True

        @forever
        def no_parts(handler):
            return "Range" in handler.headers and status(416)(handler)

        for second in (lie, whole, no_parts):
            self.fault(lambda handler: handler.cut(LARGE, 100_000), second)
            self.pull()
            self.check_whole()
            (self.folder / "blobs" / self.large).unlink()

    def test_redirects(self):
        self.hub.faults["/api/models/old/name"] = [redirect("/api/models/org/name/revision/main?blobs=true")]
        self.hub.faults["/old/name/resolve"] = [forever(lambda handler: redirect(
            handler.path.replace("/old/", "/org/"))(handler))]
        self.pull("old/name")
        self.hub.faults = {"/api/": [forever(redirect("/api/models/org/name/revision/main"))]}
        self.refused(says="redirects more than")
        self.hub.faults = {"/api/": [redirect("file:///etc/passwd")]}
        self.refused(says="redirects to 'file:")

    def test_slow_and_endless(self):
        self.fault(trickle(LARGE, 0.01))
        self.refused("org/name", "--retries", "0", says="stalled", HF_HUB_DOWNLOAD_TIMEOUT="1")
        self.hub.faults = {"/api/": [body(b" " * (65 << 20), None)]}
        self.refused(says="has more than 67108864 bytes")
        self.hub.faults = {"/api/": [body(b"<html>log in</html>", None)]}
        self.refused(says="cannot read the Hub's answer")
        self.hub.faults = {"/api/": [body(b"{}", None)]}
        self.refused(says="not the Hub's?")

    def test_names_that_lead_elsewhere(self):
        for path in ("../x", "/etc/x", "a/../../x", "a//b", "a\\b", "", ".", "a/./b", "a\nb", "C:x", "a/", "x" * 300,
                     "config.json"):
            self.repo.extra = [{"rfilename": path, "size": 1, "blobId": "0" * 40}]
            self.refused(says="listed twice" if path == "config.json" else ": refused")
        self.assertFalse(self.cache.exists())
        self.repo.extra = [{"rfilename": "x", "size": 1 << 62, "blobId": "0" * 40},
                           {"rfilename": "y", "size": 1 << 62, "blobId": "1" * 40}]
        self.refused(says="sizes have no meaning")
        self.repo.extra = [{"rfilename": "x", "size": 1 << 58, "blobId": "0" * 40}]
        self.refused(says="has room for")
        self.repo.extra = [{"rfilename": "x", "size": 1, "lfs": {"sha256": "../../x", "size": 1}}]
        self.refused(says="without its digest")

    def test_a_mirror_without_digests(self):
        self.repo.digests = False
        self.pull()
        self.check_whole()
        self.assertFalse((self.folder / "trees").exists())
        self.assertEqual([m for m, *_ in self.hub.requests].count("HEAD"), 3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", type=pathlib.Path, required=True)
    parser.add_argument("--fixtures", type=pathlib.Path, required=True)
    known, rest = parser.parse_known_args()
    PROGRAM, FIXTURES = known.program.resolve(), known.fixtures.resolve()
    unittest.main(argv=[sys.argv[0], *rest])
