#!/usr/bin/env bash
# Measure an encoder through Slurm:
#   tools/slurm_benchmark.sh PARTITION JOB CONFIG CHECKPOINT [arguments of benchmark.py]
# GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (9) and SRUN_ARGS are taken from the environment.
# CHECKPOINT random measures a randomly initialised encoder.
set -euo pipefail
if [ $# -lt 4 ]; then
    sed -n '2,5s/^# \{0,1\}//p' <"$0" >&2
    exit 2
fi
CHECKPOINT=("$4")
[ "$4" = random ] && CHECKPOINT=(--init random)
export MMSIMCLR_COMMAND="bash$(printf ' %q' "$0" "$@")"  # what the result says the run was
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
# sbatch runs a copy of this script, which lies elsewhere.
[ -f "$HERE/slurm_run.sh" ] || HERE=${SLURM_SUBMIT_DIR:-.}/tools
exec bash "$HERE/slurm_run.sh" "$1" "$2" "$HERE/benchmark.py" "$3" "${CHECKPOINT[@]}" --launcher slurm "${@:5}"
