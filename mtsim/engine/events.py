"""The one row of market activity, historical or simulated: what was asked, what came of it, and
when.

An event is a message and its result in one row, free of what the engine ignores: `side` and
`price_tick` of a cancel are those of the order it names, its `lots` are what it took out, a market
order's `price_tick` is the worst price it paid. Every field that decides what the engine does next
(`kind`, `tif`, `stp`, `flags`, `display_lots`) is a column, so the events of a book, executed
again in order, give the same results, fills and book (`to_messages`). Knows no features and no
tokens.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from mtsim.engine.columns import Schema
from mtsim.engine.messages import MESSAGE_DTYPE, Kind, Reject, TimeInForce
from mtsim.errors import EngineInputError


class EventType(IntEnum):
    """What happened, in the words of a market. From SESSION_START on: markers, which no book
    executes."""

    UNKNOWN = 0  # A request of no known kind; always refused.
    ADD = 1  # A limit order that met nobody, or was refused before it could.
    MARKETABLE = 2  # An order that met the other side, or was not allowed to rest.
    CANCEL = 3
    REDUCE = 4
    REPLACE = 5
    AUCTION = 6
    UNCROSS = 7
    SESSION_START = 8
    SESSION_END = 9
    HALT = 10
    RESUME = 11
    GAP = 12  # Activity is missing between the rows before and after.


class Origin(IntEnum):
    """Why an event is there. Only what was observed is to be learnt from."""

    OBSERVED = 0  # A feed recorded it, or a simulation did it.
    OPENING = 1  # It puts the book in place at the start of a session, or after a gap.
    INFERRED = 2  # A feed does not show it, but the book it shows needs it.


EVENT_DTYPE = np.dtype(
    [
        ("time_ns", "<i8"),
        ("order_id", "<i8"),
        ("filled_lots", "<i8"),
        ("price_tick", "<i4"),
        ("lots", "<i4"),
        ("display_lots", "<i4"),
        ("owner", "<i4"),
        ("flags", "<u4"),
        ("book", "<i4"),
        ("type", "u1"),
        ("side", "u1"),
        ("kind", "u1"),
        ("tif", "u1"),
        ("stp", "u1"),
        ("reject", "u1"),
        ("origin", "u1"),
        ("padding", "u1"),
    ]
)
"""One event, 56 bytes. `time_ns` counts from the session's start; `book` is the world or
instrument, 0 where there is one. `lots` is what was asked of an order that enters (a REPLACE: its
new open lots), and what left for CANCEL and REDUCE."""

EVENT_SCHEMA = Schema("event", 1, EVENT_DTYPE)

# What a marker carries as `kind`: no message has it.
NO_KIND = 255

_TYPE_OF_KIND = np.full(256, EventType.UNKNOWN, np.uint8)
_TYPE_OF_KIND[Kind.LIMIT] = EventType.ADD
_TYPE_OF_KIND[Kind.MARKET] = EventType.MARKETABLE
_TYPE_OF_KIND[Kind.CANCEL] = EventType.CANCEL
_TYPE_OF_KIND[Kind.REDUCE] = EventType.REDUCE
_TYPE_OF_KIND[Kind.REPLACE] = EventType.REPLACE
_TYPE_OF_KIND[Kind.AUCTION] = EventType.AUCTION
_TYPE_OF_KIND[Kind.UNCROSS] = EventType.UNCROSS


def from_messages(
    time_ns: np.ndarray | int,
    messages: np.ndarray,
    results: np.ndarray,
    book: np.ndarray | int = 0,
    origin: np.ndarray | int = Origin.OBSERVED,
) -> np.ndarray:
    """The EVENT_DTYPE rows of executed messages: row k of each argument (or its one value) belongs
    together."""
    if len(messages) != len(results):
        raise EngineInputError(
            f"{len(messages)} messages with {len(results)} results: one result a message is needed"
        )
    accepted = results["reject"] == Reject.NONE
    kind = messages["kind"]
    events = np.zeros(len(messages), EVENT_DTYPE)
    events["time_ns"] = time_ns
    events["book"] = book
    events["origin"] = origin
    for field in ("owner", "display_lots", "flags", "kind", "tif", "stp"):
        events[field] = messages[field]
    # A result repeats these of a refused message, and knows better for an accepted one: the
    # handle given to an order, the side and price of a cancelled one, the price an auction found.
    # (Uncrossing again with that price as reference finds it again: it is the nearest tick to
    # itself.)
    for field in ("order_id", "side", "price_tick", "reject", "filled_lots"):
        events[field] = results[field]
    takes_out = accepted & ((kind == Kind.CANCEL) | (kind == Kind.REDUCE))
    events["lots"] = np.where(takes_out, results["cancelled_lots"], messages["lots"])
    reached = (
        (messages["tif"] != TimeInForce.GTC)
        | (results["n_fills"] > 0)
        | (results["cancelled_lots"] > 0)
    )
    events["type"] = np.where(
        (kind == Kind.LIMIT) & reached, EventType.MARKETABLE, _TYPE_OF_KIND[kind]
    )
    return events


def to_messages(events: np.ndarray) -> np.ndarray:
    """The MESSAGE_DTYPE rows that execute these events again, markers left out.

    On the book they came from (or an empty one, if they are a book's whole life) they give the
    same results and fills. EngineInputError for rows that are not events.
    """
    if events.dtype != EVENT_DTYPE:
        raise EngineInputError(f"not events: EVENT_DTYPE is needed, got {events.dtype}")
    known = events["type"] <= max(EventType)
    if not known.all():
        row = int(np.argmin(known))
        raise EngineInputError(
            f"events[{row}]: unknown type {events['type'][row]}, the last is {max(EventType)}"
        )
    executed = events[events["type"] < EventType.SESSION_START]
    messages = np.zeros(len(executed), MESSAGE_DTYPE)
    for field in MESSAGE_DTYPE.names or ():
        messages[field] = executed[field]
    return messages


def marker(time_ns: int, type: EventType, book: int = 0) -> np.ndarray:
    """One event of a session that no book executes (SESSION_START and later)."""
    if type < EventType.SESSION_START:
        raise EngineInputError(
            f"{type.name} is not a marker: a book executes it, so it needs a message and a result"
        )
    event = np.zeros(1, EVENT_DTYPE)
    event["time_ns"], event["type"], event["book"], event["kind"] = time_ns, type, book, NO_KIND
    return event
