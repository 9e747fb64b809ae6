"""`job`: prints a job script that runs with the current interpreter. Submits nothing."""

from __future__ import annotations

import argparse
import shlex
import sys

from d4c_images.batch.job_scripts import JOB_COMMANDS, JobTerms, script
from d4c_images.commands import arguments
from d4c_images.errors import UsageError
from d4c_images.settings import Scheduler, Settings


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "job",
        run,
        "Print a job script for Grid Engine or Slurm. Review, edit and submit it yourself.",
        settings,
        ledger=False,
    )
    parser.add_argument("scheduler", choices=[str(one) for one in Scheduler], help="sge (Grid Engine) or slurm")
    parser.add_argument("command", choices=JOB_COMMANDS, help="what the job runs; 'coordinator' is 'download --cluster'")
    parser.add_argument(
        "--time", type=arguments.span, metavar="SPAN", help="time limit of the job (default: depends on the command)"
    )
    parser.add_argument(
        "--cores", type=arguments.positive, metavar="N", help="cores on one node; download starts one process per core"
    )
    parser.add_argument(
        "--tasks", type=arguments.positive, metavar="N", help="size of the job array: workers of 'work', parts of 'check'"
    )
    parser.add_argument("--name", metavar="NAME", help="name of the job")
    parser.add_argument("--project", metavar="NAME", help="project (Grid Engine) or account (Slurm) to charge")
    parser.add_argument("--queue", metavar="NAME", help="queue (Grid Engine) or partition (Slurm)")
    parser.add_argument("--mail", metavar="ADDRESS", help="send mail to ADDRESS when the job ends or fails")
    parser.add_argument("--options", metavar="TEXT", help='options passed to the command: --options="--host a.org --limit 9"')


def run(args: argparse.Namespace, settings: Settings) -> int:
    try:
        options = tuple(shlex.split(args.options or ""))
    except ValueError as error:
        raise UsageError(f"--options={args.options}: {error}") from None
    terms = JobTerms(args.time, args.cores, args.name, args.project, args.queue, args.mail, args.tasks, options, sys.executable)
    print(script(Scheduler(args.scheduler), args.command, terms), end="")
    return 0
