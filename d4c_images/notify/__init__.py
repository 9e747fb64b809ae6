"""Notifications to people: what a notifier is, and which one is used. Decides neither when to send nor what to say.

A notifier never disturbs a run: `send` returns at once and never raises, whatever the service does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Notifier(Protocol):
    def send(self, text: str, /) -> None:
        """Queue one message for delivery. Returns at once; never raises."""

    def close(self, timeout_s: float = ...) -> None:
        """Deliver what is queued, for at most `timeout_s` seconds. Never raises."""


class SilentNotifier:
    """Sends nothing."""

    def send(self, text: str, /) -> None:
        pass

    def close(self, timeout_s: float = 0.0) -> None:
        pass


def notifier_for(webhook_url: str | None, warn: Callable[[str], None]) -> Notifier:
    """Slack if a webhook is set; otherwise none, after one line of warning."""
    if webhook_url is None:
        warn("SLACK_WEBHOOK_URL is not set: notifications are off")
        return SilentNotifier()
    from d4c_images.notify.slack import SlackNotifier  # imports `requests`, which is not needed otherwise

    return SlackNotifier(webhook_url, warn)
