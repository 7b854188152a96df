/* SPDX-License-Identifier: Apache-2.0
 * faults — a disk that fails, for tests: preloaded, it lets the Nth call of a kind fail.
 *
 *     INGOT_FAULT=CALL:N:WHAT[:PART]     the Nth CALL on a file whose path ends in PART or holds it
 *     INGOT_FAULT_LOG=FILE               what was done: "CALL COUNT fired|quiet" at the end
 *
 * CALL: read pread write pwrite fsync rename fallocate mmap. WHAT: EIO, ENOSPC, EDQUOT, ESTALE;
 * "short" (half of the bytes go through, once); "cut" (the file loses all from its middle on, then
 * the call goes on); "touch" (it gets another modification time); "kill", "int",
 * "term" (that signal comes to the process, before the call); "stop" (it stands still for a
 * second); "late" (of write: others see it after fsync or close, as on NFS). N 0 counts only. With
 * a "+" behind N all calls from the Nth on fail, as they do on a disk that is full or gone. */
#undef _FILE_OFFSET_BITS /* so that pread and pread64 are two names here */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static struct {
    char call[16], what[16], part[256];
    long at;
    bool lasts;
} fault;
static atomic_long count, fired;

static const struct {
    const char *name;
    int number;
} errors[] = {{"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"ESTALE", ESTALE}};

__attribute__((constructor)) static void start(void)
{
    const char *text = getenv("INGOT_FAULT");
    char number[24] = "";
    if (!text || sscanf(text, "%15[^:]:%23[^:]:%15[^:]:%255[^\n]", fault.call, number, fault.what,
                        fault.part) < 3)
        return;
    fault.at = strtol(number, NULL, 10);
    fault.lasts = strchr(number, '+') != NULL;
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("INGOT_FAULT_LOG");
    FILE *log = path && fault.call[0] ? fopen(path, "w") : NULL;
    if (!log) return;
    fprintf(log, "%s %ld %s\n", fault.call, atomic_load(&count),
            atomic_load(&fired) ? "fired" : "quiet");
    fclose(log);
}

/* Whether this call is the one. */
static bool is_hit(const char *call, const char *path)
{
    if (strcmp(call, fault.call) != 0 || (fault.part[0] && !strstr(path, fault.part))) return false;
    long n = atomic_fetch_add(&count, 1) + 1;
    bool hit = fault.at > 0 && (n == fault.at || (fault.lasts && n > fault.at));
    if (hit) atomic_store(&fired, 1);
    return hit;
}

static void path_of(int fd, char path[4096])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, 4095);
    path[n > 0 ? n : 0] = '\0';
}

/* Its own hand wakes it. */
static void stand_still(void)
{
    pid_t self = getpid();
    if (fork() == 0) {
        sleep(1);
        kill(self, SIGCONT);
        _exit(0);
    }
    raise(SIGSTOP);
}

/* What was written and is not seen yet; of as many files at once as the tests need. */
static struct {
    int fd;
    size_t bytes;
    char data[1 << 16];
} late = {.fd = -1};

static ssize_t withhold(int fd, const void *data, size_t bytes)
{
    if ((late.fd >= 0 && late.fd != fd) || bytes > sizeof late.data - late.bytes) abort();
    late.fd = fd;
    memcpy(late.data + late.bytes, data, bytes);
    late.bytes += bytes;
    return (ssize_t)bytes;
}

/* 0: go on; 1: go on with half; 2: withhold; -1: fail, errno is set. */
static int before(const char *call, const char *path)
{
    struct stat st;
    if (!is_hit(call, path)) return 0;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (strcmp(fault.what, errors[i].name) == 0) {
            errno = errors[i].number;
            return -1;
        }
    if (strcmp(fault.what, "touch") == 0 && utimensat(AT_FDCWD, path, NULL, 0) != 0) abort();
    if (strcmp(fault.what, "stop") == 0) stand_still();
    if (strcmp(fault.what, "kill") == 0) kill(getpid(), SIGKILL);
    if (strcmp(fault.what, "int") == 0) kill(getpid(), SIGINT);
    if (strcmp(fault.what, "term") == 0) kill(getpid(), SIGTERM);
    if (strcmp(fault.what, "cut") == 0 && stat(path, &st) == 0 &&
        truncate(path, st.st_size / 2) != 0)
        abort();
    if (strcmp(fault.what, "late") == 0) return 2;
    return strcmp(fault.what, "short") == 0;
}

