#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Dependencies point down: reads the table of rooms in docs/DESIGN.md and every #include.

A room may include rooms of lower levels and itself; rooms on one level never include each other. The
program in cli/ sees include/ingot only. A foreign header may appear in one room only.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Public headers whose name is not their room's.
ROOM_OF_HEADER = {"err": "base", "slice": "base", "buf": "base", "watch": "base", "json": "text", "opt": "text",
                  "compare": "eval", "reply": "chat", "sketch": "merge", "adapter": "merge",
                  "pattern": "token"}
FOREIGN = {"yaml.h": "text", "yajl/": "text", "mpi.h": "dist", "xxhash.h": "base", "utf8proc.h": "text", "immintrin.h": "tensor",
           "zstd.h": "table", "snappy": "table", "zlib.h": "table",
           "microhttpd.h": "serve",
           "editline/": "cli",
           "curl/": "hub", "openssl/": "hub"}


def levels():
    text = (ROOT / "docs/DESIGN.md").read_text()
    table = re.search(r"<!-- layers -->\n```\n(.*?)```", text, re.S).group(1)
    return {room: int(line.split()[0]) for line in table.splitlines() for room in line.split()[1:]}


def room_of_include(name):
    if name.startswith("ingot/"):
        stem = pathlib.Path(name).stem
        return ROOM_OF_HEADER.get(stem, stem)
    return name.split("/")[0] if "/" in name else None


def problems(level):
    files = [p for folder in ("src", "cli", "include") for p in sorted((ROOT / folder).rglob("*.[ch]"))]
    for path in files:
        parts = path.relative_to(ROOT).parts
        room = parts[1] if parts[0] == "src" else "cli" if parts[0] == "cli" else room_of_include("ingot/" + path.name)
        if room not in level:
            yield f"{path.relative_to(ROOT)}: room '{room}' is not in the table of docs/DESIGN.md"
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            where = f"{path.relative_to(ROOT)}:{number}"
            own = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            foreign = re.match(r"\s*#\s*include\s+<([^>]+)>", line)
            if own:
                other = room_of_include(own.group(1))
                if other is None or other == room:
                    continue
                if room == "cli" and not own.group(1).startswith("ingot/"):
                    yield f"{where}: the program sees include/ingot only"
                elif other not in level:
                    yield f"{where}: '{other}' is no room"
                elif level[other] >= level[room]:
                    yield f"{where}: {room} (level {level[room]}) includes {other} (level {level[other]})"
            elif foreign:
                for header, home in FOREIGN.items():
                    if foreign.group(1).startswith(header) and room != home:
                        yield f"{where}: <{foreign.group(1)}> belongs to {home}"


if __name__ == "__main__":
    found = list(problems(levels()))
    print("\n".join(found))
    sys.exit(1 if found else 0)
