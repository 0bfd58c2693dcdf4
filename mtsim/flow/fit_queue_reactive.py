"""The queue-reactive market of some queue events: how often each thing happened to a queue of each
size, over how long there was one (Huang, Lehalle and Rosenbaum 2015, section 2.3)."""

from dataclasses import dataclass, fields

import numpy as np

from mtsim.errors import UsageError
from mtsim.flow.order_events import SECOND_NS
from mtsim.flow.queue_reactive import ADDED, CANCELLED, TAKEN, QueueReactive
from mtsim.flow.sizes import Sizes

# A cell of level and size that was there for less than this has the rates of the next smaller size
# that was there for longer.
_LEAST_SECONDS = 1.0


@dataclass(frozen=True)
class QueueEvents:
    """One row an event, in the order of time; `queue_lots` [n, 2, K] and `best_levels` [n, 2] are
    those since the event before: lots at each level of bids and asks, and the level of the best
    queue, 0 for none of them. `what`, `side` and `level` (0: none of them) are of the event's
    queue; `opens` as in `OrderEvents`.
    """

    time_ns: np.ndarray
    what: np.ndarray
    side: np.ndarray
    level: np.ndarray
    lots: np.ndarray
    queue_lots: np.ndarray
    best_levels: np.ndarray
    opens: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.time_ns)
        shapes = {"queue_lots": (n, 2, self.levels), "best_levels": (n, 2)}
        for field in fields(self):
            value, shape = getattr(self, field.name), shapes.get(field.name, (n,))
            if value.shape != shape:
                raise UsageError(
                    f"QueueEvents: {field.name} must have the shape {shape}, got {value.shape}"
                )
        if n and not (self.level.min() >= 0 and self.level.max() <= self.levels):
            raise UsageError(f"QueueEvents: levels must be from 0 to {self.levels}")

    @property
    def levels(self) -> int:
        return self.queue_lots.shape[2]

    def __len__(self) -> int:
        return len(self.time_ns)

    def seconds(self) -> np.ndarray:
        """float64 [n]: the observed time since the event before."""
        gaps = np.diff(self.time_ns, prepend=self.time_ns[:1]) / SECOND_NS
        gaps[self.opens] = 0.0
        return gaps

    def counts(self) -> np.ndarray:
        """int64 [3, levels]: events of each sort at each level."""
        here = self.level > 0
        codes = self.what[here].astype(np.int64) * self.levels + self.level[here] - 1
        return np.bincount(codes, minlength=3 * self.levels).reshape(3, self.levels)


def fit_queue_reactive(
    events: QueueEvents, *, sizes: int = 30, first_tick: int = 10_000
) -> QueueReactive:
    """The market with the rates of these events, both sides together, for `sizes` sizes of queues
    besides none, in units of the mean size of an order that was added."""
    adds, takes = events.what == ADDED, events.what == TAKEN
    seconds = events.seconds()
    if not adds.any() or not takes.any() or not seconds.sum() > 0:
        raise UsageError(
            "fit_queue_reactive: additions and takers over some time are needed, got "
            f"{adds.sum()}, {takes.sum()} in {seconds.sum():g} s"
        )
    unit_lots = max(1, round(float(events.lots[adds].mean())))
    size = np.minimum(-(-events.queue_lots // unit_lots), sizes)
    levels = events.levels
    shape = (levels, sizes + 1)
    cell = np.arange(levels) * (sizes + 1) + size
    exposed = _summed(cell, np.broadcast_to(seconds[:, None, None], cell.shape), shape)
    # Only the best queue is taken from.
    is_best = events.best_levels[:, :, None] == np.arange(1, levels + 1)
    of_best = _summed(cell, is_best * seconds[:, None, None], shape)
    rates = np.zeros((3, *shape))
    # No time was observed before what opens a stretch.
    here = np.flatnonzero((events.level > 0) & ~events.opens)
    at = cell[here, events.side[here], events.level[here] - 1]
    for what in (ADDED, CANCELLED, TAKEN):
        mine = at[events.what[here] == what]
        counts = np.bincount(mine, minlength=levels * (sizes + 1)).reshape(shape)
        rates[what] = _filled(counts, of_best if what == TAKEN else exposed)
    rates[CANCELLED:, :, 0] = 0.0
    return QueueReactive(
        rates=rates,
        unit_lots=unit_lots,
        added=_law(events.lots[adds]),
        taking=_law(events.lots[takes]),
        first_tick=first_tick,
    )


def _summed(cell: np.ndarray, weights: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    sums = np.bincount(cell.ravel(), weights.ravel(), minlength=shape[0] * shape[1])
    return sums.reshape(shape)


def _filled(counts: np.ndarray, exposed: np.ndarray) -> np.ndarray:
    """Rates; where hardly anything was seen, those of the nearest smaller size, or else larger."""
    rates = np.zeros(counts.shape)
    for level in range(len(counts)):
        seen = np.flatnonzero(exposed[level] >= _LEAST_SECONDS)
        if not len(seen):
            continue
        nearest = seen[
            np.maximum(np.searchsorted(seen, np.arange(counts.shape[1]), "right") - 1, 0)
        ]
        rates[level] = counts[level, nearest] / exposed[level, nearest]
    return rates


def _law(lots: np.ndarray) -> Sizes:
    return Sizes.empirical(*np.unique(lots.astype(np.int64), return_counts=True))
