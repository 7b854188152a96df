/* SPDX-License-Identifier: Apache-2.0
 * bad_page — a mapped file that cannot be read: it was cut short while in use, or its disk fails.
 *
 * The system tells of that by SIGBUS, in the middle of a multiplication. There is nothing to go on
 * with, but the user is told which file it is, where in it, and what to do. Only what POSIX allows
 * in a handler is called here; which file it is stands in /proc/self/maps. Finished work is safe:
 * logs and journals are written line by line. */
#include "cli.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4608 /* the numbers, and a path of 4096 */

static struct {
    const char *command;
    bool json;
} told;
static atomic_flag busy = ATOMIC_FLAG_INIT;

struct text {
    char bytes[3 * LINE_MAX_BYTES];
    size_t len;
};

static void put(struct text *t, const char *bytes, size_t len)
{
    if (len > sizeof t->bytes - t->len) len = sizeof t->bytes - t->len;
    memcpy(t->bytes + t->len, bytes, len);
    t->len += len;
}

static void put_text(struct text *t, const char *text)
{
    put(t, text, strlen(text));
}

static void put_number(struct text *t, uint64_t n)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    put(t, digits + at, sizeof digits - at);
}

/* Quotes and backslashes; control characters are left out. */
static void put_escaped(struct text *t, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '"' || bytes[i] == '\\') put(t, "\\", 1);
        if ((unsigned char)bytes[i] >= 0x20) put(t, bytes + i, 1);
    }
}

static void send(int fd, const struct text *t)
{
    for (size_t done = 0; done < t->len;) {
        ssize_t n = write(fd, t->bytes + done, t->len - done);
        if (n <= 0) return;
        done += (size_t)n;
    }
}

static const char *read_hex(const char *at, uint64_t *out)
{
    for (*out = 0;; at++) {
        int digit = *at >= '0' && *at <= '9'   ? *at - '0'
                    : *at >= 'a' && *at <= 'f' ? *at - 'a' + 10
                                               : -1;
        if (digit < 0) return at;
        *out = *out << 4 | (unsigned)digit;
    }
}

/* A line of maps: "start-end rwxp offset dev inode      path". The path, when the page is in it. */
static const char *path_in(const char *line, uint64_t page, uint64_t *byte)
{
    uint64_t start, end, offset;
    const char *at = read_hex(line, &start);
    if (*at++ != '-') return NULL;
    at = read_hex(at, &end);
    if (page < start || page >= end || strlen(at) < 7) return NULL;
    read_hex(at + 6, &offset);
    *byte = offset + (page - start);
    return strchr(at, '/');
}

/* Whether the page is of a file: then its line is left in the buffer. */
static const char *find_file(uint64_t page, char buffer[LINE_MAX_BYTES], uint64_t *byte)
{
    const char *path = NULL;
    size_t len = 0;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && !path) {
        ssize_t n = read(fd, buffer + len, LINE_MAX_BYTES - 1 - len);
        if (n <= 0) break;
        len += (size_t)n;
        buffer[len] = '\0';
        for (char *end; !path && (end = memchr(buffer, '\n', len)) != NULL;) {
            *end = '\0';
            path = path_in(buffer, page, byte);
            if (path) break;
            len -= (size_t)(end + 1 - buffer);
            memmove(buffer, end + 1, len + 1);
        }
    }
    if (fd >= 0) close(fd);
    return path;
}

static void put_message(struct text *t, const char *path, uint64_t byte, bool escaped)
{
    put_text(t, "'");
    if (escaped)
        put_escaped(t, path, strlen(path));
    else
        put_text(t, path);
    put_text(t, "' cannot be read at byte ");
    put_number(t, byte);
    put_text(t, ": it was cut short while in use, or its disk fails; what was finished before is "
                "kept");
}

static void on_bus(int number, siginfo_t *info, void *context)
{
    static struct text text; /* a thread's stack may be small; only one gets here */
    static char line[LINE_MAX_BYTES];
    uint64_t byte = 0;
    (void)context;
    while (atomic_flag_test_and_set(&busy)) /* another thread is telling, and ends the program */
        pause();
    const char *path = find_file((uint64_t)(uintptr_t)info->si_addr, line, &byte);
    if (!path) { /* none of ours: die of it, as without a handler */
        signal(number, SIG_DFL);
        atomic_flag_clear(&busy);
        return;
    }
    put_text(&text, "ingot ");
    put_text(&text, told.command);
    put_text(&text, ": ");
    put_message(&text, path, byte, false);
    put_text(&text, "\n");
    send(STDERR_FILENO, &text);
    if (told.json) {
        text.len = 0;
        put_text(&text, "{\"error\":{\"code\":\"io\",\"message\":\"");
        put_message(&text, path, byte, true);
        put_text(&text, "\"}}\n");
        send(STDOUT_FILENO, &text);
    }
    cli_die_with_ranks(SIGBUS);
    _exit(1);
}

void cli_bad_page_arm(const char *command, bool json)
{
    struct sigaction action = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
    told.command = command;
    told.json = json;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}
