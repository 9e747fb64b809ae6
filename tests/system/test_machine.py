"""Resources of the machine: memory, disk space, trusted certificates."""

from __future__ import annotations

import os
from pathlib import Path

import certifi
import pytest

from d4c_images.errors import UsageError
from d4c_images.system import certificates, disk_room, memory

GIB = 1 << 30
MEMINFO = "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8388608 kB\n"  # 8 GiB


def machine(folder: Path, groups: str, **values: str) -> int | None:
    """What is available where these files say so; `a__b` is the file b of the group a."""
    (folder / "meminfo").write_text(MEMINFO)
    (folder / "cgroup").write_text(groups)
    for name, value in values.items():
        file = folder / "fs" / name.replace("__", "/").replace("_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value)
    return memory.available(folder / "meminfo", folder / "cgroup", folder / "fs")


def test_the_machine_alone(tmp_path: Path) -> None:
    assert machine(tmp_path, "0::/\n") == 8 * GIB


def test_a_jobs_limit_may_be_that_of_an_outer_group(tmp_path: Path) -> None:
    """As Slurm's: the limit is the job's, and the process is in the step's task."""
    found = machine(
        tmp_path, "0::/job/step/task\n", job__step__task__memory_max="max", job__step__task__memory_current="7",
        job__memory_max=str(4 * GIB), job__memory_current=str(GIB),
    )  # fmt: skip
    assert found == 3 * GIB


def test_groups_of_the_old_kind(tmp_path: Path) -> None:
    folder = tmp_path / "fs" / "memory" / "job"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text(str(2 * GIB))
    (folder / "memory.usage_in_bytes").write_text("0")
    assert machine(tmp_path, "12:pids:/job\n9:memory:/job\n1:name=systemd:/job\n") == 2 * GIB


def test_more_is_used_than_is_granted(tmp_path: Path) -> None:
    assert machine(tmp_path, "0::/job\n", job__memory_max="5", job__memory_current="6") == 0


def test_nobody_says(tmp_path: Path) -> None:
    assert memory.available(tmp_path / "none", tmp_path / "none", tmp_path) is None


def test_the_room_of_a_folder_that_is_still_to_be_made(tmp_path: Path) -> None:
    found, here = disk_room.room(tmp_path / "a" / "b"), os.statvfs(tmp_path)
    assert abs(found.free_bytes - here.f_bavail * here.f_frsize) < 10**9, "others write there, too"
    assert not (tmp_path / "a").exists()


def test_a_file_systems_time_leaves_no_file(tmp_path: Path) -> None:
    before = tmp_path.stat().st_mtime
    assert disk_room.time_of(tmp_path) >= before
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="No such file"):
        disk_room.time_of(tmp_path / "none")


def test_certificates_are_counted() -> None:
    assert certificates.n_roots(Path(certifi.where())) > 50
    assert certificates.n_roots(certificates.bundle()) >= 1


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_certificates_that_are_none(text: str, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text(text)
    with pytest.raises(UsageError, match="no certificate in it"):
        certificates.n_roots(certificates.bundle(bundle))


def test_a_bundle_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file of CA certificates"):
        certificates.bundle(tmp_path / "none.pem")


def test_without_a_bundle_of_the_machine_there_is_that_of_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(certificates, "PLACES", ())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    assert certificates.bundle() == Path(certifi.where())
