/* SPDX-License-Identifier: Apache-2.0
 * file — see file.h. EINTR and short transfers are retried here and nowhere else. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Linux moves at most 2 GiB less a page in one call. */
#define TRANSFER_BYTES_MAX ((size_t)1 << 30)
#define DIR_DEPTH_MAX      16

bool ig_path_join(char out[IG_PATH_MAX], const char *dir, const char *name, struct ig_err *err)
{
    const char *slash = dir && *dir && dir[strlen(dir) - 1] != '/' ? "/" : "";
    int n = snprintf(out, IG_PATH_MAX, "%s%s%s", dir ? dir : "", slash, name);
    if (n < 0 || n >= IG_PATH_MAX)
        return ig_err_set(err, IG_ERR_USAGE, "path '%.64s...' is longer than %d bytes", out,
                          IG_PATH_MAX - 1);
    return true;
}

bool ig_path_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool ig_path_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool ig_path_is_in(const char *path, const char *folder)
{
    char *inner = realpath(path, NULL), *outer = realpath(folder, NULL);
    size_t len = outer ? strlen(outer) : 0;
    bool in = inner && outer && strncmp(inner, outer, len) == 0 &&
              (inner[len] == '\0' || inner[len] == '/' || outer[len - 1] == '/');
    free(inner);
    free(outer);
    return in;
}

int ig_file_open(const char *path, struct ig_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* else a named pipe would hang it */
    if (fd < 0) {
        ig_err_errno(err, errno, "cannot open '%s'", path);
        return -1;
    }
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        ig_err_set(err, IG_ERR_IO, "cannot open '%s': not a regular file", path);
        close(fd);
        return -1;
    }
    return fd;
}

bool ig_file_size(int fd, const char *path, uint64_t *out, struct ig_err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return ig_err_errno(err, errno, "cannot stat '%s'", path);
    *out = (uint64_t)st.st_size;
    return true;
}

