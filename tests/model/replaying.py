"""A source run through the matching engine, and the engine's book held against the feed's own."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from mtsim.engine.batch import Books
from mtsim.engine.messages import Kind, Reject, TimeInForce
from mtsim.model.sources.base import Source, Truth, place


@dataclass
class Replay:
    """What came of a source: how often its book was the feed's book, and where it first was not."""

    messages: int = 0
    compared: int = 0
    equal: int = 0
    first_difference: str = ""
    rejects: Counter[str] = field(default_factory=Counter)
    """Messages that the engine refused, as `KIND REASON`."""
    taker_lots: int = 0
    """Lots of the aggressive orders that were accepted."""
    filled_lots: int = 0
    """Lots that these orders traded: less than `taker_lots` where the book lacked makers."""
    resting_fills: int = 0
    """Lots traded by orders that were meant to rest: 0 unless the book lies crossed to the feed."""
    books: Books = field(default_factory=lambda: Books(1))


def replay(source: Source, *, every: int = 1, levels: int | None = None) -> Replay:
    """Execute a source from an empty book, and compare every `every`-th snapshot with the book.

    Compared are the best `levels` levels of both sides: `session.truth_levels`, if not said.
    """
    levels = source.session.truth_levels if levels is None else levels
    done = Replay()
    seen = 0
    last_ns = np.zeros(0, np.int64)
    for batch in source.batches():
        times_ns = np.append(last_ns, batch.feed["time_ns"])
        assert np.all(np.diff(times_ns) >= 0), "time goes back"
        last_ns = times_ns[-1:]
        start = 0
        for k in _picked(batch.truth, seen, every):
            assert batch.truth is not None
            after = int(batch.truth.after[k])
            _execute(done, batch.feed["message"][start:after])
            _compare(done, source, batch.truth, k, levels)
            start = after
        _execute(done, batch.feed["message"][start:])
        seen += 0 if batch.truth is None else len(batch.truth.after)
    return done


def _picked(truth: Truth | None, seen: int, every: int) -> Iterable[int]:
    return () if truth is None else range(-seen % every, len(truth.after), every)


def _execute(done: Replay, messages: np.ndarray) -> None:
    if not len(messages):
        return
    results = done.books.process(np.ascontiguousarray(messages)).results
    accepted = results["reject"] == Reject.NONE
    takes = messages["tif"] != TimeInForce.GTC
    done.messages += len(messages)
    done.taker_lots += int(messages["lots"][takes & accepted].sum(dtype=np.int64))
    done.filled_lots += int(results["filled_lots"][takes].sum())
    done.resting_fills += int(results["filled_lots"][~takes].sum())
    for message, result in zip(messages[~accepted], results[~accepted], strict=True):
        done.rejects[f"{Kind(message['kind']).name} {Reject(result['reject']).name}"] += 1


def _compare(done: Replay, source: Source, truth: Truth, k: int, levels: int) -> None:
    ticks, lots = (array[0] for array in done.books.depth(levels))
    tick_there, lots_there = truth.tick[k, :, :levels], truth.lots[k, :, :levels]
    # Where a side has no level, its price means nothing.
    equal = (lots == lots_there) & ((ticks == tick_there) | (lots == 0))
    done.compared += 1
    done.equal += bool(equal.all())
    if not equal.all() and not done.first_difference:
        side, level = np.argwhere(~equal)[0].tolist()
        file, row = place(source.session.files, truth.row[k])
        done.first_difference = (
            f"snapshot {done.compared} at row {row} of {file}, {('bid', 'ask')[side]} {level + 1}: "
            f"the book has {lots[side, level]} at {ticks[side, level]}, "
            f"the feed {lots_there[side, level]} at {tick_there[side, level]}"
        )
