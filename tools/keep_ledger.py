"""Writes down the schema's current version: the digests in ledger/file/versions.py, and a small ledger of it in tests/ledgers/.

Whoever changes the schema raises `schema.SCHEMA_VERSION`, adds a migration to ledger/file/version_changes.py, then runs
`python -m tools.keep_ledger`. What stands there of a version is never changed, since ledgers in the world have it; only while a
version is not released yet may `--unreleased` write it anew.
"""

from __future__ import annotations

import argparse
import io
import sqlite3
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from d4c_images.ledger.file import connect, identify, schema, versions

PROJECT = Path(__file__).resolve().parents[1]
VERSIONS = PROJECT / "d4c_images/ledger/file/versions.py"
LEDGERS = PROJECT / "tests/ledgers"
MARK = "# fmt: off\n"
KEPT = ("ledger.sqlite", "images", "multimedia.txt")


def current() -> dict[str, str]:
    """Name and digest of each object that a new ledger has."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        with closing(connect.open_ledger(path, create=True)) as ledger:
            return identify.objects(ledger.connection)


def written(shapes: Mapping[int, Mapping[str, str]]) -> str:
    """The generated end of ledger/file/versions.py."""
    lines = [MARK + "SHAPES: dict[int, dict[str, str]] = {\n"]
    for version, objects in sorted(shapes.items()):
        lines.append(f"    {version}: {{\n")
        lines += [f'        "{name}": "{digest}",\n' for name, digest in sorted(objects.items())]
        lines.append("    },\n")
    return "".join([*lines, "}\n"])


def make_collection(folder: Path) -> None:
    """A ledger made by the program itself, with images that are stored, failed and left, and the files of those that are stored."""
    from tests.publishers.client import Publishers
    from tests.support.program import Collection, multimedia, reach

    collection = Collection(folder)
    rows = [(1_000_000_000 + i // 2, f"http://{host}.example.org/thumbs/{i}.jpg") for host in "abc" for i in range(8)]
    rows += [(1_000_000_100 + i, "http://a.example.org/thumbs/0.jpg") for i in range(3)]
    rows += [(1_000_000_200 + i, "") for i in range(2)]
    multimedia(folder / "multimedia.txt", rows, license="CC BY 4.0", creator="A. Botanist")
    labels = [f"{1_000_000_000 + i}\tQuercus robur L.\tFagaceae\n" for i in range(4)]
    (folder / "occurrence.txt").write_text("gbifID\tscientificName\tfamily\n" + "".join(labels), encoding="utf-8")
    collection.run("init", folder / "multimedia.txt", "--labels")
    with Publishers() as publishers:
        publishers.behave("b.example.org=http_404", "c.example.org=http_503")
        collection.run("download", *reach(publishers), "--processes", 1, "--limit-tries", 14)
    with closing(sqlite3.connect(collection.ledger, isolation_level=None)) as db:  # whose machine it was is nobody's business
        db.execute("UPDATE archives SET source = replace(source, rtrim(source, replace(source, '/', '')), '')")
        db.execute("UPDATE runs SET host = 'node1', pid = 4711, pid_started = NULL, job_id = NULL")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def packed(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in KEPT:
            tar.add(folder / name, name, filter=_nobodys)
    return buffer.getvalue()


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--unreleased", action="store_true", help="the version is in no release yet: write it anew")
    args = parser.parse_args()
    version, objects = schema.SCHEMA_VERSION, current()
    known = versions.SHAPES.get(version)
    if known not in (None, objects) and not args.unreleased:
        print(
            f"version {version} is written down already, and the schema is another one: raise SCHEMA_VERSION and add a migration"
            " (or --unreleased)",
            file=sys.stderr,
        )
        return 1
    head = VERSIONS.read_text(encoding="utf-8").partition(MARK)[0]
    VERSIONS.write_text(head + written({**versions.SHAPES, version: objects}), encoding="utf-8")
    kept = LEDGERS / f"v{version}.tar.gz"
    if known != objects or not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            make_collection(Path(folder))
            kept.write_bytes(packed(Path(folder)))
    print(f"version {version}: digest {identify.digest(objects)}, {kept.relative_to(PROJECT)} has {kept.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