bool ig_file_pread(int fd, const char *path, uint64_t offset, void *out, size_t bytes,
                   struct ig_err *err)
{
    for (size_t done = 0; done < bytes;) {
        size_t want = bytes - done < TRANSFER_BYTES_MAX ? bytes - done : TRANSFER_BYTES_MAX;
        ssize_t got = pread(fd, (char *)out + done, want, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            return ig_err_errno(err, errno, "cannot read '%s' at byte %llu", path,
                                (unsigned long long)(offset + done));
        if (got == 0)
            return ig_err_set(err, IG_ERR_DATA, "'%s' ends at byte %llu, before byte %llu", path,
                              (unsigned long long)(offset + done),
                              (unsigned long long)(offset + bytes));
        done += (size_t)got;
    }
    return true;
}

bool ig_file_pwrite(int fd, const char *path, uint64_t offset, const void *data, size_t bytes,
                    struct ig_err *err)
{
    for (size_t done = 0; done < bytes;) {
        size_t want = bytes - done < TRANSFER_BYTES_MAX ? bytes - done : TRANSFER_BYTES_MAX;
        ssize_t put = pwrite(fd, (const char *)data + done, want, (off_t)(offset + done));
        if (put < 0 && errno == EINTR) continue;
        if (put <=
            0) /* nothing written and no reason given: some network file systems, when full */
            return ig_err_errno(err, put < 0 ? errno : EIO, "cannot write '%s' at byte %llu", path,
                                (unsigned long long)(offset + done));
        done += (size_t)put;
    }
    return true;
}

bool ig_file_read(const char *path, size_t bytes_max, struct ig_buf *out, struct ig_err *err)
{
    int fd = ig_file_open(path, err);
    if (fd < 0) return false;
    bool ok = false;
    uint64_t size = 0;
    struct ig_buf whole = {0};
    if (!ig_file_size(fd, path, &size, err)) goto done;
    if (size > bytes_max) {
        ig_err_set(err, IG_ERR_DATA, "'%s' has %llu bytes, at most %zu are allowed", path,
                   (unsigned long long)size, bytes_max);
        goto done;
    }
    whole.data = malloc(size + 1);
    if (!whole.data) {
        ig_err_nomem(err);
        goto done;
    }
    whole.cap = size + 1;
    if (!ig_file_pread(fd, path, 0, whole.data, size, err)) goto done;
    whole.len = size;
    whole.data[size] = '\0';
    ig_buf_release(out);
    *out = whole;
    whole = (struct ig_buf){0};
    ok = true;
done:
    ig_buf_release(&whole);
    close(fd);
    return ok;
}

bool ig_file_write(const char *path, struct ig_slice bytes, struct ig_err *err)
{
    char partial[IG_PATH_MAX];
    if (snprintf(partial, sizeof partial, "%s.partial", path) >= IG_PATH_MAX)
        return ig_err_set(err, IG_ERR_USAGE, "path '%.64s...' is too long", path);
    int fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return ig_err_errno(err, errno, "cannot create '%s'", partial);
    bool ok = ig_file_pwrite(fd, partial, 0, bytes.ptr, bytes.len, err);
    if (ok && fsync(fd) != 0) ok = ig_err_errno(err, errno, "cannot write '%s'", partial);
    if (close(fd) != 0 && ok) ok = ig_err_errno(err, errno, "cannot write '%s'", partial);
    if (ok && rename(partial, path) != 0)
        ok = ig_err_errno(err, errno, "cannot rename '%s' to '%s'", partial, path);
    if (!ok) unlink(partial);
    return ok;
}

bool ig_dir_sync(const char *path, struct ig_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return ig_err_errno(err, errno, "cannot open folder '%s'", path);
    bool ok = fsync(fd) == 0 || errno == EINVAL; /* some file systems cannot sync a folder */
    if (!ok) ig_err_errno(err, errno, "cannot sync folder '%s'", path);
    close(fd);
    return ok;
}

bool ig_dir_make(const char *path, struct ig_err *err)
{
    if (mkdir(path, 0777) == 0 || (errno == EEXIST && ig_path_is_dir(path))) return true;
    return ig_err_errno(err, errno, "cannot make folder '%s'", path);
}

static bool refuse_depth(int fd, const char *path, struct ig_err *err)
{
    close(fd);
    return ig_err_set(err, IG_ERR_IO, "cannot remove '%s': its folders are more than %d deep", path,
                      DIR_DEPTH_MAX);
}

/* Recursion is bounded by DIR_DEPTH_MAX. */
static bool remove_entries(int dir_fd, const char *path, int depth, /* NOLINT(misc-no-recursion) */
                           struct ig_err *err)
{
    DIR *dir = fdopendir(dir_fd);
    if (!dir) {
        ig_err_errno(err, errno, "cannot read folder '%s'", path);
        close(dir_fd);
        return false;
    }
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (unlinkat(dirfd(dir), e->d_name, 0) == 0) continue;
        int why = errno;
        int child = openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (child < 0)
            ok = ig_err_errno(err, errno == ENOTDIR ? why : errno, "cannot remove '%s/%s'", path,
                              e->d_name);
        else if (depth == DIR_DEPTH_MAX)
            ok = refuse_depth(child, path, err);
        else if (!remove_entries(child, path, depth + 1, err))
            ok = false;
        else if (unlinkat(dirfd(dir), e->d_name, AT_REMOVEDIR) != 0)
            ok = ig_err_errno(err, errno, "cannot remove '%s/%s'", path, e->d_name);
    }
    closedir(dir);
    return ok;
}

bool ig_dir_remove(const char *path, struct ig_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT) return true;
        return ig_err_errno(err, errno, "cannot open folder '%s'", path);
    }
    if (!remove_entries(fd, path, 0, err)) return false;
    if (rmdir(path) != 0) return ig_err_errno(err, errno, "cannot remove folder '%s'", path);
    return true;
}

static int keep_entry(const struct dirent *e)
{
    return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* not alphasort: that one asks the locale */
}

bool ig_dir_list(const char *path, bool (*each)(void *user, const char *name), void *user,
                 struct ig_err *err)
{
    struct dirent **entries;
    int count = scandir(path, &entries, keep_entry, by_bytes);
    if (count < 0) return ig_err_errno(err, errno, "cannot read folder '%s'", path);
    bool go = true;
    for (int i = 0; i < count; i++) {
        go = go && each(user, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return true;
}
