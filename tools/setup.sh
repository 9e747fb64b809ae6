#!/usr/bin/env bash
# Makes .venv with the packages of a lock file (checked against its hashes) and this package in place.
# Needs Python 3.11 to 3.13 with pip, no root, no python3-venv and no compiler. PYTHON names another interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
lock=${1:?name a lock file}

suits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null &&
        { has_new_pip "$1" || "$1" -c 'import ensurepip' 2>/dev/null; }
}
has_new_pip() { # 22.3 brought --python
    "$1" -c 'import pip, sys; sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) < (22, 3))' 2>/dev/null
}

if [ ! -s .venv/made-with ] || ! .venv/bin/python -c '' 2>/dev/null; then
    python=${PYTHON:-}
    if [ -n "$python" ]; then
        if ! command -v -- "$python" >/dev/null; then
            echo "set-up: PYTHON=$python: no such program" >&2
            exit 1
        elif ! suits "$python"; then
            echo "set-up: PYTHON=$python: not a Python 3.11 to 3.13 with pip" >&2
            exit 1
        fi
    else
        for candidate in python3.13 python3.12 python3.11 python3; do
            if suits "$candidate"; then
                python=$candidate
                break
            fi
        done
    fi
    if [ -z "$python" ]; then
        echo "set-up: no Python 3.11 to 3.13 with pip found; on Debian or Ubuntu: apt-get install python3 python3-pip" >&2
        exit 1
    fi
    echo "set-up: making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv --without-pip .venv
    # A symbolic link would lead through pyenv's shims; the interpreter itself knows where it is.
    "$python" -c 'import sys; print(sys.executable)' > .venv/made-with
fi

# Debian's own pip may refuse to touch the system's Python, but not another one that it is pointed at.
made_with=$(cat .venv/made-with)
if has_new_pip "$made_with"; then
    pip=("$made_with" -m pip --python .venv/bin/python)
else
    .venv/bin/python -m ensurepip --upgrade >/dev/null
    pip=(.venv/bin/python -m pip)
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_WARN_SCRIPT_LOCATION=1
echo "set-up: installing the packages of $lock"
"${pip[@]}" install --quiet --require-hashes --only-binary :all: -r "$lock"
# The build backend is in the lock, so this asks no index.
"${pip[@]}" install --quiet --no-deps --no-index --no-build-isolation --editable .
# As an installed package has it: where Python may write none, each process would compile all of it again.
.venv/bin/python -m compileall -q d4c_images tests bench tools
