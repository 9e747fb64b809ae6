#!/bin/bash -l
#SBATCH --job-name=d4c-work
#SBATCH --output=%x.o%A.%a
#SBATCH --open-mode=append
#SBATCH --time=12:00:00
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --array=1-4
#SBATCH --requeue
#
# A job array with the workers of a download on several nodes, one worker process per core. Any number, at any time:
#   sbatch jobs/work.sbatch.sh
# They wait for the coordinator, outlive it, and exit when nothing is left or before their own time limit.

# The clone of d4c-images is the folder of submission, or the one that the variable D4C_HOME names.
home=${D4C_HOME:-$PWD}
PATH=$home/.venv/bin:$PATH
# shellcheck source=/dev/null
if [ -f "$home/jobs/site.sh" ]; then . "$home/jobs/site.sh"; fi

# exec, so that the scheduler's signals reach the program and not a shell, which they would kill.
exec d4c-images work --requeue --cluster cluster --grace 25s "$@"
