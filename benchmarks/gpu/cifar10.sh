#!/usr/bin/env bash
# CIFAR-10 on one GPU that is at hand for half an hour, without a network: pre-training and linear evaluation.
#   benchmarks/gpu/cifar10.sh PARTS [OPTIONS of pre-training: KEY=VALUE ...]
# PARTS is a folder with parts of an archive of CIFAR-10, which may arrive one after the other, and parts.md5:
#   split -b 45M -d cifar-10-binary.tar.gz part. && md5sum part.* > parts.md5
# The training outlives the shell. Each call goes on where the last one stopped, waits WAIT (500) seconds at
# most, and ends with status 75 while something is missing: parts, or the end of the training. OUT
# (work_dirs/gpu_cifar10) holds all; the result is OUT/cifar10_run.json. EPOCHS (300), QUICK=1: a rehearsal.
set -euo pipefail
cd -- "$(dirname -- "$0")/../.."
OUT=${OUT:-work_dirs/gpu_cifar10} PYTHON=${PYTHON:-python} WAIT=${WAIT:-500}
PARTS=${1:?the folder of the parts}
shift
mkdir -p "$OUT/parts"
OUT=$(cd "$OUT" && pwd)
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

if [ ! -f "$OUT/data/cifar-10-batches-bin/batches.meta.txt" ]; then
    [ ! -f "$PARTS/parts.md5" ] || cp "$PARTS/parts.md5" "$OUT/parts/"
    [ -f "$OUT/parts/parts.md5" ] || { echo "no parts.md5 in $PARTS yet"; exit 75; }
    missing=0
    while read -r sum name; do
        name=${name#\*}
        case $name in */* | .*) echo "parts.md5 names $name, which is no plain name" >&2; exit 2 ;; esac
        if ! echo "$sum  $OUT/parts/$name" | md5sum --status -c 2>/dev/null; then
            if [ -f "$PARTS/$name" ] && echo "$sum  $PARTS/$name" | md5sum --status -c; then
                cp "$PARTS/$name" "$OUT/parts/$name"
            else
                echo "$name: $([ -f "$PARTS/$name" ] && echo 'damaged or still arriving' || echo 'not there yet')"
                missing=1
            fi
        fi
    done <"$OUT/parts/parts.md5"
    [ "$missing" = 0 ] || exit 75
    (cd "$OUT/parts" && awk '{sub(/^\*/, "", $2); print $2}' parts.md5 | sort | xargs cat) >"$OUT/cifar10.tar.gz"
    "$PYTHON" tools/prepare_data/cifar10.py --data-root "$OUT/data" --source "$OUT/cifar10.tar.gz"
    rm -r "$OUT/cifar10.tar.gz" "$OUT/parts"
fi

is_running() {  # and is no dead process that nobody has asked about
    [ -f "$OUT/pid" ] && kill -0 "$(cat "$OUT/pid")" 2>/dev/null &&
        ! grep -qs '^State:[[:space:]]*Z' "/proc/$(cat "$OUT/pid")/status"
}
is_done() { grep -qs top_1_percent "$OUT/cifar10_run.json"; }
if ! is_done && ! is_running; then
    setsid nohup "$PYTHON" benchmarks/cifar10_run.py ${QUICK:+--quick} ${EPOCHS:+--epochs "$EPOCHS"} \
        --data-root "$OUT/data" --work-dir "$OUT/run" --out "$OUT/cifar10_run.json" --options "$@" \
        >>"$OUT/log" 2>&1 </dev/null &
    echo $! >"$OUT/pid"
fi
for _ in $(seq "$WAIT"); do
    is_running || break
    sleep 1
done
tail -n 3 "$OUT/log"
is_done || { is_running && exit 75; echo "it ended early: see $OUT/log" >&2; exit 1; }
cat "$OUT/cifar10_run.json"
