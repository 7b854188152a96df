#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our quantised folders beside mlx-lm's own: whole files must have the same bytes.

    mlx_parity.py --cast build/bench/bench_quantize [--models DIR..] [--work DIR]

Makes tiny random models (qwen3 tied and untied, f16 and f32 too, qwen3_moe, qwen3_next), and takes any
given folders. Each is cast by us and by mlx_lm.convert (0.32.2) with the same table for each layer:
the recipe's rules, read here again, as quant_predicate. Compared: every .safetensors file, config.json
and the index, byte for byte. Then mlx_lm loads our folder and generates. Also mlx_lm.convert -d beside
our dequantised folder when --dequantize names a program (MODEL OUT DTYPE)."""
import argparse
import contextlib
import fnmatch
import io
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "hidden_size": 128,
         "vocab_size": 512, "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "hidden_act": "silu",
         "max_position_embeddings": 512, "attention_bias": False, "eos_token_id": 3,
         "initializer_range": 0.02, "_name_or_path": "x", "note": "\u00e9 \U0001f600"}
MOE = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "decoder_sparse_step": 1,
       "mlp_only_layers": [1], "norm_topk_prob": True, "intermediate_size": 192}
NEXT = {"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 32,
        "linear_value_head_dim": 32, "linear_conv_kernel_dim": 4, "full_attention_interval": 4,
        "shared_expert_intermediate_size": 64, "partial_rotary_factor": 0.25}


# ---- tiny models ----

def attention(q_factor=1):
    return {"self_attn.q_proj": (128 * q_factor, 128), "self_attn.k_proj": (64, 128),
            "self_attn.v_proj": (64, 128), "self_attn.o_proj": (128, 128),
            "self_attn.q_norm": (32,), "self_attn.k_norm": (32,)}


def dense(prefix, inner):
    return {f"{prefix}.gate_proj": (inner, 128), f"{prefix}.up_proj": (inner, 128),
            f"{prefix}.down_proj": (128, inner)}


def experts():
    out = {"mlp.gate": (8, 128)}
    for e in range(8):
        out.update(dense(f"mlp.experts.{e}", 64))
    return out


def linear_attention():
    key, value = 64, 128
    return {"linear_attn.in_proj_qkvz": (2 * key + 2 * value, 128), "linear_attn.in_proj_ba": (8, 128),
            "linear_attn.conv1d": (2 * key + value, 1, 4), "linear_attn.dt_bias": (4,),
            "linear_attn.A_log": (4,), "linear_attn.norm": (32,), "linear_attn.out_proj": (128, 128)}


def layer(kind, index):
    parts = {"input_layernorm": (128,), "post_attention_layernorm": (128,)}
    if kind == "qwen3_next":
        parts.update(attention(2) if index % 4 == 3 else linear_attention())
        if index != 1:
            parts.update(experts())
            parts.update(dense("mlp.shared_expert", 64))
            parts["mlp.shared_expert_gate"] = (1, 128)
            return parts
    else:
        parts.update(attention())
    parts.update(experts() if kind == "qwen3_moe" and index != 1 else dense("mlp", 192))
    return parts


def make_model(folder, kind, dtype, tied, layers, like):
    import torch
    from safetensors.torch import save_file
    torch.manual_seed(1)
    tensors = {"model.embed_tokens.weight": (512, 128), "model.norm.weight": (128,)}
    if not tied or kind == "qwen3_moe":
        tensors["lm_head.weight"] = (512, 128)
    for i in range(layers):
        for name, shape in layer(kind, i).items():
            bare = name.endswith(("dt_bias", "A_log"))
            tensors[f"model.layers.{i}.{name}" + ("" if bare else ".weight")] = shape
    if kind == "qwen3_next":
        tensors["mtp.layers.0.self_attn.q_proj.weight"] = (128, 128)
        tensors["mtp.norm.weight"] = (128,)
    folder.mkdir(parents=True)
    save_file({n: (torch.randn(s) * 0.05 + (1.0 if len(s) == 1 else 0.0)).to(getattr(torch, dtype))
               for n, s in tensors.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    config = dict(HEADS, model_type=kind, num_hidden_layers=layers, tie_word_embeddings=tied,
                  torch_dtype=dtype, intermediate_size=192)
    if kind != "qwen3":
        config.update(MOE)
    if kind == "qwen3_next":
        config.update(NEXT)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [3, 5]}))
    for path in pathlib.Path(like).iterdir():
        if "token" in path.name or path.suffix == ".jinja":
            shutil.copy(path, folder)


# ---- the recipe, read again ----

def predicate_of(recipe, layers, tied, mixed):
    base = {"mode": recipe.get("mode", "affine")}
    fill = {"affine": (64, 4), "mxfp4": (32, 4), "mxfp8": (32, 8), "nvfp4": (16, 4)}
    base["group_size"] = recipe.get("group_size", fill[base["mode"]][0])
    base["bits"] = recipe.get("bits", fill[base["mode"]][1])

    def role(path):
        last = path.split(".")[-1]
        if last in ("gate", "shared_expert_gate"):
            return {"router"}
        if last == "lm_head":
            return {"lm_head"}
        if last == "embed_tokens":
            return {"embed", "lm_head"} if tied else {"embed"}
        return {"attention"} if "attn." in path else {"mlp"}

    def takes(rule, path):
        digits = [int(p) for p in path.split(".") if p.isdigit()]
        roles = rule.get("role", [])
        roles = {roles} if isinstance(roles, str) else set(roles)
        if roles and not roles & role(path):
            return False
        if "name" in rule and not fnmatch.fnmatchcase(path, rule["name"]):
            return False
        if "layers" not in rule:
            return True
        span = rule["layers"]
        first, last = span.get("first", 0) % layers, span.get("last", -1) % layers
        return bool(digits) and first <= digits[0] <= last and \
            digits[0] % span.get("every", 1) == span.get("phase", 0)

    def predicate(path, _):
        for rule in recipe.get("rules", []):
            if not takes(rule, path):
                continue
            if rule.get("keep"):
                return False
            got = dict(base, **{k: rule[k] for k in ("mode", "group_size", "bits") if k in rule})
            return {k: got[k] for k in ("group_size", "bits", "mode")}
        return {k: base[k] for k in ("group_size", "bits", "mode")}

    return (predicate if mixed else None), base


def is_mixed(recipe):
    return any(r.get("role") != "router" for r in recipe.get("rules", []))


# ---- comparing ----

def compare(ours, theirs):
    """Problems, as text."""
    bad = []
    names = sorted(p.name for p in theirs.iterdir() if p.suffix == ".safetensors")
    for name in names + ["config.json", "model.safetensors.index.json"]:
        if not (ours / name).exists():
            bad.append(f"{name} is missing")
        elif (ours / name).read_bytes() != (theirs / name).read_bytes():
            bad.append(f"{name} differs")
    return bad


def generate(folder):
    import mlx.core as mx
    from mlx_lm import load
    from mlx_lm.generate import generate_step
    model, _ = load(str(folder))
    tokens = [int(t) for t, _ in zip((t for t, _ in generate_step(mx.array([1, 2, 3]), model)), range(8))]
    return len(tokens) == 8


def convert(model, out, **kw):
    from mlx_lm import convert as run
    shutil.rmtree(out, ignore_errors=True)
    with contextlib.redirect_stdout(io.StringIO()):
        run(str(model), mlx_path=str(out), **kw)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("--cast", default=str(ROOT / "build/bench/bench_quantize"))
    ap.add_argument("--dequantize", default="")
    ap.add_argument("--models", nargs="*", default=[])
    ap.add_argument("--recipes", default="")
    ap.add_argument("--like", default=str(ROOT / "fixtures/models/base"), help="whose tokenizer to use")
    ap.add_argument("--work", default="/tmp/mlx_parity")
    args = ap.parse_args()
    import mlx.core as mx
    mx.set_default_device(mx.cpu)
    work = pathlib.Path(args.work)
    shutil.rmtree(work, ignore_errors=True)
    kinds = {"qwen3": ("qwen3", "bfloat16", False, 5), "qwen3-tied": ("qwen3", "bfloat16", True, 5),
             "qwen3-f16": ("qwen3", "float16", False, 5), "qwen3-f32": ("qwen3", "float32", True, 5),
             "moe": ("qwen3_moe", "bfloat16", False, 5), "moe-tied": ("qwen3_moe", "bfloat16", True, 5),
             "next": ("qwen3_next", "bfloat16", False, 8)}
    models = [pathlib.Path(m) for m in args.models]
    for name, spec in kinds.items():
        make_model(work / "models" / name, *spec, args.like)
        models.append(work / "models" / name)
    recipes = args.recipes.split(",") if args.recipes else sorted(p.stem for p in (ROOT / "recipes").glob("*.yaml"))
    failures = runs = 0
    for model in models:
        config = json.loads((model / "config.json").read_text())
        ours = work / "ours" / model.name
        ours.parent.mkdir(exist_ok=True, parents=True)
        subprocess.run([args.cast, str(model), str(ours), *recipes], check=True, stdout=subprocess.DEVNULL)
        for name in recipes:
            recipe = yaml.safe_load((ROOT / "recipes" / f"{name}.yaml").read_text())
            predicate, base = predicate_of(recipe, config["num_hidden_layers"],
                                           config["tie_word_embeddings"], is_mixed(recipe))
            theirs = work / "theirs" / model.name / name
            convert(model, theirs, quantize=True, q_group_size=base["group_size"], q_bits=base["bits"],
                    q_mode=base["mode"], quant_predicate=predicate)
            mine = ours / name if len(recipes) > 1 else ours
            bad = compare(mine, theirs)
            if not generate(mine):
                bad.append("does not generate")
            runs += 1
            failures += bool(bad)
            if args.dequantize:
                for dtype in ("bfloat16", "float32"):
                    plain, peer = work / "plain" / model.name / name, work / "plain_theirs" / model.name / name
                    shutil.rmtree(plain, ignore_errors=True)
                    plain.parent.mkdir(exist_ok=True, parents=True)
                    if base["mode"] != "affine" and dtype != "bfloat16":
                        continue  # mlx-lm decodes those to bf16 whatever is asked
                    subprocess.run([*args.dequantize.split(), str(mine), str(plain), dtype], check=True,
                                   stdout=subprocess.DEVNULL)
                    convert(mine, peer, dequantize=True, dtype=dtype)
                    bad += [f"-d {dtype}: {b}" for b in compare(plain, peer)
                            if dtype == config["torch_dtype"] or "config" not in b]
                    runs += 1
            print(f"{model.name:12} {name:10} {'same bytes' if not bad else '; '.join(bad)}", flush=True)
    print(f"{runs} runs, {failures} differ")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
