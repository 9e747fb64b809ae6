"""The campaign of healthy files: a small one of it ends without a finding, and it sees one that is planted."""

from __future__ import annotations

import http.client
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.healthy import made
from tests.healthy.campaign import HealthyCampaign, Options
from tests.publishers.client import Publishers
from tests.support.patience import PATIENCE_S
from tests.support.program import Collection, figures_of

SEED = 1
SMALL = Options(SEED, images=240, downloaded=120, kills=2, refetched=4, placeholder_records=4)


def test_what_is_stored_beforehand_is_what_the_publishers_send(tmp_path: Path, publishers: Publishers) -> None:
    collection = Collection(tmp_path)
    made.make(collection, 30, 10, publishers)
    assert collection.rows("SELECT status, count(*) FROM images GROUP BY 1") == [("pending", 10), ("success", 30)]
    kinds = set()
    for gbif_id, path in collection.rows("SELECT gbif_id, file_path FROM images WHERE status = 'success'"):
        url = urlsplit(made.stored_url((int(str(gbif_id)) - made.FIRST_ID) // made.STEP))
        connection = http.client.HTTPConnection("127.0.0.1", publishers.port, timeout=PATIENCE_S)
        connection.request("GET", url.path, headers={"Host": url.netloc})
        assert connection.getresponse().read() == collection.body(path, None, None), path
        connection.close()
        kinds.add(Path(str(path)).suffix)
    assert kinds == {".jpg", ".png", ".gif"}
    collection.check_invariants()


def test_at_least_one_image_is_downloaded_and_one_is_not() -> None:
    with pytest.raises(ValueError, match="some images are downloaded"):
        Options(SEED, images=10, downloaded=10)


@pytest.mark.slow
def test_a_finding_is_reported_as_a_false_one(tmp_path: Path, publishers: Publishers) -> None:
    said: list[str] = []
    campaign = HealthyCampaign(SMALL, tmp_path, publishers, said.append)
    made.make(campaign.collection, 30, 10, publishers)
    (campaign.collection.root / "stranger.txt").write_text("of nobody")
    campaign._judge((), campaign._start_check(()))
    assert campaign.figures.false == ["check : untracked stranger.txt no row refers to this file"]
    assert campaign.figures.trouble == []
    assert said[0].startswith("FALSE: check : untracked stranger.txt")


@pytest.mark.slow
def test_a_check_and_a_download_that_fail_are_reported(tmp_path: Path, publishers: Publishers) -> None:
    campaign = HealthyCampaign(SMALL, tmp_path, publishers, lambda line: None)
    campaign._judge((), campaign._start_check(()))  # there is no ledger
    campaign._downloads()
    of_check, of_download = campaign.figures.trouble
    assert of_check.startswith("check  ended with 2: ")
    assert of_download.startswith("the download: ")
    assert campaign._is_over.is_set(), "the checks do not go on for ever"


@pytest.mark.slow
def test_a_small_campaign_has_no_false_finding(tmp_path: Path, publishers: Publishers) -> None:
    figures = HealthyCampaign(SMALL, tmp_path, publishers, lambda line: None).run()
    assert (figures.false, figures.trouble) == ([], [])
    assert figures.checks > 2
    assert figures.rounds.total() == SMALL.kills + 2
    assert figures.rounds["pack"] >= 1
    assert figures.rounds["files"] >= 1
    rows = Collection(tmp_path).rows
    assert rows("SELECT DISTINCT status FROM images ORDER BY 1") == [("failed_permanent",), ("success",)]
    assert rows("SELECT count(*) FROM former_images")[0] > (0,)


@pytest.mark.slow
def test_it_ends_with_one_object_of_json() -> None:
    figures = figures_of("tests.healthy", SEED, "--images", "60", "--downloaded", "24", "--kills", "1")
    assert (figures["campaign"], figures["seed"], figures["images"], figures["false_findings"]) == ("healthy", SEED, 60, 0)
