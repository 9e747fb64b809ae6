#!/bin/bash -l
#$ -N d4c-work
#$ -cwd
#$ -j y
#$ -l h_rt=12:00:00
#$ -pe omp 4
#$ -t 1-4
#$ -notify
#
# A job array with the workers of a download on several nodes, one worker process per core. Any number, at any time:
#   qsub jobs/work.qsub.sh
# They wait for the coordinator, outlive it, and exit when nothing is left or before their own time limit.

# The clone of d4c-images is the folder of submission, or the one that qsub -v D4C_HOME=/path/to/it names.
home=${D4C_HOME:-$PWD}
PATH=$home/.venv/bin:$PATH
# shellcheck source=/dev/null
if [ -f "$home/jobs/site.sh" ]; then . "$home/jobs/site.sh"; fi

# exec, so that the scheduler's signals reach the program and not a shell, which they would kill.
exec d4c-images work --requeue --cluster cluster --grace 45s "$@"
