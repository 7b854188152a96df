/* SPDX-License-Identifier: Apache-2.0
 * A file's header. Tensors that are accepted must be sorted and fill the file exactly. */
#include "base/check.h"
#include "fuzz_target.h"
#include "store/store_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ig_err err = {0};
    struct ig_arena arena = {.bytes_max = (size_t)64 << 20};
    struct ig_tensor *tensors = NULL;
    int64_t count = 0;
    uint64_t length = 0, end = 0;
    unsigned char first[STORE_LENGTH_BYTES] = {0};
    memcpy(first, data, size < sizeof first ? size : sizeof first);
    bool ok = store__header_length(first, size, &length, &err) &&
              store__header_parse(ig_slice_make(data + sizeof first, length), size, &arena,
                                  &tensors, &count, &err);
    end = sizeof first + length;
    IG_ASSERT(ok || (err.code != IG_OK && err.text[0] != '\0'));
    for (int64_t i = 0; i < count; i++) {
        end += tensors[i].bytes;
        IG_ASSERT(i == 0 || ig_slice_compare(tensors[i - 1].name, tensors[i].name) < 0);
        IG_ASSERT(tensors[i].offset + tensors[i].bytes <= size);
    }
    IG_ASSERT(!ok || end == size);
    ig_arena_release(&arena);
    return 0;
}
