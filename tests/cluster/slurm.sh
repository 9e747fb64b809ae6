#!/usr/bin/env bash
# A real Slurm on this one machine, for tests: "slurm.sh up" installs what is missing and starts it, "slurm.sh down" stops it.
# Needs root and Debian or Ubuntu; no systemd, no cgroups, no accounting. Both may be said again and again.
# A cancelled job has 8 s between SIGTERM and SIGKILL instead of the usual 30.
set -euo pipefail

name=$(hostname -s)

await() { # seconds, then a command that becomes true
    local left=$(($1 * 10))
    shift
    until "$@" > /dev/null 2>&1; do
        ((left-- > 0)) || { echo "slurm.sh: waited in vain for: $*" >&2; return 1; }
        sleep 0.1
    done
}

packages() {
    [ -x /usr/sbin/slurmctld ] && [ -x /usr/sbin/slurmd ] && [ -x /usr/sbin/munged ] && return
    "$(dirname "$0")/install.sh" slurm-wlm munge
}

munge_up() {
    mkdir -p /run/munge /var/log/munge /var/lib/munge
    chown munge: /run/munge /var/log/munge /var/lib/munge
    chmod 755 /run/munge
    if [ ! -s /etc/munge/munge.key ]; then
        head -c 1024 /dev/urandom > /etc/munge/munge.key
        chown munge: /etc/munge/munge.key
        chmod 400 /etc/munge/munge.key
    fi
    timeout 5 munge -n > /dev/null 2>&1 || runuser -u munge -- /usr/sbin/munged
    await 10 timeout 5 munge -n
}

configure() {
    mkdir -p /etc/slurm /var/lib/slurm/ctld /var/log/slurm /run/slurm
    getent hosts "$name" > /dev/null || echo "127.0.0.1 $name" >> /etc/hosts
    cat > /etc/slurm/slurm.conf << CONF
ClusterName=d4ctest
SlurmctldHost=$name(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=/var/lib/slurm/ctld
SlurmdSpoolDir=/var/lib/slurm/d
SlurmctldPidFile=/run/slurm/ctld.pid
SlurmdPidFile=/run/slurm/d.pid
SlurmctldLogFile=/var/log/slurm/ctld.log
SlurmdLogFile=/var/log/slurm/d.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
KillWait=8
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
NodeName=$name NodeAddr=127.0.0.1 CPUs=32 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=$name Default=YES MaxTime=1-00:00:00 DefaultTime=01:00:00 State=UP OverSubscribe=NO
CONF
    # slurmd looks for cgroups even where nothing uses them, and ends where none are mounted.
    echo "CgroupPlugin=cgroup/v1" > /etc/slurm/cgroup.conf
}

ready() { sinfo -h -N -o %t | grep -qE '^(idle|mix|alloc)'; }

up() {
    packages
    id d4ctest > /dev/null 2>&1 || useradd --create-home --shell /bin/bash d4ctest
    munge_up
    configure
    pgrep -x slurmctld > /dev/null || setsid /usr/sbin/slurmctld -c # without jobs that a run before has left behind
    await 30 scontrol ping
    pgrep -x slurmd > /dev/null || setsid /usr/sbin/slurmd -N "$name"
    await 10 pgrep -x slurmd
    ready || { sleep 1; scontrol update "nodename=$name" state=resume > /dev/null 2>&1 || true; }
    await 60 ready
}

down() {
    timeout 10 scancel --state=RUNNING,PENDING > /dev/null 2>&1 || true
    pkill -x slurmd || true
    pkill -x slurmctld || true
    pkill -x munged || true
    gone() { ! pgrep -x 'slurmd|slurmctld|munged'; }
    await 20 gone || pkill -9 -x 'slurmd|slurmctld|munged' || true
}

[ "$(id -u)" = 0 ] || { echo "slurm.sh: a scheduler is started by root" >&2; exit 1; }
case ${1:-} in
    up) up ;;
    down) down ;;
    *) echo "usage: slurm.sh up|down" >&2; exit 2 ;;
esac
