"""The tables of the ledger, and their version number. Holds no queries and changes no rows.

Tables are laid out for 10^8 images; the names that other people's SQL depends on (`images`, `hosts`, `occurrence_images`) are views
over them if the stored form differs (a host as a number, a hash as a BLOB). `gbif_ids` and `rejected_rows` are tables.

The queue follows two rules:

* A pending image that has never been tried is in its host's list (`untried`) and has no `not_before`. Once it has come back,
  `image_rows.not_before IS NOT NULL` means "waiting in its host's queue again"; a settled image has NULL. So the partial index
  `image_queue` holds only what came back, and both shrink as work gets done.
* A lent image is in `lent` and in no list of `untried`; its row, and so its place in the index, is as it was before. `images`,
  `tallies` and `hosts` call it `leased`; but a stored image that is being refetched stays a success.

Every count that a report shows is kept in `tallies`, `record_tallies` and `gbif_ids` by the transaction that changes the rows.

`SCHEMA_VERSION` is the ledger's `PRAGMA user_version`. To change a table, an index or a view (comments do not count), do three
things; tests stay red until all are done (docs/adr/0039):

1. raise `SCHEMA_VERSION`, once per release;
2. add to `version_changes.MIGRATIONS` how a ledger of the previous version becomes one; for a new table that is its name;
3. run `python -m tools.keep_ledger`, which records the new shape (file/versions.py) and keeps a small ledger of it
   (tests/ledgers/).

`runs` and `owner` never change: a ledger is owned before it is migrated. Nor do the columns of `ledger_migrations`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

APPLICATION_ID = 0x64346349  # "d4cI"
SCHEMA_VERSION = 4

TABLES = """
CREATE TABLE runs (
    run_id        INTEGER PRIMARY KEY AUTOINCREMENT,
    command       TEXT NOT NULL,
    host          TEXT NOT NULL,
    pid           INTEGER NOT NULL,
    pid_started   TEXT,               -- start time of the process as the system tells it, against reused pids
    job_id        TEXT,               -- of the scheduler, where there is one
    started_at    INTEGER NOT NULL,   -- unix time, as all times here
    heartbeat_at  INTEGER NOT NULL,
    ended_at      INTEGER,
    ending        TEXT,
    n_done        INTEGER NOT NULL DEFAULT 0  -- images settled, or rows read in
);

-- The one run that may write; taken and given back in a transaction, and checked in each settlement.
CREATE TABLE owner (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    run_id  INTEGER NOT NULL REFERENCES runs
);

-- What a run says of itself when it ends, beyond `runs`; a run that was killed has no row.
CREATE TABLE run_ends (
    run_id        INTEGER PRIMARY KEY,
    n_stored      INTEGER,            -- images; these three of a download, NULL of other commands
    n_failed      INTEGER,            -- for good
    stored_bytes  INTEGER,
    due_at        INTEGER,            -- until then, nothing of what is left may be asked for; NULL: something may
    goes_on_at    INTEGER,            -- when the scheduler begins the job's next run, as it was asked to; NULL: it was not
    goes_on_by    TEXT                -- the scheduler: Slurm, Grid Engine
);

-- One row per ingested stream, with the checkpoint of its last committed chunk.
CREATE TABLE archives (
    archive_id    INTEGER PRIMARY KEY,
    kind          TEXT NOT NULL,      -- multimedia, occurrence
    source        TEXT NOT NULL,      -- as named on the command line
    fingerprint   TEXT NOT NULL,      -- says whether it is the same stream again
    size_bytes    INTEGER,            -- of the unpacked stream
    row_limit     INTEGER,            -- --limit, where given
    rows_done     INTEGER NOT NULL DEFAULT 0,
    offset_bytes  INTEGER NOT NULL DEFAULT 0,
    rows_admitted INTEGER NOT NULL DEFAULT 0,
    new_images    INTEGER NOT NULL DEFAULT 0,
    new_links     INTEGER NOT NULL DEFAULT 0,
    finished_at   INTEGER,            -- when its last row was committed; NULL: there is more to read
    damaged_at    INTEGER             -- when it was found to be damaged: what was read of it cannot be trusted
);

