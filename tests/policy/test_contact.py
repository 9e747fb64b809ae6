"""The User-Agent and its contact: what publishers see, and which contacts are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from d4c_images import __version__
from d4c_images.cli import main
from d4c_images.errors import UsageError
from d4c_images.policy import contact
from d4c_images.policy.contact import Contact, read, user_agent
from tests.publishers.client import Publishers
from tests.support.program import Collection, multimedia, reach


@pytest.mark.parametrize(
    ("text", "mail"),
    [
        ("you@example.edu", "you@example.edu"),
        ("mailto:you@example.edu", "you@example.edu"),
        ("first.last+images@dept.a-museum.org", "first.last+images@dept.a-museum.org"),
        ("you@xn--mller-kva.example", "you@xn--mller-kva.example"),
        ("https://example.edu", None),
        ("https://www.example.edu/~you/images?lang=en#contact", None),
        ("HTTP://example.edu:8080/", None),
    ],
)
def test_what_is_a_contact(text: str, mail: str | None) -> None:
    assert read(text) == Contact(text, mail)


@pytest.mark.parametrize(
    "text",
    [
        "not a mail", "you", "you@localhost", "you@example", "@example.edu", "you@", "you@@example.edu", "you@example..edu",
        "you at example.edu", "You <you@example.edu>", "you@example.edu, me@example.edu", "me, you@example.edu", "yöu@example.edu",
        "you@museum.münchen.de", "www.example.edu", "https://", "https://localhost/", "https://127.0.0.1/", "ftp://example.edu/",
        "https://example.edu/a b", "https://example.edu/(a)", "https://example.edu/ä", "you@example.edu)", "mailto:",
        "you@127.0.0.1", "you@example.edu\u00a0",
    ],
)  # fmt: skip
def test_what_is_none_is_a_usage_error_that_says_what_to_write(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(text)
    message = str(caught.value)
    assert all(part in message for part in ("D4C_CONTACT", repr(text), "you@example.edu", "https://example.edu/images", "blocking"))
    assert "\n" not in message


def test_the_user_agent_names_program_version_contact_and_project(monkeypatch: pytest.MonkeyPatch) -> None:
    program, me = f"d4c-images/{__version__}", read("you@example.edu")
    assert contact.PROJECT_URL == "" or contact.PROJECT_URL.startswith("https://")
    for page, who, expected in (
        ("", None, program),
        ("", me, f"{program} (+you@example.edu)"),
        ("https://project.example", None, f"{program} (+https://project.example)"),
        ("https://project.example", me, f"{program} (+https://project.example; you@example.edu)"),
    ):
        monkeypatch.setattr(contact, "PROJECT_URL", page)
        assert user_agent(who) == expected


def test_a_malformed_contact_is_refused_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only by the command that asks publishers: `status` finds no ledger here, and says no more."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("D4C_CONTACT", "not a mail")
    assert main(["download"]) == 2
    assert "D4C_CONTACT='not a mail' is neither" in capsys.readouterr().err
    assert main(["status"]) == 2
    assert "D4C_CONTACT" not in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_missing_contact_is_said_once_and_before_the_first_request(tmp_path: Path, publishers: Publishers) -> None:
    collection = Collection(tmp_path, {"D4C_CONTACT": ""})
    collection.load(multimedia(tmp_path / "multimedia.txt", [(1, "http://a.example.org/1.jpg")]))
    first, *others = collection.run("download", *reach(publishers)).splitlines()
    assert first == contact.NO_CONTACT
    assert not any("D4C_CONTACT" in line for line in others)
    reached = Collection(tmp_path, {"D4C_CONTACT": "you@example.edu"})
    assert "D4C_CONTACT" not in reached.run("download", *reach(publishers))
