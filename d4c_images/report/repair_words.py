"""What `check --repair` says: what it would do, and what it did. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterator

from d4c_images.collection.findings import LEFT_SHOWN, REMEDIES, Reason
from d4c_images.collection.repair import RepairCounts
from d4c_images.collection.repair_decisions import Act
from d4c_images.durations import counted, show_size
from d4c_images.system.terminal import clean

# Act: its noun, what would be done, what was done. `{}` is their number, `{size}` their size.
SENTENCES = {
    Act.PUT_BACK: ("image", "put {} ({size}) back", "put {} ({size}) back under their own names"),
    Act.REPOINT: ("image", "find {} ({size}) elsewhere in the same shard", "found {} ({size}) elsewhere in the same shard"),
    Act.REFETCH: (
        "image",
        "queue {} ({size}) for the next download, unless the bytes are found under another name",
        "queued {} ({size}) for the next download",
    ),
    Act.WAIT: ("image", "let {} wait for the image whose file they show", "let {} wait for the image whose file they show"),
    Act.DROP_FORMER: (
        "earlier revision",
        "give up {} ({size}): publishers have replaced them",
        "gave up {} ({size}): publishers have replaced them",
    ),
    Act.ADOPT: (
        "file",
        "verify {} ({size}) without a success row, and adopt those that are images",
        "adopted {} ({size}) as images, flagged 'adopted'",
    ),
    Act.SET_ASIDE: ("stranger", "move {} ({size}) to .strangers", "moved {} ({size}) to .strangers"),
    Act.SWEEP: ("leftover", "remove {} ({size}) of dead workers", "removed {} ({size}) of dead workers"),
    Act.CUT: ("torn shard", "make {} readable to the end", "made {} readable to the end"),
    Act.RELEASE: ("image", "release {} lent under leases that do not exist", "released {} lent under leases that do not exist"),
    Act.RECOUNT: ("mismatch", "recount all records and counters ({})", "recounted all records and counters ({})"),
}
PLURALS = {Act.RECOUNT: "mismatches"}
WHAT_TO_DO = {
    Reason.UNREADABLE: "check the disk, its mount and the permissions, then check again; nothing was requested for these",
    Reason.DANGLING_REFERENCE: f"only an earlier ledger has what is lost: {REMEDIES[Reason.DANGLING_REFERENCE]}",
    Reason.UNTRACKED: "this is the place of another ledger, or lacks its latest imports: run 'init' with all archives first, or "
    "move these away yourself",
}
IN_THE_WAY = "its row or its disk has to be looked at"


def plan_lines(counts: RepairCounts) -> Iterator[str]:
    """What would be done."""
    for act, (noun, would, _) in SENTENCES.items():
        if counts.n[act]:
            yield _sentence(would, act, noun, counts)
    if counts.n[Act.LEAVE]:
        yield f"leave {counted(counts.n[Act.LEAVE], 'finding')} to you"


def done_lines(counts: RepairCounts) -> Iterator[str]:
    """What was done."""
    for act, (noun, _, did) in SENTENCES.items():
        if counts.n[act]:
            yield _sentence(did, act, noun, counts)
    if counts.n_damaged:
        yield f"moved {counted(counts.n_damaged, 'damaged file')} to .damaged"
    if counts.n[Act.NOTHING]:
        yield f"found {counted(counts.n[Act.NOTHING], 'finding')} mended already"


def left_lines(counts: RepairCounts) -> Iterator[str]:
    """What is left to people, and what they may do."""
    if not counts.n[Act.LEAVE]:
        return
    shown = f", of which the first {LEFT_SHOWN} are" if counts.n[Act.LEAVE] > LEFT_SHOWN else ""
    yield f"{counted(counts.n[Act.LEAVE], 'finding')} left to you{shown}:"
    for finding in counts.left:
        yield clean(f"  {finding.reason}  {finding.subject or 'the ledger'}  {finding.detail}".rstrip())
    for reason in dict.fromkeys(finding.reason for finding in counts.left):
        yield f"{reason}: {WHAT_TO_DO.get(reason, IN_THE_WAY)}"


def _sentence(text: str, act: Act, noun: str, counts: RepairCounts) -> str:
    n = counted(counts.n[act], noun, PLURALS.get(act))
    return text.replace("{size}", show_size(counts.size_bytes[act])).replace("{}", n)
