/* SPDX-License-Identifier: Apache-2.0
 * talk — a conversation is rendered whole at each turn; what the session already holds of it (the
 * common prefix of token ids) is not read again. */
#include "talk.h"

#include "cli.h"

#include <stdlib.h>
#include <sys/resource.h>

const char *const talk_ropes[] = {"as-config", "as-mlx-lm", NULL};

uint64_t talk_peak_bytes(void)
{
    struct rusage use;
    return getrusage(RUSAGE_SELF, &use) == 0 ? (uint64_t)use.ru_maxrss * 1024 : 0;
}

bool talk_open(const char *model, const struct talk_options *options, bool raw, struct talk *talk,
               struct ig_err *err)
{
    *talk = (struct talk){.options = *options, .to = stdout};
    const struct ig_model_options how = {.threads = (int)options->threads,
                                         .exact = options->exact,
                                         .rope_as_mlx = options->rope == 1};
    bool ok = ig_model_open_as(model, &how, &talk->model, err) &&
              ig_tokenizer_open(model, &talk->tokenizer, err) &&
              ig_session_new(talk->model, options->context, &talk->session, err);
    if (ok && !raw) {
        if (!ig_template_exists(model))
            ok = ig_err_set(err, IG_ERR_DATA,
                            "'%s' has no chat template; --raw takes the prompt as it is", model);
        else
            ok = ig_template_open(model, false, &talk->tmpl, err);
    }
    if (!ok) talk_close(talk);
    return ok;
}

void talk_close(struct talk *talk)
{
    ig_stream_free(talk->stream);
    ig_session_free(talk->session);
    ig_template_close(talk->tmpl);
    ig_tokenizer_close(talk->tokenizer);
    ig_model_close(talk->model);
    ig_ids_release(&talk->ids);
    ig_buf_release(&talk->text);
    free(talk->logprobs);
    *talk = (struct talk){0};
}

static bool keep_token(struct talk *talk, int32_t token, double logprob)
{
    struct ig_ids *ids = &talk->ids;
    if (ids->count == ids->cap) {
        size_t cap = ids->cap ? ids->cap * 2 : 64;
        int32_t *items = realloc(ids->items, cap * sizeof(*items));
        if (!items) return ig_err_nomem(&talk->stream_err);
        ids->items = items;
        ids->cap = cap;
    }
    size_t index = ids->count - talk->prompt_count;
    if (index >= talk->logprob_cap) {
        size_t cap = index * 2 + 64;
        double *logprobs = realloc(talk->logprobs, cap * sizeof(*logprobs));
        if (!logprobs) return ig_err_nomem(&talk->stream_err);
        talk->logprobs = logprobs;
        talk->logprob_cap = cap;
    }
    talk->logprobs[index] = logprob;
    ids->items[ids->count++] = token;
    return true;
}

static void show(struct talk *talk, size_t from)
{
    if (!talk->to || talk->text.len == from) return;
    fwrite(talk->text.data + from, 1, talk->text.len - from, talk->to);
    fflush(talk->to);
}

static bool on_token(void *user, int32_t token, double logprob)
{
    struct talk *talk = user;
    size_t from = talk->text.len;
    if (!keep_token(talk, token, logprob) ||
        !ig_stream_push(talk->stream, token, &talk->text, &talk->stream_err))
        return false;
    show(talk, from);
    return !cli_interrupted();
}

/* How many of the first tokens of ids the session holds. */
static size_t common_prefix(const struct talk *talk, const struct ig_ids *before, size_t held)
{
    size_t n = 0, limit = held < before->count ? held : before->count;
    while (n < limit && n < talk->ids.count && before->items[n] == talk->ids.items[n])
        n++;
    return n == talk->ids.count && n ? n - 1 : n; /* at least one token has to be fed */
}

