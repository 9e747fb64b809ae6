"""Verifies that ledger and files agree, in both directions. Changes neither; memory does not grow with the collection.

It is done in stages: the database file (`check_database`) and at the same time the counters, then the records, the leases, the
rows and their files (`check_rows`), the files and their rows (`check_files`). After each step it sets a checkpoint (`check_state`),
and the next check resumes from the last one saved. A collection can be checked in parts (`check_parts`); the first one includes the
ledger.

Safe during a download, in which files appear and rows change between two looks: whatever looks wrong is looked at again before it
becomes a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from d4c_images.collection.check_database import DatabaseCheck
from d4c_images.collection.check_files import FilesAgainstRows
from d4c_images.collection.check_parts import BLOCK_IDS, WHOLE, ImageSample, Part
from d4c_images.collection.check_rows import LookTerms, RowsAgainstFiles
from d4c_images.collection.check_state import CheckState, fingerprint, next_sample, sample_is_done
from d4c_images.collection.findings import CheckProgress, CheckReport, CheckScope, Finding, Findings, Reason
from d4c_images.collection.ignored import Ignored
from d4c_images.errors import LedgerError, Stopped, UsageError
from d4c_images.ledger.file.reader import Reader
from d4c_images.ledger.file.second_reader import SecondReader
from d4c_images.ledger.questions import audit
from d4c_images.ledger.questions.counter_audit import CounterRecount
from d4c_images.ledger.rows import extent, recount
from d4c_images.ledger.rows.recount import Position
from d4c_images.system import clocks

WATCH_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class CheckOptions:
    sha256: bool = False  # read every file
    decode: bool = False  # decode every image
    sample: int | None = None  # read and decode only one image of so many, others each time; None: all
    full: bool = False  # SQLite's full check
    ledger_only: bool = False  # look at no file
    part: Part = WHOLE
    ignore: tuple[str, ...] = ()  # patterns; see `ignored`
    n_processes: int = 1
    restart: bool = False  # do not resume an earlier check


def check(
    ledger: Reader,
    root: Path | None,
    options: CheckOptions = CheckOptions(),
    progress: Callable[[CheckProgress], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    *,
    found: Callable[[Finding], None] = lambda _: None,
) -> CheckReport:
    """Check everything, one part, or the ledger alone. `found` gets each finding, in an order that depends on the collection only;
    `say` gets a line if this resumes an earlier check, whose findings come first.

    Raises `UsageError` if `root` is not a folder, `LedgerError` if the ledger cannot be read at all. `Stopped`, raised by
    `progress`, ends it; the next check resumes there.
    """
    if options.ledger_only:
        root = None
    elif root is None or not root.is_dir():
        raise UsageError(f"no image root at {root}")
    where = None if root is None else str(root.absolute())
    sample = None if options.sample is None else next_sample(ledger.path, options.part, options.sample)
    terms: dict[str, object] = {"root": where, "full": options.full, "ignore": sorted(options.ignore), "sha256": options.sha256}
    terms |= {"decode": options.decode, "sample": None if sample is None else [sample.n, sample.turn]}
    state = CheckState(ledger, options.part, terms)
    try:
        return _Check(ledger, root or Path(), options, progress, state, found, sample).run(say)
    finally:
        state.close()


@dataclass(slots=True)
class _Check:
    ledger: Reader
    root: Path
    options: CheckOptions
    progress: Callable[[CheckProgress], None]
    state: CheckState
    found: Callable[[Finding], None]
    sample: ImageSample | None
    began_at: float = 0.0
    findings: Findings = field(default_factory=Findings)
    done: list[str] = field(default_factory=list)  # stages
    at: dict[str, Any] = field(default_factory=dict)  # position in the current stage
    database: DatabaseCheck | None = None  # None: an earlier check has done it

    def run(self, say: Callable[[str], None]) -> CheckReport:
        audit.begin(self.ledger)
        self.began_at = clocks.now()
        went_on = self._go_on()
        if went_on is not None:
            say(f"resuming an earlier check ({went_on}); --restart starts over")
            for finding in self.state.kept():
                self.found(finding)
        with self._kept_when_stopped():
            if self.options.part.has_ledger:
                self._check_database_and_counters()
            if Reason.DATABASE_DAMAGED not in self.findings.counts:  # in a damaged file, what its rows say proves nothing
                if self.options.part.has_ledger:
                    self._check_ledger()
                if not self.options.ledger_only:
                    self._check_rows()
                    self._check_folders()
            self._write_down()
        report = self._report(went_on)
        self.state.finish(report.as_dict())
        if self.sample is not None:
            sample_is_done(self.ledger.path, self.options.part, self.sample)
        return report

    def _report(self, went_on: str | None) -> CheckReport:
        options, part, sample = self.options, self.options.part, self.sample
        is_damaged = Reason.DATABASE_DAMAGED in self.findings.counts
        scope = CheckScope(
            part=part.k,
            parts=part.n,
            first_image_id=1,
            last_image_id=0 if is_damaged or options.ledger_only else extent.top_image(self.ledger.rows),
            block_ids=BLOCK_IDS,
            sha256=options.sha256,
            decode=options.decode,
            sample=options.sample,
            sample_turn=sample.turn if sample else 0,
            full=options.full,
            ledger_only=options.ledger_only,
        )
        return CheckReport(
            ledger=self.ledger.path,
            root=None if options.ledger_only else self.root,
            scope=scope,
            went_on=went_on,
            began_at=self.began_at,
            ended_at=clocks.now(),
            **self.findings.results(),
        )

    # How far it has come

    def _go_on(self) -> str | None:
        """Resume from an earlier check's checkpoint; returns in words where that was."""
        mark = self.state.load(restart=self.options.restart)
        if mark is None:
            return None
        self.findings.take_up(mark)
        self.done, self.at, self.began_at = mark["done"], mark["at"], mark["began_at"]
        words: str = mark["words"]
        return words

    def _reached(self, progress: CheckProgress, **at: Any) -> None:
        """A step is done: everything up to here is counted, and nothing after it."""
        of_total = "" if progress.total is None else f" of {progress.total:,}"
        self._mark(f"{progress.what}: {progress.done:,}{of_total}", at)
        self.progress(progress)

    def _moved(self, progress: CheckProgress) -> None:
        """Within a step: what was found stays, but the next check does the step again."""
        self._write_down()
        self.progress(progress)

    def _write_down(self) -> None:
        new = self.findings.take()
        self.state.append(new)
        for finding in new:
            self.found(finding)

    def _mark(self, words: str, at: dict[str, Any]) -> None:
        self.at = at
        self._write_down()
        where = {"done": list(self.done), "at": at, "words": words, "began_at": self.began_at}
        self.state.mark(self.findings.as_json() | where)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """Marks a stage as done after the block. (The block itself must not repeat finished work.)"""
        yield
        if name not in self.done:
            self.done.append(name)
            self._mark(f"after the {name}", {})

    @contextmanager
    def _kept_when_stopped(self) -> Iterator[None]:
        try:
            yield
        except (Stopped, KeyboardInterrupt):
            self.state.save()
            raise

    # The stages

    def _check_database_and_counters(self) -> None:
        """At the same time, since both read the whole ledger. What is counted in a damaged file is not compared."""
        is_checked = "database" in self.done
        with nullcontext() if is_checked else DatabaseCheck(self.ledger, full=self.options.full) as self.database:
            self._watch_database()
            try:
                with self._stage("counters"):
                    self._check_counters()
            except LedgerError:  # perhaps because of the damage
                if not self._database_errors():
                    raise
            for line in self._database_errors():
                self.findings.of_ledger(Reason.DATABASE_DAMAGED, line)

    def _watch_database(self) -> None:
        """Show how far its check has come. Once it is over, a check that resumes this one does not repeat it."""
        if self.database is not None and "database" not in self.done:
            self.progress(self.database.progress())
            if self.database.is_over and not self.database.errors():
                self.done.append("database")

    def _database_errors(self) -> list[str]:
        """Waits until they are known."""
        if self.database is None:
            return []
        while not self.database.wait(WATCH_EVERY_S):
            self._watch_database()
        self._watch_database()
        return self.database.errors()

    def _check_ledger(self) -> None:
        with self._stage("records"):
            self._check_records()
        with self._stage("leases"):
            if "leases" not in self.done:
                for image_id, lease_id in audit.lost_leases(self.ledger, 1000):
                    detail = f"image {image_id}: its lease {lease_id} does not exist"
                    self.findings.of_ledger(Reason.ORPHANED_LEASE, detail, image_id)
                for line in audit.lost_references(self.ledger):
                    self.findings.of_ledger(Reason.DANGLING_REFERENCE, line)

    def _check_counters(self) -> None:
        """Counters and rows must be seen at one moment: while nothing is written, or else in one read transaction."""
        if "counters" in self.done or self._counted_while_nothing_is_written():
            return

        def count() -> None:
            counting = CounterRecount(self.ledger.rows)
            for step in counting.steps():
                self._watch_database()
                self.progress(CheckProgress("counters", *step))
            self._compare(counting)

        # Cannot be resumed: what was counted at one moment is useless at another.
        before = self.findings.so_far()

        def count_anew() -> None:  # retried after a transient I/O error
            self.findings.take_back(before)
            count()

        self.ledger.at_one_moment(count_anew)

    def _counted_while_nothing_is_written(self) -> bool:
        """Each step is a read of its own, so that no run is delayed; False as soon as something has been written."""
        before, version = fingerprint(self.ledger), audit.data_version(self.ledger)
        kept = self.at.get("counters")
        counting = CounterRecount(self.ledger.rows)
        if kept and kept["fingerprint"] == before:
            counting = CounterRecount.of_json(self.ledger.rows, kept["counted"])

        def is_unchanged() -> bool:
            return fingerprint(self.ledger) == before and audit.data_version(self.ledger) == version

        for step in counting.steps():
            if not is_unchanged():
                return False
            progress = CheckProgress("counters", *step)
            self._watch_database()
            counted = counting.as_json() if self.state.is_due() else None
            if counted is None:
                self.progress(progress)
            else:
                self._reached(progress, counters={"fingerprint": before, "counted": counted})
        found = self.findings.so_far()
        self._compare(counting)
        if not is_unchanged():
            self.findings.take_back(found)
            return False
        return True

    def _compare(self, counting: CounterRecount) -> None:
        if self._database_errors():
            return
        self.findings.images_by_status = counting.images_by_status()
        self.findings.records_by_status = counting.records_by_status()
        for line in counting.lost_references():
            self.findings.of_ledger(Reason.DANGLING_REFERENCE, line)
        for line in counting.untrue():
            self.findings.of_ledger(Reason.COUNTER_MISMATCH, line)

    def _check_records(self) -> None:
        """Every record against its images, in short reads. An apparent mismatch is recounted individually, at one moment."""
        if "records" in self.done:
            return
        total = extent.n_records(self.ledger.rows)
        position = Position.of_json(self.at["record"]) if "record" in self.at else Position()
        with SecondReader(self.ledger) as second:
            begin = second.begin if self.ledger.copied_at is None else None  # a copy goes when its writer ends
            for step in recount.record_steps(self.ledger.rows, position, begin=begin):
                self.findings.n_records += step.n_records
                for record in step.untrue:
                    line = audit.record_trouble(self.ledger, record.gbif_id)
                    if line is not None:
                        self.findings.of_ledger(Reason.RECORD_MISMATCH, line)
                progress = CheckProgress("records", self.findings.n_records, max(total, self.findings.n_records))
                self._reached(progress, record=step.position.as_json())

    def _check_rows(self) -> None:
        """Every success row against its file."""
        if "images" in self.done:
            return
        options = self.options
        terms = LookTerms(options.sha256, options.decode, self.sample, options.n_processes)
        rows = RowsAgainstFiles(self.ledger, self.root, terms, options.part, self.findings, self._moved)
        with self._stage("images"):
            for progress, image_id in rows.steps(self.at.get("image_id", 0)):
                self._reached(progress, image_id=image_id)

    def _check_folders(self) -> None:
        """Every file against the ledger."""
        ignored = Ignored(self.options.ignore)
        files = FilesAgainstRows(self.ledger, self.root, self.options.part, ignored, self.findings, self._moved)
        for progress, folder in files.steps(self.at.get("folder")):
            self._reached(progress, folder=folder)
