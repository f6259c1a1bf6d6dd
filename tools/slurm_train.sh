#!/usr/bin/env bash
# Train through Slurm:
#   tools/slurm_train.sh PARTITION JOB CONFIG [arguments of train.py]
# GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (9) and SRUN_ARGS are taken from the environment.
# A run that reaches its time limit or is preempted saves, queues again and resumes: see slurm_run.sh.
set -euo pipefail
if [ $# -lt 3 ]; then
    sed -n '2,5s/^# \{0,1\}//p' <"$0" >&2
    exit 2
fi
export MMSIMCLR_COMMAND="bash$(printf ' %q' "$0" "$@")"  # what the result says the run was
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
# sbatch runs a copy of this script, which lies elsewhere.
[ -f "$HERE/slurm_run.sh" ] || HERE=${SLURM_SUBMIT_DIR:-.}/tools
exec bash "$HERE/slurm_run.sh" "$1" "$2" "$HERE/train.py" "$3" --launcher slurm "${@:4}"
