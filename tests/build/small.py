"""Small scenarios for the tests of what is built from them."""

from typing import Any

from mtsim.build.plan import Plan
from mtsim.build.simulation import WORLD, Simulation
from mtsim.engine.tape import Stream
from mtsim.scenario import Resolved, loads

SECOND_NS = 10**9

MARKET = {
    "name": "small",
    "session": {"duration": "60s", "warmup": "5s"},
    "rules": {"fees": {"maker_bp": -0.2, "taker_bp": 0.3}},
    "latency": {"median": "200us", "sigma": 0.3},
    "flow": {
        "kind": "zero_intelligence",
        "add_rate": 2.0,
        "market_rate": 3.0,
        "cancel_rate": 0.25,
        "depth": 8,
        "size": {"lognormal": [4, 0.7]},
    },
    "opening": {"kind": "synthetic", "spread": 2, "levels": 8, "orders_per_level": 3, "lots": 6},
    "evaluation": {"sample": "1s", "bootstrap": 100},
}
"""About 70 events a second for a minute, some 100 orders in the book."""

BUYER = {
    "agent": {"policy": "twap", "slices": 10},
    "task": {"kind": "execution", "side": "buy", "quantity": 60, "start": "10s", "horizon": "30s"},
}

THIN_BIDS = {
    "shocks": [{"name": "thin", "type": "mass_cancel", "at": "20s", "levels": 3, "fraction": 0.7}]
}


def resolved(*parts: dict[str, Any], seed: int = 7, overrides: tuple[str, ...] = ()) -> Resolved:
    """The market with these parts laid over it, key by key at the top."""
    whole = dict(MARKET)
    for part in parts:
        whole |= part
    return loads(whole, overrides, seed)


def simulated(*parts: dict[str, Any], has_twin: bool = False, **options) -> Simulation:
    """A simulation of it that has come to its end."""
    plan = Plan.of(resolved(*parts, **options))
    simulation = Simulation.begin(plan, plan.new_tape(1 + has_twin), has_twin=has_twin)
    simulation.advance(plan.duration_ns)
    assert simulation.is_over
    return simulation


def stream(simulation: Simulation, world: int = WORLD) -> Stream:
    return simulation.tape.stream(world)
