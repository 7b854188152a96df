#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A disk that fails, fills up or loses half a file, signals, and inputs that change, at chosen calls: faults.c lets the
Nth read, write or rename of a command fail. Each time the message says what and where, nothing half-made has the final
name, and the same command with --resume ends with the bytes of an undisturbed run. Standard library only."""
import argparse
import hashlib
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

PROGRAM, FIXTURES, LIBRARY = None, None, None
SPREAD = 4  # of the calls of a kind, how many are let fail, in turn: the first, the last, and between

LINEAR = """merge_method: linear
models:
  - {model: in/anvil, parameters: {weight: 1}}
  - {model: in/ballad, parameters: {weight: 2}}
dtype: bfloat16
"""
COMMANDS = {  # what they read in, what they write to
    "merge": (["merge", "r.yaml", "out"], ["in/anvil", "in/ballad"]),
    "both": (["merge", "r.yaml", "out", "--quantize", "none,mxfp4"], ["in/anvil", "in/ballad"]),
    "quantize": (["quantize", "in/anvil", "out", "-r", "qx86-hi"], ["in/anvil"]),
    "dequantize": (["dequantize", "in/packed", "out"], ["in/packed"]),
    "expand": (["expand", "in/anvil", "out", "--copies", "3"], ["in/anvil"]),
    "lora": (["extract-lora", "in/anvil", "out", "--base", "in/ballad", "--rank", "4", "-i", "layers.[01].mlp"], ["in/anvil", "in/ballad"]),
}


def digest(folder):
    """Of all files but those that name the folder; None when it is not there."""
    if not folder.exists():
        return None
    sum_ = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "README.md"):
        sum_.update(f"{path.relative_to(folder)}\n".encode())
        sum_.update(path.read_bytes())
    return sum_.hexdigest()


def spread(count):
    if count <= SPREAD:
        return range(1, count + 1)
    return sorted({1 + i * (count - 1) // (SPREAD - 1) for i in range(SPREAD)})


class Case(unittest.TestCase):
    def setUp(self):
        fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # hundreds of runs, all of which sync
        folder = tempfile.TemporaryDirectory(prefix="ingot-faults-", dir=fast)
        self.addCleanup(folder.cleanup)
        self.work = pathlib.Path(folder.name)
        (self.work / "r.yaml").write_text(LINEAR)
        self.log = self.work / "fault.log"
        for name in ("anvil", "ballad"):
            self.fresh(name)

    def fresh(self, name):
        """The fixture, writable, with the times that it always has here."""
        to = self.work / "in" / name
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir(parents=True)
        for path in (FIXTURES / "models" / name).iterdir():
            (to / path.name).write_bytes(path.read_bytes())
            os.utime(to / path.name, (1e9, 1e9))
        return to

    def env(self, fault):
        env = dict(os.environ, HF_HUB_CACHE=str(self.work / "hub"), ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") +
                   ":verify_asan_link_order=0:detect_leaks=0:handle_sigbus=0")
        if fault:
            env |= {"LD_PRELOAD": LIBRARY, "INGOT_FAULT": fault, "INGOT_FAULT_LOG": str(self.log)}
        return env

    def run_with(self, fault, *args, code=None):
        """Runs it, one thread, so that calls come in one order; returns the status, stdout and stderr."""
        self.log.unlink(missing_ok=True)
        threads = [] if args[0] == "inspect" else ["-j", "1"]
        got = subprocess.run([PROGRAM, *args, "-q", *threads], cwd=self.work, env=self.env(fault), capture_output=True,
                             text=True, timeout=100)
        if code is not None:
            self.assertEqual(got.returncode, code, f"{fault} {args}: {got.stderr}")
        return got.returncode, got.stdout, got.stderr

    def ingot(self, *args, code=0):
        return self.run_with(None, *args, code=code)

    def struck(self):
        return self.log.read_text().split()[2] == "fired"

    def count(self, call, part, args):
        """How often the command makes that call."""
        self.clear()
        self.run_with(f"{call}:0:EIO:{part}", *args, code=0)
        total = int(self.log.read_text().split()[1])
        self.clear()
        return total

    def clear(self):
        for path in self.work.glob("out*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def message(self, err, name):
        """One line that begins as the command's errors do."""
        self.assertNotRegex(err, r"(tensor '[^']*': )\1")  # the place is told once
        lines = err.splitlines()
        self.assertEqual(len(lines), 1, err)
        self.assertTrue(lines[0].startswith(f"ingot {name}: "), err)
        self.assertNotIn("Assertion", err)


