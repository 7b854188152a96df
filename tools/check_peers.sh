#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Parity with the reference programs themselves, run, where they are:
#   INGOT_PEERS_PYTHON   a Python with torch, transformers, safetensors, mergekit, mlx[cpu], mlx-lm, openai
#                        and huggingface_hub
#   INGOT_PEERS_YOYO     a clone of the author's repository (andehury/YOYO-Fusion)
# A peer that is not named is skipped, and said so.
set -eu
cd "$(dirname "$0")/.."
if [ -z "${INGOT_PEERS_PYTHON:-}" ]; then
    echo "skipped: INGOT_PEERS_PYTHON is not set"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
"$INGOT_PEERS_PYTHON" tools/golden/openai_client.py --program build/cli/ingot || status=1
"$INGOT_PEERS_PYTHON" tools/golden/hub_parity.py --program build/cli/ingot || status=1
"$INGOT_PEERS_PYTHON" tools/golden/mlx_parity.py --work "$work/mlx" || status=1
if [ -n "${INGOT_PEERS_YOYO:-}" ]; then
    git -C "$INGOT_PEERS_YOYO" show 0338e001:YOYO-Fusion.py >"$work/old.py"
    git -C "$INGOT_PEERS_YOYO" show f8f5c4e:YOYO-Fusion.py >"$work/new.py"
    "$INGOT_PEERS_PYTHON" tools/golden/yoyo_parity.py --old "$work/old.py" --new "$work/new.py" \
        fixtures/models/anvil fixtures/models/lantern fixtures/models/ballad || status=1
else
    echo "skipped: INGOT_PEERS_YOYO is not set"
fi
exit $status
