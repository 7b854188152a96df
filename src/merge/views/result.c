/* SPDX-License-Identifier: Apache-2.0
 * result — what another document's recipe makes, as an input: its tensors are views, and nothing of
 * it is on disk.
 *
 * A read makes the cells of the inner merge's own grid that it falls on. Before the first cell of a
 * tensor is mapped, the inner method's rounds go over the whole tensor; the state that they leave
 * is kept in a slot while the tensor is being read. Sums are added in the order of cells and the
 * values are rounded to the inner output's type, as when the inner merge is run by itself: the same
 * bytes. A reader takes a seat, which is a thread's memory of the inner merge and remembers the
 * cell that it made last.
 *
 * A result may have results for inputs. Who holds a seat or a slot waits only for seats and slots
 * further in, so that somebody always goes on. */
#include "merge/merge_internal.h"

#include "base/check.h"

#include <stdlib.h>

struct seat {
    struct merge_worker w;
    bool taken;
    int64_t task, cell; /* of data; -1: none */
    const void *data;
    uint64_t used;
};

struct slot {
    int64_t task; /* whose state it is; -1: nobody's */
    int users;
    bool solved;
    uint64_t used;
    void *state, *memory;
};

struct merge_result {
    struct ig_merge *m;
    struct ig_slice title;
    struct merge_engine e;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ready;
    struct seat *seats; /* one for each thread */
    int seat_count;
    struct slot *slots; /* one more, so that a reader always finds one */
    int slot_count;
    void *memory;       /* of the slots */
    double *sums;       /* cells x count, of the tensor that all threads solve */
    struct seat **mine; /* of each thread that solves it */
    uint64_t clock;
};

/* A tensor of the result. */
struct part {
    struct merge_result *result;
    int64_t task;
};

static bool within(const struct merge_result *r, int64_t task, struct ig_err *err)
{
    if (strncmp(err->text, "stage '", 7) != 0) /* of one further in, which says where */
        merge__within_tensor(r->m->tensors[task].name, err);
    return ig_err_within(err, "stage '" IG_SLICE_FMT "'", IG_SLICE_ARG(r->title));
}

/* ---- memory ---- */

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static size_t slot_bytes(const struct ig_merge *m)
{
    return aligned(m->recipe->method->state_bytes + 1) + aligned(m->whole_bytes);
}

static size_t sums_of_all(const struct ig_merge *m)
{
    int64_t cells = 1;
    for (int64_t i = 0; i < m->count; i++)
        if (m->tasks[i].action == MERGE_SPLIT && merge__cell_count(&m->tasks[i]) > cells)
            cells = merge__cell_count(&m->tasks[i]);
    return (size_t)cells * IG_ROWS_PAIRS((size_t)m->rows_max + 1);
}

uint64_t merge__results_bytes(const struct ig_merge *m) /* NOLINT(misc-no-recursion) */
{
    uint64_t bytes = 0;
    for (int i = 0; i < m->recipe->count; i++) {
        if (!m->inputs[i].result) continue;
        const struct ig_merge *inner = m->inputs[i].result->m;
        bytes += merge__worker_bytes(inner) * (uint64_t)inner->threads +
                 slot_bytes(inner) * ((uint64_t)inner->threads + 1) +
                 sums_of_all(inner) * sizeof(double) + merge__results_bytes(inner);
    }
    return bytes;
}

