"""What a feed says of its orders, record by record, and what became of it. Knows no file."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Op(IntEnum):
    """What a record does to the book."""

    ADD = 1
    CANCEL = 2
    """`lots` leave the order; 0: all of it."""
    DELETE = 11
    """All of the order leaves; `lots` is what that is, if the order is not known."""
    SHOW = 3
    """The order has `lots` lots from now on, at `tick` (NO_TICK: where it was)."""
    CHANGE = 4
    """`lots`, which may be negative, are added to the order."""
    REPLACE = 5
    """The order `other` leaves, the order `id` enters; on the same side, where none is said.
    `other_tick` and `other_lots` say where the old one was, if it is not known."""
    FILL = 6
    """`lots` of the order `id` trade, with the order `other` where the feed names it."""
    MARKET = 7
    MATCH = 8
    """As FILL, but both orders rest: a fill of an auction."""
    DARK = 9
    """From here on nothing is written, and the book may be crossed."""
    LIGHT = 10
    """The book is put in place."""


class Drop(IntEnum):
    """Why a record changed nothing that the engine sees. USED: it did."""

    USED = 0
    MARK = 1
    """It was DARK or LIGHT, and stands for no row of a file."""
    DARK = 2
    CANCEL = 3
    CHANGE = 4
    REPLACE = 5
    FILL = 6
    OVERFILL = 7
    DUPLICATE = 8


RECORD_DTYPE = np.dtype(
    [
        ("time_ns", "<i8"),
        ("row", "<i8"),
        ("id", "<i8"),
        ("other", "<i8"),
        ("tick", "<i8"),
        ("lots", "<i8"),
        ("other_tick", "<i8"),
        ("other_lots", "<i8"),
        ("op", "u1"),
        ("side", "u1"),
        ("padding", "u1", (6,)),
    ]
)
"""One record of a feed: an `Op` and what it is about, 72 bytes. `side` is that of the order `id` (a
MARKET's own), NO_SIDE where the feed does not say; ids are 1 and up, 0 where it names nobody."""
