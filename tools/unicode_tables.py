#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/token/unicode_tables.c: what the tokenizer asks about every code point.

    unicode_tables.py > src/token/unicode_tables.c       (needs: pip install tokenizers==0.23.3)

The facts are read out of the reference itself, by asking it about every code point:
  category, SPACE   its regex engine (Oniguruma, Unicode 16.0), one class after the other
  WORD              its added-token matcher (\\w of Rust's regex), through a single_word token
  NFC_*             its NFC and NFD normalizers, which carry Unicode 9.0: what does not exist there
                    is inert (combining class 0, no decomposition, no composition)
so that the table and the program that it must agree with cannot drift apart unnoticed.
"""
import string
import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers

ALL = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
# The order is that of enum token__class in char_class.h.
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Cc Cf Cn".split()
MERGED = {"Zl": r"[\p{Zl}\p{Zp}]", "Cn": None}  # never told apart by a split pattern; Cn takes Co and Cs
BIT = {n: 1 << i for i, n in enumerate(CATEGORIES + "NEWLINE SPACE WORD NFC_CHECK NFC_JOINS".split())}
LETTERS = string.ascii_letters + string.digits + "!#$%&()*+,-./:;<=>@[]^_`{|}~"
BLOCK, GROUP = 64, 32


def members(pattern):
    """Code points that a one-character class of the reference's regex engine matches."""
    kept = normalizers.Replace(Regex(pattern), "").normalize_str("".join(map(chr, ALL)))
    return set(ALL) - set(map(ord, kept))


def categories(table):
    for name in CATEGORIES[:-1]:
        for c in members(MERGED.get(name, "\\p{%s}" % name)):
            assert table[c] == 0, hex(c)
            table[c] = BIT[name]
    for c in range(0x110000):
        table[c] = table[c] or BIT["Cn"]
    for c in members("\\s"):
        table[c] |= BIT["SPACE"]
    for c in (10, 13):
        table[c] |= BIT["NEWLINE"]


def words(table):
    """single_word refuses a match that touches a word character."""
    tk = Tokenizer(models.BPE(vocab={"T": 0}, merges=[]))
    tk.add_tokens([AddedToken("<T>", single_word=True, normalized=False)])
    codes = [c for c in ALL if chr(c) not in "<T>"]
    for at in range(0, len(codes), 4096):
        part = codes[at:at + 4096]
        got = tk.encode("".join(" <T>" + chr(c) for c in part))
        found = {a for t, (a, b) in zip(got.ids, got.offsets) if t == 1}
        for i, c in enumerate(part):
            if i * 5 + 1 not in found:
                table[c] |= BIT["WORD"]
    table[ord("T")] |= BIT["WORD"]


def nfc(table):
    nfc_of, nfd_of = normalizers.NFC().normalize_str, normalizers.NFD().normalize_str
    above, below = "\u0301", "\u0323"  # combining classes 230 and 220
    for c in ALL:
        one, down = chr(c), nfd_of(chr(c))
        # A mark: it is reordered around a mark of class 220 or 230.
        if len(down) == 1 and (nfd_of("q" + one + below) != "q" + down + below or
                               nfd_of("q" + above + one) != "q" + above + down):
            table[c] |= BIT["NFC_CHECK"]
        if nfc_of(one) != one:
            table[c] |= BIT["NFC_CHECK"] | BIT["NFC_JOINS"]
        elif len(down) > 1:
            # A composite comes apart when a mark of a lower class follows, so it counts as well.
            for starter in (one, nfc_of(down[:-1])[-1]):
                table[ord(starter)] |= BIT["NFC_JOINS"]
            table[ord(down[-1])] |= BIT["NFC_CHECK"] | BIT["NFC_JOINS"]
    assert not any(t & BIT["NFC_CHECK"] for t in table[:0x300])  # nfc.c skips these


def numbered(items):
    """Distinct items in order of first use, and the number of each."""
    distinct = list(dict.fromkeys(items))
    number = {item: i for i, item in enumerate(distinct)}
    return distinct, [number[item] for item in items]


def lines(values):
    row = ""
    for v in values:
        if len(row) + len(str(v)) + 2 > 98:
            print(row.rstrip())
            row = ""
        row += str(v) + ", "
    print(row.rstrip())


def emit(table):
    kinds = sorted(set(table), key=lambda k: -table.count(k))
    assert len(kinds) <= len(LETTERS)
    letter = dict(zip(kinds, LETTERS))
    text = "".join(letter[t] for t in table)
    blocks, index = numbered([text[at:at + BLOCK] for at in range(0, 0x110000, BLOCK)])
    groups, top = numbered([tuple(index[at:at + GROUP]) for at in range(0, len(index), GROUP)])
    print("/* SPDX-License-Identifier: Apache-2.0\n"
          " * unicode_tables — made by tools/unicode_tables.py from tokenizers %s; do not edit.\n"
          " * What the letters mean and how the stages are read: char_class.h. */\n"
          '#include "token/char_class.h"\n\n// clang-format off' % tokenizers.__version__)
    print("const uint32_t token__ascii_class[128] = {")
    lines("0x%08X" % t for t in table[:128])
    print("};\nconst uint32_t token__letter_class[128] = {")
    lines("['%s'] = 0x%08X" % (letter[k], k) for k in sorted(kinds, key=letter.get))
    print("};\nconst uint8_t token__class_top[TOKEN_CLASS_TOP] = {")
    lines(top)
    print("};\nconst uint16_t token__class_group[][TOKEN_CLASS_GROUP] = {")
    for group in groups:
        lines(["{" + str(group[0])] + list(group[1:-1]) + [str(group[-1]) + "}"])
    print("};\nconst char token__class_letter[][TOKEN_CLASS_BLOCK + 1] = {")
    for block in blocks:
        print('"%s",' % block)
    print("};\n// clang-format on")


def main():
    table = [0] * 0x110000
    categories(table)
    words(table)
    nfc(table)
    print({n: sum(bool(t & BIT[n]) for t in table) for n in BIT}, len(set(table)), file=sys.stderr)
    emit(table)


if __name__ == "__main__":
    main()
