#!/usr/bin/env bash
# Writes requirements.lock (to run) and requirements-dev.lock (to test) anew: versions and hashes, no index address.
# Arguments go to uv, for example: tools/lock.sh --upgrade-package pillow
set -euo pipefail
cd "$(dirname "$0")/.."
header="# Made by 'make lock' from pyproject.toml: versions and hashes for Python 3.11 to 3.13, any platform."

compile() { # output, then arguments of uv
    local output=$1
    shift
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
        --no-header --no-annotate --output-file "$output" pyproject.toml tools/build-backend.in "$@"
    { echo "$header"; cat "$output"; } > "$output.new"
    mv "$output.new" "$output"
}

compile requirements.lock "$@"
compile requirements-dev.lock --extra dev --constraint requirements.lock "$@"
