/* SPDX-License-Identifier: Apache-2.0
 * scratch — a folder of the test program's own, removed at its end: group set-up and tear-down of
 * cmocka. INGOT_SCRATCH says where (default /tmp). */
#pragma once
#include "base/file.h"
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char scratch_dir[256];

static inline int scratch_open(void **state)
{
    (void)state;
    const char *where = getenv("INGOT_SCRATCH");
    snprintf(scratch_dir, sizeof scratch_dir, "%s/ingot-test-XXXXXX", where ? where : "/tmp");
    return mkdtemp(scratch_dir) ? 0 : -1;
}

static inline int scratch_close(void **state)
{
    (void)state;
    struct ig_err err;
    return ig_dir_remove(scratch_dir, &err) ? 0 : -1;
}

/* "SCRATCH/name" in one of four buffers used in turn. */
static inline const char *scratch(const char *name)
{
    static char paths[4][1024];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", scratch_dir, name);
    return path;
}

static inline void scratch_write(const char *name, const void *bytes, size_t count)
{
    FILE *file = fopen(scratch(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

/* The file as it is now; release it. */
static inline struct ig_buf scratch_read(const char *name)
{
    struct ig_err err = {0};
    struct ig_buf buf = {0};
    check_ok(ig_file_read(scratch(name), (size_t)1 << 30, &buf, &err), &err);
    return buf;
}
