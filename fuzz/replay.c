/* SPDX-License-Identifier: Apache-2.0
 * replay — runs a fuzz target on every file of a folder, with an ordinary main: any build, any
 * compiler, and a test on every commit. Input is copied to a block of its exact size, so that a
 * sanitizer sees one byte too many. */
#include "base/file.h"
#include "fuzz_target.h"

#include <stdio.h>
#include <stdlib.h>

static const char *folder;
static int files;

static bool run_one(void *user, const char *name)
{
    struct ig_err *err = user;
    struct ig_buf bytes = {0};
    char path[IG_PATH_MAX];
    if (!ig_path_join(path, folder, name, err) ||
        !ig_file_read(path, (size_t)1 << 26, &bytes, err)) {
        fprintf(stderr, "%s\n", err->text);
        exit(1);
    }
    uint8_t *exact = malloc(bytes.len ? bytes.len : 1);
    if (!exact) exit(1);
    if (bytes.len) memcpy(exact, bytes.data, bytes.len);
    LLVMFuzzerTestOneInput(exact, bytes.len);
    free(exact);
    ig_buf_release(&bytes);
    files++;
    return true;
}

int main(int argc, char **argv)
{
    struct ig_err err = {0};
    folder = argc == 2 ? argv[1] : ".";
    if (!ig_dir_list(folder, run_one, &err, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    printf("%d files\n", files);
    return files ? 0 : 1;
}
