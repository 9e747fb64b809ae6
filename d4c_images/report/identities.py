"""What the identity rules make of URLs and tables, as text and as JSON. Uses no ledger and no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from d4c_images.identity import identify, unusable_reason, usable_url
from d4c_images.identity.explain import RULE_BY_NAME, Explanation, explain
from d4c_images.ledger.admission.chunk import Numbers, hashes_of
from d4c_images.model import Image, RejectReason
from d4c_images.report.as_json import json_text
from d4c_images.report.reject_reasons import explained as explained_reason
from d4c_images.sources.identifiers import IdentifierCell, identifier_cells

HASH_AT = 1 << 17


def explained(cells: Iterable[str], *, as_json: bool) -> str:
    """What becomes of identifier cells."""
    found = [explanation for cell in cells for explanation in explain(cell)]
    if as_json:
        return json_text([explanation_dict(one) for one in found])
    return "\n\n".join("\n".join(explanation_lines(one)) for one in found)


def surveyed(path: Path, limit: int | None, *, verbose: bool, as_json: bool) -> str:
    """What the rules make of a table; `verbose` prints its rows as well."""
    survey = IdentitySurvey()
    survey.take(islice(identifier_cells(path), limit), _print_row if verbose else None)
    return json_text(survey_dict(survey)) if as_json else "\n".join(survey_lines(survey))


def explanation_lines(explanation: Explanation) -> Iterator[str]:
    """One human-readable explanation."""
    yield _shown(explanation.text)
    if explanation.image is None or explanation.rule is None:
        yield f"  rejected    {explained_reason(explanation.reason or RejectReason.NO_IDENTIFIER)}"
        return
    image, rule = explanation.image, explanation.rule
    yield f"  key         {_shown(image.key)}"
    yield f"  rule        {rule.name}, version {rule.version} ({rule.publisher})"
    for at, candidate in enumerate(explanation.candidates, 1):
        yield f"  {'candidates' if at == 1 else '':<10}  {at}. {_shown(candidate.url)}  ({candidate.role})"
    if explanation.changes:
        yield f"  normalised  {', '.join(explanation.changes)}"
    yield f"  source      {rule.source}"


def explanation_dict(explanation: Explanation) -> dict[str, Any]:
    """One explanation for scripts."""
    image, rule = explanation.image, explanation.rule
    if image is None or rule is None:
        return {"text": explanation.text, "reason": explanation.reason}
    return {
        "text": explanation.text,
        "url": explanation.url,
        "changes": list(explanation.changes),
        "key": image.key,
        "host": image.host,
        "rule": rule.name,
        "version": rule.version,
        "publisher": rule.publisher,
        "source": rule.source,
        "candidates": [{"url": one.url, "role": str(one.role)} for one in explanation.candidates],
    }


def _shown(text: str) -> str:
    """Without characters that could affect the reader's terminal."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _print_row(cell: IdentifierCell, image: Image | None) -> None:
    """One URL of a table on one line: row, rule, key or reason, and the first candidate if it is a different URL."""
    if image is None:
        print(f"{cell.row_no}\t-\t{unusable_reason(cell.text)}\t{_shown(cell.text)}")
        return
    first = "" if image.urls[0] == cell.text else image.urls[0]
    print(f"{cell.row_no}\t{image.rule}\t{_shown(image.key)}\t{_shown(first)}")


@dataclass(slots=True)
class _Distinct:
    """Counts distinct texts, in 8 bytes each; among 10^8 texts, two collide in one table of some thousand."""

    known: Numbers = field(default_factory=lambda: np.array([], np.int64))  # hashes, each once
    fresh: list[Numbers] = field(default_factory=list)  # hashes, not yet compared with them
    n_fresh: int = 0
    texts: list[str] = field(default_factory=list)  # not yet hashed

    def add(self, text: str) -> None:
        self.texts.append(text)
        if len(self.texts) >= HASH_AT:
            self.fresh.append(np.unique(hashes_of(list(map(str.encode, self.texts)))))
            self.n_fresh += len(self.fresh[-1])
            self.texts.clear()
            if self.n_fresh > len(self.known):
                self.count()

    def count(self) -> int:
        self.known = np.unique(np.concatenate([self.known, *self.fresh, hashes_of(list(map(str.encode, self.texts)))]))
        self.fresh, self.n_fresh, self.texts = [], 0, []
        return len(self.known)


