"""The program's path from bytes to a verdict, in a separate process: `python -m tests.damage.subject FOLDER`.

Reads names of files from its input, one line of JSON each, and answers with a line: what became of the file in each mode, the CPU
seconds that this took, and the most memory that the process has had meanwhile. It loads what a worker loads, and no generators.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import d4c_images.worker.loop  # noqa: F401 - for the memory that it takes
from d4c_images.decode import Decoder
from d4c_images.decode.memory_budget import MemoryBudget
from d4c_images.fetch import HEAD_BYTES, TAIL_BYTES
from d4c_images.model import Claim, Reply, Status, Verdict
from d4c_images.policy.judge import CodePolicy, judge
from d4c_images.stores.local import LocalStore
from d4c_images.stores.reading import sniff_file
from d4c_images.worker.threads import Slow
from d4c_images.worker.verify import Examiner, FoundImage

EDGE = 48
MODES = ("fresh", "fresh-small", "adopted", "adopted-small", "little", "little-small")
_BLOCK = 1 << 16
_LITTLE = {"jpeg": (1_000, 10_000), "jp2": (120_000, 8_000_000)}
_OTHERS_LITTLE = (10_000, 8_000_000)  # room for the pieces of a TIFF


class Subject:
    def __init__(self, folder: Path) -> None:
        self._store = LocalStore(folder)
        self._examiners: dict[tuple[bool, tuple[int, int] | None], Examiner] = {}
        self._number = 0

    def examine(self, path: Path, form: str, modes: list[str]) -> dict[str, Any]:
        _forget_peak()
        found: dict[str, Any] = {}
        for mode in modes:
            self._number += 1
            began = time.process_time()
            try:
                outcome = self._act(mode, path, form)
            except Exception as error:  # the worker, too, goes on with the next image
                outcome = {"as": "crash", "detail": f"{type(error).__name__}: {error}"[:500]}
            outcome["cpu_s"] = round(time.process_time() - began, 4)
            found[mode] = outcome
        return {"modes": found, "rss": _peak_bytes()}

    def _act(self, mode: str, path: Path, form: str) -> dict[str, Any]:
        where, _, small = mode.partition("-")
        little = _LITTLE.get(form, _OTHERS_LITTLE) if where == "little" else None
        examiner = self._examiner(bool(small), little)
        return self._adopted(examiner, path) if where == "adopted" else self._fresh(examiner, path)

    def _examiner(self, small: bool, little: tuple[int, int] | None) -> Examiner:
        if (small, little) not in self._examiners:
            examiner = Examiner(EDGE if small else None)
            if little:
                examiner._decoder = Decoder(EDGE if small else None, MemoryBudget(*little))
            self._examiners[small, little] = examiner
        return self._examiners[small, little]

    def _fresh(self, examiner: Examiner, path: Path) -> dict[str, Any]:
        """As `attempts` does it: what the bytes look like, then what they are."""
        partial = self._store.begin(1_234_567, 0, self._number)
        try:
            digest, head, tail = hashlib.sha256(), b"", b""
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    partial.write(block)
                    digest.update(block)
                    head, tail = head or block[:HEAD_BYTES], (tail + block)[-TAIL_BYTES:]
            partial.flush()
            size = path.stat().st_size
            reply = Reply(200, "http://a.example/1", "http://a.example/1", {}, partial.path, size, digest.digest(), head, tail)
            verdict = judge(reply, CodePolicy(), 0.0)
            if verdict.status is not Status.SUCCESS:
                return _told(verdict)
            return _outcome(examiner.examine(reply, partial))
        finally:
            partial.abort()

    def _adopted(self, examiner: Examiner, path: Path) -> dict[str, Any]:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            file.seek(max(0, size - TAIL_BYTES))
            extension = sniff_file(path, head, file.read(), size).extension or "jpg"
        kept = self._store.path_of(f"123/456/1234567-00.{extension}")
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, kept)
        try:
            claim = Claim(self._number, 1_234_567, 0, ("http://a.example/1",), 1, may_be_stored=True)
            return _outcome(examiner.look(self._store, claim))
        finally:
            kept.unlink(missing_ok=True)


def _outcome(found: FoundImage | Verdict | Slow | None) -> dict[str, Any]:
    if isinstance(found, Slow):
        act: Callable[[], Any] = found.act
        found = act()
    if found is None:
        return {"as": "gone"}
    return _told(found) if isinstance(found, Verdict) else _told(found.verdict)


def _told(verdict: Verdict) -> dict[str, Any]:
    names = {Status.FAILED_TRANSIENT: "transient", Status.FAILED_PERMANENT: "permanent"}
    kept = "flagged" if verdict.error_type and verdict.error_type != "raw_unprocessed" else "kept"
    told = None if verdict.detail is None else verdict.detail[:500]
    return {"as": names.get(verdict.status, kept), "type": verdict.error_type, "detail": told}


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print what they like
    subject = Subject(Path(sys.argv[1]))
    for line in sys.stdin:
        asked = json.loads(line)
        answers.write(json.dumps(subject.examine(Path(asked["path"]), asked["form"], asked["modes"])) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
