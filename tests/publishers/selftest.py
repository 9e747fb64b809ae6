"""Measures what the server itself can bear, so that no benchmark measures the server. Its load: pycurl, here."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pycurl

from tests.publishers.client import Publishers

CONNECTIONS = 64


def measure(requests: int, latency_ms: float = 0.0, image_kb: float = 40.0) -> dict[str, float]:
    """Requests per second over plain HTTP keep-alive, 64 connections to 8 hosts, and the server's CPU per request."""
    arguments = ["--fast", "--image-kb", str(image_kb), "--latency-ms", str(latency_ms)]
    with Publishers(arguments) as publishers:
        _load(publishers, min(requests, 500))
        cpu_before = _cpu_s(publishers.pid)
        own_before = resource.getrusage(resource.RUSAGE_SELF)
        started = time.perf_counter()
        received = _load(publishers, requests)
        wall_s = time.perf_counter() - started
        own = resource.getrusage(resource.RUSAGE_SELF)
        server_s = _cpu_s(publishers.pid) - cpu_before
    client_s = own.ru_utime + own.ru_stime - own_before.ru_utime - own_before.ru_stime
    return {
        "requests": requests,
        "requests_per_s": round(requests / wall_s, 1),
        "mb_per_s": round(received / wall_s / 1e6, 1),
        "server_cpu_us_per_request": round(server_s / requests * 1e6, 1),
        "requests_per_s_of_one_core": round(requests / max(server_s, 1e-9), 1),
        "client_cpu_us_per_request": round(client_s / requests * 1e6, 1),
    }


def _load(publishers: Publishers, requests: int) -> int:
    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_MAXCONNECTS, 2 * CONNECTIONS)
    received = started = finished = 0

    def count(chunk: bytes) -> None:
        nonlocal received
        received += len(chunk)

    def begin(curl: pycurl.Curl) -> None:
        nonlocal started
        curl.setopt(pycurl.URL, f"http://host-{started % 8}.test/{started}.jpg")
        multi.add_handle(curl)
        started += 1

    handles = []
    for _ in range(min(CONNECTIONS, requests)):
        curl = pycurl.Curl()
        curl.setopt(pycurl.CONNECT_TO, [publishers.connect_to])
        curl.setopt(pycurl.WRITEFUNCTION, count)
        curl.setopt(pycurl.BUFFERSIZE, 256 * 1024)
        handles.append(curl)
        begin(curl)
    while finished < requests:
        multi.perform()
        _, done, failed = multi.info_read()
        if failed:
            raise RuntimeError(f"the publishers' server failed: {failed[0][2]}")
        for curl in done:
            finished += 1
            multi.remove_handle(curl)
            if started < requests:
                begin(curl)
        if not done:
            multi.select(1.0)
    for curl in handles:
        curl.close()
    multi.close()
    return received


def _cpu_s(pid: int) -> float:
    """User and system time of a process so far (proc(5), /proc/pid/stat, fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
