#!/bin/bash -l
#$ -N d4c-backup
#$ -cwd
#$ -j y
#$ -l h_rt=04:00:00
#$ -notify
#
# Backs up the ledger into a folder, verifies the copy, and keeps the seven newest. Safe while a download is running:
#   qsub jobs/backup.qsub.sh backups/
# Each night: the page "Back up and restore" has the lines for cron, for scrontab, and for a job that submits the next one.

# The clone of d4c-images is the folder of submission, or the one that qsub -v D4C_HOME=/path/to/it names.
home=${D4C_HOME:-$PWD}
PATH=$home/.venv/bin:$PATH
# shellcheck source=/dev/null
if [ -f "$home/jobs/site.sh" ]; then . "$home/jobs/site.sh"; fi

# exec, so that the scheduler's signals reach the program and not a shell, which they would kill.
exec d4c-images backup --no-progress --keep 7 "$@"
