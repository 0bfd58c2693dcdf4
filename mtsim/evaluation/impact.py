"""What an agent or a shock moved: worlds held against their twins. Reads tapes only.

`impact = mid(world) - mid(twin)`, by seed, with the sign of the order: above 0 it went against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mtsim.engine.tape import Stream
from mtsim.evaluation.paths import mid_x2_at
from mtsim.flow.base import BACKGROUND
from mtsim.streams import Stream as RandomStream

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEVEL = 0.95


class Divergence(NamedTuple):
    """The first message of the background that is not the same in both worlds."""

    event: int
    """How many of its messages came before, the opening's included."""
    time_ns: int


@dataclass(frozen=True, eq=False)
class Pair:
    """One seed's world and twin: twice their mids on a grid, and how they differ."""

    seed: int
    world_mid_x2: np.ndarray
    twin_mid_x2: np.ndarray
    divergence: Divergence | None
    is_identical: bool

    @classmethod
    def of(cls, seed: int, world: Stream, twin: Stream, time_ns: np.ndarray) -> Pair:
        return cls(
            seed,
            mid_x2_at(world, time_ns),
            mid_x2_at(twin, time_ns),
            first_divergence(world, twin),
            world.digest() == twin.digest(),
        )


@dataclass(frozen=True, eq=False)
class Impact:
    """Pairs of several seeds on one grid of T times from the session's start. `sign` is 1 for a
    buyer's impact and for a shock's, -1 for a seller's."""

    time_ns: np.ndarray
    pairs: tuple[Pair, ...]
    sign: int = 1
    resamples: int = 1000

    def by_seed(self) -> np.ndarray:
        """float64 [seeds, T], ticks."""
        return self.sign * (self._world() - self._twin()) / 2

    def mean(self) -> np.ndarray:
        """float64 [T], ticks."""
        return self.by_seed().mean(axis=0)

    def interval(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The ends of a 95 % interval for the mean at each time, by bootstrap over the seeds; None
        for one seed."""
        found = self.by_seed()
        n = len(found)
        if n < 2:
            return None
        generator = RandomStream(0, "bootstrap").generator()
        counts = generator.multinomial(n, np.full(n, 1 / n), size=self.resamples)
        means = counts @ found / n
        low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], axis=0)
        return low, high

    def variance_reduction(self) -> np.ndarray:
        """float64 [T]: how many times more seeds independent worlds would need for the same error
        of the mean: the variance of a difference without common random numbers over that with them.

        NaN where the pairs do not vary, or for one seed.
        """
        if len(self.pairs) < 2:
            return np.full(len(self.time_ns), np.nan)
        apart = self._world().var(axis=0, ddof=1) + self._twin().var(axis=0, ddof=1)
        together = (self._world() - self._twin()).var(axis=0, ddof=1)
        return np.divide(apart, together, out=np.full(len(apart), np.nan), where=together > 0)

    def as_json(self) -> dict[str, Any]:
        """Lists over the grid; times in seconds, impact in ticks, None where there is no figure."""
        interval, reduction = self.interval(), self.variance_reduction()
        return {
            "seeds": [pair.seed for pair in self.pairs],
            "sign": self.sign,
            "identical": all(pair.is_identical for pair in self.pairs),
            "time_s": (self.time_ns / 1e9).tolist(),
            "impact_ticks": self.mean().tolist(),
            "low_ticks": None if interval is None else interval[0].tolist(),
            "high_ticks": None if interval is None else interval[1].tolist(),
            "variance_reduction": [_or_none(value) for value in reduction.tolist()],
            "variance_reduction_median": _median(reduction),
            "first_divergence": [
                None
                if pair.divergence is None
                else {"event": pair.divergence.event, "time_s": pair.divergence.time_ns / 1e9}
                for pair in self.pairs
            ],
        }

    def draw(self, file: Path) -> None:
        """Write the curve with its interval as a PNG; equal studies give equal bytes."""
        # No pyplot: it has one global state and looks for a display.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 5), layout="constrained")
        FigureCanvasAgg(figure)
        self._draw_curve(figure.subplots())
        # The version of the library would be in the file, and change it.
        figure.savefig(file, format="png", dpi=100, metadata={"Software": None})

    def _draw_curve(self, panel: Axes) -> None:
        seconds = self.time_ns / 1e9
        if (interval := self.interval()) is not None:
            panel.fill_between(seconds, *interval, alpha=0.3, label="95 % interval of the mean")
        panel.plot(seconds, self.mean(), label=f"mean over {len(self.pairs)} seeds")
        panel.axhline(0, color="black", linewidth=0.8)
        panel.set_xlabel("s since the session's start")
        panel.set_ylabel("mid less the twin's mid, ticks")
        panel.legend()

    def _world(self) -> np.ndarray:
        return np.array([pair.world_mid_x2 for pair in self.pairs], np.float64)

    def _twin(self) -> np.ndarray:
        return np.array([pair.twin_mid_x2 for pair in self.pairs], np.float64)


def first_divergence(world: Stream, twin: Stream) -> Divergence | None:
    """Where the background's messages cease to be the same; None where they all are."""
    ours, theirs = _background(world), _background(twin)
    n = min(len(ours[0]), len(theirs[0]))
    differs = (ours[0][:n] != theirs[0][:n]) | (ours[1][:n] != theirs[1][:n])
    if differs.any():
        event = int(np.argmax(differs))
        return Divergence(event, int(min(ours[0][event], theirs[0][event])))
    if len(ours[0]) == len(theirs[0]):
        return None
    longer = max(ours[0], theirs[0], key=len)
    return Divergence(n, int(longer[n]))


def _background(stream: Stream) -> tuple[np.ndarray, np.ndarray]:
    mine = stream.messages["owner"] == BACKGROUND
    return stream.time_ns[mine], stream.messages[mine]


def _median(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
