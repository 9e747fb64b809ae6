"""`check`: how many processes it starts."""

from __future__ import annotations

import argparse

import pytest

from d4c_images.commands import check
from d4c_images.commands.arguments import Subparsers
from d4c_images.settings import Settings


def n_processes(n_cores: int, *words: str) -> int:
    parser = argparse.ArgumentParser()
    subparsers: Subparsers = parser.add_subparsers()
    settings = Settings(processes=n_cores)
    check.add(subparsers, settings)
    return check._options(parser.parse_args(["check", *words]), settings).n_processes


@pytest.mark.parametrize(
    ("n_cores", "words", "n"),
    [
        (2, (), 2),
        (8, ("--sha256",), 8),
        (64, ("--sha256",), 8),
        (64, ("--sample", "1%"), 8),
        (64, ("--decode",), 64),  # takes CPU, and memory of images anyway
        (64, ("--processes", "32"), 32),
        (2, ("--processes", "32", "--sha256"), 32),
    ],
)
def test_a_check_starts_a_process_per_core_but_few_if_it_only_reads(n_cores: int, words: tuple[str, ...], n: int) -> None:
    assert n_processes(n_cores, *words) == n
