"""The Slack notifier against a real server that answers, refuses, hangs, stalls or is not there."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from d4c_images.errors import D4CError
from d4c_images.notify import SilentNotifier, notifier_for
from d4c_images.notify import slack as slack_module
from d4c_images.notify.slack import SlackNotifier, send_and_wait
from tests.support.patience import PATIENCE_S

SECRET = "/services/T000/B000/s3cr3t"


class FakeSlack(ThreadingHTTPServer):
    """Answers each POST with `answer`, and not before `release` is set."""

    daemon_threads = True
    answer: tuple[int, bytes] = (200, b"ok")
    headers: tuple[tuple[str, str], ...] = ()

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.texts: list[str] = []
        self.answers: Iterator[tuple[int, bytes]] = iter(())  # before `answer`
        self.arrived = threading.Semaphore(0)
        self.release = threading.Event()
        self.release.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{SECRET}"


class Handler(BaseHTTPRequestHandler):
    server: FakeSlack

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == SECRET
        assert self.headers["Content-Type"] == "application/json"
        self.server.texts.append(json.loads(body)["text"])
        self.server.arrived.release()
        self.server.release.wait(3 * PATIENCE_S)
        code, answer = next(self.server.answers, self.server.answer)
        self.send_response(code)
        for name, value in self.server.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            pass  # the client gave up, which is what some tests are about

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    server = FakeSlack()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack_module, "ANSWER_S", 0.2)
    monkeypatch.setattr(slack_module, "SLACK_CONNECT_S", 0.2)


def nobody_listens() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}{SECRET}"


def test_messages_arrive_in_order(slack: FakeSlack, warnings: list[str]) -> None:
    notifier = notifier_for(slack.url, warnings.append)
    assert isinstance(notifier, SlackNotifier)
    for n in range(3):
        notifier.send(f"message {n} \N{CHECK MARK}")
    notifier.close()
    assert slack.texts == [f"message {n} \N{CHECK MARK}" for n in range(3)]
    assert (notifier.sent, notifier.lost, warnings) == (3, 0, [])


def test_without_a_webhook_one_warning_and_silence(warnings: list[str]) -> None:
    notifier = notifier_for(None, warnings.append)
    assert isinstance(notifier, SilentNotifier)
    notifier.send("x")
    notifier.close()
    assert len(warnings) == 1
    assert "SLACK_WEBHOOK_URL" in warnings[0]


def test_a_hanging_slack_holds_up_nobody(slack: FakeSlack, warnings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack_module, "ANSWER_S", 2 * PATIENCE_S)
    slack.release.clear()
    notifier = SlackNotifier(slack.url, warnings.append)
    began = time.monotonic()
    notifier.send("first")
    slack.arrived.acquire()
    for n in range(slack_module.MAX_MESSAGES_WAITING + 5):
        notifier.send(f"later {n}")
    notifier.close(timeout_s=0.1)
    assert time.monotonic() - began < PATIENCE_S
    assert notifier.lost == slack_module.MAX_MESSAGES_WAITING + 6
    assert warnings == [f"Slack: {slack_module.MAX_MESSAGES_WAITING + 6} messages could not be delivered"]


def test_when_too_many_wait_the_oldest_are_dropped(slack: FakeSlack, warnings: list[str]) -> None:
    slack.release.clear()
    notifier = SlackNotifier(slack.url, warnings.append)
    notifier.send("first")
    slack.arrived.acquire()
    for n in range(slack_module.MAX_MESSAGES_WAITING + 1):
        notifier.send(f"later {n}")
    slack.release.set()
    notifier.close()
    assert slack.texts[:2] == ["first", "later 1"]
    assert slack.texts[-1] == f"later {slack_module.MAX_MESSAGES_WAITING}"
    assert notifier.lost == 1


@pytest.mark.parametrize(
    ("answer", "headers", "reason"),
    [
        ((500, b""), (), "HTTP 500"),
        ((404, b"no_service"), (), "HTTP 404, no_service"),
        ((302, b""), (("Location", "/elsewhere"),), "HTTP 302"),
        ((429, b"rate_limited"), (("Retry-After", "3600"),), "HTTP 429, rate_limited"),
        ((400, b"bad\r\n\x1b[31mred"), (), r"HTTP 400, bad   \[31mred"),
    ],
)
def test_a_refusal_is_told_once_and_costs_no_waiting(
    slack: FakeSlack, warnings: list[str], answer: tuple[int, bytes], headers: tuple[tuple[str, str], ...], reason: str
) -> None:
    slack.answer, slack.headers = answer, headers
    began = time.monotonic()
    notifier = SlackNotifier(slack.url, warnings.append)
    notifier.send("one")
    notifier.send("two")
    notifier.close()
    with pytest.raises(D4CError, match=f"could not be delivered to Slack: {reason}$"):
        send_and_wait(slack.url, "three")
    assert time.monotonic() - began < PATIENCE_S, "Retry-After says an hour"
    assert slack.texts == ["one", "two", "three"], "each was sent exactly once"
    assert (notifier.sent, notifier.lost, len(warnings)) == (0, 2, 2)
    assert not any("s3cr3t" in line or "\n" in line for line in warnings)


def test_recovery_after_a_failure(slack: FakeSlack, warnings: list[str]) -> None:
    notifier = SlackNotifier(slack.url, warnings.append)
    slack.release.clear()
    notifier.send("lost")
    slack.arrived.acquire()
    notifier.send("arrives")
    slack.answers = iter([(500, b""), (200, b"ok")])  # one thread sends one after the other
    slack.release.set()
    notifier.close()
    assert (notifier.sent, notifier.lost) == (1, 1)


@pytest.mark.usefixtures("impatient")
def test_no_answer_in_time(slack: FakeSlack) -> None:
    slack.release.clear()
    with pytest.raises(D4CError, match="timed out"):
        send_and_wait(slack.url, "x")


def test_an_answer_that_drips_does_not_hold_up_the_test_message() -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not stop.wait(0.02):
                    try:
                        connection.sendall(b"X-Drip: 1\r\n")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(D4CError, match=r"no complete response within 0\.3 s"):
            send_and_wait(f"http://127.0.0.1:{server.getsockname()[1]}{SECRET}", "x", timeout_s=0.3)
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    "url", [nobody_listens(), "http://[broken" + SECRET, "http://name.invalid" + SECRET], ids=["nobody", "broken", "no such name"]
)
def test_nothing_there_or_nonsense_never_raises_and_never_shows_the_address(url: str, warnings: list[str]) -> None:
    notifier = SlackNotifier(url, warnings.append)
    notifier.send("x")
    notifier.close()
    with pytest.raises(D4CError) as caught:
        send_and_wait(url, "x")
    assert notifier.lost == 1
    assert not any("s3cr3t" in line for line in [*warnings, str(caught.value)])


def test_send_and_wait_returns_when_it_arrived(slack: FakeSlack) -> None:
    send_and_wait(slack.url, "hello")
    assert slack.texts == ["hello"]


def test_the_secret_is_not_in_repr(slack: FakeSlack) -> None:
    assert "s3cr3t" not in repr(SlackNotifier(slack.url, print))
