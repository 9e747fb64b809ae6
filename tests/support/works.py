"""Workers that talk, sleep or fail, for runners to start. Their processes load this module, and little else."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

from d4c_images.errors import D4CError
from d4c_images.model import Claim, Outcome, Report, Status, Turn, Verdict
from d4c_images.runners.pipe_worker import Feed, Work

LONG_URLS = tuple(f"https://iiif.example.org/iiif/2/some:long:identifier/full/{size},/0/default.jpg" for size in range(7))


def long_turn(lease_id: int) -> Turn:
    claims = tuple(Claim(image_id, image_id, 0, LONG_URLS, 1) for image_id in range(512))
    return Turn(lease_id, "iiif.example.org", 0, 2, 0.0, 1e12, claims)


def set_up_talker() -> Work:
    """A worker that reports a page of text for every image."""

    def work(feed: Feed) -> Iterator[Report]:
        verdict = Verdict(Status.FAILED_PERMANENT, "http_404", "x" * 2000)
        closed = False
        while not closed:
            orders = feed(0.05)
            closed = orders.closed
            for turn in orders.turns:
                yield Report(turn.lease_id, tuple(Outcome(claim.image_id, verdict) for claim in turn.claims), finished=True)

    return work


def set_up_sleeper() -> Work:
    """A worker that stops for good with its first turn, as one does whose file system or decoder hangs."""

    def work(feed: Feed) -> Iterator[Report]:
        while not (orders := feed(0.05)).turns:
            if orders.closed:
                return
        yield Report(0, ())
        os.kill(os.getpid(), signal.SIGSTOP)

    return work


def set_up_failure() -> Work:
    raise D4CError("the disk is full")


def set_up_breaker() -> Work:
    """A worker that cannot go on when its first turn comes."""

    def work(feed: Feed) -> Iterator[Report]:
        while not feed(0.05).turns:
            yield Report(0, ())
        raise D4CError("the disk is full")

    return work
