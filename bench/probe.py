"""What may decide on a machine how fast `init` is beside `sqlite3 .import`. Measures no program.

`init` is two processes that hand rows over to each other, `.import` is one. So `init` loses more than `.import` does if the
second core is not really there (`two at once` well below 2) or if two processes share too little bandwidth of memory (`two
copies`), and if the disk takes long to sync, since it commits more often. Its clock also holds the start of Python, which
takes longer without byte code. A `load` above 0.5 or stolen time means that others were at work meanwhile: then no ratio of
wall clocks means anything.
"""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bench.common import PROJECT

COPY_BYTES = 1 << 27
SYNCS = 40
WRITE_BYTES = 1 << 26
SPIN = """
import time
start = time.perf_counter()
rows = [f"{n}\\thttps://example.org/{n}" for n in range(200_000)]
kept = {row: row.split("\\t") for row in rows}
sum(len(cells[1]) for cells in kept.values())
print(time.perf_counter() - start)
"""
COPY = f"""
import time
import numpy as np
source = np.ones({COPY_BYTES}, np.uint8)
target = np.empty_like(source)
target[:] = source
start = time.perf_counter()
for _ in range(4):
    target[:] = source
print(time.perf_counter() - start)
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """Figures that may explain a ratio."""

    cores: int  # that this process may use
    quota_cores: float | None  # of a container; None: no limit
    model: str
    mhz: float | None
    load: float  # processes that wanted to run in the last minute, ours among them
    steal_share: float  # of all CPU time while this was measured: what the hypervisor gave to others
    spin_s: float  # one process with strings and dicts
    two_at_once: float  # times as much that two such processes do together; 2 is best
    copy_gb_s: float  # memory, one process
    two_copies: float  # likewise
    fsync_ms: float  # 8 KiB and fsync, median
    write_mb_s: float  # with an fsync at its end
    file_system: str
    sqlite_python: str
    sqlite_program: str
    options_of_one_only: tuple[str, ...]  # SQLite's compile options that the library (+) or the program (-) alone has
    python_build: str  # what of PGO and LTO the interpreter was compiled with: without them it is 10 to 20 % slower
    byte_code_share: float  # modules of this package with byte code
    libc: str
    huge_pages: str
    arenas: str  # MALLOC_ARENA_MAX
    dirty_ratio: str  # of memory, from which on a writer has to wait for the disk

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def lines(self) -> list[str]:
        quota = "" if self.quota_cores is None else f", a quota of {self.quota_cores:.1f}"
        clock = "" if self.mhz is None else f" at {self.mhz:.0f} MHz"
        only = f"; one alone has {' '.join(self.options_of_one_only)}" if self.options_of_one_only else ""
        return [
            f"machine: {self.model}{clock}, {self.cores} cores{quota}, load {self.load}, {self.steal_share:.0%} stolen",
            f"machine: spin {self.spin_s:.2f} s, two at once {self.two_at_once:.2f} x; "
            f"memory {self.copy_gb_s:.1f} GB/s, two at once {self.two_copies:.2f} x",
            f"machine: {self.file_system}, fsync {self.fsync_ms:.1f} ms, {self.write_mb_s:.0f} MB/s written and synced, "
            f"dirty_ratio {self.dirty_ratio}",
            f"machine: Python built with {self.python_build}, byte code of {self.byte_code_share:.0%} of the modules",
            f"machine: {self.libc}, arenas {self.arenas}, huge pages {self.huge_pages}",
            f"machine: SQLite {self.sqlite_python} in Python, {self.sqlite_program} as a program{only}",
        ]


def probe(folder: Path) -> Machine:
    """Measure the machine, and the disk of `folder`."""
    load, before = round(os.getloadavg()[0], 1), _cpu_ticks()
    spin_s, spin_two = _alone_and_together(SPIN)
    copy_s, copy_two = _alone_and_together(COPY)
    fsync_ms, write_mb_s = _disk(folder)
    after = _cpu_ticks()
    ticks = [new - old for new, old in zip(after, before, strict=True)]
    version, program_options = _program()
    library_options = _library()
    return Machine(
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        quota_cores=_quota(),
        model=_cpuinfo("model name") or platform.processor() or platform.machine(),
        mhz=float(_cpuinfo("cpu MHz") or 0) or None,
        load=load,
        steal_share=ticks[7] / sum(ticks) if len(ticks) > 7 and sum(ticks) else 0.0,
        spin_s=round(spin_s, 3),
        two_at_once=round(spin_two, 2),
        copy_gb_s=round(4 * COPY_BYTES / copy_s / 1e9, 1),
        two_copies=round(copy_two, 2),
        fsync_ms=round(fsync_ms, 2),
        write_mb_s=round(write_mb_s),
        file_system=_file_system(folder),
        sqlite_python=sqlite3.sqlite_version,
        sqlite_program=version,
        options_of_one_only=(
            *(f"+{option}" for option in sorted(library_options - program_options)),
            *(f"-{option}" for option in sorted(program_options - library_options)),
        ),
        python_build=_python_build(),
        byte_code_share=_byte_code_share(),
        libc=" ".join(platform.libc_ver()),
        huge_pages=_chosen("/sys/kernel/mm/transparent_hugepage/enabled"),
        arenas=os.environ.get("MALLOC_ARENA_MAX", "default"),
        dirty_ratio=_read("/proc/sys/vm/dirty_ratio") or "unknown",
    )


def _alone_and_together(script: str) -> tuple[float, float]:
    """Seconds alone, the least of three; and how much two processes do at once, against one."""
    alone = min(_run(script, 1)[0] for _ in range(3))
    return alone, 2 * alone / min(max(_run(script, 2)) for _ in range(3))


def _run(script: str, n: int) -> list[float]:
    running = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(n)]
    return [float(one.communicate()[0]) for one in running]


def _disk(folder: Path) -> tuple[float, float]:
    with tempfile.TemporaryFile(dir=folder) as file:
        waits = []
        for _ in range(SYNCS):
            file.write(os.urandom(8192))
            file.flush()
            start = time.perf_counter()
            os.fsync(file.fileno())
            waits.append(time.perf_counter() - start)
        block, start = np.ones(WRITE_BYTES, np.uint8).tobytes(), time.perf_counter()
        file.write(block)
        file.flush()
        os.fsync(file.fileno())
        return statistics.median(waits) * 1000, WRITE_BYTES / (time.perf_counter() - start) / 1e6


def _library() -> set[str]:
    db = sqlite3.connect(":memory:")
    options = {row[0] for row in db.execute("PRAGMA compile_options")}
    db.close()
    return _worth_comparing(options)


def _program() -> tuple[str, set[str]]:
    if shutil.which("sqlite3") is None:
        return "none", set()
    words = ["sqlite3", ":memory:", "SELECT sqlite_version(); PRAGMA compile_options"]
    version, *options = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split("\n")
    return version, _worth_comparing(set(filter(None, options)))


def _worth_comparing(options: set[str]) -> set[str]:
    """Without extensions and the like, which cost nothing."""
    return {option for option in options if not option.startswith(("COMPILER", "ENABLE_", "HAVE_", "ATOMIC", "SYSTEM_"))}


def _python_build() -> str:
    flags = {
        "PGO": "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""),
        "LTO": "-flto" in (sysconfig.get_config_var("PY_CORE_LDFLAGS") or ""),
    }
    return " and ".join(name for name, has_it in flags.items() if has_it) or "neither PGO nor LTO"


def _byte_code_share() -> float:
    modules = list((PROJECT / "d4c_images").rglob("*.py"))
    tag = sys.implementation.cache_tag
    return sum((one.parent / "__pycache__" / f"{one.stem}.{tag}.pyc").exists() for one in modules) / len(modules)


def _cpu_ticks() -> list[int]:
    """user, nice, system, idle, iowait, irq, softirq, steal of /proc/stat."""
    return [int(word) for word in (_read("/proc/stat") or "cpu 0").split("\n")[0].split()[1:9]]


def _quota() -> float | None:
    quota, _, period = (_read("/sys/fs/cgroup/cpu.max") or "max").partition(" ")
    return None if quota == "max" else int(quota) / int(period)


def _cpuinfo(name: str) -> str:
    lines = (_read("/proc/cpuinfo") or "").split("\n")
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _file_system(folder: Path) -> str:
    mounts = [line.split()[1:3] for line in (_read("/proc/mounts") or "").split("\n") if line]
    here = [(len(place), kind) for place, kind in mounts if folder.resolve().is_relative_to(place)]
    return max(here)[1] if here else "unknown"


def _chosen(path: str) -> str:
    return (_read(path) or "[unknown]").partition("[")[2].partition("]")[0]


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


if __name__ == "__main__":
    print("\n".join(probe(PROJECT).lines()))
