#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Parquet and Arrow files that lie, or hold what is not read: one JSON line each, with pyarrow's verdict.

    table_lies.py OUT.jsonl

{"name", "base64", "pyarrow": rows or the first words of its error}. The Parquet files are made by hand below,
so that every number in them can be wrong; the Arrow ones are pyarrow's with bytes replaced. Made with
pyarrow 26.0.1.
"""
import base64
import decimal
import io
import json
import struct
import sys
import zlib

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

# ---- Thrift's compact protocol: {number: value}; bool, int (i32), I64, bytes, lists of one kind, structure ----


class I64(int):
    pass


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def zigzag(n):
    return varint((n << 1 ^ n >> 63) & (1 << 64) - 1)


def thrift(fields):
    out, last = b"", 0
    for number, value in sorted(fields.items()):
        if value is None:
            continue
        kind = (1 if value else 2) if isinstance(value, bool) else 6 if isinstance(value, I64) else 5 if isinstance(value, int) \
            else 8 if isinstance(value, bytes) else 9 if isinstance(value, list) else 12
        out += bytes([number - last << 4 | kind]) if number - last < 16 else bytes([kind]) + zigzag(number)
        last = number
        if isinstance(value, bool):
            pass
        elif isinstance(value, int):
            out += zigzag(value)
        elif isinstance(value, bytes):
            out += varint(len(value)) + value
        elif isinstance(value, list):
            kind = 5 if isinstance(value[0], int) else 8 if isinstance(value[0], bytes) else 12
            out += bytes([min(len(value), 15) << 4 | kind]) + (varint(len(value)) if len(value) > 14 else b"")
            for item in value:
                out += zigzag(item) if kind == 5 else varint(len(item)) + item if kind == 8 else thrift(item)
        else:
            out += thrift(value)
    return out + b"\0"


# ---- Parquet ----

INT32, INT96, FLOAT, BYTES, FIXED = 1, 3, 4, 6, 7


def text(value):
    return struct.pack("<I", len(value)) + value


def run(value, count, width=1):
    return varint(count << 1) + value.to_bytes((width + 7) // 8, "little")


def counted(levels):
    return struct.pack("<I", len(levels)) + levels if levels is not None else b""


def page(values, count, defs=None, reps=None, encoding=0, level_encoding=3, **lies):
    data = counted(reps) + counted(defs) + values
    head = {1: 0, 2: len(data), 3: len(data), 5: {1: count, 2: encoding, 3: level_encoding, 4: level_encoding}}
    return thrift({**head, **lies.get("head", {})}) + data


def page_v2(values, count, defs=b"", reps=b"", packed=None, **lies):
    size = len(reps) + len(defs)
    stored = packed if packed is not None else values
    head = {1: 3, 2: size + len(values), 3: size + len(stored),
            8: {1: count, 2: 0, 3: count, 4: 0, 5: len(defs), 6: len(reps), 7: packed is not None}}
    for number, value in lies.items():
        head[8][int(number[1:])] = value
    return thrift(head) + reps + defs + stored


def dictionary(values, count, **lies):
    return thrift({1: 2, 2: len(values), 3: len(values), 7: {1: count, 2: lies.get("encoding", 0)}}) + values


def leaf(name, kind=BYTES, converted=0, repetition=0, **more):
    return {1: kind, 3: repetition, 4: name, 6: converted, **{int(k[1:]): v for k, v in more.items()}}


def group(name, children, converted=None, repetition=0):
    return {3: repetition, 4: name, 5: children, 6: converted}


def column(pages, count, kind=BYTES, codec=0, **lies):
    meta = {1: kind, 2: [0, 3, 8], 3: [b"word"], 4: codec, 5: I64(count), 6: I64(len(pages)), 7: I64(len(pages)), 9: I64(0)}
    meta.update({int(k[1:]): v for k, v in lies.items() if k[1:].isdigit()})
    return pages, meta, lies.get("chunk", {})


def parquet(schema, columns, rows, **lies):
    out, chunks = b"PAR1", []
    for pages, meta, chunk in columns:
        meta = dict(meta)
        meta[9] = I64(meta[9] or len(out))
        out += pages
        chunks.append({2: I64(0), 3: meta, **chunk})
    groups = [{1: chunks or None, 2: I64(len(out)), 3: I64(rows)}] * lies.get("groups", 1)
    children = lies.get("children", sum(1 for e in schema if e.get("top", True)))
    elements = [group(b"root", children)] + [{k: v for k, v in e.items() if k != "top"} for e in schema]
    footer = thrift({1: 1, 2: elements, 3: I64(lies.get("said", rows * lies.get("groups", 1))), 4: groups, **lies.get("more", {})})
    return out + footer + struct.pack("<I", lies.get("length", len(footer))) + lies.get("magic", b"PAR1")


def simple(values=text(b"one") + text(b"two"), count=2, kind=BYTES, converted=0, codec=0, rows=2, **lies):
    head = {"head": lies.pop("head")} if "head" in lies else {}
    encoding = {"encoding": lies.pop("encoding")} if "encoding" in lies else {}
    meta = {k: v for k, v in lies.items() if k.startswith("m") and k[1:].isdigit() or k == "chunk"}
    more = {k: v for k, v in lies.items() if k not in meta}
    return parquet([leaf(b"word", kind, converted)],
                   [column(page(values, count, **head, **encoding), lies.get("entries", count), kind, codec, **meta)], rows, **more)


def coded(codes, words=(b"a", b"b"), count=2, before=None, **lies):
    pages = dictionary(b"".join(map(text, words)), lies.get("words", len(words)), **{k: v for k, v in lies.items() if k == "encoding"})
    pages = (pages if before is None else before) + page(codes, count, encoding=8)
    return parquet([leaf(b"word")], [column(pages, count)], count)


LIST = [group(b"all", 1, 3), dict(group(b"list", 1, repetition=2), top=False), dict(group(b"item", 2), top=False),
        dict(leaf(b"left"), top=False), dict(leaf(b"right"), top=False)]


def lists(left, right, rows=1):
    """A list of structures with two members; each: repetition levels, definition levels, count, values."""
    made = [column(page(values, count, defs, reps), count) for reps, defs, count, values in (left, right)]
    return parquet(LIST, made, rows)


TWO = (varint(1 << 1 | 1) + b"\x02", run(1, 2), 2, text(b"a") + text(b"b"))
ONE = (run(0, 1), run(1, 1), 1, text(b"c"))
NONE = (run(0, 1), run(0, 1), 1, b"")


def deep(levels):
    nested = [dict(group(b"g", 1), top=i == 0) for i in range(levels)] + [dict(leaf(b"x"), top=False)]
    return parquet(nested, [column(page(text(b"a"), 1), 1)], 1)


def parquet_cases():
    good = simple()
    yield "good", good
    yield "no magic at the end", simple(magic=b"PARX")
    yield "nothing but the magic", b"PAR1"
    yield "encrypted", b"PARE" + good[4:-4] + b"PARE"
    yield "footer longer than the file", simple(length=1 << 20)
    yield "footer cut", simple(length=9)
    yield "encrypted columns", simple(more={8: {1: {}}})
    yield "fewer rows said than there are", simple(said=1)
    yield "less than no rows", simple(rows=-1, said=-1)
    yield "more rows than values", simple(rows=3)
    yield "fewer rows than values", simple(rows=1)
    yield "more values in a page than in the column", simple(entries=1)
    yield "fewer values in the pages than in the column", simple(entries=3)
    yield "values cut", simple(values=text(b"one") + b"\3\0\0\0tw")
    yield "not UTF-8", simple(values=text(b"one") + text(b"t\xffo"))
    yield "a name that is not UTF-8", parquet([leaf(b"w\xc0rd")], [column(page(b"", 0), 0)], 0)
    yield "pages before the file", simple(m9=I64(-5))
    yield "pages after the file", simple(m9=I64(1 << 40))
    yield "size beyond 63 bits with its place", simple(m7=I64((1 << 63) - 1))
    yield "row groups over each other", simple(groups=9)
    yield "another file", simple(chunk={1: b"other.parquet"})
    yield "an encrypted column", simple(chunk={8: {1: {}}})
    yield "no description", parquet([leaf(b"word")], [(b"", {9: 1}, {3: None})], 0)
    yield "type of the column not the schema's", simple(m1=INT32)
    yield "less than no values", simple(entries=-1)
    yield "columns missing", parquet([leaf(b"a"), leaf(b"b")], [column(page(text(b"x"), 1), 1)], 1)
    yield "schema cut", parquet([leaf(b"word")], [column(page(text(b"x"), 1), 1)], 1, children=2)
    yield "schema too long", parquet([leaf(b"a"), leaf(b"b")], [column(page(text(b"x"), 1), 1)], 1, children=1)
    yield "a group of nothing", parquet([group(b"g", 0)], [], 0)
    yield "nested 40 deep", deep(40)
    yield "page larger than the column", simple(head={3: 5000})
    yield "page of another size unpacked", simple(head={2: 5})
    yield "page header cut", simple(m7=I64(3))
    yield "page without its header", simple(head={5: None})
    yield "checksum", simple(head={4: 12345})
    yield "index page", parquet([leaf(b"word")], [column(thrift({1: 1, 2: 2, 3: 2, 6: {}}) + b"xx" + page(text(b"a"), 1), 1)], 1)
    yield "code beyond the dictionary", coded(b"\1" + run(1, 1) + run(2, 1, 2))
    yield "codes with 33 bits", coded(b"\x21" + run(1, 2))
    yield "codes cut", coded(b"\1" + run(1, 1))
    yield "code wider than its bits", coded(b"\1" + run(3, 2))
    yield "codes without a dictionary", coded(b"\1" + run(1, 2), before=b"")
    yield "two dictionaries", coded(b"\1" + run(1, 2), before=dictionary(text(b"a"), 1) * 2)
    yield "dictionary cut", coded(b"\1" + run(1, 2), words=(b"abc", b"def", b"ghi"), before=dictionary(text(b"abcdefgh") + b"\1\0\0\0", 3))
    yield "dictionary of more than its bytes", coded(b"\1" + run(1, 2), before=dictionary(text(b"a"), 1 << 30))
    yield "lists of one length", lists(ONE, ONE)
    yield "lists of two lengths", lists(TWO, ONE)
    yield "an empty list beside one", lists(NONE, ONE)
    yield "levels cut", lists((b"", run(1, 1), 1, text(b"c")), ONE)
    yield "level beyond the highest", parquet([leaf(b"word", repetition=1)], [column(page_v2(text(b"a"), 1, defs=run(1, 1) + b""), 1)], 1) \
        .replace(run(1, 1), run(2, 1))
    yield "levels longer than the page", parquet(
        [leaf(b"word", repetition=1)], [column(page_v2(text(b"a"), 1, defs=run(1, 1), f5=99), 1)], 1)
    yield "bit-packed levels", parquet(
        [leaf(b"word", repetition=1)], [column(page(text(b"a"), 1, run(1, 1), level_encoding=4), 1)], 1)
    yield "first row goes on with a list", lists((run(1, 1), run(1, 1), 1, text(b"c")), ONE)
    yield "a list that is two things", parquet([dict(group(b"l", 2, 3)), dict(leaf(b"a", repetition=2), top=False),
                                               dict(leaf(b"b"), top=False)], [column(page(text(b"x"), 1), 1)] * 2, 1)
    yield "a bare repeated field", parquet([leaf(b"word", repetition=2)], [column(page(text(b"a") + text(b"b"), 2, run(1, 2),
                                                                                   varint(1 << 1 | 1) + b"\x02"), 2)], 1)
    yield "two-level list", parquet([dict(group(b"l", 1, 3)), dict(leaf(b"array", repetition=2), top=False)],
                                    [column(page(text(b"a"), 1, run(1, 1), run(0, 1)), 1)], 1)
    yield "values in a column of nulls", parquet([leaf(b"none", INT32, None, f10={11: {}})], [column(page(b"\0" * 4, 1), 1, INT32)], 1)
    yield "NaN", simple(struct.pack("<f", float("nan")), 1, FLOAT, None, rows=1)
    yield "packed bytes that are not snappy", simple(codec=1, head={2: 14})
    yield "snappy of another size", simple(values=b"\x0e\x34" + text(b"one") + text(b"two"), codec=1, head={2: 13})
    yield "gzip cut", simple(values=zlib.compress(text(b"one") + text(b"two"))[:-5], codec=2, head={2: 14})
    yield "more unpacked than is allowed", simple(codec=6, head={2: (1 << 30) + 1})
    for codec, name in ((3, "LZO"), (4, "BROTLI"), (5, "LZ4"), (7, "LZ4_RAW"), (8, "unknown codec")):
        yield name, simple(codec=codec)
    for number, name in ((4, "BIT_PACKED"), (77, "encoding 77"), (3, "RLE of text")):
        yield name, simple(encoding=number)
    for kind, converted, name in ((BYTES, None, "bytes"), (BYTES, 4, "ENUM"), (BYTES, 19, "JSON"), (INT32, 6, "DATE"), (INT96, None, "INT96"),
                                  (FIXED, None, "FIXED"), (FIXED, 5, "DECIMAL"), (2, 9, "TIMESTAMP"), (9, None, "type 9"),
                                  (INT32, 14, "64 bits in INT32"), (INT32, 40, "converted 40")):
        yield name, simple(kind=kind, converted=converted)
    yield "UUID", parquet([leaf(b"id", FIXED, None, f10={14: {}})], [column(b"", 0, FIXED)], 0)
    yield "logical type 99", parquet([leaf(b"id", f10={99: {}})], [column(b"", 0)], 0)
    yield "MAP", parquet([group(b"m", 1, 1), dict(group(b"kv", 2, repetition=2), top=False), dict(leaf(b"key"), top=False),
                          dict(leaf(b"value"), top=False)], [column(b"", 0)] * 2, 0)


# ---- Arrow ----

def stream(table, file=False, **options):
    sink = io.BytesIO()
    with (ipc.new_file if file else ipc.new_stream)(sink, table.schema, options=ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def replace(data, old, new, nth=0):
    at = -1
    for _ in range(nth + 1):
        at = data.index(old, at + 1)
    return data[:at] + new + data[at + len(old):]


def arrow_cases():
    q, i = (lambda n: struct.pack("<q", n)), (lambda *n: struct.pack(f"<{len(n)}i", *n))
    words = pa.table({"word": ["one", "three", None]})
    data = stream(words)
    yield "arrow good", data
    yield "arrow no message", b"\xff" * 4 + b"\x10\0\0\0" + b"\xff" * 16
    yield "arrow nothing but the mark", b"\xff" * 4
    yield "arrow head cut", data[:50]
    yield "arrow body cut", data[:-40]
    yield "arrow garbage after the schema", data[:data.index(b"\xff\xff\xff\xff", 4)] + b"garbage!" * 2
    yield "arrow offsets backwards", replace(data, i(0, 3, 8, 8), i(0, 9, 8, 8))
    yield "arrow offset beyond the text", replace(data, i(0, 3, 8, 8), i(0, 3, 800, 800))
    yield "arrow not UTF-8", replace(data, b"onethree", b"on\xffthree")
    batch = data.index(b"\xff\xff\xff\xff", 4)
    head, tail = data[:batch], data[batch:]  # in tail 3 stands for rows of the batch, buffers, rows of the column
    yield "arrow more rows than offsets", head + replace(replace(tail, q(3), q(300), 2), q(3), q(300))
    yield "arrow buffer outside of the body", replace(data, q(16), q(1 << 40))
    yield "arrow body longer than the file", head + replace(tail, q(32), q(1 << 50))
    yield "arrow rows less than none", head + replace(tail, q(3), q(-3))
    yield "arrow rows of a column less than none", head + replace(tail, q(3), q(-3), 2)
    ints = stream(pa.table({"n": pa.array([5, 6, 7], pa.int64())}))
    yield "arrow batch of more rows than its column", replace(ints, q(3), q(4))
    lists_ = stream(pa.table({"l": pa.array([["a"], ["b", "c"]])}))
    yield "arrow list beyond its items", replace(lists_, i(0, 1, 3), i(0, 1, 9))
    coded = pa.table({"word": pa.array(["x", "y", "x"]).dictionary_encode()})
    yield "arrow index beyond the dictionary", replace(stream(coded), i(0, 1, 0), i(0, 7, 0))
    yield "arrow index less than none", replace(stream(coded), i(0, 1, 0), i(0, -1, 0))
    batches = [pa.record_batch({"word": pa.DictionaryArray.from_arrays(pa.array([n], pa.int32()), pa.array(["x", "y"][:n + 1]))}) for n in (0, 1)]
    sink = io.BytesIO()
    with ipc.new_stream(sink, batches[0].schema, options=ipc.IpcWriteOptions(emit_dictionary_deltas=True)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    yield "arrow dictionary in parts", sink.getvalue()
    filed = stream(words, file=True)
    yield "arrow file good", filed
    yield "arrow file cut", filed[:-1]
    yield "arrow file footer too long", filed[:-10] + i(1 << 30) + filed[-6:]
    big = pa.table({"word": ["ember" * 50]})
    yield "arrow lz4", stream(big, compression="lz4")
    yield "arrow zstd of another size", replace(stream(big, compression="zstd"), q(250), q(251), 1)
    yield "arrow NaN", stream(pa.table({"x": [float("nan")]}))
    for name, array in {
        "binary": pa.array([b"x"]), "half": pa.array([1.0], pa.float16()), "timestamp": pa.array([1], pa.timestamp("s")),
        "decimal": pa.array([decimal.Decimal("1.5")]), "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        "view": pa.array(["x"], pa.string_view()), "date": pa.array([1], pa.date32()), "duration": pa.array([1], pa.duration("s")),
    }.items():
        yield f"arrow {name}", stream(pa.table({"c": pa.array([{"x": v} for v in array.to_pylist()], pa.struct([("x", array.type)]))
                                                if name not in ("half",) else array}))


def verdict(name, data):
    try:
        if not name.startswith("arrow"):
            return pq.read_table(pa.BufferReader(data)).to_pylist()
        reader = (ipc.open_file if data.startswith(b"ARROW1") else ipc.open_stream)(pa.BufferReader(data))
        table = reader.read_all()
        table.validate(full=True)
        return table.to_pylist()
    except Exception as error:  # whatever it says
        return type(error).__name__


def main(out):
    with open(out, "w", encoding="utf-8") as file:
        for cases in (parquet_cases(), arrow_cases()):
            for name, data in cases:
                rows = verdict(name, data)
                print(f"{name:50} {rows!r:.60}")
                file.write(json.dumps({"name": name, "base64": base64.b64encode(data).decode(),
                                       "pyarrow": rows if isinstance(rows, str) else len(rows)}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
