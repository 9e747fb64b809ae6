"""Runs the cases of some families through the program's own way, and counts. The program is in a process of its own."""

from __future__ import annotations

import contextlib
import json
import re
import select
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.damage import subject
from tests.damage.cases import Case, Scale, Truth, family_cases
from tests.damage.judging import Fault, Judgement, Note, judged
from tests.support.program import PROJECT

PATIENCE_S = 300.0  # for one file, on a machine that is busy
STRICTER = "missed, but seen by a stricter reader"
MOST_KEPT = 3  # files of one class of failures whose bytes are written down


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int
    scale: Scale
    modes: tuple[str, ...] = subject.MODES
    only: str = ""  # names of cases that begin so
    folder: Path = Path()  # for the bytes of failures


@dataclass(slots=True)
class Counts:
    cases: Counter[str] = field(default_factory=Counter)  # by truth
    faults: Counter[str] = field(default_factory=Counter)  # by fault
    notes: Counter[str] = field(default_factory=Counter)
    flagged: Counter[str] = field(default_factory=Counter)  # whole pictures, by family and detail
    fates: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # group, kind of damage, fate
    failures: dict[str, list[str]] = field(default_factory=dict)  # by class: names of cases
    noted: dict[str, list[str]] = field(default_factory=dict)
    peak_bytes: int = 0
    peak_case: str = ""
    slowest_s: float = 0.0
    slowest_case: str = ""

    def add(self, other: Counts) -> None:
        for name in ("cases", "faults", "notes", "flagged", "fates"):
            getattr(self, name).update(getattr(other, name))
        for name in ("failures", "noted"):
            for one, names in getattr(other, name).items():
                getattr(self, name).setdefault(one, []).extend(names)
        if other.peak_bytes > self.peak_bytes:
            self.peak_bytes, self.peak_case = other.peak_bytes, other.peak_case
        if other.slowest_s > self.slowest_s:
            self.slowest_s, self.slowest_case = other.slowest_s, other.slowest_case


class Child:
    """The process that has the program in it. A new one takes the place of one that died."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def ask(self, path: Path, form: str, modes: tuple[str, ...]) -> dict[str, Any] | None:
        """None: it died or hung."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps({"path": str(path), "form": form, "modes": modes}) + "\n")
            process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE_S)
        line = process.stdout.readline() if ready else ""
        if line:
            return json.loads(line)  # type: ignore[no-any-return]
        self.close()
        return None

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            command = [sys.executable, "-m", "tests.damage.subject", str(self._folder)]
            self._process = subprocess.Popen(
                command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        return self._process


def run(families: list[str], plan: Plan) -> Counts:
    counts = Counts()
    with tempfile.TemporaryDirectory(dir=_quick_disk()) as name:
        path, root = Path(name) / "body", Path(name) / "root"
        root.mkdir()
        child = Child(root)
        with contextlib.closing(child):
            for case in _cases(families, plan):
                path.write_bytes(case.body)
                answer = child.ask(path, case.form, plan.modes)
                _count(counts, case, answer, plan)
    return counts


def _quick_disk() -> str | None:
    """Memory, where there is such a disk: nothing of this is to outlive a power cut."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _cases(families: list[str], plan: Plan) -> Iterator[Case]:
    for family in families:
        for case in family_cases(family, plan.seed, plan.scale):
            if case.name.startswith(plan.only):
                yield case


def _count(counts: Counts, case: Case, answer: dict[str, Any] | None, plan: Plan) -> None:
    counts.cases[case.truth] += 1
    if answer is None:
        _fail(counts, case, Fault.DIED, "", "", plan)
        return
    outcomes = answer["modes"]
    judgement = judged(case, outcomes)
    if answer["rss"] > counts.peak_bytes:
        counts.peak_bytes, counts.peak_case = answer["rss"], case.name
    mode, cpu_s = max(((mode, one["cpu_s"]) for mode, one in outcomes.items()), key=lambda pair: pair[1])
    if cpu_s > counts.slowest_s:
        counts.slowest_s, counts.slowest_case = cpu_s, f"{case.name}, {mode}"
    for fault in {fault for fault, _ in judgement.faults}:
        modes = [mode for one, mode in judgement.faults if one is fault]
        _fail(counts, case, fault, ", ".join(modes), _words(outcomes.get(modes[0]), judgement), plan)
    for note in {note for note, _ in judgement.notes}:
        modes = [mode for one, mode in judgement.notes if one is note]
        counts.notes[note] += 1
        what = f"{note}; {case.form}: {_common(_words(outcomes[modes[0]], judgement))} [{', '.join(modes)}]"
        counts.noted.setdefault(what, []).append(case.name)
    if case.truth in (Truth.WHOLE, Truth.ODD) and outcomes.get("fresh", {}).get("as") == "flagged":
        counts.flagged[f"{case.name.split(':')[0]}: {_common(outcomes['fresh']['detail'])}"] += 1
    if judgement.fate is not None:
        counts.fates[_group(case), case.kind, judgement.fate] += 1
        if (Note.STRICTER, "fresh") in judgement.notes:
            counts.fates[_group(case), case.kind, STRICTER] += 1


def _group(case: Case) -> str:
    return case.whole.group or {"jp2": "JPEG 2000", "webp": "WebP", "raw": "camera raw"}.get(case.form, case.form.upper())


def _words(outcome: dict[str, Any] | None, judgement: Judgement) -> str:
    shown = judgement.seen.picture or judgement.seen.side or "-"
    return f"said {outcome['as']}, {outcome.get('type')}: {outcome.get('detail')}; the format shows: {shown}" if outcome else shown


def _common(detail: str | None) -> str:
    """Without what differs from file to file."""
    return re.sub(r"/\S*\.part|\d+|b'[^']*'", "n", detail or "")[:200]


def _fail(counts: Counts, case: Case, fault: Fault, modes: str, words: str, plan: Plan) -> None:
    counts.faults[fault] += 1
    names = counts.failures.setdefault(f"{fault}; {case.form}: {_common(words)} [{modes}]", [])
    names.append(case.name + (f" ({case.whole.told})" if case.whole.told else ""))
    if len(names) <= MOST_KEPT:
        plan.folder.mkdir(parents=True, exist_ok=True)
        (plan.folder / file_name(case)).write_bytes(case.body)


def file_name(case: Case) -> str:
    return re.sub(r"[^\w.-]+", "_", case.name) + "." + case.form
