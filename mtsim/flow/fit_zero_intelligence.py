"""The zero-intelligence market of some order events: rates as Daniels et al. measure them.

Additions are counted wherever they rest, and spread evenly over a depth that has their median: the
model knows no other law. A resting lot is cancelled at the rate at which resting lots were.
"""

from typing import Any

import numpy as np

from mtsim.errors import UsageError
from mtsim.flow.order_events import SECOND_NS, OrderEvents
from mtsim.flow.placing import CANCEL_TOUCH, MARKET, sizes_as_json, sizes_from_json
from mtsim.flow.sizes import Sizes
from mtsim.flow.zero_intelligence import ZeroIntelligence


def fit_zero_intelligence(events: OrderEvents, *, first_tick: int = 10_000) -> ZeroIntelligence:
    """The market with the rates of these events, both sides together."""
    seconds = events.seconds()
    markets = events.kind == MARKET
    cancels = events.kind >= CANCEL_TOUCH
    adds = ~(markets | cancels)
    if not seconds > 0 or not (markets.any() and cancels.any() and adds.any()):
        raise UsageError(
            "fit_zero_intelligence: additions, cancels and market orders over some time are "
            f"needed, got {adds.sum()}, {cancels.sum()}, {markets.sum()} in {seconds:g} s"
        )
    # A uniform law on 1 to depth has its median at (depth + 1) / 2.
    two_sided = adds & (events.spread_ticks > 0)
    if not two_sided.any():
        raise UsageError("fit_zero_intelligence: no addition has met a book with two sides")
    depth = max(1, 2 * round(float(np.median(events.from_opposite()[two_sided]))) - 1)
    exposed = float(events.resting_lots.astype(np.float64) @ (events.gap_ns() / SECOND_NS))
    if not exposed > 0:
        raise UsageError("fit_zero_intelligence: no lots rested for any time")
    lots = events.lots[adds | markets].astype(np.int64)
    return ZeroIntelligence(
        add_rate=float(adds.sum() / (2 * seconds * depth)),
        market_rate=float(markets.sum() / (2 * seconds)),
        cancel_rate=float(events.lots[cancels].sum() / exposed),
        depth=depth,
        sizes=Sizes.empirical(*np.unique(lots, return_counts=True)),
        first_tick=first_tick,
    )


def as_json(flow: ZeroIntelligence) -> dict[str, Any]:
    names = ("add_rate", "market_rate", "cancel_rate", "depth")
    return {**{name: getattr(flow, name) for name in names}, "sizes": sizes_as_json(flow.sizes)}


def from_json(value: dict[str, Any], *, first_tick: int = 10_000) -> ZeroIntelligence:
    """What `as_json` gave, for a market that begins at `first_tick`."""
    return ZeroIntelligence(
        add_rate=float(value["add_rate"]),
        market_rate=float(value["market_rate"]),
        cancel_rate=float(value["cancel_rate"]),
        depth=int(value["depth"]),
        sizes=sizes_from_json(value["sizes"]),
        first_tick=first_tick,
    )
