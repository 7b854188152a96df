#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Merges by every method, casts by every recipe, and takes a LoRA out, in build (x86-64) and in
# build-arm64 (by qemu): the bytes must be the same.
set -eu
cd "$(dirname "$0")/.."
here=$PWD/build/cli/ingot arm="qemu-aarch64 -L $PWD/build-arm64-root $PWD/build-arm64/cli/ingot"
fx=$PWD/fixtures/models
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
compared=0 status=0

# compare NAME COMMAND.. — runs it twice; the last argument is the folder to write.
compare() {
    name=$1
    shift
    rm -rf x86 arm64
    "$here" "$@" x86 -q >log 2>&1 || return 1
    # shellcheck disable=SC2086
    $arm "$@" arm64 -q >log 2>&1 || { cat log && return 1; }
    for file in $(cd x86 && find . -name '*.safetensors*'); do
        cmp "x86/$file" "arm64/$file" || { echo "$name: not the same bytes" && status=1; }
    done
    compared=$((compared + 1))
}

# recipe METHOD MODEL.. — one that any method may take so many models by.
recipe() {
    method=$1
    shift
    printf 'merge_method: %s\nout_dtype: float32\nparameters: %s\nmodels:\n' "$method" "$parameters"
    for model in "$@"; do printf '  - model: %s/%s\n' "$fx" "$model"; done
    [ -z "$base" ] || printf 'base_model: %s/%s\n' "$fx" "$base"
}

for method in $("$here" list methods | awk '{print $1}'); do
    done=''
    for parameters in '{}' '{weight: 0.4}' '{weight: 0.4, density: 0.4}' '{t: 0.3}'; do
        for base in '' ballad base; do
            for models in 'anvil lantern ballad' 'anvil lantern' 'lantern' 'ballad lantern'; do
                [ -z "$done" ] || continue
                # shellcheck disable=SC2086
                recipe "$method" $models >r.yaml
                if compare "$method" merge r.yaml; then done=1; fi
            done
        done
    done
    [ -n "$done" ] || { echo "$method: no recipe for it here: $(cat log)" && status=1; }
done
merges=$compared
for recipe in $("$here" list recipes | awk '{print $1}'); do
    compare "$recipe" quantize "$fx/anvil" --recipe "$recipe" || { cat log && status=1; }
done
echo "$merges methods and $((compared - merges)) recipes: compared"
compare extract-lora extract-lora "$fx/anvil" --base "$fx/ballad" --rank 8 || { cat log && status=1; }
exit $status
