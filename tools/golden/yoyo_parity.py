#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Parity of `merge_method: yoyo_fusion` with the author's own program.

The author's program (github.com/andehury/YOYO-Fusion, Apache-2.0) is not part of this project: give the
file of commit 0338e001 as --old and that of f8f5c4e as --new. Needs torch, numpy and safetensors.

    git -C YOYO-Fusion show 0338e001:YOYO-Fusion.py > old.py
    git -C YOYO-Fusion show f8f5c4e:YOYO-Fusion.py > new.py
    tools/golden/yoyo_parity.py --old old.py --new new.py --ingot build/cli/ingot [MODEL..]

The author's program sums in f32: over 3 million elements torch's vector_norm is 4.5e-5 off, and with it
the whole output. So it is run twice: as it is, and with its arithmetic widened to float64 (a substitution
of .float() and float32 in its source as it is loaded: the same steps, without that noise). The bounds hold
against the second; against the first ours may be as far away as the two are from each other.

Without models it makes random ones of real shapes: a base and finetunes of it that differ by different
amounts, from 1e-3 to as much as the base itself. Prints one line for each case and tensor that is worst,
exits 1 when a bound is broken. Bounds: f32 2e-6 relative (L2); where the author's Weiszfeld has stopped
early 2e-5, and then the sum of distances must be smaller; matrix boost 1e-4; bf16 0.1 % of the values,
one ulp.
"""
import argparse
import itertools
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import types

import numpy as np
import torch
from safetensors.torch import load_file, save_file

SHAPES = {
    "model.layers.0.input_layernorm.weight": (1024,),
    "model.layers.0.self_attn.k_proj.weight": (1024, 1024),
    "model.layers.0.self_attn.q_norm.weight": (128,),
    "model.layers.0.mlp.experts.0.down_proj.weight": (768, 2048),
    "model.layers.0.mlp.up_proj.weight": (3072, 1024),
}


def load_author(path, widen):
    source = pathlib.Path(path).read_text()
    if widen:
        source = source.replace(".float()", ".double()").replace("torch.float32", "torch.float64")
    module = types.ModuleType("author")
    exec(compile(source, path, "exec"), module.__dict__)
    return module


def write_model(folder, tensors):
    folder.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3", "torch_dtype": "float32"}))


def random_models(root, count, spread, dtype):
    generator = torch.Generator().manual_seed(20260115)
    base = {k: 0.02 * torch.randn(s, generator=generator) for k, s in SHAPES.items()}
    paths = []
    for i in range(count):
        own = {k: 0.02 * torch.randn(v.shape, generator=generator) for k, v in base.items()}
        model = {k: base[k] + spread * (1 + i * i) * own[k] for k in base}
        paths.append(root / f"m{i}")
        write_model(paths[-1], {k: v.to(dtype) for k, v in model.items()})
    return paths


def run_ingot(ingot, root, models, parameters, base, out_dtype):
    lines = ["merge_method: yoyo_fusion", "models:"]
    lines += [f"  - model: {m}" for m in models]
    if base is not None:
        lines.append(f"base_model: {models[base]}")
    lines.append("parameters:")
    lines += [f"  {k}: {v}" for k, v in parameters.items()]
    lines.append(f"out_dtype: {out_dtype}")
    recipe, out = root / "recipe.yaml", root / "out"
    recipe.write_text("\n".join(lines) + "\n")
    shutil.rmtree(out, ignore_errors=True)
    done = subprocess.run([*ingot, str(recipe), str(out)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{recipe.read_text()}\n{done.stderr}")
    tensors = {}
    for shard in sorted(out.glob("*.safetensors")):
        tensors.update(load_file(shard))
    lines = [json.loads(line) for line in (out / "sketchbook.jsonl").read_text().splitlines()[1:]]
    return tensors, {line["tensor"]: line for line in lines}


def relative(a, b):
    a, b = a.double(), b.double()
    norm = b.norm().item()
    return (a - b).norm().item() / norm if norm else (a - b).norm().item()


def bf16_steps(a, b):
    """Share of values that differ, and by how many steps of bf16 at most. Values that cancel to almost nothing have
    steps finer than f32's noise in their terms: below 1e-6 of the tensor's root mean square a difference is none."""
    x, y = (t.view(torch.int16).int() for t in (a, b))
    x, y = (torch.where(t < 0, -32768 - t, t) for t in (x, y))
    steps = (x - y).abs()
    noise = (a.double() - b.double()).abs() <= 1e-6 * b.double().square().mean().sqrt()
    return (steps > 0).float().mean().item(), int(steps.where(~noise, torch.minimum(steps, torch.ones_like(steps))).max())


def normalised(tensors):
    rows = [t.double().flatten() for t in tensors]
    return torch.stack([x / (torch.sqrt((x * x).mean() + 1e-8).clamp(min=1e-6) + 1e-8) for x in rows])


def sum_of_distances(u, m):
    return torch.linalg.norm(u - m, dim=1).sum().item()


def weiszfeld_gain(author, tensors, share):
    """By how much the author's centre has the larger sum of distances; share: ours, as weights of the u_k."""
    u = normalised(tensors)
    return sum_of_distances(u, author.geometric_median(u)) - sum_of_distances(u, torch.tensor(share, dtype=torch.float64) @ u)


