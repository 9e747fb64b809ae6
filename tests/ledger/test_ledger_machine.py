"""A state machine on the ledger: whatever is admitted, lent, settled, lost and settled too late, its counts and states agree."""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from d4c_images.ledger.file import owner
from d4c_images.ledger.file.connect import open_ledger
from d4c_images.ledger.queue import (
    deferred,
    expand_documents,
    followers,
    giving_up,
    lending,
    placeholders,
    record_links,
    refetching,
    settling,
    shards,
    untried,
    wishes,
)
from d4c_images.ledger.rows import names, rollup
from d4c_images.ledger.rows.rollup import finalize
from d4c_images.model import Blob, Claim, Failure, Image, Move, Outcome, Report, Status, Turn, Unfolding, Verdict
from d4c_images.policy.placeholder_list import PlaceholderList
from tests.support.ledger import New, add_rule, admit, admit_record
from tests.support.program import RECOUNT_IMAGES, check_lists
from tests.support.properties import examples

HOSTS = ("a.example.org", "b.example.org", "c.example.org")
MAX_ATTEMPTS = 2
RETRY = settling.RetryTerms(MAX_ATTEMPTS, lambda attempts: 10.0 * attempts)
KINDS = ("success", "raw", "permanent", "transient", "released", "moved", "manifest", "collection")
WISHES = (wishes.PAUSE, wishes.RESUME, wishes.SET, wishes.UNSET)
LIMITS = ("connections", "min_interval_s")
PICTURES = st.lists(st.integers(0, 15), max_size=4)  # what a document names
NOTHING = Verdict(Status.FAILED_PERMANENT, "manifest_error", "nothing")

RECOUNT_RECORDS = """
SELECT l.gbif_id, count(*), sum(i.status = 'success'),
       sum(i.status = 'failed_permanent' OR (i.status = 'failed_transient' AND i.not_before IS NULL)),
       max(i.last_attempt_at IS NOT NULL)
FROM links AS l JOIN image_rows AS i USING (image_id) GROUP BY l.gbif_id ORDER BY l.gbif_id
"""

# So that what is divided is divided all the time.
SMALL = (
    (untried, "BLOCK_IMAGES", 4),
    (rollup, "SHARED_AT_ONCE", 1),
    (expand_documents, "LINKS_AT_ONCE", 2),
    (followers, "PARENTS_AT_ONCE", 1),
)
SMALL += ((deferred, "RECORDS_AT_A_TIME", 2),)

# Their document names nothing but other images: they have the file of one of those.
FOLLOWERS = """
SELECT i.image_id
FROM image_rows AS i JOIN unfolded AS u ON u.parent_id = i.image_id JOIN image_rows AS o ON o.image_id = u.image_id
WHERE i.error_type = 'same_image' AND i.status = 'success' AND o.status = 'success'
  AND (o.file_path = i.file_path OR i.file_path IN (SELECT file_path FROM former_rows WHERE image_id = o.image_id))
"""


# What is left for later: changes of images that have not reached some of their records.
TO_COME = """
SELECT l.gbif_id, c.n_success, c.n_failed FROM record_changes AS c JOIN image_rows AS i USING (image_id)
JOIN links AS l ON l.image_id = c.image_id AND l.gbif_id > c.after_gbif_id AND l.gbif_id <> i.gbif_id
"""
PLACEHOLDERS = "SELECT image_id FROM image_rows WHERE error_type = 'placeholder'"
SET_ASIDE = "SELECT image_id FROM set_aside JOIN image_rows USING (image_id) WHERE status <> 'success'"