static int before_fd(const char *call, int fd)
{
    char path[4096];
    if (strcmp(call, fault.call) != 0) return 0;
    path_of(fd, path);
    return before(call, path);
}

#define REAL(type, name, ...)                                                                      \
    static type (*real)(__VA_ARGS__);                                                              \
    if (!real) *(void **)(&real) = dlsym(RTLD_NEXT, name) /* as POSIX writes it */

#define TRANSFER(symbol, call, buffer, position, arguments, ...)                                   \
    ssize_t symbol(int fd, buffer data, size_t bytes position);                                    \
    ssize_t symbol(int fd, buffer data, size_t bytes position)                                     \
    {                                                                                              \
        REAL(ssize_t, #symbol, __VA_ARGS__);                                                       \
        int how = before_fd(call, fd);                                                             \
        if (how < 0) return -1;                                                                    \
        if (how == 2) return withhold(fd, data, bytes);                                            \
        if (how > 0 && bytes > 1) bytes /= 2;                                                      \
        return real arguments;                                                                     \
    }
#define AT , off_t at
#define NONE
TRANSFER(read, "read", void *, NONE, (fd, data, bytes), int, void *, size_t)
TRANSFER(write, "write", const void *, NONE, (fd, data, bytes), int, const void *, size_t)
TRANSFER(pread, "pread", void *, AT, (fd, data, bytes, at), int, void *, size_t, off_t)
TRANSFER(pread64, "pread", void *, AT, (fd, data, bytes, at), int, void *, size_t, off_t)
TRANSFER(pwrite, "pwrite", const void *, AT, (fd, data, bytes, at), int, const void *, size_t,
         off_t)
TRANSFER(pwrite64, "pwrite", const void *, AT, (fd, data, bytes, at), int, const void *, size_t,
         off_t)

static void show(int fd)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    if (late.fd != fd) return;
    if (real(fd, late.data, late.bytes) != (ssize_t)late.bytes) abort();
    late.fd = -1;
    late.bytes = 0;
}

int fsync(int fd)
{
    REAL(int, "fsync", int);
    if (fd >= 0) show(fd);
    return before_fd("fsync", fd) < 0 ? -1 : real(fd);
}

int close(int fd)
{
    REAL(int, "close", int);
    if (fd >= 0) show(fd);
    return real(fd);
}

#define FALLOCATE(symbol)                                                                          \
    int symbol(int fd, int mode, off_t at, off_t bytes)                                            \
    {                                                                                              \
        REAL(int, #symbol, int, int, off_t, off_t);                                                \
        return before_fd("fallocate", fd) < 0 ? -1 : real(fd, mode, at, bytes);                    \
    }
FALLOCATE(fallocate)
FALLOCATE(fallocate64)

int rename(const char *from, const char *to)
{
    REAL(int, "rename", const char *, const char *);
    return before("rename", to) < 0 ? -1 : real(from, to);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    REAL(int, "renameat2", int, const char *, int, const char *, unsigned);
    return before("rename", to) < 0 ? -1 : real(from_fd, from, to_fd, to, flags);
}

#define MMAP(symbol)                                                                               \
    void *symbol(void *place, size_t bytes, int protection, int flags, int fd, off_t at)           \
    {                                                                                              \
        REAL(void *, #symbol, void *, size_t, int, int, int, off_t);                               \
        if (fd >= 0 && before_fd("mmap", fd) < 0) return MAP_FAILED;                               \
        return real(place, bytes, protection, flags, fd, at);                                      \
    }
MMAP(mmap)
MMAP(mmap64)
