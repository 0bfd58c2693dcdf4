"""Messages on their way to the books: of agents, shocks and openings. Knows no market.

The order in which they act is (time, rank, sequence), and at the same time all of them act before
the flow's event: an opening before shocks, shocks before agents, and within a rank in the order of
sending.
"""

from enum import IntEnum

import numpy as np

from mtsim.engine.layout import MESSAGE_WORDS

ARRIVAL, RANK, SEQUENCE, MESSAGE = range(4)
ROW_WORDS = MESSAGE + MESSAGE_WORDS
"""A row: when it arrives, its rank, its number in its world, the message's words."""

HEAD, COUNT, SENT = range(3)
"""Columns of `state`: the first row that has not acted, the rows, those ever sent."""

_FIRST_ROOM = 16


class Rank(IntEnum):
    """Who goes first at the same nanosecond."""

    OPENING = 0
    SHOCK = 1
    AGENT = 2


class Inbox:
    """`rows` int64 [B, room, ROW_WORDS], those between HEAD and COUNT in the order of acting."""

    def __init__(self, n_worlds: int):
        self.rows = np.zeros((n_worlds, _FIRST_ROOM, ROW_WORDS), np.int64)
        self.state = np.zeros((n_worlds, SENT + 1), np.int64)

    def put(
        self, worlds: np.ndarray, arrival_ns: np.ndarray, rank: Rank, messages: np.ndarray
    ) -> None:
        """Add message k, which arrives in `worlds[k]` at `arrival_ns[k]`. O(what is pending in
        these worlds)."""
        if not len(worlds):
            return
        touched = np.unique(worlds)
        held = self.state[touched, COUNT] - self.state[touched, HEAD]
        holders = np.repeat(touched, held)
        at = np.repeat(self.state[touched, HEAD], held) + place_among_equals(holders)
        added = np.zeros((len(worlds), ROW_WORDS), np.int64)
        added[:, ARRIVAL] = arrival_ns
        added[:, RANK] = rank
        added[:, SEQUENCE] = self.state[worlds, SENT] + place_among_equals(worlds)
        added[:, MESSAGE:] = np.ascontiguousarray(messages).view(np.int64).reshape(-1, 4)
        rows = np.concatenate((self.rows[holders, at], added))
        of_world = np.concatenate((holders, worlds))
        order = np.lexsort((rows[:, SEQUENCE], rows[:, RANK], rows[:, ARRIVAL], of_world))
        rows, of_world = rows[order], of_world[order]

        new = np.bincount(worlds, minlength=len(self.state))[touched]
        if (need := int((held + new).max())) > self.rows.shape[1]:
            wider = np.zeros((len(self.rows), max(need, 2 * self.rows.shape[1]), ROW_WORDS), "<i8")
            wider[:, : self.rows.shape[1]] = self.rows
            self.rows = wider
        self.rows[of_world, place_among_equals(of_world)] = rows
        self.state[touched, HEAD] = 0
        self.state[touched, COUNT] = held + new
        self.state[touched, SENT] += new

    def pending(self, world: int) -> np.ndarray:
        """The rows of a world that have not acted, first to act first. A view."""
        head, count = self.state[world, HEAD], self.state[world, COUNT]
        return self.rows[world, head:count]

    def n_sent(self, world: int) -> int:
        """How many messages a world's inbox has ever taken in."""
        return int(self.state[world, SENT])

    def put_back(self, world: int, pending: np.ndarray, n_sent: int) -> None:
        """Make a world's inbox what it was when these were pending and `n_sent` had come in."""
        if len(pending) > self.rows.shape[1]:
            wider = np.zeros((len(self.rows), len(pending), ROW_WORDS), np.int64)
            wider[:, : self.rows.shape[1]] = self.rows
            self.rows = wider
        self.rows[world, : len(pending)] = pending
        self.state[world] = 0, len(pending), n_sent


def place_among_equals(values: np.ndarray) -> np.ndarray:
    """How many equal values come before each; none is negative."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    lengths = np.diff(np.r_[starts, len(ordered)])
    places = np.empty(len(values), np.int64)
    places[order] = np.arange(len(values)) - np.repeat(starts, lengths)
    return places
