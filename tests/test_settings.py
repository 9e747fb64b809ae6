"""Settings: precedence, messages about bad values, and that secrets stay secret."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from d4c_images.errors import UsageError
from d4c_images.settings import NAMES, Job, Scheduler, Settings, granted_cores, load_settings

PROJECT = Path(__file__).parent.parent


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_without_anything(tmp_path: Path) -> None:
    settings = load_settings({"NSLOTS": "3"}, tmp_path / "none")
    assert settings == Settings(processes=3)


def test_environment_beats_env_file_beats_defaults(tmp_path: Path) -> None:
    env_file = write(tmp_path / ".env", "D4C_LEDGER=from-file\nD4C_ROOT='/images of mine'\nD4C_PROCESSES=7\n")
    settings = load_settings({"D4C_LEDGER": "from-environment", "D4C_ROOT": ""}, env_file)
    assert settings.ledger == Path("from-environment")
    assert settings.root == Path("/images of mine")
    assert settings.processes == 7
    assert settings.hosts_file is None


def test_home_is_expanded(tmp_path: Path) -> None:
    assert load_settings({"D4C_LEDGER": "~/x"}, tmp_path / "none").ledger == Path.home() / "x"


def test_dollar_signs_are_taken_as_they_stand(tmp_path: Path) -> None:
    env_file = write(tmp_path / ".env", "D4C_ROOT=/a/${HOME}/b\n")
    assert load_settings({}, env_file).root == Path("/a/${HOME}/b")


@pytest.mark.parametrize(
    ("environ", "cores"),
    [({"NSLOTS": "4", "SLURM_CPUS_PER_TASK": "8"}, 4), ({"SLURM_CPUS_PER_TASK": "8"}, 8), ({"NSLOTS": ""}, None)],
)
def test_granted_cores(environ: dict[str, str], cores: int | None) -> None:
    assert granted_cores(environ) == cores if cores else granted_cores(environ) >= 1


@pytest.mark.parametrize(
    ("environ", "job"),
    [
        ({"JOB_ID": "77", "SGE_TASK_ID": "undefined"}, Job(Scheduler.SGE, "77")),
        ({"JOB_ID": "77", "SGE_TASK_ID": "3"}, Job(Scheduler.SGE, "77", "3")),
        ({"JOB_ID": "77"}, None),
        ({"SLURM_JOB_ID": "8"}, Job(Scheduler.SLURM, "8")),
        ({"SLURM_JOB_ID": "8", "SLURM_JOB_END_TIME": "1800000000"}, Job(Scheduler.SLURM, "8", end_at=1.8e9)),
        ({"SLURM_JOB_ID": "8", "SLURM_JOB_END_TIME": "?"}, Job(Scheduler.SLURM, "8")),
        ({"SLURM_JOB_ID": "8", "SLURM_ARRAY_JOB_ID": "8", "SLURM_ARRAY_TASK_ID": "3"}, Job(Scheduler.SLURM, "8_3")),
        ({}, None),
    ],
)
def test_the_job_is_read_from_each_schedulers_variables(environ: dict[str, str], job: Job | None, tmp_path: Path) -> None:
    settings = load_settings(environ, tmp_path / "none")
    assert settings.job == job
    assert settings.job_id == (job and (f"{job.job_id}.{job.task_id}" if job.task_id else job.job_id))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("D4C_PROCESSES", "many"),
        ("D4C_PROCESSES", "0"),
        ("D4C_PROCESSES", "-1"),
        ("D4C_PROCESSES", "²"),
        ("NSLOTS", "x"),
        ("D4C_CONTACT", "me@example.org\r\nX-Evil: 1"),
        ("SLACK_WEBHOOK_URL", "hooks.slack.com/services/T0/B0/s3cret"),
        ("D4C_LEDGER", "~nobody-of-this-name/x"),
    ],
)
def test_a_bad_value_is_a_usage_error_that_names_it(name: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=name) as caught:
        load_settings({name: value}, tmp_path / "none")
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_misspelt_name_in_the_env_file_is_an_error(tmp_path: Path) -> None:
    env_file = write(tmp_path / ".env", "OTHER_PROGRAM=1\nD4C_LEGDER=x\n")
    with pytest.raises(UsageError, match="D4C_LEGDER"):
        load_settings({}, env_file)


def test_an_unreadable_env_file_is_a_usage_error(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_bytes(b"D4C_ROOT=\xff\xfe\n")
    with pytest.raises(UsageError, match=re.escape(str(env_file))):
        load_settings({}, env_file)


def test_the_webhook_is_not_in_repr(tmp_path: Path) -> None:
    settings = load_settings({"SLACK_WEBHOOK_URL": "https://hooks.example.org/s3cret"}, tmp_path / "none")
    assert settings.slack_webhook_url == "https://hooks.example.org/s3cret"
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in str(settings)


def test_env_example_lists_exactly_the_settings() -> None:
    text = (PROJECT / ".env.example").read_text(encoding="utf-8")
    assert re.findall(r"^(\w+)=", text, re.MULTILINE) == list(NAMES)
    assert set(NAMES.values()) == {field.name for field in dataclasses.fields(Settings)} - {"job"}
    for block in text.split("\n\n")[1:]:
        assert block.startswith("# "), f"a setting without a comment: {block}"
    # What it shows as values are the defaults.
    assert load_settings({"NSLOTS": "1"}, PROJECT / ".env.example") == Settings()
