#!/usr/bin/env bash
# Measure an encoder on GPUS processes of this machine, or of NNODES machines:
#   tools/dist_benchmark.sh CONFIG CHECKPOINT GPUS [arguments of benchmark.py]
# On several machines run it on each, with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
# Where there is no GPU the processes are CPU processes that talk through gloo.
# CHECKPOINT random measures a randomly initialised encoder.
set -euo pipefail
if [ $# -lt 3 ]; then
    sed -n '2,6s/^# \{0,1\}//p' <"$0" >&2
    exit 2
fi
CONFIG=$1 CHECKPOINT=("$2") GPUS=$3
[ "$2" = random ] && CHECKPOINT=(--init random)
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
exec bash "$HERE/dist_run.sh" "$GPUS" "$HERE/benchmark.py" "$CONFIG" "${CHECKPOINT[@]}" "${@:4}"
