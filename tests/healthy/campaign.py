"""Checks a collection again and again while a real download changes it, is killed, and resumes.

Nothing is damaged, so any finding is false. The download has a thread, which starts it, kills it and starts it again; checks are
the caller's. What is drawn comes from the seed; how far the download is when a check begins depends on the machine.
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.healthy import made
from tests.publishers.client import Publishers
from tests.support.program import Collection, kill_all, reach

DAY_S = 86400
LOOK_S = 0.05  # between two looks at how far the download is
STORES = ("files", "pack")
LONGEST_S = 7200.0  # of one command
DONE = "SELECT (SELECT coalesce(sum(n_final), 0) FROM tallies) + (SELECT count(*) FROM former_rows)"
AGE = "UPDATE image_rows SET last_attempt_at = last_attempt_at - ? WHERE status = 'success' AND image_id % ? = ?"


@dataclass(frozen=True, slots=True)
class Options:
    seed: int
    images: int = 200_000  # in all
    downloaded: int = 20_000  # of them, while the checks run
    kills: int = 12
    refetched: int = 400  # one stored image of that many is fetched again in each round
    placeholder_records: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.downloaded < self.images:
            raise ValueError("some images are downloaded, and some are stored before")


@dataclass(slots=True)
class Figures:
    checks: int = 0
    beside: int = 0  # checks that began while a download was under way
    while_dead: int = 0  # checks that began while a killed download had no successor
    kills: int = 0
    rounds: Counter[str] = field(default_factory=Counter)  # of the download that were begun, by store
    seen: Counter[str] = field(default_factory=Counter)  # sums of what the checks have looked at
    at_end: dict[str, int] = field(default_factory=dict)  # of the last check
    false: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)  # anything else that went wrong


SUMMED = ("n_images", "n_former", "n_read", "n_decoded", "n_files", "n_packed", "n_in_work", "n_to_adopt", "n_to_set_aside")


class HealthyCampaign:
    """One collection, in a folder of its own."""

    def __init__(self, options: Options, folder: Path, publishers: Publishers, say: Callable[[str], None]) -> None:
        self.options, self.figures = options, Figures()
        self._folder, self._publishers, self._say = folder, publishers, say
        self.collection = Collection(folder)
        self._is_over, self._is_dead = threading.Event(), threading.Event()
        self._check_ended = threading.Condition()

    def run(self) -> Figures:
        made.make(self.collection, self.options.images - self.options.downloaded, self.options.downloaded, self._publishers)
        self._say(f"made {self.options.images:,} images, {self.options.downloaded:,} of them to be downloaded")
        dice = random.Random(f"{self.options.seed} checks")
        downloads = threading.Thread(target=self._downloads, name="downloads")
        downloads.start()
        while not self._is_over.is_set():
            self._check_once(dice)
        downloads.join()
        for words in (("--sha256",), ("--decode", "--sample", "5%")):
            self.figures.at_end = self._judge(words, self._start_check(words))
        return self.figures

    # -- the download

    def _downloads(self) -> None:
        try:
            dice = random.Random(f"{self.options.seed} downloads")
            n_refetches = self.options.kills // 3 or 1
            n_first = self.options.kills - n_refetches
            for number in range(n_first):
                self._killed_round(number, dice, self.options.downloaded // (n_first + 1))
            self._whole_round(n_first, "pack")
            n_changed = self.options.images // self.options.refetched // made.CHANGING
            for number in range(n_first + 1, self.options.kills + 1):
                self._killed_round(number, dice, n_changed // 2)
            self._whole_round(self.options.kills + 1, "files")
        except Exception as error:  # the checks must not go on for ever
            self.figures.trouble.append(f"the download: {type(error).__name__}: {error}")
        finally:
            self._is_over.set()

    def _killed_round(self, number: int, dice: random.Random, most: int) -> None:
        """A download that is killed when it has brought `most` images or fewer."""
        self._change(number)
        process = self._start_download(STORES[dice.randrange(2)])
        at = self._n_done() + max(1, int(most * dice.uniform(0.3, 1.0)))
        waits = threading.Event()
        while process.poll() is None and self._n_done() < at:
            waits.wait(LOOK_S)
        if process.poll() is not None:
            if process.returncode not in (0, 75):
                raise RuntimeError(f"ended with {process.returncode}: {self._log()}")
            return
        kill_all(process)
        self.figures.kills += 1
        self._say(f"download {number} killed, {self._n_done():,} images are done")
        if dice.random() < 0.5:
            self._is_dead.set()
            with self._check_ended:
                wanted = self.figures.checks + 2  # one that has begun now, and not before
                self._check_ended.wait_for(lambda: self.figures.checks >= wanted, LONGEST_S)
            self._is_dead.clear()

    def _whole_round(self, number: int, store: str) -> None:
        """To the end."""
        self._change(number)
        process = self._start_download(store)
        if process.wait(LONGEST_S) != 0:
            raise RuntimeError(f"ended with {process.returncode}: {self._log()}")
        self._say(f"download {number} ended, {self._n_done():,} images are done")

    def _change(self, number: int) -> None:
        """Half a year passes for some of what is stored, and their publishers change some of them."""
        self._publishers.behave(made.CHANGES[number % len(made.CHANGES)])
        with closing(sqlite3.connect(self.collection.ledger, timeout=60.0)) as db, db:
            db.execute(AGE, (180 * DAY_S, self.options.refetched, number % self.options.refetched))

    def _start_download(self, store: str) -> subprocess.Popen[str]:
        self.figures.rounds[store] += 1
        hosts = self._folder / "hosts.toml"
        hosts.write_text("[default]\nconnections = 8\nsource = 'a campaign'\n")
        words = self.collection.command(
            "download", *reach(self._publishers), "--processes", 2, "--store", store, "--refetch", "1d", "--no-progress",
            "--hosts-file", hosts, "--shard-size", "8M", "--placeholder-records", self.options.placeholder_records,
            "--retry-wait", "1s", "--max-idle", "2m",
        )  # fmt: skip
        with (self._folder / "download.log").open("a") as log:
            return subprocess.Popen(words, stdout=log, stderr=log, text=True, cwd=self._folder, start_new_session=True)

    def _n_done(self) -> int:
        return int(str(self.collection.rows(DONE)[0][0]))

    def _log(self) -> str:
        return (self._folder / "download.log").read_text()[-500:]

    # -- the checks

    def _check_once(self, dice: random.Random) -> None:
        """One, or two side by side."""
        if self._is_dead.is_set():
            self.figures.while_dead += 1
        else:
            self.figures.beside += 1
        drawn = [_words(dice) for _ in range(1 + (dice.random() < 0.25))]
        for words, process in [(words, self._start_check(words)) for words in dict.fromkeys(drawn)]:
            self._judge(words, process)

    def _start_check(self, words: tuple[str, ...]) -> subprocess.Popen[str]:
        command = self.collection.command("check", *words, "--json", "--no-progress")
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self._folder)

    def _judge(self, words: tuple[str, ...], process: subprocess.Popen[str]) -> dict[str, int]:
        """Any finding is a false one. Returns the check's numbers."""
        output, errors = process.communicate(timeout=LONGEST_S)
        lines = [json.loads(line) for line in output.splitlines()]
        findings = [line for line in lines if line["type"] == "finding"]
        title = f"check {' '.join(words)}"
        for one in findings:
            self.figures.false.append(f"{title}: {one['reason']} {one['subject']} {one['detail']}")
            self._say(f"FALSE: {self.figures.false[-1]}")
        numbers = {name: int(lines[-1][name]) for name in SUMMED} if lines and lines[-1]["type"] == "summary" else {}
        if process.returncode != (1 if findings else 0) or not numbers:
            self.figures.trouble.append(f"{title} ended with {process.returncode}: {errors[-500:]}")
        self.figures.seen.update(numbers)
        with self._check_ended:
            self.figures.checks += 1
            self._check_ended.notify_all()
        self._say(f"{title}: {len(findings)} findings; {json.dumps(numbers)}")
        return numbers


def _words(dice: random.Random) -> tuple[str, ...]:
    """The options of a check."""
    n = dice.choice((3, 8, 20))
    part = ("--part", f"{dice.randint(1, n)}/{n}")
    processes = ("--processes", str(dice.randint(1, 3)))
    looks = (
        ("--sha256",), ("--sha256",), ("--sha256", *part), ("--decode", *part, "--sample", "10%"), ("--sample", "5%"),
        ("--decode", "--sample", "2%"), (), ("--ledger-only", "--full"),
    )  # fmt: skip
    return (*dice.choice(looks), *processes)
