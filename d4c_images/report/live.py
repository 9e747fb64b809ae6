"""Shows a running download on a terminal, and its results at the end. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from d4c_images.durations import counted, show_size, show_span
from d4c_images.policy.preflight import reached_nobody
from d4c_images.report.folding import Folding
from d4c_images.report.last_frame import last_frame
from d4c_images.report.layout import Column, Section, put, table, wrapped
from d4c_images.report.meter import HostSpeed, Meter, Pace
from d4c_images.report.progress import blocked, draining, given_up, network, reasons, waiting
from d4c_images.steward.terms import Drain, Ending, Snapshot, Watcher
from d4c_images.system import clocks
from d4c_images.system.echo import QuietKeys
from d4c_images.system.terminal import clean

NEWS_LINES = 8  # reserved for news, on a terminal that is high enough
LEAST_HOSTS = 4  # shown regardless of news
ROOM_FOR_WHY = 120  # columns, enough to show why a host is blocked
MOST_WHYS = 1000
FIGURES = {"left": 0, "in flight": 100, "images/s": 60, "ETA": 0}  # of a host, and columns from which on there is room for them


class LiveProgress(Watcher):
    """A view redrawn every two seconds; news of hosts scroll by above it."""

    def __init__(self, console: Console, head: str = "") -> None:
        self._console, self._head = console, head
        self._meter = Meter()
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._keys = QuietKeys(console.file)
        self._folding = Folding()
        self._whys: dict[str, str] = {}  # of hosts that were blocked
        self._size = console.size
        self._seen: tuple[Snapshot, Pace] | None = None

    def started(self, snapshot: Snapshot) -> None:
        if self._head:
            self._say(self._head, "dim")
        self._keys.start()
        self._live.start()
        self.ticked(snapshot)

    def ticked(self, snapshot: Snapshot) -> None:
        self._seen = snapshot, self._meter.add(snapshot)
        self._draw()

    def host_blocked(self, host: str, until: float, why: str) -> None:
        now = clocks.now()
        if len(self._whys) < MOST_WHYS or host in self._whys:
            self._whys[host] = clean(why)
        again = self._folding.again(host, now, until - now)
        if again is not None:
            self._say(blocked(host, until, why) + again, "yellow")

    def host_given_up(self, host: str, n_images: int, why: str) -> None:
        self._say(given_up(host, n_images, why), "red")

    def idle(self, until: float, host: str, why: str) -> None:
        now = clocks.now()
        again = self._folding.again(f"to wait for {host}", now, until - now)
        if again is not None:
            self._say(waiting(until, host, why) + again, "yellow")

    def network_down(self, is_down: bool) -> None:
        self._say(network(is_down), "red" if is_down else "green")

    def no_way_out(self, n_hosts: int, why: str) -> None:
        self._say(reached_nobody(n_hosts, why), "red")

    def worker_died(self, why: str) -> None:
        self._say(f"a worker process died ({why})", "red")

    def draining(self, drain: Drain, in_flight: Mapping[str, int]) -> None:
        self._say(draining(drain, in_flight), "yellow")

    def ended(self, snapshot: Snapshot, ending: Ending) -> None:
        pace = self._meter.add(snapshot)
        self.close()
        put(last_frame(snapshot, pace, ending, self._console), self._console)

    def close(self) -> None:
        """Leave the terminal in order, however the run ends."""
        self._live.stop()
        self._keys.stop()

    def _say(self, text: str, style: str) -> None:
        self._console.print(Text(clean(text), style))

    def _draw(self) -> None:
        """After a resize the position of the last view is unknown, so everything is redrawn."""
        assert self._seen is not None
        if self._console.size != self._size:
            self._size = self._console.size
            self._console.clear()
        self._live.update(view(*self._seen, self._whys, self._console), refresh=True)


def view(snapshot: Snapshot, pace: Pace, whys: dict[str, str], console: Console) -> RenderableType:
    """As wide as the terminal, and never higher."""
    facts = [part for line in _facts(snapshot, pace) for part in wrapped(line, console)]
    room = console.height - 1 - len(facts) - 2
    n_hosts = max(min(LEAST_HOSTS, room), room - NEWS_LINES)
    hosts = table(_hosts(snapshot, pace, n_hosts, whys, console.width), console) if pace.hosts and n_hosts > 0 else []
    return Group(_bar(snapshot, console), *[*facts, *hosts][: console.height - 2])


def _bar(snapshot: Snapshot, console: Console) -> RenderableType:
    done, in_all = snapshot.n_done, snapshot.n_in_all
    figures = f"{done:,} of {in_all:,}{snapshot.scope}  {done / max(1, in_all):.1%}"
    line = Table.grid(padding=(0, 2, 0, 0))
    bar = ProgressBar(total=max(1, in_all), completed=done, width=max(10, console.width - len(figures) - 3))
    line.add_row(bar, Text(figures, no_wrap=True))
    return line


def _facts(snapshot: Snapshot, pace: Pace) -> Iterator[Text]:
    images, totals = snapshot.images, snapshot.totals
    eta = f"ETA {show_span(pace.eta_s)}" if pace.eta_s is not None else "ETA unknown"
    yield Text(
        f"{show_span(snapshot.now - snapshot.started_at)} elapsed   {eta}   {pace.images_per_s or 0:.1f} images/s   "
        f"{show_size(pace.bytes_per_s or 0)}/s   {show_size(totals.received_bytes)} received"
    )
    why = f": {reasons(images, 5)}" if images.failed else ""
    yield Text.assemble(
        (f"{images.success:,} stored", "green"), "   ", (f"{images.failed:,} failed{why}", "red" if images.failed else "")
    )
    n_blocked, n_paused = snapshot.n_blocked, snapshot.n_paused
    yield Text(
        f"{counted(snapshot.n_in_flight, 'request')} in flight   {images.to_retry:,} to retry   {images.pending:,} not tried yet"
        + (f"   {counted(n_blocked, 'host')} blocked" if n_blocked else "")
        + (f"   {n_paused:,} paused by hand (hosts resume)" if n_paused else "")
    )
    drain = snapshot.drain
    if drain is not None:
        left_s = max(0.0, drain.until - snapshot.now)
        again = f"; Ctrl-C again drops {'it' if snapshot.n_in_flight == 1 else 'them'}" if drain.is_attended else ""
        what = "dropping" if drain.drops else "finishing"
        yield Text(
            f"{drain.why}: {what} {counted(snapshot.n_in_flight, 'request')}"
            f"{'' if drain.drops else f', {show_span(left_s)} left{again}'}",
            "bold yellow",
        )


def _hosts(snapshot: Snapshot, pace: Pace, n: int, whys: dict[str, str], width: int) -> Section:
    """In a drain only those with requests in flight: somebody waits for these."""
    hosts, counts = pace.hosts, snapshot.in_flight
    if snapshot.drain is not None:
        hosts = tuple(sorted((one for one in hosts if counts.get(one.host)), key=lambda one: -counts[one.host]))
    hosts = hosts[:n]
    names = [name for name, least in FIGURES.items() if width >= least or (name == "in flight" and snapshot.drain is not None)]
    columns = (Column("host"), *(Column(name, right=True) for name in names))
    rows: list[tuple[str, ...]] = [
        (clean(one.host), *(figure for name, figure in _figures(one, snapshot).items() if name in names)) for one in hosts
    ]
    if width < ROOM_FOR_WHY or not whys:
        return Section("", columns, rows)
    taken = sum(max(map(len, cells)) + 2 for cells in zip(("host", *names), *rows, strict=True))
    said = [whys.get(one.host, "") if one.host in snapshot.blocked else "" for one in hosts]
    room = max(1, width - taken - 1)
    cut = [why if cell_len(why) <= room else f"{set_cell_size(why, max(0, room - 3))}..." for why in said]
    return Section("", (*columns, Column("why")), [(*row, why) for row, why in zip(rows, cut, strict=True)])


def _figures(one: HostSpeed, snapshot: Snapshot) -> dict[str, str]:
    until = snapshot.blocked.get(one.host)
    if one.host in snapshot.paused:
        eta = "paused"
    elif until is not None:
        eta = f"blocked for {show_span(max(1.0, until - snapshot.now))}"
    else:
        eta = show_span(one.eta_s) if one.eta_s is not None else "?"
    return {
        "left": f"{one.n_left:,}",
        "in flight": f"{snapshot.in_flight.get(one.host) or ''}",
        "images/s": "" if one.images_per_s is None else f"{one.images_per_s:.1f}",
        "ETA": eta,
    }
