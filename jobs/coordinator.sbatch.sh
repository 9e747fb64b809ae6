#!/bin/bash -l
#SBATCH --job-name=d4c-coordinator
#SBATCH --output=%x.o%j
#SBATCH --open-mode=append
#SBATCH --time=12:00:00
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --requeue
#
# The one job of a download on several nodes that holds the ledger. The work is done by another script's jobs:
#   sbatch jobs/coordinator.sbatch.sh
#   sbatch jobs/work.sbatch.sh
# It ends in good order before the job's limit and is queued again (--requeue); workers wait for it meanwhile.

# The clone of d4c-images is the folder of submission, or the one that the variable D4C_HOME names.
home=${D4C_HOME:-$PWD}
PATH=$home/.venv/bin:$PATH
# shellcheck source=/dev/null
if [ -f "$home/jobs/site.sh" ]; then . "$home/jobs/site.sh"; fi

# exec, so that the scheduler's signals reach the program and not a shell that dies of them.
exec d4c-images download --no-progress --requeue --cluster cluster --grace 25s "$@"
