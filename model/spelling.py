"""What a schema must say about itself to be a tokenizer: fields, lines, and how actions are read.

A *line* is a number line cut into bins; a *law* is one kind of number measured on a line, which has
its own law inside each of the line's bins. Knows no schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from mtsim.model.bins import Bins

PARTS_A_UNIT = 1_000_000_000
"""Relative prices are whole parts per billion: fine enough for any tick, and exact to compare."""


class Past(NamedTuple):
    """What a schema remembers of the actions before, changed in place by reading more of them."""

    f: np.ndarray  # float64
    i: np.ndarray  # int64


class Read(NamedTuple):
    """Actions as codes: the mixed-radix code of each, or -1 - reason for those that have none."""

    codes: np.ndarray  # int64 [n]
    clipped: dict[str, int]  # how many numbers on each line were beyond its clip bounds


class Spelling(NamedTuple):
    """How the actions of a schema are spelled. `past` always is what `new_past` gave."""

    fields: tuple[str, ...]
    laws: dict[str, str]  # the line each law is measured on
    fixed: int  # so many leading fields never change to find a combination that training knew
    mirror_field: int  # of which an odd code is the mirror image of the even code below it
    reasons: tuple[str, ...]  # why an action may have no code
    radices: Callable[[Mapping[str, int]], tuple[int, ...]]  # from the bins of each line
    new_past: Callable[[], Past]
    measure: Callable[[np.ndarray, Past], dict[str, np.ndarray]]  # each law's numbers of actions
    read: Callable[[np.ndarray, Past, Mapping[str, Bins]], Read]


def spelled(
    reasons: np.ndarray,
    columns: list[tuple[int, np.ndarray]],
    numbers: Mapping[str, np.ndarray],
    bins: Mapping[str, Bins],
) -> Read:
    """Codes from the columns of codes with their radices, of the actions whose reason is below 0.

    The columns and numbers are of these actions only; clipped ones are counted by line.
    """
    code = np.zeros(int((reasons < 0).sum()), np.int64)
    for radix, column in columns:
        code = code * radix + column
    codes = -1 - reasons
    codes[reasons < 0] = code
    clipped = {
        line: int(((of < bins[line].clip_low) | (of > bins[line].clip_high)).sum())
        for line, of in numbers.items()
    }
    return Read(codes, clipped)
