"""Messages to people: what a notifier is, and which one applies. Decides neither when to speak nor what to say.

A notifier disturbs nothing: `send` returns at once and never raises, whatever the service does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Notifier(Protocol):
    def send(self, text: str, /) -> None:
        """Take one message for delivery. Returns at once; never raises."""

    def close(self, timeout_s: float = ...) -> None:
        """Deliver what is waiting, for at most so many seconds. Never raises."""


class SilentNotifier:
    """Says nothing."""

    def send(self, text: str, /) -> None:
        pass

    def close(self, timeout_s: float = 0.0) -> None:
        pass


def notifier_for(webhook_url: str | None, warn: Callable[[str], None]) -> Notifier:
    """Slack where a webhook is set, silence after one line of warning where not."""
    if webhook_url is None:
        warn("SLACK_WEBHOOK_URL is not set: notifications are off")
        return SilentNotifier()
    from d4c_images.notify.slack import SlackNotifier  # loads `requests`, which nobody else needs

    return SlackNotifier(webhook_url, warn)
