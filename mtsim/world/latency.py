"""How long messages take: delays of the feed, of entry and of the response. Knows no message.

A delay is a function of (seed, world, agent, message number), so it does not depend on what other
agents do or how worlds are grouped.
"""

from dataclasses import dataclass, field
from math import isfinite

import numpy as np

from mtsim.errors import UsageError
from mtsim.streams import Stream

# Fields of a draw; a normal number takes two.
_FEED, _ENTRY, _RESPONSE = 0, 2, 4


@dataclass(frozen=True)
class Delay:
    """A lognormal delay; `sigma` 0 is always the median. Never negative."""

    median_ns: int = 0
    sigma: float = 0.0

    def __post_init__(self) -> None:
        if self.median_ns < 0 or not (isfinite(self.sigma) and self.sigma >= 0):
            raise UsageError(
                f"Delay: median_ns and sigma must not be negative, got {self.median_ns} and "
                f"{self.sigma}"
            )

    def at(self, normal: np.ndarray) -> np.ndarray:
        """int64 nanoseconds of standard normal numbers."""
        return np.rint(self.median_ns * np.exp(self.sigma * normal)).astype(np.int64)


@dataclass(frozen=True)
class Spike:
    """From `start_ns` until before `end_ns`, what sets out takes `factor` times as long."""

    start_ns: int
    end_ns: int
    factor: float

    def __post_init__(self) -> None:
        if self.end_ns < self.start_ns or not (isfinite(self.factor) and self.factor >= 0):
            raise UsageError(
                "Spike: end_ns must not come before start_ns, nor factor be negative, got "
                f"{self.start_ns} to {self.end_ns} and {self.factor}"
            )


@dataclass(frozen=True)
class Latency:
    """The delays of one agent: of what it sees, of its messages to the book, and of the answers.

    What sets out during several spikes is delayed by the product of their factors.
    """

    feed: Delay = field(default_factory=Delay)
    entry: Delay = field(default_factory=Delay)
    response: Delay = field(default_factory=Delay)
    spikes: tuple[Spike, ...] = ()

    def feed_ns(self, *draw: np.ndarray | int) -> np.ndarray:
        """`entry_ns` of what the agent sees; `number` counts its looks."""
        return self._drawn(self.feed, _FEED, *draw)

    def entry_ns(
        self,
        seed: int,
        owner: int,
        world: np.ndarray | int,
        number: np.ndarray | int,
        at_ns: np.ndarray | int,
    ) -> np.ndarray:
        """int64 delays of the owner's messages `number` of `world`, sent `at_ns`; arguments
        broadcast."""
        return self._drawn(self.entry, _ENTRY, seed, owner, world, number, at_ns)

    def response_ns(self, *draw: np.ndarray | int) -> np.ndarray:
        """`entry_ns` of the answers on their way back, which set out at `at_ns`."""
        return self._drawn(self.response, _RESPONSE, *draw)

    def _drawn(self, delay: Delay, first_field: int, seed, owner, world, number, at_ns):
        normal = np.zeros(np.broadcast_shapes(*map(np.shape, (world, number, at_ns))))
        if delay.sigma > 0:
            stream = Stream(int(seed), f"latency/{owner}")
            radius = stream.unit(number, world=world, field=first_field)
            angle = stream.unit(number, world=world, field=first_field + 1)
            # Box and Muller: 1 - u is never 0.
            normal = normal + np.sqrt(-2 * np.log1p(-radius)) * np.cos(2 * np.pi * angle)
        delays = delay.at(normal)
        for spike in self.spikes:
            inside = (np.asarray(at_ns) >= spike.start_ns) & (np.asarray(at_ns) < spike.end_ns)
            delays = np.where(inside, np.rint(delays * spike.factor).astype(np.int64), delays)
        return delays
