/* SPDX-License-Identifier: Apache-2.0
 * chat — a conversation in the terminal. The session keeps what was said: a turn reads only what is
 * new. Ctrl-C stops a reply, not the program. */
#include "chat_input.h"
#include "chat_log.h"
#include "chat_show.h"
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

struct chat {
    struct talk talk;
    struct chat_show show;
    struct ig_buf messages; /* as talk_message makes them */
    const char *system;     /* of the command line */
    bool terminal;          /* stdin is one */
    bool over;
};

static bool begin(struct chat *chat, struct ig_err *err)
{
    ig_buf_clear(&chat->messages);
    if (chat->system) talk_message(&chat->messages, "system", ig_slice_of(chat->system));
    return ig_buf_ok(&chat->messages, err);
}

static bool one_turn(struct chat *chat, struct ig_slice said, struct ig_err *err)
{
    size_t before = chat->messages.len;
    talk_message(&chat->messages, "user", said);
    ig_buf_char(&chat->messages, ']');
    cli_interrupt_arm();
    chat_show_begin(&chat->show, &chat->talk.thinks);
    bool ok = ig_buf_ok(&chat->messages, err) &&
              talk_reply(&chat->talk, ig_buf_view(&chat->messages), err);
    chat_show_end(&chat->show);
    if (!ok) {
        chat->messages.len = before; /* as if it had not been said: a shorter one may fit */
        return false;
    }
    chat->messages.data[--chat->messages.len] = '\0';
    talk_message(&chat->messages, "assistant", ig_buf_view(&chat->talk.text));
    return true;
}

/* ---- commands ---- */

static bool do_reset(struct chat *chat, const char *rest, struct ig_err *err)
{
    (void)rest;
    return begin(chat, err);
}

static bool do_system(struct chat *chat, const char *rest, struct ig_err *err)
{
    return chat_log_set_system(&chat->messages, ig_slice_of(rest), err);
}

static bool do_save(struct chat *chat, const char *rest, struct ig_err *err)
{
    if (!*rest) return ig_err_set(err, IG_ERR_USAGE, "/save FILE");
    return chat_log_save(&chat->messages, rest, err);
}

static bool do_load(struct chat *chat, const char *rest, struct ig_err *err)
{
    if (!*rest) return ig_err_set(err, IG_ERR_USAGE, "/load FILE");
    return chat_log_load(&chat->messages, rest, err);
}

static bool do_stats(struct chat *chat, const char *rest, struct ig_err *err)
{
    (void)rest;
    (void)err;
    talk_print_rates(&chat->talk);
    return true;
}

static bool do_temp(struct chat *chat, const char *rest, struct ig_err *err)
{
    char *end;
    double value = strtod(rest, &end);
    if (end == rest || *end || !(value >= 0 && value <= 100))
        return ig_err_set(err, IG_ERR_USAGE, "/temp T, from 0 to 100; it is %g",
                          chat->talk.options.temperature);
    chat->talk.options.temperature = value;
    return true;
}

static bool do_thoughts(struct chat *chat, const char *rest, struct ig_err *err)
{
    (void)rest;
    (void)err;
    struct ig_slice all = ig_buf_view(&chat->show.thoughts);
    if (all.len == 0) all = ig_slice_of("none");
    cli_put_text(stderr, all.ptr, all.len, isatty(STDERR_FILENO));
    fputc('\n', stderr);
    return true;
}

static bool do_quit(struct chat *chat, const char *rest, struct ig_err *err)
{
    (void)rest;
    (void)err;
    chat->over = true;
    return true;
}

static bool do_help(struct chat *chat, const char *rest, struct ig_err *err);

static const struct command {
    const char *word, *meta, *help;
    bool (*run)(struct chat *chat, const char *rest, struct ig_err *err);
} commands[] = {
    {"/reset", "", "forget what was said", do_reset},
    {"/system", " TEXT", "another system message; none: without one", do_system},
    {"/save", " FILE", "write what was said, as JSON", do_save},
    {"/load", " FILE", "go on from there", do_load},
    {"/temp", " T", "another temperature", do_temp},
    {"/thoughts", "", "what the model thought before its last reply", do_thoughts},
    {"/stats", "", "rates of the last reply", do_stats},
    {"/help", "", "this list", do_help},
    {"/quit", "", "end; so does Ctrl-D", do_quit},
};

static bool do_help(struct chat *chat, const char *rest, struct ig_err *err)
{
    (void)chat;
    (void)rest;
    (void)err;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(stderr, "%s%-*s %s\n", commands[i].word, (int)(15 - strlen(commands[i].word)),
                commands[i].meta, commands[i].help);
    fputs("/multi          several lines, up to /end; or end a line with a backslash\n"
          "Ctrl-C stops a reply.\n",
          stderr);
    return true;
}

/* The command that a text is, or NULL. *rest: what follows its name. */
static const struct command *find_command(const char *text, const char **rest)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        size_t n = strlen(commands[i].word);
        if (strncmp(text, commands[i].word, n) != 0 || (text[n] != '\0' && text[n] != ' '))
            continue;
        *rest = text + n;
        while (**rest == ' ')
            (*rest)++;
        return &commands[i];
    }
    return NULL;
}

static bool handle(struct chat *chat, const struct ig_buf *said, struct ig_err *err)
{
    const char *rest = "";
    const struct command *command = find_command(said->data, &rest);
    if (command) return command->run(chat, rest, err);
    if (said->data[0] == '/' && !strchr(said->data, '\n')) {
        fprintf(stderr, "unknown: %s; /help tells what there is\n", said->data);
        return true;
    }
    return one_turn(chat, ig_buf_view(said), err);
}

/* On a terminal a mistake is told; in a script it ends the program. */
static bool converse(struct chat *chat, struct ig_err *err)
{
    struct ig_buf said = {0};
    bool ok = begin(chat, err);
    if (chat->terminal) fputs("/help tells the commands; Ctrl-D ends\n", stderr);
    while (ok && !chat->over) {
        enum chat_input input = chat_input_read(chat->terminal, &said);
        if (input == CHAT_INPUT_END) break;
        if (input == CHAT_INPUT_NONE) continue;
        ok = ig_buf_ok(&said, err) && handle(chat, &said, err);
        if (cli_terminated() || (cli_interrupted() && !chat->terminal)) {
            ok = ig_err_set(err, IG_ERR_CANCELLED, "stopped");
            break;
        }
        if (!ok && chat->terminal) {
            fprintf(stderr, "%s\n", err->text);
            ok = true;
        }
    }
    ig_buf_release(&said);
    chat_input_end();
    return ok;
}

static bool run(const void *arguments, const struct ig_watch *watch, struct ig_err *err)
{
    (void)watch;
    const struct args *args = arguments;
    struct chat chat = {.system = args->system, .terminal = isatty(STDIN_FILENO)};
    if (args->common.json)
        return ig_err_set(err, IG_ERR_USAGE, "chat has no --json; use generate for one reply");
    chat_input_begin();
    bool ok = talk_open(args->model, &args->talk, false, &chat.talk, err);
    chat.talk.show = chat_show_text;
    chat.talk.user = &chat.show;
    ok = ok && converse(&chat, err);
    talk_close(&chat.talk);
    chat_show_release(&chat.show);
    ig_buf_release(&chat.messages);
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
