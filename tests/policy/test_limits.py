"""Limits of a host: the presets, the hosts file, and which entry applies to a name."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from d4c_images.errors import UsageError
from d4c_images.policy.limits import HostLimits, HostTable, LimitBook, parse_hosts


def presets_text() -> str:
    return (resources.files("d4c_images") / "hosts.toml").read_text(encoding="utf-8")


def test_presets_read_and_name_their_sources() -> None:
    presets = parse_hosts(presets_text())
    assert presets.default == HostLimits(connections=2)
    assert presets.limits("inaturalist-open-data.s3.amazonaws.com").connections > 2
    assert presets.limits("www.tropicos.org").connections == 1
    assert presets.limits("api.gbif.org").connections == 1
    for host in presets.hosts:
        assert presets.limits(host).source, host


def test_hosts_by_name_suffix_and_default() -> None:
    table = parse_hosts(
        """
        [default]
        min_interval_s = 0.5
        [hosts."*.example.org"]
        connections = 3
        [hosts."media.example.org"]
        connections = 5
        group = "example"
        [hosts."*.media.example.org"]
        bytes_per_s = 5000
        [hosts."h.org:8080"]
        connections = 7
        """
    )
    assert table.limits("other.net") == HostLimits(min_interval_s=0.5)
    assert table.limits("a.b.example.org") == HostLimits(connections=3, min_interval_s=0.5)
    assert table.limits("Media.Example.org") == HostLimits(connections=5, min_interval_s=0.5, group="example")
    assert table.limits("media.example.org:8080").connections == 5
    below = HostLimits(connections=3, min_interval_s=0.5, bytes_per_s=5000)
    assert table.limits("x.media.example.org") == below, "each value from the most particular entry that has it"
    assert table.limits("example.org").connections == 2, "the wildcard stands for the hosts below"
    assert table.limits("notexample.org").connections == 2
    assert table.limits("h.org:8080").connections == 7
    assert table.limits("h.org").connections == 2
    assert table.limits("[2001:db8::1]:8080").connections == 2


@pytest.mark.parametrize("order", [("media*.example.org", "m*.example.org"), ("m*.example.org", "media*.example.org")])
def test_of_two_patterns_of_an_operator_the_more_specific_one_wins(order: tuple[str, str]) -> None:
    """Whichever was set first: a host would be asked 30 times as often otherwise."""
    values = {
        "media*.example.org": {"min_interval_s": 30.0, "connections": 1},
        "m*.example.org": {"min_interval_s": 1.0, "bytes_per_s": 9.0},
    }
    book = LimitBook(HostTable(), HostTable(hosts={name: values[name] for name in order}))
    assert book.limits("media7.example.org") == HostLimits(connections=1, min_interval_s=30.0, bytes_per_s=9.0)
    assert book.limits("m7.example.org") == HostLimits(min_interval_s=1.0, bytes_per_s=9.0)


def test_a_users_file_wins_value_by_value() -> None:
    presets = parse_hosts(
        '[default]\nconnections = 2\n[hosts."a.org"]\nconnections = 1\nmin_interval_s = 2\n[hosts."b.org"]\nconnections = 3'
    )
    mine = parse_hosts('[default]\nmin_interval_s = 1\n[hosts."a.org"]\nconnections = 4')
    table = mine.over(presets)
    assert table.limits("a.org") == HostLimits(connections=4, min_interval_s=2)
    assert table.limits("b.org") == HostLimits(connections=3, min_interval_s=1)
    assert table.limits("c.org") == HostLimits(connections=2, min_interval_s=1)
    assert parse_hosts("").over(presets) == presets


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[hosts\n", "hosts file: .*line 1"),
        ("[host]\n", r"unknown table \[host\]"),
        ("hosts = 3", "table of hosts"),
        ("default = 3", r"\[default\] must be a table"),
        ("[hosts.media.example]\nconnections = 1", "without quotes|unknown name 'example'"),
        ('[hosts."a.org"]\nconections = 1', "unknown name 'conections'; known names: connections"),
        ('[hosts."a.org"]\nconnections = 0', "connections = 0 must be a whole number from 1"),
        ('[hosts."a.org"]\nconnections = 2.0', "must be a whole number"),
        ('[hosts."a.org"]\nconnections = true', "must be a whole number"),
        ('[hosts."a.org"]\nconnections = 1000', "to 256"),
        ('[hosts."a.org"]\nmin_interval_s = -1', "at least 0"),
        ('[hosts."a.org"]\nmin_interval_s = nan', "at least 0"),
        ('[hosts."a.org"]\nbytes_per_s = 0', "at least 1"),
        ('[hosts."a.org"]\nbytes_per_day = inf', "must be a number"),
        ('[hosts."a.org"]\ngroup = 5', "must be a string"),
        ('[hosts."http://a.org/"]\nconnections = 1', "not a host name"),
        ('[hosts."a.*.org"]\nconnections = 1', "not a host name"),
    ],
)
def test_a_bad_hosts_file_is_named_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_hosts(text)
    assert re.search(message, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_group_has_the_gentlest_limits_of_its_entries() -> None:
    """Whichever of its hosts are at work; and an entry for one of them does not take it out of the group."""
    table = parse_hosts(
        """
        [hosts."*.deliver.example.org"]
        group = "deliver"
        connections = 4
        bytes_per_day = 50000
        [hosts."b01.deliver.example.org"]
        min_interval_s = 2
        [hosts."old.example.org"]
        group = "deliver"
        connections = 3
        bytes_per_day = 90000
        [hosts."other.example.org"]
        connections = 1
        """
    )
    limits = table.group_limits("deliver")
    assert (limits.connections, limits.min_interval_s, limits.bytes_per_s, limits.bytes_per_day) == (3, 2, None, 50000)
    assert table.limits("b01.deliver.example.org").group == "deliver"
    assert limits.group == "deliver"


def test_a_default_group_is_one_of_all_hosts() -> None:
    table = parse_hosts('[default]\ngroup = "one exit"\nconnections = 5\n[hosts."a.org"]\nconnections = 9')
    assert table.limits("b.org").group == "one exit"
    assert table.group_limits("one exit").connections == 5
