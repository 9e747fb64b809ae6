"""Runs a command in several jobs of a scheduler: stops before its job ends, and has the job requeued while work is left.

One job is one round. If everything left has to wait, the next round begins when the first of it is due, not earlier. Rounds without
progress are counted in the ledger, since a requeued job knows nothing of earlier rounds: after `MAX_IDLE_ROUNDS` of them in a row
the job ends for good, and a person has to look. A round that only waits does not count.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from d4c_images.batch import scheduler
from d4c_images.durations import show_moment
from d4c_images.errors import EXIT_WORK_LEFT, D4CError
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.queue import run_ends
from d4c_images.settings import Job
from d4c_images.system import signals

MAX_IDLE_ROUNDS = 3
LONGEST_WAIT_S = 86_400.0  # between two rounds: check once a day, whatever the hosts requested
LONGEST_WITHOUT_WORK_S = 8 * 86_400.0  # longer than it takes to give up a silent host
GRACE_SHARE = 0.7  # of the time between the last start and the end of the job; the rest is for writing things down


@dataclass(frozen=True, slots=True)
class NextRound:
    """When the work left by a round is resumed, if it is."""

    at: float | None  # unix time at which the scheduler is to start the job again; None: never
    waits: bool = False  # for that time, not just for its turn in the queue
    why_not: str | None = None  # if worth a line


NOBODY = NextRound(None)


@dataclass(frozen=True, slots=True)
class Rounds:
    """What to request from the scheduler. `say` takes lines for the job's log."""

    job: Job | None
    requeue: bool
    say: Callable[[str], None]
    is_dismissed: Callable[[], bool]  # somebody may want to end the job
    ask: scheduler.AskScheduler = scheduler.ask

    @property
    def awaited_job(self) -> str | None:
        """This job, if it is to be requeued: it keeps its number, and its last run may have been on a node that died."""
        return self.job.name if self.job is not None and self.requeue else None

    def limits(self, deadline: float | None, grace_s: float, now: float) -> tuple[float | None, float]:
        """The unix time after which to start nothing, and the seconds that are left then for what is in flight.

        `deadline` and `grace_s` are the user's; the end of the job may be earlier. A scheduler that does not answer does
        not end a run: without a known end its signals have to suffice.
        """
        end_at = self._end_at(now)
        if end_at is None:
            return deadline, grace_s
        last_start_at = scheduler.start_no_more_at(end_at, now)
        if deadline is not None:
            last_start_at = min(last_start_at, deadline)
        return last_start_at, min(grace_s, GRACE_SHARE * (end_at - last_start_at))

    def _end_at(self, now: float) -> float | None:
        if self.job is None:
            return None
        try:
            return scheduler.end_of(self.job, now, self.ask)
        except D4CError as error:
            self.say(f"cannot determine when this job ends ({error}); use --for to stop before its time limit")
            return None

    def may_leave(self, due_at: float) -> bool:
        """Whether a round may end if all there is to do is wait until `due_at`.

        If the scheduler cannot delay a job's start, the round waits within its own job.
        """
        if self.job is None or not self.requeue:
            return True
        try:
            scheduler.begin_later(self.job, due_at, self.ask)
        except D4CError as error:
            self.say(f"cannot delay the next round ({error}): this job waits until {show_moment(due_at)}")
            return False
        return True

    def stay(self, due_at: float) -> bool:
        """Instead of `may_leave`, in a job that was started too early twice: once may have been a person's doing."""
        self.say(f"this job is started before the time it asks for: it waits until {show_moment(due_at)}")
        return False

    def next_round(self, idle_rounds: int, due_at: float | None, now: float) -> NextRound:
        """When the work left is resumed. `due_at`: nothing left may be requested earlier; None: something may be requested now."""
        if self.job is None or not self.requeue:
            return NOBODY
        if self.is_dismissed():  # a scheduler that wants to run the job again requeues it itself
            return NextRound(None, why_not="work is left, but this job was ended by a signal: not requeued")
        if idle_rounds >= MAX_IDLE_ROUNDS:
            why_not = f"no progress in {idle_rounds} rounds in a row: job not requeued; see 'd4c-images status'"
            return NextRound(None, why_not=why_not)
        if due_at is None or due_at <= now:
            return NextRound(now)
        at = min(due_at, now + LONGEST_WAIT_S)
        try:
            scheduler.begin_later(self.job, at, self.ask)
        except D4CError as error:
            self.say(f"cannot delay the next round until {show_moment(at)} ({error})")
            return NextRound(now)
        return NextRound(at, waits=True)

    def hand_back(self, following: NextRound, now: float) -> int:
        """The exit code, once the ledger is released; the job may be in the queue again by then."""
        if self.job is None or following.at is None:
            if following.why_not is not None:
                self.say(following.why_not)
            return EXIT_WORK_LEFT
        with signals.blocked():  # Slurm ends this very process soon
            try:
                code = scheduler.hand_back(self.job, self.ask)
            except D4CError as error:
                again = scheduler.submit_again(self.job, following.at if following.waits else None, self.ask)
                self.say(f"cannot requeue this job ({error}): submit it again with '{again}'")
                return EXIT_WORK_LEFT
            if not following.waits:
                self.say("work is left: job requeued")
                return code
            try:
                scheduler.put_off(self.job, following.at - now, self.ask)
            except D4CError as error:
                self.say(f"everything left has to wait: job requeued, but its start could not be delayed ({error})")
            else:
                self.say(f"everything left has to wait: job requeued, to start at {show_moment(following.at)}")
        return code

    def exit_code(self, idle_rounds: int) -> int:
        """For a command that leaves work which can be done right away."""
        return self.hand_back(self.next_round(idle_rounds, None, 0.0), 0.0)


def idle_rounds(ledger: Ledger, command: str, job: Job | None) -> int:
    """How many consecutive rounds of the job made no progress, including the present one.

    One that ended because everything had to wait does not count, unless this has lasted longer than any wait can.
    """
    if ledger.n_done or job is None:
        return 0
    rounds = run_ends.rounds_without_work(ledger, command, job.name)
    if rounds[0].started_at - rounds[-1].started_at > LONGEST_WITHOUT_WORK_S:
        return max(len(rounds), MAX_IDLE_ROUNDS)
    return len(list(itertools.takewhile(lambda one: not one.waits, rounds)))
