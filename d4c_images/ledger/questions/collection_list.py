"""A collection's list: every link of a record to a stored image, with what is known of both. Writes no file.

It is walked in steps along its tables' keys, each step its own short read, so a running download is not disturbed: an image stored
during the walk may be in it or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter

from d4c_images.ledger.file.reader import Reader, Row
from d4c_images.ledger.questions import tables
from d4c_images.ledger.questions.tables import TABLE_STEP_ROWS, RowProgress, Table
from d4c_images.ledger.rows.extent import top_image

COLLECTION = Table(
    "collection",
    "",
    {
        "gbif_id": "integer",
        "image_no": "integer",
        "image_id": "integer",
        "file_path": "text",
        "file_offset": "integer",
        "file_size": "integer",
        "sha256": "text",
        "original_sha256": "text",
        "media_type": "text",
        "width": "integer",
        "height": "integer",
        "flag": "text",
        "url": "text",
        "license": "text",
        "creator": "text",
        "rights_holder": "text",
        "references_url": "text",
        "dataset": "text",
        "record_id": "text",
        "scientific_name": "text",
        "taxon_key": "text",
        "accepted_taxon_key": "text",
        "kingdom_key": "text",
        "phylum_key": "text",
        "class_key": "text",
        "order_key": "text",
        "family_key": "text",
        "genus_key": "text",
        "species_key": "text",
        "family": "text",
        "basis_of_record": "text",
        "dataset_key": "text",
        "institution_code": "text",
        "collection_code": "text",
        "catalog_number": "text",
        "checklist_key": "text",
        "occurrence_id": "text",
        "record_license": "text",
        "country_code": "text",
        "country": "text",
        "geodetic_datum": "text",
        "type_status": "text",
        "sex": "text",
        "life_stage": "text",
        "event_date": "text",
        "decimal_latitude": "real",
        "decimal_longitude": "real",
        "coordinate_uncertainty_in_meters": "real",
        "recorded_by": "text",
        "information_withheld": "text",
        "data_generalizations": "text",
    },
)
_GBIF_ID, _IMAGE_NO, _IMAGE_ID = range(3)
_URL_NO = 13  # of the selected cells; comes after the image's URLs
_TEXTS = itemgetter(*(at + (at >= _URL_NO) for at, kind in enumerate(COLLECTION.columns.values()) if kind == "text"))

_SELECT = """
SELECT k.gbif_id, k.image_no, i.image_id, i.file_path, i.file_offset, i.file_size, nullif(lower(hex(i.sha256)), ''),
       nullif(lower(hex(i.original_sha256)), ''), i.media_type, i.width, i.height, i.error_type, i.urls, i.url_no,
       (SELECT text FROM texts WHERE text_id = k.license_id), (SELECT text FROM texts WHERE text_id = k.creator_id),
       (SELECT text FROM texts WHERE text_id = k.rights_holder_id), k.references_url, n.dataset, n.record_id,
       t.scientific_name, t.taxon_key, t.accepted_taxon_key, t.kingdom_key, t.phylum_key, t.class_key, t.order_key, t.family_key,
       t.genus_key, t.species_key, t.family, s.basis_of_record, s.dataset_key, s.institution_code, s.collection_code,
       l.catalog_number, t.checklist_key, l.occurrence_id, s.license, s.country_code, s.country, s.geodetic_datum, s.type_status,
       s.sex, s.life_stage, l.event_date, l.decimal_latitude, l.decimal_longitude, l.coordinate_uncertainty_in_meters,
       (SELECT text FROM texts WHERE text_id = l.recorded_by_id),
       (SELECT text FROM texts WHERE text_id = l.information_withheld_id),
       (SELECT text FROM texts WHERE text_id = l.data_generalizations_id)
FROM {links}
LEFT JOIN record_names AS n ON n.gbif_id = k.gbif_id
LEFT JOIN label_rows AS l ON l.gbif_id = k.gbif_id
LEFT JOIN label_taxa AS t ON t.taxon_id = l.taxon_id
LEFT JOIN label_shared AS s ON s.shared_id = l.shared_id
WHERE i.status = 'success' AND {step}
"""
FIRST_LINKS = _SELECT.format(
    links="image_rows AS k JOIN image_rows AS i ON i.image_id = k.image_id",
    step="k.image_id > :after AND k.image_id <= :upto AND k.row_no IS NOT NULL ORDER BY k.image_id",
)
OTHER_LINKS = _SELECT.format(
    links="link_rows AS k CROSS JOIN image_rows AS i ON i.image_id = k.image_id",
    step="""(k.gbif_id, k.image_no) > (:gbif_id, :image_no) AND (k.gbif_id, k.image_no) <= (:last_gbif_id, :last_image_no)
ORDER BY k.gbif_id, k.image_no""",
)


def steps(ledger: Reader, progress: RowProgress, step: int = TABLE_STEP_ROWS) -> Iterator[list[Row]]:
    """Rows with the columns of `COLLECTION`, in batches: those of at most `step` links, and of no more than some megabytes."""
    last = top_image(ledger.rows)
    after = 0
    while after < last:
        upto = min(after + step, last)
        rows, is_all = ledger.head(FIRST_LINKS, {"after": after, "upto": upto}, tables.STEP_CHARS, _TEXTS)
        after = upto if is_all else rows[-1][_IMAGE_ID]
        if rows:
            yield _with_their_urls(rows)
        progress("images", after, last)
    n_links = 0
    for links in tables.link_steps(ledger, step):
        is_all = False
        while not is_all:
            rows, is_all = ledger.head(OTHER_LINKS, links, tables.STEP_CHARS, _TEXTS)
            if not is_all:
                links |= {"gbif_id": rows[-1][_GBIF_ID], "image_no": rows[-1][_IMAGE_NO]}
            if rows:
                yield _with_their_urls(rows)
        n_links += step
        progress("links", n_links, None)


def _with_their_urls(rows: list[Row]) -> list[Row]:
    """Reduced to the one URL that each image came from. Consumes the rows, so that no long list of URLs is held twice."""
    rows.reverse()
    return [_with_its_url(rows.pop()) for _ in range(len(rows))]


def _with_its_url(row: Row) -> Row:
    return (*row[: _URL_NO - 1], row[_URL_NO - 1].split("\n", row[_URL_NO] + 1)[row[_URL_NO]], *row[_URL_NO + 1 :])
