/* SPDX-License-Identifier: Apache-2.0
 * disk — what POSIX has no words for: reserve room, keep the disk busy, exchange two names. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Makes the file so long, with its blocks reserved where the file system can. 0, or an errno. */
int store__disk_reserve(int fd, uint64_t bytes);
/* Exchanges two names in one step. 0, or an errno; EINVAL or ENOSYS where that does not exist. */
int store__disk_exchange(const char *a, const char *b);

/* The last writes, which the disk is working on. */
#define STORE_WINDOW_WRITES 16
struct store_window {
    pthread_mutex_t lock;
    struct store_write {
        int fd;
        uint64_t offset;
        size_t bytes; /* 0: none */
    } writes[STORE_WINDOW_WRITES];
    unsigned next;
};
void store__window_init(struct store_window *window);
void store__window_release(struct store_window *window);
/* Bytes were written to a file: sets the disk to work on them, waits for the write of WINDOW_WRITES
 * ago and lets the page cache forget that one. 0, or the errno of a failed write. Small ones are
 * left to fsync. */
int store__window_push(struct store_window *window, int fd, uint64_t offset, size_t bytes);
