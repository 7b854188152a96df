/* SPDX-License-Identifier: Apache-2.0
 * progress — a bar with rate and time left on a terminal, a line every few seconds elsewhere. */
#include "cli.h"

#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define REDRAW_SECONDS 0.1
#define LINE_SECONDS   5.0
#define BAR_CELLS      24

/* Of a long job, which asks now and then; before, a signal ends the program at once. */
static volatile sig_atomic_t polled, interrupts, terminated;
static volatile sig_atomic_t waiting; /* an enum cli_wait */
static struct termios terminal;       /* as it was before lines were edited on it */
static bool has_terminal;
static const char *stopped_text; /* for the handler, which may not format */
static size_t stopped_len;

static struct {
    bool terminal, drawn, quiet;
    double started, printed;
    const char *phase;
} bar;

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void cli_die_with_ranks(int signal_number)
{
    sigset_t set;
    if (!cli_dist()) return;
    sigemptyset(&set);
    sigaddset(&set, signal_number);
    signal(signal_number, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    raise(signal_number);
}

static void on_interrupt(int signal_number)
{
    if (waiting == CLI_WAITS_AT_PROMPT && signal_number == SIGINT) {
        interrupts = 1;
        return;
    }
    bool busy = polled && !waiting;
    if (signal_number == SIGTERM) terminated = 1;
    if (busy && interrupts++ == 0) return;
    if (waiting == CLI_WAITS_AT_PROMPT && has_terminal) tcsetattr(STDIN_FILENO, TCSANOW, &terminal);
    if (!busy && write(STDERR_FILENO, stopped_text, stopped_len) < 0) _exit(CLI_STOPPED);
    cli_die_with_ranks(signal_number);
    _exit(CLI_STOPPED);
}

void cli_interrupt_wait(enum cli_wait how)
{
    if (how == CLI_WAITS_AT_PROMPT && !has_terminal)
        has_terminal = tcgetattr(STDIN_FILENO, &terminal) == 0;
    waiting = how;
}

void cli_interrupt_start(const char *command)
{
    static char text[64];
    struct sigaction action = {.sa_handler = on_interrupt};
    stopped_len = (size_t)snprintf(text, sizeof text, "ingot %.32s: stopped\n", command);
    stopped_text = text;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void cli_interrupt_arm(void)
{
    interrupts = terminated;
    polled = 1;
}

bool cli_interrupted(void)
{
    return interrupts != 0;
}

bool cli_terminated(void)
{
    return terminated != 0;
}

void cli_watch_clear(void)
{
    if (bar.drawn) fputs("\r\033[K", stderr);
    bar.drawn = false;
}

static void warn(void *user, const char *text)
{
    (void)user;
    cli_watch_clear();
    fprintf(stderr, "warning: %s\n", text);
}

static void format_line(const struct ig_progress *p, double elapsed, char *line, size_t size)
{
    double done = p->bytes_total ? (double)p->bytes_done : (double)p->items_done;
    double total = p->bytes_total ? (double)p->bytes_total : (double)p->items_total;
    double part = total > 0 ? done / total : 0;
    char left[32] = "";
    if (part > 0.01 && part < 1)
        snprintf(left, sizeof left, ", %.0f s left", elapsed / part - elapsed);
    char rate[32];
    if (p->bytes_total)
        snprintf(line, size, "%s %3.0f %%, %lld of %lld %s, %s/s%s", p->phase, 100 * part,
                 (long long)p->items_done, (long long)p->items_total, p->unit ? p->unit : "tensors",
                 cli_bytes(elapsed > 0 ? (uint64_t)(done / elapsed) : 0, rate), left);
    else
        snprintf(line, size, "%s %3.0f %%, %lld of %lld, %.1f/s%s%s%s", p->phase, 100 * part,
                 (long long)p->items_done, (long long)p->items_total,
                 elapsed > 0 ? done / elapsed : 0, left, p->note && *p->note ? ", " : "",
                 p->note ? p->note : "");
}

static bool progress(void *user, const struct ig_progress *p)
{
    (void)user;
    polled = 1;
    if (interrupts) return false;
    if (bar.quiet) return true;
    double now = now_seconds();
    if (bar.phase != p->phase) {
        bar.phase = p->phase;
        bar.started = bar.printed = now;
    }
    if (now - bar.printed < (bar.terminal ? REDRAW_SECONDS : LINE_SECONDS)) return true;
    bar.printed = now;
    char line[160];
    format_line(p, now - bar.started, line, sizeof line);
    if (!bar.terminal) {
        fprintf(stderr, "%s\n", line);
        return true;
    }
    double total = (double)(p->bytes_total ? p->bytes_total : p->items_total);
    double done = (double)(p->bytes_total ? p->bytes_done : p->items_done);
    int full = total > 0 ? (int)(BAR_CELLS * done / total) : 0;
    char cells[BAR_CELLS + 1];
    for (int i = 0; i < BAR_CELLS; i++)
        cells[i] = i < full ? '#' : '.';
    cells[BAR_CELLS] = '\0';
    fprintf(stderr, "\r\033[K[%s] %s", cells, line);
    bar.drawn = true;
    return true;
}

const struct ig_watch *cli_watch(bool quiet)
{
    static struct ig_watch watch = {.progress = progress};
    bar.terminal = isatty(STDERR_FILENO);
    bar.quiet = quiet;
    watch.warn = quiet ? NULL : warn;
    return &watch;
}
