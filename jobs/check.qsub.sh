#!/bin/bash -l
#$ -N d4c-check
#$ -cwd
#$ -j y
#$ -l h_rt=12:00:00
#$ -notify
#
# Holds ledger and files against each other; changes nothing and may run beside a download:
#   qsub jobs/check.qsub.sh
#   qsub jobs/check.qsub.sh --sha256
# Exit code 0: all is well. 1: the log names what is not.

# The clone of d4c-images is the folder of submission, or the one that qsub -v D4C_HOME=/path/to/it names.
home=${D4C_HOME:-$PWD}
PATH=$home/.venv/bin:$PATH
# shellcheck source=/dev/null
if [ -f "$home/jobs/site.sh" ]; then . "$home/jobs/site.sh"; fi

# exec, so that the scheduler's signals reach the program and not a shell that dies of them.
exec d4c-images check --no-progress "$@"
