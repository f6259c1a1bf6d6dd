#!/usr/bin/env bash
# What a GPU shows in nine minutes, without a network: the tests that need one, a profile, and measurements.
#   benchmarks/gpu/check.sh [WHEELS]
# WHEELS is a folder of wheels that are missing there; they go to OUT/site. Each part writes OUT/PART.json or
# OUT/PART.log as soon as it ends, and OUT/check.json says which did. The same command goes on with what is
# left; REDO=1 begins anew. QUICK=1 rehearses it on a CPU at tiny sizes. OUT: benchmarks/results/gpu.
set -uo pipefail
cd -- "$(dirname -- "$0")/../.." || exit
OUT=${OUT:-benchmarks/results/gpu} PYTHON=${PYTHON:-python} QUICK=${QUICK:-}
mkdir -p "$OUT"
[ -z "${REDO:-}" ] || rm -f "$OUT/check.json"
if [ -n "${1:-}" ] && [ ! -d "$OUT/site" ]; then
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --target "$OUT/site" "$1"/*.whl || exit
fi
[ ! -d "$OUT/site" ] || export PYTHONPATH="$(cd "$OUT/site" && pwd)${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

record() {  # part, status, seconds: written after each part, so that nothing is lost with the machine
    "$PYTHON" - "$OUT/check.json" "$@" <<'PY'
import json, pathlib, sys
path, part, status, seconds = sys.argv[1:]
path = pathlib.Path(path)
parts = json.loads(path.read_text()) if path.exists() else {}
parts[part] = dict(status=int(status), seconds=int(seconds))
path.write_text(json.dumps(parts, indent=2) + '\n')
PY
}

part() {  # name, seconds at most, command
    local name=$1 limit=$2 started=$SECONDS status=0
    shift 2
    [ -z "$QUICK" ] || limit=$((5 * limit))                 # of a machine without a GPU
    if "$PYTHON" -c "import json, sys; sys.exit(json.load(open('$OUT/check.json'))['$name']['status'])" 2>/dev/null
    then
        echo "$name: done before"
        return
    fi
    timeout "$limit" "$@" >"$OUT/$name.log" 2>&1 || status=$?
    record "$name" "$status" $((SECONDS - started))
    echo "$name: status $status after $((SECONDS - started)) s"
    [ "$status" = 0 ] || { FAILED="$FAILED $name"; tail -n 15 "$OUT/$name.log"; }
}

FAILED=
quick=(${QUICK:+--quick})
tiny=(${QUICK:+width=4 train_dataloader.dataset.num_images=128 custom_hooks.2.bank.num_images=40
      custom_hooks.2.queries.num_images=20 custom_hooks.3.num_images=16 custom_hooks.3.held_out.num_images=16
      batch_size=16})
part tests 200 "$PYTHON" -m pytest -q -p no:cacheprovider tests/gpu
part profile 100 "$PYTHON" tools/train.py simclr_resnet18-w16_1xb128-coslr-5e_shapes --amp bf16 --profile 4 \
    --no-pictures --work-dir "$OUT/profiled" width=64 epochs=1 workers=0 views=device \
    "compile=$([ -n "$QUICK" ] && echo False || echo True)" ${tiny[@]+"${tiny[@]}"}
part lars 40 "$PYTHON" benchmarks/lars.py ${quick[@]+"${quick[@]}"} --out "$OUT/lars.json"
part device_views 60 "$PYTHON" benchmarks/device_views.py ${quick[@]+"${quick[@]}"} --out "$OUT/device_views.json"
part gpu_step 140 "$PYTHON" benchmarks/gpu_step.py ${quick[@]+"${quick[@]}"} --out "$OUT/gpu_step.json"
[ -z "$FAILED" ] || { echo "failed:$FAILED"; exit 1; }
echo "all parts done: $OUT/check.json"
