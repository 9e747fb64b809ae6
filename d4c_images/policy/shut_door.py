"""Does a host answer everything with one page? Then the page says nothing about any image: a bot check, a quota, a log-in, a ban.

Takes the answers of one host in order, and says which images are shut out. Sends nothing, and has no clock. The rules are a table
in docs/explanation/shut-doors.md: what counts is the status class, whether different images bring the same page, whether images
come before it or in between, and whether the page has a sign (`page_signs`).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from d4c_images.model import ErrorType, Sign, Status, Verdict

ALIKE = 0.8  # share of words that two like pages have in common
SIGNED_AT_FIRST = 1  # pages with a strong sign, from a host that has never sent an image
SIGNED = 3  # ... from one that has
UNSIGNED = 10  # pages without a sign, or with one that a missing image's page may have, too
LONGER = 3  # times the longest run that an image has ended: longer than any run of missing images so far
MIXED_PICTURES = 100  # with this many images since the page was first seen, and MIXED_ROWS runs, the page is about images
MIXED_ROWS = 3
MIXED = 100  # ... and a run must be this long to mean anything
SUSPECTS_KEPT = 128  # images that met the page of a host not known to be shut: retried if it turns out to be
STRONG = frozenset((Sign.BOT_CHECK, Sign.BLOCKED, Sign.QUOTA, Sign.MAINTENANCE))
FEW_PROBES = 2  # failed probes: a host that sends an image after no more of them may have been open all along
MISSING_CODES = frozenset((404, 410))  # such an answer is explicitly about the image
REDIRECT = 302  # stands for all redirects to a shut host
TO = "to "  # start of the text about such a redirect, before the host's name
_TOKEN = re.compile(r"[^\s<>\"'(),;:!?|，。、！？：；「」（）【】]+")
_WORD = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*\.*")
_LONGEST_WORD = 24
_PICTURE = re.compile(r"\.(?:jpe?g|jp2|png|gif|tiff?|webp|bmp|avif|hei[cf]|dng|cr[23]|nef|arw)(?:[?#]|\Z)", re.IGNORECASE)


class PageFingerprint(NamedTuple):
    """What identifies a page: its status class and words, without names, numbers and addresses, which differ by image."""

    is_refusal: bool  # otherwise it came in place of the image
    words: frozenset[str]

    def is_like(self, other: PageFingerprint) -> bool:
        if self.is_refusal != other.is_refusal:
            return False
        n_most = max(len(self.words), len(other.words))
        return len(self.words & other.words) >= ALIKE * n_most


class AnswerKind(Enum):
    """What an answer counts as here."""

    PICTURE = 1
    PAGE = 2
    NEITHER = 3


class Answer(NamedTuple):
    """One answer of a host."""

    image_id: int
    url_no: int  # the candidate that the attempt started with
    code: int
    verdict: Verdict
    is_stored: bool = False  # the image is stored already, and was refetched
    is_of_picture: bool = False  # the requested URL names an image (`names_picture`)
    n_before: int = 0  # images right before it with like answers, recognised only now


class Suspect(NamedTuple):
    """An image failed by the page before the page was recognised."""

    image_id: int
    url_no: int


def page_of(code: int, text: str | None) -> PageFingerprint:
    """Pages of other media than text are distinguished by what `judge` says about them, including their sizes."""
    if text is None or text.startswith("with a body of "):
        return PageFingerprint(code >= 300, frozenset((text,) if text else ()))
    tokens = (token for token in _TOKEN.findall(text) if len(token) <= _LONGEST_WORD)
    return PageFingerprint(code >= 300, frozenset(token.lower() for token in tokens if _WORD.fullmatch(token)))


def kind_of(code: int, verdict: Verdict) -> AnswerKind:
    """According to `judge`."""
    if verdict.status is Status.SUCCESS:
        return AnswerKind.PICTURE
    is_refused = 400 <= code < 500 and verdict.error_type == f"http_{code}"
    if is_refused or verdict.error_type == ErrorType.INVALID_CONTENT_TYPE:
        return AnswerKind.PAGE
    return AnswerKind.PAGE if verdict.sign is not None and code >= 200 else AnswerKind.NEITHER


def names_picture(url: str) -> bool:
    """Whether a URL's path ends like an image file's name: a good answer that is a page is not what it promises."""
    return _PICTURE.search(url.partition("?")[0]) is not None


def may_be_shut(code: int, sign: Sign | None, *, promises: bool) -> bool:
    """Whether a run of such pages can show that a host is shut. `promises`: it has sent images, or its URLs name some."""
    return _least(code, sign, has_given=promises, promises=promises) is not None


def _least(code: int, sign: Sign | None, *, has_given: bool, promises: bool) -> int | None:
    """The table: how many pages in a row show it, before anything is known about the mix of images and pages at this host."""
    if code in MISSING_CODES:
        return UNSIGNED if sign in STRONG else None
    if code == REDIRECT:
        return UNSIGNED  # the sign belongs to another host
    if sign is Sign.QUOTA and (code == 429 or code >= 500):
        return UNSIGNED  # too many requests is first a matter of pace
    if sign in STRONG:
        return SIGNED if has_given else SIGNED_AT_FIRST
    if sign is not None:
        return SIGNED if has_given else UNSIGNED
    return UNSIGNED if promises or code >= 300 else None


@dataclass(slots=True)
class Door:
    """What is remembered of a host that has sent such a page."""

    has_given: bool  # images, ever
    page: PageFingerprint | None = None
    n_row: int = 0  # different images in a row that brought the page
    n_rows: int = 0  # such runs that an image has ended
    longest: int = 0  # longest such run
    n_pictures: int = 0  # images since the page was first seen
    suspects: deque[Suspect] = field(default_factory=lambda: deque(maxlen=SUSPECTS_KEPT))
    sign: Sign | None = None
    code: int = 0  # of the latest such answer
    text: str = ""  # likewise
    is_of_pictures: bool = False  # the latest URL that brought the page names an image
    shuts_another: bool = False  # a host that has sent images now only redirects to this page
    is_led_to: bool = False  # by redirects of hosts that have sent images: a page with a sign replaces those
    shut_at: float | None = None  # unix time; None: it is open, as far as is known
    n_probes: int = 0  # failed ones since then
    named_until: float = 0.0  # unix time; the end of the latest wait that the host itself has named
    _last: int = 0  # the image that brought the page last

    @property
    def is_shut(self) -> bool:
        return self.shut_at is not None

    @property
    def is_uniform(self) -> bool:
        """It has sent one page without a sign for different images: believed, unless another host's redirects end here."""
        is_believed = not self.has_given and self.sign is None and 200 <= self.code < 300
        return is_believed and not self.is_shut and self.n_row >= UNSIGNED

    @property
    def is_mixed(self) -> bool:
        """Images and the page alternate: the page is about images."""
        return self.n_rows >= MIXED_ROWS and self.n_pictures >= MIXED_PICTURES

    @property
    def is_to_keep(self) -> bool:
        """Whether the next run must know of it: it is shut, or more of the same would show that it is."""
        return self.is_shut or (self.n_row > 1 and not self.is_mixed and self._enough() is not None)

    def picture(self) -> None:
        """An image has come, from a request sent while the host was not known to be shut, or from a probe."""
        self.has_given = True
        if self.is_shut:
            if self.n_probes > FEW_PROBES:
                self._forget()
                return
            self.shut_at = None  # so soon: it may have been a run of missing images
            self.suspects.clear()
        self.n_pictures += 1
        if self.n_row:
            self.n_rows += 1
            self.longest = max(self.longest, self.n_row)
            self.n_row = 0

    def is_about_images(self, answer: Answer) -> bool:
        """Whether an answer of a shut host comes from a working one: another page, which is about the image."""
        verdict, is_other = answer.verdict, self.page is None or not self.page.is_like(page_of(answer.code, answer.verdict.detail))
        return is_other and verdict.sign not in STRONG and (answer.code < 300 or answer.code in MISSING_CODES)

    def met(self, answer: Answer, now: float) -> bool:
        """A page has come. Returns whether that shows that the host is shut."""
        page = page_of(answer.code, answer.verdict.detail)
        if self.page is None or not self.page.is_like(page):
            self.page, self.n_row, self.n_rows, self.longest, self.n_pictures = page, 0, 0, 0, 0
            self.suspects.clear()
        self.n_row = max(self.n_row, answer.n_before) + (answer.image_id != self._last)
        self._last = answer.image_id
        if not answer.is_stored:
            self.suspects.append(Suspect(answer.image_id, answer.url_no))
        self.sign, self.code, self.text = answer.verdict.sign, answer.code, answer.verdict.detail or ""
        self.is_of_pictures = answer.is_of_picture
        enough = self._enough()
        if enough is None or self.n_row < enough:
            return False
        self.shut_at, self.n_probes = now, 0
        return True

    def open(self) -> None:
        """It has answered about an image, though not with one."""
        self._forget()

    def _enough(self) -> int | None:
        """How many images in a row show that the host is shut; None if no number does."""
        has_given = self.has_given or self.shuts_another or (self.is_led_to and self.sign is not None)
        least = _least(self.code, self.sign, has_given=has_given, promises=has_given or self.is_of_pictures)
        return None if least is None else max(least, MIXED if self.is_mixed else 0, LONGER * self.longest)

    def _forget(self) -> None:
        self.page, self.n_row, self.n_rows, self.longest, self.n_pictures, self.shut_at = None, 0, 0, 0, 0, None
        self.suspects.clear()


