/* SPDX-License-Identifier: Apache-2.0
 * chat — a conversation in the terminal. The session keeps what was said: a turn reads only what is
 * new. Ctrl-C stops a reply, not the program; an empty line at its prompt changes nothing. */
#include "cli.h"
#include "talk.h"

#include <stdlib.h>
#include <unistd.h>

struct args {
    struct cli_common common;
    const char *model, *system;
    struct talk_options talk;
};

static const struct ig_opt options[] = {
    IG_OPT_ARG(struct args, model, "MODEL", "a model folder with a chat template"),
    IG_OPT_TEXT(struct args, system, "system", 0, "TEXT", NULL, "a system message"),
    TALK_OPTIONS(struct args),
    CLI_COMMON(struct args),
    IG_OPT_END,
};

static void begin(struct ig_buf *messages, const char *system)
{
    ig_buf_clear(messages);
    if (system) talk_message(messages, "system", ig_slice_of(system));
}

static bool one_turn(struct talk *talk, struct ig_buf *messages, struct ig_slice said,
                     struct ig_err *err)
{
    size_t before = messages->len;
    talk_message(messages, "user", said);
    ig_buf_char(messages, ']');
    cli_interrupt_arm();
    bool ok = ig_buf_ok(messages, err) && talk_reply(talk, ig_buf_view(messages), err);
    putchar('\n');
    if (!ok) {
        messages->len = before; /* as if it had not been said: a shorter one may fit */
        return false;
    }
    messages->data[--messages->len] = '\0';
    talk_message(messages, "assistant", ig_buf_view(&talk->text));
    return true;
}

static bool converse(const struct args *args, struct talk *talk, struct ig_err *err)
{
    char *line = NULL;
    size_t cap = 0;
    struct ig_buf messages = {0};
    bool ok = true, terminal = isatty(STDIN_FILENO);
    begin(&messages, args->system);
    if (terminal) fputs("/reset forgets, /stats tells rates, /quit or Ctrl-D ends\n", stderr);
    for (;;) {
        if (terminal) fputs("> ", stderr);
        ssize_t n = getline(&line, &cap, stdin);
        if (n < 0) break;
        while (n && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            line[--n] = '\0';
        if (n == 0) continue;
        if (strcmp(line, "/quit") == 0) break;
        if (strcmp(line, "/reset") == 0) {
            begin(&messages, args->system);
        } else if (strcmp(line, "/stats") == 0) {
            talk_print_rates(talk);
        } else if (line[0] == '/') {
            fprintf(stderr, "unknown: %s\n", line);
        } else if (!one_turn(talk, &messages, ig_slice_make(line, (size_t)n), err)) {
            if (!terminal) {
                ok = false;
                break;
            }
            fprintf(stderr, "%s\n", err->text);
        }
    }
    free(line);
    ig_buf_release(&messages);
    return ok;
}

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    (void)watch;
    const struct args *args = arguments;
    struct talk talk = {0};
    if (args->common.json)
        return ig_err_set(err, IG_ERR_USAGE, "chat has no --json; use generate for one reply");
    bool ok = talk_open(args->model, &args->talk, false, &talk, err) && converse(args, &talk, err);
    talk_close(&talk);
    return ok;
}

const struct cli_command cli_chat = {
    "chat",
    "talk to a model in the terminal",
    "ingot chat MODEL --temp 0.7",
    options,
    sizeof(struct args),
    run,
};