def cases():
    for k, center in itertools.product((2, 3, 5), ("geometric_median", "coordinate_median", "anchor")):
        yield k, "2025-10", center, {}
        if center != "anchor":
            yield k, "2025-10", center, {"truncate": "false"}
        yield k, "2026-01", center, {}
        yield k, "2026-01", center, {"z_start": "zero"}
    yield 3, "2026-01", "geometric_median", {"sign_align": 1}
    yield 4, "2025-10", "coordinate_median", {}
    yield 4, "2026-01", "geometric_median", {}
    for k, center in ((2, "anchor"), (3, "geometric_median"), (3, "coordinate_median")):
        yield k, "2026-01", center, {"matrix_boost": "true"}


def run_author(author, tensors, name, variant, center, extra):
    anchor = 1 if center == "anchor" else 0
    geometric = center == "geometric_median"
    if variant == "2025-10":
        return author.subspace_robust_merge(tensors, anchor_index=anchor, use_geometric_median=geometric,
                                            use_k_minus_one_truncation=extra.get("truncate") != "false")
    return author.subspace_robust_merge(tensors, anchor_index=anchor, use_geometric_median=geometric, tensor_key=name,
                                        use_matrix_boost="matrix_boost" in extra, use_z_median="z_start" not in extra,
                                        sign_reference_mode=extra.get("sign_align", 0))


def compare(case, name, tensors, ours, half, sketch, authors):
    """Returns (error against float64, against the program as it is, that program's own error, note, ok)."""
    k, variant, center, extra = case
    wide, plain = (run_author(a, tensors, name, variant, center, extra) for a in authors[variant])
    error, bound, note = relative(ours, wide), 2e-6, ""
    share, steps = bf16_steps(half, wide.to(torch.bfloat16))
    if "matrix_boost" in extra and len(tensors[0].shape) == 2:
        bound = 1e-4
    elif center == "geometric_median" and error > bound:
        gain = weiszfeld_gain(authors[variant][0], tensors, sketch["center_weights"])
        if gain > 0:
            bound, note = 2e-5, f", author's Weiszfeld stopped early (sum of distances larger by {gain:.2g})"
    own, apart = relative(plain, wide), relative(ours, plain)
    ok = error <= bound and apart <= bound + 1.01 * own and (bound > 2e-6 or share <= 1e-3 and steps <= 1)
    if not ok:
        note += f" BROKEN (bf16: {100 * share:.3f} % differ, by {steps} steps)"
    return error, apart, own, note, ok


def check_case(case, title, models, args, root, authors):
    k, variant, center, extra = case
    inputs = [{n: t for s in sorted(m.glob("*.safetensors")) for n, t in load_file(s).items()} for m in models]
    parameters = {"variant": f'"{variant}"', "center": center, **extra}
    if "sign_align" in extra:
        parameters["sign_align"] = models[extra["sign_align"] - 1]
    base = 0 if center == "anchor" else None
    ours, sketch = run_ingot(args.ingot.split(), root, models, parameters, base, "float32")
    half, _ = run_ingot(args.ingot.split(), root, models, parameters, base, "bfloat16")
    worst, broken = (0, 0, 0, "", True), 0
    for name in inputs[0]:
        tensors = [m[name].float() for m in inputs]
        row = compare(case, name, tensors, ours[name], half[name], sketch[name], authors)
        broken += not row[4]
        if not row[4]:
            print(f"    {name}: {row[0]:.2e}{row[3]}")
        worst = max(worst, row)
    print(f"{title}: {worst[0]:.1e} (as it is {worst[1]:.1e}, its own noise {worst[2]:.1e}){worst[3]}", flush=True)
    return broken


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--old", required=True)
    parser.add_argument("--new", required=True)
    parser.add_argument("--ingot", default="build/cli/ingot merge --quiet", help="command that takes RECIPE OUT")
    parser.add_argument("--only", default="", help="part of the case's name")
    parser.add_argument("--spread", type=float, nargs="*", default=[1e-3, 3e-2, 1.0])
    parser.add_argument("models", nargs="*")
    args = parser.parse_args()
    authors = {v: [load_author(p, True), load_author(p, False)] for v, p in (("2025-10", args.old), ("2026-01", args.new))}
    broken = 0
    torch.set_grad_enabled(False)
    for spread in [None] if args.models else args.spread:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            models = [pathlib.Path(m) for m in args.models] or random_models(root, 5, spread, torch.bfloat16)
            for case in cases():
                title = f"spread {spread} K={case[0]} {case[1]} {case[2]} {case[3] or ''}"
                if case[0] <= len(models) and args.only in title:
                    broken += check_case(case, title, models[: case[0]], args, root, authors)
    print(f"{broken} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