static bool allocate(struct merge_result *r, struct ig_err *err)
{
    const struct ig_merge *m = r->m;
    size_t each = slot_bytes(m), threads = (size_t)m->threads;
    if (!r->seats) r->seats = calloc(threads, sizeof *r->seats);
    if (!r->slots) r->slots = calloc(threads + 1, sizeof *r->slots);
    if (!r->mine) r->mine = calloc(threads, sizeof(struct seat *));
    if (!r->sums) r->sums = calloc(sums_of_all(m), sizeof *r->sums);
    if (!r->memory) r->memory = aligned_alloc(64, each * (threads + 1));
    if (!r->seats || !r->slots || !r->mine || !r->sums || !r->memory) return ig_err_nomem(err);
    for (; r->seat_count < m->threads; r->seat_count++) {
        struct seat *s = r->seats + r->seat_count;
        s->task = -1;
        if (!merge__worker_new(m, &s->w, err)) return false;
    }
    r->slot_count = m->threads + 1;
    for (int i = 0; i < r->slot_count; i++) {
        char *at = (char *)r->memory + (size_t)i * each;
        r->slots[i] = (struct slot){.task = -1, .state = at};
        if (m->whole_bytes) r->slots[i].memory = at + (each - aligned(m->whole_bytes));
    }
    return true;
}

/* Before the first read; a plan that is only described needs none of it. */
static bool make_ready(struct merge_result *r, struct ig_err *err)
{
    pthread_mutex_lock(&r->lock);
    bool ok = r->ready || allocate(r, err);
    r->ready = ok;
    pthread_mutex_unlock(&r->lock);
    return ok;
}

bool merge__results_ready(struct ig_merge *m, struct ig_err *err) /* NOLINT(misc-no-recursion) */
{
    for (int i = 0; i < m->recipe->count; i++) {
        struct merge_result *r = m->inputs[i].result;
        if (!r) continue;
        r->m->watch = m->watch;
        r->m->watch_lock = m->watch_lock;
        if (!make_ready(r, err) || !merge__results_ready(r->m, err)) return false;
    }
    return true;
}

/* ---- seats ---- */

/* The one that has the cell, else the one that was left first; waits while all are taken. */
static struct seat *take_seat(struct merge_result *r, int64_t task, int64_t cell)
{
    struct seat *best = NULL;
    pthread_mutex_lock(&r->lock);
    for (;;) {
        for (int i = 0; i < r->seat_count; i++) {
            struct seat *s = r->seats + i;
            if (s->taken) continue;
            if (!best || s->used < best->used) best = s;
            if (s->task < 0 || s->task != task || s->cell != cell) continue;
            best = s;
            break;
        }
        if (best) break;
        pthread_cond_wait(&r->changed, &r->lock);
    }
    best->taken = true;
    pthread_mutex_unlock(&r->lock);
    return best;
}

