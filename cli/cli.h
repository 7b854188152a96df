/* SPDX-License-Identifier: Apache-2.0
 * cli — what every command shares. A command parses, calls one library function, prints.
 *
 * stdout is the result, stderr is chat. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by
 * Ctrl-C or SIGTERM. */
#pragma once
#include "ingot/dist.h"
#include "ingot/err.h"
#include "ingot/json.h"
#include "ingot/opt.h"
#include "ingot/watch.h"
#include <stdio.h>

/* The first member of every command's arguments. */
struct cli_common {
    bool json, quiet, help;
};
// clang-format off
#define CLI_COMMON(T)                                                                              \
    IG_OPT_FLAG(T, common.json, "json", 0, "one JSON document on stdout"),                         \
    IG_OPT_FLAG(T, common.quiet, "quiet", 'q', "no progress and no warnings"),                     \
    IG_OPT_FLAG(T, common.help, "help", 'h', "this text")
// clang-format on

struct cli_command {
    const char *name;
    const char *summary; /* "combine models into one" */
    const char *example; /* a real command line, printed by --help */
    const struct ig_opt *options;
    size_t args_size;
    bool (*run)(const void *args, const struct ig_watch *watch, struct ig_err *err);
};

/* The ranks of this run, or NULL: one process alone. Commands that know what to do with ranks pass
 * it on; of any other command only rank 0 does something. */
struct ig_dist *cli_dist(void);

/* All commands, NULL-terminated. */
extern const struct cli_command *const cli_commands[];

/* ---- progress.c ---- */

#define CLI_STOPPED 130 /* the exit status of what Ctrl-C or SIGTERM stopped, as shells have it */

/* A watch that draws a bar on a terminal, prints a line every few seconds elsewhere, nothing when
 * quiet. Ctrl-C makes it ask the job to stop. */
const struct ig_watch *cli_watch(bool quiet);
/* Clears the bar, so that something else can be printed on stderr. */
void cli_watch_clear(void);
/* Whether Ctrl-C was pressed, or SIGTERM came, since the last call of cli_interrupt_arm. */
bool cli_interrupted(void);
/* Whether it was SIGTERM: then even a chat ends. */
bool cli_terminated(void);
/* From here on Ctrl-C and SIGTERM end the program with a message and CLI_STOPPED, */
void cli_interrupt_start(const char *command);
/* and from here on, or from the first progress, the first is remembered and the second ends it. */
void cli_interrupt_arm(void);
/* While input is waited for there is nothing to finish: both end the program at once; at a prompt
 * Ctrl-C does not, it is only remembered. */
enum cli_wait { CLI_WAITS_NOT, CLI_WAITS, CLI_WAITS_AT_PROMPT };
void cli_interrupt_wait(enum cli_wait how);

/* In a signal's handler, of one of several ranks: lets this process die of the signal. Of one that
 * only exits MPICH's starter may not take notice, and the others would wait for it. */
void cli_die_with_ranks(int signal_number);

/* ---- bad_page.c ---- */

/* From here on a mapped file that cannot be read ends the program with a message, not a signal. */
void cli_bad_page_arm(const char *command, bool json);

/* ---- print.c ---- */

/* "1.19 GB", decimal. */
const char *cli_bytes(uint64_t bytes, char out[32]);
/* Prints a JSON document and a newline. */
/* Text of a model. Where it goes to a terminal, characters that would steer that are shown as
 * U+FFFD: all controls but the ends of lines and tabs. */
void cli_put_text(FILE *to, const char *text, size_t count, bool terminal);
IG_MUST_CHECK bool cli_print_json(const struct ig_buf *text, struct ig_err *err);
/* A table: rows x columns cells, the first row is the head; numbers are set right. */
void cli_print_table(const char *const *cells, int rows, int columns);
struct ig_job_report;
/* What merge and quantize print, as text or as the JSON that scripts rely on. */
IG_MUST_CHECK bool cli_print_report(const struct ig_job_report *report, const char *out, bool json,
                                    struct ig_err *err);
/* Whether stdout may have colours. */
bool cli_colours(void);
/* The folder of the embedded tiny models and tasks. */
const char *cli_fixtures(void);
