"""The rendezvous: a folder on the shared disk where workers find the coordinator's address, and the key that admits them.

Opens no connection. The folder contains the key of all connections, so it must belong to one user and be unreadable to others;
whoever can read it is trusted by coordinator and workers alike.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from d4c_images import __version__
from d4c_images.errors import D4CError, UsageError, of_a_named_path

INVITATION = "scheduler.json"
RENDEZVOUS_FILE_BYTES = 1 << 20  # maximum size of our files; a bigger one is not ours
OVER = "over"
AWAY = "away"


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a worker needs to join one coordinator: each has its own address and key."""

    run: str  # identifies the coordinator
    ledger: str  # whose coordinator it is
    version: str
    address: str  # in distributed's form: tls://10.0.0.7:41234
    certificate: str  # PEM; the only one either side trusts
    key: str = field(repr=False)  # PEM


class MeetingPlace:
    """The folder. Files appear in it atomically."""

    def __init__(self, folder: Path) -> None:
        """Creates the folder if it is missing. Raises `UsageError` if anybody but its owner can read it."""
        self.folder = folder.absolute()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.folder.stat()
        except OSError as error:
            raise of_a_named_path(UsageError, f"cannot use the folder {self.folder}: {error.strerror}", error) from None
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise UsageError(
                f"the folder {self.folder} will hold the TLS key of all connections and must be accessible to you only: "
                "chmod 700, or use another folder"
            )

    def invite(self, invitation: Invitation) -> None:
        """Raises `UsageError` if another collection's coordinator uses the folder."""
        other = self._values()
        if other is not None and other.get("ledger") != invitation.ledger:
            raise UsageError(
                f"{self.folder / INVITATION} belongs to {other.get('ledger')}: use a separate folder for each collection"
            )
        self._remove(OVER)
        self._remove(AWAY)
        self._write(INVITATION, json.dumps(asdict(invitation), indent=1))

    def invitation(self) -> Invitation | None:
        """Of the current coordinator, or of one that died."""
        values = self._values()
        if values is None:
            return None
        try:
            return Invitation(**values)
        except TypeError:
            raise D4CError(self.other_version() or self._not_ours()) from None

    def other_version(self) -> str | None:
        """The message if the coordinator has another version than ours, and possibly another format."""
        version = (self._values() or {}).get("version")
        if version in (None, __version__):
            return None
        versions = f"the coordinator runs d4c-images {version}, this worker {__version__}"
        return f"version mismatch: {versions}; use the same version on all nodes"

    def withdraw(self, run: str) -> None:
        """The coordinator `run` has ended; another one may have come meanwhile."""
        try:
            there = self._values()
            if there is not None and there.get("run") == run:
                self._remove(INVITATION)
        except D4CError:
            pass  # workers will get no answer

    def say_over(self, run: str) -> None:
        """Nothing is left to do: workers exit."""
        self._write(OVER, run)

    def over(self) -> str | None:
        """The coordinator that found nothing left to do; None while there is work, as far as known."""
        return self._read(OVER)

    def say_away(self, until: float) -> None:
        """The coordinator's job begins again at this unix time: before, there is nothing to do."""
        self._write(AWAY, f"{until:.0f}")

    def away_until(self) -> float | None:
        """None: nobody has said so, or the next coordinator has come."""
        text = self._read(AWAY)
        return float(text) if text is not None and text.isdigit() else None

    def _values(self) -> dict[str, str] | None:
        text = self._read(INVITATION)
        if text is None:
            return None
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise D4CError(self._not_ours())
        return values

    def _not_ours(self) -> str:
        return f"{self.folder / INVITATION} was not written by d4c-images"

    def _remove(self, name: str) -> None:
        try:
            (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise D4CError(f"{self.folder / name} cannot be removed: {error.strerror}") from None

    def _read(self, name: str) -> str | None:
        try:
            with (self.folder / name).open("rb") as file:
                return file.read(RENDEZVOUS_FILE_BYTES).decode("utf-8", "replace")
        except FileNotFoundError:
            return None
        except OSError as error:  # a transient error of a network file system: the file is read again
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
            with suppress(OSError):  # it may contain a key
                new.unlink()
            raise D4CError(f"{self.folder / name} cannot be written: {error.strerror}") from None
