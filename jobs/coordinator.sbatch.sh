#!/bin/bash -l
#SBATCH --job-name=d4c-coordinator
#SBATCH --output=%x.o%j
#SBATCH --open-mode=append
#SBATCH --time=12:00:00
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --requeue
#
# Coordinates a download on several nodes; this job alone writes the ledger. Another script's jobs do the work:
#   sbatch jobs/coordinator.sbatch.sh
#   sbatch jobs/work.sbatch.sh
# It stops cleanly before the job's time limit and is requeued (--requeue); workers wait for it in the meantime.

# The clone of d4c-images is the folder of submission, or the one that the variable D4C_HOME names.
home=${D4C_HOME:-$PWD}
PATH=$home/.venv/bin:$PATH
# shellcheck source=/dev/null
if [ -f "$home/jobs/site.sh" ]; then . "$home/jobs/site.sh"; fi

# exec, so that the scheduler's signals reach the program and not a shell, which they would kill.
exec d4c-images download --no-progress --requeue --cluster cluster --grace 25s "$@"
