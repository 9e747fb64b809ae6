#!/usr/bin/env bash
# The whole job in front of your eyes. Without ARCHIVE: real GBIF rows, and a publishers' server on this machine that answers for all
# their hosts, well or badly; nothing leaves the machine. With ARCHIVE=download.zip: your own download, from the real servers, into
# LEDGER and ROOT, with LABELS=yes also names, places and licences; run it again to resume.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

if [ -n "${ARCHIVE:-}" ]; then
    ledger=${LEDGER:-${D4C_LEDGER:-collection/ledger.sqlite}}
    root=${ROOT:-${D4C_ROOT:-collection/images}}
    mkdir -p "$(dirname "$ledger")"
    run $bin/d4c-images init "$ARCHIVE" --ledger "$ledger" ${LABELS:+--labels}
    outcome=0
    # Somebody sits and waits: end once nothing but long waits is left, not after the quarter of an hour that suits a job.
    run $bin/d4c-images download --ledger "$ledger" --root "$root" --max-idle 1m || outcome=$?
    run $bin/d4c-images status --ledger "$ledger"
    if [ $outcome = 75 ]; then
        echo
        echo "Work is left (exit code 75): run the same command again to resume, now or tomorrow."
    fi
    exit $outcome
fi

# The server here asks nobody to get in touch.
export D4C_CONTACT="${D4C_CONTACT:-demo@example.org}"

folder=demo-run
rm -rf $folder
mkdir $folder
$bin/python -m tests.publishers --demo --cacert $folder/ca.pem --ready-file $folder/server.json </dev/null >$folder/server.log 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
until [ -s $folder/server.json ]; do
    kill -0 $server 2>/dev/null || { cat $folder/server.log >&2; exit 1; }
    sleep 0.05
done
connect_to=$($bin/python -c 'import json, sys; print(json.load(open(sys.argv[1]))["connect_to"])' $folder/server.json)
echo "A publishers' server answers on this machine for every host that the rows name (tests/publishers/demo.py says how)."

run $bin/d4c-images init tests/rows/multimedia.txt --ledger $folder/ledger.sqlite
run $bin/d4c-images download --ledger $folder/ledger.sqlite --root $folder/images \
    --connect-to "$connect_to" --cacert $folder/ca.pem --hosts-file demo/hosts.toml --retry-wait 1s --give-up-after 0s
run $bin/d4c-images status --ledger $folder/ledger.sqlite
run $bin/d4c-images check --ledger $folder/ledger.sqlite --root $folder/images --sha256
echo
echo "The images are in $folder/images, all that is known of them in $folder/ledger.sqlite."
