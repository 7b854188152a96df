/* SPDX-License-Identifier: Apache-2.0
 * chat_input — lines by libedit on a terminal, by getline elsewhere. */
#include "chat_input.h"

#include "cli.h"

#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#ifdef INGOT_LIBEDIT
#include <editline/readline.h>
#endif

static char *line;
static size_t line_cap;

/* The next line without its end, in `line`; its length, or -1: no more. */
static ssize_t plain_line(const char *prompt)
{
    if (prompt) {
        fputs(prompt, stderr);
        fflush(stderr);
    }
    ssize_t n = getline(&line, &line_cap, stdin);
    while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
        line[--n] = '\0';
    if (n < 0 && cli_interrupted()) clearerr(stdin);
    return n;
}

#ifdef INGOT_LIBEDIT
static ssize_t edited_line(const char *prompt)
{
    static bool ready;
    if (!ready) {
        setlocale(LC_CTYPE, ""); /* so that a character of several bytes is one */
        rl_initialize();
        rl_outstream = stderr;
        ready = true;
    }
    rl_resize_terminal();
    free(line);
    line = readline(prompt);
    line_cap = line ? strlen(line) + 1 : 0;
    if (line && *line) add_history(line);
    return line ? (ssize_t)strlen(line) : -1;
}
#else
#define edited_line plain_line
#endif

static ssize_t next_line(bool terminal, bool first)
{
    cli_interrupt_arm();
    cli_interrupt_wait(terminal ? CLI_WAITS_AT_PROMPT : CLI_WAITS);
    ssize_t n = terminal ? edited_line(first ? "> " : "  ") : plain_line(NULL);
    cli_interrupt_wait(CLI_WAITS_NOT);
    return n;
}

static enum chat_input read_multi(bool terminal, struct ig_buf *out)
{
    for (bool first = true;; first = false) {
        ssize_t n = next_line(terminal, false);
        if (n < 0) return cli_interrupted() ? CHAT_INPUT_NONE : CHAT_INPUT_END;
        if (strcmp(line, "/end") == 0) return out->len > 0 ? CHAT_INPUT_TEXT : CHAT_INPUT_NONE;
        if (!first) ig_buf_char(out, '\n');
        ig_buf_append(out, line, (size_t)n);
    }
}

enum chat_input chat_input_read(bool terminal, struct ig_buf *out)
{
    ig_buf_clear(out);
    for (bool first = true;; first = false) {
        ssize_t n = next_line(terminal, first);
        if (n < 0 && terminal && cli_interrupted()) {
            fputc('\n', stderr);
            return CHAT_INPUT_NONE;
        }
        if (n < 0) return out->len > 0 ? CHAT_INPUT_TEXT : CHAT_INPUT_END;
        if (first && strcmp(line, "/multi") == 0) return read_multi(terminal, out);
        bool more = n > 0 && line[n - 1] == '\\';
        ig_buf_append(out, line, (size_t)n - more);
        if (!more) return out->len > 0 ? CHAT_INPUT_TEXT : CHAT_INPUT_NONE;
        ig_buf_char(out, '\n');
    }
}

/* libedit moves its buffers where the signal of a new window size finds it, which may be in the
 * middle of using them. So no thread takes that signal: each prompt asks for the size. */
void chat_input_begin(void)
{
    sigset_t resized;
    sigemptyset(&resized);
    sigaddset(&resized, SIGWINCH);
    pthread_sigmask(SIG_BLOCK, &resized, NULL);
}

void chat_input_end(void)
{
    free(line);
    line = NULL;
    line_cap = 0;
}
