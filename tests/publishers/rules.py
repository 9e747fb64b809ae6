"""Which behaviour a URL gets: rules in order, `NAME.evil.test` hosts, else well. Answers nothing itself.

A rule reads `HOST[/PATH-GLOB]=BEHAVIOUR[:ARG][ xN[/url]][ P%]`, one per line:

    media.example.org=slow_first_byte:0.5          every request of the host
    *.example.org/photos/*.jpg=html_as_jpeg        globs over host, and over path with query
    media.example.org=http_429_seconds:2 x3        the first three requests, then the next rule that fits
    media.example.org=http_500 x1/url              the first request of each URL
    media.example.org=http_404 30%                 the same 30 % of the URLs every time

The first rule that fits decides; rules put later are looked at before those put earlier. Without any rule the host
`http-404.evil.test` shows the behaviour http_404, and `http-429-seconds--2.evil.test` the same with an ARG.
"""

from __future__ import annotations

import fnmatch
import re
import zlib
from collections import Counter
from dataclasses import dataclass, field

from tests.publishers import bodies, breaks, conditions, iiif  # noqa: F401  fill the table
from tests.publishers.evils import TLS_BEHAVIOURS
from tests.publishers.registry import BEHAVIOURS

EVIL_SUFFIX = ".evil.test"
_RULE = re.compile(
    r"(?P<host>[^/=\s]+)(?P<path>/.*)?=(?P<name>\w+)(?::(?P<arg>[^\s=]+))?"
    r"(?:\s+x(?P<times>\d+)(?P<per_url>/url)?)?(?:\s+(?P<share>\d+)%)?"
)


@dataclass(slots=True)
class Rule:
    text: str
    host: re.Pattern[str]
    path: re.Pattern[str]
    name: str
    arg: str
    times: int | None
    per_url: bool
    share: int
    used: Counter[str] = field(default_factory=Counter)

    def fits(self, host: str, target: str) -> bool:
        if not (self.host.fullmatch(host) and self.path.fullmatch(target)):
            return False
        if self.share < 100 and zlib.crc32(f"{host}{target}".encode()) % 100 >= self.share:
            return False
        return self.times is None or self.used[self._counted(host, target)] < self.times

    def use(self, host: str, target: str) -> None:
        if self.times is not None:
            self.used[self._counted(host, target)] += 1

    def _counted(self, host: str, target: str) -> str:
        return f"{host}{target}" if self.per_url else ""


def parse_rule(text: str) -> Rule:
    """Raises `ValueError` with the text where it is no rule or names no behaviour."""
    match = _RULE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a rule: {text!r}")
    if match["name"] not in BEHAVIOURS:
        raise ValueError(f"no behaviour {match['name']!r} in {text!r}")
    return Rule(
        text=text.strip(),
        host=re.compile(fnmatch.translate(match["host"].lower())),
        path=re.compile(fnmatch.translate(match["path"] or "*")),
        name=match["name"],
        arg=match["arg"] or "",
        times=int(match["times"]) if match["times"] else None,
        per_url=bool(match["per_url"]),
        share=int(match["share"] or 100),
    )


def parse_rules(text: str) -> list[Rule]:
    """Lines of rules; empty lines and lines that begin with `#` are passed over."""
    return [parse_rule(line) for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


class RuleBook:
    def __init__(self, given: list[Rule]) -> None:
        self._given = [rule.text for rule in given]
        self.rules = given

    def put(self, rules: list[Rule]) -> None:
        self.rules = rules + self.rules

    def reset(self) -> None:
        """Back to the rules of the start, unused."""
        self.rules = [parse_rule(text) for text in self._given]

    def behaviour_of(self, host: str, target: str) -> tuple[str, str]:
        """Name and argument; counts the use."""
        for rule in self.rules:
            if rule.name not in TLS_BEHAVIOURS and rule.fits(host, target):
                rule.use(host, target)
                return rule.name, rule.arg
        return by_name_of_host(host)

    def tls_of(self, host: str) -> str | None:
        """The handshake's behaviour, where it is a bad one; counts the use."""
        for rule in self.rules:
            if rule.name in TLS_BEHAVIOURS and rule.fits(host, "/"):
                rule.use(host, "/")
                return rule.name
        name = by_name_of_host(host)[0]
        return name if name in TLS_BEHAVIOURS else None


def by_name_of_host(host: str) -> tuple[str, str]:
    name = host.partition(":")[0]
    if not name.endswith(EVIL_SUFFIX):
        return "ok", ""
    behaviour, _, arg = name.removesuffix(EVIL_SUFFIX).partition("--")
    named = arg.replace("-", "_")
    behaviour = behaviour.replace("-", "_")
    return (behaviour if behaviour in BEHAVIOURS else "no_such_behaviour"), (named if named in BEHAVIOURS else arg)
