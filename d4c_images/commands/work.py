"""`work`: worker processes for a `download --cluster` elsewhere. Opens no ledger."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path

from d4c_images.batch.requeue import Rounds
from d4c_images.commands import arguments, session
from d4c_images.durations import show_moment, show_span
from d4c_images.errors import EXIT_WORK_LEFT
from d4c_images.runners.rendezvous import MeetingPlace
from d4c_images.runners.worker_pool import Crew, PoolEnding, PoolTerms
from d4c_images.settings import Settings
from d4c_images.system import clocks

AWAY_LOOK_S = 5.0
WORTH_LEAVING_S = 300.0  # a coordinator that is away for less is waited for


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "work",
        run,
        "Fetch images for a 'download --cluster' on another node. Waits for a coordinator, outlives it, and exits when nothing is "
        "left. Ctrl-C lets requests in flight finish, for up to --grace; pressed again, it drops them.",
        settings,
        ledger=False,
        drains=True,
    )
    parser.add_argument(
        "--cluster",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder on a shared disk, the same as for 'download --cluster'",
    )
    parser.add_argument(
        "--processes",
        type=arguments.positive,
        default=settings.processes,
        metavar="N",
        help="number of worker processes (default: one per core granted by the scheduler)",
    )
    arguments.add_end(parser)
    parser.add_argument(
        "--max-wait", type=arguments.span, default="1h", metavar="SPAN", help="exit if no coordinator appears within SPAN"
    )
    arguments.add_requeue(parser)


class Away:
    """Whether this job gives its node back, since the coordinator is away for long and its scheduler will begin it again then."""

    def __init__(self, place: MeetingPlace, rounds: Rounds) -> None:
        self._place, self._rounds = place, rounds
        self._began_at = clocks.elapsed()
        self._before = place.away_until()  # which may be over: who began us early has begun the coordinator, too
        self._next_look_at = 0.0
        self._refused = 0.0  # a time at which this job would not be begun again
        self.until: float | None = None  # unix time

    def __call__(self) -> bool:
        now = clocks.elapsed()
        if self.until is None and self._rounds.awaited_job is not None and now >= self._next_look_at:
            self._next_look_at = now + AWAY_LOOK_S
            self._look(clocks.now.to_wall(clocks.now()))
        return self.until is not None

    def _look(self, wall: float) -> None:
        until = self._place.away_until()
        if until == self._before and clocks.elapsed() - self._began_at < WORTH_LEAVING_S:
            return
        if until is not None and until - wall >= WORTH_LEAVING_S and until != self._refused:
            if self._rounds.may_leave(until):
                self.until = until
            else:
                self._refused = until


def run(args: argparse.Namespace, settings: Settings) -> int:
    session.check_extra()
    stop = session.Stop()
    rounds = session.rounds(args, settings, stop)
    deadline, grace_s = rounds.limits(session.deadline(args, datetime.fromtimestamp(clocks.now())), args.grace, clocks.now())
    place = MeetingPlace(args.cluster)
    away = Away(place, rounds)
    with stop.listening():
        over_before = place.over()
        crew = Crew(args.processes, PoolTerms(place.folder, grace_s, args.max_wait, over_before), session.say_when)

        def is_over() -> bool:
            why = session.why_to_stop(stop, deadline)
            if why is not None:
                again = "; press Ctrl-C again to drop them" if stop.hurry.may_come() else ""
                session.say_when(f"{why}: finishing the requests in flight, for up to {show_span(grace_s)}{again}")
            return why is not None or away()

        ending = crew.work(is_over, stop.hurry.is_asked)
    over, n_workers = place.over(), "1 worker ends" if args.processes == 1 else f"{args.processes:,} workers end"
    if ending is PoolEnding.NOBODY and over is not None:
        session.say_when(f"{n_workers}: no coordinator appeared since the last one found nothing left")
        return 0
    if over not in (None, over_before):
        ending = PoolEnding.OVER
    if ending is PoolEnding.STOPPED and away.until is not None:
        session.say_when(f"{n_workers}: the coordinator is away until {show_moment(away.until)}")
        wall = clocks.now.to_wall(clocks.now())
        return rounds.hand_back(rounds.next_round(0, away.until, wall), wall)
    session.say_when(f"{n_workers}: {ending.value}")
    if ending is PoolEnding.OVER:
        return 0
    return rounds.exit_code(0) if ending is PoolEnding.STOPPED and crew.has_worked else EXIT_WORK_LEFT
