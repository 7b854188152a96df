#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Good and broken safetensors files, with the official package's verdict on each.

    safetensors_corpus.py > tests/golden/store/safetensors.jsonl

Peer: safetensors 0.8.0 (Python wheel, Rust inside). One JSON line a file: its name, its bytes in base64
(a run of zeros at the end is given by its length, "zeros"), the verdict of safetensors.deserialize, which
safe_open must share, and for good files the tensors as [name, dtype, shape, bytes]. The files are written
down here; only the verdicts are the peer's."""
import base64
import json
import os
import struct
import sys
import tempfile

import safetensors
from safetensors import deserialize, safe_open

CASES = []


def case(name, header, data=8, length=None):
    """data: zero bytes after the header; length: what the first 8 bytes say, if not the truth."""
    header = header.encode("utf-8", "surrogatepass") if isinstance(header, str) else header
    start = struct.pack("<Q", len(header) if length is None else length)
    CASES.append((name, start + header, data))


def raw(name, start):
    CASES.append((name, start, 0))


def info(dtype="F32", shape="[2]", offsets="[0,8]", more=""):
    return '{"dtype":"%s","shape":%s,"data_offsets":%s%s}' % (dtype, shape, offsets, more)


def one(name, *args, data=8, **kw):
    case(name, '{"a":%s}' % info(*args, **kw), data)


GOOD = info()

# ---- the file's frame ----
raw("empty file", b"")
raw("7 bytes", b"\2\0\0\0\0\0\0")
raw("length alone, 0", b"\0" * 8)
case("header cut off", '{"a":', 0, length=100)
case("header one byte short", "{}", 0, length=3)
case("length 100000001", "{}", 0, length=100_000_001)
case("length 2^63", "{}", 0, length=1 << 63)
case("length 2^64-1", "{}", 0, length=(1 << 64) - 1)
case("no tensors", "{}", 0)
case("no tensors, data", "{}", 2)
case("metadata alone", '{"__metadata__":{"format":"pt"}}', 0)
case("plain", '{"a":%s}' % GOOD)
case("spaces after", '{"a":%s}      ' % GOOD)
case("newline after", '{"a":%s}\n' % GOOD)
case("white space before", ' \t\r\n{"a":%s}' % GOOD)
case("NUL after", '{"a":%s}\0' % GOOD)
case("second value after", '{"a":%s}{}' % GOOD)
case("byte order mark", '\ufeff{"a":%s}' % GOOD)
case("one data byte missing", '{"a":%s}' % GOOD, 7)
case("all data missing", '{"a":%s}' % GOOD, 0)
case("one data byte too many", '{"a":%s}' % GOOD, 9)
# ---- JSON ----
case("null", "null", 0)
case("array", "[]", 0)
case("number", "1", 0)
case("unclosed", '{"a":%s' % GOOD)
case("trailing comma", '{"a":%s,}' % GOOD)
case("comment", '{"a":%s/* */}' % GOOD)
case("single quotes", "{'a':%s}" % GOOD)
case("vertical tab", '{\v"a":%s}' % GOOD)
case("invalid UTF-8", b'{"a\xff":%s}' % GOOD.encode())
case("overlong UTF-8", b'{"a\xc0\x80":%s}' % GOOD.encode())
case("surrogate in UTF-8", b'{"a\xed\xa0\x80":%s}' % GOOD.encode())
case("beyond Unicode", b'{"a\xf4\x90\x80\x80":%s}' % GOOD.encode())
case("noncharacter", '{"a\uffff":%s}' % GOOD)
case("escapes", r'{"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00":%s}' % GOOD)
case("NUL in name", r'{"a\u0000b":%s}' % GOOD)
case("DEL in name", '{"a\x7f":%s}' % GOOD)
case("raw tab in name", '{"a\tb":%s}' % GOOD)
case("unknown escape", r'{"\x61":%s}' % GOOD)
case("high surrogate alone", r'{"a\ud800":%s}' % GOOD)
case("low surrogate alone", r'{"a\udc00":%s}' % GOOD)
case("high surrogate twice", r'{"a\ud800\ud800":%s}' % GOOD)
# ---- names ----
case("empty name", '{"":%s}' % GOOD)
case("long name", '{"%s":%s}' % ("layer." * 100, GOOD))
case("name like metadata", '{"__metadata__x":%s}' % GOOD)
case("same name, same place", '{"a":%s,"a":%s}' % (GOOD, GOOD))
case("same name, last one fits", '{"a":%s,"a":%s}' % (info(offsets="[8,16]"), GOOD))
case("same name, first one fits", '{"a":%s,"a":%s}' % (GOOD, info(offsets="[8,16]")))
case("same name, both places", '{"a":%s,"a":%s}' % (GOOD, info(offsets="[8,16]")), 16)
case("same name, first malformed", '{"a":3,"a":%s}' % GOOD)
case("same name by escape", '{"a":%s,"\\u0061":%s}' % (GOOD, GOOD))
# ---- metadata ----
for name, text in [("null", "null"), ("empty", "{}"), ("number inside", '{"x":1}'),
                   ("null inside", '{"x":null}'), ("object inside", '{"x":{}}'), ("array", "[]"),
                   ("string", '"x"'), ("same key", '{"x":"1","x":"2"}')]:
    case("metadata: " + name, '{"__metadata__":%s,"a":%s}' % (text, GOOD))
