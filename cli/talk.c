/* SPDX-License-Identifier: Apache-2.0
 * talk — a conversation is rendered whole at each turn; what the session already holds of it (the
 * common prefix of token ids) is not read again. */
#include "talk.h"

#include "cli.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

const char *const talk_ropes[] = {"as-config", "as-mlx-lm", NULL};

static bool read_stops(const char *stop, struct talk *talk, struct ig_err *err)
{
    if (!stop) return true;
    talk->stops[0] = ig_slice_of(stop);
    talk->cut.stop_count = 1;
    struct ig_err ignored;
    if (stop[0] == '[' && ig_json_doc_new(ig_slice_of(stop), &talk->stop_doc, &ignored)) {
        const struct ig_json *list = ig_json_doc_root(talk->stop_doc);
        talk->cut.stop_count = list->count;
        for (uint32_t i = 0; i < list->count && i < TALK_STOPS_MAX; i++)
            talk->stops[i] = ig_json_text(&list->items[i]);
    }
    if (talk->cut.stop_count > TALK_STOPS_MAX)
        return ig_err_set(err, IG_ERR_USAGE, "--stop: more than %d texts", TALK_STOPS_MAX);
    for (size_t i = 0; i < talk->cut.stop_count; i++)
        if (talk->stops[i].len == 0)
            return ig_err_set(err, IG_ERR_USAGE, "--stop: a text, or a list of texts, none empty");
    return true;
}

static bool append_id(struct ig_ids *ids, int32_t id, struct ig_err *err)
{
    if (ids->count == ids->cap) {
        size_t cap = ids->cap ? ids->cap * 2 : 64;
        int32_t *items = realloc(ids->items, cap * sizeof(*items));
        if (!items) return ig_err_nomem(err);
        ids->items = items;
        ids->cap = cap;
    }
    ids->items[ids->count++] = id;
    return true;
}

