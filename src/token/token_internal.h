/* SPDX-License-Identifier: Apache-2.0
 * token_internal — a tokenizer in memory, and what the room's files offer each other.
 *
 * Text goes through: added tokens (raw) → normalizers → added tokens (normalized) → split steps →
 * BPE. Byte-level vocabularies are translated to raw bytes once, at load, so that text never is. */
#pragma once
#include "base/arena.h"
#include "base/map.h"
#include "ingot/token.h"

struct ig_json;

#define TOKEN_MERGES_MAX  ((1 << 22) - 1)   /* ... and 0.51 M merges */
#define TOKEN_IDS_MAX     (1 << 21)         /* the largest known vocabularies have 0.26 M entries */
#define TOKEN_STEPS_MAX   8                 /* of each kind; real files have up to 4 */
#define TOKEN_TEXT_MAX    ((size_t)1 << 31) /* positions in a word are 32-bit */
#define TOKEN_NO_RANK     UINT32_MAX
#define TOKEN_SPECIAL_MAX 16 /* ids that the post-processor puts on one side; real files: 2 */

/* ---- vocab.c: from bytes to ids. Texts up to 12 bytes sit in the slots themselves. */

#define TOKEN_TAIL_WHOLE   16u /* BPE of these bytes gives this one token: it may be taken whole */
#define TOKEN_TAIL_CHECKED 32u /* ... has been tried */
#define TOKEN_TAIL_SHIFT   6

struct token__short_slot {
    uint64_t low;  /* bytes 0-7, zero-padded */
    uint32_t high; /* bytes 8-11 */
    uint32_t tail; /* id << TOKEN_TAIL_SHIFT | flags | length; 0: free */
};
struct token__long_slot {
    uint32_t hash;
    uint32_t tail; /* the same, with length 1 */
};
struct token__vocab {
    struct token__short_slot *shorts;
    struct token__long_slot *longs;
    unsigned short_bits, long_bits;
    const struct ig_slice *texts; /* by id: the bytes that the table was built from */
};
/* A table for the texts that are not {NULL, 0}; it keeps pointing at them. */
IG_MUST_CHECK bool token__vocab_init(struct token__vocab *vocab, const struct ig_slice *texts,
                                     int32_t count, struct ig_err *err);
void token__vocab_release(struct token__vocab *vocab);
/* The tail of the slot with this text, or NULL. readable_end: where the memory that text lies in
 * ends; reading is faster when it is not near. Tails are shared by threads: atomic, relaxed. */
uint32_t *token__vocab_find(const struct token__vocab *vocab, struct ig_slice text,
                            const char *readable_end);
void token__vocab_prefetch(const struct token__vocab *vocab, struct ig_slice text,
                           const char *readable_end);
/* The id, or -1. */
int32_t token__vocab_id(const struct token__vocab *vocab, struct ig_slice text,
                        const char *readable_end);

/* ---- bpe.c: merging. */

struct token__merges {
    uint64_t *slots;  /* open addressing */
    uint64_t *filter; /* one bit for each pair: 0 means that it is not in slots */
    unsigned bits, filter_bits;
    int32_t *products; /* by rank */
    uint32_t count;    /* ranks */
};
IG_MUST_CHECK bool token__merges_init(struct token__merges *merges, uint32_t count,
                                      struct ig_err *err);
void token__merges_release(struct token__merges *merges);
void token__merges_prefetch(const struct token__merges *merges, int32_t left, int32_t right);
/* A repeated pair: the last one counts. */
void token__merges_put(struct token__merges *merges, int32_t left, int32_t right, uint32_t rank,
                       int32_t product);

uint32_t token__merges_rank(const struct token__merges *merges, int32_t left, int32_t right);

struct token__heap {
    uint64_t *items;
    uint32_t *prev, *next, *ranks;
    size_t cap; /* symbols that there is room for */
};
void token__heap_release(struct token__heap *heap);
/* Merges the symbols in place until no pair has a rank; *count becomes smaller. */
IG_MUST_CHECK bool token__bpe_merge(const struct token__merges *merges, struct token__heap *heap,
                                    int32_t *symbols, size_t *count, struct ig_err *err);

/* ---- added.c: tokens that are cut out of the text before anything else. */

enum token__added_flag {
    ADDED_SPECIAL = 1,
    ADDED_LSTRIP = 2,
    ADDED_RSTRIP = 4,
    ADDED_SINGLE_WORD = 8,
    ADDED_NORMALIZED = 16,
};
struct token__added {
    struct ig_slice content;
    struct ig_slice pattern; /* what is looked for: content, or its normalized form */
    int32_t id;
    unsigned flags;
};
struct token__trie_node {
    uint32_t child, sibling; /* 0: none */
    int32_t added;           /* index of the token that ends here, or -1 */
    unsigned char byte;
};
struct token__matcher {
    struct token__trie_node *nodes; /* node 0 is the root */
    uint32_t count, cap;
    uint32_t first[256]; /* the root's children */
    int first_only;      /* the byte that every pattern starts with, or -1 */
    bool any;
};
IG_MUST_CHECK bool token__matcher_add(struct token__matcher *matcher, struct ig_slice pattern,
                                      int32_t added, struct ig_err *err);
