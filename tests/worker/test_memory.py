"""Memory of a whole run, steward and workers together, while servers send the largest pictures they can. Asserts one bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ingest.test_ingest_memory import Watch
from tests.publishers.client import Publishers
from tests.support.patience import PATIENCE_S
from tests.support.program import Collection, multimedia, reach

WORKERS = 2
MAX_BYTES = 150_000_000 + WORKERS * 100_000_000
LARGE = (  # half are decoded
    *("tiff_large", "jpeg_large:5300", "drip", "ok", "jpeg_large", "webp_bomb", "png_bomb", "endless"),
    "manifest_bomb:14",
)


@pytest.mark.slow
def test_whatever_is_sent_memory_stays_within_the_bound(publishers: Publishers, tmp_path: Path) -> None:
    publishers.behave(*(f"large-{number}.test={name}" for number, name in enumerate(LARGE)))
    rows = [(1_000_000_000 + n, f"http://large-{n % len(LARGE)}.test/{n}.jpg") for n in range(3 * len(LARGE))]
    collection = Collection(tmp_path)
    collection.load(multimedia(tmp_path / "multimedia.txt", rows))
    process = collection.start(
        "download", *reach(publishers), "--processes", WORKERS, "--max-attempts", 1, "--max-size", 20_000_000,
    )  # fmt: skip
    with Watch(process.pid) as watch:
        output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    print(f"{watch.most_bytes / 1e6:.0f} MB at most, of {MAX_BYTES / 1e6:.0f}")
    assert 60_000_000 < watch.most_bytes < MAX_BYTES
    found = dict(collection.rows("SELECT coalesce(error_type, status), count(*) FROM images GROUP BY 1"))
    assert found == {"success": 12, "partly_read": 6, "too_large": 6, "manifest_error": 3}
