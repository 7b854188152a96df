/* SPDX-License-Identifier: Apache-2.0
 * disk — see disk.h. Linux; on macOS less: no room is reserved, and all is written by fsync.
 *
 * Why a window: a copy of gigabytes through the page cache leaves them all to be written at the
 * end, and takes a fresh page for each 4 KiB of them, which costs more than the copy where memory
 * is tight or the machine is virtual and its memory has to be brought by the host. With some writes
 * under way at any time the same few pages go round, the inputs stay cached, and fsync finds little
 * to do. */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define PUSH_BYTES_MIN                                                                             \
    ((size_t)64 << 10) /* below, a request to the disk costs more than it saves */

int store__disk_reserve(int fd, uint64_t bytes)
{
#if defined(__linux__)
    /* Not posix_fallocate: where the file system cannot reserve, glibc would write every block. */
    int failed;
    do
        failed = fallocate(fd, 0, 0, (off_t)bytes) == 0 ? 0 : errno;
    while (failed == EINTR);
    if (failed != EOPNOTSUPP && failed != ENOSYS) return failed;
#endif
    return ftruncate(fd, (off_t)bytes) == 0 ? 0 : errno;
}

int store__disk_exchange(const char *a, const char *b)
{
#if defined(__APPLE__)
    return renamex_np(a, b, RENAME_SWAP) == 0 ? 0 : errno;
#else
    return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0 ? 0 : errno;
#endif
}

void store__window_init(struct store_window *window)
{
    *window = (struct store_window){.next = 0};
    pthread_mutex_init(&window->lock, NULL);
}

void store__window_release(struct store_window *window)
{
    pthread_mutex_destroy(&window->lock);
}

#if defined(__linux__)
/* Some file systems know nothing of ranges; then all is left to fsync. */
static bool is_unknown_call(int error)
{
    return error == ENOSYS || error == EINVAL || error == ESPIPE || error == EOPNOTSUPP;
}

int store__window_push(struct store_window *window, int fd, uint64_t offset, size_t bytes)
{
    if (bytes < PUSH_BYTES_MIN) return 0;
    struct store_write write = {fd, offset, bytes};
    if (sync_file_range(fd, (off_t)offset, (off_t)bytes, SYNC_FILE_RANGE_WRITE) != 0)
        return is_unknown_call(errno) ? 0 : errno;
    pthread_mutex_lock(&window->lock);
    struct store_write *slot = &window->writes[window->next++ % STORE_WINDOW_WRITES];
    struct store_write old = *slot;
    *slot = write;
    pthread_mutex_unlock(&window->lock);
    if (old.bytes == 0) return 0;
    /* Its failure must be told here: a later fsync may not tell it again. */
    if (sync_file_range(old.fd, (off_t)old.offset, (off_t)old.bytes, SYNC_FILE_RANGE_WAIT_BEFORE) !=
        0)
        return is_unknown_call(errno) ? 0 : errno;
    posix_fadvise(old.fd, (off_t)old.offset, (off_t)old.bytes, POSIX_FADV_DONTNEED);
    return 0;
}
#else
int store__window_push(struct store_window *window, int fd, uint64_t offset, size_t bytes)
{
    (void)window, (void)fd, (void)offset, (void)bytes;
    return 0; /* all is left to fsync */
}
#endif
