#!/bin/bash -l
#SBATCH --job-name=d4c-backup
#SBATCH --output=%x.o%j
#SBATCH --open-mode=append
#SBATCH --time=04:00:00
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --no-requeue
#
# Backs up the ledger into a folder, verifies the copy, and keeps the seven newest. Safe while a download is running:
#   sbatch jobs/backup.sbatch.sh backups/
# Each night: the page "Back up and restore" has the lines for cron, for scrontab, and for a job that submits the next one.

# The clone of d4c-images is the folder of submission, or the one that the variable D4C_HOME names.
home=${D4C_HOME:-$PWD}
PATH=$home/.venv/bin:$PATH
# shellcheck source=/dev/null
if [ -f "$home/jobs/site.sh" ]; then . "$home/jobs/site.sh"; fi

# exec, so that the scheduler's signals reach the program and not a shell, which they would kill.
exec d4c-images backup --no-progress --keep 7 "$@"
