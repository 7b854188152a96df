/* SPDX-License-Identifier: Apache-2.0
 * stage — see stage.h. One lock for all of it: it is held for a search among a few dozen buffers,
 * while what is done with their bytes takes a hundred times longer. */
#include "stage.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef O_DIRECT
#define O_DIRECT 0
#endif
#define PAGE      4096 /* what O_DIRECT wants offsets, sizes and memory to be multiples of */
#define HUGE_PAGE ((size_t)2 << 20)
#define WRITERS   6 /* requests of one chunk that the disk gets at a time */
#define PIECES    16
#define FILES_MAX 1024

enum buffer_state { BUFFER_FREE, BUFFER_OPEN, BUFFER_FLIGHT, BUFFER_SPILLING };

struct piece {
    size_t from, to;
};

struct buffer {
    enum buffer_state state;
    int file;
    int64_t chunk;
    int users; /* threads that are copying into it */
    struct piece pieces[PIECES];
    int count;
    uint64_t age;
    char *data;
};

struct staged_file {
    int fd, direct;
    uint64_t bytes;
    bool *loose; /* of each chunk: it goes through the page cache from now on */
};

struct store_stage {
    pthread_mutex_t lock;
    pthread_cond_t work, change; /* a buffer to write; any buffer's state or users changed */
    struct staged_file *files;
    int file_count;
    size_t chunk;
    struct buffer *buffers;
    int buffer_count;
    uint64_t clock;
    void *memory;
    pthread_t writers[WRITERS];
    int writer_count;
    bool closing;
    int failed, failed_file;
};

static size_t chunk_bytes(const struct store_stage *s, int file, int64_t chunk)
{
    uint64_t rest = s->files[file].bytes - (uint64_t)chunk * s->chunk;
    return rest < s->chunk ? (size_t)rest : s->chunk;
}

static int write_at(int fd, uint64_t offset, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t put = pwrite(fd, data, bytes, (off_t)offset);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return put < 0 ? errno : EIO;
        data += put;
        offset += (uint64_t)put;
        bytes -= (size_t)put;
    }
    return 0;
}

static void note_failure(struct store_stage *s, int file, int failed)
{
    if (failed && !s->failed) {
        s->failed = failed;
        s->failed_file = file;
    }
}

/* ---- pieces ---- */

static void drop_piece(struct buffer *b, int at)
{
    memmove(b->pieces + at, b->pieces + at + 1, (size_t)(b->count - at - 1) * sizeof *b->pieces);
    b->count--;
}

/* In ascending order, none touching another. */
static void add_piece(struct buffer *b, size_t from, size_t to)
{
    int at = 0;
    while (at < b->count && b->pieces[at].to < from)
        at++;
    while (at < b->count && b->pieces[at].from <= to) {
        from = b->pieces[at].from < from ? b->pieces[at].from : from;
        to = b->pieces[at].to > to ? b->pieces[at].to : to;
        drop_piece(b, at);
    }
    memmove(b->pieces + at + 1, b->pieces + at, (size_t)(b->count - at) * sizeof *b->pieces);
    b->pieces[at] = (struct piece){from, to};
    b->count++;
}

static bool is_whole(const struct store_stage *s, const struct buffer *b)
{
    return b->count == 1 && b->pieces[0].from == 0 &&
           b->pieces[0].to == chunk_bytes(s, b->file, b->chunk);
}

/* ---- from buffers to the disk; under the lock, which is given up meanwhile ---- */

static void retire(struct store_stage *s, struct buffer *b, int failed)
{
    note_failure(s, b->file, failed);
    s->files[b->file].loose[b->chunk] = true;
    b->state = BUFFER_FREE;
    pthread_cond_broadcast(&s->change);
}

/* Writes what a buffer holds of its chunk through the page cache. */
static void spill(struct store_stage *s, struct buffer *b)
{
    int failed = 0;
    const struct staged_file *f = &s->files[b->file];
    uint64_t first = (uint64_t)b->chunk * s->chunk;
    b->state = BUFFER_SPILLING;
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < b->count && !failed; i++)
        failed = write_at(f->fd, first + b->pieces[i].from, b->data + b->pieces[i].from,
                          b->pieces[i].to - b->pieces[i].from);
    pthread_mutex_lock(&s->lock);
    retire(s, b, failed);
}

