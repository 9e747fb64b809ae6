"""Would libvips read large PNG and TIFF files better than our own row readers? Same files, same damage, one process a reading.

`python -m bench.readers` makes a photo-like picture as PNG and as TIFF in several compressions, damages copies of the small ones
(cut, runs of zeros, swapped blocks, a flipped bit), and has each file read to its end: by `Decoder` with little memory, when our
readers work, and by libvips (`pyvips[binary]`, in an environment of its own), sequentially and with `fail_on=warning`, its
strictest. The large ones say what a reading costs: start-up, CPU, peak memory. Prints two tables and, as the last line, one JSON
object. docs/adr/0033 draws the conclusion.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.common import OUT, PROJECT
from bench.peers import Unavailable, from_pypi, python_of

SEED = 7
DAMAGES = ("cut", "64 zeros", "512 zeros", "blocks swapped", "bit flipped")
_MEASURED = """
import sys, time, json
began = time.process_time()
{setup}
ready = time.process_time()
refused = []
for path in sys.argv[1:]:
    why = refusal(path)
    if why:
        refused.append((path, why))
ended = time.process_time()
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(json.dumps([refused, ready - began, ended - ready, int(peak)]))
"""
_VIPS = """
import pyvips
pyvips.cache_set_max(0)
def refusal(path):
    try:
        pyvips.Image.new_from_file(path, access="sequential", fail_on="warning").avg()
    except pyvips.Error as error:
        return str(error)
"""
_OURS = """
from pathlib import Path
from d4c_images.decode import Decoder
from d4c_images.decode.memory_budget import MemoryBudget
from d4c_images.stores.reading import sniff_file
decoder = Decoder(room=MemoryBudget(own_bytes=1_000_000))  # so that small ones are read in little memory as well
def refusal(path):
    size_bytes = Path(path).stat().st_size
    with open(path, "rb") as file:
        head = file.read(65536)
        file.seek(max(0, size_bytes - 65536))
        sniffed = sniff_file(Path(path), head, file.read(), size_bytes)
    found = decoder.check(Path(path), sniffed)
    return "cut off" if sniffed.truncated else None if found.ok else found.detail
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one process found in some files."""

    refused: dict[str, str]  # why, by path
    start_s: float  # CPU before the first file
    read_s: float  # CPU
    peak_kib: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=10_000, help="of the large pictures, in pixels")
    parser.add_argument("--cases", type=int, default=30, help="of each damage to each file")
    parser.add_argument("--quick", action="store_true", help="a small one that only shows that everything works")
    args = parser.parse_args()
    if args.quick:
        args.edge, args.cases = 1500, 2
    try:
        from_pypi("vips", "pyvips[binary]==3.2.0")
    except Unavailable as why:
        sys.exit(str(why))
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=OUT, prefix="readers-") as name:
        found = _damage(Path(name), args.cases)
        costs = _costs(Path(name), args.edge)
    print(json.dumps({"bench": "readers", "refused": found, "costs": costs}))


def _damage(folder: Path, n_cases: int) -> dict[str, dict[str, list[int]]]:
    """How many of the damaged files each refuses: ours, libvips, out of how many."""
    print(f"{'refused: ours, libvips, of':28}", *(f"{name:>16}" for name in ("whole", *DAMAGES)), sep="")
    result = {}
    for name, body in _bodies(_photo(600), rows=32):
        chance, counts = random.Random(SEED), {}
        for damage in ("whole", *DAMAGES):
            paths = []
            for number in range(1 if damage == "whole" else n_cases):
                path = folder / f"{number}-{name}"
                path.write_bytes(_damaged(body, damage, chance))
                paths.append(str(path))
            counts[damage] = [len(_ours(paths).refused), len(_vips(paths).refused), len(paths)]
        print(f"{name:28}", *("{:>16}".format("{}, {}, {}".format(*row)) for row in counts.values()), sep="", flush=True)
        result[name] = counts
    return result


def _costs(folder: Path, edge: int) -> dict[str, dict[str, list[float | str]]]:
    """Seconds of CPU to start and to read, peak memory in MB, and what was found."""
    result: dict[str, dict[str, list[float | str]]] = {}
    for name, body in _bodies(_photo(edge), rows=16):
        path = folder / name
        path.write_bytes(body)
        del body
        for who, read in (("ours", _ours), ("libvips", _vips)):
            reading = read([str(path)])
            said = next(iter(reading.refused.values()), "read").strip().replace("\n", " ")[:60]
            row = [round(reading.start_s, 2), round(reading.read_s, 2), reading.peak_kib // 1000, said]
            result.setdefault(name, {})[who] = row
            print(f"{name:28}{who:8} start {row[0]} s, read {row[1]} s, peak {row[2]} MB, {said}", flush=True)
        path.unlink()
    return result


def _photo(edge: int) -> np.ndarray:
    y, x = np.mgrid[0:edge, 0:edge].astype(np.float32)
    noise = np.random.default_rng(SEED).normal(0, 6, (edge, edge, 3)).astype(np.float32)
    planes = (128 + 80 * np.sin(x / 37) + 40 * np.cos(y / 53), 128 + 60 * np.sin((x + y) / 71), 128 + 70 * np.cos(x * y / 9e5))
    return np.clip(np.stack(planes, axis=2) + noise, 0, 255).astype(np.uint8)


def _bodies(photo: np.ndarray, rows: int) -> Iterator[tuple[str, bytes]]:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "PNG", compress_level=3)
    yield "photo.png", file.getvalue()
    packings = {"plain": None, "deflate": "tiff_adobe_deflate", "lzw": "tiff_lzw", "packbits": "packbits", "jpeg": "jpeg"}
    for name, packing in packings.items():
        yield f"{name}.tif", _tiff(photo, packing, rows)
    yield "deflate-one-strip.tif", _tiff(photo, "tiff_adobe_deflate", len(photo))


def _tiff(photo: np.ndarray, packing: str | None, rows: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "TIFF", compression=packing, strip_size=rows * photo.shape[1] * photo.shape[2])
    return file.getvalue()


def _damaged(body: bytes, damage: str, chance: random.Random) -> bytes:
    first, last = 2000, len(body) - 2000  # heads and directories are another matter
    at, other = chance.randrange(first, last), chance.randrange(first, last)
    made = bytearray(body)
    match damage:
        case "cut":
            return body[:at]
        case "64 zeros" | "512 zeros":
            n = int(damage.split()[0])
            made[at : at + n] = bytes(n)
        case "blocks swapped":
            made[at : at + 512], made[other : other + 512] = body[other : other + 512], body[at : at + 512]
        case "bit flipped":
            made[at] ^= 1 << chance.randrange(8)
    return bytes(made)


def _ours(paths: list[str]) -> Reading:
    return _reading([sys.executable, "-c", _MEASURED.format(setup=_OURS), *paths])


def _vips(paths: list[str]) -> Reading:
    return _reading([str(python_of("vips")), "-c", _MEASURED.format(setup=_VIPS), *paths])


def _reading(command: list[str]) -> Reading:
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    refused, start_s, read_s, peak_kib = json.loads(done.stdout.splitlines()[-1])
    return Reading(dict(refused), start_s, read_s, peak_kib)


if __name__ == "__main__":
    main()