@dataclass(frozen=True, slots=True)
class RuleCount:
    """What one rule made of a table."""

    rule: str
    rows: int  # URLs; a cell may hold several
    urls: int  # distinct, normalised
    images: int

    @property
    def merged(self) -> int:
        """URLs found to show an image that another URL of the table shows too."""
        return self.urls - self.images


class IdentitySurvey:
    """Counts what the rules make of many cells."""

    def __init__(self) -> None:
        self.cells = 0
        self.reasons: Counter[str] = Counter()  # cells without an image, by reason
        self._rows: Counter[str] = Counter()
        self._urls: dict[str, _Distinct] = {}
        self._images: dict[str, _Distinct] = {}

    def take(self, cells: Iterable[IdentifierCell], show: Callable[[IdentifierCell, Image | None], None] | None = None) -> None:
        """Count cells, and pass each URL and its image to `show`."""
        for cell in cells:
            self.cells += 1
            if cell.reason is not None:
                self.reasons[cell.reason] += 1
                continue
            image = identify(cell.text)
            if show is not None:
                show(cell, image)
            if image is None:
                self.reasons[unusable_reason(cell.text) or ""] += 1
            else:
                self._count(image, cell.text)

    def _count(self, image: Image, text: str) -> None:
        self._rows[image.rule] += 1
        if image.rule not in self._urls:
            self._urls[image.rule], self._images[image.rule] = _Distinct(), _Distinct()
        self._images[image.rule].add(image.key)
        self._urls[image.rule].add(text if text in image.urls else usable_url(text) or text)

    def counts(self) -> list[RuleCount]:
        """Counts per rule, the one with most rows first."""
        return [
            RuleCount(rule, rows, self._urls[rule].count(), self._images[rule].count())
            for rule, rows in sorted(self._rows.items(), key=lambda item: (-item[1], item[0]))
        ]


def survey_lines(survey: IdentitySurvey) -> Iterator[str]:
    """A human-readable survey."""
    counts = survey.counts()
    width = max([len(count.rule) for count in counts] + [len("rule")])
    yield f"{'rule':<{width}}  {'rows':>12}  {'URLs':>12}  {'images':>12}  {'merged':>10}  publisher"
    for count in counts:
        yield (
            f"{count.rule:<{width}}  {count.rows:>12,}  {count.urls:>12,}  {count.images:>12,}  {count.merged:>10,}  "
            f"{RULE_BY_NAME[count.rule].publisher}"
        )
    total = _total(counts)
    yield f"{'all':<{width}}  {total.rows:>12,}  {total.urls:>12,}  {total.images:>12,}  {total.merged:>10,}"
    for reason, n in survey.reasons.most_common():
        yield f"no image: {reason}  {n:,}"


def survey_dict(survey: IdentitySurvey) -> dict[str, Any]:
    """A survey for scripts."""
    counts = survey.counts()
    total = _total(counts)
    return {
        "cells": survey.cells,
        "rows": total.rows,
        "urls": total.urls,
        "images": total.images,
        "merged": total.merged,
        "rules": {
            count.rule: {"rows": count.rows, "urls": count.urls, "images": count.images, "merged": count.merged} for count in counts
        },
        "no_image": dict(survey.reasons),
    }


def _total(counts: Iterable[RuleCount]) -> RuleCount:
    counts = list(counts)
    return RuleCount("all", sum(one.rows for one in counts), sum(one.urls for one in counts), sum(one.images for one in counts))
