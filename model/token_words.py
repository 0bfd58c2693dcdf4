"""Tokens in words, as in `buy add, joins the touch, 100 lots, after 1-2 ms`.

Knows what the fields of each schema stand for; knows no count. A bin that reaches to the end of its
line is `... or more`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mtsim.model.actions import ActionKind, Place
from mtsim.model.bins import Bins
from mtsim.model.book_codes import N_SWEPT, cancel_parts
from mtsim.model.spelling import PARTS_A_UNIT
from mtsim.model.tokenizer import Tokenizer
from mtsim.model.trade_fields import USUAL
from mtsim.model.vocabulary import BOS, EOS, PAD, SPECIAL

_SIDES = ("buy", "sell")
_SPECIAL = {PAD: "nothing (PAD)", BOS: "a stretch begins (BOS)", EOS: "a stretch ends (EOS)"}
_TIMES = ((10**9, "s"), (10**6, "ms"), (10**3, "us"), (1, "ns"))
_PARTS_A_BP = PARTS_A_UNIT / 10_000
_SWEPT = ("takes part of a level", "takes 1 level", "takes 2 levels", "takes 3 or more levels")
_FLAGS = {
    "action": ("add", "cancel"),
    "side": _SIDES,
    "sweep": ("at one price", "through prices"),
}


def in_words(tokenizer: Tokenizer, token: int) -> str:
    """What a token stands for."""
    if token < SPECIAL:
        return _SPECIAL[token]
    codes = tokenizer.fields_of(np.array([token]))[0].tolist()
    return ", ".join(
        field_in_words(tokenizer, field, code)
        for field, code in zip(tokenizer.fields, codes, strict=True)
    )


def field_in_words(tokenizer: Tokenizer, field: str, code: int) -> str:
    """What one code of a field stands for."""
    if field == "type":
        return f"{_SIDES[code % 2]} {ActionKind(code // 2).name.lower()}"
    if field == "level":
        return _level(tokenizer, code)
    if field in _FLAGS:
        return _FLAGS[field][code]
    said = span_of(tokenizer, field, code)
    match field:
        case "gap":
            return "at once" if said == "0" else f"after {said}"
        case "move":
            return f"{said} ticks on"
        case "price":
            against = "average" if tokenizer.schema == "tradefm" else "trade before"
            return f"{said} from the {against}"
        case "depth":
            return f"{said} deep"
        case _:
            return said


def span_of(tokenizer: Tokenizer, line: str, code: int) -> str:
    """The numbers of one bin of a line, in its unit: `1-2 ms`, `100 lots`, `5-7`, `8 or more`."""
    bins = tokenizer.bins[line]
    if line == "gap":
        return _time_span(bins, code)
    if line == "lots" or (line == "size" and tokenizer.schema == "trades-579"):
        said = _span(bins, code, "{:,}".format)
        return f"{said} lot" if said == "1" else f"{said} lots"
    if line == "size":
        return _span(bins, code, lambda size: f"{size / USUAL:.3g}") + " of the usual size"
    if line in ("price", "open", "depth"):
        return _span(bins, code, _bp) + " bp"
    return _span(bins, code, "{:,}".format)


def _level(tokenizer: Tokenizer, code: int) -> str:
    n_add = len(tokenizer.bins["add"])
    if code < n_add:
        return _distance(tokenizer.bins["add"], code, "joins the touch", "improves the touch")
    if code < n_add + N_SWEPT:
        return _SWEPT[code - n_add]
    distance, place, whole = (int(part) for part in cancel_parts(n_add, code))
    where = _distance(tokenizer.bins["cancel"], distance, "at the touch", "inside the touch")
    much = "all" if whole else "part"
    return f"{where}, {Place(place).name.lower()} in its queue, {much} of it"


def _distance(bins: Bins, code: int, at: str, inside: str) -> str:
    lower, upper = int(bins.lower[code]), int(bins.upper[code])
    if upper == 0 <= max(lower, bins.clip_low):
        return at
    if upper < 0:
        # Distances count away from the market: the bin's lower end is the greater improvement.
        near, far = -upper, -lower
        ends = code == 0 and lower < bins.clip_low
        return f"{inside} by {_ticks(near, far, ends)}"
    said = _span(bins, code, "{:,}".format)
    return f"{said} tick from the touch" if said == "1" else f"{said} ticks from the touch"


def _ticks(near: int, far: int, or_more: bool) -> str:
    if or_more:
        return f"{near:,} ticks or more"
    if near == far:
        return "1 tick" if near == 1 else f"{near:,} ticks"
    return f"{near:,}-{far:,} ticks"


def _span(bins: Bins, code: int, show: Callable[[int], str]) -> str:
    lower, upper = int(bins.lower[code]), int(bins.upper[code])
    if code == len(bins) - 1 and upper > bins.clip_high:
        return f"{show(lower)} or more"
    if code == 0 and lower < bins.clip_low:
        return f"{show(upper)} or less"
    low, high = show(lower), show(upper)
    if low == high:
        return low
    return f"{low} to {high}" if lower < 0 else f"{low}-{high}"


def _time_span(bins: Bins, code: int) -> str:
    lower, upper = int(bins.lower[code]), int(bins.upper[code])
    open_ended = code == len(bins) - 1 and upper > bins.clip_high
    leading = lower if open_ended else upper
    size, unit = next(((size, unit) for size, unit in _TIMES if leading >= size), (1, "ns"))
    said = _span(bins, code, lambda ns: f"{ns / size:.3g}")
    if not leading:
        return "0"
    return f"{lower / size:.3g} {unit} or more" if open_ended else f"{said} {unit}"


def _bp(parts: int) -> str:
    return f"{round(parts / _PARTS_A_BP, 2):.3g}"