class Making(Case):
    """merge, expand, quantize, dequantize."""

    def setUp(self):
        super().setUp()
        self.ingot("quantize", "in/anvil", "in/packed", "-r", "q4")
        self.whole, self.parts = {}, {}
        for name, (args, _) in COMMANDS.items():
            self.clear()
            self.ingot(*args)
            out = self.work / "out"
            self.whole[name] = digest(out)
            self.parts[name] = {folder: digest(folder_at) for folder, folder_at in
                                [("out", out), ("none", out / "none"), ("mxfp4", out / "mxfp4")]}
        self.clear()

    def sweep(self, name, call, what, says, part=""):
        """Lets call 1, .., the last one fail."""
        args = COMMANDS[name][0]
        total = self.count(call, part, args)
        self.assertGreater(total, 0, f"{name} makes no {call}")
        for at in spread(total):
            with self.subTest(command=name, call=call, what=what, at=at):
                self.clear()
                code, _, err = self.run_with(f"{call}:{at}:{what}:{part}", *args)
                self.assertEqual(code, -9 if what == "kill" else 1, err)
                if what != "kill":
                    self.message(err, args[0])
                    self.assertTrue(any(word in err for word in says), err)
                self.check_goes_on(name)

    def check_goes_on(self, name):
        args, out = COMMANDS[name][0], self.work / "out"
        for folder in ([out / "none", out / "mxfp4"] if name == "both" else [out]):  # what has its name is whole
            there = {digest(folder)} - {None}
            self.assertLessEqual(there, {self.parts[name].get(folder.name)})
        finished = digest(out) == self.whole[name] and not list(self.work.glob("out.*"))
        code, _, err = self.ingot(*args, "--resume", code=None)
        self.assertTrue(code == 0 or (finished and code == 2 and "exists" in err), err)
        self.assertEqual(digest(out), self.whole[name])
        self.assertEqual([p.name for p in self.work.glob("out*")], ["out"])

    def test_reads_fail(self):
        for name, (_, inputs) in COMMANDS.items():
            for folder in inputs:
                self.sweep(name, "pread", "EIO", [f"cannot read '{folder}/"], folder + "/")

    def test_a_mount_is_lost(self):
        self.sweep("both", "pread", "ESTALE", ["Stale file handle"], "in/ballad/model")

    def test_writes_fail(self):
        for name in COMMANDS:
            self.sweep(name, "pwrite", "EIO", ["Input/output error"], "out")
            self.sweep(name, "write", "EIO", ["Input/output error"], "out")
            self.sweep(name, "fsync", "EIO", ["Input/output error"])

    def test_names_fail(self):
        for name in COMMANDS:
            self.sweep(name, "rename", "EIO", ["Input/output error"])

    def test_the_disk_is_full(self):
        for name in COMMANDS:
            self.sweep(name, "fallocate", "ENOSPC", ["No space left on device"])
        for call in ("pwrite", "write", "fsync"):
            self.sweep("both", call, "ENOSPC", ["No space left on device"])
        self.sweep("merge", "pwrite", "EDQUOT", ["quota exceeded"])

    def test_kills(self):
        for name in COMMANDS:
            for call in ("pwrite", "write", "fsync", "rename"):
                self.sweep(name, call, "kill", [])

    def test_short_transfers_are_gone_on_with(self):
        for name, (args, _) in COMMANDS.items():
            for call in ("pread", "pwrite", "write"):
                total = self.count(call, "", args)
                self.clear()
                for at in spread(total):
                    self.run_with(f"{call}:{at}:short", *args, code=0)
                    self.assertEqual(digest(self.work / "out"), self.whole[name], f"{name} {call} {at}")
                    self.clear()

    def test_an_input_is_cut(self):
        """While it is read. What was made before is of the old file; the new one is refused, and says so."""
        total = self.count("pread", "in/ballad/model", COMMANDS["merge"][0])
        self.clear()
        for at in spread(total):
            code, _, err = self.run_with(f"pread:{at}:cut:in/ballad/model", *COMMANDS["merge"][0])
            self.assertEqual(code, 1)
            self.message(err, "merge")
            self.assertIn("in/ballad", err)
            self.assertFalse((self.work / "out").exists())
            self.fresh("ballad")
            self.ingot(*COMMANDS["merge"][0], "--resume")
            self.assertEqual(digest(self.work / "out"), self.whole["merge"])
            self.clear()

    def test_signals(self):
        """Ctrl-C and SIGTERM: a word, 130, and --resume goes on."""
        for name, (args, inputs) in COMMANDS.items():
            for word in ("int", "term"):
                total = self.count("pread", inputs[0] + "/model", args)
                self.clear()
                for at in (1, total // 2):
                    _, _, err = self.run_with(f"pread:{at}:{word}:{inputs[0]}/model", *args, code=130)
                    self.message(err, args[0])
                    self.assertIn("stopped", err)
                    self.check_goes_on(name)
                    self.clear()


class Changed(Case):
    """What a run is made of changes between its start and --resume: refused, and the file is named."""
    UNION = """merge_method: linear
models: [{model: in/anvil, parameters: {weight: 1}}, {model: in/ballad, parameters: {weight: 2}}]
tokenizer: {source: in/lantern}
dtype: bfloat16
"""

    def setUp(self):
        super().setUp()
        self.fresh("lantern")
        (self.work / "q.yaml").write_text("name: mine\nmode: affine\nbits: 4\ngroup_size: 64\nrules: []\n")

    def whole(self, args):
        self.ingot(*args)
        want = digest(self.work / "out")
        self.clear()
        return want

    def check(self, args, path, change, says=None):
        """Killed half-way; then `change` is done to the file, which is put back in the end."""
        path = self.work / path
        want = self.whole(args)
        kept, times = path.read_bytes() if path.exists() else None, (1e9, 1e9)
        self.run_with(f"write:{self.count('write', 'journal', args) - 3}:kill:journal", *args, code=-9)
        change(path)
        with self.subTest(args=args, path=path.name, change=change.__name__):
            _, _, err = self.ingot(*args, "--resume", code=2)
            self.assertRegex(err, f"an interrupted run left 'out(/none)?.partial', but {says or path.relative_to(self.work)} has "
                                  "changed since: put it back, or start over with --force")
        if kept is None:
            path.unlink()
        else:
            path.write_bytes(kept)
            os.utime(path, times)
        self.ingot(*args, "--resume")
        self.assertEqual(digest(self.work / "out"), want)
        self.clear()

    @staticmethod
    def append(path):
        with path.open("ab") as file:
            file.write(b" ")

    @staticmethod
    def touch(path):
        os.utime(path, (1e9, 1e9 + 1))

    @staticmethod
    def edit(path):
        """Another text of the same length, with the time of before."""
        text = path.read_bytes()
        at = text.rindex(b"1")
        path.write_bytes(text[:at] + b"2" + text[at + 1:])
        os.utime(path, (1e9, 1e9))

    @staticmethod
    def header(path):
        """A tensor of another name in the header; the size and time of before."""
        text = path.read_bytes()
        path.write_bytes(text.replace(b"q_proj", b"p_proj", 1))
        os.utime(path, (1e9, 1e9))

    @staticmethod
    def add(path):
        path.write_text("{}")

    def test_merge(self):
        args = COMMANDS["merge"][0]
        self.check(args, "in/anvil/model.safetensors", self.touch)
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
            self.check(args, f"in/ballad/{name}", self.append if name != "config.json" else self.edit)
        self.check(args, "in/anvil/added_tokens.json", self.add)
        self.check(args, "r.yaml", self.append, "the recipe")
        self.check(COMMANDS["both"][0], "in/anvil/tokenizer.json", self.edit)

    def test_a_foreign_tokenizer(self):
        (self.work / "r.yaml").write_text(self.UNION)
        args = COMMANDS["merge"][0]
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            self.check(args, f"in/lantern/{name}", self.append)

    def test_quantize(self):
        args = ["quantize", "in/anvil", "out", "-r", "q.yaml"]
        self.check(args, "in/anvil/model.safetensors", self.touch)
        self.check(args, "in/anvil/config.json", self.append)
        self.check(args, "in/anvil/generation_config.json", self.append)
        self.check(args, "q.yaml", lambda path: path.write_text(path.read_text().replace("64", "32")),
                   "the quantisation recipe|the recipe")

    def test_expand(self):
        self.check(COMMANDS["expand"][0], "in/anvil/config.json", self.append)
        args = ["expand", "in/anvil", "out", "--copies", "3", "--scales", "scales"]
        (self.work / "scales").write_text("{o_proj: 0.5}\n")
        self.check(args, "scales", lambda path: path.write_text("{o_proj: 0.25}\n"), "the recipe")

    def test_a_stage(self):
        """A finished stage whose input has changed is made again."""
        recipe = ("merge_method: linear\nmodels: [{model: first}, {model: in/ballad}]\nparameters: {weight: 1}\n---\n"
                  "name: first\nmerge_method: linear\nmodels: [{model: in/anvil}, {model: in/lantern}]\n"
                  "parameters: {weight: 1}\n")
        (self.work / "r.yaml").write_text(recipe)
        args = COMMANDS["merge"][0]
        shutil.copy(self.work / "in/ballad/config.json", self.work / "in/lantern/config.json")
        self.check(args, "in/lantern/model.safetensors", self.touch)  # of the stage, which is made as it is read
        _, _, err = self.run_with("pread:5:EIO:in/lantern/model", *args, code=1)
        self.assertRegex(err, "stage 'first': tensor '[^']*': cannot read 'in/lantern/model.safetensors'")
        self.message(err, "merge")
        self.clear()
        args = [*args, "--through-disk"]
        want = self.whole(args)
        self.fresh("lantern")
        self.run_with("write:5:kill:out.partial/ingot.journal", *args, code=-9)
        self.assertTrue((self.work / "out.stages/first/config.json").exists())
        (self.work / "out.partial/ingot.journal").unlink()
        shutil.rmtree(self.work / "out.partial")
        model = self.work / "in/lantern/model.safetensors"
        text = bytearray(model.read_bytes())
        text[-1000:] = text[-2000:-1000]
        model.write_bytes(text)
        self.ingot(*args, "--resume")
        changed = digest(self.work / "out")
        self.clear()
        self.assertEqual(changed, self.whole(args))
        self.assertNotEqual(changed, want)

    def test_eval(self):
        """Items are scored again: what is logged is of the model's bytes."""
        args = ["eval", "in/anvil", "-t", "mini", "-l", "3", "-o", "out"]
        _, before, _ = self.ingot(*args)
        model = self.work / "in/anvil/model.safetensors"
        text = bytearray(model.read_bytes())
        text[-600000:-100000] = bytes(500000)
        model.write_bytes(text)
        os.utime(model, (1e9, 1e9))
        _, after, _ = self.ingot(*args)
        self.clear()
        self.assertEqual(after, self.ingot(*args)[1])
        self.assertNotEqual(after, before)

    def test_the_rule(self):
        """Weights are known by size, time and header, not read again: the manual says so."""
        args = COMMANDS["merge"][0]
        self.run_with(f"write:{self.count('write', 'journal', args) - 3}:kill:journal", *args, code=-9)
        model = self.work / "in/anvil/model.safetensors"
        text = bytearray(model.read_bytes())
        text[-1] ^= 1
        model.write_bytes(text)
        os.utime(model, (1e9, 1e9))
        self.ingot(*args, "--resume")


def cpu():
    return pathlib.Path("/proc/cpuinfo").read_text()


def find_mpirun():
    """The mpirun of the MPI that the program was built with, or None: another one starts processes that do not know
    of each other, and is refused."""
    env = dict(os.environ, **RANKS_ENV)
    for name in ("mpirun.openmpi", "mpirun.mpich", "mpirun"):
        path = shutil.which(name)
        if path and subprocess.run([path, "-n", "2", PROGRAM, "list", "methods"], env=env, capture_output=True).returncode == 0:
            return path
    return None


RANKS_ENV = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
             "OMPI_MCA_btl_vader_single_copy_mechanism": "none"}
