#!/bin/bash -l
#$ -N d4c-store
#$ -cwd
#$ -j y
#$ -l h_rt=12:00:00
#$ -notify
#
# Converts how images are stored, or moves them to another disk. Say which:
#   qsub jobs/store.qsub.sh --to pack
#   qsub jobs/store.qsub.sh --root /old/images --to-root /new/images
# It stops before the job's time limit and resumes when the job is requeued.

# The clone of d4c-images is the folder of submission, or the one that qsub -v D4C_HOME=/path/to/it names.
home=${D4C_HOME:-$PWD}
PATH=$home/.venv/bin:$PATH
# shellcheck source=/dev/null
if [ -f "$home/jobs/site.sh" ]; then . "$home/jobs/site.sh"; fi

# exec, so that the scheduler's signals reach the program and not a shell, which they would kill.
exec d4c-images store convert --no-progress --requeue "$@"