void token__matcher_release(struct token__matcher *matcher);
struct token__match {
    const char *start, *end; /* what is cut out, swallowed white space included */
    const char *resume;      /* where the search goes on */
    int32_t added;
};
/* The next added token in [from, end) of a segment; text before `taken` belongs to an earlier one.
 */
bool token__matcher_next(const struct token__matcher *matcher, const struct token__added *added,
                         struct ig_slice segment, const char *from, const char *taken,
                         struct token__match *out);

/* ---- normalize.c */

struct token__regex; /* regex.h */

enum token__norm_kind { NORM_NFC, NORM_PREPEND, NORM_REPLACE };
struct token__norm {
    enum token__norm_kind kind;
    struct ig_slice pattern, content;
    const struct token__regex *regex; /* in place of pattern; or NULL */
};
struct token__codes {
    int32_t *items;
    size_t count, cap;
};
struct token__norm_room {
    struct ig_buf buf[2];
    struct token__codes codes;
};
void token__norm_room_release(struct token__norm_room *room);
/* *out is text itself when nothing changes, else it lies in the room until the next call. */
IG_MUST_CHECK bool token__normalize(const struct token__norm *norms, int count,
                                    struct ig_slice text, struct token__norm_room *room,
                                    struct ig_slice *out, struct ig_err *err);
/* nfc.c: appends the canonical composition of text (valid UTF-8); false when it is that already,
 * and then nothing is appended. Failure is in room->codes or out: check both with ..._ok. */
IG_MUST_CHECK bool token__nfc(struct ig_slice text, struct token__codes *codes, struct ig_buf *out,
                              bool *changed, struct ig_err *err);

/* ---- split steps. A step cuts what it is given into pieces, from left to right. */

/* What becomes of the matches of a pattern and of the gaps between them. */
enum token__behavior {
    SPLIT_ISOLATED, /* both are pieces */
    SPLIT_REMOVED,  /* matches are dropped */
    SPLIT_WITH_PREVIOUS,
    SPLIT_WITH_NEXT,
    SPLIT_CONTIGUOUS, /* a run of matches is one piece */
};
struct token__step {
    /* scan.c: the end of the piece at p, for patterns that cover every text; else NULL, and then
     * split.c cuts by the regex. */
    const char *(*next)(const struct token__step *step, const char *p, const char *end);
    unsigned mask;  /* class bits of isolated characters */
    int digits_max; /* characters in a number piece */
    const struct token__regex *regex;
    enum token__behavior behavior;
    bool invert; /* matches are gaps, and gaps matches */
};
/* split.c: the first piece of [p, end), which is the rest of what the step was given from start.
 * piece: where it begins and ends; empty at the end of the text. */
IG_MUST_CHECK bool token__split_next(const struct token__step *step, const char *start,
                                     const char *p, const char *end, struct ig_slice *piece,
                                     struct ig_err *err);
/* The scanner of a regex that is known by its exact text, or false. */
bool token__step_of_regex(struct ig_slice regex, struct token__step *out);
struct token__step token__step_gpt2(void);
/* Everything between the matches of a regex, and them, as behavior says. The regex outlives it. */
struct token__step token__step_split(const struct token__regex *regex,
                                     enum token__behavior behavior, bool invert);
/* Each character of the classes is a piece, or each run of them. */
struct token__step token__step_isolate(unsigned mask, bool runs);

/* ---- word.c: from a piece of text to ids. */

/* Byte-level words start as bytes, and much of the work is to merge the bytes of each character.
 * That can be left out where no merge reaches across the character's edges before its own merges
 * are done: every merge of a left part that ends in byte x with a right part that begins with byte
 * y has a rank of at least touch[x << 8 | y], so a character whose own merges have lower ranks than
 * that on both edges is one symbol from the start. */
struct token__char {
    int32_t id_plus_1; /* 0: the character is no token, or its bytes do not merge to it */
    uint32_t rank;     /* the highest of its own merges */
};
struct token__starts {
    struct token__char *chars; /* by code point below 0x10000; NULL: some byte has no token */
    uint32_t *touch;
};
/* joins.c: which characters a merge has side by side. Where two that no merge joins meet, a text of
 * a vocabulary of characters can be cut without changing its ids. */
struct token__joins {
    uint64_t *slots; /* open addressing: left << 32 | right, plus 1; NULL: text may not be cut */
    unsigned bits;
    uint64_t *near; /* one bit for each pair of the commonest characters */
};
IG_MUST_CHECK bool token__joins_init(struct token__joins *joins, uint32_t count,
                                     struct ig_arena *arena, struct ig_err *err);
void token__joins_put(struct token__joins *joins, uint32_t left, uint32_t right);
bool token__joins_has(const struct token__joins *joins, uint32_t left, uint32_t right);

/* Needs byte_ids, merges and touch. */
IG_MUST_CHECK bool token__find_starts(struct ig_tokenizer *t, struct ig_err *err);