NODES_ENV = {"UCX_TLS": "tcp,self"}  # UCX (under Debian's MPICH) knows a machine by its kernel, and would use its memory


class Ranks(Case):
    """One of several ranks fails or is killed: the run ends soon, says why, and goes on with any number of ranks."""
    TASKS = {"merge": COMMANDS["both"][0], "quantize": COMMANDS["quantize"][0]}
    KILLED = "signal 9|exit code: 9|killed|rank 0 has gone"

    def setUp(self):
        super().setUp()
        self.mpirun = find_mpirun()
        if not self.mpirun:
            self.skipTest("no mpirun, or the program was built without MPI")

    def launcher(self):
        return [self.mpirun]

    def ranks(self, count, *args, fault=None, rank=0):
        """Only one of the ranks has the fault."""
        return self.start(count, 'export LD_PRELOAD="$FAULTS"; exec "$@"' if fault else ":", rank, args,
                          FAULTS=LIBRARY, INGOT_FAULT=fault or "")

    def start(self, count, odd, rank, args, **env):
        """The shell commands `odd` run on that rank, with the command in $@."""
        script = f'if [ "${{OMPI_COMM_WORLD_RANK:-$PMI_RANK}}" = {rank} ]; then {odd}; fi; exec "$@"'
        env = dict(self.env(None), **env, **RANKS_ENV, **(NODES_ENV if isinstance(self, Nodes) else {}))
        got = subprocess.run([*self.launcher(), "-n", str(count), "sh", "-c", script, "sh", PROGRAM, *args, "-q", "-j", "1"],
                             cwd=self.work, env=env, capture_output=True, text=True, timeout=60)
        return got.returncode, got.stdout, got.stdout + got.stderr  # MPICH tells on stdout who was killed

    def test_same_bytes(self):
        for args in self.TASKS.values():
            self.ingot(*args)
            want = digest(self.work / "out")
            for count in (2, 4):
                self.clear()
                code, _, err = self.ranks(count, *args)
                self.assertEqual((code, digest(self.work / "out")), (0, want), err)
            self.clear()

    def test_a_rank_fails(self):
        says = {"kill": self.KILLED, "EIO": "input/output error", "term": "stopped"}
        for name, args in self.TASKS.items():
            self.ingot(*args)
            want = digest(self.work / "out")
            for rank, what, call in [(0, "kill", "write"), (2, "kill", "pwrite"), (3, "EIO", "pwrite"), (1, "term", "pread")]:
                with self.subTest(task=name, rank=rank, what=what):
                    self.clear()
                    code, _, err = self.ranks(4, *args, fault=f"{call}:4:{what}:{'in/' if call == 'pread' else 'out'}",
                                              rank=rank)
                    self.assertNotEqual(code, 0, err)
                    self.assertRegex(err.lower(), says[what])
                    self.assertNotEqual(digest(self.work / "out"), want)
                    code, _, err = self.ranks(2, *args, "--resume") if rank % 2 else self.run_with(None, *args, "--resume")
                    self.assertEqual((code, digest(self.work / "out")), (0, want), err)
                    self.assertEqual([p.name for p in self.work.glob("out*")], ["out"])
            self.clear()

    def test_a_rank_stands_still(self):
        """For a second: the others wait. Rank 0 while it makes the folder, and while it closes the books; others between."""
        args = COMMANDS["both"][0]
        self.ingot(*args)
        want = digest(self.work / "out")
        for rank, fault in [(0, "fallocate:1:stop:out"), (1, "pwrite:2:stop:out"), (2, "fsync:1:stop:out"),
                            (0, "rename:2:stop:out")]:
            self.clear()
            code, _, err = self.ranks(3, *args, fault=fault, rank=rank)
            self.assertEqual((code, digest(self.work / "out")), (0, want), f"{fault} {err}")
        args = ["eval", "in/anvil", "-t", "mini", "-l", "9", "-o", "out"]
        self.clear()
        _, want, _ = self.ingot(*args)
        for rank in (0, 2):
            self.clear()
            self.assertEqual(self.ranks(3, *args, fault="write:2:stop:items.log", rank=rank)[:2], (0, want))

    def test_killed_in_the_first_and_last_phase(self):
        args = COMMANDS["both"][0]
        self.ingot(*args)
        want = digest(self.work / "out")
        faults = [(0, f"fallocate:{n}:kill:out") for n in (1, 2)] + [(0, f"rename:{n}:kill:out") for n in (1, 2, 3, 4)]
        faults += [(2, "fsync:1:kill:out"), (2, "pread:1:kill:in/"), (0, "fsync:3:kill:out"), (0, "write:1:kill:journal")]
        for i, (rank, fault) in enumerate(faults):
            with self.subTest(rank=rank, fault=fault):
                self.clear()
                code, _, err = self.ranks(3, *args, fault=fault, rank=rank)
                self.assertNotEqual(code, 0, err)
                code, _, err = self.ranks(2 + i % 3, *args, "--resume")
                self.assertTrue(code == 0 or "exists" in err, err)
                self.assertEqual(digest(self.work / "out"), want)
                self.assertEqual([p.name for p in self.work.glob("out*")], ["out"])

    def test_writes_that_others_see_late(self):
        """What a rank has written is seen by the others when it has synced or closed the file, as NFS has it."""
        args = ["merge", "r.yaml", "out", "--trace"] if "--trace" in self.ingot("merge", "--help")[1] else COMMANDS["merge"][0]
        self.ingot(*args)
        want = digest(self.work / "out")
        self.clear()
        code, _, err = self.ranks(3, *args, fault="write:1+:late:ingot.journal", rank=1)
        self.assertEqual((code, digest(self.work / "out")), (0, want), err)
        self.clear()
        args = ["eval", "in/anvil", "-t", "mini", "-l", "9", "-o", "out", "--json"]
        code, _, err = self.ranks(3, *args, fault="write:1+:late:items.log", rank=1)
        self.assertEqual(code, 0, err)

    def test_eval(self):
        args = ["eval", "in/anvil", "-t", "mini", "-l", "9", "-o", "out"]
        _, want, _ = self.ingot(*args)
        for rank, what in [(0, "kill"), (2, "kill"), (1, "EIO"), (3, "term")]:
            self.clear()
            code, _, err = self.ranks(4, *args, fault=f"write:3:{what}:items.log", rank=rank)
            self.assertNotEqual(code, 0, err)
            code, out, err = self.ranks(3, *args) if rank % 2 else self.run_with(None, *args)
            self.assertEqual((code, out), (0, want), err)


