#!/usr/bin/env bash
# Run a tool that takes --launcher on GPUS processes of this machine, or of NNODES machines:
#   tools/dist_run.sh GPUS TOOL [arguments of the tool]
# On several machines run it on each, with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
# Where there is no GPU the processes are CPU processes that talk through gloo.
# When a process dies all are started again, MAX_RESTARTS (0) times at most, and resume.
# With NNODES=MIN:MAX machines may come and go; run the same on each, with MASTER_ADDR and PORT. Those that
# there are share the batch that MAX would have, and go on with what the work directory holds.
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,8s/^# \{0,1\}//p' <"$0" >&2
    exit 2
fi
GPUS=$1 TOOL=$2
# Bash's arithmetic would run what is in a text such as a[$(command)].
case ${NNODES:-1} in
    *[!0-9:]* | :* | *: | *:*:*) echo "NNODES must be a number of machines or MIN:MAX, got $NNODES" >&2; exit 2 ;;
esac
case $GPUS in
    '' | 0* | *[!0-9]*) echo "GPUS must be the number of processes on this machine, got $GPUS" >&2; exit 2 ;;
esac
NNODES=${NNODES:-1}
if [[ "$NNODES" == *:* ]]; then
    : "${MASTER_ADDR:?set it to the address of the machine that stays}"
    RENDEZVOUS=(--nnodes "$NNODES" --rdzv-backend c10d --rdzv-endpoint "$MASTER_ADDR:${PORT:-29500}"
                --rdzv-id "${JOB:-mmsimclr}" --rdzv-conf "last_call_timeout=${LAST_CALL:-30}"
                ${LOCAL_ADDR:+--local-addr "$LOCAL_ADDR"})
    MAX_RESTARTS=${MAX_RESTARTS:-100}                # that a machine went counts as one
    export MMSIMCLR_ELASTIC_RANKS=$(( GPUS * ${NNODES#*:} ))
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1      # of which earlier starts' addresses would be read
elif [ "$NNODES" = 1 ] && [ -z "${PORT:-}" ]; then
    RENDEZVOUS=(--standalone)          # picks a free port
else
    if [ "$NNODES" != 1 ]; then
        : "${NODE_RANK:?set it to the number of this machine, 0 to NNODES - 1}"
        : "${MASTER_ADDR:?set it to the address of machine 0}"
    fi
    RENDEZVOUS=(--nnodes "$NNODES" --node-rank "${NODE_RANK:-0}"
                --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${PORT:-29500}")
fi
# torchrun would set one thread per process, which leaves cores idle on a CPU-only machine.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(( ($(nproc) + GPUS - 1) / GPUS ))}
export MMSIMCLR_COMMAND=${MMSIMCLR_COMMAND:-"bash$(printf ' %q' "$0" "$@")"}  # what the result says the run was
# torchrun hands signals on to the processes; of SIGUSR1 it would die.
exec "${PYTHON:-python}" -m torch.distributed.run "${RENDEZVOUS[@]}" --nproc-per-node "$GPUS" \
    --max-restarts "${MAX_RESTARTS:-0}" --signals-to-handle SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 \
    "$TOOL" "${@:3}" --launcher pytorch
