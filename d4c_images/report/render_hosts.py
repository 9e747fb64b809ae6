"""The list of hosts as a table. Queries no ledger."""

from __future__ import annotations

from collections.abc import Iterable

from d4c_images.durations import show_size, show_span
from d4c_images.report.hosts import HostLine
from d4c_images.report.layout import Column, Section
from d4c_images.report.progress import clock
from d4c_images.system.terminal import clean


def section(lines: Iterable[HostLine], title: str = "Hosts, the last to finish first") -> Section:
    columns = (
        Column("host"),
        Column("left", right=True),
        Column("ETA", right=True),
        Column("images/s", right=True, fold=4),
        Column("connections", right=True, fold=3),
        Column("limits", fold=2, says_itself=True),
        Column("state", fold=5),
        Column.of_text("why"),
    )
    return Section(title, columns, [_cells(one) for one in lines])


def _cells(one: HostLine) -> tuple[str, ...]:
    name = clean(one.host) + (f" ({clean(one.group)})" if one.group else "")
    until = f" until {clock(one.until)}" if one.until is not None else ""
    return (
        name,
        f"{one.n_left:,}",
        _eta(one),
        f"{one.images_per_s:.2f}" if one.images_per_s and one.n_left else "",
        f"{one.connections}" if one.width is None else f"{one.width} of {one.connections}",
        _limits(one),
        f"{one.state}{until}",
        clean(one.why or ""),
    )


def _eta(one: HostLine) -> str:
    """With a `~` while no pace has been observed: then limits and latency give a minimum."""
    if not one.n_left or one.eta_s is None:
        return "?" if one.n_left else ""
    return show_span(one.eta_s) if one.images_per_s else f"~{show_span(one.eta_s)}"


def _limits(one: HostLine) -> str:
    parts = []
    if one.min_interval_s:
        parts.append(f"every {one.min_interval_s:g} s")
    if one.bytes_per_s:
        parts.append(f"{show_size(one.bytes_per_s)}/s")
    if one.bytes_per_day:
        parts.append(f"{show_size(one.bytes_per_day)}/day")
    return ", ".join(parts)
