#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""recipes/*.yaml as a C table, so that a program finds its built-in recipes wherever it lies.

    embed_recipes.py OUT.c RECIPE.yaml..."""
import pathlib
import re
import sys


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def main():
    out, files = sys.argv[1], [pathlib.Path(name) for name in sys.argv[2:]]
    lines = ['/* Made by tools/embed_recipes.py. */', '#include "quant/quant_internal.h"', ""]
    table, pairs = [], []
    for i, path in enumerate(files):
        text = path.read_bytes()
        fields = dict(re.findall(r"^(name|summary): (.*)$", text.decode(), re.M))
        if fields.get("name") != path.stem or "summary" not in fields:
            sys.exit(f"{path}: must say its name, {path.stem}, and a summary")
        # Numbers, not a string: a compiler need not take literals beyond 4095 characters.
        lines.append(f"static const char text_{i}[] = {{" + ",".join(map(str, text)) + ",0};")
        table.append(f"    {{{quoted(path.stem)}, text_{i}, sizeof text_{i} - 1}},")
        pairs.append(f"    {quoted(path.stem)}, {quoted(fields['summary'])},")
    lines += ["", "const struct quant_builtin quant__builtins[] = {", *table, "    {NULL, NULL, 0},", "};"]
    lines += ["const char *const quant__builtin_list[] = {", *pairs, "    NULL,", "};", ""]
    pathlib.Path(out).write_text("\n".join(lines))


if __name__ == "__main__":
    main()
