/* SPDX-License-Identifier: Apache-2.0
 * yoyo_trace — yoyo_fusion's members of a sketchbook line (docs/formats/sketchbook.md). */
#include "merge/methods/yoyo.h"

#include <math.h>

static void put_matrix(struct ig_json_writer *w, const char *key, const double *values,
                       int rows_count, int columns, int step)
{
    ig_json_key(w, key);
    ig_json_open(w, '[');
    for (int i = 0; i < rows_count; i++) {
        ig_json_open(w, '[');
        for (int j = 0; j < columns; j++)
            ig_json_put_real(w, values[i * step + j]);
        ig_json_close(w, ']');
    }
    ig_json_close(w, ']');
}

static void put_cosines(const struct merge_case *job, const struct yoyo_state *s,
                        struct ig_json_writer *w)
{
    int k = job->models;
    double cosine[K_MAX * K_MAX];
    const double *g = s->gram;
    bool delta = !yoyo__is_median_center(job);
    for (int i = 0; i < k; i++) {
        for (int j = 0; j < k; j++) {
            double product = g[i * k + j];
            if (delta) {
                product = g[0] + (i ? g[i] : 0) + (j ? g[j] : 0) + (i && j ? g[i * k + j] : 0);
            }
            double norm = s->norm[i] * s->norm[j];
            cosine[i * k + j] = norm > 0 ? fmax(-1, fmin(1, product / norm)) : 0;
        }
    }
    put_matrix(w, "cosine", cosine, k, k, k);
}

/* The output as shares of the models (and of the coordinate-wise median). */
static void put_shares(const struct merge_case *job, const struct yoyo_state *s,
                       struct ig_json_writer *w)
{
    int k = job->models;
    double c[K_MAX], sum = 0;
    bool delta = !yoyo__is_median_center(job);
    for (int i = 0; i < k; i++) {
        double weight = delta ? s->beta[i] : 0;
        double total = 0;
        for (int j = 0; j < k; j++)
            total += s->e[j];
        weight += s->e[i] - (delta ? total * s->beta[i] : 0);
        c[i] = s->factor * weight / s->rho[i];
        sum += s->e[i];
    }
    merge__put_reals(w, "c", c, k);
    if (delta) return;
    ig_json_add_real(w, "c_center", s->factor * (1 - sum));
}

void yoyo__trace(const struct merge_case *job, const void *state, struct ig_json_writer *w)
{
    const struct yoyo_state *s = state;
    const struct yoyo_options *o = job->options;
    int k = job->models;
    double distance[K_MAX];
    for (int i = 0; i < k; i++)
        distance[i] = sqrt(fmax(0, s->rr[i * k + i]));
    ig_json_add_text(w, "center", yoyo__centers[yoyo__center(job)]);
    ig_json_add_text(w, "variant", yoyo__variants[o->variant]);
    merge__put_reals(w, "r", s->r, k);
    merge__put_reals(w, "norm", s->norm, k);
    put_cosines(job, s, w);
    merge__put_reals(w, "distance", distance, k);
    if (!yoyo__is_median_center(job)) merge__put_reals(w, "center_weights", s->beta, k);
    ig_json_add_int(w, "iterations", s->iterations);
    merge__put_reals(w, "singular", s->singular, s->rank);
    ig_json_add_int(w, "rank", s->rank);
    ig_json_key(w, "directions");
    ig_json_open(w, '[');
    for (int n = 0; n < s->kept; n++)
        ig_json_put_int(w, s->direction[n]);
    ig_json_close(w, ']');
    put_matrix(w, "w", s->w, k, s->kept, k);
    merge__put_reals(w, "g", s->g, s->center_only ? 0 : k);
    merge__put_reals(w, "z", s->z, s->kept);
    ig_json_add_real(w, "p", s->p);
    ig_json_add_real(w, "lambda", s->lambda);
    ig_json_add_real(w, "alpha", s->alpha);
    put_shares(job, s, w);
}
