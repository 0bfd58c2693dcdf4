"""The schema `book`: actions as type, level, lots and gap codes. See `book_codes` for the spelling.

Knows bins; no book. Bins are of both sides together, so a buy and its mirror image, a sell, differ
in their type only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from mtsim.engine.fingerprint import fingerprint
from mtsim.model import actions as actions_module
from mtsim.model import book_codes, laws
from mtsim.model.actions import MOST_SWEPT, ActionKind
from mtsim.model.bins import Bins
from mtsim.model.book_codes import N_SHAPES, N_SWEPT, N_TYPES, n_levels
from mtsim.model.laws import code_of
from mtsim.model.spelling import Past, Read, Spelling

SOURCES = fingerprint(
    laws.SOURCES, *(Path(str(module.__file__)) for module in (actions_module, book_codes))
)
SOURCES = fingerprint(SOURCES, Path(__file__))
"""For the entry points of loops that call `book_code`."""

_ADD, _TRADE = int(ActionKind.ADD), int(ActionKind.TRADE)
_LINES = ("add", "cancel", "lots", "gap")


class Bounds(NamedTuple):
    """The inclusive bounds of the bins, int64, named as in `BookTables`."""

    add_lower: np.ndarray
    add_upper: np.ndarray
    cancel_lower: np.ndarray
    cancel_upper: np.ndarray
    lots_lower: np.ndarray
    lots_upper: np.ndarray
    gap_lower: np.ndarray
    gap_upper: np.ndarray


def _radices(bins: Mapping[str, int]) -> tuple[int, ...]:
    return (N_TYPES, n_levels(bins["add"], bins["cancel"]), bins["lots"], bins["gap"])


def _new_past() -> Past:
    return Past(np.zeros(0), np.zeros(0, np.int64))


def _measure(actions: np.ndarray, past: Past) -> dict[str, np.ndarray]:
    adds, trades, cancels = (actions[actions["kind"] == kind] for kind in ActionKind)
    return {
        "add_distance": adds["distance_ticks"],
        "cancel_distance": cancels["distance_ticks"],
        "add_lots": adds["lots"],
        "trade_lots": trades["lots"],
        "cancel_lots": cancels["lots"],
        # The first gap of a stretch is none: its 0 is no observation.
        "gap": actions["gap_ns"][actions["opens"] == 0],
    }


def _read(actions: np.ndarray, past: Past, bins: Mapping[str, Bins]) -> Read:
    codes = np.empty(len(actions), np.int64)
    clipped = np.zeros(len(_LINES), np.int64)
    lines = [bins[line] for line in _LINES]
    clip = np.array([(line.clip_low, line.clip_high) for line in lines], np.int64)
    bounds = Bounds(*(bound for line in lines for bound in (line.lower, line.upper)))
    _book_codes(np.ascontiguousarray(actions), bounds, clip, codes, clipped)
    assert (codes >= 0).all(), "an action has lots below 1 or a gap below 0"
    return Read(codes, dict(zip(_LINES, clipped.tolist(), strict=True)))


BOOK = Spelling(
    fields=("type", "level", "lots", "gap"),
    laws={
        "add_distance": "add",
        "cancel_distance": "cancel",
        "add_lots": "lots",
        "trade_lots": "lots",
        "cancel_lots": "lots",
        "gap": "gap",
    },
    fixed=1,
    mirror_field=0,
    reasons=(),
    radices=_radices,
    new_past=_new_past,
    measure=_measure,
    read=_read,
)


def _compile(sources):
    @njit(cache=True)
    def book_code(action, lines):
        """The mixed-radix code of one action, -1 where a number is beyond its line's ends.

        `lines` has the bounds of the bins: `Bounds`, or `BookTables`, which has them, too.
        """
        _ = sources
        n_add, n_cancel = len(lines.add_upper), len(lines.cancel_upper)
        if action.kind == _ADD:
            level = code_of(lines.add_lower, lines.add_upper, action.distance_ticks)
        elif action.kind == _TRADE:
            level = n_add + min(np.int64(action.swept), MOST_SWEPT)
        else:
            shape = np.int64(action.place) * 2 + np.int64(action.whole)
            level = code_of(lines.cancel_lower, lines.cancel_upper, action.distance_ticks)
            if level >= 0:
                level = n_add + N_SWEPT + level * N_SHAPES + shape
        lots = code_of(lines.lots_lower, lines.lots_upper, action.lots)
        gap = code_of(lines.gap_lower, lines.gap_upper, action.gap_ns)
        if level < 0 or lots < 0 or gap < 0:
            return -1
        kind_side = np.int64(action.kind) * 2 + np.int64(action.side)
        code = kind_side * (n_add + N_SWEPT + n_cancel * N_SHAPES) + level
        return (code * len(lines.lots_upper) + lots) * len(lines.gap_upper) + gap

    @njit(cache=True)
    def book_codes(actions, lines, clip, codes, clipped):
        _ = sources
        for i in range(len(actions)):
            action = actions[i]
            codes[i] = book_code(action, lines)
            if action.kind != _TRADE:
                line = 0 if action.kind == _ADD else 1
                distance = action.distance_ticks
                clipped[line] += distance < clip[line, 0] or distance > clip[line, 1]
            clipped[2] += action.lots < clip[2, 0] or action.lots > clip[2, 1]
            clipped[3] += action.gap_ns < clip[3, 0] or action.gap_ns > clip[3, 1]

    return book_code, book_codes


book_code, _book_codes = _compile(SOURCES)
