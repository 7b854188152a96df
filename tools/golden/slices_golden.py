#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/merge/slices.*: what mergekit 0.1.5 makes of recipes with slices and modules.

    tools/golden/slices_golden.py          (mergekit 0.1.5, transformers, torch)

The form is merge_golden.py's. Where mergekit stops after the weights because transformers 5 does not take a Qwen3
config with another number of layers, its weights are taken.
"""
import json
import pathlib
import tempfile

import torch
import yaml
from merge_golden import CONFIG, tiny_models, write
from safetensors.torch import load_file, save_file

PASS = "merge_method: passthrough\nslices:\n"
COPY = """  - sources:
      - model: {0}
        layer_range: [2, 3]
        parameters:
          scale:
            - filter: o_proj
              value: %s
            - filter: down_proj
              value: %s
            - value: 1.0
"""
CASES = [
    PASS + "  - sources: [{model: {0}, layer_range: [0, 2]}]\n  - sources: [{model: {1}, layer_range: [1, 3]}]\n",
    PASS + "  - sources: [{model: {0}, layer_range: [0, 3]}]\n" + COPY % (0.5, 0.25) + COPY % (0.0, 0.0) + COPY % (0.8409, 0.7071),
    PASS + "".join("  - sources: [{model: {0}, layer_range: [%d, %d]}]\n" % (i, i + 1) for i in (2, 1, 0)),
    PASS + "  - sources: [{model: {0}, layer_range: [0, 1]}]\n  - sources: [{model: {1}, layer_range: [2, 3]}]\n    parameters: {scale: 0.5}\n",
    PASS + "  - sources: [{model: {2}, layer_range: [0, 3], parameters: {scale: [0.5, 1.5]}}]\n  - sources: [{model: {2}, layer_range: [0, 1]}]\n"
    "parameters:\n  scale:\n    - filter: layers.0.mlp\n      value: 3\n    - value: 2\n",
    "merge_method: linear\nslices:\n  - sources:\n      - {model: {0}, layer_range: [0, 2], parameters: {weight: [0.2, 0.9]}}\n"
    "      - {model: {1}, layer_range: [1, 3]}\n    parameters:\n      weight: [{filter: mlp, value: 0.7}]\n"
    "  - sources:\n      - {model: {1}, layer_range: [0, 1]}\n      - {model: {2}, layer_range: [2, 3], parameters: {weight: 2}}\nparameters: {weight: [0.5, 0.3]}\n",
    "merge_method: slerp\nbase_model: {0}\nslices:\n  - sources:\n      - {model: {0}, layer_range: [0, 3]}\n      - {model: {1}, layer_range: [0, 3]}\n"
    "  - sources:\n      - {model: {0}, layer_range: [1, 2]}\n      - {model: {1}, layer_range: [0, 1]}\nparameters:\n  t:\n    - filter: self_attn\n"
    "      value: [0, 0.5, 0.3]\n    - value: [0.25, 0.75]\n",
    "merge_method: slerp\nslices:\n  - base_model: {0}\n    sources:\n      - {model: {1}, layer_range: [0, 2]}\n      - {model: {0}, layer_range: [0, 2]}\n"
    "  - base_model: {1}\n    sources:\n      - {model: {1}, layer_range: [2, 3]}\n      - {model: {2}, layer_range: [2, 3]}\n    parameters: {t: 0.9}\nparameters: {t: 0.25}\n",
    "merge_method: linear\nmodules:\n  default:\n    models: [{model: {0}}, {model: {1}, parameters: {weight: 3}}]\n    parameters: {weight: 1}\nparameters: {weight: 9}\n",
]


def run(text, out):
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    options = MergeOptions(copy_tokenizer=False, write_model_card=False, quiet=True)
    try:
        run_merge(MergeConfiguration.model_validate(yaml.safe_load(text)), str(out), options)
    except Exception as error:
        if "layer_types" not in str(error):
            raise
        print("config.json:", str(error).splitlines()[0])
    result = {}
    for shard in out.glob("*.safetensors"):
        result |= load_file(shard)
    return result


def main():
    torch.set_grad_enabled(False)
    inputs, outputs = tiny_models(3)[:3], []
    with tempfile.TemporaryDirectory() as folder:
        for i, model in enumerate(inputs):
            path = pathlib.Path(folder) / f"m{i}"
            path.mkdir()
            save_file(model, path / "model.safetensors", metadata={"format": "pt"})
            (path / "config.json").write_text(json.dumps(CONFIG))
        for number, text in enumerate(CASES):
            for i in range(len(inputs)):
                text = text.replace("{%d}" % i, f"{folder}/m{i}")
            outputs.append(run(text, pathlib.Path(folder) / f"out{number}"))
    write("slices", inputs, outputs, [{"recipe": r, "bound": 5e-7} for r in CASES])


if __name__ == "__main__":
    main()
