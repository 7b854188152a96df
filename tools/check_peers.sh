#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Parity with the reference programs themselves, where a Python that has them is named:
#   INGOT_PEERS_PYTHON=/path/to/venv/bin/python ./dev check-full
# (pip install torch transformers tokenizers safetensors mergekit lm-eval 'mlx[cpu]' mlx-lm). Each script prints what
# it compared and ends with status 0 when all agrees. The author's YOYO-Fusion.py is given by INGOT_PEERS_YOYO, a
# clone of its repository; without it that script says so and is skipped.
set -eu
cd "$(dirname "$0")/.."
if [ -z "${INGOT_PEERS_PYTHON:-}" ]; then
    echo "skipped: INGOT_PEERS_PYTHON is not set"
    exit 0
fi
status=0
for script in tools/golden/*_parity.py; do
    echo "== $script"
    "$INGOT_PEERS_PYTHON" "$script" --ingot build/cli/ingot --fixtures fixtures || status=1
done
exit $status
