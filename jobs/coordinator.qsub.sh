#!/bin/bash -l
#$ -N d4c-coordinator
#$ -cwd
#$ -j y
#$ -l h_rt=12:00:00
#$ -notify
#
# The one job of a download on several nodes that holds the ledger. The work is done by another script's jobs:
#   qsub jobs/coordinator.qsub.sh
#   qsub jobs/work.qsub.sh
# It ends in good order before the job's limit and is queued again (--requeue); workers wait for it meanwhile.

# The clone of d4c-images is the folder of submission, or the one that qsub -v D4C_HOME=/path/to/it names.
home=${D4C_HOME:-$PWD}
PATH=$home/.venv/bin:$PATH
# shellcheck source=/dev/null
if [ -f "$home/jobs/site.sh" ]; then . "$home/jobs/site.sh"; fi

# exec, so that the scheduler's signals reach the program and not a shell that dies of them.
exec d4c-images download --no-progress --requeue --cluster cluster --grace 45s "$@"
