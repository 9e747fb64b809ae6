"""Shows a running download on a terminal. Changes nothing."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from d4c_images.durations import show_size, show_span
from d4c_images.report.progress import Meter, Pace, clock, given_up, network, summary, waiting
from d4c_images.steward.terms import Ending, Snapshot, Watcher
from d4c_images.system.terminal import clean


class LiveProgress(Watcher):
    """A view that is drawn anew every two seconds; news of hosts scroll away above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._meter = Meter()
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def started(self, snapshot: Snapshot) -> None:
        self._live.start()
        self.ticked(snapshot)

    def ticked(self, snapshot: Snapshot) -> None:
        self._live.update(_view(snapshot, self._meter.add(snapshot)), refresh=True)

    def host_blocked(self, host: str, until: float, why: str) -> None:
        self._console.print(Text.assemble((clean(host), "yellow"), f" is left alone until {clock(until)}: {clean(why)}"))

    def host_given_up(self, host: str, n_images: int, why: str) -> None:
        self._console.print(Text(clean(given_up(host, n_images, why)), "red"))

    def idle(self, until: float, host: str, why: str) -> None:
        self._console.print(Text(clean(waiting(until, host, why)), "yellow"))

    def network_down(self, is_down: bool) -> None:
        self._console.print(Text(network(is_down), "red" if is_down else "green"))

    def worker_died(self, why: str) -> None:
        self._console.print(Text.assemble(("a worker process died", "red"), f" ({clean(why)})"))

    def draining(self, why: str) -> None:
        self._console.print(Text(f"{clean(why)}: nothing new is started, what is in flight ends"))

    def ended(self, snapshot: Snapshot, ending: Ending) -> None:
        self.close()
        self._console.print(Text(clean(summary(snapshot, ending))))

    def close(self) -> None:
        """Leave the terminal in order, however the run ends."""
        self._live.stop()


def _view(snapshot: Snapshot, pace: Pace) -> RenderableType:
    images, done, in_all = snapshot.images, snapshot.n_done, snapshot.n_in_all
    head = Table.grid(padding=(0, 2))
    head.add_row(
        ProgressBar(total=max(1, in_all), completed=done, width=40),
        Text(f"{done:,}/{in_all:,}  {done / max(1, in_all):.1%}"),
        Text(f"{pace.images_per_s or 0:.1f} images/s"),
        Text(f"{show_size(pace.bytes_per_s or 0)}/s"),
        Text(f"ETA {show_span(pace.eta_s) if pace.eta_s is not None else '...'}"),
    )
    counts = Text.assemble(
        (f"{images.success:,} stored", "green"),
        "   ",
        (f"{images.failed:,} failed", "red" if images.failed else ""),
        f"   {images.to_retry:,} to retry   {images.leased:,} in work   {images.pending:,} waiting",
    )
    slowest = Table(box=None, padding=(0, 2), header_style="dim")
    slowest.add_column("slowest hosts")
    slowest.add_column("left", justify="right")
    slowest.add_column("ETA", justify="right")
    slowest.add_column("")
    for host, left, eta_s in pace.slowest:
        until = snapshot.blocked.get(host)
        note = "paused" if host in snapshot.paused else f"left alone until {clock(until)}" if until else ""
        slowest.add_row(Text(clean(host)), f"{left:,}", show_span(eta_s) if eta_s is not None else "...", note)
    return Group(head, counts, slowest) if pace.slowest else Group(head, counts)
