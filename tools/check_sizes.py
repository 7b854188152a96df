#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sizes that keep code readable, as a ratchet: tools/sizes_allowed.txt lists what is larger today.

function <= 70 lines, nesting <= 4, parameters <= 7; .c <= 600 lines (kernels and tables <= 900);
line <= 100 columns. An entry that is no longer needed, or larger than needed, is an error too: shrink it.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIMITS = {"function": 70, "nesting": 4, "parameters": 7, "file": 600, "line": 100}
LONG_FILES = ("src/tensor/kernels/", "src/tensor/codecs/", "_tables.")  # one kernel family, or data
GENERATED = ("_tables.",)


def functions(lines):
    """Yields (name, parameters, first, last): code is clang-formatted, so bodies start and end at column 0."""
    for i, line in enumerate(lines):
        if line != "{":
            continue
        end = next((j for j in range(i, len(lines)) if lines[j] == "}"), None)
        head = ""
        for j in range(i - 1, max(i - 8, -1), -1):
            if not lines[j] or lines[j].startswith(("#", "}")) or lines[j].endswith((";", "*/")) and "(" not in lines[j]:
                break
            head = lines[j] + " " + head
        head = re.sub(r"/\*.*?\*/", "", head)
        name = re.search(r"(\w+)\(", head)
        if end is None or not name:
            continue
        yield name.group(1), parameters(head[name.end() - 1:]), i, end


def parameters(text):
    depth, count = 0, 1
    for c in text:
        depth += (c == "(") - (c == ")")
        count += c == "," and depth == 1
        if depth == 0:
            break
    return count


def nesting(body):
    """Deepest block inside the function: one level for each four columns beyond the first that opens a brace."""
    deepest = 0
    for line in body:
        if line.rstrip().endswith("{") and not re.match(r"\s*(static |const |struct |\.|\{|\[)", line):
            deepest = max(deepest, (len(line) - len(line.lstrip())) // 4)
    return deepest


def measure():
    for folder in ("src", "cli", "include", "tests", "bench", "fuzz"):
        for path in sorted((ROOT / folder).rglob("*.[ch]")):
            name = str(path.relative_to(ROOT))
            lines = path.read_text().splitlines()
            if any(mark in name for mark in GENERATED):
                continue
            limit = 900 if any(mark in name for mark in LONG_FILES) else LIMITS["file"]
            if len(lines) > limit:
                yield f"file {name}", len(lines), limit
            formatted = True
            for number, line in enumerate(lines, 1):
                formatted = formatted and "clang-format off" not in line or "clang-format on" in line
                if formatted and len(line) > LIMITS["line"]:
                    yield f"line {name}:{number}", len(line), LIMITS["line"]
            for function, count, first, last in functions(lines):
                key = f"{name}:{function}"
                if last - first - 1 > LIMITS["function"]:
                    yield f"function {key}", last - first - 1, LIMITS["function"]
                if count > LIMITS["parameters"]:
                    yield f"parameters {key}", count, LIMITS["parameters"]
                if nesting(lines[first:last]) > LIMITS["nesting"]:
                    yield f"nesting {key}", nesting(lines[first:last]), LIMITS["nesting"]


def main():
    allowed_file = ROOT / "tools/sizes_allowed.txt"
    rows = [line.rsplit(" ", 1) for line in allowed_file.read_text().splitlines() if line and line[0] != "#"]
    allowed = {key: int(size) for key, size in rows}
    bad = []
    for key, size, limit in measure():
        permitted = allowed.pop(key, limit)
        if size > permitted:
            bad.append(f"{key}: {size}, at most {permitted}")
        elif size < permitted:
            bad.append(f"{key}: {size} now; lower its entry in tools/sizes_allowed.txt")
    bad += [f"{key}: fits now; remove its entry from tools/sizes_allowed.txt" for key in allowed]
    print("\n".join(bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
