#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Parquet and Arrow files of our own rows, written by pyarrow and datasets, and the rows they read back.

    table_golden.py FIXTURES/tasks OUT CORPUS

OUT (tests/golden/table) gets
- TASK.parquet and TASK.arrow: the first rows of each task in the Hub's schema, every Parquet file written in
  another way; the .arrow ones as the cache of `datasets` holds them. The test compares them with the JSONL.
- mixed_*.parquet, mixed_*.arrow: every type, nulls and nesting, in pairs of codec, page version, dictionaries
  and page sizes; mixed.jsonl: json.dumps of the rows that pyarrow reads out of them.
- reals.txt: doubles as bits and repr.
CORPUS (fuzz/corpus) gets small ones for fuzz_parquet and fuzz_arrow.
Golden files were made with pyarrow 26.0.1, datasets 5.2.0 and CPython 3.11.
"""
import json
import pathlib
import random
import struct
import sys

import datasets
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

ROWS = 24
S, L = pa.string(), pa.list_
CHOICES = pa.struct([("text", L(S)), ("label", L(S))])
SCHEMAS = {
    "arc_challenge": [("id", S), ("question", S), ("choices", CHOICES), ("answerKey", S)],
    "arc_easy": [("id", S), ("question", S), ("choices", CHOICES), ("answerKey", S)],
    "boolq": [("question", S), ("passage", S), ("idx", pa.int32()), ("label", pa.int64())],
    "hellaswag": [("ind", pa.int32()), ("activity_label", S), ("ctx_a", S), ("ctx_b", S), ("ctx", S), ("endings", L(S)),
                  ("source_id", S), ("split", S), ("split_type", S), ("label", S)],
    "openbookqa": [("id", S), ("question_stem", S), ("choices", CHOICES), ("answerKey", S)],
    "piqa": [("goal", S), ("sol1", S), ("sol2", S), ("label", pa.int64())],
    "winogrande": [("sentence", S), ("option1", S), ("option2", S), ("answer", S)],
}
WAYS = {
    "arc_challenge": dict(compression="snappy"),
    "arc_easy": dict(compression="zstd", data_page_version="2.0"),
    "boolq": dict(compression="gzip", write_page_checksum=True),
    "hellaswag": dict(compression="snappy", row_group_size=10),
    "openbookqa": dict(compression="none", use_dictionary=False),
    "piqa": dict(compression="snappy", data_page_version="2.0", data_page_size=200, write_batch_size=5),
    "winogrande": dict(compression="zstd", use_dictionary=False, row_group_size=7, write_page_checksum=True),
}
SMALL = dict(row_group_size=9, data_page_size=60, write_batch_size=4)
MIXED = [
    dict(compression="none", data_page_version="1.0", use_dictionary=True),
    dict(compression="snappy", data_page_version="2.0", use_dictionary=False, write_page_checksum=True),
    dict(compression="gzip", data_page_version="1.0", use_dictionary=False, **SMALL),
    dict(compression="zstd", data_page_version="2.0", use_dictionary=True, **SMALL),
    dict(compression="gzip", data_page_version="2.0", use_dictionary=True, use_compliant_nested_type=False),
    dict(compression="none", data_page_version="2.0", use_dictionary=False, **SMALL),
    dict(compression="snappy", use_dictionary=False, column_encoding={
        "text": "DELTA_LENGTH_BYTE_ARRAY", "big": "DELTA_BYTE_ARRAY", "i8": "DELTA_BINARY_PACKED", "i32": "DELTA_BINARY_PACKED",
        "i64": "DELTA_BINARY_PACKED", "u32": "DELTA_BINARY_PACKED", "u64": "DELTA_BINARY_PACKED", "f32": "BYTE_STREAM_SPLIT",
        "f64": "BYTE_STREAM_SPLIT", "i16": "BYTE_STREAM_SPLIT", "choices.text.list.element": "DELTA_BYTE_ARRAY",
        "lists.list.element.list.element": "DELTA_BINARY_PACKED", "deep.list.element.a": "BYTE_STREAM_SPLIT"}),
]
TYPES = {
    "text": S, "flag": pa.bool_(), "i8": pa.int8(), "i16": pa.int16(), "i32": pa.int32(), "i64": pa.int64(), "u8": pa.uint8(),
    "u16": pa.uint16(), "u32": pa.uint32(), "u64": pa.uint64(), "f32": pa.float32(), "f64": pa.float64(), "none": pa.null(),
    "big": pa.large_string(), "lists": L(L(pa.int32())), "choices": CHOICES,
    "deep": L(pa.struct([("a", pa.int64()), ("b", L(pa.struct([("c", pa.float64()), ("d", S)])))])),
    "inner": pa.struct([("x", pa.struct([("y", pa.bool_())])), ("z", pa.int8())]),
}
TEXTS = ["", "ember", "Öl & Käse €", "a\u2028b\"\\", "\n\t\x00\x7f", "😀", "x" * 40]


def value(rng, kind):
    if rng.random() < 0.2 or pa.types.is_null(kind):
        return None
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return rng.choice(TEXTS)
    if pa.types.is_boolean(kind):
        return rng.random() < 0.5
    if pa.types.is_integer(kind):
        bits = kind.bit_width
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if pa.types.is_signed_integer(kind) else (0, (1 << bits) - 1)
        return rng.choice([low, high, 0, 1, rng.randint(low, high)])
    if pa.types.is_floating(kind):
        return rng.choice([0.0, -0.0, 1.5, 1e16, 1e15, 123456.789, 1e-5, 1e-4, 0.1, rng.gauss(0, 1), 2.0 ** rng.randint(-120, 120)])
    if pa.types.is_struct(kind):
        return {member.name: value(rng, member.type) for member in kind}
    return [value(rng, kind.value_type) for _ in range(rng.choice([0, 0, 1, 2, 5]))]


def mixed(rows, types, seed):
    rng = random.Random(seed)
    return pa.table({name: pa.array([value(rng, kind) for _ in range(rows)], kind) for name, kind in types.items()})


def lines(table):
    return "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in table.to_pylist())


def write_arrow(table, path, **options):
    new = ipc.new_file if options.pop("file", False) else ipc.new_stream
    with new(str(path), table.schema, options=ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=9)


def encoded(table, names):
    for name in names:
        table = table.set_column(table.column_names.index(name), name, table[name].dictionary_encode())
    return table


def tasks(fixtures, out):
    for name, schema in SCHEMAS.items():
        rows = [json.loads(line) for line in open(fixtures / f"{name}.jsonl", encoding="utf-8")][:ROWS]
        table = pa.Table.from_pylist(rows, schema=pa.schema(schema))
        pq.write_table(table, out / f"{name}.parquet", **WAYS[name])
        if name in ("arc_easy", "boolq", "hellaswag"):
            with datasets.arrow_writer.ArrowWriter(path=str(out / f"{name}.arrow"), writer_batch_size=10) as writer:
                for row in rows:
                    writer.write(row)
                writer.finalize()


def mix(out):
    table = mixed(25, TYPES, 7)
    text = lines(table)
    (out / "mixed.jsonl").write_text(text, encoding="utf-8")
    for number, way in enumerate(MIXED):
        path = out / f"mixed_{number}.parquet"
        pq.write_table(table, path, store_schema=number == 0, write_statistics=number == 0, **way)
        assert lines(pq.read_table(path)) == text
    write_arrow(table, out / "mixed_stream.arrow")
    write_arrow(encoded(table, ["text", "i64"]), out / "mixed_file.arrow", file=True, compression="zstd")


def reals(out):
    rng = random.Random(3)
    values = [2.0 ** e for e in range(-1074, 1024, 3)] + [5e-324, 1.7976931348623157e308, 0.0, -0.0, 1e23, 9007199254740993.0]
    values += [struct.unpack("<d", rng.randbytes(8))[0] for _ in range(150)]
    values += [round(rng.gauss(0, 10 ** rng.randint(-6, 17)), rng.randint(0, 8)) for _ in range(150)]
    (out / "reals.txt").write_text("".join(
        f"{struct.pack('>d', x).hex()} {x!r}\n" for x in values if x == x and abs(x) != float("inf")))


def corpora(corpus):
    small = {name: TYPES[name] for name in ("text", "flag", "i8", "u32", "f64", "choices", "deep")}
    for folder in ("parquet", "arrow"):
        (corpus / folder).mkdir(exist_ok=True)
    for number, way in enumerate(MIXED):
        names = list(small)[number:] if number < 4 else ["flag", "deep"]
        table = mixed(6, {name: small[name] for name in names}, number)
        way = dict(way, row_group_size=4) if "row_group_size" in way else dict(way)
        if "column_encoding" in way:
            names = ["text", "i8", "u32", "f64", "choices"]
            table = mixed(6, {name: small[name] for name in names}, number)
            way["column_encoding"] = {k: v for k, v in way["column_encoding"].items() if k.split(".")[0] in names}
        pq.write_table(table, corpus / "parquet" / f"way_{number}", store_schema=False, write_statistics=False, **way)
    table = mixed(12, small, 1)
    write_arrow(table.select(["text", "flag", "choices"]), corpus / "arrow" / "stream")
    write_arrow(table.select(["i8", "u32", "deep"]), corpus / "arrow" / "stream_zstd", compression="zstd")
    write_arrow(table.select(["f64", "text"]), corpus / "arrow" / "file", file=True)
    write_arrow(encoded(table.select(["text", "i8"]), ["text"]), corpus / "arrow" / "dictionary")
    fixed = pa.table({"pairs": pa.array([[1, 2], None, [3, None]], L(pa.int16(), 2)), "n": pa.nulls(3)})
    write_arrow(fixed, corpus / "arrow" / "fixed")


if __name__ == "__main__":
    fixtures, out, corpus = map(pathlib.Path, sys.argv[1:4])
    out.mkdir(exist_ok=True)
    tasks(fixtures, out)
    mix(out)
    reals(out)
    corpora(corpus)
