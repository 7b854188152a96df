/* SPDX-License-Identifier: Apache-2.0
 * fuzz_hub_listing — any bytes as the Hub's answer: refused, or files whose names stay below a
 * folder and whose digests can be names. */
#include "base/check.h"
#include "fuzz_target.h"
#include "hub/hub_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ig_arena arena = {.bytes_max = (size_t)64 << 20};
    struct hub_listing listing = {0};
    struct ig_err err;
    bool read = hub__listing_read(ig_slice_make(data, size), &arena, &listing, &err);
    for (int64_t i = 0; read && i < listing.count; i++) {
        const struct hub_file *file = &listing.files[i];
        const char *path = file->path.ptr;
        size_t hex = strlen(file->digest);
        IG_ASSERT(strlen(path) == file->path.len && path[0] != '/' && path[0] != '\0');
        IG_ASSERT(strncmp(path, "../", 3) != 0 && strcmp(path, "..") != 0);
        IG_ASSERT(!strstr(path, "/../") && !ig_slice_ends(file->path, "/.."));
        IG_ASSERT(hex == 0 || hub__is_hex(ig_slice_of(file->digest), file->is_lfs ? 64 : 40));
    }
    if (read) IG_ASSERT(hub__listing_select(&listing, "*.json,a/", "b*") <= listing.count);
    ig_arena_release(&arena);
    return 0;
}
