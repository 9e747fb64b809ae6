#!/usr/bin/env bash
# A real Grid Engine on this one machine, for tests: "sge.sh up" installs what is missing and starts it, "sge.sh down" stops it.
# Needs root and Debian or Ubuntu; no systemd. Both may be said again and again. Jobs of root and of the user d4ctest are let in.
# The queue warns 8 s before a kill (-notify) instead of the usual 60.
set -euo pipefail

export SGE_ROOT=/var/lib/gridengine SGE_CELL=default
common=$SGE_ROOT/$SGE_CELL/common
spool=/var/spool/gridengine
name=$(hostname)

await() { # seconds, then a command that becomes true
    local left=$(($1 * 10))
    shift
    until "$@" > /dev/null 2>&1; do
        ((left-- > 0)) || { echo "sge.sh: waited in vain for: $*" >&2; return 1; }
        sleep 0.1
    done
}

runs() { # program, pid file
    local pid
    pid=$(cat "$2" 2> /dev/null) && [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2> /dev/null)" = "$1" ]
}

answers() { timeout 5 qconf -sh; }

packages() {
    command -v qsub > /dev/null && [ -x /usr/lib/gridengine/sge_qmaster ] && [ -x /usr/lib/gridengine/sge_execd ] && return
    "$(dirname "$0")/install.sh" gridengine-master gridengine-exec gridengine-client
}

cell() { # what the package makes when it is installed, and not again where somebody has emptied the folder since
    [ -s "$common/bootstrap" ] && return
    pkill -x sge_qmaster || true # it would hold the old one
    rm -rf "$spool/spooldb"
    install -d -o sgeadmin -g sgeadmin "$SGE_ROOT/$SGE_CELL" "$common" "$spool/spooldb"
    install -o sgeadmin -g sgeadmin -m 644 /usr/share/gridengine/default-bootstrap "$common/bootstrap"
    runuser -u sgeadmin -- /usr/share/gridengine/scripts/init_cluster "$SGE_ROOT" "$SGE_CELL" "$spool/spooldb" sgeadmin > /dev/null
}

start_master() {
    # The name of this machine must come back the same from name to address to name; localhost is made an alias of it.
    getent hosts "$name" > /dev/null || echo "127.0.0.1 $name" >> /etc/hosts
    local aliases
    aliases=$(awk -v own="$name" '$1 ~ /^127\.|^::1$/ { for (i = 2; i <= NF; i++) if ($i != own && !seen[$i]++) printf " %s", $i }' /etc/hosts)
    echo "$name${aliases:- localhost}" > "$common/host_aliases"
    if ! runs sge_qmaster "$spool/qmaster/qmaster.pid"; then
        echo "$name" > "$common/act_qmaster"
        chown sgeadmin: "$common/act_qmaster"
        rm -f "$spool/qmaster/lock"
        setsid /usr/sbin/sge_qmaster > /dev/null 2>&1
    fi
    await 30 answers
}

configure() {
    local work
    work=$(mktemp -d)
    # Quick turns instead of gentle ones; jobs of root; the script's first line says which shell reads it.
    qconf -sconf | sed -e 's/^min_uid .*/min_uid 0/' -e 's/^min_gid .*/min_gid 0/' \
        -e 's/^shell_start_mode .*/shell_start_mode unix_behavior/' -e 's/^load_report_time .*/load_report_time 00:00:05/' \
        -e 's/^execd_params .*/execd_params ENABLE_ADDGRP_KILL=true/' \
        -e 's/flush_time=00:00:15/flush_time=00:00:01 accounting_flush_time=00:00:00/' > "$work/global"
    qconf -Mconf "$work/global"
    qconf -ssconf | sed -e 's/^schedule_interval .*/schedule_interval 0:0:1/' -e 's/^flush_submit_sec .*/flush_submit_sec 1/' \
        -e 's/^flush_finish_sec .*/flush_finish_sec 1/' -e 's/^job_load_adjustments .*/job_load_adjustments NONE/' > "$work/scheduler"
    qconf -Msconf "$work/scheduler"
    qconf -am root || true
    qconf -as "$name" || true
    qconf -ah "$name" || true
    if ! qconf -sel | grep -qxF "$name"; then
        printf '%s\n' "hostname $name" "load_scaling NONE" "complex_values NONE" "user_lists NONE" "xuser_lists NONE" "projects NONE" \
            "xprojects NONE" "usage_scaling NONE" "report_variables NONE" > "$work/host"
        qconf -Ae "$work/host"
    fi
    if ! qconf -spl | grep -qx omp; then
        printf '%s\n' "pe_name omp" "slots 99" "user_lists NONE" "xuser_lists NONE" "start_proc_args NONE" "stop_proc_args NONE" \
            "allocation_rule \$pe_slots" "control_slaves TRUE" "job_is_first_task TRUE" "urgency_slots min" \
            "accounting_summary TRUE" "qsort_args NONE" > "$work/pe"
        qconf -Ap "$work/pe"
    fi
    if ! qconf -sql | grep -qx d4c.q; then
        qconf -sq | sed -e 's/^qname .*/qname d4c.q/' -e "s/^hostlist .*/hostlist $name/" -e 's/^slots .*/slots 32/' \
            -e 's/^pe_list .*/pe_list omp/' -e 's#^shell .*#shell /bin/bash#' -e 's/^shell_start_mode .*/shell_start_mode unix_behavior/' \
            -e 's/^notify .*/notify 00:00:08/' -e 's/^load_thresholds .*/load_thresholds NONE/' -e 's/^rerun .*/rerun FALSE/' \
            > "$work/queue"
        qconf -Aq "$work/queue"
    fi
    rm -rf "$work"
}

ready() { qstat -f -q d4c.q | awk '/^d4c\.q@/ { found = 1; if ($6 ~ /[uE]/) bad = 1 } END { exit !found || bad }'; }

up() {
    packages
    cell
    id d4ctest > /dev/null 2>&1 || useradd --create-home --shell /bin/bash d4ctest
    start_master
    configure > /tmp/d4c-sge-configure.log 2>&1 || { tail -5 /tmp/d4c-sge-configure.log >&2; exit 1; }
    pgrep -x sge_execd > /dev/null || setsid /usr/sbin/sge_execd > /dev/null 2>&1
    await 60 ready
}

down() {
    timeout 10 qdel -f -u '*' > /dev/null 2>&1 || true
    pkill -x sge_execd || true
    pkill -x sge_qmaster || true
    gone() { ! pgrep -x 'sge_execd|sge_qmaster'; }
    await 30 gone || pkill -9 -x 'sge_execd|sge_qmaster' || true
    rm -f "$spool/qmaster/lock" "$spool/qmaster/qmaster.pid"
}

[ "$(id -u)" = 0 ] || { echo "sge.sh: a scheduler is started by root" >&2; exit 1; }
case ${1:-} in
    up) up ;;
    down) down ;;
    *) echo "usage: sge.sh up|down" >&2; exit 2 ;;
esac
