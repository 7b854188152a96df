/* SPDX-License-Identifier: Apache-2.0
 * token_split — regexes and what Split does with them, against the reference's pieces
 * (tools/golden/split_golden.py); what is refused; and that no pattern takes for ever. */
#include "base/arena.h"
#include "base/file.h"
#include "check.h"
#include "ingot/json.h"
#include "token/regex.h"
#include "token/token_internal.h"

#include <stdio.h>
#include <stdlib.h>

/* Pieces' lengths; of what is dropped between them the negative length. */
static int cut(const struct token__step *step, struct ig_slice text, int64_t *out)
{
    struct ig_err err = {0};
    const char *p = text.ptr, *end = p + text.len;
    int count = 0;
    while (p < end) {
        struct ig_slice piece;
        check_ok(token__split_next(step, text.ptr, p, end, &piece, &err), &err);
        assert_true(piece.ptr >= p && piece.ptr + piece.len <= end);
        if (piece.ptr > p) out[count++] = p - piece.ptr;
        if (piece.len) out[count++] = (int64_t)piece.len;
        p = piece.ptr + piece.len;
    }
    return count;
}

static void check_pieces(const struct ig_json *record, const struct token__step *step,
                         const struct ig_json *texts, struct ig_slice pattern)
{
    const struct ig_json *all = ig_json_get(record, "pieces");
    for (uint32_t i = 0; i < texts->count; i++) {
        int64_t got[200], want;
        struct ig_slice text = ig_json_text(&texts->items[i]);
        int count = cut(step, text, got);
        bool same = count == (int)all->items[i].count;
        for (int k = 0; same && k < count; k++)
            same = ig_json_int(&all->items[i].items[k], &want) && want == got[k];
        if (!same)
            fail_msg("'" IG_SLICE_FMT "', behavior %d, inverted %d: other pieces of '" IG_SLICE_FMT
                     "'",
                     IG_SLICE_ARG(pattern), step->behavior, step->invert, IG_SLICE_ARG(text));
    }
}

static void pieces_are_the_reference_s(void **state)
{
    (void)state;
    struct ig_err err = {0};
    struct ig_buf file = {0};
    struct ig_arena arena = {0};
    char path[1000];
    snprintf(path, sizeof path, "%s/golden/token/splits.jsonl", getenv("INGOT_TESTS"));
    check_ok(ig_file_read(path, 1 << 20, &file, &err), &err);
    const char *p = file.data, *end = p + file.len, *line;
    const struct ig_json *texts = NULL;
    int records = 0;
    for (; (line = memchr(p, '\n', (size_t)(end - p))) != NULL; p = line + 1) {
        const struct ig_json *record =
            ig_json_parse(ig_slice_make(p, (size_t)(line - p)), &arena, &err);
        assert_non_null(record);
        if (!texts) {
            texts = ig_json_get(record, "texts");
            continue;
        }
        struct ig_slice pattern = ig_json_text(ig_json_get(record, "pattern"));
        struct token__regex *regex;
        int64_t behavior = 0;
        bool invert = false;
        check_ok(token__regex_new(pattern, &arena, &regex, &err), &err);
        assert_true(ig_json_int(ig_json_get(record, "behavior"), &behavior));
        assert_true(ig_json_bool(ig_json_get(record, "invert"), &invert));
        struct token__step step = token__step_split(regex, (enum token__behavior)behavior, invert);
        check_pieces(record, &step, texts, pattern);
        records++;
    }
    assert_true(records > 150);
    ig_arena_release(&arena);
    ig_buf_release(&file);
}

static void what_is_not_known_is_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"(a", "regex, byte 2: ( is never closed"},
        {"a)", "regex, byte 1: ) closes nothing"},
        {"[a", "regex, byte 2: [ is never closed"},
        {"*a", "regex, byte 0: nothing to repeat"},
        {"a\\", "regex, byte 2: ends in a backslash"},
        {"\\p{Latin}", "regex, byte 3: unknown property 'Latin'"},
        {"\\p{L", "regex, byte 3: \\p{ is never closed"},
        {"(?<=a+)b", "regex, byte 7: a look-behind of varying length"},
        {"(a*)*", "regex, byte 5: a repeat of what may be empty"},
        {"(a|)+", "regex, byte 5: a repeat of what may be empty"},
        {"a{3,2}", "regex, byte 6: a repeat from more to less, or of nothing"},
        {"(?P<x>a)", "regex, byte 1: this kind of group is not supported"},
        {"(?:ab){30000}", "regex, byte 13: too long a repeat"},
        {"[z-a]", "regex, byte 4: not a range"},
        {"\\x{110000}", "regex, byte 10: not a code point"},
        {"(?i)é", "regex, byte 6: (?i) of a letter beyond ASCII"},
        {"", "regex: an empty pattern is not supported"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ig_err err = {0};
        struct ig_arena arena = {0};
        struct token__regex *regex;
        if (token__regex_new(ig_slice_of(bad[i][0]), &arena, &regex, &err))
            fail_msg("accepted: %s", bad[i][0]);
        assert_string_equal(err.text, bad[i][1]);
        ig_arena_release(&arena);
    }
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    char pattern[2002];
    struct ig_err err = {0};
    struct ig_arena arena = {0};
    struct token__regex *regex;
    memset(pattern, '(', 1000);
    pattern[1000] = 'a';
    memset(pattern + 1001, ')', 1000);
    pattern[2001] = '\0';
    assert_false(token__regex_new(ig_slice_of(pattern), &arena, &regex, &err));
    assert_string_equal(err.text, "regex, byte 33: nested too deeply");
    ig_arena_release(&arena);
}

/* (a|aa)+b on a run of a's has more ways than there are atoms: an error, not a wait. */
static void a_match_that_takes_too_long_is_an_error(void **state)
{
    (void)state;
    char text[60];
    struct ig_err err = {0};
    struct ig_arena arena = {0};
    struct token__regex *regex;
    struct regex_match match;
    memset(text, 'a', sizeof text);
    check_ok(token__regex_new(ig_slice_of("(a|aa)+b"), &arena, &regex, &err), &err);
    assert_false(token__regex_find(regex, text, text, text + sizeof text, &match, &err));
    assert_string_equal(err.text, "regex: a text takes too long to match; the pattern tries too "
                                  "many ways");
    ig_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_the_reference_s),
        cmocka_unit_test(what_is_not_known_is_refused),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(a_match_that_takes_too_long_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
