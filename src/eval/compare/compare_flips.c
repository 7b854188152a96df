/* SPDX-License-Identifier: Apache-2.0
 * compare_flips — the items that changed side, read again at their places for their texts. */
#include "eval/compare/compare_internal.h"

#include "base/file.h"
#include <stdlib.h>
#include <unistd.h>

struct flips {
    int fd; /* of the model's samples */
    const struct compare_part *base, *part;
    struct ig_compare_flip *flip;
    bool (*each)(void *user, const struct ig_compare_flip *flip);
    void *user;
    bool stopped;
};

static bool show_flip(struct flips *f, int64_t index, struct ig_err *err)
{
    const struct compare_item *a = &f->base->items[index], *b = &f->part->items[index];
    struct compare_metric metric = f->part->metric;
    struct ig_arena arena = {0};
    struct compare_sample *sample = ig_arena_new(&arena, sizeof *sample);
    char *line = ig_arena_new(&arena, b->bytes);
    bool ok = (sample && line) || ig_err_nomem(err);
    ok = ok && ig_file_pread(f->fd, f->part->path, b->offset, line, b->bytes, err) &&
         eval__sample_read(ig_slice_make(line, b->bytes), &metric, &arena, sample, err);
    if (ok) {
        struct ig_compare_flip *flip = f->flip;
        flip->doc = b->doc;
        flip->gained = b->right;
        flip->has_margin = a->has_margin && b->has_margin;
        flip->margin = b->margin;
        flip->margin_base = a->margin;
        flip->gold = b->gold;
        flip->pick = b->pick;
        flip->pick_base = a->pick;
        flip->count = sample->count;
        flip->contexts = sample->contexts;
        flip->choices = sample->choices;
        f->stopped = !f->each(f->user, flip);
    } else {
        ig_err_within(err, "'%s', line %lld (changed since it was read?)", f->part->path,
                      (long long)b->line);
    }
    ig_arena_release(&arena);
    return ok;
}

bool ig_compare_flips(const struct ig_comparison *comparison, int model, int task,
                      bool (*each)(void *user, const struct ig_compare_flip *flip), void *user,
                      struct ig_err *err)
{
    const struct compare *c = (const struct compare *)comparison;
    struct ig_compare_flip flip = {.model = model};
    struct flips f = {.flip = &flip, .each = each, .user = user};
    int count = comparison->task_count;
    bool ok = true;
    for (int t = 0; ok && !f.stopped && t < count; t++) {
        f.base = c->grid[comparison->baseline * count + t];
        f.part = c->grid[model * count + t];
        if ((task >= 0 && t != task) || !f.base || !f.part) continue;
        flip.task = comparison->tasks[t].name;
        f.fd = ig_file_open(f.part->path, err);
        ok = f.fd >= 0;
        for (int64_t i = 0; ok && !f.stopped && i < f.part->count; i++)
            if (f.base->items[i].right != f.part->items[i].right) ok = show_flip(&f, i, err);
        if (f.fd >= 0) close(f.fd);
    }
    return ok;
}