class Differing(Ranks):
    """One of the ranks is not as the others: it says in what, and all end soon. A mount namespace gives it files of its own."""
    EVAL = ["eval", "in/anvil", "-t", "mini", "-l", "9", "-o", "share/out"]
    MERGE = ["merge", "r.yaml", "share/out"]
    VIEW = 'exec unshare --mount sh -c \'mount --bind "$OWN" "$PLACE" && exec "$@"\' sh "$@"'

    test_same_bytes = test_a_rank_fails = test_eval = test_a_rank_stands_still = None  # those of Ranks run there
    test_killed_in_the_first_and_last_phase = test_writes_that_others_see_late = None

    def setUp(self):
        super().setUp()
        (self.work / "share").mkdir()
        (self.work / "own").mkdir()

    def refuse(self, says, odd, args, **env):
        code, _, err = self.start(3, odd, 1, args, **env)
        self.assertNotEqual(code, 0, err)
        lines = [line for line in err.splitlines() if line.startswith("ingot ") and not line.endswith(": stopped")]
        self.assertRegex("\n".join(lines), f"ingot {args[0]}: rank 1 on [^ :]+: {says}")
        self.assertEqual(len(lines), 1, err)  # the others let it speak
        self.assertEqual([p.name for p in (self.work / "share").glob("out/*.partial")], [])

    def own(self, place, change=lambda path: None):
        """A copy of the file or folder, changed, which rank 1 sees in its place."""
        if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
            self.skipTest("mount namespaces are not permitted")
        own, place = self.work / "own" / pathlib.Path(place).name, self.work / place
        if place.is_dir():
            shutil.rmtree(own, ignore_errors=True)
            shutil.copytree(place, own)
        else:
            shutil.copy2(place, own)
        change(own)
        return {"OWN": str(own), "PLACE": str(place)}

    def test_options(self):
        for args in (self.MERGE, self.EVAL):
            for option in ("--json", "--nonsense"):
                self.refuse("the command line is not as rank 0 on [^ ]+ has it: .* there ", f'exec "$@" {option}', args)

    def test_versions(self):
        version = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True).stdout.split()[1].encode()
        other = self.work / "other"
        other.write_bytes(pathlib.Path(PROGRAM).read_bytes().replace(version + b"\0", version[:-1] + b"9\0"))
        other.chmod(0o755)
        self.refuse(f"ingot's version is not as rank 0 on [^ ]+ has it: .*9; there {version.decode()}",
                    f'shift; exec {other} "$@"', self.MERGE)

    def test_arithmetic(self):
        if os.environ.get("IG_KERNELS", "ref" if not re.search("avx2|asimd", cpu()) else "") == "ref":
            self.skipTest("the others have no other")
        self.refuse("the arithmetic .* is not as rank 0 on", 'IG_KERNELS=ref exec "$@"', self.EVAL)

    def test_inputs(self):
        def touch(path):
            os.utime(path, (1e9, 2e9))

        def append(path):
            path.write_bytes(path.read_bytes() + b" ")
        for place, change, name in [("in/anvil/model.safetensors", touch, "in/anvil/model.safetensors"),
                                    ("in/anvil/config.json", append, "in/anvil/config.json"),
                                    ("in/anvil/tokenizer.json", append, "in/anvil/tokenizer.json"),
                                    ("r.yaml", append, "the recipe")]:
            with self.subTest(place=place):
                self.refuse(f"{name} is not as rank 0 on [^ ]+ has it: .*; there ", self.VIEW, self.MERGE,
                            **self.own(place, change))
                self.assertEqual(list((self.work / "share").iterdir()), [])
        self.refuse("in/anvil/model.safetensors is not as", self.VIEW, ["quantize", "in/anvil", "share/out", "-r", "q4"],
                    **self.own("in/anvil/model.safetensors", touch))
        self.refuse("in/anvil/model.safetensors is not as", self.VIEW, ["expand", "in/anvil", "share/out", "--copies", "2"],
                    **self.own("in/anvil/model.safetensors", touch))

        def flip(path):
            path.write_bytes(path.read_bytes()[:-1] + b"\1")
        self.refuse("the model's content is not as rank 0 on", self.VIEW, self.EVAL,
                    **self.own("in/anvil/model.safetensors", flip))

    def test_a_folder_that_is_not_shared(self):
        """Empty there, or with what another run has left there."""
        says = "'share/out[^']*' is not the folder that rank 0 on [^ ]+ writes: all ranks need one that they share"
        for args in (self.MERGE, [*self.MERGE, "--quantize", "none,mxfp4"], self.EVAL):
            with self.subTest(args=args):
                self.refuse(says, self.VIEW, args, **self.own("share"))
                self.assertEqual(list((self.work / "own/share").iterdir()), [])  # nothing is left there
                shutil.rmtree(self.work / "share")
                (self.work / "share").mkdir()
        count = self.count("write", "journal", self.MERGE)
        shutil.rmtree(self.work / "share/out", ignore_errors=True)
        self.run_with(f"write:{count - 3}:kill:journal", *self.MERGE, code=-9)
        self.refuse(says, self.VIEW, [*self.MERGE, "--resume"], **self.own("share"))
        self.ingot(*self.MERGE, "--resume")
        self.ingot(*self.EVAL[:-1], "share/scores")
        self.refuse("'share/scores[^']*' is not the folder", self.VIEW, [*self.EVAL[:-1], "share/scores"], **self.own("share"))


