"""The peers of the races: how each is installed, how it is run at its best, and what it does not do. Measures nothing itself.

A peer that cannot be had is named with the reason, and the race goes on without it. Python peers get an environment each
(`.venv-NAME` in the project's folder), since their pins do not go together with ours; the other two come from Debian.
Peers know no `--connect-to`, but all of them know a proxy: the server of a race answers as one for plain HTTP.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.common import PROJECT, Run, Task, count_files, timed

CURL_MOST = 300  # more than this, curl takes for its default of 50
SPIDER = PROJECT / "bench" / "spider.py"


class Unavailable(Exception):
    """Why a peer cannot be had here."""


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    lacks: str  # what it does not do in a race
    set_up: Callable[[], None]  # raises `Unavailable`
    run: Callable[[Task], Run]


def available(names: Iterable[str]) -> list[Peer]:
    """The peers of these names that can be had; says of each of the others why not."""
    found = []
    for name in names:
        try:
            PEERS[name].set_up()
        except Unavailable as why:
            print(f"without {name}: {why}", file=sys.stderr, flush=True)
        else:
            found.append(PEERS[name])
    return found


def run_curl(task: Task) -> Run:
    root = _root(task, "curl")
    config = task.folder / "curl.cfg"
    config.write_text("".join(f'url="{url}"\noutput="{root}/{number}.jpg"\n' for number, url in enumerate(task.urls)))
    command = ["curl", "-sS", "-Z", "--parallel-max", min(task.connections, CURL_MOST), "--fail", "--retry", task.retries]
    command += ["--max-time", task.patience_s, "--cacert", task.cacert, "-K", config]
    return timed(command, task.folder, lambda: count_files(root), _proxy(task), may_fail=True)


def run_aria2(task: Task) -> Run:
    """One connection a file: a second one to the same small file is a request more, and no image sooner."""
    root = _root(task, "aria2")
    wanted = task.folder / "aria2.in"
    wanted.write_text("".join(f"{url}\n  out={number}.jpg\n" for number, url in enumerate(task.urls)))
    options = {
        "input-file": wanted,
        "dir": root,
        "max-concurrent-downloads": task.connections,
        "max-connection-per-server": 1,
        "split": 1,
        "file-allocation": "none",
        "console-log-level": "error",
        "summary-interval": 0,
        "download-result": "hide",
        "async-dns": "false",
        "ca-certificate": task.cacert,
        "timeout": max(1, round(task.patience_s)),
        "max-tries": task.retries + 1,
    }
    command = ["aria2c", "--no-conf", *(f"--{key}={value}" for key, value in options.items())]
    return timed(
        command, task.folder, lambda: count_files(root, "*.jpg") - count_files(root, "*.aria2"), _proxy(task), may_fail=True
    )


def run_img2dataset(task: Task) -> Run:
    """Original bytes kept without a look at them, as its documentation says: no resizing, no re-encoding."""
    return _img2dataset(task, {"disable_all_reencoding": True})


def run_img2dataset_decoding(task: Task) -> Run:
    """Original bytes kept, and decoded as ours are: what is a whole JPEG already is not encoded again."""
    return _img2dataset(task, {"skip_reencode": True, "encode_format": "jpg"})


def _img2dataset(task: Task, how: dict[str, object]) -> Run:
    urls = task.folder / "urls.txt"
    urls.write_text("".join(f"{url}\n" for url in task.urls))
    root = task.folder / "img2dataset"
    options = how | {
        "url_list": urls,
        "input_format": "txt",
        "output_folder": root,
        "output_format": "files",
        "processes_count": 2,
        "thread_count": max(1, task.connections // 2),
        "resize_mode": "no",
        "number_sample_per_shard": min(1000, max(1, len(task.urls) // 2)),
        "compute_hash": None,
        "extract_exif": False,
        "enable_wandb": False,
        "timeout": max(1, round(task.patience_s)),
        "retries": task.retries,
    }
    command = [python_of("img2dataset").with_name("img2dataset"), *(f"--{key}={value}" for key, value in options.items())]
    environ = {"NO_ALBUMENTATIONS_UPDATE": "1", "SSL_CERT_FILE": str(task.cacert)}
    return timed(command, task.folder, lambda: count_files(root, "*.jpg"), environ | _proxy(task))


def run_scrapy(task: Task) -> Run:
    """FilesPipeline; the limits of the hosts as `DOWNLOAD_SLOTS`, the one peer that has such a setting."""
    root = _root(task, "scrapy")
    (task.folder / "urls.txt").write_text("".join(f"{url}\n" for url in task.urls))
    slots = {
        host: {"concurrency": limit.connections, "delay": limit.min_interval_s, "randomize_delay": False}
        for host, limit in task.limits.items()
    }
    given = {"root": str(root), "connections": task.connections, "slots": slots}
    given |= {"patience_s": task.patience_s, "retries": task.retries}
    (task.folder / "spider.json").write_text(json.dumps(given))
    command = [python_of("scrapy"), "-m", "scrapy", "runspider", SPIDER]
    environ = _proxy(task) | {"SSL_CERT_FILE": str(task.cacert)}
    return timed(command, task.folder, lambda: count_files(root), environ, most_s=task.most_s)


def _root(task: Task, name: str) -> Path:
    root = task.folder / name
    root.mkdir()
    return root


def _proxy(task: Task) -> dict[str, str]:
    """Nothing where the URLs lead to the server by themselves."""
    if all(host.partition(":")[0] == "localhost" for host in task.hosts):
        return {}
    return {"http_proxy": f"http://127.0.0.1:{task.port}"}


def _need_curl() -> None:
    if shutil.which("curl") is None:
        _from_debian("curl")


def _need_aria2() -> None:
    if shutil.which("aria2c") is None:
        _from_debian("aria2")


def _from_debian(package: str) -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Unavailable(f"it takes 'apt-get install {package}', as root")
    print(f"installing {package}", file=sys.stderr, flush=True)
    for words in (["update"], ["install", "-y", "--no-install-recommends", package]):
        done = subprocess.run(["apt-get", "-qq", *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise Unavailable(f"apt-get install {package}: {done.stderr.strip()[-300:]}")


def from_pypi(name: str, *requirements: str) -> None:
    folder = PROJECT / f".venv-{name}"
    ready = folder / "ready"
    if ready.exists() and ready.read_text() == "\n".join(requirements):
        return
    print(f"setting {name} up (once)", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--clear", folder], check=True)
    pip = [_python_with_pip(), "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "-q"]
    done = subprocess.run([*pip, *requirements], capture_output=True, text=True)
    if done.returncode != 0:
        raise Unavailable(f"pip install {' '.join(requirements)}: {done.stderr.strip()[-300:]}")
    ready.write_text("\n".join(requirements))


def python_of(name: str) -> Path:
    return PROJECT / f".venv-{name}" / "bin" / "python"


def _python_with_pip() -> str:
    """The interpreter that the project's environment was made from."""
    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")


def _need_img2dataset() -> None:
    from_pypi("img2dataset", "img2dataset==1.47.0", "setuptools<81")


def _need_scrapy() -> None:
    from_pypi("scrapy", "scrapy==2.19.0")


_NO_CHECK = "decode, make durable, keep a ledger"
PEERS = {
    peer.name: peer
    for peer in (
        Peer("curl -Z", f"{_NO_CHECK}, hash, pace a host", _need_curl, run_curl),
        Peer("aria2c", f"{_NO_CHECK}, hash, pace a host", _need_aria2, run_aria2),
        Peer("img2dataset", f"{_NO_CHECK}, hash, pace a host; tell one host from another", _need_img2dataset, run_img2dataset),
        Peer(
            "img2dataset, decoding", "make durable, keep a ledger, hash, pace a host", _need_img2dataset, run_img2dataset_decoding
        ),
        Peer("scrapy", f"{_NO_CHECK} (its md5 is of the bytes in memory)", _need_scrapy, run_scrapy),
    )
}
