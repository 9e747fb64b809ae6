"""The folder on the shared disk where workers find the coordinator: its address, and the key without which nobody is let in.

Opens no connection. The key of all connections lies in the folder, so the folder belongs to one user and nobody else may look
into it; who can read it is trusted by coordinator and workers alike.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path

from d4c_images.errors import D4CError, UsageError

INVITATION = "scheduler.json"
OVER = "over"


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a worker needs to join one coordinator: each has an address and a key of its own."""

    run: str  # names the coordinator
    ledger: str  # whose coordinator it is
    version: str
    address: str  # as distributed writes it: tls://10.0.0.7:41234
    certificate: str  # PEM; the only one that either side trusts
    key: str = field(repr=False)  # PEM


class MeetingPlace:
    """The folder. Files appear in it whole or not at all."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder where it is missing. Raises `UsageError` where others than its owner can look into it."""
        self.folder = folder.absolute()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.folder.stat()
        except OSError as error:
            raise UsageError(f"the folder {self.folder} cannot be used: {error.strerror}") from None
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise UsageError(
                f"the folder {self.folder} holds the key to all connections and must be yours alone: chmod 700, or name another one"
            )

    def invite(self, invitation: Invitation) -> None:
        """Raises `UsageError` where the coordinator of another collection uses the folder."""
        other = self.invitation()
        if other is not None and other.ledger != invitation.ledger:
            raise UsageError(f"{self.folder / INVITATION} is that of {other.ledger}: each collection needs a folder of its own")
        (self.folder / OVER).unlink(missing_ok=True)
        self._write(INVITATION, json.dumps(asdict(invitation), indent=1))

    def invitation(self) -> Invitation | None:
        """Of the coordinator that is there, or of one that died."""
        text = self._read(INVITATION)
        if text is None:
            return None
        try:
            return Invitation(**json.loads(text))
        except (TypeError, ValueError):
            raise D4CError(f"{self.folder / INVITATION} is no file of ours") from None

    def withdraw(self, run: str) -> None:
        """The coordinator `run` has ended; another one may have come meanwhile."""
        there = self.invitation()
        if there is not None and there.run == run:
            (self.folder / INVITATION).unlink(missing_ok=True)

    def say_over(self, run: str) -> None:
        """Nothing is left to do: workers go home."""
        self._write(OVER, run)

    def over(self) -> str | None:
        """The coordinator that found nothing left to do; None while there is work, as far as is known."""
        return self._read(OVER)

    def _read(self, name: str) -> str | None:
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:  # network file systems have their moments: the file is looked at again
            if error.errno == errno.ESTALE:
                return None
            raise D4CError(f"{self.folder / name} cannot be read: {error.strerror}") from None

    def _write(self, name: str, text: str) -> None:
        new = self.folder / f".{name}.{os.getpid()}"
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            new.rename(self.folder / name)
        except OSError as error:
            raise D4CError(f"{self.folder / name} cannot be written: {error.strerror}") from None
