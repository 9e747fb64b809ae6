"""Who is asking: the User-Agent, with a contact through which a person can be reached. Sends nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass

from d4c_images.errors import UsageError
from d4c_images.model import USER_AGENT

PROJECT_URL = ""
"""A page that says what this program is and how it treats servers. Empty until there is one."""

NO_CONTACT = (
    "warning: D4C_CONTACT is not set, so publishers cannot write to you and may block this run instead. "
    "Set it to your mail address or a web page, in the environment or in .env"
)

_DOMAIN = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9]"
_MAIL = re.compile(rf"(?:mailto:)?([A-Za-z0-9!#$%&'*+/=?^_`{{|}}~.-]+@{_DOMAIN})", re.ASCII).fullmatch
_PAGE = re.compile(rf"(?i:https?)://{_DOMAIN}(?::[0-9]+)?(?:[/?#][A-Za-z0-9._~:/?#@!$&'*+,;=%\[\]-]*)?", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class Contact:
    text: str  # as written in the User-Agent
    mail: str | None = None  # for the header From, which holds nothing else


def read(text: str) -> Contact:
    """The contact in a setting. Raises `UsageError` if nobody could be reached by it, or it does not fit into a header."""
    if found := _MAIL(text):
        return Contact(text, found[1])
    if _PAGE(text):
        return Contact(text)
    raise UsageError(
        f"D4C_CONTACT={text!r} is neither a mail address (you@example.edu) nor a web page (https://example.edu/images), in ASCII: "
        "it is sent to publishers' servers, so that somebody can write to you instead of blocking you"
    )


def user_agent(contact: Contact | None) -> str:
    """Program, version, project page and contact, as far as known."""
    known = [part for part in (PROJECT_URL, contact and contact.text) if part]
    return f"{USER_AGENT} (+{'; '.join(known)})" if known else USER_AGENT
