/* SPDX-License-Identifier: Apache-2.0
 * eval_text — perplexity of a text, and the distance to a reference model. */
#include "eval_text.h"

#include "ingot/eval.h"
#include "ingot/hub.h"

static void put_estimate(struct ig_json_writer *w, const char *key, struct ig_estimate e)
{
    char error[64];
    snprintf(error, sizeof error, "%s_error", key);
    ig_json_add_real(w, key, e.value);
    ig_json_add_real(w, error, e.error);
}

static void put_divergence(struct ig_json_writer *w, const char *reference,
                           const struct ig_text_result *r)
{
    char percent[32];
    ig_json_key(w, "kl");
    ig_json_open(w, '{');
    ig_json_add_text(w, "reference", reference);
    put_estimate(w, "reference_ppl", r->reference_ppl);
    put_estimate(w, "ln_ppl_ratio", r->ln_ratio);
    put_estimate(w, "ppl_ratio", r->ratio);
    ig_json_add_real(w, "correlation", r->correlation);
    put_estimate(w, "kld", r->kld);
    ig_json_key(w, "kld_percentiles");
    ig_json_open(w, '{');
    for (int i = 0; i < IG_TEXT_PERCENTS; i++) {
        snprintf(percent, sizeof percent, "%g", ig_text_percents[i]);
        ig_json_add_real(w, percent, r->kld_percentiles[i]);
    }
    ig_json_close(w, '}');
    put_estimate(w, "delta_p", r->delta_p);
    put_estimate(w, "rms_delta_p", r->rms_delta_p);
    put_estimate(w, "same_top", r->same_top);
    ig_json_close(w, '}');
}

static void put_result(struct ig_json_writer *w, const struct ig_text_result *r)
{
    ig_json_key(w, "perplexity");
    ig_json_open(w, '{');
    ig_json_add_int(w, "context", r->context);
    ig_json_add_int(w, "windows", r->windows);
    ig_json_add_int(w, "tokens", r->tokens);
    put_estimate(w, "nll", r->nll);
    put_estimate(w, "ppl", r->ppl);
    ig_json_close(w, '}');
}

static void print_estimate(const char *name, struct ig_estimate e, double scale, const char *unit)
{
    printf("  %-28s %12.6f +- %.6f%s\n", name, scale * e.value, scale * e.error, unit);
}

static void print_result(const char *reference, const struct ig_text_result *r)
{
    printf("  %lld tokens in %lld windows of %lld\n", (long long)r->tokens, (long long)r->windows,
           (long long)r->context);
    print_estimate("perplexity", r->ppl, 1, "");
    if (!r->has_reference) return;
    printf("  against %s\n", reference);
    print_estimate("its perplexity", r->reference_ppl, 1, "");
    print_estimate("ln(ppl / its ppl)", r->ln_ratio, 1, "");
    print_estimate("ppl / its ppl", r->ratio, 1, "");
    printf("  %-28s %12.2f %%\n", "correlation of ln p", 100 * r->correlation);
    print_estimate("KL divergence, mean", r->kld, 1, "");
    for (int i = IG_TEXT_PERCENTS - 1; i >= 0; i--) {
        char name[40];
        double p = ig_text_percents[i];
        snprintf(name, sizeof name, "%.1f %%", p);
        printf("    %-26s %12.6f\n",
               i == 0                      ? "minimum"
               : i == IG_TEXT_PERCENTS - 1 ? "maximum"
               : i == IG_TEXT_PERCENTS / 2 ? "median"
                                           : name,
               r->kld_percentiles[i]);
    }
    print_estimate("delta p, mean", r->delta_p, 100, " %");
    print_estimate("delta p, RMS", r->rms_delta_p, 100, " %");
    print_estimate("same likeliest token", r->same_top, 100, " %");
}

struct opened {
    struct ig_buf name;
    struct ig_model *model;
    struct ig_tokenizer *tokenizer;
};

static bool open_one(const char *path, const struct ig_model_options *how, struct opened *out,
                     struct ig_err *err)
{
    if (!ig_hub_name_of(path, &out->name)) ig_buf_text(&out->name, path);
    return ig_buf_ok(&out->name, err) && ig_model_open_as(path, how, &out->model, err) &&
           ig_tokenizer_open(path, &out->tokenizer, err);
}

static void close_one(struct opened *one)
{
    ig_tokenizer_close(one->tokenizer);
    ig_model_close(one->model);
    ig_buf_release(&one->name);
}

static void show(const struct opened *one, const struct opened *reference,
                 const struct ig_text_result *result, bool json, struct ig_json_writer *w)
{
    cli_watch_clear();
    ig_json_open(w, '{');
    ig_json_key(w, "model");
    ig_json_put_text(w, ig_buf_view(&one->name));
    ig_json_add_text(w, "arithmetic", ig_model_arithmetic(one->model));
    put_result(w, result);
    if (reference->model) put_divergence(w, reference->name.data, result);
    ig_json_close(w, '}');
    if (json) return;
    printf("%s\n", one->name.data);
    print_result(reference->name.data, result);
}

bool eval_text_run(const struct eval_text *asked, const struct ig_watch *watch, struct ig_err *err)
{
    struct ig_buf text = {0};
    struct ig_json_writer w = {.out = &text};
    struct opened reference = {0};
    bool ok = !asked->reference || open_one(asked->reference, &asked->how, &reference, err);
    const struct ig_text_job job = {.path = asked->path,
                                    .context = asked->context,
                                    .windows = asked->windows,
                                    .reference = reference.model,
                                    .reference_tokenizer = reference.tokenizer,
                                    .threads = asked->how.threads,
                                    .watch = watch};
    ig_json_open(&w, '[');
    for (size_t i = 0; ok && i < asked->models.count; i++) {
        struct opened one = {0};
        struct ig_text_result result;
        ok = open_one(asked->models.items[i], &asked->how, &one, err) &&
             ig_eval_text(&job, one.model, one.tokenizer, &result, err);
        if (ok) show(&one, &reference, &result, asked->json, &w);
        close_one(&one);
    }
    ig_json_close(&w, ']');
    if (ok && asked->json) ok = cli_print_json(&text, err);
    close_one(&reference);
    ig_buf_release(&text);
    return ok;
}
