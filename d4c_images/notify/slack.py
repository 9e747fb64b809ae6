"""Posts messages to a Slack webhook from its own thread. Never prints the webhook's address, which is a secret.

Slack answers 200 and "ok"; a refusal is a 4xx with a word such as "no_service" or "invalid_payload"
(https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, "Handling errors").
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from d4c_images.durations import counted
from d4c_images.errors import D4CError, printable

SLACK_CONNECT_S = 5.0
ANSWER_S = 5.0
MAX_MESSAGES_WAITING = 100  # if Slack hangs, the oldest are dropped
MAX_TEXT = 3_000  # characters; Slack cuts a text at 40,000


class SlackNotifier:
    """A `Notifier`. `warn` gets one line when the first message is lost, and one at the end if others were."""

    def __init__(self, webhook_url: str, warn: Callable[[str], None]) -> None:
        self._webhook_url = webhook_url
        self._warn = warn
        self._waiting: deque[str] = deque()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = False
        self._closed = False
        self.sent = 0
        self.lost = 0

    def send(self, text: str, /) -> None:
        with self._change:
            if self._closed:
                return
            if len(self._waiting) == MAX_MESSAGES_WAITING:
                self._waiting.popleft()
                self.lost += 1
            self._waiting.append(text)
            if self._thread is None:  # a daemon: a hanging Slack must not keep the program from exiting
                self._thread = threading.Thread(target=self._deliver, name="slack", daemon=True)
                self._thread.start()
            self._change.notify_all()

    def close(self, timeout_s: float = 8.0) -> None:
        with self._change:
            self._change.wait_for(lambda: not self._waiting and not self._busy, timeout_s)
            self._closed = True
            self.lost += len(self._waiting) + self._busy
            self._waiting.clear()
            self._change.notify_all()
            if self.lost > 1:
                self._warn(f"Slack: {counted(self.lost, 'message')} could not be delivered")

    def _deliver(self) -> None:
        session = _session()
        while True:
            with self._change:
                self._change.wait_for(lambda: bool(self._waiting) or self._closed)
                if not self._waiting:
                    return
                text = self._waiting.popleft()
                self._busy = True
            failure = _post(session, self._webhook_url, text)
            with self._change:
                self._busy = False
                if failure is None:
                    self.sent += 1
                elif not self._closed:
                    self.lost += 1
                    if self.lost == 1:
                        self._warn(f"Slack: a message could not be delivered: {failure}")
                self._change.notify_all()


def send_and_wait(webhook_url: str, text: str, timeout_s: float = 15.0) -> None:
    """Send one message; raises `D4CError`, with the reason, unless Slack accepts it within `timeout_s`."""
    result: list[str | None] = []
    thread = threading.Thread(target=lambda: result.append(_post(_session(), webhook_url, text)), name="slack", daemon=True)
    thread.start()
    thread.join(timeout_s)
    failure = result[0] if result else f"no complete response within {timeout_s:g} s"
    if failure is not None:
        raise D4CError(f"the message could not be delivered to Slack: {failure}")


def _session() -> requests.Session:
    session = requests.Session()
    adapter = HTTPAdapter(max_retries=Retry(0, respect_retry_after_header=False))  # it would sleep for as long as the header says
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _escaped(text: str) -> str:
    """Without anything that Slack would read as a mention or a link
    (https://docs.slack.dev/messaging/formatting-message-text, "Escaping text"), and without invalid characters."""
    return printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _post(session: requests.Session, webhook_url: str, text: str) -> str | None:
    """Why the message did not arrive, or None. In our own words: those of `requests` contain the address."""
    try:
        reply = session.post(
            webhook_url,
            json={"text": _escaped(text[:MAX_TEXT])},
            timeout=(SLACK_CONNECT_S, ANSWER_S),
            allow_redirects=False,
            stream=True,
        )
        with reply:
            word = reply.raw.read(100).decode("utf-8", "replace")
    except requests.exceptions.SSLError:
        return "TLS certificate verification failed"
    except requests.exceptions.Timeout:
        return "timed out"
    except requests.exceptions.ConnectionError:
        return "connection failed"
    except Exception as error:  # a notification must not disturb a run, whatever goes wrong
        return type(error).__name__
    if reply.status_code == 200:
        return None
    word = "".join(letter if letter.isprintable() else " " for letter in word).strip()
    return f"HTTP {reply.status_code}" + (f", {word}" if word else "")
