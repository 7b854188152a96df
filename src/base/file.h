/* SPDX-License-Identifier: Apache-2.0
 * file — whole reads and writes that never stop half way without saying so.
 *
 * Every function names the path in its error. Paths are joined with '/'. */
#pragma once
#include "ingot/buf.h"
#include <stdint.h>

#define IG_PATH_MAX 4096

/* "dir/name" into out; false when it does not fit. dir NULL or "": name alone. */
IG_MUST_CHECK bool ig_path_join(char out[IG_PATH_MAX], const char *dir, const char *name,
                                struct ig_err *err);
bool ig_path_exists(const char *path);
bool ig_path_is_dir(const char *path);
/* Whether the path is the folder or lies in it, links followed; false when one does not exist. */
bool ig_path_is_in(const char *path, const char *folder);
/* Reads a whole file, at most bytes_max (more is a data error). */
IG_MUST_CHECK bool ig_file_read(const char *path, size_t bytes_max, struct ig_buf *out,
                                struct ig_err *err);
/* Writes to path + ".partial", syncs, renames. */
IG_MUST_CHECK bool ig_file_write(const char *path, struct ig_slice bytes, struct ig_err *err);
/* A descriptor for reading, or -1. Close it with close(). */
IG_MUST_CHECK int ig_file_open(const char *path, struct ig_err *err);
IG_MUST_CHECK bool ig_file_size(int fd, const char *path, uint64_t *out, struct ig_err *err);
/* Exactly `bytes` from `offset`: a short file is a data error. */
IG_MUST_CHECK bool ig_file_pread(int fd, const char *path, uint64_t offset, void *out, size_t bytes,
                                 struct ig_err *err);
IG_MUST_CHECK bool ig_file_pwrite(int fd, const char *path, uint64_t offset, const void *data,
                                  size_t bytes, struct ig_err *err);
/* fsync of a folder, so that names in it are durable. */
IG_MUST_CHECK bool ig_dir_sync(const char *path, struct ig_err *err);
/* Makes one folder; fine when it is there already. */
IG_MUST_CHECK bool ig_dir_make(const char *path, struct ig_err *err);
/* Removes a folder and all in it (never follows links). Fine when it is absent. */
IG_MUST_CHECK bool ig_dir_remove(const char *path, struct ig_err *err);
/* Calls `each` with the name of every entry but "." and "..", sorted. Stops when it returns false.
 */
IG_MUST_CHECK bool ig_dir_list(const char *path, bool (*each)(void *user, const char *name),
                               void *user, struct ig_err *err);
