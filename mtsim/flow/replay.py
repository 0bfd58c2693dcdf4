"""History again: the events of a session, each at its time, executed against the book as it is now.

Alone in its world it makes the book that history made, message for message. Where others have
traded or quoted, history goes on mechanically: nobody in it reacts, and its messages do what they
can.

- An order that takes finds what is there up to its limit, and stays what it is: what an IOC does
  not get is lost, what a GTC does not get rests, a FOK that is not filled whole is refused.
- An order that met nobody in history and now crosses trades, and the rest of it rests. Post-only
  it is refused.
- A CANCEL takes all that its order has by now, less or more than in history. A REDUCE takes off as
  many lots as in history, or what there is.
- A REPLACE says how large the whole order is to be, what has traded included: its new open lots
  are more or fewer by as many as the order has more or fewer than in history, and where nothing is
  left it is sent as a CANCEL.
- A CANCEL, REDUCE or REPLACE of an order that is not there is a null event.
- AUCTION and UNCROSS come at their times; the latter asks for history's price as its reference.

Nothing takes away what history's takers no longer reach: such an order rests until somebody else
takes it. `Fallback` counts what came out otherwise.

Draws nothing. Knows no store: events are given to it.
"""

from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path

import numpy as np

from mtsim.engine.batch import Books
from mtsim.engine.events import EVENT_DTYPE, EventType, Origin, to_messages
from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.ladder import U, find_id, hot
from mtsim.engine.layout import (
    HIDDEN_LOTS,
    LOTS,
    MESSAGE_WORDS,
    ORDER_WORDS,
    ORDERS,
    SECOND_AND_SIDE,
)
from mtsim.engine.messages import Kind, Reject, SelfTrade, TimeInForce
from mtsim.errors import UsageError
from mtsim.flow.base import BACKGROUND, FAR, FIRST_FLOW_ID, ROOM, SOURCES, Kernels, write_message


class Fallback(IntEnum):
    """What became of an event that could not go as in history; a word of `state_i` counts each."""

    CANCEL_GONE = 1  # Of an order that is not there: a null event. Likewise the next two.
    REDUCE_GONE = 2
    REPLACE_GONE = 3
    CANCEL_OF_LESS = 4  # It took fewer lots out than in history.
    CANCEL_OF_MORE = 5
    REDUCE_OF_LESS = 6
    REPLACE_TO_LESS = 7  # Its order had fewer lots than in history, so it asked for fewer.
    REPLACE_TO_MORE = 8
    REPLACE_TO_NOTHING = 9  # There was nothing left to ask for: a CANCEL was sent.
    ADD_TRADED = 10  # A limit order that met nobody in history met somebody.
    FILLED_LESS = 11  # Any other message that traded fewer lots than in history.
    FILLED_MORE = 12
    REFUSED = 13  # The book refused what it accepted in history.


LIMIT, CANCEL, REDUCE, REPLACE = (
    kind.value for kind in (Kind.LIMIT, Kind.CANCEL, Kind.REDUCE, Kind.REPLACE)
)
GTC, ACCEPTED = TimeInForce.GTC.value, Reject.NONE.value
(
    CANCEL_GONE,
    REDUCE_GONE,
    REPLACE_GONE,
    CANCEL_OF_LESS,
    CANCEL_OF_MORE,
    REDUCE_OF_LESS,
    REPLACE_TO_LESS,
    REPLACE_TO_MORE,
    REPLACE_TO_NOTHING,
    ADD_TRADED,
    FILLED_LESS,
    FILLED_MORE,
    REFUSED,
) = (fallback.value for fallback in Fallback)

# `params_i` is the number of rows, then for each its time, its message, the open lots that the
# order it names had in history, and the lots it traded there.
FIRST_ROW = 1
MESSAGE = 1
PREVIOUS_LOTS = MESSAGE + MESSAGE_WORDS
FILLED_LOTS = PREVIOUS_LOTS + 1
ROW_WORDS = FILLED_LOTS + 1


