#!/usr/bin/env bash
# Run a tool that takes --launcher through Slurm, and again if it was told to stop:
#   tools/slurm_run.sh PARTITION JOB TOOL [arguments of the tool]
# GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (9), NOTICE (120) and SRUN_ARGS are taken from the environment.
# NOTICE seconds before its time limit the run gets SIGUSR1; it saves, and ends with status 75. In a batch
# job (sbatch --requeue --signal=USR1@120) that puts the job back into the queue; elsewhere srun is
# called again, which waits for a new allocation. Either way the tool resumes by itself.
set -euo pipefail
if [ $# -lt 3 ]; then
    sed -n '2,7s/^# \{0,1\}//p' <"$0" >&2
    exit 2
fi
PARTITION=$1 JOB=$2
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
[ "$GPUS" -lt "$GPUS_PER_NODE" ] && GPUS_PER_NODE=$GPUS
read -r -a EXTRA <<< "${SRUN_ARGS:-}"
# What Slurm sends to the whole job must not end this script before the tool, which gets it too, has saved.
trap : TERM USR1
while true; do
    status=0
    srun --partition "$PARTITION" --job-name "$JOB" --gres "gpu:$GPUS_PER_NODE" --ntasks "$GPUS" \
        --ntasks-per-node "$GPUS_PER_NODE" --cpus-per-task "${CPUS_PER_TASK:-9}" --kill-on-bad-exit=1 \
        --signal "USR1@${NOTICE:-120}" ${EXTRA[@]+"${EXTRA[@]}"} "${PYTHON:-python}" -u "${@:3}" || status=$?
    [ "$status" = 75 ] || exit "$status"
    if [ -n "${SLURM_JOB_ID:-}" ]; then
        echo "the run was told to stop and has saved: requeueing job $SLURM_JOB_ID" >&2
        scontrol requeue "$SLURM_JOB_ID" ||
            echo "job $SLURM_JOB_ID cannot be requeued (sbatch --requeue): start it again with --resume" >&2
        exit 75
    fi
    export SLURM_RESTART_COUNT=$(( ${SLURM_RESTART_COUNT:-0} + 1 ))
    echo "the run was told to stop and has saved: restart $SLURM_RESTART_COUNT" >&2
done
