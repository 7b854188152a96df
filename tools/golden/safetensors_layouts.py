#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Headers and indices as the peers write them, for the writer's two layouts.

    safetensors_layouts.py > tests/golden/store/layouts.jsonl

Peers: safetensors 0.8.0 and torch (HF), transformers 5.23.0 (its index), mlx 0.32.4 and mlx-lm 0.32.2
(MLX). One JSON line a folder: the tensors in the order in which they were given, the limit of a shard, and for
each file its name and its text: header of a shard, whole index. Data are not kept: tensor i holds the
bytes (i + 7 k) mod 251, which this script checks in the peer's files at the header's offsets, and the test
in ours."""
import json
import pathlib
import struct
import sys
import tempfile

import mlx.core as mx
import numpy as np
import safetensors.torch
import torch
import transformers
from mlx_lm.utils import save_model
from mlx import nn

TORCH = {"BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "F8_E5M2": torch.float8_e5m2,
         "F8_E4M3": torch.float8_e4m3fn, "F8_E8M0": torch.float8_e8m0fnu, "I16": torch.int16,
         "U16": torch.uint16, "F16": torch.float16, "BF16": torch.bfloat16, "I32": torch.int32,
         "U32": torch.uint32, "F32": torch.float32, "F64": torch.float64, "I64": torch.int64,
         "U64": torch.uint64}
MLX = {"BOOL": mx.bool_, "U8": mx.uint8, "I8": mx.int8, "I16": mx.int16, "U16": mx.uint16, "F16": mx.float16,
       "BF16": mx.bfloat16, "I32": mx.int32, "U32": mx.uint32, "F32": mx.float32, "I64": mx.int64,
       "U64": mx.uint64}
SIZE = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1, "I16": 2, "U16": 2, "F16": 2,
        "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8}


def data(i, dtype, shape):
    count = int(np.prod(shape)) * SIZE[dtype]
    bytes_ = ((np.arange(count) * 7 + i) % 251).astype(np.uint8)
    return bytes_ % 2 if dtype == "BOOL" else bytes_


def torch_tensor(i, dtype, shape):
    bytes_ = torch.from_numpy(data(i, dtype, shape))
    return bytes_.view(TORCH[dtype]).reshape(shape) if bytes_.numel() else torch.zeros(shape, dtype=TORCH[dtype])


def mlx_array(i, dtype, shape):
    bytes_ = mx.array(data(i, dtype, shape))
    return bytes_.view(MLX[dtype]).reshape(shape) if bytes_.size else mx.zeros(shape, dtype=MLX[dtype])


def texts(folder, tensors):
    """name -> header or index; checks the payload on the way."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".json":
            if path.name.endswith("index.json"):
                found[path.name] = path.read_text()
            continue
        whole = path.read_bytes()
        (n,) = struct.unpack("<Q", whole[:8])
        header = whole[8:8 + n].decode()
        found[path.name] = header
        parsed = json.loads(header)
        for i, (name, dtype, shape) in enumerate(tensors):
            if name in parsed:
                begin, end = parsed[name]["data_offsets"]
                assert whole[8 + n + begin:8 + n + end] == data(i, dtype, shape).tobytes(), name
    return found


def emit(layout, name, tensors, folder, **more):
    row = {"name": name, "layout": layout, "tensors": tensors, "files": texts(folder, tensors)} | more
    print(json.dumps(row, separators=(",", ":")))


def hf_file(name, tensors):
    with tempfile.TemporaryDirectory() as tmp:
        path = pathlib.Path(tmp) / "model.safetensors"
        values = {n: torch_tensor(i, d, s) for i, (n, d, s) in enumerate(tensors)}
        safetensors.torch.save_file(values, path, metadata={"format": "pt"})
        emit("hf", name, tensors, pathlib.Path(tmp))


def hf_model(name, limit):
    config = transformers.Qwen3Config(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=3,
                                      num_attention_heads=4, num_key_value_heads=2, head_dim=8,
                                      tie_word_embeddings=False, dtype="bfloat16")
    model = transformers.Qwen3ForCausalLM(config).to(torch.bfloat16)
    tensors = []
    for i, (key, value) in enumerate(model.state_dict().items()):
        tensors.append((key, "BF16", list(value.shape)))
        value.copy_(torch_tensor(*(i, *tensors[-1][1:])))
    with tempfile.TemporaryDirectory() as tmp:
        model.save_pretrained(tmp, max_shard_size=limit)
        emit("hf", name, tensors, pathlib.Path(tmp), limit=limit, total_parameters=model.num_parameters())


def mlx_file(name, tensors):
    with tempfile.TemporaryDirectory() as tmp:
        values = {n: mlx_array(i, d, s) for i, (n, d, s) in enumerate(tensors)}
        mx.save_safetensors(str(pathlib.Path(tmp) / "model.safetensors"), values, metadata={"format": "mlx"})
        emit("mlx", name, tensors, pathlib.Path(tmp))


class Flat(nn.Module):
    """A module whose parameters are exactly these, so that mlx-lm's save_model writes them."""

    def __init__(self, values):
        super().__init__()
        for key, value in values.items():
            self[key] = value


def mlx_model(name, tensors):
    values = {n: mlx_array(i, d, s) for i, (n, d, s) in enumerate(tensors)}
    with tempfile.TemporaryDirectory() as tmp:
        save_model(tmp, Flat(values))
        total = json.loads((pathlib.Path(tmp) / "model.safetensors.index.json").read_text())
        emit("mlx", name, tensors, pathlib.Path(tmp), index=True,
             total_parameters=total["metadata"]["total_parameters"])


def quantised_layers(count):
    rows = []
    for layer in range(count):
        for part in ["self_attn.q_proj", "self_attn.k_proj", "mlp.down_proj", "mlp.up_proj"]:
            path = "model.layers.%d.%s" % (layer, part)
            rows += [(path + ".weight", "U32", [3, 2]), (path + ".scales", "BF16", [3, 1]),
                     (path + ".biases", "BF16", [3, 1])]
        rows.append(("model.layers.%d.input_layernorm.weight" % layer, "BF16", [5]))
    return rows


ODD_NAMES = [("Zeta", "F32", [1]), ("_", "F32", [1]), ("__metadata", "U8", [1]), ("__metadata__.x", "U8", [1]),
             ("a\"b\\c/\n\t\x01\x7f", "U8", [2]), ("\u00e9\u4e2d\U0001f600", "F16", [3]), ("", "F32", [2])]


def main():
    hf_file("every type", [("t.%s" % d, d, [2, 3]) for d in TORCH] + [("a.%s" % d, d, [1]) for d in TORCH] +
            [("scalar", "F32", []), ("none", "F32", [0, 4])])
    hf_file("odd names", ODD_NAMES)
    hf_model("transformers, one file", 1 << 30)
    hf_model("transformers, shards", 9000)
    mlx_file("every type", [("t.%s" % d, d, [2, 3]) for d in MLX] + [("scalar", "F32", []), ("none", "F32", [0, 4])])
    mlx_file("odd names", ODD_NAMES)
    mlx_file("13 names", [("n%d" % i, "U8", [1]) for i in range(13)])
    mlx_file("14 names", [("n%d" % i, "U8", [1]) for i in range(14)])
    mlx_model("mlx-lm, 10 layers", quantised_layers(10))
    print("torch %s, transformers %s, mlx %s" % (torch.__version__, transformers.__version__, mx.__version__),
          file=sys.stderr)


main()
