"""What a feed says of its orders, record by record; what became of it, and what had to be mended.

Plain data. Knows no file.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

NO_TICK = -(2**62)
NO_SIDE = 2


class Op(IntEnum):
    """What a record does to the book."""

    ADD = 0
    """The order `id` rests: `side`, `tick`, `lots`."""
    CANCEL = 1
    """`lots` leave the order without a trade; all of it, if it has no more or if they are 0."""
    DELETE = 2
    """All of the order leaves; `lots` is what that is, if the order is not known."""
    SHOW = 3
    """The order has `lots` lots from now on, at `tick` (NO_TICK: where it was)."""
    CHANGE = 4
    """`lots`, which may be negative, are added to the order."""
    REPLACE = 5
    """The order `other` leaves, the order `id` enters; on the same side, where none is said.
    `other_tick` and `other_lots` say where the old one was, if it is not known."""
    MARKET = 6
    DARK = 7
    """From here on nothing is written, and the book may be crossed."""
    LIGHT = 8
    """The book is put in place."""
    CLEAR = 9
    """Nothing rests any more."""
    FILL = 10
    """`lots` of the order `id` trade, with the order `other` where the feed names it."""
    MATCH = 11
    """As FILL, but both orders rest: a fill of an auction."""
    FILL_SAID_AGAIN = 12
    """As FILL, and a CANCEL or SHOW of the same time says the same again."""
    MATCH_SAID_AGAIN = 13
    """As MATCH, and a CANCEL or SHOW of the same time says the same again."""
    WITHDRAW = 14
    """`lots` of the order leave because its owner made it take from the other side: it is the taker
    of the fills around this record. A CANCEL or SHOW of the same time says the same again."""


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
    IMPLIED = 9
    UNCHANGED = 10


class Fault(IntEnum):
    """Why records of a feed that tells every order cannot be right."""

    NONE = 0
    DUPLICATE = 1
    SIDE = 2


class Repair(IntEnum):
    """Why the messages say something that the feed does not."""

    PASSED_OVER = 0
    STALE = 1
    TAKER_RESTED = 2
    REVEALED = 3
    OVERFILLED = 4
    MOVED_ACROSS = 5
    GIVEN_UP = 6
    OUT_OF_TURN = 7
    MATCHED = 8
    AUCTION = 9
    ADDED = 10
    CLEARED = 11
    TOO_MANY = 12
    NOT_SAID_AGAIN = 13
    WITHDRAWN = 14
    EARLY = 15


DROPPED = {
    Drop.DARK: "before the session or in an auction: its outcome is in the book after it",
    Drop.CANCEL: "cancel of an order that is not in the book",
    Drop.CHANGE: "change of an order that is not in the book",
    Drop.REPLACE: "replacement of an order that is not in the book, with no side said",
    Drop.FILL: "fill of an order that is not in the book",
    Drop.OVERFILL: "fill of an order whose lots have all traded",
    Drop.DUPLICATE: "new order with the id of one that is in the book",
    Drop.IMPLIED: "a cancel or change that a fill implies",
    Drop.UNCHANGED: "a change that changes nothing",
}
"""Why a record made no message, by what `Ledger.follow` says it came to."""

REPAIRED = {
    Repair.PASSED_OVER: "order that a trade passed over, taken out and put back",
    Repair.STALE: "order that stood where another one crossed it, taken out",
    Repair.TAKER_RESTED: "lots of a resting order that traded as the aggressor, taken out",
    Repair.REVEALED: "lots that came into the view of the feed's book, put in",
    Repair.OVERFILLED: "fill of more lots than its order had, cut to what it had",
    Repair.MOVED_ACROSS: "order that moved to a price where it crosses, taken out",
    Repair.GIVEN_UP: "order that crosses many and never trades, left out",
    Repair.OUT_OF_TURN: "executed out of turn: taken out of the order the feed names",
    Repair.MATCHED: "executed in an auction: taken out of the order the feed names",
    Repair.AUCTION: "the book lies crossed: auction until it does not",
    Repair.ADDED: "a change of an unknown order: the order added",
    Repair.CLEARED: "cancelled because the feed cleared its book",
    Repair.TOO_MANY: "more lots taken than the order showed: what it showed",
    Repair.NOT_SAID_AGAIN: "a fill whose cancel the feed lacks",
    Repair.WITHDRAWN: "a resting order that took: withdrawn before",
    Repair.EARLY: "a cancel moved before the fills it made way for",
}

FAULTS = {
    Fault.DUPLICATE: "an order is added whose id rests already",
    Fault.SIDE: "a change names another side than its order has",
}

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
        ("origin", "u1"),
        ("padding", "u1", (5,)),
    ]
)
"""One record of a feed: an `Op` and what it is about, 72 bytes. `side` is that of the order `id` (a
MARKET's own), NO_SIDE where the feed does not say; `origin` that of the order that it brings. Ids
are 1 and up, 0 where it names nobody; where every order is told (`Rules.in_turn`), any number."""