case("metadata: twice", '{"__metadata__":{},"__metadata__":{},"a":%s}' % GOOD)
case("metadata: last", '{"a":%s,"__metadata__":{"x":"y"}}' % GOOD)
case("metadata: name escaped", '{"\\u005f_metadata__":{"x":"y"},"a":%s}' % GOOD)
case("metadata: like a tensor", '{"__metadata__":%s}' % GOOD)
# ---- a tensor's members ----
case("members in another order", '{"a":{"data_offsets":[0,8],"shape":[2],"dtype":"F32"}}')
case("spaces everywhere", '{ "a" : { "dtype" : "F32" , "shape" : [ 2 ] , "data_offsets" : [ 0 , 8 ] } }')
case("no dtype", '{"a":{"shape":[2],"data_offsets":[0,8]}}')
case("no shape", '{"a":{"dtype":"F32","data_offsets":[0,8]}}')
case("no data_offsets", '{"a":{"dtype":"F32","shape":[2]}}')
case("no members", '{"a":{}}')
case("dtype twice", '{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}')
case("dtype twice by escape", '{"a":{"dtype":"F32","d\\u0074ype":"F32","shape":[2],"data_offsets":[0,8]}}')
case("tensor null", '{"a":null}')
case("tensor text", '{"a":"F32"}')
case("tensor as array", '{"a":["F32",[2],[0,8]]}')
case("tensor as array, too short", '{"a":["F32",[2]]}')
case("tensor as array, too long", '{"a":["F32",[2],[0,8],0]}')
case("tensor as array, other order", '{"a":[[2],"F32",[0,8]]}')
one("unknown member", more=',"zz":[{"y":null}]')
one("unknown member twice", more=',"zz":1,"zz":2')
one("unknown number 1e308", more=',"zz":1e308')
one("unknown number 1e309", more=',"zz":1e309')
one("unknown number -1e999", more=',"zz":[-1e999]')
one("unknown number of 400 digits", more=',"zz":' + "9" * 400)
one("unknown number 1e-999", more=',"zz":1e-999')
one("unknown NaN", more=',"zz":NaN')
one("depth 127", more=',"zz":' + "[" * 125 + "]" * 125)
one("depth 128", more=',"zz":' + "[" * 126 + "]" * 126)
# ---- dtype ----
SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1, "F8_E4M3FNUZ": 1,
         "F8_E5M2FNUZ": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4,
         "C64": 8, "F64": 8, "I64": 8, "U64": 8}
for dtype, size in SIZES.items():
    one("dtype " + dtype, dtype, "[3,1]", "[0,%d]" % (3 * size), data=3 * size)
one("dtype F4", "F4", "[2,3]", "[0,3]", data=3)
one("dtype F4, half a byte", "F4", "[3]", "[0,2]", data=2)
one("dtype F4, half a byte cut", "F4", "[3]", "[0,1]", data=1)
one("dtype F6_E2M3", "F6_E2M3", "[4]", "[0,3]", data=3)
one("dtype F6_E3M2", "F6_E3M2", "[8]", "[0,6]", data=6)
one("dtype F6_E3M2, part of a byte", "F6_E3M2", "[2]", "[0,2]", data=2)
for dtype in ["f32", "float32", "F8", "C128", "I4", "U4", "F128", "F32 ", "", "BF16\\u0000"]:
    one("dtype '%s'" % dtype, dtype)
for name, text in [("number", "12"), ("null", "null"), ("variant as object", '{"F32":null}'),
                   ("object with contents", '{"F32":1}'), ("object of two", '{"F32":null,"x":null}')]:
    case("dtype: " + name, '{"a":{"dtype":%s,"shape":[2],"data_offsets":[0,8]}}' % text)
