#!/bin/bash -l
#SBATCH --job-name=d4c-status
#SBATCH --output=%x.o%j
#SBATCH --open-mode=append
#SBATCH --time=00:10:00
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --no-requeue
#
# Writes the report to the job's log. Takes a second; safe while a download is running:
#   sbatch jobs/status.sbatch.sh
#   sbatch jobs/status.sbatch.sh --tables tables

# The clone of d4c-images is the folder of submission, or the one that the variable D4C_HOME names.
home=${D4C_HOME:-$PWD}
PATH=$home/.venv/bin:$PATH
# shellcheck source=/dev/null
if [ -f "$home/jobs/site.sh" ]; then . "$home/jobs/site.sh"; fi

# exec, so that the scheduler's signals reach the program and not a shell, which they would kill.
exec d4c-images status "$@"
