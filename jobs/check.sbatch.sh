#!/bin/bash -l
#SBATCH --job-name=d4c-check
#SBATCH --output=%x.o%j
#SBATCH --open-mode=append
#SBATCH --time=12:00:00
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --no-requeue
#
# Verifies that ledger and files agree. Changes neither; safe while a download is running:
#   sbatch jobs/check.sbatch.sh
#   sbatch jobs/check.sbatch.sh --sha256
# Exit code 0: no findings. 1: the log lists them. 75: stopped; submitted again, it resumes.

# The clone of d4c-images is the folder of submission, or the one that the variable D4C_HOME names.
home=${D4C_HOME:-$PWD}
PATH=$home/.venv/bin:$PATH
# shellcheck source=/dev/null
if [ -f "$home/jobs/site.sh" ]; then . "$home/jobs/site.sh"; fi

# exec, so that the scheduler's signals reach the program and not a shell, which they would kill.
exec d4c-images check --no-progress "$@"