/* As mlx-lm: what ends a line, and what ends the reply. */
static bool find_spared(struct talk *talk, struct ig_err *err)
{
    size_t count;
    const int32_t *eos = ig_model_eos(talk->model, &count);
    if (talk->options.xtc_probability <= 0) return true;
    if (!ig_tokenizer_encode(talk->tokenizer, ig_slice_of("\n"), false, &talk->spared, err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!append_id(&talk->spared, eos[i], err)) return false;
    return true;
}

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool open_session(struct talk *talk, struct ig_err *err)
{
    const struct talk_options *o = &talk->options;
    const struct ig_session_options how = {.context = o->context,
                                           .window = o->max_kv,
                                           .bits = (int)o->kv_bits,
                                           .group = (int)o->kv_group,
                                           .start = o->kv_start};
    return ig_session_new_as(talk->model, &how, &talk->session, err);
}

bool talk_open(const char *model, const struct talk_options *options, bool raw, struct talk *talk,
               struct ig_err *err)
{
    *talk = (struct talk){.options = *options, .to = stdout, .cut = {.plain = true}};
    const struct ig_model_options how = {.threads = (int)options->threads,
                                         .exact = options->exact,
                                         .rope_as_mlx = options->rope == 1};
    bool ok = read_stops(options->stop, talk, err) &&
              ig_model_open_as(model, &how, &talk->model, err) &&
              ig_tokenizer_open(model, &talk->tokenizer, err) && open_session(talk, err) &&
              find_spared(talk, err);
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

static void close_shared(struct talk *talk)
{
    ig_template_close(talk->tmpl);
    ig_tokenizer_close(talk->tokenizer);
    ig_model_close(talk->model);
    ig_json_doc_free(talk->stop_doc);
    ig_ids_release(&talk->spared);
}

bool talk_fork(struct talk *from, struct talk *out, struct ig_err *err)
{
    *out = (struct talk){.options = from->options,
                         .model = from->model,
                         .tokenizer = from->tokenizer,
                         .tmpl = from->tmpl,
                         .spared = from->spared,
                         .cut = {.plain = true, .stop_count = from->cut.stop_count},
                         .top_count = from->top_count,
                         .deferred = from->deferred,
                         .forked = true};
    memcpy(out->stops, from->stops, sizeof out->stops);
    return ig_session_new_beside(from->session, ig_session_context(from->session), &out->session,
                                 err);
}

void talk_close(struct talk *talk)
{
    ig_stream_free(talk->stream);
    ig_session_free(talk->session);
    ig_ids_release(&talk->held);
    if (!talk->forked) close_shared(talk);
    ig_reply_text_release(&talk->cut);
    ig_ids_release(&talk->ids);
    ig_buf_release(&talk->text);
    free(talk->logprobs);
    free(talk->tops);
    *talk = (struct talk){0};
}

static bool grow_logprobs(struct talk *talk, size_t index)
{
    if (index < talk->logprob_cap) return true;
    size_t cap = index * 2 + 64;
    double *logprobs = realloc(talk->logprobs, cap * sizeof(*logprobs));
    if (!logprobs) return ig_err_nomem(&talk->stream_err);
    talk->logprobs = logprobs;
    struct ig_choice *tops = realloc(talk->tops, cap * (talk->top_count + 1) * sizeof(*tops));
    if (!tops) return ig_err_nomem(&talk->stream_err);
    talk->tops = tops;
    talk->logprob_cap = cap;
    return true;
}

static void on_top(void *user, const struct ig_choice *top)
{
    struct talk *talk = user;
    size_t index = talk->ids.count - talk->prompt_count;
    if (grow_logprobs(talk, index)) /* else keep_token says so */
        memcpy(talk->tops + index * talk->top_count, top, talk->top_count * sizeof(*top));
}

static bool keep_token(struct talk *talk, int32_t token, double logprob)
{
    size_t index = talk->ids.count - talk->prompt_count;
    if (!grow_logprobs(talk, index) || !append_id(&talk->ids, token, &talk->stream_err))
        return false;
    talk->logprobs[index] = logprob;
    return true;
}

/* Moves what is certain of the reply to talk->text, and shows it. */
static void take_text(struct talk *talk, struct ig_slice fresh, bool last)
{
    ig_reply_text_push(&talk->cut, fresh, last);
    struct ig_slice sure = ig_buf_view(&talk->cut.content);
    ig_buf_slice(&talk->text, sure);
    if (sure.len > 0 && talk->show) {
        talk->show(talk->user, sure);
    } else if (sure.len > 0 && talk->to) {
        cli_put_text(talk->to, sure.ptr, sure.len, isatty(fileno(talk->to)));
        fflush(talk->to);
    }
    ig_reply_text_clear(&talk->cut);
}

static bool on_token(void *user, int32_t token, double logprob)
{
    struct talk *talk = user;
    struct ig_buf fresh = {0};
    bool ok = keep_token(talk, token, logprob) &&
              ig_stream_push(talk->stream, token, &fresh, &talk->stream_err) &&
              ig_buf_ok(&fresh, &talk->stream_err);
    if (ok) take_text(talk, ig_buf_view(&fresh), false);
    ig_buf_release(&fresh);
    return ok && !talk->cut.stopped && !cli_interrupted();
}

bool talk_hear(struct talk *talk, int32_t token, double logprob, const struct ig_choice *top)
{
    if (talk->top_count > 0) on_top(talk, top);
    return on_token(talk, token, logprob);
}

/* How many of the first tokens of ids the session holds. */
static size_t common_prefix(const struct talk *talk, const struct ig_ids *before, size_t held)
{
    size_t n = 0, limit = held < before->count ? held : before->count;
    while (n < limit && n < talk->ids.count && before->items[n] == talk->ids.items[n])
        n++;
    return n == talk->ids.count && n ? n - 1 : n; /* at least one token has to be fed */
}

static bool check_length(const struct talk *talk, struct ig_err *err)
{
    long long context = ig_session_context(talk->session);
    return (long long)talk->ids.count <= context ||
           ig_err_set(err, IG_ERR_DATA, "the prompt has %zu tokens, the context is %lld",
                      talk->ids.count, context);
}

bool talk_pieces_count(const struct talk_options *options)
{
    return options->max_kv > 0 || options->kv_start > 0;
}

/* Makes the session hold as much of the prompt as it does already, and reads most of the rest,
 * which Ctrl-C may cut short; where texts depend on the pieces, all but the last token, as mlx-lm
 * does. kept: tokens that it holds then. */
static bool read_prompt(struct talk *talk, const struct ig_ids *before, size_t *kept,
                        struct ig_err *err)
{
    bool rotates = talk_pieces_count(&talk->options);
    size_t held = common_prefix(talk, before, (size_t)ig_session_length(talk->session)), count;
    size_t most = rotates ? TALK_PIECE : (size_t)ig_session_rows(talk->session);
    size_t last = rotates ? 1 : most; /* pieces are what there is between looks at Ctrl-C */
    if (!check_length(talk, err)) return false;
    held = (size_t)ig_session_trim(talk->session, (int64_t)held);
    double start = now_seconds();
    talk->reused = held;
    for (; talk->ids.count - held > last; held += count) {
        count = talk->ids.count - held - (rotates ? 1 : 0);
        if (count > most) count = most;
        if (cli_interrupted()) return ig_err_set(err, IG_ERR_CANCELLED, "stopped");
        if (!ig_session_feed(talk->session, talk->ids.items + held, count, err)) return false;
    }
    *kept = held;
    talk->read_seconds = now_seconds() - start;
    return true;
}

struct ig_sampling talk_sampling(const struct talk *talk)
{
    const struct talk_options *o = &talk->options;
    return (struct ig_sampling){.temperature = o->temperature,
                                .top_p = o->top_p,
                                .min_p = o->min_p,
                                .top_k = o->top_k,
                                .repetition_penalty = o->repetition_penalty,
                                .repetition_window = 20,
                                .presence_penalty = o->presence_penalty,
                                .frequency_penalty = o->frequency_penalty,
                                .xtc_probability = o->xtc_probability,
                                .xtc_threshold = o->xtc_threshold,
                                .xtc_spared = talk->spared.items,
                                .xtc_spared_count = talk->spared.count,
                                .seed = (uint64_t)o->seed};
}

/* Samples after the prompt, of which the session holds `kept` tokens. */
static bool sample_reply(struct talk *talk, size_t kept, struct ig_err *err)
{
    size_t count = talk->ids.count - kept;
    int32_t *fed = malloc(count * sizeof(*fed)); /* ids grow while they are fed */
    if (!fed) return ig_err_nomem(err);
    memcpy(fed, talk->ids.items + kept, count * sizeof(*fed));
    struct ig_generate_job job = {
        .prompt = fed,
        .prompt_count = count,
        .before = talk->ids.items,
        .before_count = kept,
        .tokens_max = talk->options.tokens_max,
        .sampling = talk_sampling(talk),
        .on_token = on_token,
        .top_count = talk->top_count,
        .on_top = on_top,
        .user = talk,
    };
    talk->stream_err = (struct ig_err){0};
    talk->report = (struct ig_generate_report){0};
    bool ok = ig_generate(talk->session, &job, &talk->report, err);
    free(fed);
    talk->report.prompt_seconds += talk->read_seconds;
    talk->report.prompt_tokens = (int64_t)(talk->prompt_count - talk->reused);
    if (ok && talk->stream_err.code != IG_OK) {
        *err = talk->stream_err;
        ok = false;
    }
    return ok;
}

static void begin_reply(struct talk *talk)
{
    const size_t stop_count = talk->cut.stop_count;
    talk->prompt_count = talk->ids.count;
    ig_buf_clear(&talk->text);
    ig_reply_text_release(&talk->cut);
    talk->cut =
        (struct ig_reply_text){.plain = true, .stops = talk->stops, .stop_count = stop_count};
    ig_stream_free(talk->stream);
    talk->stream = NULL;
}

bool talk_end(struct talk *talk, struct ig_err *err)
{
    struct ig_buf rest = {0};
    bool ok = ig_stream_flush(talk->stream, &rest, err) && ig_buf_ok(&rest, err);
    if (ok) {
        take_text(talk, ig_buf_view(&rest), true);
        ok = ig_buf_ok(&talk->text, err);
    }
    ig_buf_release(&rest);
    return ok;
}

static bool generate(struct talk *talk, struct ig_slice prompt, bool add_special,
                     struct ig_err *err)
{
    struct ig_ids before = talk->ids;
    bool ok = false;
    size_t kept = 0;
    talk->ids = (struct ig_ids){0};
    if (!ig_tokenizer_encode(talk->tokenizer, prompt, add_special, &talk->ids, err)) goto done;
    if (talk->ids.count == 0) {
        ig_err_set(err, IG_ERR_USAGE, "the prompt is empty");
        goto done;
    }
    begin_reply(talk);
    if (!ig_stream_new(talk->tokenizer, true, &talk->stream, err)) goto done;
    if (talk->deferred) {
        ig_ids_release(&talk->held);
        talk->held = before;
        return check_length(talk, err);
    }
    ok = read_prompt(talk, &before, &kept, err) && sample_reply(talk, kept, err) &&
         talk_end(talk, err);
done:
    ig_ids_release(&before);
    return ok;
}

const char *talk_finish(const struct talk *talk)
{
    return talk->report.stopped || talk->cut.stopped ? "stop" : "length";
}

bool talk_load(struct talk *talk, const char *path, struct ig_err *err)
{
    size_t room = (size_t)ig_session_room(talk->session);
    int32_t *items = realloc(talk->ids.items, room * sizeof(*items));
    if (!items) return ig_err_nomem(err);
    talk->ids = (struct ig_ids){items, 0, room};
    if (!ig_session_load(talk->session, path, items, err)) return false;
    talk->ids.count = (size_t)ig_session_length(talk->session);
    return true;
}

bool talk_save(const struct talk *talk, const char *path, struct ig_err *err)
{
    return ig_session_save(talk->session, talk->ids.items, path, err);
}

bool talk_continue(struct talk *talk, struct ig_slice prompt, struct ig_err *err)
{
    return generate(talk, prompt, true, err);
}

static bool ends_in_thought(struct ig_slice prompt)
{
    while (prompt.len > 0 &&
           (prompt.ptr[prompt.len - 1] == '\n' || prompt.ptr[prompt.len - 1] == ' '))
        prompt.len--;
    return ig_slice_ends(prompt, "<think>");
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
              ig_buf_ok(&prompt, err);
    if (ok) {
        talk->thinks = ends_in_thought(ig_buf_view(&prompt));
        ok = generate(talk, ig_buf_view(&prompt), false, err);
    }
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
    char peak[32], whole[48] = "";
    if (talk->reused > 0) snprintf(whole, sizeof whole, " of %zu", talk->prompt_count);
    fprintf(stderr,
            "prompt: %lld tokens%s, %.1f tokens/s; generation: %lld tokens, %.1f tokens/s; "
            "peak memory %s; %s\n",
            (long long)r->prompt_tokens, whole,
            r->prompt_seconds > 0 ? (double)r->prompt_tokens / r->prompt_seconds : 0,
            (long long)r->tokens,
            r->generation_seconds > 0 ? (double)r->tokens / r->generation_seconds : 0,
            cli_bytes(ig_peak_bytes(), peak), ig_model_arithmetic(talk->model));
}
