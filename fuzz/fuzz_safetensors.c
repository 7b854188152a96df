/* SPDX-License-Identifier: Apache-2.0
 * fuzz_safetensors — a file's header. What is accepted must tile the data, sorted by name. */
#include "base/check.h"
#include "fuzz_target.h"
#include "store/store_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ig_err err = {0};
    struct ig_arena arena = {.bytes_max = (size_t)64 << 20};
    struct ig_tensor *tensors = NULL;
    int64_t count = 0;
    uint64_t length, bytes = 0;
    unsigned char first[STORE_LENGTH_BYTES] = {0};
    memcpy(first, data, size < sizeof first ? size : sizeof first);
    if (store__header_length(first, size, &length, &err) &&
        store__header_parse(ig_slice_make(data + sizeof first, length), size, &arena, &tensors,
                            &count, &err)) {
        for (int64_t i = 0; i < count; i++) {
            bytes += tensors[i].bytes;
            IG_ASSERT(i == 0 || ig_slice_compare(tensors[i - 1].name, tensors[i].name) < 0);
            IG_ASSERT(tensors[i].offset + tensors[i].bytes <= size);
        }
        IG_ASSERT(bytes + length + sizeof first == size);
    } else {
        IG_ASSERT(err.code != IG_OK && err.text[0] != '\0');
    }
    ig_arena_release(&arena);
    return 0;
}
