#!/bin/bash -l
#$ -N d4c-export
#$ -cwd
#$ -j y
#$ -l h_rt=12:00:00
#$ -notify
#
# Writes the list of what is stored, with licences and labels; changes nothing and may run beside a download:
#   qsub jobs/export.qsub.sh collection.parquet

# The clone of d4c-images is the folder of submission, or the one that qsub -v D4C_HOME=/path/to/it names.
home=${D4C_HOME:-$PWD}
PATH=$home/.venv/bin:$PATH
# shellcheck source=/dev/null
if [ -f "$home/jobs/site.sh" ]; then . "$home/jobs/site.sh"; fi

# exec, so that the scheduler's signals reach the program and not a shell that dies of them.
exec d4c-images export --no-progress "$@"
