"""The book of a stored session at one moment, as the messages that put it in place."""

from __future__ import annotations

import numpy as np

from mtsim.engine.batch import Books
from mtsim.engine.events import to_messages
from mtsim.engine.messages import MESSAGE_DTYPE, Kind, Phase
from mtsim.errors import UsageError
from mtsim.flow.base import BACKGROUND
from mtsim.model.store import StoredSession
from mtsim.world.opening import numbered


def book_at(session: StoredSession, at_ns: int) -> np.ndarray:
    """MESSAGE_DTYPE rows of all orders that rest after what happened until `at_ns`, bids first.

    Every order keeps its place in its level and loses its id; an iceberg shows a whole slice. All
    are the background's. UsageError in an auction, and where a side is empty. O(events until then).
    """
    books = Books(1)
    for part in session.events():
        until = int(np.searchsorted(part["time_ns"], at_ns, side="right"))
        books.process(to_messages(part[:until]))
        if until < len(part):
            break
    if books.phases()[0] != Phase.CONTINUOUS:
        raise UsageError(f"{session.key}: in an auction at {at_ns / 1e9:g} s; choose another time")
    resting = books.resting(0)
    if len(np.unique(resting["side"])) < 2:
        raise UsageError(
            f"{session.key}: a side of the book is empty at {at_ns / 1e9:g} s; choose another time"
        )
    rows = np.zeros(len(resting), MESSAGE_DTYPE)
    rows["kind"] = Kind.LIMIT
    rows["owner"] = BACKGROUND
    for field in ("side", "price_tick", "display_lots"):
        rows[field] = resting[field]
    rows["lots"] = resting["lots"] + resting["hidden_lots"]
    return numbered(rows)
