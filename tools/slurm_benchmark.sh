#!/usr/bin/env bash
# Measure an encoder through Slurm:
#   tools/slurm_benchmark.sh PARTITION JOB CONFIG CHECKPOINT [arguments of benchmark.py]
# GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (9) and SRUN_ARGS are taken from the environment.
# CHECKPOINT random measures a randomly initialised encoder.
set -euo pipefail
if [ $# -lt 4 ]; then
    sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
PARTITION=$1 JOB=$2 CONFIG=$3 CHECKPOINT=("$4")
[ "$4" = random ] && CHECKPOINT=(--init random)
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
[ "$GPUS" -lt "$GPUS_PER_NODE" ] && GPUS_PER_NODE=$GPUS
export MMSIMCLR_COMMAND="$0 $*"               # what the result says the run was
read -r -a EXTRA <<< "${SRUN_ARGS:-}"
exec srun --partition "$PARTITION" --job-name "$JOB" --gres "gpu:$GPUS_PER_NODE" --ntasks "$GPUS" \
    --ntasks-per-node "$GPUS_PER_NODE" --cpus-per-task "${CPUS_PER_TASK:-9}" --kill-on-bad-exit=1 \
    ${EXTRA[@]+"${EXTRA[@]}"} "${PYTHON:-python}" -u "$(dirname "$0")/benchmark.py" "$CONFIG" \
    "${CHECKPOINT[@]}" --launcher slurm "${@:5}"
