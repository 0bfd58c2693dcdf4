"""What is asked of a book (messages) and what it answers (results and fills), as fixed-width rows.

Knows the vocabulary and its layout, not the rules: those are `docs/engine-rules.md`. The engine has
no clock, so no row carries a time; the tape adds it.
"""

from enum import IntEnum, IntFlag

import numpy as np


class Kind(IntEnum):
    """What a message asks for."""

    LIMIT = 0
    MARKET = 1
    CANCEL = 2
    REDUCE = 3
    REPLACE = 4
    AUCTION = 5
    UNCROSS = 6


class TimeInForce(IntEnum):
    """What happens to lots that do not trade at once: they rest, they leave, or nothing trades."""

    GTC = 0
    IOC = 1
    FOK = 2


class SelfTrade(IntEnum):
    """What the incoming order asks for when it would meet an order of its own owner."""

    ALLOW = 0
    CANCEL_NEWEST = 1
    CANCEL_OLDEST = 2
    CANCEL_BOTH = 3
    DECREMENT = 4


class Flag(IntFlag):
    """Instructions that a message adds to its kind."""

    NONE = 0
    POST_ONLY = 1
    LOSE_PLACE = 2


class Phase(IntEnum):
    """How a book treats orders that cross: it matches them, or collects them for one uncross."""

    CONTINUOUS = 0
    AUCTION = 1


class Reject(IntEnum):
    """Why a book refused a message, in the order the reasons are looked for. NONE: it did not."""

    NONE = 0
    BAD_KIND = 1
    WRONG_PHASE = 2
    BAD_SIDE = 3
    BAD_INSTRUCTION = 4
    BAD_LOTS = 5
    BAD_TICK = 6
    BAD_DISPLAY = 7
    BAD_OWNER = 8
    BAD_ID = 9
    DUPLICATE_ID = 10
    UNKNOWN_ORDER = 11
    NOT_OWNER = 12
    WOULD_TAKE = 13
    UNFILLABLE = 14


class FillKind(IntEnum):
    """What a row of the fills says: a trade, or lots that self-trade prevention took out."""

    TRADE = 0
    MAKER_CANCELLED = 1
    BOTH_DECREMENTED = 2


# An iceberg may not show itself in more slices than this: it bounds the rows one sweep can write.
MAX_TRANCHES = 1024

MESSAGE_DTYPE = np.dtype(
    [
        ("kind", "u1"),
        ("side", "u1"),
        ("tif", "u1"),
        ("stp", "u1"),
        ("flags", "<u4"),
        ("owner", "<i4"),
        ("price_tick", "<i4"),
        ("lots", "<i4"),
        ("display_lots", "<i4"),
        ("order_id", "<i8"),
    ]
)
"""One request, 32 bytes. `display_lots` 0 shows everything; UNCROSS carries its reference price in
`price_tick`."""

RESULT_DTYPE = np.dtype(
    [
        ("order_id", "<i8"),
        ("filled_lots", "<i8"),
        ("n_fills", "<i4"),
        ("resting_lots", "<i4"),
        ("cancelled_lots", "<i4"),
        ("previous_lots", "<i4"),
        ("price_tick", "<i4"),
        ("bid_tick", "<i4"),
        ("ask_tick", "<i4"),
        ("reject", "u1"),
        ("side", "u1"),
        ("phase", "u1"),
        ("kind", "u1"),
    ]
)
"""The answer to one message, 48 bytes, with the touch and the phase after it: see
`docs/engine-rules.md#results`."""

FILL_DTYPE = np.dtype(
    [
        ("message", "<i8"),
        ("maker_id", "<i8"),
        ("taker_id", "<i8"),
        ("price_tick", "<i4"),
        ("lots", "<i4"),
        ("maker_owner", "<i4"),
        ("taker_owner", "<i4"),
        ("maker_open_lots", "<i4"),
        ("kind", "u1"),
        ("taker_side", "u1"),
        ("padding", "<u2"),
    ]
)
"""One meeting of a maker and a taker, 48 bytes; `message` counts that book's messages from 0."""

RESTING_DTYPE = np.dtype(
    [
        ("order_id", "<i8"),
        ("price_tick", "<i4"),
        ("lots", "<i4"),
        ("hidden_lots", "<i4"),
        ("display_lots", "<i4"),
        ("owner", "<i4"),
        ("side", "<i4"),
    ]
)
"""One resting order, 32 bytes: `lots` it shows now, `hidden_lots` behind them, and `display_lots`,
the size of a slice (0: no iceberg)."""
