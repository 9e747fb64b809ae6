"""`store convert`: files become shards and shards files, and a collection moves to another root. Moves no byte itself."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d4c_images import crash
from d4c_images.batch.requeue import NOBODY
from d4c_images.commands import arguments, image_root, session
from d4c_images.durations import counted, show_size
from d4c_images.errors import EXIT_ERROR, Stopped, StoreError, UsageError, printable
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.connect import Ledger
from d4c_images.report.as_json import json_text
from d4c_images.settings import Settings
from d4c_images.system import clocks, disk_room

if TYPE_CHECKING:
    from d4c_images.collection.moved import Moved
    from d4c_images.ledger.queue.relocating import Survey

MB = 1_000_000
SPARE_BYTES = 256 << 20  # left free for the ledger and a chunk of images


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "store",
        run,
        "Convert how images are stored, or move them to another disk. Verifies every image against its SHA-256 before the old "
        "copy goes; what does not match is reported and left where it is. Run it again to resume after an interruption.",
        settings,
        root=True,
        drains=True,
    )
    parser.add_argument("action", choices=("convert",), metavar="convert", help="what to do; there is one action so far")
    parser.add_argument(
        "--to",
        choices=("files", "pack"),
        help="store all images as plain files, or packed into tar files (pack); later downloads do so, too",
    )
    parser.add_argument(
        "--to-root",
        type=Path,
        metavar="DIR",
        help="copy all images to DIR, verify the copies, then make DIR the image root of this ledger; the old files stay",
    )
    parser.add_argument(
        "--remove-old",
        action="store_true",
        help="after that, also in a later run, remove the files of this ledger from the old image root (--root)",
    )
    parser.add_argument(
        "--shard-size", type=arguments.size, metavar="SIZE", help="size of a tar file, with --to pack (default: 1G)"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be done, and change nothing")
    parser.add_argument("--json", action="store_true", help="print a JSON summary")
    arguments.add_requeue(parser)
    arguments.add_progress(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    _check(args)
    if args.dry_run:
        return _dry_run(args)
    from d4c_images.ledger.queue.relocating import STORE_CONVERT

    stop = session.Stop()
    rounds = session.rounds(args, settings, stop)
    deadline, _ = rounds.limits(None, 0.0, clocks.now())
    with stop.listening(), session.owned(args.ledger, STORE_CONVERT, settings, session.wait(stop, deadline, rounds)) as ledger:
        over = partial(session.why_to_stop, stop, session.ends_at(deadline, ledger))
        work, following = _Work(args, ledger, over), NOBODY
        try:
            with redirect_stdout(sys.stderr) if args.json else nullcontext():  # lines of what is shared with other commands
                work.run()
        except Stopped as stopped:
            ledger.ending = str(stopped)
            following = session.next_round(ledger, STORE_CONVERT, rounds)
    work.show(is_over=ledger.ending == "ended")
    if ledger.ending != "ended":
        print(f"d4c-images: {ledger.ending}", file=sys.stderr, flush=True)
        return rounds.hand_back(following, clocks.now.to_wall(clocks.now()))
    return EXIT_ERROR if work.n_left else 0


def _check(args: argparse.Namespace) -> None:
    if args.to is None and args.to_root is None:
        raise UsageError("store convert needs --to files, --to pack or --to-root DIR")
    if args.remove_old and args.to_root is None:
        raise UsageError("--remove-old needs --to-root DIR, the new image root")
    if args.shard_size is not None and args.to != "pack":
        raise UsageError("--shard-size needs --to pack")
    if args.to_root is None:
        return
    old, new = args.root.resolve(), args.to_root.resolve()
    if new.is_relative_to(old) or old.is_relative_to(new):
        raise UsageError(f"--to-root {args.to_root} and the image root {args.root} are one folder, or one is inside the other")


@dataclass(frozen=True, slots=True)
class _Stage:
    """A pass over the collection, in words."""

    key: str  # of the JSON summary
    doing: str
    done: str


PACK = _Stage("packed", "packing", "packed")
UNPACK = _Stage("unpacked", "unpacking", "stored as files")
COPY = _Stage("copied", "copying", "copied")
REMOVE = _Stage("removed", "removing", "removed from the old image root")


class _Work:
    """The passes that a command line asks for, in order; what they have done, also if they are stopped."""

    def __init__(self, args: argparse.Namespace, ledger: Ledger, over: Callable[[], str | None]) -> None:
        self._args, self._ledger, self._over = args, ledger, over
        self._heart = owner.Heart(ledger, clocks.now)
        self._live = session.wants_progress(args, sys.stderr)
        self._results: list[tuple[_Stage, Moved]] = []
        self._lines: list[str] = []
        self._now: tuple[_Stage, Moved] | None = None

    @property
    def n_left(self) -> int:
        return sum(done.n_left + len(done.shards_kept) for _, done in self._results)

    def run(self) -> None:
        """A collection is packed before it moves, and unpacked after: the new disk or the old one may count files."""
        from d4c_images.ledger.queue import relocating

        args, ledger = self._args, self._ledger
        relocating.commit_durably(ledger)
        to_root: Path | None = args.to_root
        is_switched = to_root is not None and _is_root_of(ledger, to_root)
        root = image_root.claim(ledger, args.root if to_root is None or not is_switched else to_root)
        token = self._prepare(root)
        if args.to == "pack" or (args.to == "files" and to_root is None):
            self._convert(root, token)
        if to_root is not None:
            if not is_switched:
                if not self._move(root, to_root, token):
                    return
            elif not args.remove_old:
                self._say(f"{to_root} is already the image root of this ledger")
            if args.remove_old:  # before the new root changes
                self._remove(args.root, to_root, token)
            if args.to == "files":
                self._prepare(to_root)
                self._convert(to_root, token)

    def _prepare(self, root: Path) -> str:
        """What killed runs have left, theirs and ours; returns the token of the ledger."""
        from d4c_images.collection.convert import cut_unnamed_copies

        token = session.sweep_marks(self._ledger, root)
        n = cut_unnamed_copies(self._ledger, root, token)
        if n:
            self._say(f"{counted(n, 'copy', 'copies')} of an interrupted run removed from a shard")
        session.sweep_parts(self._ledger, root)
        session.mend_shards(self._ledger, root)
        session.set_files_aside(self._ledger, root, lambda: self._over() is not None)
        return token

    def _survey(self) -> Survey:
        from d4c_images.collection.findings import CheckProgress
        from d4c_images.ledger.queue import relocating
        from d4c_images.report.check_progress import CheckProgressView

        with CheckProgressView(live=self._live, doing="counting") as view:

            def show(done: int, total: int) -> None:
                view.show(CheckProgress("images", done, total))
                self._beat()

            return relocating.survey(self._ledger.connection.execute, show)

    def _convert(self, root: Path, token: str) -> None:
        from d4c_images.collection import convert

        packing = session.packing(self._ledger, self._args.to, self._args.shard_size)
        found = self._survey()
        largest = max((_size_of(root / path) for path in found.users), default=0)
        if packing is not None:
            _check_room(root, found.biggest_bytes + SPARE_BYTES if found.n_files else 0)
            self._pass(PACK, found.file_bytes, lambda watch: convert.pack_files(self._ledger, root, packing, found, watch))
        else:
            _check_room(root, largest + SPARE_BYTES if found.n_packed else 0, found.n_packed)
            self._pass(UNPACK, found.packed_bytes, lambda watch: convert.unpack_shards(self._ledger, root, token, found, watch))

    def _move(self, old: Path, new: Path, token: str) -> bool:
        """False if something is not as its row says: then the old root stays the ledger's."""
        from d4c_images.collection.move_root import copy_root
        from d4c_images.ledger.questions import last_root
        from d4c_images.ledger.queue import relocating

        is_new = not new.exists() or not any(new.iterdir())
        image_root.writable(new)
        found = self._survey()
        n_bytes = found.file_bytes + found.packed_bytes
        if is_new:
            _check_room(new, n_bytes + SPARE_BYTES if n_bytes else 0, found.n_files)
        done = self._pass(COPY, n_bytes, lambda watch: copy_root(self._ledger, old, new, found, watch, token))
        if done.n_left:
            self._say(f"{old} is still the image root: not everything could be copied")
            return False
        known = last_root.known(self._ledger.connection.execute)
        assert known is not None, "claimed"
        inode = new.stat().st_ino
        left = tuple(one for one in (*known.left, known.inode) if one != inode)
        crash.point("convert.verified")
        last_root.note(self._ledger, last_root.KnownRoot(str(new.absolute()), inode, secrets.token_hex(4), left))
        crash.point("convert.switched")
        relocating.forget_copied(self._ledger)
        self._say(f"{new} is the image root now: use --root {new} or D4C_ROOT={new} from now on")
        if not self._args.remove_old:
            self._say(f"the old files are still in {old}: run the same command with --remove-old to remove them")
        return True

    def _remove(self, old: Path, new: Path, token: str) -> None:
        from d4c_images.collection.move_root import remove_root
        from d4c_images.ledger.questions import last_root

        if not old.exists():
            return
        known = last_root.known(self._ledger.connection.execute)
        if known is None or old.stat().st_ino not in known.left:
            raise UsageError(f"{old} was never the image root of this ledger: nothing is removed from it")
        self._pass(REMOVE, None, lambda watch: remove_root(self._ledger, old, new, watch, token))
        if old.exists():
            self._say(f"{old} contains other files, too: those stay")

    def _pass(self, stage: _Stage, n_bytes: int | None, act: Callable[[Callable[[Moved], None]], Moved]) -> Moved:
        from d4c_images.collection.findings import CheckProgress
        from d4c_images.report.check_progress import CheckProgressView

        with CheckProgressView(live=self._live, doing=stage.doing) as view:

            def watch(done: Moved) -> None:
                self._now = stage, done
                total = None if n_bytes is None else n_bytes // MB
                view.show(CheckProgress("images", done.seen_bytes // MB, total, " MB"))
                self._beat()

            done = act(watch)
        self._now = None
        self._results.append((stage, done))
        return done

    def _beat(self) -> None:
        self._ledger.n_done = sum(done.n_images for _, done in self._results) + (0 if self._now is None else self._now[1].n_images)
        self._heart.beat_if_due()
        why = self._over()
        if why is not None:
            raise Stopped(f"{why}: stopped; nothing is lost, run the same command again to resume")

    def _say(self, line: str) -> None:
        self._lines.append(line)
        if not self._args.json:
            print(printable(line), flush=True)

    def show(self, *, is_over: bool) -> None:
        from d4c_images.collection.findings import REPAIR

        results = [*self._results, *([] if self._now is None else [self._now])]
        if self._args.json:
            summary: dict[str, Any] = {stage.key: done.as_dict() for stage, done in results}
            print(json_text(summary | {"ok": is_over and not self.n_left, "notes": self._lines}))
            return
        for stage, done in results:
            there = f", {done.n_there:,} already there" if done.n_there else ""
            shards = f", {counted(done.n_shards_removed, 'tar file')} removed" if done.n_shards_removed else ""
            print(f"{counted(done.n_images, 'image')} {stage.done} ({show_size(done.moved_bytes)}){there}{shards}")
            for one in done.left:
                print(printable(f"{one.reason}\t{one.subject}\t{one.detail}\t{one.remedy}"), file=sys.stderr)
            if done.n_left:
                print(f"{counted(done.n_left, 'image')} left where it is or was missing: {REPAIR}, then the same command again")
            if done.shards_kept:
                named = printable(", ".join(done.shards_kept[:3]))
                print(f"{counted(len(done.shards_kept), 'tar file')} kept, with images that are nowhere else: {named}")


def _is_root_of(ledger: Ledger, root: Path) -> bool:
    from d4c_images.ledger.questions import last_root

    known = last_root.known(ledger.connection.execute)
    return known is not None and known.path == str(root.absolute())


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _check_room(folder: Path, n_bytes: int, n_files: int = 0) -> None:
    """Raise `StoreError` if there is too little; another quota than the file system's is met only when it is exceeded."""
    if not n_bytes:
        return
    room = disk_room.room(folder)
    if room.free_bytes < n_bytes:
        raise StoreError(f"{show_size(n_bytes)} needed, but {folder} has {show_size(room.free_bytes)} free: nothing was changed")
    if room.free_inodes is not None and room.free_inodes < n_files:
        raise StoreError(f"{counted(n_files, 'file')} needed, but {folder} has room for {room.free_inodes:,}: nothing was changed")


def _dry_run(args: argparse.Namespace) -> int:
    from d4c_images.ledger.file.reader import open_reader
    from d4c_images.ledger.queue import relocating

    with open_reader(args.ledger) as ledger:
        found = relocating.survey(ledger.rows)
    room = disk_room.room(args.root if args.to_root is None else args.to_root)
    n_to_convert, bytes_to_convert = {
        "files": (found.n_packed, found.packed_bytes),
        "pack": (found.n_files, found.file_bytes),
        None: (0, 0),
    }[args.to]
    n_to_copy, bytes_to_copy = found.n_files + found.n_packed, found.file_bytes + found.packed_bytes
    if args.to_root is None:
        n_to_copy = bytes_to_copy = 0
    if args.json:
        summary = {
            "n_files": found.n_files,
            "file_bytes": found.file_bytes,
            "n_packed": found.n_packed,
            "packed_bytes": found.packed_bytes,
            "n_shards": len(found.users),
            "n_to_convert": n_to_convert,
            "bytes_to_convert": bytes_to_convert,
            "n_to_copy": n_to_copy,
            "bytes_to_copy": bytes_to_copy,
            "free_bytes": room.free_bytes,
            "free_inodes": room.free_inodes,
        }
        print(json_text(summary))
        return 0
    n_shards = counted(len(found.users), "tar file")
    print(f"as files: {_amount(found.n_files, found.file_bytes)}; in {n_shards}: {_amount(found.n_packed, found.packed_bytes)}")
    if args.to is not None:
        print(_amount(n_to_convert, bytes_to_convert, " to be packed" if args.to == "pack" else " to be stored as files"))
    if args.to_root is not None:
        to = f" to be copied to {printable(str(args.to_root))}"
        print(f"{_amount(n_to_copy, bytes_to_copy, to)}; {show_size(room.free_bytes)} free there")
    print("nothing was changed")
    return 0


def _amount(n_images: int, n_bytes: int, what: str = "") -> str:
    return f"{counted(n_images, 'image')}{what} ({show_size(n_bytes)})"
