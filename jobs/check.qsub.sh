#!/bin/bash -l
#$ -N d4c-check
#$ -cwd
#$ -j y
#$ -l h_rt=12:00:00
#$ -notify
#
# Verifies that ledger and files agree. Changes neither; safe while a download is running:
#   qsub jobs/check.qsub.sh
#   qsub jobs/check.qsub.sh --sha256
# Exit code 0: no findings. 1: the log lists them. 75: stopped; submitted again, it resumes.

# The clone of d4c-images is the folder of submission, or the one that qsub -v D4C_HOME=/path/to/it names.
home=${D4C_HOME:-$PWD}
PATH=$home/.venv/bin:$PATH
# shellcheck source=/dev/null
if [ -f "$home/jobs/site.sh" ]; then . "$home/jobs/site.sh"; fi

# exec, so that the scheduler's signals reach the program and not a shell, which they would kill.
exec d4c-images check --no-progress "$@"
