#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A file as C bytes, so that the program needs no files of its own.   embed_file.py NAME IN OUT.c"""
import pathlib
import sys


def main():
    name, source, out = sys.argv[1:]
    data = pathlib.Path(source).read_bytes()
    signed = [b - 256 if b > 127 else b for b in data]  # as char is where it is signed
    rows = [",".join(map(str, signed[i:i + 32])) for i in range(0, len(data), 32)]
    pathlib.Path(out).write_text("/* Made by tools/embed_file.py. */\n#include <stddef.h>\n"
                                 f"extern const char {name}[];\nextern const size_t {name}_bytes;\n"
                                 f"const char {name}[] = {{\n" + ",\n".join(rows) + ",0};\n"
                                 f"const size_t {name}_bytes = sizeof {name} - 1;\n")


if __name__ == "__main__":
    main()
