#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One cache for two programs: what ingot pulled, huggingface_hub (2.4.0) finds, and the other way round.

    hub_parity.py --program build/cli/ingot --fixtures fixtures

Both download a model and a data set from the same Hub on the loopback (tests/hub/fake_hub.py), each into a
cache of its own; then each goes without network into the other's. The two caches must hold the same names,
links and bytes."""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/hub"))
from fake_hub import FakeHub  # noqa: E402

DOWNLOAD = """
import huggingface_hub as h
print(h.snapshot_download("demo/anvil"))
print(h.snapshot_download("demo/anvil", revision="v1"))
print(h.snapshot_download("demo/rows", repo_type="dataset"))
"""
OFFLINE = """
import huggingface_hub as h, os
s = h.snapshot_download("demo/anvil")
assert os.path.basename(s) == "{commit}", s
assert h.snapshot_download("demo/anvil", revision="v1") == s
for name in {names}:
    assert h.hf_hub_download("demo/anvil", name) == os.path.join(s, name)
    assert h.try_to_load_from_cache("demo/anvil", name) == os.path.join(s, name)
assert [f.path for f in h.get_cached_repo_tree("demo/anvil")] == sorted({names})
assert h.snapshot_download("demo/rows", repo_type="dataset")
info = h.scan_cache_dir()
assert not info.warnings, info.warnings
print(sorted((r.repo_type, r.repo_id, r.nb_files, r.size_on_disk) for r in info.repos))
import transformers
print(type(transformers.AutoConfig.from_pretrained("demo/anvil")).__name__)
print(len(transformers.AutoTokenizer.from_pretrained("demo/anvil")))
"""
FOLDER = """
import huggingface_hub as h
print(h.snapshot_download("demo/anvil", local_dir="{folder}"))
"""


class Parity:
    def __init__(self, args, work):
        self.args, self.work, self.hub, self.bad = args, work, FakeHub(), 0
        self.files = {p.name: p.read_bytes() for p in (args.fixtures / "models/anvil").iterdir()}
        self.repo = self.hub.add("demo/anvil", self.files, lfs=["model.safetensors"], revisions=("main", "v1"))
        self.hub.add("demo/rows", {"main/train.jsonl": b"{}\n" * 9, "main/test.jsonl": b"{}\n"}, kind="datasets")

    def env(self, cache, offline):
        env = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and not k.lower().endswith("_proxy")}
        return {**env, "HF_HUB_CACHE": str(self.work / cache), "HF_HOME": str(self.work / "home"),
                "HF_ENDPOINT": self.hub.url, "HF_HUB_OFFLINE": str(int(offline)), "HF_HUB_DISABLE_XET": "1",
                "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*"}

    def run(self, cache, *command, offline=False):
        result = subprocess.run(command, env=self.env(cache, offline), text=True, capture_output=True, cwd=self.work)
        if result.returncode:
            raise SystemExit(f"{command[:2]}\n{result.stdout}{result.stderr}")
        return result.stdout

    def python(self, cache, source, offline=False):
        return self.run(cache, sys.executable, "-c", source, offline=offline)

    def ingot(self, cache, *command, offline=False):
        return self.run(cache, self.args.program, *command, offline=offline)

    def check(self, what, good):
        self.bad += not good
        print("ok   " if good else "FAIL ", what)

    def tree(self, cache):
        """Every name with what it is; lock files and the tag's wording are each program's own."""
        found = {}
        for path in sorted((self.work / cache).rglob("*")):
            name = str(path.relative_to(self.work / cache))
            if name.startswith(".locks") or name == "CACHEDIR.TAG" or path.is_dir() and not path.is_symlink():
                continue
            is_tree = "/trees/" in name
            found[name] = (os.readlink(path) if path.is_symlink() else
                           json.loads(path.read_text()) if is_tree else path.read_bytes())
        return found

    def compare(self):
        ours = [self.ingot("ours", "pull", name, "-q") for name in ("demo/anvil", "demo/anvil@v1", "datasets/demo/rows")]
        theirs = self.python("theirs", DOWNLOAD)
        self.check("both caches hold the same names, links and bytes", self.tree("ours") == self.tree("theirs"))
        snapshots = [out.splitlines()[0].replace("/ours/", "/theirs/") for out in ours]
        self.check("both name the same folders", snapshots == theirs.splitlines())
        source = OFFLINE.format(commit=self.repo.commit, names=sorted(self.files))
        mine = self.python("ours", source, offline=True)
        self.check("huggingface_hub and transformers read ingot's cache as their own",
                   mine == self.python("theirs", source, offline=True))
        print("      " + mine.replace("\n", "\n      ").rstrip())
        self.check("ingot finds in huggingface_hub's cache what it finds in its own",
                   self.ingot("theirs", "inspect", "demo/anvil@v1", "--json", offline=True) ==
                   self.ingot("ours", "inspect", "demo/anvil@v1", "--json", offline=True))

    def compare_again(self):
        self.hub.sent = 0
        self.hub.requests.clear()
        self.ingot("theirs", "pull", "demo/anvil", "-q")
        self.check("nothing is fetched again by ingot", not any("/resolve/" in r[1] for r in self.hub.requests))
        self.hub.requests.clear()
        self.python("ours", DOWNLOAD)
        self.check("nothing is fetched again by huggingface_hub",
                   not any("/resolve/" in r[1] for r in self.hub.requests))
        self.ingot("ours", "pull", "demo/anvil", "--to", "folder", "-q")
        self.hub.requests.clear()
        self.python("ours", FOLDER.format(folder=self.work / "folder"))
        self.check("nor into a folder", not any(r[0] == "GET" and "/resolve/" in r[1] for r in self.hub.requests))
        self.python("ours", FOLDER.format(folder=self.work / "folder2"))
        self.hub.requests.clear()
        self.ingot("ours", "pull", "demo/anvil", "--to", "folder2", "-q")
        self.check("nor the other way round", not any("/resolve/" in r[1] for r in self.hub.requests))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=lambda p: str(pathlib.Path(p).resolve()), default="build/cli/ingot")
    parser.add_argument("--fixtures", type=pathlib.Path, default=ROOT / "fixtures")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ingot-hub-") as work:
        parity = Parity(args, pathlib.Path(work))
        parity.compare()
        parity.compare_again()
        parity.hub.close()
    return 1 if parity.bad else 0


if __name__ == "__main__":
    sys.exit(main())
