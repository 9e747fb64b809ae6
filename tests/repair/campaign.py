"""Kills commands at moments that a seed draws, runs them again, and checks what they promise. Knows no command by name."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.publishers.client import Publishers
from tests.repair.commands import COMMANDS
from tests.repair.trial import Killed, Trial, Violation, copy_of
from tests.support.patience import PATIENCE_S
from tests.support.program import PROGRAM, PROJECT, Collection, multimedia, reach

SITE = Path(__file__).parent / "site"
N_IMAGES = 24
MOST_KILLS = 3  # of one command, one after the other
FIRST_ID = 700_000_000


@dataclass(slots=True)
class Figures:
    kills: Counter[str] = field(default_factory=Counter)  # by command
    trials: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


class RepairCampaign:
    """All trials of one seed, in a folder of their own."""

    def __init__(self, seed: int, folder: Path, say: Callable[[str], None]) -> None:
        self._seed, self._folder, self._say = seed, folder, say
        self.templates: list[Path] = []
        self._moments: dict[tuple[str, Path, str], int] = {}  # things done to files, from begin to end
        self.figures = Figures()

    def prepare(self, publishers: Publishers) -> None:
        """Two collections by real downloads: one of files, one of tar files."""
        for store in ("files", "pack"):
            template = self._folder / f"template-{store}"
            template.mkdir(parents=True)
            collection = Collection(template)
            rows = [(FIRST_ID + n * 1_000, f"http://{'abc'[n % 3]}.example.org/{n}.jpg") for n in range(N_IMAGES)]
            collection.load(multimedia(template / "multimedia.txt", rows))
            collection.run("download", *reach(publishers), "--processes", 1, "--store", store)
            self.templates.append(template)

    def run(self, n_kills: int, commands: Sequence[Killed] = COMMANDS) -> Figures:
        number = 0
        while sum(self.figures.kills.values()) < n_kills:
            self._try(number, commands[number % len(commands)])
            number += 1
        return self.figures

    def _try(self, number: int, command: Killed) -> None:
        dice = random.Random(f"{self._seed} {number}")
        template = self.templates[dice.randrange(len(self.templates))]
        trial = copy_of(template, self._folder / f"trial-{number}", dice)
        self.figures.trials[command.name] += 1
        moments: list[int] = []
        try:
            command.prepare(trial)
            most = self._moments_of(command, template, trial)
            for _ in range(dice.randint(1, MOST_KILLS)):
                moment = dice.randint(1, most)
                if self._call(command, trial, moment) != -signal.SIGKILL:
                    break  # it has done less this time, and has ended
                moments.append(moment)
                self.figures.kills[command.name] += 1
                command.after_kill(trial)
            code = self._call(command, trial)
            if code != 0:
                raise Violation(f"the same command ends with 0, not {code}: {(trial.folder / 'log').read_text()[-500:]}")
            command.at_end(trial)
        except (Violation, AssertionError) as violation:
            text = f"trial {number}: {command.name} of {template.name}, killed at {moments}: {violation}"
            self.figures.violations.append(text)
            self._say(f"VIOLATED: {text} ({trial.folder})")
            return
        self._say(f"trial {number}: {command.name} of {template.name}, killed at {moments} of {most}: holds")
        shutil.rmtree(trial.folder)

    def _moments_of(self, command: Killed, template: Path, trial: Trial) -> int:
        """How many moments the command has, found out on a copy."""
        key = (command.name, template, trial.kept.get("variant", ""))
        if key not in self._moments:
            copy = copy_of(trial.folder, self._folder / "whole", trial.dice)
            copy.kept.update(trial.kept)
            count = copy.folder.with_suffix(".count")
            count.unlink(missing_ok=True)  # or a shorter number would keep the last digits of the one before
            code = self._call(command, copy, count=count)
            if code != 0:
                raise Violation(f"{command.name} ends with 0 if nobody kills it, not {code}")
            self._moments[key] = int(count.read_text())
            shutil.rmtree(copy.folder)
        return self._moments[key]

    def _call(self, command: Killed, trial: Trial, kill_at: int | None = None, count: Path | None = None) -> int:
        words = [*PROGRAM[:-1], command.module, *command.words(trial), "--ledger", str(trial.ledger)]
        if command.with_root:
            words += ["--root", str(trial.folder / "images")]
        environ = {
            **os.environ, "PYTHONPATH": f"{SITE}{os.pathsep}{PROJECT}", "REPAIR_BELOW": f"{trial.folder}{os.sep}",
            "REPAIR_AT": str(kill_at or ""), "REPAIR_COUNT": str(count or ""),
        }  # fmt: skip
        with (trial.folder / "log").open("a") as log:
            done = subprocess.run(
                words, stdout=log, stderr=log, cwd=trial.folder, env=environ, timeout=PATIENCE_S, check=False
            )  # fmt: skip
        return done.returncode