CREATE TABLE host_rows (
    host_id         INTEGER PRIMARY KEY,
    host            TEXT NOT NULL UNIQUE,
    politeness_group TEXT,            -- hosts of one operator that share their limits
    connections     INTEGER,          -- the limits as last used: of the group, where there is one
    min_interval_s  REAL,
    bytes_per_s     REAL,
    bytes_per_day   REAL,
    width           REAL,             -- connections that the group gets within its limits (pace.Speed), with what they hang on:
    latency_s       REAL,
    narrowed_at     INTEGER,
    images_per_s    REAL,             -- as observed of late
    paused_at       INTEGER,          -- by a person; NULL: it is not
    paused_until    INTEGER,          -- NULL: until a person resumes it
    blocked_until   INTEGER,          -- unix time before which nobody asks this host
    blocked_why     TEXT,
    block_level     INTEGER NOT NULL DEFAULT 0,  -- blocks in a row without a success between them
    recent_ok       REAL NOT NULL DEFAULT 0,     -- decaying counts behind the failure rate
    recent_bad      REAL NOT NULL DEFAULT 0,
    unreachable_since INTEGER,        -- since when no request has reached it; NULL: it is there, as far as is known
    n_unreachable   INTEGER NOT NULL DEFAULT 0,  -- requests in a row that did not reach it
    last_answer_at  INTEGER,
    n_requests      INTEGER NOT NULL DEFAULT 0,
    n_retries       INTEGER NOT NULL DEFAULT 0,  -- attempts beyond an image's first
    received_bytes  INTEGER NOT NULL DEFAULT 0,
    busy_s          REAL NOT NULL DEFAULT 0      -- sum of the requests' durations
);

CREATE INDEX host_blocked ON host_rows (blocked_until) WHERE blocked_until IS NOT NULL;
CREATE INDEX host_grouped ON host_rows (politeness_group) WHERE politeness_group IS NOT NULL;
CREATE INDEX host_paused ON host_rows (paused_until) WHERE paused_at IS NOT NULL;

-- What hosts have sent, by the hour (unix time / 3600): for limits of bytes in a day. Older hours are forgotten.
CREATE TABLE host_bytes (
    host_id  INTEGER NOT NULL,
    hour     INTEGER NOT NULL,
    n_bytes  INTEGER NOT NULL,
    PRIMARY KEY (host_id, hour)
) WITHOUT ROWID;

