"""How an action of an order book is spelled in codes: type, level, lots, gap.

A level code says its kind, so the codes of the three kinds lie one after the other:

    ADD      bin of `distance_ticks`
    TRADE    `swept`, 0 to MOST_SWEPT
    CANCEL   (bin of `distance_ticks`, place, whole)

Knows no book; what a bin is, is `bins`. The tables are what compiled code sees of a tokenizer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mtsim.model.actions import MOST_SWEPT, N_KINDS, N_PLACES

N_TYPES = 2 * N_KINDS
N_SWEPT = MOST_SWEPT + 1
N_SHAPES = 2 * N_PLACES
"""Of the cancels in one bin of distances: `place * 2 + whole`."""

# The laws of a table, in this order: one for each bin of each of these.
LAWS = ("add_distance", "cancel_distance", "add_lots", "trade_lots", "cancel_lots", "gap")


class BookTables(NamedTuple):
    """A tokenizer of the schema `book` as arrays. Bounds are inclusive, in ticks, lots and ns.

    The bins of each kind cover all integers that can occur and leave no hole between them. Bin b of
    law l has the support `law_value[s:e]` with cumulative weights `law_weight[s:e]`, where
    `s, e = law_start[law_first[l] + b], law_start[law_first[l] + b + 1]`; it may be empty.
    """

    add_lower: np.ndarray  # int64 [A]
    add_upper: np.ndarray
    cancel_lower: np.ndarray  # int64 [C]
    cancel_upper: np.ndarray
    lots_lower: np.ndarray  # int64 [Q]
    lots_upper: np.ndarray
    gap_lower: np.ndarray  # int64 [G]
    gap_upper: np.ndarray
    law_first: np.ndarray  # int64 [len(LAWS) + 1]
    law_start: np.ndarray  # int64 [bins of all laws + 1]
    law_value: np.ndarray  # int64, ascending within a bin
    law_weight: np.ndarray  # int64, cumulative within a bin
    token_type: np.ndarray  # int64 [V]: the codes of each token, -1 for PAD, BOS and EOS
    token_level: np.ndarray
    token_lots: np.ndarray
    token_gap: np.ndarray


def n_levels(n_add: int, n_cancel: int) -> int:
    """How many level codes there are."""
    return n_add + N_SWEPT + n_cancel * N_SHAPES


def add_level(distance_code):
    """The level code of an ADD. All arguments of these four may be arrays."""
    return distance_code


def trade_level(n_add, swept):
    return n_add + swept


def cancel_level(n_add, distance_code, place, whole):
    return n_add + N_SWEPT + distance_code * N_SHAPES + place * 2 + whole


def cancel_parts(n_add, level):
    """(distance code, place, whole) of a CANCEL's level code."""
    rest = level - n_add - N_SWEPT
    return rest // N_SHAPES, (rest % N_SHAPES) // 2, rest % 2
