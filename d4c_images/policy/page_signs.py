"""What a page received instead of an image says about us or its host: bot checks, quotas, maintenance and the like.

A sign alone proves little, since any page may have a log-in link or mention captchas: `shut_door` decides, by a host's answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from d4c_images.model import Sign

# Headers of a challenge or a block, never of an image or a plain refusal: the name, and how its value begins.
_HEADERS: tuple[tuple[str, str, Sign], ...] = (
    ("cf-mitigated", "challenge", Sign.BOT_CHECK),  # https://developers.cloudflare.com/cloudflare-challenges/
    ("x-amzn-waf-action", "challenge", Sign.BOT_CHECK),  # https://docs.aws.amazon.com/waf/latest/developerguide/
    ("x-amzn-waf-action", "captcha", Sign.BOT_CHECK),
    ("x-vercel-mitigated", "challenge", Sign.BOT_CHECK),
    ("x-vercel-mitigated", "deny", Sign.BLOCKED),
    ("x-datadome", "protected", Sign.BOT_CHECK),
)
# In the order of search: a bot check's page may say that an address was blocked, but not the other way round.
_TEXTS: tuple[tuple[Sign, str], ...] = (
    (
        Sign.BOT_CHECK,
        r"just a moment\.\.\.|checking (?:if the site connection|your browser)|not a (?:ro)?bot\b"
        r"|are (?:you )?(?:a )?(?:human|robot)|captcha|unusual traffic|security check|ddos protection"
        r"|enable javascript and cookies|verify(?:ing)? (?:that )?you are"
        r"|pardon our interruption|attention required!|proof.of.work|robot check|vous êtes un (?:humain|robot)|kein roboter"
        r"|no (?:eres|soy) un robot|human verification|client challenge|ddos.guard|request is being verified",
    ),
    (
        Sign.BLOCKED,
        r"\bip(?: address)?\b.{0,40}\b(?:block|bann|blacklist)|you (?:have been|are|were) (?:blocked|banned)"
        r"|(?:request|access|page) (?:has been |was |is )?blocked|incapsula incident|requested url was rejected|website firewall",
    ),
    (
        Sign.QUOTA,
        r"too many requests|rate.?limit|quota|bandwidth limit|(?:download|daily|hourly|request|transfer) limit"
        r"|limit (?:has been |was )?(?:exceeded|reached)|too many (?:users have|downloads|connections)",
    ),
    (
        Sign.MAINTENANCE,
        r"(?:under|down for|scheduled|site|system) maintenance|maintenance (?:mode|work|in progress)"
        r"|temporarily (?:unavailable|offline)|(?:we'll|will) be (?:right )?back|wartungs(?:arbeiten|modus)|wegen wartung"
        r"|en maintenance|(?:en|em) (?:mantenimiento|manutenção)",
    ),
    (
        Sign.LOG_IN,
        r"^(?:log ?in|sign ?in|login required|anmelden|anmeldung|connexion|iniciar sesión)\b"
        r"|(?:please|must|need to|required to) (?:be logged in|log ?in|sign in)|(?:log|sign) ?in to (?:continue|view|access)"
        r"|authentication (?:is )?required|login (?:is )?required",
    ),
    (
        Sign.TERMS,
        r"(?:accept|agree (?:to|with)) (?:the |our |these )?(?:terms|conditions|licen[cs]e)"
        r"|terms of (?:use|service) (?:must|have to) be accepted",
    ),
)
_TEXT = re.compile("|".join(f"(?P<{sign.name}>{pattern})" for sign, pattern in _TEXTS), re.IGNORECASE)
SHORT_PAGE_WORDS = 120  # a page up to this length is about nothing else; of a longer one, only the start counts
TITLE = 100  # characters
SPEAKS_OF_US = frozenset((Sign.BOT_CHECK, Sign.BLOCKED, Sign.QUOTA))  # another URL of the same host would get the same answer


def in_headers(headers: Mapping[str, str]) -> Sign | None:
    """A sign that is certain: only a gatekeeper sends such a header."""
    for name, start, sign in _HEADERS:
        if name in headers and headers[name].strip().lower().startswith(start):
            return sign
    return None


def in_text(text: str) -> Sign | None:
    """The strongest sign in a page's readable text."""
    found = {match.lastgroup for match in _TEXT.finditer(text if text.count(" ") < SHORT_PAGE_WORDS else text[:TITLE])}
    return next((sign for sign, _ in _TEXTS if sign.name in found), None)
