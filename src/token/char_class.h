/* SPDX-License-Identifier: Apache-2.0
 * char_class — what a code point is: one bit for each thing that tokenizers ask.
 *
 * Categories, SPACE (White_Space) and WORD are Unicode 16.0, as the reference's regex engines have
 * them; the NFC bits are Unicode 9.0, as its normalizer has it. The table has three stages:
 *     code >> 11 → top → group[code >> 6 & 31] → block[code & 63] → a letter → the bits
 * The last stage holds letters so that the generated file is text: one line shows 64 code points.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum token__class {
    CLASS_LU = 1 << 0,
    CLASS_LL = 1 << 1,
    CLASS_LT = 1 << 2,
    CLASS_LM = 1 << 3,
    CLASS_LO = 1 << 4,
    CLASS_MN = 1 << 5,
    CLASS_MC = 1 << 6,
    CLASS_ME = 1 << 7,
    CLASS_ND = 1 << 8,
    CLASS_NL = 1 << 9,
    CLASS_NO = 1 << 10,
    CLASS_PC = 1 << 11,
    CLASS_PD = 1 << 12,
    CLASS_PS = 1 << 13,
    CLASS_PE = 1 << 14,
    CLASS_PI = 1 << 15,
    CLASS_PF = 1 << 16,
    CLASS_PO = 1 << 17,
    CLASS_SM = 1 << 18,
    CLASS_SC = 1 << 19,
    CLASS_SK = 1 << 20,
    CLASS_SO = 1 << 21,
    CLASS_ZS = 1 << 22,
    CLASS_ZL = 1 << 23, /* and Zp */
    CLASS_CC = 1 << 24,
    CLASS_CF = 1 << 25,
    CLASS_CN = 1 << 26,      /* and Co, Cs */
    CLASS_NEWLINE = 1 << 27, /* CR, LF */
    CLASS_SPACE = 1 << 28,
    CLASS_WORD = 1 << 29, /* \w */
    /* Both: may decompose, or compose with what is before it. CHECK alone: a mark of which only the
     * order matters. JOINS alone: a starter that may change when marks come after it. */
    CLASS_NFC_CHECK = 1 << 30,
    CLASS_NFC_JOINS = (int)(1u << 31),

    CLASS_L = CLASS_LU | CLASS_LL | CLASS_LT | CLASS_LM | CLASS_LO,
    CLASS_M = CLASS_MN | CLASS_MC | CLASS_ME,
    CLASS_N = CLASS_ND | CLASS_NL | CLASS_NO,
};

#define TOKEN_CLASS_BLOCK 64
#define TOKEN_CLASS_GROUP 32
#define TOKEN_CLASS_TOP   (0x110000 / TOKEN_CLASS_BLOCK / TOKEN_CLASS_GROUP)

extern const uint32_t token__ascii_class[128];
extern const uint32_t token__letter_class[128];
extern const uint8_t token__class_top[TOKEN_CLASS_TOP];
extern const uint16_t token__class_group[][TOKEN_CLASS_GROUP];
extern const char token__class_letter[][TOKEN_CLASS_BLOCK + 1];

/* code < 0x110000. */
static inline uint32_t token__class_of(uint32_t code)
{
    unsigned group = token__class_top[code / TOKEN_CLASS_BLOCK / TOKEN_CLASS_GROUP];
    unsigned block = token__class_group[group][code / TOKEN_CLASS_BLOCK % TOKEN_CLASS_GROUP];
    return token__letter_class[(unsigned char)token__class_letter[block][code % TOKEN_CLASS_BLOCK]];
}

/* The class of the character at p, and its length. The text is valid UTF-8 and p is not its end. */
static inline uint32_t token__class_at(const char *p, int *length)
{
    const unsigned char *s = (const unsigned char *)p;
    if (s[0] < 0x80) {
        *length = 1;
        return token__ascii_class[s[0]];
    }
    if (s[0] < 0xE0) {
        *length = 2;
        return token__class_of((s[0] & 0x1Fu) << 6 | (s[1] & 0x3Fu));
    }
    if (s[0] < 0xF0) {
        *length = 3;
        return token__class_of((s[0] & 0x0Fu) << 12 | (s[1] & 0x3Fu) << 6 | (s[2] & 0x3Fu));
    }
    *length = 4;
    return token__class_of((s[0] & 0x07u) << 18 | (s[1] & 0x3Fu) << 12 | (s[2] & 0x3Fu) << 6 |
                           (s[3] & 0x3Fu));
}
