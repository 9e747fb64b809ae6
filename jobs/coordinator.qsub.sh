#!/bin/bash -l
#$ -N d4c-coordinator
#$ -cwd
#$ -j y
#$ -l h_rt=12:00:00
#$ -notify
#
# Coordinates a download on several nodes; this job alone writes the ledger. Another script's jobs do the work:
#   qsub jobs/coordinator.qsub.sh
#   qsub jobs/work.qsub.sh
# It stops cleanly before the job's time limit and is requeued (--requeue); workers wait for it in the meantime.

# The clone of d4c-images is the folder of submission, or the one that qsub -v D4C_HOME=/path/to/it names.
home=${D4C_HOME:-$PWD}
PATH=$home/.venv/bin:$PATH
# shellcheck source=/dev/null
if [ -f "$home/jobs/site.sh" ]; then . "$home/jobs/site.sh"; fi

# exec, so that the scheduler's signals reach the program and not a shell, which they would kill.
exec d4c-images download --no-progress --requeue --cluster cluster --grace 45s "$@"
