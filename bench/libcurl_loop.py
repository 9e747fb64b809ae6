"""The lower bound: a bare libcurl loop in one process that writes each body to a file and decodes it once. The physical limit.

`python -m bench.libcurl_loop --urls FILE --root FOLDER --connections N --connect-to C --cacert FILE`. Decoder and call are ours,
since another one is another amount of work. No hash, no fsync, no ledger, no pace, no retry; one failure ends it.
"""

from __future__ import annotations

import argparse
import io
from collections import deque
from pathlib import Path

import pycurl

from d4c_images.decode import Decoder
from d4c_images.policy.sniff import sniff

HEAD_BYTES, TAIL_BYTES = 64 * 1024, 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--urls", "--root", "--cacert"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--connect-to", required=True)
    args = parser.parse_args()
    urls = deque(enumerate(args.urls.read_text().split()))
    bodies: dict[pycurl.Curl, tuple[int, io.BytesIO]] = {}
    multi, decoder = pycurl.CurlMulti(), Decoder()

    def start(curl: pycurl.Curl) -> None:
        number, url = urls.popleft()
        body = io.BytesIO()
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.WRITEFUNCTION, body.write)
        bodies[curl] = number, body
        multi.add_handle(curl)

    for _ in range(min(args.connections, len(urls))):
        curl = pycurl.Curl()
        curl.setopt(pycurl.CONNECT_TO, [args.connect_to])
        curl.setopt(pycurl.CAINFO, str(args.cacert))
        curl.setopt(pycurl.FAILONERROR, True)
        start(curl)
    while bodies:
        multi.perform()
        _, done, failed = multi.info_read()
        if failed:
            raise SystemExit(f"{failed[0][1]} {failed[0][2]}")
        for curl in done:
            multi.remove_handle(curl)
            number, body = bodies.pop(curl)
            if urls:
                start(curl)
            keep(decoder, args.root / f"{number}.jpg", body.getbuffer())
        if not done:
            multi.select(1.0)


def keep(decoder: Decoder, path: Path, body: memoryview) -> None:
    path.write_bytes(body)
    sniffed = sniff(bytes(body[:HEAD_BYTES]), bytes(body[-TAIL_BYTES:]), len(body))
    assert decoder.check(path, sniffed).ok


if __name__ == "__main__":
    main()
