"""What happens to worlds from outside, and when: the shocks of a scenario that inject messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mtsim.build.refusal import not_yet
from mtsim.engine.events import EventType
from mtsim.engine.units import Side
from mtsim.flow.base import FIRST_FLOW_ID
from mtsim.scenario import Resolved
from mtsim.scenario.quantities import When
from mtsim.scenario.shocks import (
    AuctionShock,
    HaltShock,
    LatencySpike,
    MassCancel,
    Shock,
    Sweep,
)
from mtsim.streams import Stream
from mtsim.world.rules import halt, reopen
from mtsim.world.shock import mass_cancel, sweep_levels, sweep_lots
from mtsim.world.world import World

SHOCKS_THAT_RUN = "mass_cancel, sweep, halt, auction, latency_spike"

INTERVENTION = 2
"""The owner of the orders that shocks inject; the agent is owner 1."""

_SIDES = {"bid": (Side.BUY,), "ask": (Side.SELL,), "both": (Side.BUY, Side.SELL)}

# A shock's order has an id that neither an opening nor a flow gives.
_LAST_SHOCK_ID = FIRST_FLOW_ID - 1


@dataclass(frozen=True)
class Intervention:
    """What a shock does at one moment: `messages(world, b)` to world b as its book is now."""

    at: When
    name: str
    section: Shock
    messages: Callable[[World, int], np.ndarray]
    mark: EventType | None = None
    """Put on the tape before the messages."""


def interventions_of(resolved: Resolved) -> tuple[Intervention, ...]:
    """What the enabled shocks do, in the order of the scenario."""
    found: list[Intervention] = []
    for k, shock in enumerate(resolved.scenario.shocks):
        if not shock.enabled or isinstance(shock, LatencySpike):
            continue
        name = shock.name or f"shocks[{k}]"
        if isinstance(shock, HaltShock | AuctionShock):
            found += _halt(resolved, k, name, shock)
            continue
        if isinstance(shock, MassCancel):
            messages = _mass_cancel(shock, Stream(resolved.scenario.seed, f"shock/{name}"))
        elif isinstance(shock, Sweep):
            messages = _sweep(shock, _LAST_SHOCK_ID - k)
        else:
            what = f"a shock of type {shock.type!r}"
            raise not_yet(resolved, f"shocks[{k}].type", what, SHOCKS_THAT_RUN)
        if shock.at.kind == "condition":
            runs = "a time (600s) or a number of events (5000ev)"
            raise not_yet(resolved, f"shocks[{k}].at", f"a shock at {str(shock.at)!r}", runs)
        if shock.duration_ns is not None:
            what = f"a {shock.type} that lasts"
            raise not_yet(resolved, f"shocks[{k}].duration", what, "null: it happens once")
        found.append(Intervention(shock.at, name, shock, messages))
    return tuple(found)


def _halt(
    resolved: Resolved, k: int, name: str, shock: HaltShock | AuctionShock
) -> list[Intervention]:
    """The two moments of a halt. One without a duration lasts to the session's end."""
    if shock.at.kind != "time":
        raise not_yet(resolved, f"shocks[{k}].at", f"a halt at {str(shock.at)!r}", "a time (600s)")
    if isinstance(shock, HaltShock) and shock.reopen != "auction":
        raise not_yet(resolved, f"shocks[{k}].reopen", "a halt that ends without one", "auction")
    moments = [
        Intervention(
            shock.at,
            name,
            shock,
            lambda world, b: halt(int(world.books.phases()[b])),
            EventType.HALT,
        )
    ]
    if shock.duration_ns is not None:
        end = When("time", shock.at.value + shock.duration_ns)
        moments.append(Intervention(end, name, shock, _reopen, EventType.RESUME))
    return moments


def _reopen(world: World, b: int) -> np.ndarray:
    assert world.tape is not None, "a world without a tape does not remember its prices"
    return reopen(int(world.books.phases()[b]), world.tape.stream(b).results)


def _mass_cancel(shock: MassCancel, stream: Stream) -> Callable[[World, int], np.ndarray]:
    return lambda world, b: mass_cancel(
        world.books,
        b,
        _SIDES[shock.side],
        levels=shock.levels,
        fraction=shock.fraction,
        stream=stream,
        world=int(world.numbers[b]),
    )


def _sweep(shock: Sweep, order_id: int) -> Callable[[World, int], np.ndarray]:
    side = Side[shock.side.upper()]
    levels, share = shock.levels, shock.volume_fraction
    if levels is not None:
        return lambda world, b: sweep_levels(
            world.books, b, side, levels=levels, owner=INTERVENTION, order_id=order_id
        )
    assert share is not None
    return lambda world, b: sweep_lots(
        side,
        lots=round(share * traded_lots(world, b, shock.lookback_ns)),
        owner=INTERVENTION,
        order_id=order_id,
    )


def traded_lots(world: World, b: int, lookback_ns: int) -> int:
    """The lots that have traded in a recorded world in the last `lookback_ns`."""
    assert world.tape is not None, "a world without a tape does not remember its trades"
    stream = world.tape.stream(b)
    since = np.searchsorted(stream.time_ns, int(world.now_ns[b]) - lookback_ns, side="right")
    return int(stream.results["filled_lots"][since:].sum())
