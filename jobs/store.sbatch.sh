#!/bin/bash -l
#SBATCH --job-name=d4c-store
#SBATCH --output=%x.o%j
#SBATCH --open-mode=append
#SBATCH --time=12:00:00
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --requeue
#
# Converts how images are stored, or moves them to another disk. Say which:
#   sbatch jobs/store.sbatch.sh --to pack
#   sbatch jobs/store.sbatch.sh --root /old/images --to-root /new/images
# It stops before the job's time limit and resumes when the job is requeued.

# The clone of d4c-images is the folder of submission, or the one that the variable D4C_HOME names.
home=${D4C_HOME:-$PWD}
PATH=$home/.venv/bin:$PATH
# shellcheck source=/dev/null
if [ -f "$home/jobs/site.sh" ]; then . "$home/jobs/site.sh"; fi

# exec, so that the scheduler's signals reach the program and not a shell, which they would kill.
exec d4c-images store convert --no-progress --requeue "$@"