/* The end of a file that does not fill a page goes through the page cache. */
static int write_whole(const struct staged_file *f, uint64_t first, const char *data, size_t bytes)
{
    size_t pages = bytes / PAGE * PAGE;
    int failed = write_at(f->direct, first, data, pages);
    if (failed == EINVAL) return write_at(f->fd, first, data, bytes); /* a disk of larger blocks */
    return failed ? failed : write_at(f->fd, first + pages, data + pages, bytes - pages);
}

static struct buffer *next_in_flight(struct store_stage *s)
{
    struct buffer *oldest = NULL;
    for (int i = 0; i < s->buffer_count; i++) {
        struct buffer *b = &s->buffers[i];
        if (b->state == BUFFER_FLIGHT && b->users == 0 && (!oldest || b->age < oldest->age))
            oldest = b;
    }
    return oldest;
}

static void *write_chunks(void *user)
{
    struct store_stage *s = user;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        struct buffer *b = next_in_flight(s);
        if (!b && s->closing) break;
        if (!b) {
            pthread_cond_wait(&s->work, &s->lock);
            continue;
        }
        b->users = 1; /* this thread has it */
        uint64_t first = (uint64_t)b->chunk * s->chunk;
        size_t bytes = chunk_bytes(s, b->file, b->chunk);
        pthread_mutex_unlock(&s->lock);
        int failed = write_whole(&s->files[b->file], first, b->data, bytes);
        pthread_mutex_lock(&s->lock);
        b->users = 0;
        retire(s, b, failed);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- buffers ---- */

static struct buffer *find(struct store_stage *s, int file, int64_t chunk)
{
    for (int i = 0; i < s->buffer_count; i++) {
        struct buffer *b = &s->buffers[i];
        if (b->state != BUFFER_FREE && b->file == file && b->chunk == chunk) return b;
    }
    return NULL;
}

/* A free buffer, or NULL after something has changed. More than half of them waiting for pieces
 * that do not come would leave the disk idle: then the oldest is spilled. */
static struct buffer *take_free(struct store_stage *s)
{
    struct buffer *oldest = NULL;
    int open = 0;
    for (int i = 0; i < s->buffer_count; i++) {
        struct buffer *b = &s->buffers[i];
        if (b->state == BUFFER_FREE) return b;
        if (b->state != BUFFER_OPEN) continue;
        open++;
        if (b->users == 0 && (!oldest || b->age < oldest->age)) oldest = b;
    }
    if (oldest && 2 * open > s->buffer_count)
        spill(s, oldest);
    else
        pthread_cond_wait(&s->change, &s->lock);
    return NULL;
}

/* The chunk's buffer, or NULL when it goes through the page cache. */
static struct buffer *buffer_of(struct store_stage *s, int file, int64_t chunk)
{
    for (;;) {
        struct buffer *b = find(s, file, chunk);
        /* each user may add a piece */
        if (b && b->state == BUFFER_OPEN && b->count + b->users < PIECES) return b;
        if (b && b->state == BUFFER_OPEN && b->users == 0) {
            spill(s, b);
            continue;
        }
        if (b) {
            pthread_cond_wait(&s->change, &s->lock);
            continue;
        }
        if (s->files[file].loose[chunk]) return NULL;
        b = take_free(s);
        if (!b) continue; /* the lock was given up meanwhile */
        b->state = BUFFER_OPEN;
        b->file = file;
        b->chunk = chunk;
        b->count = b->users = 0;
        b->age = s->clock++;
        return b;
    }
}

/* A piece within one chunk. */
static void put_piece(struct store_stage *s, int file, uint64_t offset, const char *data,
                      size_t bytes)
{
    int64_t chunk = (int64_t)(offset / s->chunk);
    size_t from = (size_t)(offset % s->chunk);
    pthread_mutex_lock(&s->lock);
    struct buffer *b = buffer_of(s, file, chunk);
    if (b) b->users++;
    pthread_mutex_unlock(&s->lock);
    int failed = 0;
    if (b)
        memcpy(b->data + from, data, bytes);
    else
        failed = write_at(s->files[file].fd, offset, data, bytes);
    pthread_mutex_lock(&s->lock);
    note_failure(s, file, failed);
    if (b) {
        add_piece(b, from, from + bytes);
        b->users--;
        if (b->users == 0 && is_whole(s, b)) {
            b->state = BUFFER_FLIGHT;
            pthread_cond_signal(&s->work);
        }
        pthread_cond_broadcast(&s->change);
    }
    pthread_mutex_unlock(&s->lock);
}

int store__stage_put(struct store_stage *s, int file, uint64_t offset, const void *data,
                     size_t bytes, int *failed_file)
{
    IG_ASSERT(file < s->file_count && offset <= s->files[file].bytes &&
              bytes <= s->files[file].bytes - offset);
    const char *from = data;
    while (bytes > 0) {
        size_t rest = s->chunk - (size_t)(offset % s->chunk), n = bytes < rest ? bytes : rest;
        put_piece(s, file, offset, from, n);
        from += n;
        offset += n;
        bytes -= n;
    }
    pthread_mutex_lock(&s->lock);
    int failed = s->failed;
    *failed_file = s->failed_file;
    pthread_mutex_unlock(&s->lock);
    return failed;
}

int store__stage_read(struct store_stage *s, int file, uint64_t offset, void *out, size_t bytes)
{
    char *to = out;
    while (bytes > 0) {
        int64_t chunk = (int64_t)(offset / s->chunk);
        size_t from = (size_t)(offset % s->chunk), rest = s->chunk - from;
        size_t n = bytes < rest ? bytes : rest;
        pthread_mutex_lock(&s->lock);
        struct buffer *b = find(s, file, chunk);
        if (b) memcpy(to, b->data + from, n);
        pthread_mutex_unlock(&s->lock);
        ssize_t got = b ? (ssize_t)n : pread(s->files[file].fd, to, n, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return got < 0 ? errno : EIO;
        to += got;
        offset += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return 0;
}

int store__stage_flush(struct store_stage *s, int *failed_file)
{
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < s->buffer_count;) {
        struct buffer *b = &s->buffers[i];
        if (b->state == BUFFER_OPEN && b->users == 0)
            spill(s, b);
        else if (b->state != BUFFER_FREE)
            pthread_cond_wait(&s->change, &s->lock);
        else
            i++;
    }
    int failed = s->failed;
    *failed_file = s->failed_file;
    pthread_mutex_unlock(&s->lock);
    return failed;
}

/* ---- life ---- */

static bool open_file(struct store_stage *s, const struct store_stage_file *file)
{
    struct staged_file *f = &s->files[s->file_count];
    *f = (struct staged_file){.fd = file->fd, .bytes = file->bytes, .direct = -1};
    f->loose = calloc(file->bytes / s->chunk + 1, sizeof *f->loose);
    s->file_count++;
    if (!f->loose) return false;
    f->loose[0] = true; /* a header is there already */
    f->direct = O_DIRECT ? open(file->path, O_WRONLY | O_DIRECT | O_CLOEXEC) : -1;
    return f->direct >= 0;
}

static bool start(struct store_stage *s, const struct store_stage_file *files, int count,
                  int buffers)
{
    s->files = calloc((size_t)count, sizeof *s->files);
    s->buffers = calloc((size_t)buffers, sizeof *s->buffers);
    if (!s->files || !s->buffers) return false;
    for (int i = 0; i < count; i++)
        if (!open_file(s, &files[i])) return false;
    size_t bytes = ((size_t)buffers * s->chunk + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    s->memory = aligned_alloc(HUGE_PAGE, bytes);
    if (!s->memory) return false;
#ifdef MADV_HUGEPAGE
    madvise(s->memory, bytes, MADV_HUGEPAGE);
#endif
    for (; s->buffer_count < buffers; s->buffer_count++)
        s->buffers[s->buffer_count].data = (char *)s->memory + (size_t)s->buffer_count * s->chunk;
    for (; s->writer_count < WRITERS; s->writer_count++)
        if (pthread_create(&s->writers[s->writer_count], NULL, write_chunks, s) != 0) break;
    return s->writer_count > 0;
}

struct store_stage *store__stage_new(const struct store_stage_file *files, int count, size_t chunk,
                                     int buffers)
{
    IG_ASSERT(chunk % PAGE == 0 && buffers > 0);
    struct store_stage *s = count <= FILES_MAX ? calloc(1, sizeof *s) : NULL;
    if (!s) return NULL;
    s->chunk = chunk;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->change, NULL);
    if (start(s, files, count, buffers)) return s;
    store__stage_free(s);
    return NULL;
}

void store__stage_free(struct store_stage *s)
{
    int ignored;
    if (!s) return;
    if (s->writer_count > 0) store__stage_flush(s, &ignored);
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < s->writer_count; i++)
        pthread_join(s->writers[i], NULL);
    for (int i = 0; i < s->file_count; i++) {
        if (s->files[i].direct >= 0) close(s->files[i].direct);
        free(s->files[i].loose);
    }
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->change);
    pthread_mutex_destroy(&s->lock);
    free(s->files);
    free(s->buffers);
    free(s->memory);
    free(s);
}
