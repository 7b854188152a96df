/* SPDX-License-Identifier: Apache-2.0
 * spans — trees of spans score, to the bit, as the sequences that they hold, on every instruction
 * set. */
#include "base/file.h"
#include "check.h"
#include "ingot/infer.h"
#include "tensor/cpu.h"

#include <stdio.h>
#include <stdlib.h>

enum { POSITIONS = 220 };

struct golden {
    char dir[IG_PATH_MAX];
    struct ig_buf ids;
    const int32_t *tokens;
};

struct run {
    struct ig_model *model;
    struct ig_session *session;
};

static void each(void (*check)(const struct golden *g, struct run *r))
{
    static const char *const folders[] = {"plain",       "mixed",     "mistral",
                                          "gemma3_text", "qwen3_moe", "qwen3_next"};
    const char *tests = getenv("INGOT_TESTS");
    struct ig_err err = {0};
    for (int isa = 0; isa < IG_ISA_COUNT; isa++) {
        if (!ig_isa_available((enum ig_isa)isa)) continue;
        setenv("IG_KERNELS", ig_isa_name((enum ig_isa)isa), 1);
        for (size_t f = 0; f < sizeof folders / sizeof *folders; f++) {
            struct golden g = {0};
            struct run r;
            snprintf(g.dir, sizeof g.dir, "%s/golden/infer/%s", tests ? tests : "tests",
                     folders[f]);
            char path[IG_PATH_MAX + 16];
            snprintf(path, sizeof path, "%s/ids.bin", g.dir);
            check_ok(ig_file_read(path, 1 << 20, &g.ids, &err), &err);
            assert_int_equal(g.ids.len, POSITIONS * sizeof(int32_t));
            g.tokens = (const int32_t *)(const void *)g.ids.data;
            check_ok(ig_model_open(g.dir, 2, &r.model, &err), &err);
            check_ok(ig_session_new(r.model, 0, &r.session, &err), &err);
            check(&g, &r);
            ig_session_free(r.session);
            ig_model_close(r.model);
            ig_buf_release(&g.ids);
        }
    }
    unsetenv("IG_KERNELS");
}

/* The golden sequence as one span; as a tree with decoys; each alone. All to the bit what
 * ig_session_score says of the sequence. */
struct tree {
    struct ig_span spans[64];
    struct ig_target targets[8 * POSITIONS];
    int64_t span_count, target_count;
    int64_t every; /* only so many positions are scored; 0: all */
};

static void grow(struct tree *t, const struct golden *g, int64_t at, int64_t count, int64_t parent)
{
    t->spans[t->span_count] = (struct ig_span){g->tokens + at, count, parent};
    for (int64_t i = 0; i < count; i++) {
        int32_t next = g->tokens[at + i + 1 == POSITIONS ? 0 : at + i + 1];
        if (t->every && (at + i) % t->every) continue;
        t->targets[t->target_count++] = (struct ig_target){t->span_count, i, next};
        if (i % 5 == 0) /* two targets in one place */
            t->targets[t->target_count++] = (struct ig_target){t->span_count, i, 7};
    }
    t->span_count++;
}

static void compare_tree(const struct golden *g, struct run *r, const struct tree *t,
                         const double *want, const bool *best)
{
    struct ig_err err = {0};
    static struct ig_scored got[8 * POSITIONS];
    check_ok(ig_session_score_spans(r->session, t->spans, (size_t)t->span_count, t->targets,
                                    (size_t)t->target_count, got, &err),
             &err);
    assert_int_equal(ig_session_length(r->session), 0);
    for (int64_t i = 0; i < t->target_count; i++) {
        const struct ig_target *target = &t->targets[i];
        int64_t at = t->spans[target->span].tokens - g->tokens + target->index;
        int64_t from = 0; /* only what is a prefix of the golden sequence can be compared */
        for (int64_t s = target->span; s >= 0; s = t->spans[s].parent)
            from += s == target->span ? target->index : t->spans[s].count;
        if (from != at || at + 1 >= POSITIONS || target->token != g->tokens[at + 1]) continue;
        assert_true(got[i].logprob == want[at]);
        assert_int_equal(got[i].greedy, best[at]);
    }
}

/* In the last layer rows that are not scored end early; the others do not change. */
static void compare_sparse(const struct golden *g, struct run *r, const double *want,
                           const bool *best)
{
    static struct tree t;
    struct ig_err err = {0};
    double got[POSITIONS];
    bool greedy[POSITIONS];
    for (int every = 2; every < POSITIONS; every *= 4) {
        int32_t targets[POSITIONS];
        for (int i = 0; i < POSITIONS - 1; i++)
            targets[i] = i % every ? -1 : g->tokens[i + 1];
        ig_session_trim(r->session, 0);
        check_ok(ig_session_score(r->session, g->tokens, targets, POSITIONS - 1, got, greedy, &err),
                 &err);
        for (int i = 0; i < POSITIONS - 1; i += every) {
            assert_true(got[i] == want[i]);
            assert_int_equal(greedy[i], best[i]);
        }
    }
    /* More rows than a batch has, so that it ends within trees; some batches score nothing. */
    for (int64_t every = 1; every <= POSITIONS; every += 146) {
        memset(&t, 0, sizeof t);
        t.every = every;
        for (int i = 0; i < 14; i++) {
            grow(&t, g, 0, 40 + i, -1);
            grow(&t, g, 40 + i, 1 + i, 3 * i);
            grow(&t, g, 40 + i, 30, 3 * i);
        }
        compare_tree(g, r, &t, want, best);
    }
}

static void compare_spans(const struct golden *g, struct run *r)
{
    struct ig_err err = {0};
    double want[POSITIONS];
    bool best[POSITIONS];
    static struct tree t;
    memset(&t, 0, sizeof t);
    check_ok(
        ig_session_score(r->session, g->tokens, g->tokens + 1, POSITIONS - 1, want, best, &err),
        &err);
    grow(&t, g, 0, POSITIONS, -1);
    compare_tree(g, r, &t, want, best);
    memset(&t, 0, sizeof t);
    grow(&t, g, 50, 31, -1); /* another tree before it */
    grow(&t, g, 0, 60, -1);
    grow(&t, g, 10, 23, 1); /* a branch that goes astray */
    grow(&t, g, 60, 1, 1);
    grow(&t, g, 61, 30, 3);
    grow(&t, g, 100, 9, 3);
    grow(&t, g, 91, 80, 4);
    grow(&t, g, 0, 3, -1); /* and one after it, from its start */
    compare_tree(g, r, &t, want, best);
    compare_sparse(g, r, want, best);
    /* A session of 90 tokens takes batches of 90. */
    struct ig_session *whole = r->session;
    check_ok(ig_session_new(r->model, 90, &r->session, &err), &err);
    memset(&t, 0, sizeof t);
    for (int i = 0; i < 5; i++) {
        grow(&t, g, 0, 20 + i, -1);
        grow(&t, g, 20 + i, 13, 3 * i);
        grow(&t, g, 20 + i, 30, 3 * i);
    }
    compare_tree(g, r, &t, want, best);
    grow(&t, g, 0, 91, -1);
    struct ig_scored out[8 * POSITIONS];
    check_fails(ig_session_score_spans(r->session, t.spans, (size_t)t.span_count, t.targets,
                                       (size_t)t.target_count, out, &err),
                &err, IG_ERR_DATA, "91 tokens that share a prefix do not fit the context of 90");
    ig_session_free(r->session);
    r->session = whole;
}

static void spans_score_as_their_sequences(void **state)
{
    (void)state;
    each(compare_spans);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_score_as_their_sequences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
