"""The content of a ledger without times and writers, so that two ledgers can be compared."""

from __future__ import annotations

import sqlite3
from pathlib import Path

QUERIES = {
    "archives": "SELECT archive_id, kind, source, fingerprint, size_bytes, row_limit, rows_done, offset_bytes, rows_admitted,"
    " new_images, new_links, finished_at IS NOT NULL FROM archives ORDER BY archive_id",
    "host_rows": "SELECT * FROM host_rows ORDER BY host_id",
    "host_bytes": "SELECT * FROM host_bytes ORDER BY host_id, hour",
    "wanted_limits": "SELECT * FROM wanted_limits ORDER BY host",
    "rules": "SELECT * FROM rules ORDER BY rule_id",
    "texts": "SELECT * FROM texts ORDER BY text_id",
    "image_rows": "SELECT * FROM image_rows ORDER BY image_id",
    "untried": "SELECT * FROM untried ORDER BY host_id, block",
    "image_keys": "SELECT * FROM image_keys ORDER BY key_hash",
    "image_key_twins": "SELECT * FROM image_key_twins ORDER BY image_key",
    "caught_up": "SELECT * FROM caught_up",
    "link_rows": "SELECT * FROM link_rows ORDER BY gbif_id, image_no",
    "gbif_ids": "SELECT gbif_id, n_images, n_success, n_failed, status, completed_at IS NOT NULL, first_image_id, n_in_line"
    " FROM gbif_ids ORDER BY gbif_id",
    "documents": "SELECT image_id, url, kind, n_named, n_taken FROM documents ORDER BY image_id, url",
    "picture_links": "SELECT * FROM picture_links ORDER BY gbif_id, image_id",
    "unfolded": "SELECT * FROM unfolded ORDER BY parent_id, image_id",
    "picture_rows": "SELECT * FROM picture_rows ORDER BY row_id",
    "joined_images": "SELECT image_id, same_as FROM joined_images ORDER BY image_id, same_as",
    "record_names": "SELECT * FROM record_names ORDER BY gbif_id",
    "variants": "SELECT * FROM variants ORDER BY image_id, url",
    "label_rows": "SELECT * FROM label_rows ORDER BY gbif_id",
    "label_taxa": "SELECT * FROM label_taxa ORDER BY taxon_id",
    "label_shared": "SELECT * FROM label_shared ORDER BY shared_id",
    "rejected_rows": "SELECT rowid, * FROM rejected_rows ORDER BY rowid",
    "reject_counts": "SELECT * FROM reject_counts ORDER BY archive_id, reason",
    "note_counts": "SELECT * FROM note_counts ORDER BY archive_id, note",
    "leases": "SELECT * FROM leases",
    "lent": "SELECT * FROM lent ORDER BY image_id",
    "tallies": "SELECT * FROM tallies WHERE n <> 0 ORDER BY host_id, status, error_type",
    "record_tallies": "SELECT * FROM record_tallies WHERE n <> 0 ORDER BY status",
    "image_totals": "SELECT * FROM image_totals WHERE n <> 0 ORDER BY status, error_type",
    "politeness_groups": "SELECT * FROM politeness_groups ORDER BY name",
    "shut_doors": "SELECT * FROM shut_doors ORDER BY host_id",
    "placeholders": "SELECT host_id, sha256, state, n_marked FROM placeholders ORDER BY host_id, sha256",
    "set_aside": "SELECT * FROM set_aside ORDER BY image_id",
    "refetch_queue": "SELECT * FROM refetch_queue ORDER BY host_id, image_id",
    "refetch_hosts": "SELECT * FROM refetch_hosts WHERE n_waiting <> 0 ORDER BY host_id",
    "refetch_failures": "SELECT * FROM refetch_failures ORDER BY image_id",
    "former_rows": "SELECT * FROM former_rows ORDER BY image_id, revision",
    "store": "SELECT kind FROM store",
    "shards": "SELECT * FROM shards ORDER BY file_path",
    "page_samples": "SELECT * FROM page_samples",
    "checkpoints": "SELECT name, position FROM checkpoints WHERE name <> 'root' ORDER BY name",
    "recounted_tallies": "SELECT * FROM recounted_tallies ORDER BY host_id, status, error_type",
    "record_changes": "SELECT image_id, n_success, n_failed, after_gbif_id FROM record_changes ORDER BY change_id",
    "follower_changes": "SELECT * FROM follower_changes ORDER BY image_id",
    "link_changes": "SELECT * FROM link_changes ORDER BY parent_id, after_gbif_id",
}
LEFT_OUT = {"runs", "run_ends", "owner", "ledger_migrations", "verifications"}


def dump(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table."""
    with sqlite3.connect(path) as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")}
        assert tables - LEFT_OUT == set(QUERIES), "a table that is not compared"
        rows = {table: db.execute(query).fetchall() for table, query in QUERIES.items()}
    db.close()
    return rows


def differences(one: Path, other: Path) -> list[str]:
    """What the first ledger says otherwise than the second; empty where they say the same."""
    left, right = dump(one), dump(other)
    found = []
    for table in QUERIES:
        if left[table] != right[table]:
            pairs = [(a, b) for a, b in zip(left[table], right[table], strict=False) if a != b]
            lengths = (len(left[table]), len(right[table]))
            found.append(f"{table}: {lengths[0]} and {lengths[1]} rows, first difference {pairs[:1]}")
    return found
