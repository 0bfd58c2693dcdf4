"""What flows are fitted to: order events of six kinds in arrays, told from the book before each."""

from dataclasses import dataclass, fields

import numpy as np

from mtsim.errors import UsageError
from mtsim.flow.placing import DEEP, INSIDE, N_KINDS

SECOND_NS = 10**9


@dataclass(frozen=True)
class OrderEvents:
    """One value an event, all arrays of one length, in the order of time.

    `spread_ticks` is the spread since the event before, 0 where a side was empty. `distance_ticks`
    is from the best price of the own side: of what improves it, how many ticks; of what is at it
    and of a MARKET, 0. `best_lots` are those at the best price before the event: of the other side
    for a MARKET, of the own for others. `resting_lots` are those of both sides near the touch.
    `opens` marks events before which time is not known to have passed under observation.
    """

    time_ns: np.ndarray
    kind: np.ndarray  # as `placing.OrderKind`
    side: np.ndarray
    spread_ticks: np.ndarray
    distance_ticks: np.ndarray
    lots: np.ndarray
    best_lots: np.ndarray
    resting_lots: np.ndarray
    opens: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.time_ns)
        for field in fields(self):
            value = getattr(self, field.name)
            if value.shape != (n,):
                raise UsageError(
                    f"OrderEvents: {field.name} must have the shape {(n,)}, got {value.shape}"
                )
        if not n:
            raise UsageError("OrderEvents: there are none; a fit needs some")
        if (np.diff(self.time_ns)[~self.opens[1:]] < 0).any():
            raise UsageError("OrderEvents: time_ns must not go back")
        for name, most in (("kind", N_KINDS - 1), ("side", 1)):
            value = getattr(self, name)
            if value.min() < 0 or value.max() > most:
                raise UsageError(f"OrderEvents: {name} must be from 0 to {most}")
        if self.lots.min() < 1:
            raise UsageError(f"OrderEvents: lots must be at least 1, got {self.lots.min()}")

    def __len__(self) -> int:
        return len(self.time_ns)

    def gap_ns(self) -> np.ndarray:
        """int64: the observed time since the event before."""
        gaps = np.diff(self.time_ns, prepend=self.time_ns[0])
        gaps[self.opens] = 0
        return gaps

    def seconds(self) -> float:
        """How long was observed."""
        return float(self.gap_ns().sum() / SECOND_NS)

    def counts(self) -> np.ndarray:
        """int64 [K, 2]: events of each kind and side."""
        return np.bincount(
            2 * self.kind.astype(np.int64) + self.side, minlength=2 * N_KINDS
        ).reshape(N_KINDS, 2)

    def from_opposite(self) -> np.ndarray:
        """int64: ticks from the opposite touch to where an addition rests; else the spread."""
        signs = np.zeros(N_KINDS, np.int64)
        signs[INSIDE], signs[DEEP] = -1, 1
        return self.spread_ticks + signs[self.kind] * self.distance_ticks