-- Limits that a person has set for a host, or for those that a pattern stands for (*.example.org, img*.example.org, *): a JSON
-- object of hosts-file names.
CREATE TABLE wanted_limits (
    host    TEXT PRIMARY KEY,
    limits  TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE rules (
    rule_id  INTEGER PRIMARY KEY,
    name     TEXT NOT NULL,
    version  INTEGER NOT NULL,
    UNIQUE (name, version)
);

-- Strings that many rows share: licences, creators, rights holders, collectors.
CREATE TABLE texts (
    text_id  INTEGER PRIMARY KEY,
    text     TEXT NOT NULL UNIQUE
);

CREATE TABLE image_rows (
    image_id         INTEGER PRIMARY KEY,
    gbif_id          INTEGER NOT NULL,   -- with image_no: the first record that shows it; they name the file
    image_no         INTEGER NOT NULL,
    host_id          INTEGER NOT NULL REFERENCES host_rows,  -- the host that its next request goes to
    rule_id          INTEGER NOT NULL REFERENCES rules,
    status           TEXT NOT NULL DEFAULT 'pending',
    image_key        TEXT,               -- NULL: the same as urls
    urls             TEXT NOT NULL,      -- newline-joined, best first
    not_before       INTEGER,            -- NULL: not in the queue; of a pending image: listed in untried
    dead_lease_id    INTEGER,            -- the last lease that died holding it: its file may be there
    attempts         INTEGER NOT NULL DEFAULT 0,
    url_no           INTEGER NOT NULL DEFAULT 0,  -- the candidate that is next, or that decided
    redirect_url     TEXT,
    hops             INTEGER NOT NULL DEFAULT 0,
    carried_failure  TEXT,               -- JSON: what the attempt under way has met with at another host
    http_status      INTEGER,            -- negative: d4c_images.model.OwnCode
    error_type       TEXT,
    error_detail     TEXT,
    file_path        TEXT,
    file_offset      INTEGER,            -- NULL: the file is the image; else its bytes begin here in a shard
    file_size        INTEGER,
    sha256           BLOB,
    original_sha256  BLOB,
    media_type       TEXT,
    width            INTEGER,
    height           INTEGER,
    etag             TEXT,
    last_modified    TEXT,
    robots_tag       TEXT,               -- what the publisher says to machines: X-Robots-Tag of the last answer
    last_attempt_at  INTEGER,
    license_id       INTEGER,            -- from here on: its link to its first record; row_no is NULL where link_rows has that
    creator_id       INTEGER,
    rights_holder_id INTEGER,
    references_url   TEXT,
    archive_id       INTEGER,
    row_no           INTEGER
);
CREATE INDEX image_queue ON image_rows (host_id, not_before) WHERE not_before IS NOT NULL;
-- Pending images that were never lent: those of one host among 512 numbers that follow each other (block = image_id / 512), as
-- their places in the block, two bytes each, the low one first.
CREATE TABLE untried (
    host_id  INTEGER NOT NULL,
    block    INTEGER NOT NULL,
    places   BLOB NOT NULL,
    PRIMARY KEY (host_id, block)
) WITHOUT ROWID;

-- Which image has this key? A 63-bit hash finds it, the key itself decides. The hashes of the newest images are held in memory
-- while rows come in and are written here many at a time (admission/keys.py).
CREATE TABLE image_keys (
    key_hash  INTEGER PRIMARY KEY,
    image_id  INTEGER NOT NULL
);
-- Up to which image all keys are in image_keys, and all records in gbif_ids.
CREATE TABLE caught_up (
    one               INTEGER PRIMARY KEY CHECK (one = 1),
    keyed_image_id    INTEGER NOT NULL,
    recorded_image_id INTEGER NOT NULL
);
INSERT INTO caught_up (one, keyed_image_id, recorded_image_id) VALUES (1, 0, 0);
-- Further keys of an image: what its document has called it (expand_documents.py). And keys whose hash belongs to another key
-- already: nobody has met one yet.
CREATE TABLE image_key_twins (
    image_key  TEXT PRIMARY KEY,
    image_id   INTEGER NOT NULL
) WITHOUT ROWID;

-- Links of a record and an image that image_rows does not hold itself; the view `links` has all of them.
CREATE TABLE link_rows (
    gbif_id           INTEGER NOT NULL,
    image_no          INTEGER NOT NULL,
    image_id          INTEGER NOT NULL,
    is_first          INTEGER NOT NULL DEFAULT 1,  -- 0: the image belongs to an earlier record too
    license_id        INTEGER,
    creator_id        INTEGER,
    rights_holder_id  INTEGER,
    references_url    TEXT,
    archive_id        INTEGER NOT NULL,
    row_no            INTEGER NOT NULL,
    PRIMARY KEY (gbif_id, image_no)
) WITHOUT ROWID;
CREATE INDEX link_shared ON link_rows (image_id);

-- Records. The images that a record was the first to show mostly came one after another: those are `n_in_line` images from
-- `first_image_id` on, and image_rows holds the links to them. The newest records are held in memory while rows come in, since
-- their ids are in no order, and are written here many at a time (admission/records.py).
CREATE TABLE gbif_ids (
    gbif_id         INTEGER PRIMARY KEY,
    n_images        INTEGER NOT NULL,
    n_success       INTEGER NOT NULL DEFAULT 0,
    n_failed        INTEGER NOT NULL DEFAULT 0,  -- failed for good: permanent, or no attempts left
    status          TEXT NOT NULL DEFAULT 'pending',
    completed_at    INTEGER,
    first_image_id  INTEGER,
    n_in_line       INTEGER NOT NULL DEFAULT 0
);

-- Stored images that are to be asked for again (queue/refetching.py). The rows say which are due: this is made anew from them with
-- each `--refetch`. `n_waiting` counts the rows of a host.
CREATE TABLE refetch_queue (
    host_id       INTEGER NOT NULL,
    image_id      INTEGER NOT NULL,
    redirect_url  TEXT,               -- ask this instead of the candidate: a redirect led to this host
    hops          INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (host_id, image_id)
) WITHOUT ROWID;
CREATE TABLE refetch_hosts (
    host_id    INTEGER PRIMARY KEY,
    n_waiting  INTEGER NOT NULL
);
-- Stored images that could not be had again when they were last asked for; one row each, gone with the next good answer.
CREATE TABLE refetch_failures (
    image_id      INTEGER PRIMARY KEY,
    asked_at      INTEGER NOT NULL,
    status        TEXT NOT NULL,      -- what an image that is not there yet would have got: failed_transient, failed_permanent
    http_status   INTEGER,
    error_type    TEXT,
    error_detail  TEXT
);
CREATE INDEX refetch_failures_by_type ON refetch_failures (status, error_type);
-- What was stored for an image before its publisher changed it. The files stay, each under its name.
CREATE TABLE former_rows (
    image_id         INTEGER NOT NULL,
    revision         INTEGER NOT NULL,   -- 0 for the first bytes of an image; image_rows has the one after the last of these
    replaced_at      INTEGER NOT NULL,
    stored_at        INTEGER,            -- when it was last known to be what the publisher has
    http_status      INTEGER,
    error_type       TEXT,
    error_detail     TEXT,
    file_path        TEXT,               -- NULL: the file was gone when it was to be compared
    file_offset      INTEGER,
    file_size        INTEGER,
    sha256           BLOB,
    original_sha256  BLOB,
    media_type       TEXT,
    width            INTEGER,
    height           INTEGER,
    etag             TEXT,
    last_modified    TEXT,
    PRIMARY KEY (image_id, revision)
) WITHOUT ROWID;

-- IIIF manifests and collections that were read, by the image that stood for them; and what they name besides it.
CREATE TABLE documents (
    image_id  INTEGER NOT NULL,
    url       TEXT NOT NULL,
    kind      TEXT NOT NULL,      -- manifest, collection
    n_named   INTEGER NOT NULL,   -- pictures, or documents of a collection
    n_taken   INTEGER NOT NULL,   -- of them: in the ledger; the rest was beyond the limits
    read_at   INTEGER NOT NULL,
    PRIMARY KEY (image_id, url)
) WITHOUT ROWID;
CREATE TABLE unfolded (
    parent_id  INTEGER NOT NULL,  -- the image that stood for the document
    image_id   INTEGER NOT NULL,  -- another image that the document names
    position   INTEGER NOT NULL,  -- in the document
    is_made    INTEGER NOT NULL,  -- 1: it came into the ledger by this
    depth      INTEGER NOT NULL,  -- documents above it
    root_id    INTEGER NOT NULL,  -- the image of an archive's row that all began with
    PRIMARY KEY (parent_id, image_id)
) WITHOUT ROWID;
-- Links to such an image that speak of its picture, not of the document: rows that named the picture itself, later.
CREATE TABLE picture_links (
    gbif_id   INTEGER NOT NULL,
    image_id  INTEGER NOT NULL,
    PRIMARY KEY (gbif_id, image_id)
) WITHOUT ROWID;
CREATE INDEX unfolded_image ON unfolded (image_id);
CREATE INDEX unfolded_root ON unfolded (root_id) WHERE is_made;

-- What publishers call the records that have no number of GBIF; `gbif_id` is then made of both (18 digits).
CREATE TABLE record_names (
    gbif_id    INTEGER PRIMARY KEY,
    dataset    TEXT NOT NULL,     -- '' where record_id is unique in the world
    record_id  TEXT NOT NULL
);
CREATE INDEX record_names_by_id ON record_names (record_id);

-- What publishers' archives say of single URLs of an image, where that is more than "this is the picture".
CREATE TABLE variants (
    image_id       INTEGER NOT NULL,
    url            TEXT NOT NULL,
    role           TEXT NOT NULL,      -- best, access, good, medium, lower, thumbnail; derived: made of another one by a rule
    edge           INTEGER NOT NULL,   -- its long edge in pixels, as stated or as its role lets expect: the order of the URLs
    width          INTEGER,            -- as stated
    height         INTEGER,
    hash_function  TEXT,               -- md5, sha1, sha256
    hash_value     TEXT,
    hash_matches   INTEGER,            -- 1, 0: the bytes that came from this URL have it, or not; NULL: not compared yet
    PRIMARY KEY (image_id, url)
) WITHOUT ROWID;

CREATE TABLE rejected_rows (
    archive_id   INTEGER NOT NULL,
    row_no       INTEGER NOT NULL,
    byte_offset  INTEGER,
    reason       TEXT NOT NULL,
    row_start    TEXT NOT NULL,   -- the first 500 characters
    gbif_id      INTEGER
);
CREATE TABLE reject_counts (
    archive_id  INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    n           INTEGER NOT NULL,
    PRIMARY KEY (archive_id, reason)
) WITHOUT ROWID;

CREATE TABLE note_counts (        -- rows that were admitted, but are worth a word
    archive_id  INTEGER NOT NULL,
    note        TEXT NOT NULL,
    n           INTEGER NOT NULL,
    PRIMARY KEY (archive_id, note)
) WITHOUT ROWID;

CREATE TABLE leases (
    lease_id    INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id      INTEGER NOT NULL,
    host_id     INTEGER NOT NULL,
    lane        INTEGER NOT NULL,     -- -1: of a worker that was lost and may ask until expires_at
    lent_at     INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
);
-- The images that are lent. Their rows in image_rows stay as they were until they are settled (rows/lent.py).
CREATE TABLE lent (
    image_id  INTEGER PRIMARY KEY,
    lease_id  INTEGER NOT NULL
);

CREATE TABLE tallies (            -- images by host, status and error type
    host_id     INTEGER NOT NULL,
    status      TEXT NOT NULL,
    error_type  TEXT NOT NULL,    -- '' for none
    n           INTEGER NOT NULL,
    n_final     INTEGER NOT NULL DEFAULT 0,  -- of them: nothing more will be tried by itself
    size_bytes  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (host_id, status, error_type)
) WITHOUT ROWID;
CREATE TABLE record_tallies (
    status  TEXT PRIMARY KEY,
    n       INTEGER NOT NULL
) WITHOUT ROWID;

-- Bytes that a host sends for many images: `state` is placeholder, or allowed where somebody has said that they are none.
CREATE TABLE placeholders (
    host_id   INTEGER NOT NULL,
    sha256    BLOB NOT NULL,
    state     TEXT NOT NULL,
    n_marked  INTEGER NOT NULL,   -- images that were marked by it
    found_at  INTEGER NOT NULL,
    PRIMARY KEY (host_id, sha256)
) WITHOUT ROWID;
CREATE TABLE set_aside (          -- files of placeholders that still stand among the images
    image_id    INTEGER PRIMARY KEY,
    file_path   TEXT NOT NULL,
    file_offset INTEGER,
    file_size   INTEGER NOT NULL,
    sha256      BLOB NOT NULL
);

-- How the images of the next download are kept, and what names this ledger's shards (queue/shards.py).
CREATE TABLE store (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    kind   TEXT NOT NULL,         -- files, pack
    token  TEXT NOT NULL
);
-- Up to where a row names images of a shard: nothing before it may ever be cut.
CREATE TABLE shards (
    file_path   TEXT PRIMARY KEY,
    end_offset  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE page_samples (       -- what a host answers instead of images: the latest text per kind
    host_id     INTEGER NOT NULL,
    error_type  TEXT NOT NULL,
    image_id    INTEGER NOT NULL,
    seen_at     INTEGER NOT NULL,
    sample      TEXT NOT NULL,
    PRIMARY KEY (host_id, error_type)
) WITHOUT ROWID;

-- Statements that take long and are made in committed chunks: how far each has come. Gone when it has ended.
CREATE TABLE checkpoints (
    name      TEXT PRIMARY KEY,      -- finalize; root: the image root of the last run (questions/last_root.py); that stays
    run_id    INTEGER NOT NULL,      -- that wrote it: true as long as no other kind of run has owned the ledger since
    position  TEXT NOT NULL          -- JSON
) WITHOUT ROWID;
CREATE TABLE recounted_tallies (     -- what becomes of tallies when a recount (rows/rollup.py) has ended; empty else
    host_id     INTEGER NOT NULL,
    status      TEXT NOT NULL,
    error_type  TEXT NOT NULL,
    n           INTEGER NOT NULL,
    n_final     INTEGER NOT NULL DEFAULT 0,
    size_bytes  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (host_id, status, error_type)
) WITHOUT ROWID;
-- Migrations of this ledger to a newer version (file/migrations.py). One that is under way says how far it has come.
CREATE TABLE ledger_migrations (
    migration_id  INTEGER PRIMARY KEY,
    from_version  INTEGER NOT NULL,
    to_version    INTEGER NOT NULL,
    program       TEXT NOT NULL,      -- version of the d4c-images that did it
    backup        TEXT,               -- where the ledger was copied to before; NULL: nowhere
    began_at      INTEGER NOT NULL,
    finished_at   INTEGER,            -- NULL: under way, or interrupted; nobody else may use the ledger then
    at_version    INTEGER,            -- the step that is next: of the migration to this version ...
    at_step       INTEGER,            -- ... its number, from 0
    at_key        INTEGER             -- rows up to this key are done; NULL: none
);
-- Changes of images that have yet to be counted for the records that show them, because those are too many for one transaction
-- (queue/deferred.py). A change has been counted for the image's first record and for all others up to after_gbif_id.
CREATE TABLE record_changes (
    change_id      INTEGER PRIMARY KEY,
    image_id       INTEGER NOT NULL,
    n_success      INTEGER NOT NULL,  -- what is to be added to the counts of each record
    n_failed       INTEGER NOT NULL,
    changed_at     INTEGER NOT NULL,
    after_gbif_id  INTEGER NOT NULL
);
CREATE INDEX record_changes_by_image ON record_changes (image_id);
-- Images that stood for documents, whose records have yet to be linked with what the documents name; likewise.
CREATE TABLE link_changes (
    parent_id      INTEGER NOT NULL,
    after_gbif_id  INTEGER NOT NULL,  -- records with greater numbers,
    upto_gbif_id   INTEGER NOT NULL,  -- and no greater than this
    PRIMARY KEY (parent_id, after_gbif_id)
) WITHOUT ROWID;
-- Stored images for which images that stood for documents may wait (same_image), more than one transaction looks at.
CREATE TABLE follower_changes (
    image_id         INTEGER PRIMARY KEY,
    after_parent_id  INTEGER NOT NULL
);
-- What is remembered of a politeness group, once for all its hosts (queue/pacing.py). A host without a group has it in host_rows.
CREATE TABLE politeness_groups (
    name         TEXT PRIMARY KEY,
    width        REAL,                -- as in host_rows
    latency_s    REAL,
    narrowed_at  INTEGER,
    held_until   INTEGER,             -- unix time before which nobody asks any of its hosts: one of them has asked for it
    held_why     TEXT
) WITHOUT ROWID;

-- Hosts that answer different images with one page (policy/shut_door.py), and images that it has failed before that was understood.
CREATE TABLE shut_doors (
    host_id      INTEGER PRIMARY KEY,
    n_row        INTEGER NOT NULL,    -- images in a row that brought the page
    sign         TEXT,                -- d4c_images.model.Sign; NULL: none is known
    http_status  INTEGER NOT NULL,
    page         TEXT NOT NULL,       -- its readable text, up to 2,000 characters
    suspects     TEXT NOT NULL,       -- JSON: pairs of an image and the candidate that its attempt began with
    shut_at      INTEGER,             -- NULL: it is open, as far as is known
    n_probes     INTEGER NOT NULL,    -- since then, in vain
    named_until  INTEGER              -- the end of the latest wait that the host itself has named, which nobody lifts
);

-- What rows of publishers' archives say of their pictures, if a row elsewhere may belong to the same one (admission/joining.py).
CREATE TABLE picture_rows (
    row_id     INTEGER PRIMARY KEY,
    gbif_id    INTEGER NOT NULL,
    row_hash   INTEGER NOT NULL,  -- of `statement`
    key_hash   INTEGER NOT NULL,  -- of the key of the image that the row would be by itself
    image_id   INTEGER NOT NULL,  -- the image that it shows
    statement  TEXT NOT NULL      -- JSON: URLs, identifiers of the picture, variant, a digest of its titles
);
CREATE UNIQUE INDEX picture_rows_by_record ON picture_rows (gbif_id, row_hash);

-- Images that may be one, by what their records' rows say: `image_id` may become the `same_image` as the other (same_images.py).
CREATE TABLE joined_images (
    image_id   INTEGER NOT NULL,
    same_as    INTEGER NOT NULL,
    joined_at  INTEGER NOT NULL,
    PRIMARY KEY (image_id, same_as)
) WITHOUT ROWID;

-- The sums of `tallies` over all hosts. Triggers keep them, so whoever writes tallies need not think of them.
CREATE TABLE image_totals (
    status      TEXT NOT NULL,
    error_type  TEXT NOT NULL,
    n           INTEGER NOT NULL,
    n_final     INTEGER NOT NULL,
    size_bytes  INTEGER NOT NULL,
    PRIMARY KEY (status, error_type)
) WITHOUT ROWID;
CREATE TRIGGER tallies_insert AFTER INSERT ON tallies BEGIN
    INSERT INTO image_totals (status, error_type, n, n_final, size_bytes)
    VALUES (NEW.status, NEW.error_type, NEW.n, NEW.n_final, NEW.size_bytes)
    ON CONFLICT (status, error_type) DO UPDATE SET
        n = n + excluded.n, n_final = n_final + excluded.n_final, size_bytes = size_bytes + excluded.size_bytes;
END;
CREATE TRIGGER tallies_update AFTER UPDATE ON tallies BEGIN
    UPDATE image_totals SET n = n + NEW.n - OLD.n, n_final = n_final + NEW.n_final - OLD.n_final,
        size_bytes = size_bytes + NEW.size_bytes - OLD.size_bytes
    WHERE status = NEW.status AND error_type = NEW.error_type;
END;
CREATE TRIGGER tallies_delete AFTER DELETE ON tallies BEGIN
    UPDATE image_totals SET n = n - OLD.n, n_final = n_final - OLD.n_final, size_bytes = size_bytes - OLD.size_bytes
    WHERE status = OLD.status AND error_type = OLD.error_type;
END;

-- What tables of occurrences say of records (`init --labels`); the view `labels` shows it whole. Cells that records share stand
-- once: those of a taxon and those of a collection, found by a digest of them (admission/labels.py), and texts as everywhere.
CREATE TABLE label_rows (
    gbif_id                  INTEGER PRIMARY KEY,
    taxon_id                 INTEGER,   -- NULL: nothing is said
    shared_id                INTEGER,
    catalog_number           TEXT,
    occurrence_id            TEXT,
    event_date               TEXT,      -- as published: a day, a time, a year, an interval of ISO 8601
    decimal_latitude         REAL,      -- degrees
    decimal_longitude        REAL,
    coordinate_uncertainty_in_meters REAL,
    recorded_by_id           INTEGER,
    information_withheld_id  INTEGER,
    data_generalizations_id  INTEGER
);
CREATE TABLE label_taxa (
    taxon_id            INTEGER PRIMARY KEY,
    digest              BLOB NOT NULL UNIQUE,
    scientific_name     TEXT,
    taxon_key           TEXT,           -- keys of the checklist that `checklist_key` names
    accepted_taxon_key  TEXT,
    kingdom_key         TEXT,
    phylum_key          TEXT,
    class_key           TEXT,
    order_key           TEXT,
    family_key          TEXT,
    genus_key           TEXT,
    species_key         TEXT,
    family              TEXT,
    checklist_key       TEXT            -- NULL: nobody has said which it is
);
CREATE TABLE label_shared (
    shared_id         INTEGER PRIMARY KEY,
    digest            BLOB NOT NULL UNIQUE,
    basis_of_record   TEXT,
    dataset_key       TEXT,
    institution_code  TEXT,
    collection_code   TEXT,
    license           TEXT,             -- the record's own
    country_code      TEXT,
    country           TEXT,
    geodetic_datum    TEXT,
    type_status       TEXT,
    sex               TEXT,
    life_stage        TEXT
);

-- What checks have found: one row for each finished check, or part of one, of the last year (queue/verifications.py). Part k of n
-- has every n-th block of image numbers, from block k on.
CREATE TABLE verifications (
    check_id           TEXT PRIMARY KEY,  -- the result's own, so that it counts once
    began_at           INTEGER NOT NULL,
    ended_at           INTEGER NOT NULL,
    root               TEXT,              -- the image root; NULL: no file was looked at
    last_image_id      INTEGER NOT NULL,  -- the images up to this one; 0: none
    part               INTEGER NOT NULL,  -- the first one includes the ledger itself
    n_parts            INTEGER NOT NULL,  -- 1: the check was not divided
    block_ids          INTEGER NOT NULL,  -- image numbers in a block
    with_sha256        INTEGER NOT NULL,  -- 1: files were read and their SHA-256 compared; 0: presence and size alone
    with_decode        INTEGER NOT NULL,  -- 1: images were decoded
    sample             INTEGER,           -- one image of so many was read and decoded; NULL: each
    sample_turn        INTEGER NOT NULL,  -- which of the samples of this size; two of them have no image in common
    n_images           INTEGER NOT NULL,  -- stored images whose files were looked at
    n_read             INTEGER NOT NULL,  -- of them, those that were read
    n_decoded          INTEGER NOT NULL,
    n_findings         INTEGER NOT NULL,
    n_ledger_findings  INTEGER NOT NULL   -- of them, those in the ledger itself
) WITHOUT ROWID;
"""


def statements(script: str) -> Iterator[str]:
    """The single statements of a script; `executescript` would commit the open transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
