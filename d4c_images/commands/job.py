"""`job`: prints a job script that runs with the interpreter which prints it. Submits nothing."""

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
        "Print a job script for Grid Engine or Slurm, ready to look at, edit and submit. Submits nothing.",
        settings,
        ledger=False,
    )
    parser.add_argument("scheduler", choices=[str(one) for one in Scheduler], help="Grid Engine or Slurm")
    parser.add_argument("command", choices=JOB_COMMANDS, help="what the job does")
    parser.add_argument(
        "--time", type=arguments.span, metavar="SPAN", help="the job's limit: 12:00:00 or 2d; else what suits the command"
    )
    parser.add_argument("--cores", type=arguments.positive, metavar="N", help="cores on one node; download uses a process for each")
    parser.add_argument("--tasks", type=arguments.positive, metavar="N", help="jobs of the array that 'work' is")
    parser.add_argument("--name", metavar="NAME", help="of the job")
    parser.add_argument("--project", metavar="NAME", help="the project (SGE) or account (Slurm) that pays")
    parser.add_argument("--queue", metavar="NAME", help="the queue (SGE) or partition (Slurm)")
    parser.add_argument("--mail", metavar="ADDRESS", help="who is told when the job ends or fails")
    parser.add_argument("--options", metavar="TEXT", help='of the command: --options="--host a.org --limit 9"')


def run(args: argparse.Namespace, settings: Settings) -> int:
    try:
        options = tuple(shlex.split(args.options or ""))
    except ValueError as error:
        raise UsageError(f"--options={args.options}: {error}") from None
    terms = JobTerms(args.time, args.cores, args.name, args.project, args.queue, args.mail, args.tasks, options, sys.executable)
    print(script(Scheduler(args.scheduler), args.command, terms), end="")
    return 0
