/* SPDX-License-Identifier: Apache-2.0
 * fuzz_arrow — any bytes as a file of that format. */
#include "fuzz_table.h"
#include "fuzz_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ig_err err = {0};
    struct table_reader reader;
    if (table__arrow_open(ig_slice_make(data, size), FUZZ_UNPACKED_MAX, &reader, &err))
        fuzz_rows(&reader);
    else
        IG_ASSERT(err.code != IG_OK && err.text[0] != '\0');
    return 0;
}