def as_suspects(pairs: Iterable[tuple[int, int]]) -> deque[Suspect]:
    return deque((Suspect(*pair) for pair in pairs), maxlen=SUSPECTS_KEPT)


# In words ---------------------------------------------------------------------------------------------------------------------

_SHOWN = 120
_SAYS = {
    Sign.BOT_CHECK: "shows a bot check",
    Sign.BLOCKED: "says that access is blocked",
    Sign.QUOTA: "says that a quota is exceeded",
    Sign.MAINTENANCE: "is down for maintenance",
    Sign.LOG_IN: "requires a login",
    Sign.TERMS: "requires its terms of use to be accepted",
}
_RESUMES = "; `hosts resume"
_ASK = "ask its operator to allow this User-Agent or IP address"
_HELPS = {
    Sign.BOT_CHECK: _ASK,
    Sign.BLOCKED: _ASK,
    Sign.QUOTA: "set lower limits for it (hosts set), or ask its operator for a higher quota",
    Sign.MAINTENANCE: "wait: it is retried automatically",
    Sign.LOG_IN: "ask its operator for access without a login",
    Sign.TERMS: "ask its operator for access without this step",
}


def in_words(door: Door, host: str) -> str:
    """What the host says, and what helps, in one sentence."""
    says = "serves one page for different images" if door.sign is None else _SAYS[door.sign]
    text = door.text if len(door.text) <= _SHOWN else door.text[:_SHOWN].rstrip() + "..."
    code = f"http {door.code}"
    shown = f'{code}: "{text}"' if text else code
    helps = f"open one of its images in a browser, and {_ASK}" if door.sign is None else _HELPS[door.sign]
    hosts = f"{host} {door.text.removeprefix(TO).partition(':')[0]}" if door.code == REDIRECT else host
    return f"it {says} ({shown}); {helps}{_RESUMES} {hosts}` retries it at once"


def without_resuming(words: str) -> str:
    """`in_words` of a host that was given up, whose images need more than to be tried at once."""
    return words.partition(_RESUMES)[0]
