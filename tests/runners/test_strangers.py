"""Coordinators and workers of other versions, with unusable Dask settings, or that start when the download is over."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from d4c_images.commands import download
from d4c_images.errors import D4CError, UsageError
from d4c_images.runners import dask_check
from d4c_images.runners.rendezvous import INVITATION, OVER, Invitation, MeetingPlace
from d4c_images.runners.worker_pool import Crew, Exit, PoolEnding, PoolTerms
from tests.cluster.nodes import start_workers
from tests.support.patience import PATIENCE_S

OTHER = Invitation("1", "a ledger", "9.9.9", "tls://127.0.0.1:1", "certificate", "key")


@pytest.fixture
def place(tmp_path: Path) -> MeetingPlace:
    return MeetingPlace(tmp_path / "cluster")


def ended(job: subprocess.Popen[str], code: int) -> list[str]:
    output, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == code, output
    assert "Traceback" not in output
    assert "internal error" not in output
    return output.splitlines()


def crew(place: MeetingPlace, over_before: str | None = None) -> Crew:
    """Without workers."""
    return Crew(0, PoolTerms(place.folder, 1.0, 1.0, over_before))


# -- other versions


def write_otherwise(place: MeetingPlace, **values: str) -> None:
    """As a version would that writes invitations otherwise."""
    (place.folder / INVITATION).write_text(json.dumps({**asdict(OTHER), **values, "new": "field"}))


@pytest.mark.slow
def test_an_invitation_that_is_written_otherwise_is_another_versions(place: MeetingPlace) -> None:
    write_otherwise(place)
    (line,) = ended(start_workers(place.folder, "--processes", 3), 1)
    assert "the coordinator runs d4c-images 9.9.9, this worker " in line


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[]", b"{", b""])
def test_an_invitation_that_nobody_of_ours_has_written(content: bytes, place: MeetingPlace) -> None:
    (place.folder / INVITATION).write_bytes(content)
    with pytest.raises(D4CError, match="was not written by d4c-images"):
        place.invitation()


def test_what_a_dead_coordinator_of_another_version_has_left_hinders_nobody(place: MeetingPlace) -> None:
    write_otherwise(place)
    place.invite(OTHER)
    assert place.invitation() == OTHER
    write_otherwise(place, ledger="another ledger")
    with pytest.raises(UsageError, match="belongs to another ledger"):
        place.invite(OTHER)
    place.withdraw("1")
    assert place.invitation() is None


def test_all_workers_of_another_version_are_one_line(place: MeetingPlace) -> None:
    place.invite(OTHER)
    with pytest.raises(D4CError, match=r"the coordinator runs d4c-images 9\.9\.9, this worker \d.* on all nodes$"):
        crew(place)._ending(Exit.OTHER_VERSION)


# -- Dask's settings


@pytest.mark.parametrize("value", ["soon", None, -1, {"a": 1}])
def test_a_setting_that_dask_cannot_use_is_named(value: object) -> None:
    import dask

    with dask.config.set({"distributed.scheduler.worker-ttl": value}), pytest.raises(UsageError, match="worker-ttl"):
        dask_check.check()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["a file", "a value"])
def test_nonsense_in_dasks_settings(what: str, place: MeetingPlace, tmp_path: Path) -> None:
    (tmp_path / "dask").mkdir()
    (tmp_path / "dask/site.yaml").write_text("distributed: [unclosed\n" if what == "a file" else "")
    environ = {"DASK_CONFIG": str(tmp_path / "dask")}
    if what == "a value":
        environ["DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL"] = "soon"
    (line,) = ended(start_workers(place.folder, "--processes", 3, environ=environ), 2)
    assert "invalid Dask configuration" in line


# -- folders that cannot be written


@pytest.fixture
def read_only(place: MeetingPlace, monkeypatch: pytest.MonkeyPatch) -> Iterator[MeetingPlace]:
    """The tests may run as root, whom no mode of a folder stops."""

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    place.invite(OTHER)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        patched.setattr(Path, "rename", refuse)
        yield place


def test_a_cluster_folder_that_cannot_be_written(read_only: MeetingPlace, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(D4CError, match=r"cluster/over cannot be removed: Permission denied"):
        read_only.invite(OTHER)
    read_only.withdraw(OTHER.run)  # ends no run
    download._send_home(read_only.folder)  # nor does this: the work is done
    assert "cannot tell the workers" in capsys.readouterr().err


# -- how workers end


@pytest.mark.parametrize("code", [Exit.UNFIT, Exit.AGAIN, Exit.IDLE, Exit.OTHER_VERSION, 1, -9])
def test_whatever_becomes_of_a_worker_whose_coordinator_has_ended_well(code: int, place: MeetingPlace) -> None:
    place.say_over("2")
    assert crew(place, over_before="1")._ending(code) is PoolEnding.OVER


@pytest.mark.slow
def test_workers_that_come_when_all_is_over_end_well(place: MeetingPlace) -> None:
    """They wait for a while: a new coordinator may start."""
    place.say_over("1")
    lines = ended(start_workers(place.folder, "--processes", 1, "--max-wait", "1s"), 0)
    (line,) = lines
    assert line.endswith(" 1 worker ends: no coordinator appeared since the last one found nothing left")
    (place.folder / OVER).unlink()
    ended(start_workers(place.folder, "--processes", 1, "--max-wait", "1s"), 75)
