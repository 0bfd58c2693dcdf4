"""The words in which a source tells of its orders: records, what becomes of them, what is mended.

Plain data; `order_matching` turns records into messages.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from mtsim.engine.messages import MESSAGE_DTYPE
from mtsim.model.sources.base import FEED_DTYPE


class Op(IntEnum):
    """What a record says of the order `id`."""

    ADD = 0
    """It rests: `side`, `tick`, `lots`."""
    TAKE_OFF = 1
    """`lots` of it leave without a trade; all of it, if it has no more."""
    DELETE = 2
    """It leaves."""
    REPLACE = 3
    """It becomes order `other` with `tick` and `lots`, at the back of its queue."""
    MODIFY = 4
    """It now has `tick` and `lots`, and keeps its place if it only shrinks."""
    EXECUTE = 5
    """`lots` of it traded; `other` names the taker, where the feed does."""
    CROSS = 6
    """`lots` of it traded in an auction."""
    FILL = 7
    """As EXECUTE, and a TAKE_OFF or MODIFY of the same time says the same again."""
    CROSS_FILL = 8
    """As CROSS, and a TAKE_OFF or MODIFY of the same time says the same again."""
    WITHDRAW = 9
    """`lots` of it leave because its owner made it take from the other side: it is the taker of the
    fills around this record. A TAKE_OFF or MODIFY of the same time says the same again."""
    CLEAR = 10
    """Nothing rests any more."""


class Fate(IntEnum):
    """What became of a record."""

    USED = 0
    UNKNOWN = 1
    UNKNOWN_EXECUTED = 2
    IMPLIED = 3
    UNCHANGED = 4


class Repair(IntEnum):
    """Why the messages say something that the feed does not."""

    OUT_OF_TURN = 0
    CROSSED = 1
    AUCTION = 2
    ADDED = 3
    CLEARED = 4
    TOO_MANY = 5
    NO_CANCEL = 6
    WITHDRAWN = 7
    EARLY = 8


class Fault(IntEnum):
    """Why records cannot be right."""

    NONE = 0
    DUPLICATE = 1
    SIDE = 2


UNKNOWN_SIDE = 2

RECORD_DTYPE = np.dtype(
    [
        ("time_ns", "<i8"),
        ("row", "<i8"),
        ("id", "<i8"),
        ("other", "<i8"),
        ("lots", "<i4"),
        ("tick", "<i4"),
        ("op", "u1"),
        ("side", "u1"),
        ("origin", "u1"),
        ("padding", "u1", (5,)),
    ]
)
"""One record of an order, 48 bytes. `side` is the order's, UNKNOWN_SIDE where it is not told;
`origin` is that of an order that ADD or MODIFY brings."""


def _flat() -> np.dtype:
    outer, inner = FEED_DTYPE.fields, MESSAGE_DTYPE.fields
    assert outer is not None
    assert inner is not None
    places = {name: outer[name][:2] for name in ("time_ns", "row", "origin")}
    places |= {name: (k[0], k[1] + outer["message"][1]) for name, k in inner.items()}
    return np.dtype(
        {
            "names": list(places),
            "formats": [kind for kind, _ in places.values()],
            "offsets": [offset for _, offset in places.values()],
            "itemsize": FEED_DTYPE.itemsize,
        }
    )


OUT_DTYPE = _flat()
"""FEED_DTYPE without the nesting, byte for byte."""
