"""Which images are known to be placeholders, from TOML. Looks at no image and knows no ledger."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from d4c_images.errors import UsageError
from d4c_images.policy.toml_tables import check_names, toml_tables

MIN_RECORDS = 100  # above the 72 records that share one drawer photo in real data
PLACEHOLDER_FIELDS = {"sha256", "size_bytes", "host", "records", "source", "note"}


@dataclass(frozen=True, slots=True)
class PlaceholderEntry:
    """One entry: by hash, or by size at one host."""

    sha256: bytes | None = None
    size_bytes: int | None = None
    host: str | None = None  # media.example.org or *.example.org; None: any
    records: int = 3  # identical bytes of this size are a placeholder from this many records on

    def is_of(self, host: str) -> bool:
        if self.host is None or self.host == host:
            return True
        return self.host.startswith("*.") and host.endswith(self.host[1:])


@dataclass(frozen=True, slots=True)
class PlaceholderList:
    known: tuple[PlaceholderEntry, ...] = ()
    allowed: frozenset[bytes] = frozenset()

    def over(self, other: PlaceholderList) -> PlaceholderList:
        """Both combined; what one of them allows is allowed."""
        return PlaceholderList(self.known + other.known, self.allowed | other.allowed)

    def is_known(self, host: str, sha256: bytes) -> bool:
        return any(one.sha256 == sha256 and one.is_of(host) for one in self.known)

    def suspected_from(self, host: str, size_bytes: int | None) -> int | None:
        """From how many records on identical bytes of this size are a placeholder; None if the size is not listed."""
        return min((one.records for one in self.known if one.size_bytes == size_bytes and one.is_of(host)), default=None)


def parse_placeholders(toml_text: str) -> PlaceholderList:
    """Read `[[placeholder]]` and `[[allowed]]` entries. Raises `UsageError` that names the offending entry."""
    unknown = "unknown table {name!r}; known are [[placeholder]] and [[allowed]]"
    document = toml_tables(toml_text, "placeholders file", {"placeholder", "allowed"}, unknown)
    known = []
    for where, entry in _entries(document, "placeholder"):
        sha256 = _sha256(where, entry) if "sha256" in entry else None
        size_bytes, records, host = entry.get("size_bytes"), entry.get("records", 3), entry.get("host")
        if host is not None and not isinstance(host, str):
            raise UsageError(f"{where}: host must be a string")
        if (sha256 is None) == (size_bytes is None):
            raise UsageError(f"{where} needs either sha256 or size_bytes")
        if size_bytes is not None and (type(size_bytes) is not int or host is None):
            raise UsageError(f"{where}: size_bytes must be a number and needs a host")
        if type(records) is not int or records < 2:
            raise UsageError(f"{where}: records must be a number, 2 or more")
        known.append(PlaceholderEntry(sha256, size_bytes, host and host.lower(), records))
    return PlaceholderList(tuple(known), frozenset(_sha256(*one) for one in _entries(document, "allowed")))


def sha256_of(text: str) -> bytes:
    """From 64 hex digits; raises `UsageError`."""
    if not re.fullmatch(r"[0-9A-Fa-f]{64}", text):
        raise UsageError(f"'{text}' is not a SHA-256 (64 hex digits)")
    return bytes.fromhex(text)


def _entries(document: dict[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    entries = document.get(name, [])
    if not isinstance(entries, list):
        raise UsageError(f"placeholders file: write [[{name}]], with two brackets")
    for number, entry in enumerate(entries, 1):
        where = f"placeholders file: [[{name}]] number {number}"
        check_names(where, sorted(entry), sorted(PLACEHOLDER_FIELDS))
        yield where, entry


def _sha256(where: str, entry: dict[str, Any]) -> bytes:
    try:
        return sha256_of(str(entry.get("sha256")))
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