class Nodes(Ranks):
    """The same, each rank in a network of its own: nothing but TCP between them, and the folder. Network namespaces, each
    with an address on one bridge and a host name, stand for machines; `ip netns exec` stands for ssh."""
    COUNT, NET = 4, "10.77.0"
    TASKS = {"merge": COMMANDS["both"][0]}
    KILLED = Ranks.KILLED + "|peer process has unexpectedly disconnected"  # all that an OpenMPI's daemon said, which crashed

    @classmethod
    def ip(cls, *args):
        done = subprocess.run(["ip", *args], capture_output=True, text=True)
        if done.returncode != 0:
            raise unittest.SkipTest(f"ip {' '.join(args)}: {done.stderr.strip()}")

    @classmethod
    def setUpClass(cls):
        if not shutil.which("ip"):
            raise unittest.SkipTest("no ip command (iproute2)")
        cls.prefix = f"ingot{os.getpid()}-"
        hub = cls.prefix + "hub"
        cls.addClassCleanup(cls.remove)
        cls.ip("netns", "add", hub)
        cls.ip("-n", hub, "link", "add", "br0", "type", "bridge")
        cls.ip("-n", hub, "link", "set", "br0", "up")
        for i in range(1, cls.COUNT + 1):
            node = f"{cls.prefix}{i}"
            cls.ip("netns", "add", node)
            cls.ip("-n", hub, "link", "add", f"v{i}", "type", "veth", "peer", "name", "eth0", "netns", node)
            cls.ip("-n", hub, "link", "set", f"v{i}", "master", "br0", "up")
            cls.ip("-n", node, "addr", "add", f"{cls.NET}.{i}/24", "dev", "eth0")
            for link in ("eth0", "lo"):
                cls.ip("-n", node, "link", "set", link, "up")

    @classmethod
    def remove(cls):
        for name in ("hub", *range(1, cls.COUNT + 1)):
            subprocess.run(["ip", "netns", "del", f"{cls.prefix}{name}"], capture_output=True)

    def launcher(self):
        """Called as ssh would be: AGENT [-x] HOST COMMAND.., the command for a shell."""
        agent = self.work / "agent"
        agent.write_text('#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\nnode=${1##*.}; shift\n'
                         f'exec ip netns exec {self.prefix}$node unshare --uts sh -c "hostname node$node; $*"\n')
        agent.chmod(0o755)
        hosts = [f"{self.NET}.{i}" for i in range(1, self.COUNT + 1)]
        version = subprocess.run([self.mpirun, "--version"], capture_output=True, text=True, env=dict(os.environ, **RANKS_ENV))
        if "HYDRA" not in version.stdout:
            net = f"{self.NET}.0/24"
            options = ["--host", ",".join(f"{h}:1" for h in hosts), "--mca", "plm", "rsh", "--mca", "plm_rsh_agent", str(agent),
                       "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", net, "--mca", "oob_tcp_if_include", net]
        else:
            options = ["-hosts", ",".join(f"{h}:1" for h in hosts), "-launcher", "ssh", "-launcher-exec", str(agent),
                       "-iface", "eth0"]
        return ["ip", "netns", "exec", f"{self.prefix}1", "unshare", "--uts", "sh", "-c", 'hostname node1; exec "$@"', "sh",
                self.mpirun, *options]


