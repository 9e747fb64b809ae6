"""What each version of the ledger changed: `MIGRATIONS` lists the steps. Executes none of them.

A schema change needs an entry here: schema.py says how.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping

from d4c_images.ledger.file import schema
from d4c_images.ledger.file.migration_steps import Migration, Script, Tables, Walk


def _of_schema(*names: str) -> str:
    """The statements of the schema that create these indexes and triggers."""
    created = re.compile(rf"\s*(?:--[^\n]*\n\s*)*CREATE (?:INDEX|TRIGGER) (?:{'|'.join(names)})\b")
    return "".join(filter(created.match, schema.statements(schema.TABLES)))


def _take_labels_over(db: sqlite3.Connection, keys: Mapping[str, int]) -> None:
    from d4c_images.ledger.admission import labels  # imports numpy, which opening a ledger does not need otherwise

    labels.take_over(db, keys)


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        2,
        (
            Tables(
                (
                    *("ledger_migrations", "checkpoints", "recounted_tallies"),
                    *("record_changes", "link_changes", "follower_changes", "politeness_groups", "shut_doors", "image_totals"),
                    *("label_rows", "label_taxa", "label_shared"),
                    *("picture_rows", "joined_images"),
                )
            ),
            # Sums over hosts, and documents of an init that was killed: few rows compared with the images.
            Script(
                """
                INSERT INTO image_totals (status, error_type, n, n_final, size_bytes)
                SELECT status, error_type, sum(n), sum(n_final), sum(size_bytes) FROM tallies GROUP BY status, error_type;
                INSERT INTO link_changes (parent_id, after_gbif_id, upto_gbif_id)
                SELECT DISTINCT u.parent_id, -9223372036854775808, 9223372036854775807 FROM unfolded AS u
                WHERE EXISTS (
                    SELECT 1 FROM link_rows AS l INDEXED BY link_shared WHERE l.image_id = u.parent_id AND l.is_first = 0);
                """
            ),
            Script(_of_schema("tallies_insert", "tallies_update", "tallies_delete", "host_blocked", "host_grouped", "host_paused")),
            # The name becomes a view's. Old rows are deleted chunk by chunk: new ones reuse their pages, so little is left to drop.
            Walk(
                "labels",
                "gbif_id",
                _take_labels_over,
                "DELETE FROM labels WHERE gbif_id > :after AND gbif_id <= :upto",
                grows_by=0.1,
            ),
            Script("DROP TABLE labels;\n"),
        ),
    ),
    Migration(3, (Tables(("run_ends",)),)),
    Migration(4, (Tables(("verifications",)),)),
)
