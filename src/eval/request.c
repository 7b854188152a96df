/* SPDX-License-Identifier: Apache-2.0
 * request — what is put before the model: examples, the question, and each choice to be scored.
 *
 *     plain     Q1 " " A1 "\n\n" Q2 " " A2 "\n\n" Q        scored: " " choice
 *     template  the same as user and assistant turns (multi-turn), or all of it as one user turn,
 *               rendered with the generation prompt           scored: choice
 * With a template the harness drops the space before a choice. */
#include "eval/eval_internal.h"

struct turn {
    const char *role;
    struct ig_slice text;
    struct ig_slice delimiter; /* after the text where turns are run together */
};

static struct ig_slice or_else(struct ig_slice text, const char *fallback)
{
    return text.ptr ? text : ig_slice_of(fallback);
}

/* The turns of the description and the examples; returns how many. An answer that is an empty text
 * by itself (winogrande's rest), and no choice, makes none. */
static int64_t first_turns(const struct eval_question *q, struct turn *turns)
{
    struct ig_slice none = {"", 0}, target = or_else(q->task->target_delimiter, " "),
                    fewshot = or_else(q->task->fewshot_delimiter, "\n\n");
    int64_t n = 0;
    if (q->doc->description.len) turns[n++] = (struct turn){"system", q->doc->description, none};
    for (int64_t i = 0; i < q->example_count; i++) {
        const struct eval_doc *d = &q->examples[i];
        struct ig_slice question = d->partial ? d->choices[d->gold] : d->context;
        struct ig_slice answer = d->partial ? d->rest : d->choices[d->gold];
        bool answered = answer.len || !(d->partial || d->text_target);
        turns[n++] = (struct turn){"user", question, answered ? target : none};
        if (answered) turns[n++] = (struct turn){"assistant", answer, fewshot};
    }
    return n;
}

static void run_together(struct ig_buf *out, const struct turn *turns, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        ig_buf_slice(out, turns[i].text);
        ig_buf_slice(out, turns[i].delimiter);
    }
}

static struct ig_json text_node(const char *key, struct ig_slice text)
{
    return (struct ig_json){.type = IG_JSON_STRING, .key = ig_slice_of(key), .text = text};
}

static bool render(const struct ig_template *chat, const struct turn *turns, int64_t count,
                   struct ig_arena *arena, struct ig_buf *out, struct ig_err *err)
{
    struct ig_json *messages = ig_arena_array(arena, (size_t)count, sizeof *messages);
    struct ig_json *fields = ig_arena_array(arena, (size_t)count, 2 * sizeof *fields);
    struct ig_json *members = ig_arena_array(arena, 2, sizeof *members);
    if (!messages || !fields || !members) return ig_err_nomem(err);
    for (int64_t i = 0; i < count; i++) {
        fields[2 * i] = text_node("role", ig_slice_of(turns[i].role));
        fields[2 * i + 1] = text_node("content", turns[i].text);
        messages[i] = (struct ig_json){.type = IG_JSON_OBJECT, .count = 2};
        messages[i].items = &fields[2 * i];
    }
    members[0] = (struct ig_json){
        .type = IG_JSON_ARRAY, .count = (uint32_t)count, .key = ig_slice_of("messages")};
    members[0].items = messages;
    members[1] =
        (struct ig_json){.type = IG_JSON_TRUE, .key = ig_slice_of("add_generation_prompt")};
    struct ig_json root = {.type = IG_JSON_OBJECT, .count = 2};
    root.items = members;
    if (!ig_template_render(chat, &root, -1, out, err))
        return ig_err_within(err, "cannot render the chat template");
    return true;
}

/* The prompt whose last turn is the question. turns has room for one more. */
static bool context_of(const struct ig_eval_job *job, struct turn *turns, int64_t count,
                       struct ig_slice question, struct ig_arena *arena, struct ig_slice *out,
                       struct ig_err *err)
{
    struct ig_buf text = {0}, joined = {0};
    turns[count++] = (struct turn){"user", question, {"", 0}};
    bool ok = true;
    if (!job->chat) {
        run_together(&text, turns, count);
    } else if (job->multiturn) {
        ok = render(job->chat, turns, count, arena, &text, err);
    } else {
        int64_t system = strcmp(turns[0].role, "system") == 0;
        run_together(&joined, turns + system, count - system);
        turns[system] = (struct turn){"user", ig_buf_view(&joined), {"", 0}};
        ok = ig_buf_ok(&joined, err) && render(job->chat, turns, system + 1, arena, &text, err);
    }
    ok = ok && ig_buf_ok(&text, err);
    if (ok) {
        *out = ig_arena_copy(arena, ig_buf_view(&text));
        ok = out->ptr || ig_err_nomem(err);
    }
    ig_buf_release(&joined);
    ig_buf_release(&text);
    return ok;
}

bool eval__requests(const struct ig_eval_job *job, const struct eval_question *question,
                    struct ig_arena *arena, struct ig_eval_request *out, struct ig_err *err)
{
    const struct eval_doc *doc = question->doc;
    size_t most = (size_t)question->example_count * 2 + 2;
    struct turn *turns = ig_arena_array(arena, most, sizeof *turns);
    struct turn *copy = ig_arena_array(arena, most, sizeof *turns);
    if (!turns || !copy) return ig_err_nomem(err);
    int64_t count = first_turns(question, turns);
    struct ig_slice delimiter =
        job->chat ? (struct ig_slice){"", 0} : or_else(question->task->target_delimiter, " ");
    for (int i = 0; i < doc->count; i++) {
        bool shared = i > 0 && !doc->partial;
        struct ig_slice asked = doc->partial ? doc->choices[i] : doc->context;
        struct ig_slice parts[] = {delimiter, doc->partial ? doc->rest : doc->choices[i]};
        memcpy(copy, turns, most * sizeof *turns);
        if (shared)
            out[i].context = out[0].context;
        else if (!context_of(job, copy, count, asked, arena, &out[i].context, err))
            return false;
        if (!eval__join(arena, parts, 2, &out[i].continuation, err)) return false;
    }
    return true;
}
