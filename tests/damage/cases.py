"""The cases of a campaign: what a seed makes of a family of pictures, and what the program must say of each. Names repeat them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tests.damage import gifs, harm, jpegs, others, pngs, tiffs
from tests.damage.whole import Make, Odds, Whole

FAMILIES: dict[str, Make] = {
    **jpegs.FAMILIES, **pngs.FAMILIES, **gifs.FAMILIES, **tiffs.FAMILIES, **others.FAMILIES,
}  # fmt: skip
FORMATS = tuple(dict.fromkeys(name.partition("/")[0] for name in FAMILIES))
ODDS: dict[str, Odds] = {
    "jpeg": jpegs.odd,
    "png": pngs.odd,
    "gif": gifs.odd,
    "tiff": tiffs.odd,
    "webp": others.odd_webp,
    "bmp": others.odd_bmp,
    "jp2": others.odd_boxes,
    "avif": others.odd_avif,
    "heic": others.odd_heic,
    "raw": others.odd_raw,
}


class Truth(StrEnum):
    WHOLE = "whole"
    ODD = "odd"  # whole, but a further picture or metadata break a rule: no refusal for good
    CUT = "cut"
    DAMAGED = "damaged"  # whether the format shows it is for its reader to say


@dataclass(frozen=True, slots=True)
class Case:
    name: str  # family:kind:number
    form: str
    truth: Truth
    body: bytes
    whole: Whole

    @property
    def kind(self) -> str:
        return self.name.split(":")[1]


@dataclass(frozen=True, slots=True)
class Scale:
    every: int = 1  # per cent between two cuts
    times: int = 8  # each kind of damage to each picture
    odd_families: int = 6  # of a format, around whose pictures odd things are put
    odd_cuts: int = 4  # of each odd file


def family_cases(family: str, seed: int, scale: Scale) -> Iterator[Case]:
    form = family.partition("/")[0]
    whole = FAMILIES[family](random.Random(f"{seed} {family}"))
    yield Case(f"{family}:whole:0", form, Truth.WHOLE, whole.body, whole)
    yield from _cuts(family, form, whole, harm.cuts(len(whole.body), scale.every))
    for name in harm.HARMS:
        for number, body in enumerate(harm.harmed(f"{seed} {family} {name}", name, whole.body, scale.times)):
            yield Case(f"{family}:{name}:{number}", form, Truth.DAMAGED, body, whole)
    if family in families_with_odds(form, seed, scale):
        yield from _odd_cases(family, form, whole, seed, scale)


def families_with_odds(form: str, seed: int, scale: Scale) -> list[str]:
    names = [name for name in FAMILIES if name.startswith(f"{form}/")]
    return random.Random(f"{seed} {form}").sample(names, min(len(names), scale.odd_families))


def _cuts(family: str, form: str, whole: Whole, lengths: list[int]) -> Iterator[Case]:
    for length in lengths:
        truth = Truth.CUT if length < whole.needed_bytes else Truth.ODD if whole.is_soft else Truth.WHOLE
        yield Case(f"{family}:cut:{length}", form, truth, whole.body[:length], whole)


def _odd_lengths(seed: str, whole: Whole, odd: Whole, n: int) -> list[int]:
    """Of cuts: half of them where the picture stands, mostly at the end."""
    dice, needed = random.Random(seed), odd.needed_bytes
    first = max(64, needed - len(whole.body) // 2)
    return sorted({dice.randrange(first if number % 2 == 0 else 64, needed) for number in range(n)})


def _odd_cases(family: str, form: str, whole: Whole, seed: int, scale: Scale) -> Iterator[Case]:
    dice = random.Random(f"{seed} {family} odd")
    for name, odd in ODDS[form](dice, whole.body):
        truth = Truth.ODD if odd.is_shown else Truth.WHOLE
        yield Case(f"{family}:odd:{name}", form, truth, odd.body, odd)
        for case in _cuts(family, form, odd, _odd_lengths(f"{seed} {family} {name}", whole, odd, scale.odd_cuts)):
            if case.truth is Truth.CUT:
                yield Case(f"{family}:odd-cut:{name}:{len(case.body)}", form, case.truth, case.body, odd)
