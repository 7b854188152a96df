#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What mx.quantize and mx.dequantize give on the CPU: golden bytes for tests/unit/test_quant_codec.c.

    mlx_quant.py tests/golden/quant              the committed files (mlx 0.32.4, Linux x86-64 wheel)
    mlx_quant.py --rows 4096 /somewhere          larger ones: INGOT_GOLDEN_QUANT=/somewhere test_quant_codec

A file holds, for one dtype: a line `DTYPE ELEMS`, the input, then for each codec a line
`MODE BITS GROUP FNV WBYTES SBYTES BBYTES`, and codes, scales and biases. FNV is FNV-1a-64 over the
dequantised values in the same dtype, every NaN as 0x7FC0 (f16: 0x7E00, f32: 0x7FC00000).
Rows have 128 elements; most are made to hurt: ties, infinities, NaN, subnormals, overflow."""
import argparse
import os

import mlx.core as mx
import numpy as np

COLUMNS = 128
CODECS = [("affine", b, g) for b in (1, 2, 3, 4, 5, 6, 8) for g in (32, 64, 128)]
CODECS += [("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)]
TYPES = {"float32": (np.uint32, 0x7FC00000), "float16": (np.uint16, 0x7E00),
         "bfloat16": (np.uint16, 0x7FC0)}


def to_bits(values, dtype):
    """f32 numbers as the bit patterns of dtype, rounded by mlx."""
    a = mx.array(values.astype(np.float32)).astype(getattr(mx, dtype))
    return np.array(a.view(mx.uint32 if dtype == "float32" else mx.uint16))


def hard_rows(rng, dtype):
    """One row for each way that a group can be odd."""
    n = lambda: rng.standard_normal(COLUMNS)
    step = {"float32": 2.0**-149, "float16": 2.0**-24, "bfloat16": 2.0**-133}[dtype]
    top = {"float32": 3.4e38, "float16": 65504.0, "bfloat16": 3.38e38}[dtype]
    at = np.arange(COLUMNS)
    rows = [
        n() * 0.02, rng.laplace(size=COLUMNS) * 0.05,
        rng.integers(-64, 65, COLUMNS) / 16.0,                      # halves everywhere
        rng.integers(-24, 25, COLUMNS) / 4.0,                       # the fp4 thresholds
        np.ldexp(rng.choice([-1.0, 1.0], COLUMNS), rng.integers(-12, 4, COLUMNS)),
        np.abs(n()) + 0.1, -np.abs(n()) - 0.1,
        np.where(at < 64, 0.0, -0.0), np.where(at % 2, -0.0, 0.0),
        np.where(at < 64, 0.37, -0.37),
        1e-7 * n(), 1 + 3e-8 * n(),
        step * rng.integers(-50, 51, COLUMNS), step * (at % 4 == 1),
        rng.uniform(-1, 1, COLUMNS) * top,
        np.where(at % 32 == 5, 1e3, 1e-3) * n(), np.where(at % 32 == 7, n(), 0.0),
        np.where(at == 3, np.inf, n()), np.where(at == 70, -np.inf, n()),
        np.where(at % 40 == 9, np.inf, np.where(at % 40 == 11, -np.inf, n())),
        np.where(at == 40, np.nan, n()), np.where(at < 64, np.nan, np.inf),
        np.where(at % 3 == 0, np.nan, -0.0), n() * np.exp2(rng.integers(-20, 10, COLUMNS)),
    ]
    return to_bits(np.array(rows), dtype)


def more_rows(rng, dtype, rows):
    """Random rows of many scales, and for the 16-bit types every bit pattern, also as a maximum."""
    parts = [to_bits(rng.standard_normal((rows, COLUMNS)) * np.exp2(rng.integers(-40, 12, (rows, 1))),
                     dtype),
             to_bits(rng.integers(-256, 257, (rows, COLUMNS)) / 32.0, dtype)]
    if dtype == "float32":
        parts.append(rng.integers(0, 1 << 32, (rows, COLUMNS), dtype=np.uint32))
        return np.concatenate(parts)
    every = np.arange(65536, dtype=np.uint16)
    parts += [every.reshape(-1, COLUMNS), rng.permutation(every).reshape(-1, COLUMNS)]
    view = mx.float16 if dtype == "float16" else mx.bfloat16
    value = np.array(mx.array(every).view(view).astype(mx.float32))
    spread = rng.uniform(-1, 1, (65536, 16))
    spread[:, 3] = 1
    parts.append(to_bits((value[:, None] * spread).reshape(-1, COLUMNS), dtype))
    return np.concatenate(parts)


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def plain(bits, dtype):
    """Bit patterns with one NaN."""
    unsigned, nan = TYPES[dtype]
    exponent = {"float32": 0x7F800000, "float16": 0x7C00, "bfloat16": 0x7F80}[dtype]
    magnitude = bits & unsigned(exponent | (exponent & -exponent) - 1)
    return np.where(magnitude > exponent, unsigned(nan), bits).astype(unsigned)


def raw(array):
    if array.dtype in (mx.bfloat16, mx.float16):
        array = array.view(mx.uint16)
    return np.array(array).tobytes()


def write(path, dtype, bits):
    view = getattr(mx, dtype)
    w = mx.array(bits).view(view)
    with open(path, "wb") as f:
        f.write(b"%s %d\n" % (dtype.encode(), bits.size) + bits.tobytes())
        for mode, b, g in CODECS:
            parts = mx.quantize(w, g, b, mode=mode)
            back = mx.dequantize(*parts, group_size=g, bits=b, mode=mode, dtype=view)
            back = back.view(mx.uint32 if dtype == "float32" else mx.uint16)
            blobs = [raw(p) for p in parts] + [b""] * (3 - len(parts))
            sizes = " ".join(str(len(x)) for x in blobs)
            hashed = fnv(plain(np.array(back), dtype).tobytes())
            f.write(f"{mode} {b} {g} {hashed:016x} {sizes}\n".encode() + b"".join(blobs))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("out")
    ap.add_argument("--rows", type=int, default=0)
    args = ap.parse_args()
    mx.set_default_device(mx.cpu)
    for dtype in TYPES:
        rng = np.random.default_rng(3)
        bits = hard_rows(rng, dtype)
        if args.rows:
            bits = np.concatenate([bits, more_rows(rng, dtype, args.rows)])
        write(os.path.join(args.out, f"mlx_{dtype}.bin"), dtype, bits)


if __name__ == "__main__":
    main()
