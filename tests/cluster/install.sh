#!/usr/bin/env bash
# Installs Debian packages without starting their daemons: "install.sh PACKAGE...". Whoever comes meanwhile waits. Needs root.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
exec 9> /tmp/d4c-install.lock
flock 9

forbid=/usr/sbin/policy-rc.d
if [ ! -e "$forbid" ]; then # daemons would note down names and settings that are not those of the tests
    printf '#!/bin/sh\nexit 101\n' > "$forbid"
    chmod 755 "$forbid"
    trap 'rm -f "$forbid"' EXIT
fi

install() { apt-get install -y -qq --no-install-recommends "$@"; }

log=$(mktemp)
{ install "$@" || { apt-get update -qq && install "$@"; } } > "$log" 2>&1 || { tail -20 "$log" >&2; exit 1; }
rm -f "$log"