static void leave_seat(struct merge_result *r, struct seat *s)
{
    pthread_mutex_lock(&r->lock);
    s->taken = false;
    s->used = ++r->clock;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

/* ---- the method's rounds over one tensor ---- */

struct solving {
    struct merge_result *r;
    const struct merge_task *task;
    const struct slot *slot;
    int round, count;
    int64_t parts;
};

static bool reduce_cell(const struct solving *s, struct seat *seat, int64_t index, double *sums,
                        struct ig_err *err)
{
    const struct merge_result *r = s->r;
    struct merge_cell cell = merge__cell_at(s->task, index, s->slot->memory);
    cell.part = merge__part_of(r->m, s->task, index);
    if (!merge__read_cell(&r->e, &seat->w, &cell, err)) return false;
    merge__reduce_cell(&r->e, &seat->w, &cell, s->slot->state, s->round, sums, s->count);
    return true;
}

static void clear_tallies(const struct solving *s, struct seat *seat)
{
    int64_t count = merge__tallies_of(s->r->m, s->task);
    if (count) memset(seat->w.tallies, 0, (size_t)count * sizeof(uint64_t));
}

/* A thread keeps its seat to the end of the rounds: its tallies are in it. */
static bool reduce_part(void *user, int thread, int64_t index, struct ig_err *err)
{
    const struct solving *s = user;
    struct merge_result *r = s->r;
    int64_t cells = merge__cell_count(s->task);
    if (!r->mine[thread]) {
        r->mine[thread] = take_seat(r, -1, -1);
        r->mine[thread]->task = -1;
        clear_tallies(s, r->mine[thread]);
    }
    for (int64_t c = index * cells / s->parts; c < (index + 1) * cells / s->parts; c++)
        if (!reduce_cell(s, r->mine[thread], c, r->sums + c * s->count, err)) return false;
    return true;
}

/* By all threads: sums, and a seat that has all tallies. */
static bool reduce_shared(const struct solving *s, struct ig_pool *pool, double *total,
                          struct seat **out, struct ig_err *err)
{
    struct merge_result *r = s->r;
    int64_t cells = merge__cell_count(s->task), count = merge__tallies_of(r->m, s->task);
    struct solving copy = *s;
    *out = NULL;
    for (int t = 0; t < r->seat_count; t++)
        if (r->mine[t]) clear_tallies(s, r->mine[t]);
    if (!ig_pool_each(pool, s->parts, reduce_part, &copy, err)) return false;
    for (int64_t c = 0; c < cells; c++)
        for (int i = 0; i < s->count; i++)
            total[i] += r->sums[c * s->count + i];
    for (int t = 0; t < r->seat_count; t++) {
        struct seat *seat = r->mine[t];
        if (!seat) continue;
        for (int64_t i = 0; *out && i < count; i++)
            (*out)->w.tallies[i] += seat->w.tallies[i];
        if (!*out) *out = seat;
    }
    return true;
}

static bool reduce_alone(const struct solving *s, struct seat *seat, double *total,
                         struct ig_err *err)
{
    double part[IG_ROWS_PAIRS(MERGE_MODELS_MAX + 1)];
    clear_tallies(s, seat);
    for (int64_t c = 0; c < merge__cell_count(s->task); c++) {
        if (!reduce_cell(s, seat, c, part, err)) return false;
        for (int i = 0; i < s->count; i++)
            total[i] += part[i];
    }
    return true;
}

static bool solve_rounds(struct solving *s, struct seat *seat, struct ig_pool *pool,
                         struct ig_err *err)
{
    const struct ig_merge *m = s->r->m;
    double total[IG_ROWS_PAIRS(MERGE_MODELS_MAX + 1)];
    while ((s->count = merge__sums_of(m, s->task, s->slot->state, s->round)) >= 0) {
        memset(total, 0, (size_t)s->count * sizeof *total);
        if (!(pool ? reduce_shared(s, pool, total, &seat, err) : reduce_alone(s, seat, total, err)))
            return false;
        if (!merge__all_finite(total, s->count))
            return merge__refuse_nonfinite(&s->r->e, &seat->w, s->task, err);
        const struct merge_totals totals = {.sums = total,
                                            .tallies = seat->w.tallies,
                                            .memory = s->slot->memory,
                                            .cells = merge__cell_count(s->task)};
        if (!m->recipe->method->solve(&s->task->job, s->slot->state, s->round, &totals, err))
            return false;
        s->round++;
    }
    return true;
}

/* seat is the caller's; with a pool it is NULL, and each thread takes its own. */
static bool solve(struct merge_result *r, const struct slot *slot, struct seat *seat,
                  struct ig_pool *pool, struct ig_err *err)
{
    const struct merge_method *method = r->m->recipe->method;
    struct solving s = {.r = r, .task = r->m->tasks + slot->task, .slot = slot};
    int64_t cells = merge__cell_count(s.task);
    s.parts = method->parts ? method->parts(&s.task->job, cells) : 0;
    if (s.parts <= 0) s.parts = cells;
    memset(slot->state, 0, method->state_bytes);
    if (slot->memory) memset(slot->memory, 0, merge__memory_of(r->m, s.task));
    bool ok = solve_rounds(&s, seat, pool, err);
    for (int t = 0; pool && t < r->seat_count; t++) {
        if (r->mine[t]) leave_seat(r, r->mine[t]);
        r->mine[t] = NULL;
    }
    return ok;
}

/* ---- slots ---- */

/* The tensor's slot, or the one that nobody has used for longest. */
static struct slot *find_slot(struct merge_result *r, int64_t task)
{
    struct slot *best = NULL;
    for (int i = 0; i < r->slot_count; i++) {
        struct slot *s = r->slots + i;
        if (s->task == task) return s;
        if (s->users == 0 && (!best || s->used < best->used)) best = s;
    }
    IG_ASSERT(best);
    return best;
}

/* The slot with the tensor's state, which is found first if need be; to be left. */
static struct slot *take_slot(struct merge_result *r, int64_t task, struct seat *seat,
                              struct ig_pool *pool, struct ig_err *err)
{
    struct slot *s;
    bool ok = true;
    pthread_mutex_lock(&r->lock);
    while ((s = find_slot(r, task))->task == task && !s->solved)
        pthread_cond_wait(&r->changed, &r->lock);
    s->users++;
    if (s->task != task) {
        s->task = task;
        s->solved = false;
        pthread_mutex_unlock(&r->lock);
        ok = solve(r, s, seat, pool, err);
        pthread_mutex_lock(&r->lock);
        s->solved = ok;
        if (!ok) {
            s->task = -1;
            s->users--;
        }
        pthread_cond_broadcast(&r->changed);
    }
    pthread_mutex_unlock(&r->lock);
    return ok ? s : NULL;
}

static void leave_slot(struct merge_result *r, struct slot *s)
{
    pthread_mutex_lock(&r->lock);
    s->users--;
    s->used = ++r->clock;
    pthread_mutex_unlock(&r->lock);
}

/* ---- reading ---- */

static bool map_cell(struct merge_result *r, struct seat *seat, int64_t index, int64_t at,
                     struct ig_err *err)
{
    const struct merge_task *task = r->m->tasks + index;
    struct slot *slot = take_slot(r, index, seat, NULL, err);
    if (!slot) return false;
    struct merge_cell cell = merge__cell_at(task, at, slot->memory);
    bool ok = merge__read_cell(&r->e, &seat->w, &cell, err);
    if (ok && !merge__map_cell(&r->e, &seat->w, &cell, slot->state))
        ok = merge__refuse_nonfinite(&r->e, &seat->w, task, err);
    leave_slot(r, slot);
    seat->data = seat->w.cell;
    return ok;
}

/* Cell `at` of the tensor into the seat, unless it is there. */
static bool make_cell(struct merge_result *r, struct seat *seat, int64_t index, int64_t at,
                      struct ig_err *err)
{
    const struct merge_task *task = r->m->tasks + index;
    if (seat->task == index && seat->cell == at) return true;
    seat->task = -1;
    if (task->action == MERGE_SPLIT) {
        if (!map_cell(r, seat, index, at, err)) return false;
    } else {
        struct merge_cell cell = merge__cell_at(task, at, NULL);
        if (!merge__copy_cell(&r->e, &seat->w, &cell, &seat->data, err)) return false;
    }
    seat->task = index;
    seat->cell = at;
    return true;
}

static bool read_result(const struct merge_input *in, const struct merge_view *v, int64_t first,
                        int64_t count, void *to, struct ig_err *err)
{
    const struct part *part = v->own;
    struct merge_result *r = part->result;
    int64_t step = r->m->tasks[part->task].cell_elems;
    size_t size = ig_dtype_bytes(v->tensor.dtype);
    unsigned char *out = to;
    (void)in;
    if (!make_ready(r, err)) return false;
    while (count > 0) {
        int64_t at = first / step, skip = first % step;
        int64_t n = step - skip < count ? step - skip : count;
        struct seat *seat = take_seat(r, part->task, at);
        bool ok = make_cell(r, seat, part->task, at, err);
        if (ok)
            memcpy(out, (const unsigned char *)seat->data + (size_t)skip * size, (size_t)n * size);
        leave_seat(r, seat);
        if (!ok) return within(r, part->task, err);
        out += (size_t)n * size;
        first += n;
        count -= n;
    }
    return true;
}

/* The rounds of a large tensor are all threads' work, the innermost result's first. */
bool merge__results_solve(const struct ig_merge *m, /* NOLINT(misc-no-recursion) */
                          const struct merge_task *task, struct ig_pool *pool, struct ig_err *err)
{
    for (int i = 0; i < task->rows; i++) {
        const struct merge_view *v = task->inputs[i] ? merge__view_of(task->inputs[i]) : NULL;
        if (!v || v->read != read_result || !m->inputs[task->models[i]].result) continue;
        const struct part *part = v->own;
        struct merge_result *r = part->result;
        const struct merge_task *inner = r->m->tasks + part->task;
        if (inner->action != MERGE_SPLIT) continue;
        if (!merge__results_solve(r->m, inner, pool, err)) return within(r, part->task, err);
        struct slot *slot = take_slot(r, part->task, NULL, pool, err);
        if (!slot) return within(r, part->task, err);
        leave_slot(r, slot);
    }
    return true;
}

/* ---- opening ---- */

static int compare_names(const void *a, const void *b)
{
    const struct ig_tensor *const *x = a, *const *y = b;
    return ig_slice_compare((*x)->name, (*y)->name);
}

/* In the order of a folder's. */
static bool list_views(struct ig_merge *m, struct merge_input *in, struct ig_err *err)
{
    const struct ig_merge *inner = in->result->m;
    in->count = inner->count;
    in->tensors = ig_arena_array(&m->arena, (size_t)in->count, sizeof *in->tensors);
    if (!in->tensors) return ig_err_nomem(err);
    for (int64_t i = 0; i < in->count; i++) {
        const struct ig_tensor *t = inner->tensors + i;
        struct merge_view *v = merge__view_new(&m->arena, t, t->name, err);
        struct part *part = v ? ig_arena_new(&m->arena, sizeof *part) : NULL;
        if (!part) return ig_err_nomem(err);
        *part = (struct part){in->result, i};
        v->like = t->dtype;
        v->own = part;
        v->read = read_result;
        in->tensors[i] = &v->tensor;
    }
    qsort(in->tensors, (size_t)in->count, sizeof *in->tensors, compare_names);
    return merge__input_index(in, err);
}

bool merge__result_open(struct ig_merge *m, int i, const struct ig_watch *watch, struct ig_err *err)
{
    struct merge_input *in = &m->inputs[i];
    const struct ig_recipe *recipe = m->recipe->models[i].stage;
    const struct ig_merge_job job = {.recipe = recipe,
                                     .out = m->job.out,
                                     .threads = m->threads,
                                     .memory_bytes = m->job.memory_bytes,
                                     .dist = m->job.dist,
                                     .states = m->job.states};
    struct merge_result *r = calloc(1, sizeof *r);
    if (!r) return ig_err_nomem(err);
    in->result = r;
    r->title = recipe->title;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    if (!merge__plan_result(&job, watch, &r->m, err))
        return ig_err_within(err, "stage '" IG_SLICE_FMT "'", IG_SLICE_ARG(r->title));
    if (!merge__engine_init(&r->e, r->m, err)) return false;
    in->convert = r->e.convert;
    in->store = r->m->stores[r->m->donor]; /* whose other files it has */
    in->config = r->m->config;
    m->stores[i] = in->store;
    m->input_bytes += r->m->input_bytes;
    return list_views(m, in, err);
}

const struct ig_merge *merge__result_of(const struct merge_input *in)
{
    return in->result ? in->result->m : NULL;
}

void merge__result_close(struct merge_result *r)
{
    for (int i = 0; i < r->seat_count; i++)
        merge__worker_free(&r->seats[i].w);
    free(r->seats);
    free(r->slots);
    free(r->mine);
    free(r->sums);
    free(r->memory);
    ig_merge_close(r->m);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
