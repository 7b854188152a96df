#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/merge/transplant/: models with different tokenizers, and what mergekit-tokensurgeon makes of them.

    tools/golden/transplant_golden.py          (mergekit 0.1.5, transformers 5.24, tokenizers 0.23.3)

m0 (untied) and m1 (tied, added tokens) have byte-level tokenizers, m2 one of SentencePiece's kind with tokens of
bytes; all of them are trained here. cases.json: model, donor, mergekit's options, and whether they mean another matrix
there; outN.safetensors: embedding and head, in f32. Options that name one matrix name the other one in 0.1.5.
"""
import json
import pathlib
import shutil
import tempfile

import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/merge/transplant"
TEXTS = [
    "the miller had a mill and the mill had a wheel that the river turned all day and all night",
    "there was an old smith in the town who had a hammer and an anvil and told a tale of iron",
    "a token here is not a token there: 17 of them, or 42? (nobody knows) so we count them all again",
]
LAYER = {"intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 4,
         "max_position_embeddings": 64}
CASES = [
    (0, 1, "-a omp -k 5"),
    (0, 1, "-a omp -k 11"),
    (0, 2, "-a omp -k 4"),
    (1, 0, "-a omp -k 6"),
    (2, 0, "-a omp -k 3 --byte-match yes --prefix-match yes"),
    (0, 1, "-a omp -k 3 --prefix-match yes --new-vocab-scale 0.5"),
    (0, 1, "-a common_interpolation -k 5"),
    (0, 1, "-a common_interpolation -k 5 -c"),
    (0, 1, "-a common_interpolation -k 6 -w barycentric"),
    (0, 1, "-a common_interpolation -k 6 -w least_squares -c"),
    (0, 1, "-a subword"),
    (0, 1, "-a subword -s sum"),
    (0, 1, "-a subword -s weighted_mean"),
    (0, 1, "-a subword -s first_last"),
    (0, 1, "-a mean"),
    (0, 1, "-a zero"),
]


def byte_level(texts, size):
    tok = tokenizers.Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, show_progress=False))
    return tok


def sentencepiece(texts, size):
    tok = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in list(b"Az(?") + [0x0A, 0xC3]]
    tok.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tok.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False))
    text = json.loads(tok.to_str())
    text["pre_tokenizer"] = None
    text["added_tokens"] = text["added_tokens"][:3]
    return tokenizers.Tokenizer.from_str(json.dumps(text))


def write_model(number, tok, kind, hidden, tied, extra, **names):
    path = OUT / f"m{number}"
    path.mkdir(parents=True)
    for content, special in extra:
        token = tokenizers.AddedToken(content, special=special, normalized=False)
        (tok.add_special_tokens if special else tok.add_tokens)([token])
    tok.save(str(path / "tokenizer.json"))
    settings = {"tokenizer_class": kind} | names
    (path / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))
    rows = tok.get_vocab_size(with_added_tokens=True) + 2
    torch.manual_seed(70 + number)
    ids = {k.replace("_token", "_token_id"): tok.token_to_id(v) for k, v in names.items() if k.endswith("_token")}
    config = transformers.Qwen3Config(vocab_size=rows, hidden_size=hidden, tie_word_embeddings=tied, **LAYER, **ids)
    model = transformers.Qwen3ForCausalLM(config).float()
    state = {k: v + 0.1 * torch.randn_like(v) for k, v in model.state_dict().items()}
    if tied:
        del state["lm_head.weight"]
    save_file({k: v.contiguous() for k, v in state.items()}, path / "model.safetensors", metadata={"format": "pt"})
    text = config.to_dict() | {"architectures": ["Qwen3ForCausalLM"], "torch_dtype": "float32"} | ids
    (path / "config.json").write_text(json.dumps(text, indent=1))


def main():
    from mergekit.scripts.tokensurgeon import main as surgeon

    torch.set_grad_enabled(False)
    shutil.rmtree(OUT, ignore_errors=True)
    write_model(0, byte_level(TEXTS[:2], 78), "PreTrainedTokenizerFast", 12, False, [("<|end|>", True), ("<|pad|>", True)],
                eos_token="<|end|>", pad_token="<|pad|>")
    write_model(1, byte_level(TEXTS[1:], 84), "PreTrainedTokenizerFast", 20, True, [("<s>", True), ("<e>", True), ("<tool>", False)],
                bos_token="<s>", eos_token="<e>")
    write_model(2, sentencepiece(TEXTS, 80), "LlamaTokenizer", 10, False, [], bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    for number, (model, donor, options) in enumerate(CASES):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "out"
            surgeon.main([str(OUT / f"m{model}"), str(OUT / f"m{donor}"), str(out)] + options.split(), standalone_mode=False)
            tensors = {}
            for shard in out.glob("*.safetensors"):
                tensors |= load_file(shard)
            tensors = {k: v.contiguous() for k, v in tensors.items() if "layers" not in k and "model.norm" not in k}
            save_file(tensors, OUT / f"out{number}.safetensors")
            config = json.loads((out / "config.json").read_text())
            print(number, options, {k: tuple(v.shape) for k, v in tensors.items()}, {k: config.get(k) for k in config if "token" in k})
    (OUT / "cases.json").write_text(json.dumps([{"model": m, "donor": d, "options": o} for m, d, o in CASES], indent=1) + "\n")
    for path in OUT.rglob("*"):
        if path.is_file():
            path.chmod(0o644)


if __name__ == "__main__":
    main()
