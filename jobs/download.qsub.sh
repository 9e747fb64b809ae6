#!/bin/bash -l
#$ -N d4c-download
#$ -cwd
#$ -j y
#$ -l h_rt=12:00:00
#$ -pe omp 4
#$ -notify
#
# Fetches all images that are left, with one worker process per core. Submit it once; it is requeued as needed:
#   qsub jobs/download.qsub.sh
#   qsub jobs/download.qsub.sh --host api.example.org --max-edge 1024
# It stops cleanly before the job's time limit. As long as work is left and rounds make progress, the job is requeued (--requeue); if
# everything left has to wait, it starts again when the first host is due.

# The clone of d4c-images is the folder of submission, or the one that qsub -v D4C_HOME=/path/to/it names.
home=${D4C_HOME:-$PWD}
PATH=$home/.venv/bin:$PATH
# shellcheck source=/dev/null
if [ -f "$home/jobs/site.sh" ]; then . "$home/jobs/site.sh"; fi

# exec, so that the scheduler's signals reach the program and not a shell, which they would kill.
exec d4c-images download --no-progress --requeue --grace 45s "$@"
