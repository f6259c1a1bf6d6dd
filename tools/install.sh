#!/usr/bin/env bash
# Create the virtual environment and install what is pinned:
#   tools/install.sh core                pre-training and classification; nothing is compiled
#   tools/install.sh core --cpu INDEX    the same with torch and torchvision of an index of CPU wheels
#   tools/install.sh full                also mmcv's compiled ops, mmdet, mmseg and the test tools
# VENV names the environment (.venv), PYTHON the interpreter (python3, or the first suitable one of 3.12, 3.11, 3.13, 3.10).
# Nothing is installed whose SHA-256 is not in requirements/*.lock. The source of mmcv is in mmcv.lock; the wheel
# built of it is kept in MMSIMCLR_WHEELS, by mmcv, Python and torch version. There is no lock of torch's CPU
# wheels: with --cpu the two come at the pinned versions from INDEX, which you trust. That was not tried.
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "$0")/.."
WANT=${1:-core}
INDEX=
VENV=${VENV:-.venv}
case $VENV in /*) ;; *) VENV=$PWD/$VENV ;; esac          # not an option, if it begins with a dash
MMCV=$(grep -oE '^onedl-mmcv==[^ ]+' requirements/mmcv.lock)
log() { printf '\033[1m== %s\033[0m\n' "$*"; }
fail() { printf 'install: %s\n' "$*" >&2; exit 1; }

case $*: in
    core:|full:|:) ;;
    'core --cpu '?*) [ $# = 3 ] || fail "expected one index behind --cpu, got $*"; INDEX=$3 ;;
    *) fail "expected core, core --cpu INDEX (such as https://download.pytorch.org/whl/cpu) or full, got $*" ;;
esac

SUITABLE='Python 3.10 (from 3.10.12), 3.11 (from 3.11.4), 3.12 or 3.13'
suits() {
    # As python_requires in setup.py: earlier ones unpack archives without a guard.
    "$1" -c 'import sys
version = sys.version_info[:3]
sys.exit(not ((3, 10, 12) <= version < (3, 11) or (3, 11, 4) <= version < (3, 14)))' >/dev/null 2>&1
}

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        suits "$PYTHON" || fail "PYTHON=$PYTHON is not $SUITABLE"
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.12 python3.11 python3.13 python3.10; do
        suits "$candidate" && echo "$candidate" && return
    done
    fail "$SUITABLE is needed and none was found (python3 is $(python3 --version 2>&1 || \
echo missing)). On Debian or Ubuntu: sudo apt-get install python3 python3-venv"
}

create_venv() {
    local python
    if [ -x "$VENV/bin/python" ] && "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        suits "$VENV/bin/python" || fail "$VENV has $("$VENV/bin/python" --version), and $SUITABLE is \
needed; remove it and run this again"
        return
    fi
    python=$(find_python)
    [ ! -e "$VENV" ] || [ -f "$VENV/pyvenv.cfg" ] || [ -z "$(ls -A "$VENV")" ] || fail "VENV=$VENV is there \
and no virtual environment, and would be deleted: name another, or remove it"
    log "creating $VENV with $("$python" --version)"
    rm -rf "$VENV"
    "$python" -m venv "$VENV" || fail "could not create $VENV. On Debian or Ubuntu: sudo apt-get install \
$(basename -- "$python")-venv"
}

check_compiler() {
    ops_work && return
    command -v "${CXX:-c++}" >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || fail "mmcv's ops are \
compiled here and need a C++ compiler, which is missing. On Debian or Ubuntu: sudo apt-get install g++"
    "$VENV/bin/python" -c 'import os, sysconfig, sys
sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' || fail "mmcv's \
ops are compiled here and need Python's headers (Python.h), which are missing. On Debian or Ubuntu: sudo \
apt-get install $("$VENV/bin/python" -c 'import sys; print("python%d.%d-dev" % sys.version_info[:2])')"
}

pip_install() { "$VENV/bin/python" -m pip install --disable-pip-version-check "$@"; }

locked() { pip_install --no-deps --require-hashes -r "requirements/$1.lock"; }

install_core_without_cuda() {
    local others
    others=$(mktemp)
    # torch, torchvision, and what only CUDA needs, each with the lines of its hashes.
    awk '/^[^ #]/ { skip = /^(torch|torchvision|triton|(cuda|nvidia)-[a-z0-9-]+)==/ } !skip' \
        requirements/core.lock >"$others"
    pip_install --no-deps --index-url "$INDEX" \
        "$(grep -oE '^torch==[0-9.]+' requirements/core.lock)" \
        "$(grep -oE '^torchvision==[0-9.]+' requirements/core.lock)"
    pip_install --no-deps --require-hashes -r "$others"
    rm "$others"
}

install_mmcv_without_ops() {
    "$VENV/bin/python" -c 'import mmcv, sys; sys.exit(mmcv.__version__ != "'"${MMCV#*==}"'")' \
        >/dev/null 2>&1 && return
    log 'installing mmcv without compiled ops'
    # Where it finds no torch, mmcv builds without its ops, in seconds. Not in pip's isolated build, which would
    # fetch its tools without comparing hashes. No cache: pip would mistake this wheel for one with ops.
    local hidden
    hidden=$(mktemp -d)
    echo 'raise ModuleNotFoundError("hidden while mmcv is built")' >"$hidden/torch.py"
    PYTHONPATH=$hidden pip_install --quiet --no-cache-dir --no-build-isolation --no-deps --require-hashes \
        -r requirements/mmcv.lock
    rm -r "$hidden"
}

ops_work() {
    MMCV_VERSION=${MMCV#*==} "$VENV/bin/python" - <<'PYTHON' >/dev/null 2>&1
import os
import mmcv
import torch
assert mmcv.__version__ == os.environ['MMCV_VERSION']
from mmcv.ops import nms
boxes = torch.tensor([[0., 0., 10., 10.], [1., 1., 10., 10.]])
kept, _ = nms(boxes, torch.tensor([0.9, 0.8]), iou_threshold=0.5)
raise SystemExit(len(kept) != 1)
PYTHON
}

install_mmcv_with_ops() {
    ops_work && return
    local key wheels
    key=$("$VENV/bin/python" -c 'import sys, torch
print("cp%d%d-torch%s" % (*sys.version_info[:2], torch.__version__.split("+")[0]))')-mmcv${MMCV#*==}
    wheels=${MMSIMCLR_WHEELS:-${XDG_CACHE_HOME:-$HOME/.cache}/mmsimclr/wheels}/$key
    if ! ls "$wheels"/*.whl >/dev/null 2>&1; then
        log "compiling mmcv's ops (about 7 minutes on two cores; kept in $wheels)"
        mkdir -p "$wheels"
        MAX_JOBS=${MAX_JOBS:-$(nproc)} "$VENV/bin/python" -m pip wheel --quiet --no-build-isolation \
            --no-cache-dir --no-deps --require-hashes --wheel-dir "$wheels" -r requirements/mmcv.lock
    fi
    log "installing mmcv with ops from $wheels"
    pip_install --quiet --force-reinstall --no-deps "$wheels"/*.whl
    ops_work || { rm -rf "$wheels"; fail "mmcv was compiled but its ops do not run with this torch; \
$wheels was removed, run this again"; }
}

install_browser() {
    # Tests open a page in it, and are left out where there is none.
    command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 && return
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || return 0
    log 'installing chromium'
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } \
        >/dev/null || log 'chromium cannot be installed here: tests in a browser are left out'
}

create_venv
case $WANT in
    core)
        if [ -n "$INDEX" ]; then
            log "installing the core requirements, torch and torchvision from $INDEX"
            install_core_without_cuda
        else
            log 'installing the core requirements (about 5 GB, mostly torch with its CUDA libraries)'
            locked core
        fi
        install_mmcv_without_ops
        ;;
    full)
        check_compiler
        log 'installing all requirements (about 8 GB, mostly torch with its CUDA libraries)'
        locked full
        install_mmcv_with_ops
        install_browser
        ;;
esac
pip_install --quiet --no-build-isolation --no-deps -e .
touch "$VENV/.core-installed"
[ "$WANT" = full ] && touch "$VENV/.full-installed"
log "installed ($WANT) in $VENV"
