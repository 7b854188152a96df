/* SPDX-License-Identifier: Apache-2.0
 * token_bpe — random small vocabularies against BPE as it is defined: look at all pairs, merge the
 * one of lowest rank, leftmost on a tie, start again. This is what shows that the short cuts (whole
 * words, characters that start merged, the heap, the filter) change nothing. */
#include "check.h"
#include "ingot/token.h"

#include <stdio.h>
#include <stdlib.h>

#define MERGES_MAX 120
#define TEXT_MAX   400

struct merge {
    int left, right, product;
};
struct model {
    struct merge merges[MERGES_MAX];
    int merge_count, token_count;
    unsigned char bytes[256 + MERGES_MAX][64];
    int len[256 + MERGES_MAX];
};

static uint64_t random_state;

static unsigned below(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state >> 20) % n;
}

/* Few different characters, so that merges meet: ASCII, and two scripts of two and three bytes. */
static const char *const letters[] = {"a",
                                      "b",
                                      "c",
                                      "\xD0\xBE",
                                      "\xD0\xBF",
                                      "\xD1\x80",
                                      "\xE4\xBD\xA0",
                                      "\xE4\xBD\x99",
                                      "\xE5\xA5\xBD",
                                      "\xF0\x9F\x98\x80"};
#define LETTERS (sizeof letters / sizeof *letters)

static int find_bytes(const struct model *m, const unsigned char *bytes, int len)
{
    for (int i = 0; i < m->token_count; i++)
        if (m->len[i] == len && memcmp(m->bytes[i], bytes, (size_t)len) == 0) return i;
    return -1;
}

/* Merges glue tokens whose bytes follow each other in some text of the letters. */
static void make_model(struct model *m)
{
    m->token_count = 256;
    m->merge_count = 0;
    for (int b = 0; b < 256; b++) {
        m->bytes[b][0] = (unsigned char)b;
        m->len[b] = 1;
    }
    int wanted = 10 + (int)below(MERGES_MAX - 10);
    for (int tries = 0; m->merge_count < wanted && tries < 20000; tries++) {
        char text[64] = "";
        for (int i = 0; i < 4; i++)
            strcat(text, letters[below(LETTERS)]);
        int len = (int)strlen(text), start = (int)below((unsigned)len);
        int first = 1 + (int)below(4), second = 1 + (int)below(4);
        if (start + first + second > len) continue;
        const unsigned char *at = (const unsigned char *)text + start;
        int left = find_bytes(m, at, first), right = find_bytes(m, at + first, second);
        if (left < 0 || right < 0) continue;
        int product = find_bytes(m, at, first + second);
        if (product < 0) {
            product = m->token_count++;
            m->len[product] = first + second;
            memcpy(m->bytes[product], at, (size_t)(first + second));
        }
        bool known = false;
        for (int i = 0; i < m->merge_count; i++)
            known |= m->merges[i].left == left && m->merges[i].right == right;
        if (known) continue;
        m->merges[m->merge_count++] = (struct merge){left, right, product};
    }
}

static void put_token(struct ig_buf *out, const struct model *m, int id)
{
    ig_buf_char(out, '"');
    for (int i = 0; i < m->len[id]; i++) {
        int b = m->bytes[id][i], extra = 256;
        for (int c = 0; c < b; c++)
            extra += !((c >= '!' && c <= '~') || (c >= 0xA1 && c <= 0xAC) || c >= 0xAE);
        bool plain = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        ig_buf_printf(out, "\\u%04x", (unsigned)(plain ? b : extra));
    }
    ig_buf_char(out, '"');
}

static struct ig_tokenizer *open_model(const struct model *m)
{
    struct ig_buf json = {0};
    struct ig_err err = {0};
    struct ig_tokenizer *t = NULL;
    ig_buf_text(&json, "{\"version\":\"1.0\",\"pre_tokenizer\":{\"type\":\"ByteLevel\","
                       "\"add_prefix_space\":false,\"use_regex\":false},"
                       "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"vocab\":{");
    for (int i = 0; i < m->token_count; i++) {
        if (i) ig_buf_char(&json, ',');
        put_token(&json, m, i);
        ig_buf_printf(&json, ":%d", i);
    }
    ig_buf_text(&json, "},\"merges\":[");
    for (int i = 0; i < m->merge_count; i++) {
        ig_buf_text(&json, i ? ",[" : "[");
        put_token(&json, m, m->merges[i].left);
        ig_buf_char(&json, ',');
        put_token(&json, m, m->merges[i].right);
        ig_buf_char(&json, ']');
    }
    ig_buf_text(&json, "]}}");
    check_ok(ig_tokenizer_parse(ig_buf_view(&json), "random", &t, &err), &err);
    ig_buf_release(&json);
    return t;
}

static int merge_as_defined(const struct model *m, int *ids, int count)
{
    for (;;) {
        int best = m->merge_count, at = 0;
        for (int i = 0; i + 1 < count; i++)
            for (int k = 0; k < best; k++)
                if (m->merges[k].left == ids[i] && m->merges[k].right == ids[i + 1]) {
                    best = k;
                    at = i;
                }
        if (best == m->merge_count) return count;
        ids[at] = m->merges[best].product;
        count--;
        for (int i = at + 1; i < count; i++)
            ids[i] = ids[i + 1];
    }
}

static void check_text(const struct model *m, const struct ig_tokenizer *t, const char *text)
{
    struct ig_err err = {0};
    struct ig_ids got = {0};
    struct ig_buf back = {0};
    int want[TEXT_MAX + 8], count = (int)strlen(text);
    for (int i = 0; i < count; i++)
        want[i] = (unsigned char)text[i];
    count = merge_as_defined(m, want, count);
    check_ok(ig_tokenizer_encode(t, ig_slice_of(text), false, &got, &err), &err);
    assert_int_equal(got.count, count);
    if (count) assert_memory_equal(got.items, want, (size_t)count * sizeof *want);
    check_ok(ig_tokenizer_decode(t, got.items, got.count, false, &back, &err), &err);
    assert_true(ig_slice_is(ig_buf_view(&back), text));
    ig_buf_release(&back);
    ig_ids_release(&got);
}

static void encoding_is_bpe_as_defined(void **state)
{
    (void)state;
    static struct model model;
    for (int round = 0; round < 150; round++) {
        random_state = 0x9E3779B97F4A7C15ull * (uint64_t)(round + 1);
        make_model(&model);
        struct ig_tokenizer *t = open_model(&model);
        for (int i = 0; i < 60; i++) {
            char text[TEXT_MAX + 8] = "";
            size_t letters_wanted = i % 6 ? below(12) : below(90);
            for (size_t n = 0; n < letters_wanted; n++)
                strcat(text, letters[below(round % 3 ? LETTERS : 6)]);
            check_text(&model, t, text);
            check_text(&model, t, text); /* again, now that its tokens have been tried */
        }
        ig_tokenizer_close(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoding_is_bpe_as_defined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
