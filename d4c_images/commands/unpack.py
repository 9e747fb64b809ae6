"""`unpack`: copies images out of a collection as plain files. Copies none itself."""

from __future__ import annotations

import argparse
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d4c_images.commands import arguments, image_root, session
from d4c_images.durations import counted, show_size
from d4c_images.errors import EXIT_ERROR, EXIT_USAGE, Stopped, UsageError, of_a_named_path, printable
from d4c_images.report.as_json import json_text
from d4c_images.settings import Settings

if TYPE_CHECKING:
    from d4c_images.ledger.questions.locations import RecordState

NAMED = 20  # records named in one line


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "unpack",
        run,
        "Copy images out as plain files. Reads the tar files of --store pack, too, and verifies every hash, also of copies that "
        "are there already; changes nothing in the collection. Run it again to resume after an interruption.",
        settings,
        root=True,
        drains=True,
    )
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="target folder; created if missing")
    parser.add_argument(
        "--gbif-id",
        type=arguments.positive,
        action="append",
        default=[],
        metavar="N",
        help="copy only the images of this record; repeatable",
    )
    parser.add_argument(
        "--ids", type=Path, metavar="FILE", help="copy only the images of the records whose gbifIDs are in FILE, one per line"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON summary")
    arguments.add_progress(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    from d4c_images.collection.findings import CheckProgress
    from d4c_images.collection.unpack import Unpacked, unpack
    from d4c_images.ledger.file.reader import open_reader
    from d4c_images.ledger.questions import locations
    from d4c_images.report.check_progress import CheckProgressView

    if args.to.resolve().is_relative_to(args.root.resolve()):
        raise UsageError(f"--to {args.to} is inside the image root: choose another folder")
    gbif_ids = array("q", args.gbif_id)
    gbif_ids.extend(_ids(args.ids) if args.ids is not None else ())
    selects = bool(args.gbif_id) or args.ids is not None
    stop = session.Stop()
    live = session.wants_progress(args, sys.stderr)
    with stop.listening(), open_reader(args.ledger) as ledger, CheckProgressView(live=live, doing="unpacking") as view:
        total = None if selects else locations.n_stored(ledger)
        images = locations.shown_by(ledger, gbif_ids) if selects else locations.all_stored(ledger)

        def show(done: Unpacked) -> None:
            view.show(CheckProgress("images", done.n_seen, total))
            if stop():
                raise Stopped(f"{stop.signal_name()}: unpacking was stopped; run the same command again to resume")

        done = unpack(images, args.root, image_root.writable(args.to, ""), show)
        lacking = _lacking(locations.records(ledger, gbif_ids))
    if args.json:
        print(json_text(done.as_dict() | lacking.as_dict()))
    else:
        print(f"{counted(done.n_written, 'image')} written ({show_size(done.written_bytes)}), {done.n_there:,} already there")
        if done.n_replaced:
            were = counted(done.n_replaced, "copy was", "copies were")
            print(f"{were} not what the ledger says, and {'was' if done.n_replaced == 1 else 'were'} made anew")
        for trouble in done.troubles:
            print(f"d4c-images: {printable(trouble)}", file=sys.stderr)
        if done.n_troubles:
            print(f"{counted(done.n_troubles, 'image')} not copied; 'd4c-images check --sha256' finds all that are damaged")
        for line in lacking.lines():
            print(f"d4c-images: {line}", file=sys.stderr)
    return EXIT_ERROR if done.n_troubles else EXIT_USAGE if lacking.n_unknown else 0


@dataclass(slots=True)
class _Lacking:
    """Records that were named, but not fully unpacked."""

    n_unknown: int = 0
    unknown: list[int] = field(default_factory=list)  # the first of them; likewise below
    n_unstored: int = 0  # with images that are not stored
    unstored: list[int] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "n_unknown_records": self.n_unknown,
            "unknown_records": self.unknown,
            "n_records_with_images_not_stored": self.n_unstored,
            "records_with_images_not_stored": self.unstored,
        }

    def lines(self) -> Iterator[str]:
        if self.n_unknown:
            yield f"{counted(self.n_unknown, 'gbifID')} not in the ledger: {_listed(self.unknown, self.n_unknown)}"
        if self.n_unstored:
            named = _listed(self.unstored, self.n_unstored)
            yield f"{counted(self.n_unstored, 'gbifID')} with images that are not stored: {named}"


def _listed(some: Sequence[int], n: int) -> str:
    return ", ".join(map(str, some)) + (", ..." if n > len(some) else "")


def _lacking(records: Iterable[RecordState]) -> _Lacking:
    lacking = _Lacking()
    for record in records:
        if record.n_images is None:
            lacking.n_unknown += 1
            lacking.unknown += [record.gbif_id] if lacking.n_unknown <= NAMED else []
        elif record.n_images != record.n_stored:
            lacking.n_unstored += 1
            lacking.unstored += [record.gbif_id] if lacking.n_unstored <= NAMED else []
    return lacking


def _ids(path: Path) -> Sequence[int]:
    """Eight bytes per gbifID."""
    try:
        with path.open(encoding="utf-8") as lines:
            return array("q", (int(word) for line in lines for word in line.split()))
    except OSError as error:
        raise of_a_named_path(UsageError, f"cannot read the gbifIDs in {path}: {error.strerror}", error) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot read the gbifIDs in {path}: {error}") from None
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{path} contains something other than gbifIDs: {error}") from None
