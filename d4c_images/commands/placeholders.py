"""`placeholders`: finds placeholder images, and reverses wrong ones. Judges none itself."""

from __future__ import annotations

import argparse
import time
from collections.abc import Collection, Sequence

from d4c_images.commands import arguments, image_root, presets, session
from d4c_images.durations import counted
from d4c_images.errors import UsageError
from d4c_images.ledger.file import owner
from d4c_images.policy.placeholder_list import sha256_of
from d4c_images.settings import Settings
from d4c_images.system import clocks


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "placeholders",
        run,
        'Detect "no image available" placeholder pictures. Identical bytes that one host served for many records are quarantined, '
        "and their images marked as failed; --allow reverses this.",
        settings,
        root=True,
    )
    parser.add_argument(
        "--allow", action="append", default=[], metavar="SHA256", help="treat these bytes as a real image; repeatable"
    )
    arguments.add_placeholder_terms(parser, "--records")


def run(args: argparse.Namespace, settings: Settings) -> int:
    from d4c_images.collection.quarantine import allow
    from d4c_images.ledger.queue import placeholders as marking
    from d4c_images.stores.pack import open_store
    from d4c_images.stores.quarantine import Aside

    allowed, listed = [sha256_of(text) for text in args.allow], presets.placeholder_list(args.placeholders_file)
    last = time.monotonic()

    def show(what: str, done: int, total: int) -> None:
        nonlocal last
        heart.beat_if_due()
        if time.monotonic() - last >= 30:
            last = time.monotonic()
            print(f"{what}: {done:,} of {counted(total, 'image')}", flush=True)

    with session.owned(args.ledger, "placeholders", settings) as ledger:
        heart = owner.Heart(ledger, clocks.now)
        root = image_root.claim(ledger, args.root)
        session.sweep_marks(ledger, root)
        session.sweep_parts(ledger, root)
        session.set_files_aside(ledger, root, lambda: False)
        _check_known(allowed, {sha256_hex for _, sha256_hex, _, _ in marking.overview(ledger)})
        for sha256 in allowed:
            store = open_store(root, session.packing(ledger))
            try:
                n = allow(ledger, store, Aside(root), sha256, int(clocks.now()), show)
            finally:
                store.close()
            print(f"{counted(n, 'image')} restored: {sha256.hex()} is not a placeholder", flush=True)
        if not allowed:
            n = marking.find(ledger, listed, args.records, int(clocks.now()), show)
            print(f"{counted(n, 'image')} marked as placeholders", flush=True)
            session.set_files_aside(ledger, root, lambda: False)
        for host, sha256_hex, state, n_marked in marking.overview(ledger):
            print(f"{state:12} {sha256_hex}  {n_marked:>9,}  {host}")
    return 0


def _check_known(allowed: Sequence[bytes], known: Collection[str]) -> None:
    for sha256 in allowed:
        if sha256.hex() not in known:
            raise UsageError(
                f"--allow {sha256.hex()}: this ledger has no such placeholder; 'd4c-images placeholders' without --allow lists them"
            )
