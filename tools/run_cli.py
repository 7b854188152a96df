#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs tests/cli/*.t: what the program prints, word for word.

A test is shell commands with what they print (stdout, then stderr, as they come out together):

    A line that is none of the below is prose.
      $ ingot list tasks | head -n 1
      arc_challenge        Grade-school science questions, the hard part
      $ ingot inspect nowhere
      ingot inspect: cannot open 'nowhere': No such file or directory
      [1]

Commands are indented by two spaces and start with "$ "; "> " goes on with the command before. "[N]" is an exit
status other than 0. A line that ends in " (glob)" may hold * for any text. Each file runs in an empty folder of its
own, commands one after the other in one shell; `fx` and `fixtures` there are the folder of fixtures, `ingot` the program under test.
In a Markdown file the commands are those inside ```console fences, without the indent: the manual's examples are
tests too; numbers there may differ, as times and sizes do. With --update, files are rewritten with what was printed; read the difference before you believe it.
"""
import argparse
import fnmatch
import os
import pathlib
import re
import subprocess
import sys
import tempfile

MARK = "===ingot-test-mark==="


def parse(text, markdown):
    """Blocks: ("prose", line) or ("command", source, [expected lines])."""
    blocks, fenced = [], False
    for line in text.splitlines():
        if markdown:
            fenced = line == "```console" or fenced and line != "```"
            line = "  " + line if fenced and line != "```console" else line
        if line.startswith("  $ "):
            blocks.append(["command", line[4:], []])
        elif line.startswith("  > ") and blocks and blocks[-1][0] == "command" and not blocks[-1][2]:
            blocks[-1][1] += "\n" + line[4:]
        elif line.startswith("  ") and blocks and blocks[-1][0] == "command":
            blocks[-1][2].append(line[2:])
        else:
            blocks.append(["prose", line])
    return blocks


def run(blocks, program, fixtures):
    """What each command printed, its status as a last line "[N]" when it is not 0."""
    script = ["exec 2>&1"]
    for block in blocks:
        if block[0] == "command":
            script += [block[1], f'printf "\\n{MARK} %d\\n" $?']
    with tempfile.TemporaryDirectory(prefix="ingot-cli-") as folder:
        for name in ("fx", "fixtures"):
            os.symlink(fixtures, os.path.join(folder, name))
        env = dict(os.environ, PATH=f"{program.parent}:{os.environ['PATH']}", LC_ALL="C.UTF-8", NO_COLOR="1",
                   TMPDIR=folder, HF_HUB_CACHE=os.path.join(folder, "hub"))
        result = subprocess.run(["sh"], input="\n".join(script), cwd=folder, env=env, text=True, errors="replace",
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    outputs, lines = [], []
    for line in result.stdout.splitlines():
        mark = re.fullmatch(MARK + r" (\d+)", line)
        if not mark:
            lines.append(line)
            continue
        if lines and lines[-1] == "":
            lines.pop()
        if mark.group(1) != "0":
            lines.append(f"[{mark.group(1)}]")
        outputs.append(lines)
        lines = []
    return outputs


def line_matches(expected, actual, loose=False):
    if loose and not expected.endswith(" (glob)"):
        return re.sub(r"[\d.]+", "#", expected) == re.sub(r"[\d.]+", "#", actual)
    if expected.endswith(" (glob)"):
        pattern = expected[: -len(" (glob)")].replace("[", "[[]").replace("?", "[?]")
        return fnmatch.fnmatchcase(actual, pattern)
    return expected == actual


def matches(expected, actual, loose):
    return len(expected) == len(actual) and all(line_matches(e, a, loose) for e, a in zip(expected, actual))


def check(path, program, fixtures, update):
    markdown = path.suffix == ".md"
    blocks = parse(path.read_text(), markdown)
    outputs = run(blocks, program, fixtures)
    commands = [b for b in blocks if b[0] == "command"]
    bad = 0
    for block, output in zip(commands, outputs + [["(the shell ended early)"]] * len(commands)):
        if matches(block[2], output, markdown and not update):
            continue
        bad += 1
        if update:
            kept = {line for line in block[2] if line.endswith(" (glob)")}
            block[2] = [next((k for k in kept if line_matches(k, line)), line) for line in output]
        else:
            print(f"{path.name}: $ {block[1]}\n  expected: {block[2]}\n  got:      {output}")
    if update and bad:
        text, indent = [], "" if markdown else "  "
        for block in blocks:
            if block[0] == "prose":
                text.append(block[1])
            else:
                text += [f"{indent}$ " + block[1].replace("\n", f"\n{indent}> ")] + [indent + line for line in block[2]]
        path.write_text("\n".join(text) + "\n")
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, required=True)
    parser.add_argument("--fixtures", type=pathlib.Path, required=True)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("tests", type=pathlib.Path, nargs="+")
    args = parser.parse_args()
    bad = sum(check(path, args.program.resolve(), args.fixtures.resolve(), args.update) for path in args.tests)
    return 1 if bad and not args.update else 0


if __name__ == "__main__":
    sys.exit(main())
