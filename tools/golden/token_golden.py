#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What Hugging Face's tokenizers gives, for tests/unit/test_token_golden.c (made with 0.23.3).

    token_golden.py DIR                              train the small tokenizers, write DIR/NAME.json, NAME.jsonl
    token_golden.py --of TOKENIZER.json OUT.jsonl    records for any tokenizer.json, to be checked with
                                                     build/tests/unit/test_token_golden TOKENIZER.json OUT.jsonl

Each line is one record:
  text    text, ids; special (ids with add_special_tokens, when they differ); decoded; skipped (decoded
          without special tokens, when that differs)
  bytes   hex of bytes that are not all UTF-8; ids of them after replacement
  ids     ids that no text gives; decoded, skipped
  sweep   every code point from first to last: count and hash of the ids of the text, count and hash of
          the lengths in bytes of the pieces that the pre-tokenizer makes of the normalized text
"""
import argparse
import json
import os
import random

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer

QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
UPPER, LOWER, REST = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", r"\s*[\r\n]+|\s+(?!\S)|\s+"
SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SUFFIX}"
         rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{REST}")
TEKKEN = O200K.replace(SUFFIX, "").replace("{1,3}", "")
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
            "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
            rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{REST}"]

LESSONS = """The smith melts copper and tin, and what comes out of the fire is harder than either of them.
A good alloy keeps what each metal was good at. We don't know why; we've measured that it's so, and they'll see.
for (size_t i = 0; i < count; i++) { total += weights[i] * values[i]; }
def melt(parts, heat=1200):\n    return sum(p.mass for p in parts) / len(parts)\n
In 2024 the furnace ran for 365 days at 1,538 degrees; it cost 12.50 an hour, 1e-3 of the budget.
Der Schmied prüft die Glut, bevor er das Eisen öffnet. Größe und Maß müssen übereinstimmen.
Le forgeron a été étonné: l'été, où naît la chaleur, ça brûle déjà. Hôtel, cœur, garçon, Noël.
Кузнец плавит медь и олово, и сплав получается твёрже каждого из них. Почему? Никто не знает.
Ο σιδεράς λιώνει τον χαλκό και το κράμα γίνεται πιο σκληρό. Γιατί; Κανείς δεν ξέρει.
铁匠把铜和锡一起熔化，合金比它们都硬。为什么？没有人知道，但是我们量过了。
鍛冶屋は銅と錫を溶かします。合金はどちらよりも硬いです。なぜでしょうか。
대장장이가 구리와 주석을 녹이면 합금은 둘 다보다 단단해진다. 왜 그럴까?
الحداد يصهر النحاس والقصدير، والسبيكة أصلب من كليهما. لماذا؟ لا أحد يعرف.
הנפח ממיס נחושת ובדיל, והסגסוגת קשה משניהם. למה? איש אינו יודע.
लोहार ताँबे और टिन को पिघलाता है, और मिश्रधातु दोनों से कठोर होती है।
ช่างตีเหล็กหลอมทองแดงและดีบุก โลหะผสมแข็งกว่าทั้งสองอย่าง
Thợ rèn nấu chảy đồng và thiếc; hợp kim cứng hơn cả hai. Tại sao?
Kovář taví měď a cín, příšerně žluťoučký kůň úpěl ďábelské ódy.
Mix 🔥 with ⚒️ and 👩🏽‍🏭 — you get “bronze” … 100 % ≈ ½ × 2²!
"""

ODD = [
    "", " ", "  ", "a", " a", "a ", "\n", "\r\n", "\t", " \n ", "\n\n \n", "x\n", "x \n y", "x  y   z    ",
    "the smith's fire, they'RE hot, WE'Ve, it'ſ 'Dot' o'clock 'll'LL 're", "''s 'S'T'M'D'x", "don’t",
    "0 1 22 333 4444 55555 666666 1,234.5 0x7F 1st x2 ½Ⅷ٣４𝟝", "snake_case camelCase __init__ a.b->c::d",
    "a;\n\nb {}\r\n\r\n// c\n#!", "!!! ??? ... --- ((())) <<<>>> ¿¡ §±", "tab\tand\vvt\fff\x85nel\u2028ls\u2029ps",
    "nb\u00a0sp\u3000ideographic\u2009thin\u200bzero\ufeffbom\u180e", "\x00\x01\x1b\x7f", "a\x00b",
    "e\u0301 E\u0301\u0323 e\u0323\u0301 \u00e9\u0323 \u1eb9\u0301 o\u0308\u0304 \u0344 \u0301", "q\u0307\u0323 q\u0323\u0307",
    "\u212b \u2126 \u0958 \u0929 \ufb1d \uf900 \u1100\u1161\u11a8 \uac00\u11a8 \u1100\uac00", "か\u3099 は\u309a ガ",
    "q\u1df6\u0323 \U00011935\U00011930 z" + "\u0301\u0323" * 40, "नि कि क\u093c ন\u09be", "שָׁלוֹם בְּרֵאשִׁית", "لَا إِلٰهَ",
    "😀👍🏽👨‍👩‍👧🏳️‍🌈🇫🇷1️⃣", "﷽ ﬁ ﬂ ㍿ ①", "\U000e0041\U0010ffff\uffff\ufdd0\ue000\U000f0000", "ǅ ǆ ʰ ª º ˈ ꜝ", "中文abc漢字123かな",
    "=" * 70 + "-" * 33, "ab" * 60, "a" * 130, " " * 70 + "x", "\n" * 35, "好" * 50, "🔥" * 30, "1" * 40, "0 " * 20,
    "Ġhello Ċ Ã©", "<|im_end|> <|im_end <|IM_END|> x<|im_end|>y <|im_end|><|im_end|>\u0301", " <|im_end|>\n\n<|im_end|> e<|im_end|>\u0301",
    "a <left> b  <left>c<left>", "a <right> b<right>\n\n c <right><right>", "one two one, (one) xone onex _one one", "caf\u00e9 cafe\u0301 \u212b A\u030a",
    "<think>\nhm\n</think>\n\n", "<both> <both> \u3000<both>\u2003 z", "x <left> <right> y <right> <left> z",
]
BROKEN = [b"a\x80b", b"\xc3", b"\xe4\xbd", b"\xe4\xbdx", b"\xf0\x9f\x94 \xf0\x9f", b"\xc0\xaf\xe0\x80\x80", b"\xed\xa0\x80\xed\xbf\xbf", b"\xf5\x80\x80\x80\xf4\x90\x80\x80",
          bytes(range(0x70, 0x100)), b"\xff\xfea\x00", b"ok \xe2\x82\xac \xe2\x82 ok", b"\x80" * 7 + b"\xf0" * 5]


def small(split, normalizer, added, vocab=560, prefix=False, regex=False, ignore=False, template=None):
    tk = Tokenizer(models.BPE(ignore_merges=ignore))
    if normalizer:
        tk.normalizer = normalizer
    level = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)
    tk.pre_tokenizer = pre_tokenizers.Sequence([split, level]) if split else level
    tk.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(vocab_size=vocab, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tk.train_from_iterator(LESSONS.splitlines(keepends=True), trainer)
    tk.add_tokens(added)
    if template:
        tk.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[(t, tk.token_to_id(t)) for t in template.split() if t != "$A"])
    return tk


def plain(*contents, **flags):
    return [AddedToken(c, **{"normalized": False, **flags}) for c in contents]


def small_tokenizers():
    added = (plain("<|end|>", "<|im_start|>", "<|im_end|>", special=True) + plain("<think>", "</think>") +
             plain("<left>", lstrip=True) + plain("<right>", rstrip=True) + plain("<both>", lstrip=True, rstrip=True) +
             plain("one", single_word=True) + plain("caf\u00e9", "\u212b", normalized=True))
    isolated = lambda pattern: pre_tokenizers.Split(Regex(pattern), "isolated")
    yield "qwen", small(isolated(QWEN), normalizers.NFC(), added)
    yield "gpt2", small(None, None, plain("<|endoftext|>", special=True), prefix=True, regex=True)
    yield "llama", small(isolated(LLAMA), None, plain("<s>", "</s>", special=True), ignore=True, template="<s> $A </s>")
    yield "o200k", small(isolated(O200K), None, plain("<|end|>", special=True))
    yield "tekken", small(isolated(TEKKEN), None, plain("<s>", special=True), ignore=True)
    yield "deepseek", small(pre_tokenizers.Sequence([isolated(p) for p in DEEPSEEK]), None, plain("<think>"))
    for name in ("llama2", "gemma", "metaspace"):
        yield name, pieces_of_characters(name)
    yield "digits", small(pre_tokenizers.Digits(individual_digits=True), None, plain("<s>", special=True), regex=True)


def pieces_of_characters(name):
    """As Llama-2's, Gemma-3's and Mistral-v0.3's files: ▁ for spaces, <0xNN> for what the vocabulary lacks."""
    tk = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    bytes_ = ["<0x%02X>" % b for b in range(256)]
    replace, fuse = decoders.Replace("▁", " "), [decoders.ByteFallback(), decoders.Fuse()]
    if name == "llama2":
        tk.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tk.decoder = decoders.Sequence([replace, *fuse, decoders.Strip(" ", 1, 0)])
    elif name == "gemma":
        tk.normalizer = normalizers.Replace(" ", "▁")
        tk.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        tk.decoder = decoders.Sequence([replace, *fuse])
    else:
        tk.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        tk.decoder = decoders.Sequence([decoders.Metaspace(prepend_scheme="first", split=False), *fuse])
    trainer = BpeTrainer(vocab_size=660, special_tokens=["<unk>", "<s>", "</s>", *bytes_], limit_alphabet=90, show_progress=False)
    tk.train_from_iterator(LESSONS.splitlines(keepends=True), trainer)
    tk.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    text = json.loads(tk.to_str())
    text["added_tokens"] = [t for t in text["added_tokens"] if t["content"] not in bytes_]
    return Tokenizer.from_str(json.dumps(text))


