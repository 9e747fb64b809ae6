#!/bin/bash -l
#$ -N d4c-export
#$ -cwd
#$ -j y
#$ -l h_rt=12:00:00
#$ -notify
#
# Writes the list of stored images, with licences and labels. Changes nothing; safe while a download is running:
#   qsub jobs/export.qsub.sh collection.parquet

# The clone of d4c-images is the folder of submission, or the one that qsub -v D4C_HOME=/path/to/it names.
home=${D4C_HOME:-$PWD}
PATH=$home/.venv/bin:$PATH
# shellcheck source=/dev/null
if [ -f "$home/jobs/site.sh" ]; then . "$home/jobs/site.sh"; fi

# exec, so that the scheduler's signals reach the program and not a shell, which they would kill.
exec d4c-images export --no-progress "$@"