class Replay:
    """`parts` are EVENT_DTYPE arrays: all events of one session from its first on, in order.

    `opening` is for `World.open`: the session's own opening, and all that happened before
    `from_ns`, which is time 0 of the replay. All orders become the background's, with ids as
    `flow.base` has them: each entering order gets one of its own, also where history has used an id
    twice. Markers, and what was refused in history, are left out.

    History is executed once to find out what its messages met. UsageError where that is not what
    the events say, and for what cannot be one owner's: self-trade prevention among several.
    """

    def __init__(self, parts: Iterable[np.ndarray], *, from_ns: int = 0):
        events, n_left_out = _executed(parts)
        time_ns = events["time_ns"].astype(np.int64)
        observed = np.flatnonzero(events["origin"] != Origin.OPENING)
        n_opening = max(
            int(observed[0]) if len(observed) else len(events),
            int(np.searchsorted(time_ns, from_ns)),
        )
        messages = to_messages(events)
        _require_one_owner(messages)
        messages["owner"] = BACKGROUND
        messages["order_id"] = _life_ids(messages, n_opening)
        results = Books(1).process(messages).results
        _require_history(events, results, n_left_out)
        self.opening = messages[:n_opening]
        self._time_ns = time_ns[n_opening:] - from_ns
        self._messages = messages[n_opening:]
        self._results = results[n_opening:]

    @property
    def kernels(self) -> Kernels:
        return KERNELS

    @property
    def owners(self) -> int:
        return BACKGROUND + 1

    def params(self) -> tuple[np.ndarray, np.ndarray]:
        n = len(self._messages)
        params_i = np.empty(FIRST_ROW + n * ROW_WORDS, np.int64)
        params_i[0] = n
        rows = params_i[FIRST_ROW:].reshape(n, ROW_WORDS)
        rows[:, 0] = self._time_ns
        rows[:, MESSAGE:PREVIOUS_LOTS] = self._messages.view(np.int64).reshape(n, MESSAGE_WORDS)
        rows[:, PREVIOUS_LOTS] = self._results["previous_lots"]
        rows[:, FILLED_LOTS] = self._results["filled_lots"]
        return np.zeros(0), params_i

    def new_state(self, n_worlds: int) -> tuple[np.ndarray, np.ndarray]:
        state_i = np.zeros((n_worlds, 1 + max(Fallback)), np.int64)
        state_i[:, ROOM] = 1
        return np.zeros((n_worlds, 0)), state_i

    def grow(self, state_i: np.ndarray) -> np.ndarray:
        raise AssertionError("a replay remembers no orders, so it never lacks room")

    def fallbacks(self, state_i: np.ndarray) -> dict[str, np.ndarray]:
        """How often each `Fallback` has happened in each of these worlds, by name: int64 [B]."""
        return {fallback.name: state_i[:, fallback].copy() for fallback in Fallback}


