"""What other people's SQL reads: views over the tables. Holds no tables and none of our own queries."""

from __future__ import annotations

from d4c_images.ledger.rows.lent import IS_LENT, STATUS

# For a host `h` and its group `p`, if it has one: a wait of either applies.
BLOCKED_UNTIL = "CASE WHEN p.held_until > coalesce(h.blocked_until, 0) THEN p.held_until ELSE h.blocked_until END"
BLOCKED_WHY = "CASE WHEN p.held_until > coalesce(h.blocked_until, 0) THEN p.held_why ELSE h.blocked_why END"


# Columns of the view `labels`, in order: those of version 1 come first.
TAXON = """scientific_name taxon_key accepted_taxon_key kingdom_key phylum_key class_key order_key family_key genus_key species_key
    family"""
COLLECTION_LABELS = "basis_of_record dataset_key institution_code collection_code"
RECORDED = "license country_code country geodetic_datum type_status sex life_stage"


def _of(table: str, key: str, columns: str) -> str:
    """Cells of the row of `table` that a row of labels shares with others. Each is a subquery of its own: a view of one table
    costs nothing if its columns are not wanted, and SQLite can flatten it into a LEFT JOIN."""
    return ",\n       ".join(
        f"(SELECT {column} FROM {table} AS s WHERE s.{key} = l.{key}) AS {column}"  # noqa: S608
        for column in columns.split()
    )


VIEWS = f"""
CREATE VIEW images AS
SELECT i.image_id, i.gbif_id, i.image_no, coalesce(i.image_key, i.urls) AS image_key, i.urls, h.host, {STATUS} AS status,
       i.http_status, i.error_type, i.error_detail, i.file_path, i.file_offset, i.file_size,
       nullif(lower(hex(i.sha256)), '') AS sha256,
       nullif(lower(hex(i.original_sha256)), '') AS original_sha256, i.media_type, i.width, i.height, i.etag, i.last_modified,
       i.robots_tag, i.attempts, i.last_attempt_at,
       CASE WHEN NOT {IS_LENT} THEN i.not_before END AS not_before, i.url_no, r.name AS rule, r.version AS rule_version
FROM image_rows AS i
JOIN host_rows AS h ON h.host_id = i.host_id
JOIN rules AS r ON r.rule_id = i.rule_id;

CREATE VIEW former_images AS
SELECT image_id, revision, replaced_at, stored_at, http_status, error_type, error_detail, file_path, file_offset, file_size,
       nullif(lower(hex(sha256)), '') AS sha256, nullif(lower(hex(original_sha256)), '') AS original_sha256,
       media_type, width, height, etag, last_modified
FROM former_rows;

CREATE VIEW links AS
SELECT g.gbif_id, i.image_no, i.image_id, 1 AS is_first, i.license_id, i.creator_id, i.rights_holder_id, i.references_url,
       i.archive_id, i.row_no
FROM gbif_ids AS g
JOIN image_rows AS i ON i.image_id >= g.first_image_id AND i.image_id < g.first_image_id + g.n_in_line AND i.gbif_id = g.gbif_id
UNION ALL
SELECT gbif_id, image_no, image_id, is_first, license_id, creator_id, rights_holder_id, references_url, archive_id, row_no
FROM link_rows;

CREATE VIEW occurrence_images AS
SELECT gbif_id, image_no, image_id,
       (SELECT text FROM texts WHERE text_id = license_id) AS license,
       (SELECT text FROM texts WHERE text_id = creator_id) AS creator,
       (SELECT text FROM texts WHERE text_id = rights_holder_id) AS rights_holder,
       references_url, archive_id, row_no,
       (SELECT dataset FROM record_names AS r WHERE r.gbif_id = links.gbif_id) AS dataset,
       (SELECT record_id FROM record_names AS r WHERE r.gbif_id = links.gbif_id) AS record_id
FROM links;

CREATE VIEW labels AS
SELECT l.gbif_id,
       {_of("label_taxa", "taxon_id", TAXON)},
       {_of("label_shared", "shared_id", COLLECTION_LABELS)},
       l.catalog_number,
       {_of("label_taxa", "taxon_id", "checklist_key")},
       l.occurrence_id,
       {_of("label_shared", "shared_id", RECORDED)},
       l.event_date, l.decimal_latitude, l.decimal_longitude, l.coordinate_uncertainty_in_meters,
       (SELECT text FROM texts WHERE text_id = l.recorded_by_id) AS recorded_by,
       (SELECT text FROM texts WHERE text_id = l.information_withheld_id) AS information_withheld,
       (SELECT text FROM texts WHERE text_id = l.data_generalizations_id) AS data_generalizations
FROM label_rows AS l;

CREATE VIEW hosts AS
SELECT h.host, h.politeness_group, h.connections, h.min_interval_s, h.bytes_per_s, h.bytes_per_day,
       coalesce(p.width, h.width) AS width, coalesce(p.latency_s, h.latency_s) AS latency_s, h.images_per_s,
       h.paused_at, h.paused_until,
       {BLOCKED_UNTIL} AS blocked_until, {BLOCKED_WHY} AS blocked_why, h.block_level,
       h.unreachable_since, h.last_answer_at,
       h.n_requests, h.n_retries, h.received_bytes, h.busy_s,
       coalesce(sum(t.n), 0) AS n_images,
       coalesce(sum(t.n) FILTER (WHERE t.status = 'pending'), 0) AS n_pending,
       coalesce(sum(t.n) FILTER (WHERE t.status = 'leased'), 0) AS n_leased,
       coalesce(sum(t.n) FILTER (WHERE t.status = 'success'), 0) AS n_success,
       coalesce(sum(t.n) FILTER (WHERE t.status = 'failed_transient'), 0) AS n_failed_transient,
       coalesce(sum(t.n) FILTER (WHERE t.status = 'failed_permanent'), 0) AS n_failed_permanent
FROM host_rows AS h
LEFT JOIN politeness_groups AS p ON p.name = h.politeness_group
LEFT JOIN tallies AS t ON t.host_id = h.host_id
GROUP BY h.host_id;
"""  # noqa: S608 - constants