def mixed(value, word):
    return ((value ^ word) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF


def hashed(words):
    value = 0xCBF29CE484222325
    for w in words:
        value = mixed(value, w)
    return "%016x" % value


def pieces(tk, text):
    """Lengths in bytes: a byte-level pre-tokenizer gives one character for each byte."""
    if tk.pre_tokenizer is None:
        return []
    if tk.normalizer:
        text = tk.normalizer.normalize_str(text)
    return [len(p) for p, _ in tk.pre_tokenizer.pre_tokenize_str(text)]


def records(tk, rng, sweep):
    def decoded(ids):
        out = {"decoded": tk.decode(ids, skip_special_tokens=False)}
        skipped = tk.decode(ids, skip_special_tokens=True)
        return out if skipped == out["decoded"] else {**out, "skipped": skipped}

    def text_record(text):
        ids = tk.encode(text, add_special_tokens=False).ids
        special = tk.encode(text, add_special_tokens=True).ids
        return {"kind": "text", "text": text, "ids": ids, **({} if special == ids else {"special": special}), **decoded(ids)}

    texts = ODD + LESSONS.splitlines(keepends=True)
    for text in texts:
        yield text_record(text)
    added = [t.content for t in tk.get_added_tokens_decoder().values()]
    for _ in range(60):
        words = " ".join(texts).split(" ")
        parts = [rng.choice([rng.choice(words), rng.choice(words), rng.choice([" ", "  ", "\n", "", ""]), rng.choice(added or [""])])
                 for _ in range(rng.randrange(1, 9))]
        yield text_record("".join(parts))
    for raw in BROKEN:
        yield {"kind": "bytes", "hex": raw.hex(), "ids": tk.encode(raw.decode("utf-8", "replace"), add_special_tokens=False).ids}
    size = tk.get_vocab_size()
    for _ in range(60):
        ids = [rng.randrange(size + 3) for _ in range(rng.randrange(12))]
        yield {"kind": "ids", "ids": ids, **decoded(ids)}
    step = 0x1000
    for first in list(range(0, 0x20000, step)) + list(range(0x20000, 0x110000, 16 * step)) if sweep else []:
        last = first + (step if first < 0x20000 else 16 * step) - 1
        text = "".join("k%c5%c " % (c, c) for c in range(first, last + 1) if not 0xD800 <= c < 0xE000)
        if text:
            ids, cuts = tk.encode(text, add_special_tokens=False).ids, pieces(tk, text)
            yield {"kind": "sweep", "first": first, "last": last, "ids": len(ids), "ids_hash": hashed(ids),
                   "pieces": len(cuts), "pieces_hash": hashed(cuts)}


def write(tk, path, sweep):
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        for r in [{"kind": "made with", "tokenizers": tokenizers.__version__}, *records(tk, random.Random(3), sweep)]:
            out.write(json.dumps(r, ensure_ascii=False, separators=(",", ":")) + "\n")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--of", metavar="TOKENIZER.json")
    ap.add_argument("out")
    args = ap.parse_args()
    if args.of:
        tk = Tokenizer.from_file(args.of)
        write(tk, args.out, True)
        return
    for name, tk in small_tokenizers():
        path = os.path.join(args.out, name)
        tk.save(path + ".json", pretty=False)
        write(Tokenizer.from_file(path + ".json"), path + ".jsonl", True)


if __name__ == "__main__":
    main()
