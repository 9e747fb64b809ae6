"""The image that a file name refers to. SQL only; runs no query itself."""

from __future__ import annotations

from typing import NamedTuple

from d4c_images.ledger.rows.lent import IS_LENT, NEXT_REVISION


class FileName(NamedTuple):
    """What a file's name says, and where the file is."""

    gbif_id: int
    image_no: int
    revision: int
    path: str
    offset: int | None  # in a shard


def image_named(gbif_id: str, image_no: str) -> str:
    """The scalar subquery for the image that a record (an expression) shows under a number (an expression), NULL if there is none.

    The images of a record's own run have ascending numbers, without gaps unless the record also shows images that earlier records
    introduced. So the image is at most `image_no` after the first one, nearly always exactly there; else it is found by bisection.
    """
    return f"""coalesce(
    (SELECT r.image_id FROM gbif_ids AS g CROSS JOIN image_rows AS r ON r.image_id = g.first_image_id + {image_no}
     WHERE g.gbif_id = {gbif_id} AND {image_no} < g.n_in_line AND r.gbif_id = g.gbif_id AND r.image_no = {image_no}),
    (SELECT l.image_id FROM link_rows AS l WHERE l.gbif_id = {gbif_id} AND l.image_no = {image_no}),
    (WITH RECURSIVE wanted_part (low, high) AS (
         SELECT g.first_image_id, min(g.first_image_id + {image_no}, g.first_image_id + g.n_in_line - 1)
         FROM gbif_ids AS g WHERE g.gbif_id = {gbif_id} AND g.n_in_line > 0 AND {image_no} >= 0
         UNION ALL
         SELECT CASE WHEN m.image_no < {image_no} THEN m.image_id + 1 ELSE low END,
                CASE WHEN m.image_no < {image_no} THEN high ELSE m.image_id END
         FROM wanted_part CROSS JOIN image_rows AS m ON m.image_id = (low + high) / 2 WHERE low < high)
     SELECT r.image_id FROM wanted_part CROSS JOIN image_rows AS r ON r.image_id = wanted_part.low
     WHERE wanted_part.low = wanted_part.high AND +r.gbif_id = {gbif_id} AND r.image_no = {image_no} LIMIT 1))"""  # noqa: S608 - constants


# The names are passed as a JSON array of `FileName`s, whose fields are named again here.
BY_NAME = f"""
SELECT i.status, i.file_path, i.file_offset, {IS_LENT}, i.dead_lease_id IS NOT NULL,
       EXISTS (SELECT 1 FROM set_aside AS s WHERE s.image_id = i.image_id AND s.file_path = named.file_path),
       EXISTS (SELECT 1 FROM former_rows AS f
               WHERE f.image_id = i.image_id AND f.file_path = named.file_path AND f.file_offset IS named.file_offset),
       {NEXT_REVISION} = named.revision
FROM (SELECT key, value ->> 0 AS gbif_id, value ->> 1 AS image_no, value ->> 2 AS revision, value ->> 3 AS file_path,
             value ->> 4 AS file_offset
      FROM json_each(?)) AS named
LEFT JOIN image_rows AS i ON i.image_id = {image_named("named.gbif_id", "named.image_no")}
ORDER BY named.key
"""  # noqa: S608 - constants
