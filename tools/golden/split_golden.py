#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pieces that Hugging Face's Split pre-tokenizer makes, for tests/unit/test_token_split.c (tokenizers 0.23.3).

    split_golden.py OUT.jsonl

Each line: the pattern as tokenizer.json has it, behavior, invert, and for each text its pieces' lengths in bytes with
what was dropped in between as negative lengths."""
import json
import sys

from tokenizers import Regex, pre_tokenizers

TEXTS = [
    "The miller's 12 jars, 345678 grains & co.", "aaa aab abab aabbb cc", "CamelCaseWords HTTPServer x2y", "  two  spaces \n\n tabs\t\tend  ",
    "a-b--c---d...e", "l'été œuvre Größe ÉCOLE 漢字かなカナ 한글 ½ ٣ ✓ 🔥x", "\"quoted\" (round) [square] {curly} <angle>", "x", " ", "\n", "a\r\nb\r\rc\n",
    "ſſ'S 'ſ K's K kelvin", "e\u0301e\u0301 क्षि ก็", "foo_bar __init__ 3.14e-10 0xFF", "don't DON'T we'LL I'd i'D", "\u00a0nb\u3000sp\u200bzw\u180e",
]
PATTERNS = [
    "a", "a+", "a*b", "a+?b", "a{2}", "a{2,}", "a{1,2}b", "a{,2}b", "(ab)+", "(?:ab|a)+c?", "(a|b)+", "a++b", "(?>a+)b?", "[^a]", "[a-cx-z]+", r"[\w']+", r"\d", r"\D+",
    r"\s+", r"\S+", r"\w+|[^\w\s]+", r"\W", r"\p{L}+", r"\P{L}+", r"\p{^L}", r"\p{Lu}", r"\p{Lu}?\p{Ll}+", r"[\p{N}\p{P}]+", r"[^\s\p{L}\p{N}]+", r"\p{Han}+", r"[\p{L}&&[^\p{Han}]]+",
    r"(?=\p{Lu})", r"(?<=\p{Ll})(?=\p{Lu})", r"(?<!\p{L})\p{N}", r"\s+(?!\S)", r"\s+(?=\S)", "^.", ".$", r"\A..", r"..\z", r"\bc", r"\Bb", r"\b", ".", ".+", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
    "(?i)k", "(?i:[a-k])+", r"[\r\n]+", r"\r\n|\r|\n", r"\x61", r"\u0061b", r"\x{1F525}", r"[一-龥぀-ゟ゠-ヿ]+", r"\-+|\.{3}", "[-a]+", "[]a]+", "[a^-]+", r"[\]\[]", "a|b|c|", "-{2,3}-?",
    r"(?:\p{L}\p{M}*)+", r"[0-9][0-9][0-9]", r"\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|$))", r"\h+", r"(\p{L}|\p{N})+?\s", "x*+y", "(?:a?b)+", "(?:ab?)*c",
]
BEHAVIORS = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
NAMES = {"MergedWithPrevious": "merged_with_previous", "MergedWithNext": "merged_with_next"}


def lengths(text, split):
    out, at = [], 0
    for _, (first, last) in split.pre_tokenize_str(text):
        if first > at:
            out.append(-len(text[at:first].encode()))
        out.append(len(text[first:last].encode()))
        at = last
    return out + ([-len(text[at:].encode())] if at < len(text) else [])


def main():
    with open(sys.argv[1], "w", encoding="utf-8", newline="\n") as f:
        f.write(json.dumps({"texts": TEXTS}, ensure_ascii=False) + "\n")
        for i, pattern in enumerate(PATTERNS):
            # All behaviours on a few, isolated on all.
            cases = [(b, v) for b in BEHAVIORS for v in (False, True)] if i % 6 == 1 else [("Isolated", False), (BEHAVIORS[i % 5], i % 2 == 1)]
            for behavior, invert in dict.fromkeys(cases):
                split = pre_tokenizers.Split(Regex(pattern), NAMES.get(behavior, behavior.lower()), invert)
                f.write(json.dumps({"pattern": pattern, "behavior": BEHAVIORS.index(behavior), "invert": invert,
                                    "pieces": [lengths(t, split) for t in TEXTS]}, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
