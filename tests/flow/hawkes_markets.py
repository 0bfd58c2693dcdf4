"""Hawkes markets for the tests, whose parameters can be found again, and the events of worlds."""

from dataclasses import fields

import numpy as np

from mtsim.build.fitting import order_events
from mtsim.flow.hawkes import Hawkes
from mtsim.flow.order_events import OrderEvents
from mtsim.flow.placing import (
    CANCEL_DEEP,
    CANCEL_TOUCH,
    DEEP,
    INSIDE,
    MARKET,
    N_KINDS,
    TOUCH,
    Placing,
)
from mtsim.flow.sizes import Sizes
from mtsim.world.opening import synthetic
from mtsim.world.world import World
from tests.world.worlds import tape_of

DEEP_BOOK = synthetic(mid_tick=100, spread=3, levels=1_000, orders_per_level=1, lots=2)
"""So many orders that no cancel finds none, and few at each level, so that the spread moves."""


def market(**changes) -> Hawkes:
    """About 14 events a second, with kernels of a twentieth and of a whole second, on both sides.

    Spreads are taken from in a few ticks; the numbers of orders have no influence.
    """
    branching = np.zeros((N_KINDS, 2, 2, N_KINDS))
    for source, other, decay, target, children in (
        (MARKET, 0, 0, MARKET, 0.35),
        (MARKET, 1, 1, INSIDE, 0.30),
        (INSIDE, 0, 0, CANCEL_TOUCH, 0.30),
        (INSIDE, 1, 1, MARKET, 0.20),
        (TOUCH, 0, 1, TOUCH, 0.30),
        (TOUCH, 1, 0, CANCEL_TOUCH, 0.20),
        (DEEP, 0, 0, DEEP, 0.45),
        (CANCEL_TOUCH, 0, 1, INSIDE, 0.25),
        (CANCEL_TOUCH, 1, 0, TOUCH, 0.20),
        (CANCEL_DEEP, 0, 1, CANCEL_DEEP, 0.40),
        (DEEP, 1, 1, CANCEL_DEEP, 0.20),
    ):
        branching[source, other, decay, target] = children
    parameters = {
        "base": np.array([0.4, 0.5, 0.5, 0.9, 0.7, 0.3]),
        "decays": np.array([20.0, 1.0]),
        "branching": branching,
        "spread_starts": np.array([1, 2, 3]),
        "spread_factors": np.array([[1, 0, 1, 1, 1, 1], [1] * 6, [1, 2, 1, 1, 1, 1]], np.float64),
        "placing": placing(),
        "piece_ends_ns": np.zeros(0, np.int64),
        "time_factors": np.ones(1),
        "first_tick": 100,
    }
    return Hawkes(**{**parameters, **changes})


def placing(**changes) -> Placing:
    sizes = Sizes.empirical(np.array([1, 2, 5]), np.array([3, 2, 1]))
    away = Sizes.empirical(np.array([1, 2, 3, 6]), np.array([4, 3, 2, 1]))
    laws = {"sizes": (sizes,) * 4, "inside": away, "add_deep": away, "cancel_deep": away}
    return Placing(**{**laws, **changes})


def begin_at_rest(world: World, opening: np.ndarray) -> None:
    """Open a new world in which nothing was ever excited."""
    from mtsim.flow.hawkes_rates import EXCITATION

    world.state_f[:, EXCITATION:] = 0.0
    world.open(opening)


def events_of(world: World, b: int = 0) -> OrderEvents:
    """What happened after a recorded world's opening."""
    whole = order_events([tape_of(world).events(b)])
    first = int(np.searchsorted(whole.time_ns, 0, side="right"))
    events = OrderEvents(*(getattr(whole, field.name)[first:] for field in fields(whole)))
    events.opens[0] = True
    return events
