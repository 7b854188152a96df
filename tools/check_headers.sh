#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every header must compile alone: a reader, and a user, may include just one.
set -eu
for header in include/ingot/*.h; do
    printf '#include "%s"\n' "${header#include/}" |
        cc -std=gnu11 -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only -x c -
done
for header in src/*/*.h src/tensor/kernels/*.h; do
    printf '#include "%s"\n' "${header#src/}" |
        cc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Werror -Iinclude -Isrc -Ibuild/src -fsyntax-only -x c -
done
