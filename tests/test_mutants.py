"""Do the tests have teeth? Each mutant breaks one rule of the order of writes or of a lease in a copy of the program; the tests
that guard the rule must turn red there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE_S

PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str
    file: str
    old: str
    new: str
    guard: str  # the tests that must fail

    def __str__(self) -> str:
        return self.name


MACHINE = "tests/ledger/test_ledger_machine.py"
SETTLING = "tests/ledger/test_settling.py"
STORE = "tests/stores/test_store_contract.py"
PACKS = "tests/stores/test_packs.py"
KILL = "tests/commands/test_download_kill.py::test_killed_at_a_point_of_the_steward"
UNFOLD = "tests/ledger/test_expand_documents.py"
SHOWING = "tests/ledger/test_pieces.py::test_very_many_images_that_show_the_file_of_a_placeholder"
COLLISIONS = "tests/ingest/test_ingest_collisions.py"
VARIANTS = "tests/ingest/test_variants.py"
ARCHIVES = "tests/ingest/test_archives.py::test_a_limit_at_each_row_leaves_the_rest_for_later"
INGEST_KILL = "tests/ingest/test_ingest_kill.py::test_rows_and_checkpoint_are_written_together"
LEFT = "tests/ledger/test_pieces.py::test_what_a_killed_process_has_left_is_done_first_by_the_next_one"
LAST_MOMENT = "tests/steward/test_steward.py::test_what_a_worker_told_in_its_last_moment_counts_once"
HEARTBEAT = "tests/ledger/test_owner.py::test_what_is_committed_is_on_the_disk_after_a_heartbeat"
LIVENESS = "tests/ledger/test_liveness.py"
AT_THE_LAST_MOMENT = "tests/ledger/test_owner.py::test_a_sign_of_life_at_the_last_moment_counts"

MIGRATIONS = "tests/ledger/test_migrations.py::test_killed_between_rows"

ONE_LEASE = "tests/steward/test_lender.py::test_an_image_has_one_lease_at_a_time"
LENDER = "tests/steward/test_lender.py::test_limits_hold_at_every_moment"
WAITS = "tests/steward/test_waits.py::test_a_turn_that_arrives_during_a_named_wait_is_given_back_untried"
DISTANCES = "tests/steward/test_distances.py::test_nothing_is_asked_too_early"
WIDTH = "tests/policy/test_pace.py::test_a_storm_of_fast_errors_is_no_fast_host"

REPAIR = "tests/collection/test_repair.py"
MENDED = f"{REPAIR}::test_each_damage_is_found_mended_and_gone"
BACKUP = "tests/commands/test_backup.py"
ON_THE_DISK = f"{BACKUP}::test_what_gets_the_name_of_a_backup_or_of_the_ledger_is_on_the_disk_before_and_its_name_after"
FLIPPED = f"{BACKUP}::test_a_flipped_bit_anywhere_is_found_by_verify_and_refused_by_restore"
KEEP = f"{BACKUP}::test_keep_removes_the_oldest_of_this_ledger_and_nothing_else"
UNPACK = "tests/collection/test_unpack.py"
UNWRITABLE = f"{UNPACK}::test_a_target_that_cannot_be_written_is_left_without_partials_and_the_same_command_resumes"
CONVERT = "tests/commands/test_store.py"
CONVERT_KILLS = f"{CONVERT}::test_killed_while_packing_it_goes_on[convert.put-1]"

SOCKETS = "tests/fetch/test_where_it_may_go.py::test_a_name_that_leads_there_is_refused_before_a_socket_is_opened[127.0.0.1]"

MUTANTS = (
    Mutant(
        "a name may lead to any address (I9)",
        "d4c_images/fetch/route.py", "        if not self._route.is_trusted:\n", "        if False:\n", SOCKETS,
    ),
    Mutant(
        "two photos that are both called the best one join (I6)",
        "d4c_images/identity/archive_variants.py", "        if one.role == other.role:\n", "        if False:\n", VARIANTS,
    ),
    Mutant(
        "what later rows say of a URL is not united with what is known",
        "d4c_images/ledger/admission/duplicates.py",
        "self.candidates.add(urls, variants.edges(known))", "self.candidates.add(urls, {})", VARIANTS,
    ),
    Mutant(
        "a row of a publisher's table ends one byte before its end",
        "d4c_images/sources/rows.py", "end = offset + len(raw)", "end = offset + len(raw) - 1", ARCHIVES,
    ),
    Mutant(
        "a settlement counts without a lease (I3)",
        "d4c_images/ledger/rows/lent.py", "AND lease_id = ? RETURNING", "AND ? IS NOT NULL RETURNING", ONE_LEASE,
    ),
    Mutant(
        "what is settled stays lent (I3)",
        "d4c_images/ledger/rows/lent.py",
        'TAKE = "DELETE FROM lent WHERE image_id', 'TAKE = "UPDATE lent SET lease_id = lease_id WHERE image_id', LAST_MOMENT,
    ),
    Mutant(
        "a heartbeat leaves what is committed in the system's memory",
        "d4c_images/ledger/file/owner.py", "        self._ledger.sync()\n", "", HEARTBEAT,
    ),
    Mutant(
        "two nodes of one name are one machine",
        "d4c_images/ledger/file/liveness.py", "_kernel(other.started) != _kernel(me.started)", "other.host != me.host", LIVENESS,
    ),
    Mutant(
        "time in which nobody looked makes a holder dead",
        "d4c_images/ledger/file/liveness.py", "min(now - self._looked_at, MOST_STEP_S)", "now - self._looked_at", LIVENESS,
    ),
    Mutant(
        "a sign of life is judged by its age",
        "d4c_images/ledger/file/liveness.py", "holder != before", "holder.beat_at > before.beat_at + 1e9", LIVENESS,
    ),
    Mutant(
        "a ledger is taken over from one that has just shown itself",
        "d4c_images/ledger/file/owner.py", "found != gone and ", "gone is None and ", AT_THE_LAST_MOMENT,
    ),
    Mutant(
        "what is lent stays in the queue",
        "d4c_images/ledger/queue/lending.py", "AND not_before <= ? AND NOT {IS_LENT}", "AND not_before <= ?", ONE_LEASE,
    ),
    Mutant(
        "what is lent is given up with its host",
        "d4c_images/ledger/queue/giving_up.py", "AND NOT {IS_LENT} LIMIT", "LIMIT",
        "tests/steward/test_lender.py::test_what_is_lent_is_not_given_up_with_its_host",
    ),
    Mutant(
        "an untried image that is lent stays in its list",
        "d4c_images/ledger/queue/untried.py",
        "_put(db, host_id, last_block, left)", "_put(db, host_id, last_block, places)", MACHINE,
    ),
    Mutant(
        "a dead worker's images never come back",
        "d4c_images/ledger/queue/lending.py", "dead_lease_id = ?, not_before = 0", "dead_lease_id = ?", MACHINE,
    ),
    Mutant(
        "the first try of an image is not rolled up",
        "d4c_images/ledger/queue/settling.py", "if final or held.last_attempt_at is None:", "if final:",
        f"{SETTLING}::test_a_first_attempt_that_is_to_be_retried_makes_its_record_a_partial_one",
    ),
    Mutant(
        "records that share an image are forgotten",
        "d4c_images/ledger/rows/rollup.py",
        "                counts.add(gbif_id, *self._images[image_id], now)\n", "                pass\n", MACHINE,
    ),
    Mutant(
        "a file is renamed before its bytes are on the disk (I1)",
        "d4c_images/stores/local.py",
        '        self._each(FilePartial.sync, partials)\n        crash.point("put.synced")\n'
        "        paths = [self._name(keep) for keep in keeps]\n",
        "        paths = [self._name(keep) for keep in keeps]\n        self._each(FilePartial.sync, partials)\n",
        STORE,
    ),
    Mutant(
        "the folder is not made durable (I1)",
        "d4c_images/stores/local.py", "        self._sync_folders({part.folder for part in partials})", "        pass", STORE,
    ),
    Mutant(
        "a shard is not made durable (I1)",
        "d4c_images/stores/pack.py", "            partial.fsync(self._fd)\n", "", PACKS,
    ),
    Mutant(
        "a new shard's name is not made durable (I1)",
        "d4c_images/stores/pack.py", "            sync_path(self._path.parent)\n", "", PACKS,
    ),
    Mutant(
        "a shard that has failed is appended to",
        "d4c_images/stores/pack.py", "mine, self._shard = self._shard, None", "mine = self._shard", PACKS,
    ),
    Mutant(
        "what a row names is cut with what is torn (I1)",
        "d4c_images/stores/shard_recovery.py",
        "size < end or shard.is_ended(fd, end, size):\n        return 0", "shard.is_ended(fd, end, size):\n        return 0", PACKS,
    ),
    Mutant(
        "the end of what rows name is forgotten (I1)",
        "d4c_images/ledger/queue/settling.py", "        shards.note(self._db, self._in_shards)\n", "", MACHINE,
    ),
    Mutant(
        "a file is removed before its row names the shard (I1)",
        "d4c_images/collection/convert.py",
        '    crash.point("convert.put")\n    moved = []\n',
        '    [store.remove(one.path) for one in sound]\n    crash.point("convert.put")\n    moved = []\n',
        CONVERT_KILLS,
    ),
    Mutant(
        "copies of a killed conversion stay in the shard",
        "d4c_images/collection/convert.py", "    return cut_copies(", "    return 0 and cut_copies(", CONVERT_KILLS,
    ),
    Mutant(
        "an image leaves its shard whatever its bytes are (I2)",
        "d4c_images/stores/verified.py",
        "        is_right = sha256_of(written()) == sha256\n", "        is_right = bool(sha256_of(written()))\n",
        f"{CONVERT}::test_a_damaged_image_in_a_shard_is_reported_and_its_shard_left",
    ),
    Mutant(
        "images that show another one's file keep the old place (I1)",
        "d4c_images/ledger/queue/relocating.py", "        _take_along(db, moved, changed)\n", "",
        f"{CONVERT}::test_an_image_that_many_show_takes_them_along",
    ),
    Mutant(
        "a shard goes with an image that is nowhere else",
        "d4c_images/collection/convert.py", "        if not is_spare:\n", "        if False:\n",
        f"{CONVERT}::test_a_shard_with_an_image_that_is_nowhere_else_stays",
    ),
    Mutant(
        "the root is switched with an image missing (I1)",
        "d4c_images/commands/store.py",
        "        if done.n_left:\n            self._say", "        if False:\n            self._say",
        f"{CONVERT}::test_a_damaged_file_keeps_the_old_root",
    ),
    Mutant(
        "the ends of a body that was gone on with need not meet (I2)",
        "d4c_images/fetch/transfer.py", "            if chunk[:n] != self._overlap[:n]:\n", "            if False:\n",
        "tests/worker/test_worker.py::test_a_body_that_broke_off_is_gone_on_with_in_the_same_attempt",
    ),
    Mutant(
        "a lane may have any number of connections (I5)",
        "d4c_images/fetch/connections.py",
        "        multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, self._most)\n"
        "        multi.setopt(pycurl.M_MAXCONNECTS, self._most)\n",
        "        pass\n",
        "tests/fetch/test_fetch.py::test_idle_connections_count_too",
    ),
    Mutant(
        "success is told before the file is kept (I1)",
        "d4c_images/worker/threads.py",
        "        future = self._keeper.submit(self._store.put, [kept.keep for kept in self._putting])\n",
        "        keeps = [kept.keep for kept in self._putting]\n"
        "        future = self._decoders.submit(lambda: ["
        "f'{keep.partial.folder}/{keep.partial.stem}.{keep.extension}' for keep in keeps])\n"
        "        import time\n"
        "        self._keeper.submit(lambda: (time.sleep(1.0), self._store.put(keeps)))\n",
        f"{KILL}[settle.committed:2]",
    ),
    Mutant(
        "a placeholder stays a success of its records",
        "d4c_images/ledger/queue/mark_placeholders.py",
        "            self._marked.records.image(image_id, gbif_id, n_success=-1, n_failed=1)\n", "", MACHINE,
    ),
    Mutant(
        "images that show the file of a placeholder are forgotten when they are many",
        "d4c_images/ledger/queue/mark_placeholders.py",
        "                followers.leave_followers(self._db, image_id, after)\n", "", SHOWING,
    ),
    Mutant(
        "a file is set aside while images show it",
        "d4c_images/ledger/queue/placeholders.py",
        "    if deferred.is_left(ledger.connection):\n        return []\n", "", SHOWING,
    ),
    Mutant(
        "new bytes of a stored image take the name of those before (I2)",
        "d4c_images/worker/attempts.py", "job.turn.lease_id, claim.revision)", "job.turn.lease_id)",
        "tests/commands/test_refetch.py::test_killed_at_a_point[files-put.done]",
    ),
    Mutant(
        "what was stored before its publisher changed it is forgotten",
        "d4c_images/ledger/queue/refetching.py", "    db.execute(TO_FORMER, (now, outcome.is_lost, image_id))\n", "", MACHINE,
    ),
    Mutant(
        "what was asked for again is forgotten with its worker",
        "d4c_images/ledger/queue/lending.py", "    refetching.take_back(db, stored)\n", "", MACHINE,
    ),
    Mutant(
        "a 304 tells of bytes that are not there",
        "d4c_images/ledger/queue/refetching.py", "is_told = outcome.http_status != 304 and (", "is_told = (",
        "tests/commands/test_refetch.py::test_what_becomes_of_a_stored_image[other_etag_304-other_etag_304]",
    ),
    Mutant(
        "an ingest's checkpoint is committed before its rows",
        "d4c_images/ledger/admission/admit.py",
        "            admitted = self._write_rows(db, chunks, int(now))\n",
        "            end = chunks[-1].end_row, chunks[-1].end_offset\n"
        "            archives.checkpoint(db, self._archive_id, *end, admitted=0, images=0, links=0)\n"
        "            db.execute('COMMIT')\n            db.execute('BEGIN IMMEDIATE')\n"
        "            admitted = self._write_rows(db, chunks, int(now))\n",
        INGEST_KILL,
    ),
    Mutant(
        "records that were held in memory are not made again",
        "d4c_images/ledger/admission/recovery.py", "    if top > recorded:\n", "    if top < recorded:\n", INGEST_KILL,
    ),
    Mutant(
        "an image that a record gains is not counted",
        "d4c_images/ledger/queue/record_links.py",
        "            n_success += (status == Status.SUCCESS) - to_come[0]\n", "", MACHINE,
    ),
    Mutant(
        "a record counts what an image that it gains has yet to bring it",
        "d4c_images/ledger/queue/record_links.py", "            if after < gbif_id:\n", "            if False:\n", MACHINE,
    ),
    Mutant(
        "an image changes twice for a record before it has changed once",
        "d4c_images/ledger/rows/rollup.py", "> self._room or image_id in behind:", "> self._room:",
        "tests/ledger/test_pieces.py::test_what_happens_to_an_image_is_counted_in_its_order",
    ),
    Mutant(
        "what a killed process has left for later is forgotten",
        "d4c_images/ledger/admission/recovery.py", "    deferred.drain(ledger, beat)\n", "",
        "tests/ledger/test_pieces.py::test_a_document_on_very_many_records_is_linked_in_pieces",
    ),
    Mutant(
        "a piece is applied twice",
        "d4c_images/ledger/queue/deferred.py", "(REACHED, (gbif_ids[-1], change_id))", "(REACHED, (gbif_ids[-2], change_id))", LEFT,
    ),
    Mutant(
        "a piece and the place that it has reached are committed one after the other",
        "d4c_images/ledger/queue/deferred.py",
        "            db.execute(REACHED, (gbif_ids[-1], change_id))\n            break\n",
        "            counts.write(db, tally)\n            tally.write(db)\n            db.execute('COMMIT')\n"
        "            crash.point('following.before_commit')\n            db.execute('BEGIN')\n"
        "            db.execute(REACHED, (gbif_ids[-1], change_id))\n            return True\n",
        "tests/ledger/test_pieces_kill.py::test_killed_between_the_pieces[following.before_commit:2]",
    ),
    Mutant(
        "pictures of documents are made again each time",
        "d4c_images/ledger/queue/expand_documents.py",
        "            image_id = there.get(image.key)\n", "            image_id = None\n", MACHINE,
    ),
    Mutant(
        "who names a document's first picture later gets it twice",
        "d4c_images/ledger/queue/expand_documents.py",
        "            self._db.execute(INSERT_FURTHER_KEY, (images[own].key, self._holder.image_id))\n", "", UNFOLD,
    ),
    Mutant(
        "two keys of one hash are one image",
        "d4c_images/ledger/admission/duplicates.py",
        "                is_own = group.key(at) == key\n", "                is_own = True\n", COLLISIONS,
    ),
    Mutant(
        "each host of a group has all its connections (I5)",
        "d4c_images/steward/lender.py", "host.group.granted += connections - lane.connections", "host.group.granted += 0", LENDER,
    ),
    Mutant(
        "an interval is kept by several workers (I5)",
        "d4c_images/steward/hosts.py", "return 0 if self.limits.is_for_one_lane and self.granted else", "return", LENDER,
    ),
    Mutant(
        "an interval ends with its turn (I5)",
        "d4c_images/worker/loop.py", "self._rests.pop(key, 0.0)", "0.0",
        "tests/worker/test_worker.py::test_the_interval_outlasts_a_turn",
    ),
    Mutant(
        "a turn that arrives during a named wait is worked (I8)",
        "d4c_images/worker/loop.py", "if now < self._attempts.waits_until(lane):", "if False:", WAITS,
    ),
    Mutant(
        "a named wait is heard of only with the body of its answer (I8)",
        "d4c_images/fetch/transfer.py", "if self.request.on_wait is not None:", "if False:",
        "tests/steward/test_waits.py::test_a_wait_is_reported_with_the_head_of_its_answer",
    ),
    Mutant(
        "a redirected image waits by one clock only (I8)",
        "d4c_images/ledger/queue/settling.py", "clocks.now.for_others(self._now + 1 + move.wait_s)", "self._now + 1 + move.wait_s",
        "tests/steward/test_steward.py::test_a_move_waits_by_the_later_of_two_clocks",
    ),
    Mutant(
        "a wait is one of its host, not of its group (I8)",
        "d4c_images/worker/lanes.py", "self.group = turn.group or turn.host", "self.group = turn.host", WAITS,
    ),
    Mutant(
        "trouble cuts a named wait short (I8)",
        "d4c_images/policy/pace.py", "max(now + block_s, pace.blocked_until or 0.0)", "now + block_s",
        "tests/policy/test_pace.py::test_troubles_do_not_cut_a_named_wait_short",
    ),
    Mutant(
        "a wait is cut on its way into the ledger (I8)",
        "d4c_images/ledger/queue/pacing.py", "math.ceil(until)", "int(until)",
        "tests/steward/test_steward.py::test_a_wait_is_never_cut_on_its_way_into_the_ledger",
    ),
    Mutant(
        "other workers hear of a wait when it is written down (I8)",
        "d4c_images/steward/steward.py", "if report.hold_s or any(outcome.hold_s for outcome in report.outcomes)", "if False",
        "tests/steward/test_steward.py::test_other_workers_hear_of_a_named_wait_before_it_is_written_down",
    ),
    Mutant(
        "a wait that one host names is not its group's (I8)",
        "d4c_images/steward/feedback.py", "group.held_until = now + news.retry_after_s", "group.held_until = now", DISTANCES,
    ),
    Mutant(
        "cookies outlive their request",
        "d4c_images/fetch/transfer.py", '        self.curl.setopt(pycurl.COOKIELIST, "ALL")', "        pass",
        "tests/fetch/test_heads.py::test_a_request_tells_which_cookies_are_there_and_another_one_does_not_send_them",
    ),
    Mutant(
        "errors are as good as pictures to a controller",
        "d4c_images/policy/pace.py",
        "if news.n_bad or not news.n_success or 2 * news.n_success < news.n_ok:", "if not news.n_ok:", WIDTH,
    ),
    Mutant(
        "a ledger whose rows are being migrated looks like one of the old version",
        "d4c_images/ledger/file/migrations.py",
        '            db.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION}")\n            if in_one:\n',
        '            if in_one:\n                db.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION}")\n',
        f"{MIGRATIONS}[migrate.begun]",
    ),
    Mutant(
        "a ledger whose rows are being migrated looks like one of the new version",
        "d4c_images/ledger/file/identify.py",
        "        return FoundLedger(version, under_way=True)\n", "        return FoundLedger(version)\n",
        f"{MIGRATIONS}[migrate.after_chunk:5]",
    ),
    Mutant(
        "how far a migration has come is not written with its rows (I7)",
        "d4c_images/ledger/file/migrations.py", "                _note(db, place.version, place.number, upto)\n", "",
        f"{MIGRATIONS}[migrate.after_chunk:5]",
    ),
    Mutant(
        "a part of the rest of a body is the whole (I2)",
        "d4c_images/fetch/transfer.py", "span is not None and self._body.size_bytes == span.total", "span is not None",
        "tests/fetch/test_ranges.py::test_a_part_of_the_rest_is_not_the_whole",
    ),
    Mutant(
        "an interval ends with its lane (I5)",
        "d4c_images/steward/lender.py", "max(group.rests_until, now + max(", "max(group.rests_until, now - max(",
        "tests/steward/test_lender.py::test_between_two_lanes_an_interval_is_kept",
    ),
    Mutant(
        "a put removes files that are nobody's leftovers",
        "d4c_images/stores/local.py", "if keep.may_replace and path is not None:", "if path is not None:",
        f"{STORE}::test_a_put_that_may_not_replace_leaves_every_other_file_of_the_image",
    ),
    Mutant(
        "a row of two lines that is none takes the good one along",
        "d4c_images/sources/rows.py", "    if len(feed.taken) > 1:\n", "    if len(feed.taken) > 2:\n",
        "tests/ingest/test_archives.py::test_a_quote_that_is_closed_by_a_later_row_costs_its_own_row_only",
    ),
    Mutant(
        "a host that has not answered has its answer written down",
        "d4c_images/steward/feedback.py", "other_id == host_id and news.is_reachable", "other_id == host_id or news.is_reachable",
        "tests/steward/test_feedback.py::test_a_host_that_has_not_answered_leaves_no_answer_in_the_ledger",
    ),
    Mutant(
        "a file that a dead worker may have left is not looked for",
        "d4c_images/ledger/queue/settling.py",
        "died_under = lease_id if outcome.http_status == OwnCode.WORKER_DIED else None\n", "died_under = None\n",
        "tests/ledger/test_settling.py::test_an_image_that_has_cost_several_workers_may_be_stored_and_others_that_failed_may_not",
    ),
    Mutant(
        "silences of a holder that lives add up to its death",
        "d4c_images/ledger/file/liveness.py",
        "            self._unchanged_s = 0.0\n            return True\n", "            return True\n",
        f"{LIVENESS}::test_silences_of_one_that_lives_do_not_add_up",
    ),
    Mutant(
        "a damaged file keeps the name of the image that waits for its next request",
        "d4c_images/collection/repair.py",
        "            if seen is Bytes.WRONG:\n", "            if False:\n",
        f"{MENDED}[bit_flip]",
    ),
    Mutant(
        "a placeholder is adopted",
        "d4c_images/collection/repair.py",
        " or self._adopter.is_placeholder(self._db, row, examined.blob):\n", ":\n",
        f"{MENDED}[known_placeholder_of_an_open_row]",
    ),
    Mutant(
        "a picture is adopted for a manifest, whose other pictures nobody asks for then",
        "d4c_images/collection/repair_files.py",
        "if is_document or row.error_type", "if row.error_type",
        f"{MENDED}[image_of_a_manifest]",
    ),
    Mutant(
        "what cannot be read is requested again",
        "d4c_images/collection/repair_decisions.py",
        "    if found is Bytes.UNREADABLE:\n", "    if False:\n",
        f"{REPAIR}::test_a_file_that_cannot_be_read_any_more_is_left_to_people",
    ),
    Mutant(
        "a root that is not mounted makes a million requests",
        "d4c_images/commands/check_repair.py",
        "    if is_root_lost(n_missing, numbers.n_images) and not args.missing_root_is_lost:\n", "    if False:\n",
        f"{REPAIR}::test_a_root_that_seems_not_to_be_mounted_is_refused",
    ),
    Mutant(
        "a lost image takes the bytes of a sound one",
        "d4c_images/collection/repair_looks.py",
        " and not self._is_needed(ask, path, sha256)", "",
        f"{REPAIR}::test_bytes_that_another_image_needs_are_not_taken_from_it",
    ),
    Mutant(
        "a damaged image in a shard is adopted",
        "d4c_images/collection/repair_files.py",
        '            if told.get("sha256") != sha256_at(self.root, place, size_bytes).hex():\n', "            if False:\n",
        f"{REPAIR}::test_samples_that_a_ledger_of_yesterday_does_not_know",
    ),
    Mutant(
        "a finding is believed without a second look",
        "d4c_images/collection/repair_decisions.py",
        "    if role not in LOST_ACTS or found is Bytes.SOUND:\n", "    if role not in LOST_ACTS:\n",
        f"{REPAIR}::test_what_was_mended_meanwhile_is_left_as_it_is",
    ),
    Mutant(
        "a copy that the disk has damaged becomes a backup",
        "d4c_images/collection/backup.py",
        '    check_sound(new, f"the backup {path} is damaged, and was removed", found.size_bytes, show)\n', "",
        f"{BACKUP}::test_a_copy_that_the_disk_has_damaged_gets_no_name",
    ),
    Mutant(
        "a backup need not say what the ledger said",
        "d4c_images/collection/backup.py", "            if backup_note.facts(connection) != found:\n", "            if False:\n",
        f"{BACKUP}::test_a_copy_that_is_not_what_the_ledger_was_gets_no_name",
    ),
    Mutant(
        "a backup has its name before its bytes are on the disk",
        "d4c_images/ledger/file/copying.py",
        "        copy.execute(FREE_OWNER)\n    make_durable(new)\n", "        copy.execute(FREE_OWNER)\n", ON_THE_DISK,
    ),
    Mutant(
        "the name of a backup is not made durable",
        "d4c_images/collection/backup.py", "            copying.sync_folder(folder)\n", "", ON_THE_DISK,
    ),
    Mutant(
        "a backup replaces a file of somebody",
        "d4c_images/collection/backup.py", "    if path.exists():\n        raise", "    if False:\n        raise",
        f"{BACKUP}::test_an_existing_file_is_never_replaced",
    ),
    Mutant(
        "--keep removes the newest backups",
        "d4c_images/ledger/file/backup_folder.py", "one.path.name), reverse=True)", "one.path.name))", KEEP,
    ),
    Mutant(
        "--keep removes the backups of another ledger",
        "d4c_images/ledger/file/backup_folder.py", " and note.ledger_id == ledger_id and ", " and ", KEEP,
    ),
    Mutant(
        "--keep counts damaged backups",
        "d4c_images/ledger/file/backup_folder.py", "if one.is_whole and one.path != newest]", "if one.path != newest]",
        f"{BACKUP}::test_the_new_backup_stays_though_the_clock_was_set_back_and_damaged_ones_do_not_count",
    ),
    Mutant(
        "a damaged backup is restored",
        "d4c_images/collection/backup.py", "        if sha256 != note.sha256:\n", "        if False:\n", FLIPPED,
    ),
    Mutant(
        "a backup without a note is restored unseen",
        "d4c_images/collection/backup.py", "    if note is None:\n        check_sound(", "    if False:\n        check_sound(",
        f"{BACKUP}::test_a_backup_without_a_note_is_verified_by_sqlite",
    ),
    Mutant(
        "a restored ledger has its name before its bytes are on the disk",
        "d4c_images/ledger/file/replacing.py", "        connection.close()\n    copying.make_durable(new)\n",
        "        connection.close()\n", ON_THE_DISK,
    ),
    Mutant(
        "the name of a restored ledger is not made durable",
        "d4c_images/ledger/file/replacing.py", "    copying.sync_folder(path.absolute().parent)\n", "", ON_THE_DISK,
    ),
    Mutant(
        "a worker of the lost ledger settles a lease of the restored one (I3)",
        "d4c_images/collection/restore.py", "        replacing.fence(new)\n", "",
        f"{BACKUP}::test_leases_of_a_restored_ledger_are_none_that_its_workers_had_after_the_backup",
    ),
    Mutant(
        "the log of the old ledger is applied to the restored one",
        "d4c_images/ledger/file/replacing.py", "    for beside in _beside(path):\n", "    for beside in ():\n",
        f"{BACKUP}::test_a_lost_ledger_is_put_back_and_the_log_that_it_left_is_not_applied_to_it",
    ),
    Mutant(
        "a restored ledger is there before the old one has another name",
        "d4c_images/ledger/file/replacing.py",
        '    crash.point("restore.kept")\n', '    new.replace(path)\n    new.touch()\n    crash.point("restore.kept")\n',
        f"{BACKUP}::test_a_killed_restore_leaves_the_old_ledger_or_the_new_one_and_loses_neither[replaced-restore.kept]",
    ),
    Mutant(
        "a restore deletes the ledger that it replaces",
        "d4c_images/ledger/file/replacing.py", "            _second_name(path, kept)\n", "",
        f"{BACKUP}::test_a_replaced_ledger_is_kept_with_what_was_in_its_log",
    ),
    Mutant(
        "a ledger that somebody reads is replaced",
        "d4c_images/ledger/file/replacing.py",
        '        connection.execute("PRAGMA journal_mode = DELETE")  # folds', "        # folds",
        f"{BACKUP}::test_a_ledger_that_somebody_reads_is_not_replaced",
    ),
    Mutant(
        "unpack believes in the size of a copy (I2)",
        "d4c_images/collection/unpack.py", " and sha256_at(self._to, place, image.size_bytes) == image.sha256", "",
        f"{UNPACK}::test_a_copy_with_other_bytes_is_made_anew[of_the_same_size]",
    ),
    Mutant(
        "unpack copies a damaged image (I2)",
        "d4c_images/collection/unpack.py",
        "            if not copy_if_right(self._root, place, image.size_bytes, image.sha256, partial):\n",
        "            if copy_if_right(self._root, place, image.size_bytes, image.sha256, partial) is None:\n",
        f"{UNPACK}::test_damaged_images_are_reported_and_the_others_copied",
    ),
    Mutant(
        "a failed write of unpack leaves half copies",
        "d4c_images/collection/unpack.py", "                    leave_nothing(copy.keep.partial)\n", "                    pass\n",
        f"{UNWRITABLE}[fsync-5-7]",
    ),
    Mutant(
        "a full disk is blamed on each image",
        "d4c_images/collection/unpack.py", " or error.__cause__.errno not in OF_ONE_PATH:\n", ":\n", f"{UNWRITABLE}[write-28-1]",
    ),
    Mutant(
        "a copy that another process has taken counts as written",
        "d4c_images/collection/unpack.py", "copy.keep is not None and next(places) is None\n",
        "copy.keep is not None and next(places) is copy\n",
        f"{UNPACK}::test_a_copy_that_another_process_has_taken_is_not_counted_as_written",
    ),
    Mutant(
        "unpack does not heed a signal",
        "d4c_images/commands/unpack.py", "            if stop():\n", "            if False:\n",
        f"{UNPACK}::test_a_signal_ends_it_with_75_and_the_same_command_resumes[SIGTERM]",
    ),
    Mutant(
        "a repair moves what a link back into the collection shows",
        "d4c_images/collection/check_files.py", "            return entry.is_dir() and self._is_followed(prefix, entry.name)\n",
        "            return entry.is_dir()\n",
        f"{MENDED}[link_to_the_root]",
    ),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_the_guards_turn_red(mutant: Mutant, tmp_path: Path) -> None:
    for name in ("d4c_images", "tests", "tools"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    path = tmp_path / mutant.file
    text = path.read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1, "the mutant no longer fits the code"
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--hypothesis-profile", "mutants", mutant.guard],
        cwd=tmp_path, capture_output=True, text=True, timeout=3 * PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout[-3000:]