static bool generate(struct talk *talk, struct ig_slice prompt, bool add_special,
                     struct ig_err *err)
{
    struct ig_ids before = talk->ids;
    bool ok = false;
    talk->ids = (struct ig_ids){0};
    if (!ig_tokenizer_encode(talk->tokenizer, prompt, add_special, &talk->ids, err)) goto done;
    if (talk->ids.count == 0) {
        ig_err_set(err, IG_ERR_USAGE, "the prompt is empty");
        goto done;
    }
    size_t kept = common_prefix(talk, &before, (size_t)ig_session_length(talk->session));
    kept = (size_t)ig_session_trim(talk->session, (int64_t)kept);
    talk->prompt_count = talk->ids.count;
    ig_buf_clear(&talk->text);
    ig_stream_free(talk->stream);
    talk->stream = NULL;
    if (!ig_stream_new(talk->tokenizer, true, &talk->stream, err)) goto done;
    int32_t *fed = malloc((talk->ids.count - kept) * sizeof(*fed));
    if (!fed) {
        ig_err_nomem(err);
        goto done;
    }
    memcpy(fed, talk->ids.items + kept, (talk->ids.count - kept) * sizeof(*fed));
    const struct talk_options *o = &talk->options;
    struct ig_generate_job job = {
        .prompt = fed,
        .prompt_count = talk->ids.count - kept,
        .tokens_max = o->tokens_max,
        .sampling = {.temperature = o->temperature,
                     .top_p = o->top_p,
                     .min_p = o->min_p,
                     .top_k = o->top_k,
                     .repetition_penalty = o->repetition_penalty,
                     .repetition_window = 20,
                     .seed = (uint64_t)o->seed},
        .on_token = on_token,
        .user = talk,
    };
    talk->stream_err = (struct ig_err){0};
    ok = ig_generate(talk->session, &job, &talk->report, err);
    free(fed);
    if (ok && talk->stream_err.code != IG_OK) {
        *err = talk->stream_err;
        ok = false;
    }
    size_t from = talk->text.len;
    if (ok) ok = ig_stream_flush(talk->stream, &talk->text, err) && ig_buf_ok(&talk->text, err);
    show(talk, from);
done:
    ig_ids_release(&before);
    return ok;
}

bool talk_continue(struct talk *talk, struct ig_slice prompt, struct ig_err *err)
{
    return generate(talk, prompt, true, err);
}

bool talk_reply(struct talk *talk, struct ig_slice messages, struct ig_err *err)
{
    struct ig_buf variables = {0}, prompt = {0};
    struct ig_json_doc *doc = NULL;
    ig_buf_printf(&variables, "{\"messages\":" IG_SLICE_FMT, (int)messages.len, messages.ptr);
    ig_buf_text(&variables, ",\"add_generation_prompt\":true");
    ig_buf_printf(&variables, ",\"enable_thinking\":%s}",
                  talk->options.thinking ? "true" : "false");
    bool ok = ig_buf_ok(&variables, err) && ig_json_doc_new(ig_buf_view(&variables), &doc, err) &&
              ig_template_render(talk->tmpl, ig_json_doc_root(doc), -1, &prompt, err) &&
              ig_buf_ok(&prompt, err) && generate(talk, ig_buf_view(&prompt), false, err);
    ig_json_doc_free(doc);
    ig_buf_release(&variables);
    ig_buf_release(&prompt);
    return ok;
}

void talk_message(struct ig_buf *messages, const char *role, struct ig_slice content)
{
    ig_buf_text(messages, messages->len ? "," : "[");
    ig_buf_printf(messages, "{\"role\":\"%s\",\"content\":", role);
    ig_json_quote(messages, content, false);
    ig_buf_char(messages, '}');
}

void talk_print_rates(const struct talk *talk)
{
    const struct ig_generate_report *r = &talk->report;
    char peak[32];
    fprintf(stderr,
            "prompt: %lld tokens, %.1f tokens/s; generation: %lld tokens, %.1f tokens/s; "
            "peak memory %s; %s\n",
            (long long)r->prompt_tokens,
            r->prompt_seconds > 0 ? (double)r->prompt_tokens / r->prompt_seconds : 0,
            (long long)r->tokens,
            r->generation_seconds > 0 ? (double)r->tokens / r->generation_seconds : 0,
            cli_bytes(talk_peak_bytes(), peak), ig_model_arithmetic(talk->model));
}
