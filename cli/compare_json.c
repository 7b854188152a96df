/* SPDX-License-Identifier: Apache-2.0
 * compare_json — a comparison for machines; the keys are listed in docs/compare.md. */
#include "cli.h"
#include "compare.h"

static const char *verdict_name(enum ig_verdict verdict)
{
    static const char *const names[] = {NULL, "not distinguishable", "better", "worse"};
    return names[verdict];
}

static void put_tasks(struct ig_json_writer *w, const struct ig_comparison *c)
{
    ig_json_key(w, "tasks");
    ig_json_open(w, '[');
    for (int t = 0; t < c->task_count; t++) {
        const struct ig_compare_task *task = &c->tasks[t];
        ig_json_open(w, '{');
        ig_json_add_text(w, "task", task->name);
        ig_json_add_text(w, "metric", task->metric);
        ig_json_add_int(w, "items", task->items);
        ig_json_add_int(w, "clusters", task->clusters);
        ig_json_add_text(w, "cluster", task->cluster_word);
        ig_json_key(w, "shots");
        if (task->shots >= 0)
            ig_json_put_int(w, task->shots);
        else
            ig_json_put_null(w);
        ig_json_close(w, '}');
    }
    ig_json_close(w, ']');
}

static void put_scores(struct ig_json_writer *w, const struct ig_comparison *c,
                       const struct ig_compare_model *model)
{
    ig_json_key(w, "scores");
    ig_json_open(w, '[');
    for (int t = 0; t < c->task_count; t++) {
        const struct ig_compare_score *s = &model->scores[t];
        if (!s->items) continue;
        ig_json_open(w, '{');
        ig_json_add_text(w, "task", c->tasks[t].name);
        ig_json_add_int(w, "items", s->items);
        ig_json_add_int(w, "right", s->right);
        ig_json_add_real(w, "value", s->value);
        ig_json_add_real(w, "stderr", s->error);
        ig_json_close(w, '}');
    }
    ig_json_close(w, ']');
}

static void put_pair(struct ig_json_writer *w, const struct ig_comparison *c, int model, int task)
{
    const struct ig_compare_pair *p = &c->models[model].pairs[task];
    struct ig_buf words = {0};
    ig_json_open(w, '{');
    ig_json_add_text(w, "task", c->tasks[task].name);
    ig_json_add_text(w, "verdict", verdict_name(p->verdict));
    ig_compare_verdict(c, model, task, &words);
    ig_json_add_text(w, "words", words.data);
    ig_buf_release(&words);
    ig_json_add_int(w, "gained", p->gained);
    ig_json_add_int(w, "lost", p->lost);
    ig_json_add_real(w, "difference", p->difference);
    ig_json_add_real(w, "low", p->low);
    ig_json_add_real(w, "high", p->high);
    ig_json_add_real(w, "p", p->p);
    ig_json_add_real(w, "p_holm", p->p_holm);
    ig_json_add_real(w, "design_effect", p->design);
    ig_json_add_real(w, "detectable", p->detectable);
    if (c->plan > 0) ig_json_add_real(w, "items_needed", p->planned);
    if (p->has_margin) {
        ig_json_add_real(w, "margin_change", p->margin_change);
        ig_json_add_real(w, "margin_p", p->margin_p);
        ig_json_add_real(w, "margin_p_holm", p->margin_p_holm);
    }
    ig_json_close(w, '}');
}

static void put_against(struct ig_json_writer *w, const struct ig_comparison *c, int model)
{
    const struct ig_compare_mean *m = &c->models[model].mean;
    ig_json_add_text(w, "profile", c->models[model].profile);
    ig_json_key(w, "pairs");
    ig_json_open(w, '[');
    for (int t = 0; t < c->task_count; t++)
        if (c->models[model].pairs[t].verdict != IG_VERDICT_NONE) put_pair(w, c, model, t);
    ig_json_close(w, ']');
    ig_json_key(w, "mean_pair");
    ig_json_open(w, '{');
    ig_json_add_text(w, "verdict", verdict_name(m->verdict));
    ig_json_add_real(w, "difference", m->difference);
    ig_json_add_real(w, "low", m->low);
    ig_json_add_real(w, "high", m->high);
    ig_json_add_real(w, "stderr", m->error);
    ig_json_add_real(w, "p", m->p);
    ig_json_close(w, '}');
}

struct flip_writer {
    struct ig_json_writer *w;
    const struct ig_comparison *c;
};

static void put_texts(struct ig_json_writer *w, const char *key, const struct ig_slice *texts,
                      int count)
{
    ig_json_key(w, key);
    ig_json_open(w, '[');
    for (int i = 0; i < count; i++)
        ig_json_put_text(w, texts[i]);
    ig_json_close(w, ']');
}

static bool put_flip(void *user, const struct ig_compare_flip *flip)
{
    const struct flip_writer *f = user;
    struct ig_json_writer *w = f->w;
    ig_json_open(w, '{');
    ig_json_add_text(w, "model", f->c->models[flip->model].name);
    ig_json_add_text(w, "task", flip->task);
    ig_json_add_int(w, "doc_id", flip->doc);
    ig_json_add_text(w, "side", flip->gained ? "gained" : "lost");
    if (flip->has_margin) {
        ig_json_add_real(w, "margin", flip->margin);
        ig_json_add_real(w, "margin_baseline", flip->margin_base);
    }
    ig_json_add_int(w, "gold", flip->gold);
    ig_json_add_int(w, "pick", flip->pick);
    ig_json_add_int(w, "pick_baseline", flip->pick_base);
    put_texts(w, "contexts", flip->contexts, flip->count);
    put_texts(w, "choices", flip->choices, flip->count);
    ig_json_close(w, '}');
    return true;
}

static bool put_flips(struct ig_json_writer *w, const struct ig_comparison *c, struct ig_err *err)
{
    struct flip_writer f = {w, c};
    ig_json_key(w, "flips");
    ig_json_open(w, '[');
    for (int i = 0; i < c->model_count; i++)
        if (i != c->baseline && !ig_compare_flips(c, i, -1, put_flip, &f, err)) return false;
    ig_json_close(w, ']');
    return true;
}

bool cli_compare_json(const struct ig_comparison *c, bool flips, struct ig_json_writer *w,
                      struct ig_err *err)
{
    ig_json_open(w, '{');
    ig_json_add_text(w, "baseline", c->models[c->baseline].name);
    ig_json_add_int(w, "rounds", c->rounds);
    ig_json_add_int(w, "seed", (int64_t)c->seed);
    ig_json_add_int(w, "mean_tasks", c->mean_tasks);
    if (c->plan > 0) ig_json_add_real(w, "plan", c->plan);
    put_tasks(w, c);
    ig_json_key(w, "models");
    ig_json_open(w, '[');
    for (int i = 0; i < c->model_count; i++) {
        ig_json_open(w, '{');
        ig_json_add_text(w, "model", c->models[i].name);
        ig_json_add_text(w, "path", c->models[i].path);
        put_scores(w, c, &c->models[i]);
        ig_json_add_real(w, "mean", c->models[i].mean.value);
        if (i != c->baseline) put_against(w, c, i);
        ig_json_close(w, '}');
    }
    ig_json_close(w, ']');
    ig_json_key(w, "notes");
    ig_json_open(w, '[');
    for (int i = 0; i < c->note_count; i++)
        ig_json_put_text(w, ig_slice_of(c->notes[i]));
    ig_json_close(w, ']');
    if (flips && !put_flips(w, c, err)) return false;
    ig_json_close(w, '}');
    return true;
}
