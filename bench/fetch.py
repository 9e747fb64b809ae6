"""Races the real `d4c-images download` on loopback against `curl -Z` and img2dataset, with latency added to each answer.

`python -m bench.fetch` prints a table, and as its last line one JSON object. The ideal is connections / latency; every share is a
share of it. Ours does everything that it does in earnest: decode, sha256, fsync, ledger; the peers do not. The race is run over
HTTPS, as six of seven of GBIF's image URLs are (8,820 of 10,266 real rows), and over plain HTTP; names without `_http` are those of
HTTPS. img2dataset gets an environment of its own (`.venv-img2dataset`), made on the first run. The server's own capacity is
printed too: it must not be what limits the race.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import certifi
from rich.console import Console
from rich.table import Table

from tests.program import HEADER
from tests.publishers import selftest
from tests.publishers.client import Publishers

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
IMG2DATASET = PROJECT / ".venv-img2dataset"
HOSTS = 8
SCHEMES = ("https", "http")


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
    scheme: str
    publishers: Publishers
    folder: Path

    @property
    def cacert(self) -> Path:
        """What every contestant trusts: all the world's authorities, as in real life, and the server's own."""
        bundle = self.folder / "ca.pem"
        if not bundle.exists():
            bundle.write_bytes(Path(certifi.where()).read_bytes() + self.publishers.cacert.read_bytes())
        return bundle

    @property
    def base(self) -> str:
        """For peers that cannot be told to connect elsewhere."""
        return f"{self.scheme}://localhost:{self.publishers.port}"


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
    runs: dict[str, dict[str, list[Run]]] = {scheme: {name: [] for name in contestants} for scheme in SCHEMES}
    capacity = selftest.measure(20_000, image_kb=args.image_kb)["requests_per_s"]
    with Publishers(["--fast", "--latency-ms", str(args.latency_ms), "--image-kb", str(args.image_kb)]) as publishers:
        for number in range(args.rounds):
            for scheme in SCHEMES:
                for name, run in contestants.items():
                    with tempfile.TemporaryDirectory(dir=out, prefix=f"fetch-{number}-") as folder:
                        runs[scheme][name].append(run(Race(args.images, args.connections, scheme, publishers, Path(folder))))
    show(args, runs, capacity)


def show(args: argparse.Namespace, runs: dict[str, dict[str, list[Run]]], capacity: float) -> None:
    ideal = args.connections / (args.latency_ms / 1000)
    result: dict[str, object] = {"bench": "fetch"}
    for scheme, contestants in runs.items():
        shares, cpus = figures(contestants, args.images, ideal)
        title = f"{scheme}: {args.images:,} images of {args.image_kb} KB, {args.latency_ms} ms latency, {args.connections}-way"
        Console(width=110).print(table(title, contestants, shares, cpus, ideal))
        suffix = "" if scheme == "https" else f"_{scheme}"
        ours = cpus["d4c-images"]
        result |= {
            f"share_of_ideal{suffix}": round(shares["d4c-images"], 3),
            f"curl_share_of_ideal{suffix}": _rounded(shares.get("curl -Z")),
            f"img2dataset_share_of_ideal{suffix}": _rounded(shares.get("img2dataset")),
            f"cpu_ratio_to_img2dataset{suffix}": _rounded(ours / cpus["img2dataset"] if "img2dataset" in cpus else None),
            f"cpu_ms_per_image{suffix}": round(ours, 2),
        }
    commit = subprocess.run(
        ["git", "-C", PROJECT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    print(
        f"ideal {ideal:.0f} images/s; the server alone gives {capacity:.0f}/s without latency; medians of {args.rounds} rounds"
    )
    print(
        f"{platform.machine()}, {os.cpu_count()} cores shared with the server, Python {platform.python_version()}, commit {commit}"
    )
    print(json.dumps(result | {"server_capacity_per_s": round(capacity)}))


def figures(contestants: dict[str, list[Run]], images: int, ideal: float) -> tuple[dict[str, float], dict[str, float]]:
    """Medians: shares of the ideal, and CPU milliseconds per image."""
    shares = {name: images / statistics.median(run.wall_s for run in done) / ideal for name, done in contestants.items()}
    cpus = {name: statistics.median(run.cpu_s for run in done) / images * 1000 for name, done in contestants.items()}
    return shares, cpus


def table(
    title: str, contestants: dict[str, list[Run]], shares: dict[str, float], cpus: dict[str, float], ideal: float
) -> Table:
    shown = Table(title=title)
    for column in ("", "images/s", "share of ideal", "wall ms/image", "CPU ms/image", "stored"):
        shown.add_column(column, justify="right" if column else "left")
    for name, done in contestants.items():
        rate = shares[name] * ideal
        stored = min(run.files for run in done)
        shown.add_row(name, f"{rate:.0f}", f"{shares[name]:.3f}", f"{1000 / rate:.2f}", f"{cpus[name]:.2f}", f"{stored:,}")
    return shown


def run_ours(race: Race) -> Run:
    """`init` before the clock starts; then the real command as users call it, start-up included."""
    rows = race.folder / "multimedia.txt"
    with rows.open("w") as out:
        out.write("\t".join(HEADER.split()) + "\n")
        for number in range(race.images):
            url = f"{race.scheme}://bench{number % HOSTS}.example.org/images/{number}.jpg"
            out.write(f"{1_000_000_000 + number}\tStillImage\timage/jpeg\t{url}" + "\t" * 11 + "\n")
    hosts = race.folder / "hosts.toml"
    hosts.write_text(f"[default]\nconnections = {race.connections // HOSTS}\nsource = 'the benchmark'\n")
    ledger, root = race.folder / "ledger.sqlite", race.folder / "images"
    program = [sys.executable, "-m", "d4c_images"]
    subprocess.run([*program, "init", rows, "--ledger", ledger], check=True, stdout=subprocess.DEVNULL)
    command = [*program, "download", "--ledger", ledger, "--root", root, "--hosts-file", hosts, "--no-progress"]
    reach = ["--connect-to", race.publishers.connect_to, "--cacert", str(race.cacert)]
    wall_s, cpu_s = timed([*map(str, command), "--processes", "2", *reach], race.folder)
    return Run(wall_s, cpu_s, count_files(root))


def run_curl(race: Race) -> Run:
    root = race.folder / "curl"
    root.mkdir()
    config = race.folder / "curl.cfg"
    with config.open("w") as out:
        for number in range(race.images):
            out.write(f'url="{race.base}/images/{number}.jpg"\noutput="{root}/{number}.jpg"\n')
    command = ["curl", "-sS", "-Z", "--parallel-max", str(race.connections), "--fail"]
    command += ["--cacert", str(race.cacert), "-K", str(config)]
    wall_s, cpu_s = timed(command, race.folder)
    return Run(wall_s, cpu_s, count_files(root))


def run_img2dataset(race: Race) -> Run:
    """Original bytes kept, as its documentation says: no resizing, no re-encoding."""
    urls = race.folder / "urls.txt"
    urls.write_text("".join(f"{race.base}/images/{number}.jpg\n" for number in range(race.images)))
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
    wall_s, cpu_s = timed(command, race.folder, {"NO_ALBUMENTATIONS_UPDATE": "1", "SSL_CERT_FILE": str(race.cacert)})
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


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)


if __name__ == "__main__":
    main()