# ---- shape ----
one("scalar", "F64", "[]")
one("size 0", shape="[0]", offsets="[0,0]", data=0)
one("size 0 with bytes", shape="[0]")
one("0 before an overflow", shape="[0,4294967296,4294967296]", offsets="[0,0]", data=0)
one("0 after an overflow", shape="[4294967296,4294967296,0]", offsets="[0,0]", data=0)
one("0 times 2^64-1", shape="[0,18446744073709551615]", offsets="[0,0]", data=0)
one("2^62 elements", shape="[4611686018427387904]")
one("2^61 elements of 8 bits", "U8", "[2305843009213693952]", "[0,0]", data=0)
one("2^60 elements of 4 bits", "F4", "[1152921504606846976]", "[0,0]", data=0)
one("product overflows", shape="[4294967296,4294967296]")
one("size 2^64", shape="[18446744073709551616]")
one("8 dimensions", shape="[1,1,1,2,1,1,1,1]")
one("9 dimensions", shape="[1,1,1,1,1,1,1,1,2]")
one("70 dimensions", shape="[%s2]" % ("1," * 69))
for text in ["null", "2", '"2"', "{}", "[2.0]", "[2e0]", "[-2]", '["2"]', "[null]", "[[2]]", "[02]", "[+2]", "[true]"]:
    one("shape " + text, shape=text)
one("shape [-0]", shape="[-0]", offsets="[0,0]", data=0)
one("bytes too few for the shape", shape="[3]")
one("bytes too many for the shape", shape="[1]")
# ---- data_offsets ----
for text in ["null", "8", '"0,8"', '{"0":0,"1":8}', "[]", "[0]", "[0,8,8]", "[0,8.0]", "[-0,8]", "[-8,0]", "[8,0]",
             "[0,18446744073709551616]", "[18446744073709551608,18446744073709551615]",
             "[18446744073709551608,18446744073709551616]"]:
    one("data_offsets " + text, offsets=text)
# ---- tiling ----
A, B = '"a":%s' % GOOD, '"b":{"dtype":"F32","shape":[2],"data_offsets":%s}'
one("begins at 4", offsets="[4,12]", data=12)
case("two tensors", "{%s,%s}" % (A, B % "[8,16]"), 16)
case("two tensors, the second first", "{%s,%s}" % (B % "[8,16]", A), 16)
case("hole", "{%s,%s}" % (A, B % "[12,20]"), 20)
case("overlap", "{%s,%s}" % (A, B % "[4,12]"), 12)
case("same bytes twice", "{%s,%s}" % (A, B % "[0,8]"))
case("one inside the other", '{"a":{"dtype":"U8","shape":[16],"data_offsets":[0,16]},%s}' % (B % "[4,12]"), 16)
case("second beyond the end", "{%s,%s}" % (A, B % "[8,16]"), 12)
case("size 0 between", '{%s,"z":%s,%s}' % (A, info(shape="[0]", offsets="[8,8]"), B % "[8,16]"), 16)
case("size 0 at the end", '{%s,"z":%s}' % (A, info(shape="[0]", offsets="[8,8]")))
case("size 0 inside", '{%s,"z":%s}' % (A, info(shape="[0]", offsets="[4,4]")))
case("size 0 beyond", '{%s,"z":%s}' % (A, info(shape="[0]", offsets="[9,9]")))
case("odd offset", '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}', 5)
case("odd header length", '{"a":%s} ' % GOOD)


def verdict(file_bytes, path):
    """The tensors, or the peer's message."""
    with open(path, "wb") as f:
        f.write(file_bytes)
    try:
        tensors = [[n, t["dtype"], t["shape"], len(t["data"])] for n, t in deserialize(file_bytes)]
    except safetensors.SafetensorError as e:
        tensors = str(e).removeprefix("Error while deserializing: ")
    try:
        with safe_open(path, "np") as f:
            names = sorted(f.keys())
    except Exception:  # safe_open maps the file first: an empty one fails there
        names = None
    good = isinstance(tensors, list)
    assert good == (names is not None), "the package disagrees with itself"
    assert not good or names == sorted(t[0] for t in tensors)
    return sorted(tensors) if good else tensors


def main():
    assert safetensors.__version__ == "0.8.0", safetensors.__version__
    assert len({name for name, _, _ in CASES}) == len(CASES)
    with tempfile.TemporaryDirectory() as tmp:
        for name, start, zeros in CASES:
            found = verdict(start + bytes(zeros), os.path.join(tmp, "case.safetensors"))
            row = {"name": name, "start": base64.b64encode(start).decode(), "zeros": zeros}
            row["tensors" if isinstance(found, list) else "peer_error"] = found
            print(json.dumps(row, separators=(",", ":")))
    print(len(CASES), "files", file=sys.stderr)


main()