class Asking(Case):
    """eval, inspect, generate, chat."""
    EVAL = ["eval", "in/anvil", "-t", "mini", "-l", "3", "-o", "out"]

    def result(self):
        """What was scored, without the time in the files' names; and the log."""
        files = sorted((self.work / "out").rglob("samples_*"))
        return [p.read_text() for p in files], sorted(next((self.work / "out").rglob("items.log")).read_text().split("\n"))

    def setUp(self):
        super().setUp()
        self.printed = self.ingot(*self.EVAL)[1]
        self.want = self.result()
        self.clear()

    def goes_on(self):
        """The same command again; nothing that was written is in its way."""
        for path in (self.work / "out").rglob("*_2*"):  # of a run that failed behind them
            path.unlink()
        self.assertEqual(self.ingot(*self.EVAL)[1], self.printed)
        self.assertEqual(self.result(), self.want)

    def sweep(self, call, what, says, part):
        total = self.count(call, part, self.EVAL)
        self.assertGreater(total, 0)
        for at in spread(total):
            with self.subTest(call=call, what=what, at=at):
                self.clear()
                code, _, err = self.run_with(f"{call}:{at}:{what}:{part}", *self.EVAL)
                self.assertEqual(code, 1, err)
                self.message(err, "eval")
                self.assertTrue(all(word in err for word in says), err)
                self.goes_on()

    def test_reads_fail(self):
        for part in ("in/anvil/model", "in/anvil/tokenizer", "in/anvil/config"):
            self.sweep("pread", "EIO", [f"cannot read '{part}", " at byte ", "Input/output error"], part)
        self.sweep("pread", "EIO", ["Input/output error"], "boolq")

    def test_writes_fail(self):
        self.sweep("write", "ENOSPC", ["items.log", "No space left on device"], "items.log")
        self.sweep("write", "EIO", ["out/", "Input/output error"], "out/")
        self.sweep("pwrite", "ENOSPC", ["No space left on device"], "out/")
        self.sweep("fsync", "EIO", ["Input/output error"], "out/")
        self.sweep("rename", "EIO", ["Input/output error"], "out/")

    def test_mapping_fails(self):
        self.sweep("mmap", "EIO", ["in/anvil/model.safetensors", "Input/output error"], "in/anvil/model")

    def test_a_mapped_file_is_cut(self):
        """The system kills who reads such a page (SIGBUS); here the file, the place and the remedy are told."""
        for args in (self.EVAL, ["generate", "in/anvil", "--raw", "-p", "the", "--max-tokens", "4"]):
            for how in ([], ["--json"]):
                self.clear()
                self.fresh("anvil")
                code, out, err = self.run_with("mmap:1:cut:in/anvil/model", *args, *how)
                self.assertEqual(code, 1, err)
                self.message(err, args[0])
                self.assertRegex(err, r"/in/anvil/model\.safetensors' cannot be read at byte \d+: it was cut short")
                if how:
                    self.assertIn("cannot be read at byte", json.loads(out)["error"]["message"])
        self.fresh("anvil")
        self.goes_on()

    def test_a_model_that_changes_is_not_believed(self):
        """Nothing that was read of the changed file gets into the log."""
        self.clear()
        code, _, err = self.run_with("mmap:1:touch:in/anvil/model", *self.EVAL)
        self.assertEqual(code, 1)
        self.assertIn("in/anvil/model.safetensors' has changed while it was read", err)
        self.fresh("anvil")
        self.goes_on()

    def test_signals(self):
        for word in ("int", "term"):
            total = self.count("write", "items.log", self.EVAL)
            for at in (2, total // 2):
                self.clear()
                _, _, err = self.run_with(f"write:{at}:{word}:items.log", *self.EVAL, code=130)
                self.message(err, "eval")
                self.assertRegex(err, r"stopped after \d+ of \d+ items; the same command goes on from there")
                self.goes_on()
            self.clear()  # while the model is read, before the first item
            _, _, err = self.run_with(f"pread:9:{word}:in/anvil/model", *self.EVAL, code=130)
            self.assertIn("ingot eval: stopped", err)
            self.goes_on()

    def test_inspect(self):
        for at in (1, 2):
            _, _, err = self.run_with(f"pread:{at}:EIO:in/anvil/model", "inspect", "in/anvil", code=1)
            self.assertEqual(err, "ingot inspect: cannot open model 'in/anvil': cannot read 'in/anvil/model.safetensors' "
                                  f"at byte {8 * (at - 1)}: Input/output error\n")

    def test_chat_stops(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with subprocess.Popen([PROGRAM, "chat", "in/anvil", "-q"], cwd=self.work, env=self.env(None), text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                process.stdin.write("hello\n")
                process.stdin.flush()
                self.assertTrue(process.stdout.readline())  # a reply: it is in the middle of the conversation
                process.send_signal(number)
                _, err = process.communicate(timeout=60)
                self.assertEqual((process.returncode, err.splitlines()[-1]), (130, "ingot chat: stopped"), err)

    def test_chat_on_a_terminal_stops(self):
        """At the prompt: SIGTERM ends it, Ctrl-C does not."""
        parent, child = pty.openpty()
        process = subprocess.Popen([PROGRAM, "chat", "in/anvil"], cwd=self.work, stdin=child, stdout=child, stderr=child,
                                   env=dict(self.env(None), TERM="dumb"), start_new_session=True)
        os.close(child)
        self.addCleanup(process.kill)
        seen = self.read_until(parent, b"> ")
        while not select.select([parent], [], [], 0.1)[0]:  # it may have come before the line is read
            process.send_signal(signal.SIGINT)
        seen += self.read_until(parent, b"> ")
        self.assertIsNone(process.poll(), seen)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 130)

    def read_until(self, fd, mark):
        seen = b""
        while not seen.endswith(mark):
            self.assertTrue(select.select([fd], [], [], 60)[0], seen)
            seen += os.read(fd, 1)
        return seen


def main():
    global PROGRAM, FIXTURES, LIBRARY
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=pathlib.Path, required=True)
    parser.add_argument("--fixtures", type=pathlib.Path, required=True)
    parser.add_argument("--library", type=pathlib.Path, required=True)
    args, rest = parser.parse_known_args()
    PROGRAM, FIXTURES, LIBRARY = args.program.resolve(), args.fixtures.resolve(), str(args.library.resolve())
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
