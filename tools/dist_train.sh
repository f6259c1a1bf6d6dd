#!/usr/bin/env bash
# Train on GPUS processes of this machine, or of NNODES machines:
#   tools/dist_train.sh CONFIG GPUS [arguments of train.py]
# On several machines run it on each, with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
# Where there is no GPU the processes are CPU processes that talk through gloo.
# When a process dies all are started again, MAX_RESTARTS (0) times at most, and resume.
# With NNODES=MIN:MAX machines may come and go; see dist_run.sh.
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,7s/^# \{0,1\}//p' <"$0" >&2
    exit 2
fi
export MMSIMCLR_COMMAND="bash$(printf ' %q' "$0" "$@")"  # what the result says the run was
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
exec bash "$HERE/dist_run.sh" "$2" "$HERE/train.py" "$1" "${@:3}"
