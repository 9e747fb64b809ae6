"""`python -m tests.support.migrating COMMAND...`: the program as a later version could be, to be killed while it changes rows.

Version 5 gives each image a number of its own, which a walk fills in small chunks, and a table that replaces another one.
"""

from __future__ import annotations

import sys

from d4c_images.cli import main
from d4c_images.ledger.file import migrations, schema, versions
from d4c_images.ledger.file.migration_steps import Migration, NewColumn, Script, Tables, Walk
from tools import keep_ledger

CHUNK_ROWS = 5
FILL = "UPDATE image_rows SET checked_at = coalesce(checked_at, 0) + image_id WHERE image_id > :after AND image_id <= :upto"
COPY = "INSERT INTO words SELECT text_id, text FROM texts WHERE text_id > :after AND text_id <= :upto"
STEPS = (
    NewColumn("image_rows", "checked_at INTEGER"),
    Walk("image_rows", "image_id", FILL, grows_by=0.1, chunk_rows=CHUNK_ROWS),
    Tables(("words",)),
    Walk("texts", "text_id", COPY, grows_by=0.1, chunk_rows=1),
    Script("DROP TABLE texts;\nALTER TABLE words RENAME TO texts;\n"),
)


def become_version_5() -> None:
    schema.SCHEMA_VERSION = 5
    schema.TABLES = schema.TABLES.replace(
        "row_no           INTEGER\n);", "row_no           INTEGER, -- the last one so far\n checked_at INTEGER);"
    ).replace("text     TEXT NOT NULL UNIQUE", "text     TEXT UNIQUE -- may be missing")
    versions.SHAPES[5] = keep_ledger.current()
    words = "CREATE TABLE words (text_id INTEGER PRIMARY KEY, text TEXT UNIQUE);\n"
    schema.TABLES += words
    migrations.MIGRATIONS = (*migrations.MIGRATIONS, Migration(5, STEPS))


if __name__ == "__main__":
    become_version_5()
    sys.exit(main())
