"""`python -m tests.publishers`: start the server by hand, for the demo or for a benchmark. Arguments and wiring only."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path

from tests.publishers import demo, selftest
from tests.publishers.rules import RuleBook, parse_rule, parse_rules
from tests.publishers.server import Options, serve


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.publishers", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free one")
    parser.add_argument("--cacert", type=Path, help="where to write the CA certificate (default: a temporary file)")
    parser.add_argument("--ready-file", type=Path, help="write the JSON line there too, once connections are taken")
    parser.add_argument("--behave", action="append", default=[], metavar="RULE", help="HOST[/GLOB]=BEHAVIOUR[:ARG], see README.md")
    parser.add_argument("--behaviours-file", type=Path, help="such rules, one per line")
    parser.add_argument("--demo", action="store_true", help="the rules of the demo (demo.py)")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="added before each answer")
    parser.add_argument("--fast", action="store_true", help="every URL holds one JPEG, with a number of its own; no rules")
    parser.add_argument("--image-kb", type=float, default=40.0, help="size of that JPEG")
    parser.add_argument(
        "--until-eof", action="store_true", help="stop when standard input ends: dies with the process that started it"
    )
    parser.add_argument("--self-test", type=int, metavar="N", help="print the capacity, measured with N requests, and stop")
    given = parser.parse_args()
    try:
        rules = [parse_rule(text) for text in given.behave]
        if given.behaviours_file:
            rules += parse_rules(given.behaviours_file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if given.demo:
        rules += parse_rules(demo.RULES)
    if given.self_test:
        print(json.dumps(selftest.measure(given.self_test, latency_ms=given.latency_ms, image_kb=given.image_kb)))
        return 0
    options = Options(given.port, given.latency_ms / 1000, round(given.image_kb * 1000), given.fast)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    with tempfile.TemporaryDirectory(prefix="publishers-") as folder:
        cacert = given.cacert or Path(folder) / "ca.pem"
        asyncio.run(_run(options, RuleBook(rules), cacert, given.ready_file, given.until_eof))
    return 0


async def _run(options: Options, rules: RuleBook, cacert: Path, ready_file: Path | None, until_eof: bool) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    ready: asyncio.Future[int] = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if until_eof:
        loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 4096) else stop.set())
    serving = loop.create_task(serve(options, rules, cacert, stop, ready))
    serving.add_done_callback(lambda _: ready.cancel())
    await asyncio.wait((ready,))
    if ready.cancelled():
        await serving  # raises what kept it from starting
    line = json.dumps(ready_line(ready.result(), cacert))
    if ready_file:
        unready = ready_file.with_name(ready_file.name + ".new")
        unready.write_text(line + "\n")
        unready.replace(ready_file)
    print(line, flush=True)
    await serving


def ready_line(port: int, cacert: Path) -> dict[str, object]:
    """One port serves both schemes; it is named twice for those who want to map them apart."""
    return {
        "port": port,
        "http_port": port,
        "https_port": port,
        "connect_to": f"::127.0.0.1:{port}",
        "cacert": str(cacert.resolve()),
        "pid": os.getpid(),
    }


if __name__ == "__main__":
    sys.exit(main())