class LedgerMachine(RuleBasedStateMachine):
    leases = Bundle("leases")
    dead_leases = Bundle("dead_leases")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.small = ExitStack()
        for module, name, size in SMALL:
            self.small.enter_context(mock.patch.object(module, name, size))
        self.ledger = open_ledger(Path(self.folder.name) / "ledger.sqlite", create=True)
        self.now = 1_000_000
        self.process = 0
        self.restart()
        with self.ledger.transaction() as db:
            add_rule(db)
        self.paused: dict[str, int | None] = {}  # host -> until
        self.limits: dict[str, dict[str, float]] = {}
        self.open: dict[int, set[int]] = {}  # live lease -> images without an outcome
        self.stored: set[int] = set()
        self.followers: set[int] = set()  # images that had the file of another one
        self.revisions: Counter[int] = Counter()  # how often images were changed by their publishers
        self.n_images = 0
        self.n_records = 0

    def teardown(self) -> None:
        self.small.close()
        self.ledger.close()
        self.folder.cleanup()

    # what may happen

    @rule(host=st.sampled_from(HOSTS), n=st.integers(1, 5), in_line=st.booleans())
    def admit(self, host: str, n: int, in_line: bool) -> None:
        """A record with n new images; its links stand with the images themselves, or in their own table."""
        self.n_records += 1
        with self.ledger.transaction() as db:
            host_id = names.host_id_of(db, host)
            numbered = enumerate(range(self.n_images + 1, self.n_images + n + 1))
            admit(
                db,
                [New(image_id, self.n_records, no, host_id, f"https://{host}/{image_id}.jpg") for no, image_id in numbered],
                in_line=in_line,
            )
            self.n_images += n

    @rule(image=st.integers(1, 1000))
    def admit_shared(self, image: int) -> None:
        """Another record that shows an image nobody has tried yet."""
        if not self.n_images:
            return
        image_id = 1 + image % self.n_images
        with self.ledger.transaction() as db:
            if db.execute("SELECT last_attempt_at FROM image_rows WHERE image_id = ?", (image_id,)).fetchone()[0] is not None:
                return
            self.n_records += 1
            admit_record(db, self.n_records, image_id)
            record_links.note_newcomers(db, [(self.n_records, image_id)])

    @rule(pieces=st.integers(0, 3))
    def follow(self, pieces: int) -> None:
        """Some of what is left for later is done; or all of it, as whoever opens the ledger does."""
        stops = iter([False] * pieces + [True])
        done = deferred.drain(self.ledger, lambda: None, lambda: pieces < 3 and next(stops))
        assert done == (not deferred.is_left(self.ledger.connection))

    @rule(seconds=st.integers(0, 100), hosts=st.lists(st.sampled_from(HOSTS), max_size=1))
    def ask_again(self, seconds: int, hosts: list[str]) -> None:
        due = refetching.queue(self.ledger, self.now - seconds, hosts, lambda done, total: None, chunk=3)
        assert due.n == self.ledger.connection.execute("SELECT count(*) FROM refetch_queue").fetchone()[0]

    @rule(seconds=st.integers(1, 100))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(target=leases, host=st.sampled_from(HOSTS), n=st.integers(1, 6))
    def lend(self, host: str, n: int) -> object:
        with self.ledger.transaction() as db:
            host_id = names.host_id_of(db, host)
            terms = lending.TurnTerms(0, 2, 0.0, n, self.now + 60.0, refetch=True)
            turn = lending.lend(db, self.ledger.run_id or 0, host_id, host, terms, MAX_ATTEMPTS, self.now)
        if turn is None:
            return multiple()
        held = {claim.image_id for claim in turn.claims}
        assert not any(held & other for other in self.open.values()), "an image is lent twice"
        again = {claim.image_id for claim in turn.claims if claim.stored is not None}
        assert held & self.stored == again, "a stored image is lent again"
        self.open[turn.lease_id] = held
        return turn

    @rule(
        turn=leases,
        kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=6),
        other=st.sampled_from(HOSTS),
        pictures=PICTURES,
    )
    def settle(self, turn: Turn, kinds: list[str], other: str, pictures: list[int]) -> None:
        """Outcomes for some of the claims that have none yet."""
        still_open = self.open.get(turn.lease_id, set())
        claims = [claim for claim in turn.claims if claim.image_id in still_open]
        images = self._pictures(pictures)
        outcomes = [_outcome(claim, kind, other, images) for claim, kind in zip(claims, kinds, strict=False)]
        before = self._marks()
        settled = self._settle(turn, outcomes, finished=False)
        assert settled.totals.n_late == 0
        after = self._marks()
        for outcome in outcomes:  # what was tried is known to be there or not; the mark of what was not tried stays
            if outcome.unfolding is None:
                is_tried = outcome.verdict is not None and (outcome.image_id not in self.stored or _is_success(outcome))
                assert after.get(outcome.image_id) == (None if is_tried else before.get(outcome.image_id))
        self._check_news(turn, outcomes, settled)
        still_open -= {outcome.image_id for outcome in outcomes}
        self.stored |= {outcome.image_id for outcome in outcomes if outcome.blob}
        changed = {outcome.image_id for outcome in outcomes if outcome.blob} & {claim.image_id for claim in claims if claim.stored}
        self.revisions.update(changed)
        assert settled.totals.n_changed == len(changed)

    @rule(
        target=dead_leases,
        host=st.sampled_from(HOSTS),
        kinds=st.lists(st.sampled_from(KINDS), min_size=6, max_size=6),
        other=st.sampled_from(HOSTS),
        pictures=PICTURES,
    )
    def work_a_turn(self, host: str, kinds: list[str], other: str, pictures: list[int]) -> object:
        """From one end to the other in one step, so that images get far."""
        turn = self.lend(host, 6)
        if not isinstance(turn, Turn):
            return multiple()
        self.settle(turn, kinds, other, pictures)
        return self.finish(turn)

    @rule(
        target=dead_leases, host=st.sampled_from(HOSTS), kinds=st.lists(st.sampled_from(KINDS), min_size=6, max_size=6),
        other=st.sampled_from(HOSTS),
    )  # fmt: skip
    def work_again(self, host: str, kinds: list[str], other: str) -> object:
        """Some images are stored, and asked for again later, by a worker that dies and by another."""
        self.admit(host, 2, in_line=True)
        stored = self.work_a_turn(host, ["success"] * 6, other, [])
        self.now += 1
        self.ask_again(0, [])
        lost = self.lend(host, 6)
        if isinstance(lost, Turn):
            self.worker_dies(lost)
        return multiple(*(turn for turn in (stored, lost, self.work_a_turn(host, kinds, other, [])) if isinstance(turn, Turn)))

    @rule(host=st.sampled_from(HOSTS), shares=st.lists(st.integers(1, 2), min_size=2, max_size=2), marks=st.booleans())
    def work_on_shared_images(self, host: str, shares: list[int], marks: bool) -> None:
        """They are stored; before all their records know, another record gains them by a document, or they are placeholders."""
        self.admit(host, 2, in_line=True)
        image_ids = [self.n_images - 1, self.n_images]
        for image_id, n in zip(image_ids, shares, strict=True):
            for _ in range(n):
                self.admit_shared(image_id - 1)
        self.work_a_turn(host, ["success"] * 6, host, [])
        if marks:
            self.find_placeholders(1)
        else:
            self.admit(HOSTS[0], 1, in_line=True)
            self.work_a_turn(HOSTS[0], ["manifest"] * 6, host, [-image_id for image_id in image_ids])

    @rule(target=dead_leases, turn=consumes(leases))
    def finish(self, turn: Turn) -> Turn:
        still_open = self.open.pop(turn.lease_id, set())
        self._settle(turn, [Outcome(image_id) for image_id in still_open], finished=True)
        return turn

    @rule(target=dead_leases, turn=consumes(leases))
    def worker_dies(self, turn: Turn) -> Turn:
        lost = self.open.pop(turn.lease_id, set[int]())
        before = self._marks()
        with self.ledger.transaction() as db:
            assert lending.take_back(db, [turn.lease_id]) == len(lost)
            waiting = {row[0] for row in db.execute("SELECT image_id FROM refetch_queue")}
        assert lost & self.stored <= waiting
        assert self._marks() == before | dict.fromkeys(lost, turn.lease_id), "what it held may be stored, and nothing else"
        return turn

    @rule(turn=dead_leases, kind=st.sampled_from(KINDS), pictures=PICTURES)
    def settle_too_late(self, turn: Turn, kind: str, pictures: list[int]) -> None:
        """A worker that was taken for dead comes back with results: they change nothing."""
        before = self._dump()
        images = self._pictures(pictures)
        settled = self._settle(turn, [_outcome(claim, kind, HOSTS[0], images) for claim in turn.claims], finished=True)
        assert settled.totals.n_late == len(turn.claims)
        assert settled.totals.n_settled == 0
        assert self._dump() == before

    @rule()
    def restart(self) -> None:
        """The steward is killed; the next one takes its claim and its leases over."""
        self.process += 1
        before, held = self._marks(), dict(self.ledger.connection.execute("SELECT image_id, lease_id FROM lent"))
        owner.take(self.ledger, "download", owner.Process("here", self.process, f"boot/{self.process}"), self.now)
        self.ledger.connection.execute("UPDATE runs SET heartbeat_at = 0, host = 'elsewhere'")
        with self.ledger.transaction() as db:
            lending.take_back(db, lending.leases_of_others(db, self.ledger.run_id or 0))
        assert self._marks() == before | held
        self.open = {}

    @rule(host=st.sampled_from(HOSTS), what=st.sampled_from(WISHES), value=st.integers(1, 3), twice=st.booleans())
    def wish(self, host: str, what: str, value: int, twice: bool) -> None:
        """Somebody wants something of a host. Taken again, after a kill before it was removed, a wish changes nothing."""
        with self.ledger.transaction() as db:
            names.host_id_of(db, host)
        name = LIMITS[value % 2]
        until = self.now + value if value > 1 else None
        for _ in range(1 + twice):
            of_limits = ({name: value}, ()) if what == wishes.SET else ({}, (name,) if value > 1 else ())
            wishes.leave(self.ledger.path, wishes.Wish(what, (host,), until, *of_limits))
            assert wishes.take_all(self.ledger, self.now)
        assert not wishes.take_all(self.ledger, self.now)
        if what == wishes.PAUSE:
            self.paused[host] = until
        elif what == wishes.RESUME:
            self.paused.pop(host, None)
        elif what == wishes.SET:
            self.limits.setdefault(host, {})[name] = value
        else:
            kept = {other: limit for other, limit in self.limits.pop(host, {}).items() if value > 1 and other != name}
            self.limits |= {host: kept} if kept else {}

    @rule(host=st.sampled_from(HOSTS), n=st.integers(1, 6))
    def give_up(self, host: str, n: int) -> None:
        """Images of a host that cannot be reached: those that are lent meanwhile are left to their workers."""
        failure = Failure(Verdict(Status.FAILED_TRANSIENT, "dns"), -4, 0)
        with self.ledger.transaction() as db:
            giving_up.give_up(db, names.host_id_of(db, host), host, failure, n, self.now)

    @rule(least=st.integers(1, 3))
    def find_placeholders(self, least: int) -> None:
        """All images have the same bytes here."""
        self.followers |= {row[0] for row in self.ledger.connection.execute(FOLLOWERS)}
        with mock.patch.object(placeholders, "CELLS", 8):
            while placeholders.find(self.ledger, PlaceholderList(), least, self.now, lambda what, done, total: None):
                pass  # what was there before may be one, too
        db = self.ledger.connection
        self.revisions = Counter(row[0] for row in db.execute("SELECT image_id FROM former_rows"))
        counts = db.execute(
            """SELECT host_id, count(DISTINCT gbif_id) FROM image_rows
               WHERE status = 'success' AND coalesce(error_type, '') <> 'same_image' AND sha256 = zeroblob(32)
                 AND image_id NOT IN (SELECT image_id FROM lent) AND dead_lease_id IS NULL GROUP BY 1"""
        )
        assert all(n < least for _, n in counts)
        self.stored -= {row[0] for row in db.execute(PLACEHOLDERS)}
        listed, marked = ({row[0] for row in db.execute(sql)} for sql in (SET_ASIDE, PLACEHOLDERS))
        assert listed <= marked <= listed | self.followers

    @rule()
    def allow_placeholders(self) -> None:
        def restore(images: Sequence[placeholders.Claimed]) -> list[placeholders.Restored]:
            return [placeholders.Restored(*_place(one.image_id), 1000 + one.image_id) for one in images]

        self.stored |= {row[0] for row in self.ledger.connection.execute(PLACEHOLDERS)}
        placeholders.allow(self.ledger, bytes(32), self.now, restore)
        self.ledger.connection.execute("DELETE FROM placeholders")  # else they would never be found again

    @rule()
    def recount(self) -> None:
        """The roll-up finds nothing to mend."""
        if not self.open:
            deferred.drain(self.ledger, lambda: None)
            assert finalize(self.ledger, lambda progress: None, chunk=2).corrected == 0

    # what must hold

    @invariant()
    def tallies_are_a_recount(self) -> None:
        db = self.ledger.connection
        kept = db.execute("SELECT * FROM tallies WHERE n <> 0 ORDER BY 1, 2, 3").fetchall()
        assert kept == db.execute(RECOUNT_IMAGES).fetchall()
        kept = db.execute("SELECT status, n FROM record_tallies WHERE n <> 0 ORDER BY 1").fetchall()
        assert kept == db.execute("SELECT status, count(*) FROM gbif_ids GROUP BY 1 ORDER BY 1").fetchall()

    @invariant()
    def records_follow_their_images(self) -> None:
        """But for what is to come: each change that has not reached a record yet is exactly what is missing in its counts."""
        db = self.ledger.connection
        to_come: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
        for gbif_id, n_success, n_failed in db.execute(TO_COME):
            to_come[gbif_id] = [one + more for one, more in zip(to_come[gbif_id], (0, n_success, n_failed), strict=True)]
        assert deferred.behind(db.execute, -10, 10_000) == to_come.keys()
        kept = db.execute("SELECT gbif_id, n_images, n_success, n_failed, status, completed_at FROM gbif_ids ORDER BY 1").fetchall()
        for (gbif_id, *counts, status, completed_at), (same_id, *recount, tried) in zip(
            kept, db.execute(RECOUNT_RECORDS).fetchall(), strict=True
        ):
            is_behind = gbif_id in to_come
            assert (gbif_id, [one + more for one, more in zip(counts, to_come.get(gbif_id, (0, 0, 0)), strict=True)]) == (
                same_id,
                recount,
            )
            n_images, n_success, n_failed = counts
            assert min(n_success, n_failed) >= 0
            assert n_success + n_failed <= n_images
            if n_success == n_images:
                assert status == "done"
            elif n_success + n_failed == n_images:
                assert status == "failed"
            else:
                assert status == ("partial" if tried else "pending") or (is_behind and status == "pending")
            assert (completed_at is not None) == (status in ("done", "failed"))
            assert completed_at is None or 1_000_000 <= completed_at <= self.now

    @invariant()
    def states_are_sound(self) -> None:
        db = self.ledger.connection
        assert db.execute("SELECT count(*) FROM image_rows").fetchone() == (self.n_images,)
        wrong = db.execute(
            """SELECT image_id, status, not_before, file_path FROM image_rows
               WHERE (status IN ('success', 'failed_permanent') AND not_before IS NOT NULL)
                  OR (status = 'success') <> (file_path IS NOT NULL AND sha256 IS NOT NULL AND file_size IS NOT NULL)
                  OR attempts > 2"""
        ).fetchall()
        assert wrong == []
        stored = {row[0] for row in db.execute("SELECT image_id FROM image_rows WHERE status = 'success'")}
        followers = {row[0] for row in db.execute(FOLLOWERS)}
        assert stored == self.stored | followers
        check_lists(lambda sql: db.execute(sql).fetchall())
        held = dict(db.execute("SELECT image_id, lease_id FROM lent"))
        assert held == {image_id: lease_id for lease_id, image_ids in self.open.items() for image_id in image_ids}
        leased = db.execute("SELECT image_id, not_before FROM images WHERE status = 'leased' ORDER BY 1").fetchall()
        assert leased == [(image_id, None) for image_id in sorted(held.keys() - stored)]

    @invariant()
    def wishes_last(self) -> None:
        """Over restarts too, whatever hosts answer."""
        db = self.ledger.connection
        assert dict(db.execute("SELECT host, paused_until FROM hosts WHERE paused_at IS NOT NULL")) == self.paused
        wanted = {host: json.loads(limits) for host, limits in db.execute("SELECT host, limits FROM wanted_limits")}
        assert wanted == self.limits

    @invariant()
    def shards_reach_to_the_last_image_that_a_row_names(self) -> None:
        """What lies behind may be cut."""
        ends = shards.ends(self.ledger)
        for path, end in self.ledger.connection.execute(
            "SELECT file_path, max(file_offset + file_size) FROM image_rows WHERE file_offset IS NOT NULL GROUP BY 1"
        ):
            assert end <= ends[path]

    @invariant()
    def what_is_asked_again_is_stored(self) -> None:
        """It waits once or is lent; and each revision of an image stands in its row, or in order among the former ones."""
        db = self.ledger.connection
        waiting = db.execute("SELECT host_id, count(*) FROM refetch_queue GROUP BY 1 ORDER BY 1").fetchall()
        assert waiting == db.execute("SELECT * FROM refetch_hosts WHERE n_waiting <> 0 ORDER BY 1").fetchall()
        queued = [row[0] for row in db.execute("SELECT image_id FROM refetch_queue JOIN image_rows USING (image_id)")]
        assert len(queued) == len(set(queued))
        assert not set(queued) & set().union(*self.open.values())
        files: dict[int, list[object]] = {}
        for image_id, revision, file_path in db.execute("SELECT image_id, revision, file_path FROM former_rows ORDER BY 1, 2"):
            assert revision == len(files.setdefault(image_id, []))
            files[image_id].append(file_path)
        assert {image_id: len(former) for image_id, former in files.items()} == self.revisions
        for image_id, former in files.items():
            [(status, file_path)] = db.execute("SELECT status, file_path FROM image_rows WHERE image_id = ?", (image_id,))
            assert status == "success"
            assert [*former, file_path] == [_place(image_id, number)[0] for number in range(len(former) + 1)]

    @invariant()
    def every_image_is_found_and_shown(self) -> None:
        """By its key, and by records that number their images without a gap; what a document names, by all that show it."""
        db = self.ledger.connection
        keys = dict(db.execute("SELECT coalesce(image_key, urls), image_id FROM image_rows"))
        assert len(keys) == self.n_images
        assert expand_documents.find(db, list(keys)) == keys
        shown: dict[int, list[int]] = {}
        for gbif_id, image_no, image_id in db.execute("SELECT gbif_id, image_no, image_id FROM links ORDER BY 1, 2"):
            assert image_no == len(shown.setdefault(gbif_id, []))
            shown[gbif_id].append(image_id)
        assert all(len(set(images)) == len(images) for images in shown.values())
        firsts = db.execute("SELECT image_id, gbif_id, image_no FROM image_rows").fetchall()
        assert all(shown[gbif_id][image_no] == image_id for image_id, gbif_id, image_no in firsts)
        left = db.execute("SELECT parent_id, after_gbif_id, upto_gbif_id FROM link_changes").fetchall()
        above: defaultdict[int, set[int]] = defaultdict(set)  # what a document below another one names comes with that, too
        pairs = db.execute("SELECT parent_id, image_id FROM unfolded").fetchall()
        for parent_id, image_id in pairs * len(pairs):
            above[image_id] |= {parent_id} | above[parent_id]
        for parent_id, image_id in pairs:
            waits = above[parent_id] | {parent_id}
            for gbif_id, images in shown.items():
                if parent_id in images and image_id not in images:
                    assert any(parent in waits and after < gbif_id <= upto for parent, after, upto in left)

    # how it is done

    def _pictures(self, numbers: list[int]) -> tuple[Image, ...]:
        """New ones by their number; from 8 on those of images that are there, or below 0 of the image with this number."""
        urls = []
        for number in numbers:
            [(known,)] = self.ledger.connection.execute(
                "SELECT coalesce(image_key, urls) FROM image_rows WHERE image_id = ?",
                (-number if number < 0 else 1 + number * 7 % self.n_images,),
            )
            urls.append(known if number >= 8 or number < 0 else f"https://{HOSTS[number % 3]}/picture/{number}.jpg")
        return tuple(Image(url, (url,), url.split("/")[2], "exact", 1) for url in urls)

    def _settle(self, turn: Turn, outcomes: list[Outcome], *, finished: bool) -> settling.Settled:
        with self.ledger.transaction() as db:
            settled = settling.settle(db, [Report(turn.lease_id, tuple(outcomes), finished)], RETRY, self.now)
            before, self.n_images = self.n_images, db.execute("SELECT count(*) FROM image_rows").fetchone()[0]
        assert self.n_images == before or settled.n_unfolded
        return settled

    def _marks(self) -> dict[int, int]:
        """Images that may be stored already, and the dead lease under which."""
        return dict(
            self.ledger.connection.execute("SELECT image_id, dead_lease_id FROM image_rows WHERE dead_lease_id IS NOT NULL")
        )

    def _check_news(self, turn: Turn, outcomes: list[Outcome], settled: settling.Settled) -> None:
        """What the host is said to have answered; documents come on top, and may bring their own verdicts."""
        [(host_id,)] = self.ledger.connection.execute("SELECT host_id FROM host_rows WHERE host = ?", (turn.host,))
        plain = [outcome for outcome in outcomes if outcome.unfolding is None]
        verdicts = [outcome.verdict for outcome in plain if outcome.verdict is not None]
        moved = [one for one in plain if one.move is not None and one.move.host != turn.host]
        n_bad = sum(verdict.host_trouble for verdict in verdicts)
        n_documents = len(outcomes) - len(plain)
        news = settled.hosts.get(host_id)
        if news is None:
            assert not verdicts
            assert not moved
            assert not n_documents
            return
        assert (news.n_bad, news.n_silent, news.n_overload) == (n_bad, n_bad, n_bad)
        assert 0 <= news.n_success - sum(map(_is_success, plain)) <= n_documents
        assert news.n_ok == len(verdicts) - n_bad + len(moved) + n_documents
        assert set(settled.hosts) == {host_id}
        assert dict(news.troubles) == ({"timeout": n_bad} if n_bad else {})

    def _dump(self) -> list[tuple[object, ...]]:
        db = self.ledger.connection
        tables = (
            *("image_rows", "gbif_ids", "leases", "lent", "host_rows", "untried", "link_rows", "image_keys", "documents"),
            *("unfolded", "shards", "record_changes", "link_changes", "follower_changes"),
            *("refetch_queue", "refetch_hosts", "refetch_failures", "former_rows"),
        )
        return [row for table in tables for row in db.execute(f"SELECT * FROM {table}")]


