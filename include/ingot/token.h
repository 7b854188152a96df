/* SPDX-License-Identifier: Apache-2.0
 * token — tokenizer.json: text to ids and back, exactly as Hugging Face's tokenizers does.
 *
 * Threads: encode and decode are safe from many threads. (Which tokens may be taken whole is found
 * out at first use and noted in the tables, atomically; the ids never depend on it.) What is
 * supported, and what is refused: docs/tokenizer.md. */
#pragma once
#include "ingot/buf.h"
#include <stdint.h>

struct ig_tokenizer;

struct ig_ids {
    int32_t *items;
    size_t count, cap;
};
void ig_ids_release(struct ig_ids *ids);

/* PATH: a tokenizer.json, or a model folder that holds one (then tokenizer_config.json is read
 * too). */
IG_MUST_CHECK bool ig_tokenizer_open(const char *path, struct ig_tokenizer **out,
                                     struct ig_err *err);
IG_MUST_CHECK bool ig_tokenizer_parse(struct ig_slice json, const char *name,
                                      struct ig_tokenizer **out, struct ig_err *err);
void ig_tokenizer_close(struct ig_tokenizer *tokenizer);
/* Largest id + 1. */
int32_t ig_tokenizer_size(const struct ig_tokenizer *tokenizer);
/* Things the file says that are ignored or odd, one per call; NULL when there are no more. */
const char *ig_tokenizer_warning(const struct ig_tokenizer *tokenizer, int index);

/* Appends the ids of text (any bytes; invalid UTF-8 becomes U+FFFD). add_special: with BOS and the
 * like, as the post-processor says. */
IG_MUST_CHECK bool ig_tokenizer_encode(const struct ig_tokenizer *tokenizer, struct ig_slice text,
                                       bool add_special, struct ig_ids *out, struct ig_err *err);
/* Appends the text of ids. skip_special drops special tokens. */
IG_MUST_CHECK bool ig_tokenizer_decode(const struct ig_tokenizer *tokenizer, const int32_t *ids,
                                       size_t count, bool skip_special, struct ig_buf *out,
                                       struct ig_err *err);
/* The id of a token by its exact content, or -1. */
int32_t ig_tokenizer_id(const struct ig_tokenizer *tokenizer, struct ig_slice content);
/* The content of an id as the vocabulary writes it; {NULL,0} when there is none. */
struct ig_slice ig_tokenizer_token(const struct ig_tokenizer *tokenizer, int32_t id);
bool ig_tokenizer_is_special(const struct ig_tokenizer *tokenizer, int32_t id);
/* "bos", "eos", "pad", "unk", "cls", "sep", "mask": content from tokenizer_config.json, or
 * {NULL,0}. */
struct ig_slice ig_tokenizer_named(const struct ig_tokenizer *tokenizer, const char *which);

/* Decoding as tokens come: the sum of the chunks is the decode of all ids. */
struct ig_stream_decoder;
IG_MUST_CHECK bool ig_stream_new(const struct ig_tokenizer *tokenizer, bool skip_special,
                                 struct ig_stream_decoder **out, struct ig_err *err);
/* Appends what the id completes to out; holds back bytes that may become a character. */
IG_MUST_CHECK bool ig_stream_push(struct ig_stream_decoder *stream, int32_t id, struct ig_buf *out,
                                  struct ig_err *err);
/* Appends what is held back (as U+FFFD when incomplete). */
IG_MUST_CHECK bool ig_stream_flush(struct ig_stream_decoder *stream, struct ig_buf *out,
                                   struct ig_err *err);
void ig_stream_free(struct ig_stream_decoder *stream);