def _executed(parts: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The events that changed a book, and for each how many rows before it did not."""
    all_parts = [np.zeros(0, EVENT_DTYPE), *parts]
    for part in all_parts:
        if part.dtype != EVENT_DTYPE or part.ndim != 1:
            raise UsageError(
                f"Replay: events must be one-dimensional EVENT_DTYPE, got {part.ndim} dimensions "
                f"of {part.dtype}"
            )
    events = np.concatenate(all_parts)
    backwards = np.flatnonzero(np.diff(events["time_ns"]) < 0)
    if len(backwards):
        raise UsageError(f"Replay: time goes back between events {backwards[0]} and the next")
    kept = (events["type"] < EventType.SESSION_START) & (events["reject"] == Reject.NONE)
    return events[kept], np.cumsum(~kept)[kept]


def _require_one_owner(messages: np.ndarray) -> None:
    if len(messages) and np.ptp(messages["owner"]) and (messages["stp"] != SelfTrade.ALLOW).any():
        raise UsageError(
            f"Replay: orders of {len(np.unique(messages['owner']))} owners that ask for self-trade "
            "prevention; as one owner's, which they become, they would prevent each other's trades"
        )


def _life_ids(messages: np.ndarray, n_opening: int) -> np.ndarray:
    """The new id of the order that each message brings or names; 0 for AUCTION and UNCROSS, and
    where no such order has entered."""
    row = np.arange(len(messages))
    enters = messages["kind"] <= Kind.MARKET
    by_id = np.argsort(messages["order_id"], kind="stable")
    # Among the messages of one id the last that has entered is the order that they are about.
    entered = np.empty_like(row)
    entered[by_id] = by_id[np.maximum.accumulate(np.where(enters[by_id], row, 0))]
    is_about = enters[entered] & (messages["order_id"][entered] == messages["order_id"])
    ids = np.where(entered < n_opening, entered + 1, FIRST_FLOW_ID - n_opening + entered)
    return np.where(is_about & (messages["kind"] <= Kind.REPLACE), ids, 0)


def _require_history(events: np.ndarray, results: np.ndarray, n_left_out: np.ndarray) -> None:
    differs = (results["reject"] != Reject.NONE) | (results["filled_lots"] != events["filled_lots"])
    if differs.any():
        row = int(np.argmax(differs))
        raise UsageError(
            f"Replay: event {row + n_left_out[row]} traded {events['filled_lots'][row]} lots; "
            f"executed again it trades {results['filled_lots'][row]} "
            f"({Reject(results['reject'][row]).name}). All events of one session are needed, from "
            "its first on."
        )


@hot
def schedule(a32, a64, o, params_f, params_i, state_f, state_i, key, world, index, now_ns):
    """The time of row `index`, however late."""
    if index >= params_i[U(0)]:
        return FAR
    return max(params_i[U(FIRST_ROW + ROW_WORDS * index)], now_ns)


@hot
def compose(a32, a64, o, params_f, params_i, state_f, state_i, key, world, index, now_ns, message):
    """Row `index`, as far as the order that it names is still there."""
    row = FIRST_ROW + ROW_WORDS * index
    for word in range(MESSAGE_WORDS):
        message[U(word)] = params_i[U(row + MESSAGE + word)]
    kind = message[U(0)] & 255
    if kind < CANCEL or kind > REPLACE:
        return True
    order_id = message[U(3)]
    r = (o + a64[U(o + ORDERS)]) * 2
    slot = find_id(a64, o, r, order_id)[1]
    if slot == 0:
        state_i[U(CANCEL_GONE + kind - CANCEL)] += 1
        return False
    order = r + slot * ORDER_WORDS
    open_lots = np.int64(a32[U(order + LOTS)])
    second = np.int64(a32[U(order + SECOND_AND_SIDE)]) >> 1
    if second != 0:
        open_lots += np.int64(a32[U(r + second * ORDER_WORDS + HIDDEN_LOTS)])
    more = open_lots - params_i[U(row + PREVIOUS_LOTS)]
    lots = np.int64(np.int32(message[U(2)]))
    if kind == REDUCE:
        if open_lots < lots:
            state_i[U(REDUCE_OF_LESS)] += 1
    elif more != 0 and kind == CANCEL:
        state_i[U(CANCEL_OF_MORE if more > 0 else CANCEL_OF_LESS)] += 1
    elif more != 0 and lots + more < 1:
        state_i[U(REPLACE_TO_NOTHING)] += 1
        write_message(message, CANCEL, 0, GTC, BACKGROUND, 0, 0, order_id)
    elif more != 0:
        state_i[U(REPLACE_TO_MORE if more > 0 else REPLACE_TO_LESS)] += 1
        message[U(2)] += more
    return True


@hot
def observe(
    a32,
    a64,
    o,
    params_f,
    params_i,
    state_f,
    state_i,
    key,
    world,
    index,
    now_ns,
    message,
    result,
    fills,
    n_fills,
    own,
):
    """Count where a message of history met others than in history."""
    if not own:
        return
    what = message[U(0)]
    filled = result[U(1)]
    there = params_i[U(FIRST_ROW + ROW_WORDS * (index - 1) + FILLED_LOTS)]
    if (result[U(5)] >> 32) & 255 != ACCEPTED:
        state_i[U(REFUSED)] += 1
    elif what & 255 == CANCEL or filled == there:
        # A cancel that stands for a replace has been counted.
        return
    elif filled < there:
        state_i[U(FILLED_LESS)] += 1
    elif there == 0 and what & 255 == LIMIT and (what >> 16) & 255 == GTC:
        state_i[U(ADD_TRADED)] += 1
    else:
        state_i[U(FILLED_MORE)] += 1


KERNELS = Kernels(
    schedule,
    compose,
    observe,
    fingerprint(SOURCES, Path(__file__)),
)