def _is_success(outcome: Outcome) -> bool:
    return outcome.verdict is not None and outcome.verdict.status is Status.SUCCESS


def _place(image_id: int, revision: int = 0) -> tuple[str, int | None]:
    """Half of them in two shards."""
    if image_id % 2:
        return f"packs/{image_id // 2 % 2}.tar", 10_000 * image_id + 10_000_000 * revision
    return f"1/{image_id}{f'-r{revision}' if revision else ''}.jpg", None


def _again(claim: Claim, kind: str) -> Outcome | None:
    """Of an image that is stored; None for what is as with the others."""
    if kind in ("manifest", "collection"):
        return Outcome(claim.image_id, Verdict(Status.SUCCESS), http_status=304, requests=1)
    if kind not in ("success", "raw"):
        return None
    path, offset = _place(claim.image_id, claim.revision)
    sha256 = (1000 * claim.image_id + claim.revision).to_bytes(32, "big")
    blob = Blob(path, 2000 + claim.revision, sha256, "image/jpeg", 10, 10, offset=offset)
    flag = "raw_unprocessed" if kind == "raw" else None
    return Outcome(claim.image_id, Verdict(Status.SUCCESS, flag), blob=blob, http_status=200, requests=1)


def _outcome(claim: Claim, kind: str, other_host: str, pictures: tuple[Image, ...]) -> Outcome:
    image_id = claim.image_id
    again = _again(claim, kind) if claim.stored is not None else None
    if again is not None:
        return again
    if kind in ("manifest", "collection"):
        unfolding = Unfolding(claim.urls[claim.url_no], claim.url_no, kind, pictures, len(pictures), NOTHING)
        return Outcome(image_id, unfolding=unfolding, http_status=200, requests=1)
    if kind in ("success", "raw"):
        path, offset = _place(image_id)
        blob = Blob(path, 1000 + image_id, bytes(32), "image/jpeg", 10, 10, offset=offset)
        flag = "raw_unprocessed" if kind == "raw" else None
        return Outcome(image_id, Verdict(Status.SUCCESS, flag), blob=blob, http_status=200, requests=1)
    if kind == "permanent":
        return Outcome(image_id, Verdict(Status.FAILED_PERMANENT, "http_404"), http_status=404, requests=1)
    if kind == "transient":
        return Outcome(image_id, Verdict(Status.FAILED_TRANSIENT, "timeout", host_trouble=True), http_status=-1, requests=1)
    if kind == "moved":
        return Outcome(image_id, move=Move(other_host, 0, f"https://{other_host}/moved/{image_id}.jpg", 1), requests=1)
    return Outcome(image_id)


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(
    max_examples=examples(150, fast=10), stateful_step_count=examples(40, fast=25), derandomize=True
)