IG_MUST_CHECK bool token__ids_reserve(struct ig_ids *ids, size_t more, struct ig_err *err);
IG_MUST_CHECK bool token__ids_put(struct ig_ids *ids, int32_t id, struct ig_err *err);
/* Appends the ids of a word of at least one byte. */
IG_MUST_CHECK bool token__word_ids(const struct ig_tokenizer *t, struct token__heap *heap,
                                   struct ig_slice word, const char *readable_end,
                                   struct ig_ids *ids, struct ig_err *err);

/* ---- load_*.c: from JSON to a tokenizer. Errors name the place inside the file. */

IG_MUST_CHECK bool token__load_model(struct ig_tokenizer *t, const struct ig_json *model,
                                     struct ig_err *err);
IG_MUST_CHECK bool token__load_normalizer(struct ig_tokenizer *t, const struct ig_json *node,
                                          struct ig_err *err);
IG_MUST_CHECK bool token__load_pre_tokenizer(struct ig_tokenizer *t, const struct ig_json *node,
                                             struct ig_err *err);
IG_MUST_CHECK bool token__load_post_processor(struct ig_tokenizer *t, const struct ig_json *node,
                                              struct ig_err *err);
IG_MUST_CHECK bool token__load_decoder(struct ig_tokenizer *t, const struct ig_json *node,
                                       struct ig_err *err);
/* What each id decodes to, once all tokens are there. */
IG_MUST_CHECK bool token__decoder_apply(struct ig_tokenizer *t, struct ig_err *err);
/* added_tokens of tokenizer.json (an array), or added_tokens_decoder of tokenizer_config.json (an
 * object whose keys are ids). */
IG_MUST_CHECK bool token__load_added(struct ig_tokenizer *t, const struct ig_json *node,
                                     struct ig_err *err);
IG_MUST_CHECK bool token__load_config(struct ig_tokenizer *t, const struct ig_json *config,
                                      struct ig_err *err);
/* The id of a token as the file writes it, or -1. */
int32_t token__content_id(const struct ig_tokenizer *t, struct ig_slice content);
/* GPT-2's alphabet: text as bytes into out (room for text.len); false when a character is not in
 * it. */
bool token__alphabet_bytes(struct ig_slice text, char *out, size_t *len);
IG_MUST_CHECK bool token__warn(struct ig_tokenizer *t, struct ig_err *err, const char *format, ...)
    IG_PRINTF(3, 4);

/* ---- the tokenizer */

/* SentencePiece's pieces: runs of <0xNN> are bytes, and some characters at the start may go. */
enum token__decode_kind { DECODE_BYTE_LEVEL, DECODE_SPACES, DECODE_PIECES };
enum token__prepend { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };
#define TOKEN_NAMED_COUNT 7
extern const char *const token__names[TOKEN_NAMED_COUNT]; /* "bos", "eos", ... */

struct ig_tokenizer {
    struct ig_arena arena;     /* texts, warnings */
    int32_t size;              /* largest id + 1 */
    int32_t vocab_count;       /* entries of the model's vocabulary */
    struct ig_slice *contents; /* by id, as the file writes them; {NULL, 0}: no such id */
    struct ig_slice *bytes;    /* by id, what the id decodes to */
    struct token__vocab vocab;
    struct token__merges merges;
    struct token__starts starts;
    struct token__joins joins;
    int32_t byte_ids[256]; /* the token of one byte: itself, or else <0xNN>; -1: there is none */
    bool byte_level;       /* text is split into bytes, and the vocabulary is written in GPT-2's
                              alphabet of 256 characters */
    bool byte_fallback, ignore_merges;
    int32_t unk_id; /* -1: unknown characters are dropped */
    bool fuse_unk;
    struct token__norm norms[TOKEN_STEPS_MAX];
    int norm_count;
    bool prefix_space;
    struct ig_slice metaspace; /* what stands for a space, as the pre-tokenizer has it; or empty */
    enum token__prepend metaspace_prepend;
    struct token__step steps[TOKEN_STEPS_MAX];
    int step_count;
    enum token__decode_kind decode;
    struct token__norm decode_replace[TOKEN_STEPS_MAX]; /* of each token's text, at load */
    int decode_replace_count;
    bool decode_bytes;            /* <0xNN> is a byte */
    bool decode_fused;            /* the tokens are one text */
    bool decode_drop_first;       /* of the first token, metaspace is dropped, not replaced */
    struct ig_slice decode_strip; /* up to decode_strip_count of them go at the start of a text */
    int decode_strip_count;
    struct token__added *added;
    int32_t added_count;
    struct ig_map odd_ids;     /* vocabulary entries outside the alphabet: content → id */
    struct ig_map added_index; /* content → index in added */
    unsigned char *special;    /* by id */
    struct token__matcher raw, normalized;
    int32_t before[TOKEN_SPECIAL_MAX], after[TOKEN_SPECIAL_MAX];
    int before_count, after_count;
    struct ig_slice named[TOKEN_NAMED_COUNT];
    const char **warnings;
    int warning_count;
};
