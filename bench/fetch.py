"""Races the real `d4c-images download` on loopback against `curl -Z` and img2dataset, with latency added to each answer.

`python -m bench.fetch` prints a table, and as its last line one JSON object. The ideal is connections / latency; every share is a
share of it. Ours does everything that it does in earnest: decode, sha256, fsync, ledger; the peers do not. img2dataset gets an
environment of its own (`.venv-img2dataset`), made on the first run. The server's own capacity is printed too: it must not be
what limits the race.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
IMG2DATASET = PROJECT / ".venv-img2dataset"
HOSTS = 8
COLUMNS = "gbifID type format identifier references title description source audience created creator contributor publisher license rightsHolder"


@dataclass(frozen=True, slots=True)
class Run:
    """One finished command."""

    wall_s: float
    cpu_s: float  # user and system, of the command and all its children
    files: int


@dataclass(frozen=True, slots=True)
class Race:
    images: int
    connections: int
    latency_s: float
    port: int
    folder: Path

    @property
    def ideal_per_s(self) -> float:
        return self.connections / self.latency_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--latency-ms", type=int, default=100)
    parser.add_argument("--image-kb", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-img2dataset", action="store_true", help="leave img2dataset out")
    parser.add_argument("--quick", action="store_true", help="a small race that only shows that everything works")
    args = parser.parse_args()
    if args.quick:
        args.images, args.rounds, args.no_img2dataset = 600, 1, True
    contestants: dict[str, Callable[[Race], Run]] = {"d4c-images": run_ours}
    if shutil.which("curl"):
        contestants["curl -Z"] = run_curl
    if not args.no_img2dataset:
        set_up_img2dataset()
        contestants["img2dataset"] = run_img2dataset
    out = PROJECT / "bench" / "out"
    out.mkdir(exist_ok=True)
    runs: dict[str, list[Run]] = {name: [] for name in contestants}
    capacity = server_capacity(args.image_kb)
    with server(args.latency_ms, args.image_kb) as port:
        for number in range(args.rounds):
            for name, run in contestants.items():
                with tempfile.TemporaryDirectory(dir=out, prefix=f"fetch-{number}-") as folder:
                    race = Race(args.images, args.connections, args.latency_ms / 1000, port, Path(folder))
                    runs[name].append(run(race))
    show(args, runs, capacity)


def show(args: argparse.Namespace, runs: dict[str, list[Run]], capacity: float) -> None:
    ideal = args.connections / (args.latency_ms / 1000)
    table = Table(title=f"{args.images:,} images of about {args.image_kb} KB, {args.latency_ms} ms latency, {args.connections} connections")
    for column in ("", "images/s", "share of ideal", "wall ms/image", "CPU ms/image", "stored"):
        table.add_column(column, justify="right" if column else "left")
    shares, cpus = {}, {}
    for name, done in runs.items():
        wall_s = statistics.median(run.wall_s for run in done)
        cpus[name] = statistics.median(run.cpu_s for run in done) / args.images * 1000
        shares[name] = args.images / wall_s / ideal
        table.add_row(
            name,
            f"{args.images / wall_s:.0f}",
            f"{shares[name]:.3f}",
            f"{wall_s / args.images * 1000:.2f}",
            f"{cpus[name]:.2f}",
            f"{min(run.files for run in done):,}",
        )
    Console(width=110).print(table)
    commit = subprocess.run(["git", "-C", PROJECT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(f"ideal {ideal:.0f} images/s; the server alone gives {capacity:.0f}/s without latency; medians of {args.rounds} rounds")
    print(f"{platform.machine()}, {os.cpu_count()} cores shared with the server, Python {platform.python_version()}, commit {commit}")
    result = {
        "bench": "fetch",
        "share_of_ideal": round(shares["d4c-images"], 3),
        "curl_share_of_ideal": _rounded(shares.get("curl -Z")),
        "img2dataset_share_of_ideal": _rounded(shares.get("img2dataset")),
        "cpu_ratio_to_img2dataset": _rounded(cpus["d4c-images"] / cpus["img2dataset"] if "img2dataset" in cpus else None),
        "cpu_ms_per_image": round(cpus["d4c-images"], 2),
        "server_capacity_per_s": round(capacity),
    }
    print(json.dumps(result))


def run_ours(race: Race) -> Run:
    """`init` before the clock starts; then the real command as users call it, start-up included."""
    rows = race.folder / "multimedia.txt"
    with rows.open("w") as out:
        out.write("\t".join(COLUMNS.split()) + "\n")
        for number in range(race.images):
            url = f"http://bench{number % HOSTS}.example.org/images/{number}.jpg"
            out.write(f"{1_000_000_000 + number}\tStillImage\timage/jpeg\t{url}" + "\t" * 11 + "\n")
    hosts = race.folder / "hosts.toml"
    hosts.write_text(f"[default]\nconnections = {race.connections // HOSTS}\nsource = 'the benchmark'\n")
    ledger, root = race.folder / "ledger.sqlite", race.folder / "images"
    program = [sys.executable, "-m", "d4c_images"]
    subprocess.run([*program, "init", rows, "--ledger", ledger], check=True, stdout=subprocess.DEVNULL)
    command = [*program, "download", "--ledger", ledger, "--root", root, "--hosts-file", hosts, "--no-progress"]
    wall_s, cpu_s = timed([*map(str, command), "--processes", "2", "--connect-to", f"::127.0.0.1:{race.port}"], race.folder)
    return Run(wall_s, cpu_s, count_files(root))


def run_curl(race: Race) -> Run:
    root = race.folder / "curl"
    root.mkdir()
    config = race.folder / "curl.cfg"
    with config.open("w") as out:
        for number in range(race.images):
            out.write(f'url="http://127.0.0.1:{race.port}/images/{number}.jpg"\noutput="{root}/{number}.jpg"\n')
    command = ["curl", "-sS", "-Z", "--parallel-max", str(race.connections), "--retry", "2", "--fail", "-K", str(config)]
    wall_s, cpu_s = timed(command, race.folder)
    return Run(wall_s, cpu_s, count_files(root))


def run_img2dataset(race: Race) -> Run:
    """Original bytes kept, as its documentation says: no resizing, no re-encoding."""
    urls = race.folder / "urls.txt"
    urls.write_text("".join(f"http://127.0.0.1:{race.port}/images/{number}.jpg\n" for number in range(race.images)))
    root = race.folder / "img2dataset"
    options = {
        "url_list": urls,
        "input_format": "txt",
        "output_folder": root,
        "output_format": "files",
        "processes_count": 2,
        "thread_count": race.connections // 2,
        "resize_mode": "no",
        "disable_all_reencoding": True,
        "number_sample_per_shard": min(1000, max(1, race.images // 2)),
        "compute_hash": None,
        "extract_exif": False,
        "enable_wandb": False,
    }
    command = [str(IMG2DATASET / "bin" / "img2dataset"), *(f"--{key}={value}" for key, value in options.items())]
    wall_s, cpu_s = timed(command, race.folder, {"NO_ALBUMENTATIONS_UPDATE": "1"})
    return Run(wall_s, cpu_s, sum(1 for _ in root.rglob("*.jpg")))


def timed(command: list[str], folder: Path, extra: dict[str, str] | None = None) -> tuple[float, float]:
    """Wall and CPU seconds of a command with all its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    with (folder / "log.txt").open("wb") as log:
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env={**os.environ, **(extra or {})})
    wall_s = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with {done.returncode}:\n{(folder / 'log.txt').read_text(errors='replace')[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def count_files(root: Path) -> int:
    return sum(1 for path in root.rglob("*") if path.is_file())


def set_up_img2dataset() -> None:
    """img2dataset in its own environment: its pins do not go together with ours."""
    if (IMG2DATASET / "ready").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--clear", IMG2DATASET], check=True)
    pip = [_base_python(), "-m", "pip", "--python", str(IMG2DATASET / "bin" / "python"), "install", "-q"]
    print("setting img2dataset up (once)", file=sys.stderr, flush=True)
    subprocess.run([*pip, "img2dataset==1.47.0", "setuptools<81"], check=True)
    (IMG2DATASET / "ready").touch()


def _base_python() -> str:
    """The interpreter that the project's environment was made from: it has pip."""
    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")


@contextmanager
def server(latency_ms: int, image_kb: int) -> Iterator[int]:
    """The publishers' server in its fast mode, in a process of its own; gives its HTTP port."""
    command = [sys.executable, "-m", "tests.publishers", "--fast", "--latency-ms", str(latency_ms), "--image-kb", str(image_kb)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT)
    try:
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["http_port"])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def server_capacity(image_kb: int) -> float:
    """Requests per second of the server alone, without latency, as it measures itself."""
    command = [sys.executable, "-m", "tests.publishers", "--fast", "--latency-ms", "0", "--image-kb", str(image_kb), "--self-test", "5000"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=PROJECT)
    return float(json.loads(done.stdout.strip().splitlines()[-1])["requests_per_s"])


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)


if __name__ == "__main__":
    main()
