"""`notify-test`: sends one message. Needs no ledger."""

from __future__ import annotations

import argparse
import socket

from d4c_images.commands import arguments
from d4c_images.errors import UsageError
from d4c_images.settings import Settings


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    arguments.command(
        subparsers,
        "notify-test",
        run,
        "Send a test message to Slack. Exits with 1 if Slack does not accept it.",
        settings,
        ledger=False,
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    from d4c_images.notify.slack import send_and_wait

    if settings.slack_webhook_url is None:
        raise UsageError("SLACK_WEBHOOK_URL is not set: add it to .env or the environment")
    send_and_wait(settings.slack_webhook_url, f"d4c-images on {socket.gethostname()}: test message")
    print("message delivered")
    return 0
