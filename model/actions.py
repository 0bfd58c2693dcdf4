"""What the decoder's world is made of: an action is one thing done to a book, told from the book.

Messages come in many forms; actions in three: lots are added, lots trade, lots are cancelled. A
message that does two of them (a limit order that trades and rests, a replacement) is two actions
without time between them. An action is *relative*: how far from the touch, how many levels through,
where in the queue; the book is needed to make one and to use one, and nothing but actions is seen
by a tokenizer. Knows no book and no bins.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class ActionKind(IntEnum):
    ADD = 0  # Lots come to rest.
    TRADE = 1  # An order takes lots, or, where there is no book to take from, asks for them.
    CANCEL = 2  # Lots of one order leave.


class Place(IntEnum):
    """Where in its level's queue an order stands; each can be told from the level's two ends."""

    ONLY = 0
    FIRST = 1
    MIDDLE = 2
    LAST = 3


N_KINDS, N_PLACES = len(ActionKind), len(Place)

# `swept` and above: the same to a tokenizer.
MOST_SWEPT = 3

# `vwap_tick` before the first trade of a session.
NO_VWAP = np.nan

ACTION_DTYPE = np.dtype(
    [
        ("time_ns", "<i8"),
        ("gap_ns", "<i8"),
        ("vwap_tick", "<f8"),
        ("lots", "<i4"),
        ("order_lots", "<i4"),
        ("price_tick", "<i4"),
        ("distance_ticks", "<i4"),
        ("kind", "u1"),
        ("side", "u1"),
        ("swept", "u1"),
        ("place", "u1"),
        ("whole", "u1"),
        ("agent", "u1"),
        ("opens", "u1"),
        ("padding", "u1"),
    ]
)
"""One action, 48 bytes. All of it is told from the book just before the action.

`gap_ns` is the time since the action before, in the same stretch (0 for its first). `side` is that
of the acting order: of the order that rests, for a CANCEL; of the taker, for a TRADE.

`lots` are those that came to rest, were taken, or left. `order_lots`: of a CANCEL, what the order
had before (`whole`: `lots == order_lots`); of a TRADE, what was asked for; else `lots`.

`distance_ticks` of an ADD or CANCEL is counted from the best price of its own side away from the
market: 0 joins it, -1 improves it by a tick. Where that side is empty it is counted from where the
best price would last have been: see `features.reference_ticks`. Of a TRADE: from the opposite
touch to the worst price paid, 0 or more.

`swept` of a TRADE are the levels it took whole, at most MOST_SWEPT. `place` is of a CANCEL.
`vwap_tick` is the exponentially weighted price of the trades before (NO_VWAP: none yet). `agent`
says that an agent acted and no background flow. `opens` marks the first action of a stretch:
windows and gaps never reach across it.
"""
