"""A command that takes several jobs of a scheduler: ends before its job does, and has the job queued again while work is left.

One job is one round. Rounds that get nothing done are counted in the ledger, since a job that is queued again knows nothing of the
ones before: after `MAX_IDLE_ROUNDS` of them in a row the job ends for good, and a person has to look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from d4c_images.batch import scheduler
from d4c_images.errors import EXIT_WORK_LEFT, D4CError
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.connect import Ledger
from d4c_images.settings import Job

MAX_IDLE_ROUNDS = 3
GRACE_SHARE = 0.7  # of the time between the last start and the end of the job; the rest is for writing things down


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
        """The unix time at which to start nothing more, and the seconds from there on for what is in flight.

        `deadline` and `grace_s` are what the user wants; the end of the job may come before. A scheduler that gives no answer does
        not end a run: without a known end its signals have to do.
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

    def exit_code(self, idle_rounds: int) -> int:
        """What to exit with when work is left and the ledger is given back; the job may be queued again by then."""
        if self.job is None or not self.requeue:
            return EXIT_WORK_LEFT
        if self.is_dismissed():  # a scheduler that itself wants the job to come again sees to that
            self.say("work is left, but this job was ended by a signal: not requeued")
            return EXIT_WORK_LEFT
        if idle_rounds >= MAX_IDLE_ROUNDS:
            self.say(f"no progress in {idle_rounds} rounds in a row: job not requeued; see 'd4c-images status'")
            return EXIT_WORK_LEFT
        try:
            code = scheduler.hand_back(self.job, self.ask)
        except D4CError as error:
            self.say(f"cannot requeue this job ({error}): submit it again")
            return EXIT_WORK_LEFT
        self.say("work is left: job requeued")
        return code


def idle_rounds(ledger: Ledger, command: str, job: Job | None) -> int:
    """How many of the job's rounds in a row have got nothing done, the present one included."""
    if ledger.n_done or job is None:
        return 0
    return 1 + owner.idle_runs(ledger, command, job.name)
