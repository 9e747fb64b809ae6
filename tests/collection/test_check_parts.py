"""Parts and samples of a check: disjoint, together everything, whatever is added in between; and their results, joined."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_images.collection import check_parts, check_state
from d4c_images.collection.check import CheckOptions, CheckReport, check
from d4c_images.collection.check_parts import ImageSample, Part, sample_of
from d4c_images.collection.check_results import check_results, findings_of, forget, joined
from d4c_images.collection.findings import Finding, Reason
from d4c_images.errors import Stopped, UsageError
from d4c_images.ledger.file.reader import open_reader
from tests.collection.test_check import SHARD, collection, missing, packed, run_check, stray, wrong_record
from tests.support.program import Collection
from tests.support.sample_ledger import SAMPLES

__all__ = ["collection", "packed"]

N = 3


def check_part(collection: Collection, k: int, n: int = N, **options: Any) -> tuple[CheckReport, list[Finding]]:
    found: list[Finding] = []
    with open_reader(collection.ledger) as ledger:
        report = check(ledger, collection.root, CheckOptions(part=Part(k, n), **options), found=found.append)
    return report, found


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_parts, "BLOCK_IDS", 2)


@given(st.integers(1, 12), st.integers(0, 40_000), st.integers(0, 40_000))
def test_parts_are_disjoint_and_together_they_are_all_images(n: int, top: int, later: int) -> None:
    blocks = sorted(block for k in range(1, n + 1) for block in Part(k, n).blocks(0, top, 5_000))
    ids = [image_id for low, upto in blocks for image_id in range(low + 1, min(upto, top) + 1)]
    assert ids == list(range(1, top + 1))
    assert sum(Part(k, n).n_upto(top) for k in range(1, n + 1)) == top
    for k in range(1, n + 1):
        of_now, of_later = (set(Part(k, n).blocks(0, number, 5_000)) for number in (top, top + later))
        assert n == 1 or of_now <= of_later, "an image stays in its part when others are added"


@given(st.integers(1, 12), st.integers(1, 30_000))
def test_a_part_goes_on_after_any_of_its_blocks(n: int, top: int) -> None:
    for k in range(1, n + 1):
        blocks = list(Part(k, n).blocks(0, top, 5_000))
        for at, (_, upto) in enumerate(blocks):
            assert list(Part(k, n).blocks(upto, top, 5_000)) == blocks[at + 1 :]


@given(st.lists(st.text("0123456789", min_size=1, max_size=3), min_size=1, max_size=4), st.integers(1, 12))
def test_a_folder_is_in_one_part_with_all_that_is_below_its_second_level(names: list[str], n: int) -> None:
    prefix = "".join(f"{name}/" for name in names)
    parts = [k for k in range(1, n + 1) if Part(k, n).has_folder(prefix)]
    assert len(parts) == 1
    assert len(names) < 2 or Part(parts[0], n).has_folder("/".join(names[:2]) + "/")


@pytest.mark.parametrize("n", [1, 2, 3, 100])
def test_samples_are_disjoint_together_all_images_and_of_about_one_size(n: int) -> None:
    turns = [{image_id for image_id in range(1, 10_001) if ImageSample(n, turn).has(image_id)} for turn in range(n)]
    assert sum(map(len, turns)) == len(set().union(*turns)) == 10_000
    assert all(0.5 < len(turn) * n / 10_000 < 1.5 for turn in turns)


@pytest.mark.parametrize("text", ["", "3", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "1/1000000", "a/b"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="part such as 3/30"):
        Part.parse(text)


def test_a_sample_is_a_share_in_per_cent() -> None:
    assert [sample_of(text) for text in ("1%", "0.5%", "100%", "30 %", "70%")] == [100, 200, 1, 3, 1]
    for text in ("", "1", "0%", "101%", "-1%", "1/100"):
        with pytest.raises(UsageError, match="share such as"):
            sample_of(text)


@pytest.mark.usefixtures("small_blocks")
def test_the_parts_of_a_check_find_what_the_whole_finds_each_once(collection: Collection) -> None:
    missing(collection)
    stray(collection)
    wrong_record(collection)
    for name in ("a", "b", "c", "100/x", "100/000/y", "77/z"):
        (collection.root / name).write_bytes(b"")
    whole, found = check_part(collection, 1, 1)
    parts = [check_part(collection, k) for k in range(1, N + 1)]
    assert sorted(map(repr, found)) == sorted(repr(finding) for _, some in parts for finding in some)
    for number in ("n_images", "n_files", "n_records"):
        assert sum(getattr(report, number) for report, _ in parts) == getattr(whole, number)
    assert [report.n_images for report, _ in parts] == [2, 2, 0]
    assert parts[1][0].images_by_status == {}, "the ledger is the first part's"


def test_shards_are_dealt_out_one_by_one(packed: Collection) -> None:
    for number in range(1, 8):
        (packed.root / SHARD.replace("000000.tar", f"{number:06d}.tar")).write_bytes((packed.root / SHARD).read_bytes())
    reports = [check_part(packed, k)[0] for k in range(1, N + 1)]
    assert sum(report.n_packed for report in reports) == 8 * 4
    assert all(report.n_packed for report in reports)


@pytest.mark.usefixtures("small_blocks")
def test_results_of_parts_stay_next_to_the_ledger_and_are_joined(collection: Collection) -> None:
    missing(collection)
    arguments = ("--part", f"1/{N}", "--sha256")
    code, output, complaint = run_check(collection, *arguments)
    assert (code, output.split("\t")[0]) == (1, "file_missing")
    assert f"1 of {N} parts of this check are done; missing: 2-3" in complaint
    assert run_check(collection, "--summary")[0] == 1, "findings are more urgent than missing parts"
    for k in (2, 3):
        code, output, complaint = run_check(collection, "--part", f"{k}/{N}", "--sha256")
        assert (code, output) == (0, "")
    assert "'d4c-images check --summary' joins their results" in complaint
    assert len(check_results(collection.ledger)) == N
    run_check(collection, "--part", f"2/{N}"), "another check, without hashes"
    results = check_results(collection.ledger)
    parts = joined(results, results[0])
    assert parts is not None
    assert (parts.missing, parts.counts, parts.total("n_images")) == ((), {Reason.FILE_MISSING: 1}, 4)
    assert [finding.subject for finding in findings_of(parts.results[0])] == [SAMPLES[0].path]
    last = joined(results)
    assert last is not None
    assert (last.missing, last.ok) == ((1, 3), True)


@pytest.mark.usefixtures("small_blocks")
def test_a_summary_ends_with_75_while_parts_are_missing_and_with_0_when_all_are_clean(collection: Collection) -> None:
    assert run_check(collection, "--summary")[0] == 2, "there is no result"
    run_check(collection, "--part", "2/2")
    code, output, complaint = run_check(collection, "--summary")
    assert (code, output) == (75, "")
    assert "1 of 2 are done; missing: 1" in complaint
    run_check(collection, "--part", "1/2")
    code, output, _ = run_check(collection, "--summary", "--json")
    values = json.loads(output)
    assert (code, values["ok"], values["parts_done"], values["parts_missing"]) == (0, True, [1, 2], [])
    assert (values["n_images"], values["images_by_status"]["success"]) == (4, 4)


def test_a_result_is_replaced_by_the_next_one_of_the_same_check_and_forgotten_once(collection: Collection) -> None:
    check_part(collection, 1, 1)
    [first] = check_results(collection.ledger)
    check_part(collection, 1, 1)
    [second] = check_results(collection.ledger)
    assert first.ended_at < second.ended_at
    forget([first])
    assert check_results(collection.ledger) == [second], "what nobody has taken over stays"
    forget([second])
    assert check_results(collection.ledger) == []


def test_a_file_that_is_no_result_is_left_out(collection: Collection) -> None:
    check_part(collection, 1, 1)
    for name, text in (("1", ""), ("2", "{}\n"), ("3", "no JSON\n"), ("4", "[]\n")):
        Path(f"{collection.ledger}.check.1of1.{name}.jsonl").write_text(text)
    assert len(check_results(collection.ledger)) == 1


def test_samples_take_turns_until_all_images_have_been_read(collection: Collection) -> None:
    read = []
    for _ in range(3):
        report = check_part(collection, 1, 1, sha256=True, sample=3)[0]
        assert report.n_images == 4, "names and sizes of all are checked"
        read.append((report.scope.sample_turn, report.n_read))
    assert [turn for turn, _ in read] == [0, 1, 2]
    assert sum(n for _, n in read) == 4
    assert check_part(collection, 1, 1, sha256=True, sample=3)[0].scope.sample_turn == 0


def test_a_stopped_sample_is_the_next_one_again(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_state, "SAVE_EVERY_S", 0.0)

    def stop(progress: object) -> None:
        raise Stopped("a signal came")

    check_part(collection, 1, 1, sha256=True, sample=3)
    options = CheckOptions(sha256=True, sample=3)
    with open_reader(collection.ledger) as ledger, pytest.raises(Stopped):
        check(ledger, collection.root, options, stop)
    assert check_part(collection, 1, 1, sha256=True, sample=3)[0].scope.sample_turn == 1


def test_a_sample_implies_hashes_unless_images_are_decoded(collection: Collection) -> None:
    for arguments, of_sample in (((), (True, False)), (("--decode",), (False, True))):
        _, output, _ = run_check(collection, "--sample", "100%", "--json", *arguments)
        summary = json.loads(output.splitlines()[-1])
        assert (summary["sha256"], summary["decode"]) == of_sample


def test_two_equal_checks_at_one_time_do_not_mix_their_findings(collection: Collection) -> None:
    missing(collection)
    inner: list[Finding] = []
    outer: list[Finding] = []

    def at_the_same_time(progress: object) -> None:
        if not inner:
            with open_reader(collection.ledger) as ledger:
                check(ledger, collection.root, found=inner.append)

    with open_reader(collection.ledger) as ledger:
        check(ledger, collection.root, progress=at_the_same_time, found=outer.append)
    assert [finding.reason for finding in inner] == [finding.reason for finding in outer] == [Reason.FILE_MISSING]
    [result] = check_results(collection.ledger)
    assert list(findings_of(result)) == outer


def test_old_files_of_checks_are_swept(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    old = [Path(f"{collection.ledger}.check.1of9.0123abcd.{ending}") for ending in ("state", "found", "state.4711.new")]
    legacy, result = Path(f"{collection.ledger}.check"), Path(f"{collection.ledger}.check.1of9.0123abcd.jsonl")
    for path in (*old, legacy, result):
        path.write_text("{}")
    check_part(collection, 1, 1)
    assert [path.exists() for path in (*old, legacy, result)] == [True, True, True, False, True]
    monkeypatch.setattr(check_state, "MAX_AGE_S", -1.0)
    check_part(collection, 1, 1)
    assert [path.exists() for path in (*old, result)] == [False, False, False, True]
