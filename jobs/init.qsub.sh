#!/bin/bash -l
#$ -N d4c-init
#$ -cwd
#$ -j y
#$ -l h_rt=12:00:00
#$ -notify
#
# Reads a GBIF download into the ledger:
#   qsub jobs/init.qsub.sh path/to/0012345-250101000000000.zip --labels
# It ends before the job's limit and goes on in the next round of the same job.

# The clone of d4c-images is the folder of submission, or the one that qsub -v D4C_HOME=/path/to/it names.
home=${D4C_HOME:-$PWD}
PATH=$home/.venv/bin:$PATH
# shellcheck source=/dev/null
if [ -f "$home/jobs/site.sh" ]; then . "$home/jobs/site.sh"; fi

# exec, so that the scheduler's signals reach the program and not a shell that dies of them.
exec d4c-images init --no-progress --requeue "$@"
