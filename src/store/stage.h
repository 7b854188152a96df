/* SPDX-License-Identifier: Apache-2.0
 * stage — bytes of large files on their way to the disk, past the page cache.
 *
 * Files are cut into chunks. A chunk is gathered in memory from pieces that come in any order, from
 * any thread; when it is whole, one of a few threads writes it with O_DIRECT. Against a write
 * through the page cache that saves taking and dropping a page for each 4 KiB, and the disk has
 * several large requests to work on.
 *
 *     put ... put -> chunk (OPEN) -> whole -> (FLIGHT) -> disk
 *                          \-> not whole when its memory is needed, or at a flush: its pieces are
 *                              written through the page cache, and so is what still comes
 *
 * No page is ever written both ways. Bytes that were put are in the file after a flush only; until
 * then they are lost with the process. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_STAGE_CHUNK ((size_t)1 << 20)

struct store_stage;

/* One of the files, which is there and has its size; all are to stay as long as the stage. What its
 * first chunk holds may have been written before: that one goes through the page cache. */
struct store_stage_file {
    const char *path;
    int fd;
    uint64_t bytes;
};

/* NULL when there is no memory for it, or the file system does not let the page cache be passed by:
 * then write as usual. chunk: of a multiple of 4096 bytes; buffers: chunks in memory. */
struct store_stage *store__stage_new(const struct store_stage_file *files, int count, size_t chunk,
                                     int buffers);
/* 0, or the errno of this or any earlier write; *file says of which. */
int store__stage_put(struct store_stage *stage, int file, uint64_t offset, const void *data,
                     size_t bytes, int *failed_file);
/* Bytes that were put. 0, or an errno. */
int store__stage_read(struct store_stage *stage, int file, uint64_t offset, void *out,
                      size_t bytes);
/* Nobody else may be at it. 0, or the errno of any write so far. */
int store__stage_flush(struct store_stage *stage, int *failed_file);
/* Flushes first, come what may. Accepts NULL. */
void store__stage_free(struct store_stage *stage);
