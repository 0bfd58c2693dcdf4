"""What came of a run, as JSON values: the ends of its books, the accounts, the parent order."""

from __future__ import annotations

from typing import Any

import numpy as np

from mtsim.build.moments import INTERVENTION
from mtsim.build.plan import Plan
from mtsim.build.simulation import AGENT, WORLD, Simulation
from mtsim.engine.tape import Stream
from mtsim.engine.units import EMPTY_ASK, EMPTY_BID, Side
from mtsim.evaluation.paths import empty_side_ns, mid_x2_after
from mtsim.flow.base import BACKGROUND
from mtsim.world.account import COLUMNS

_NAMES = {BACKGROUND: "background", AGENT: "agent", INTERVENTION: "shocks"}


def outcome_of(simulation: Simulation) -> dict[str, Any]:
    """Of a simulation that is over: nothing in it depends on the machine or on how it was run."""
    plan, world, tape = simulation.plan, simulation.world, simulation.tape
    stream = tape.stream(WORLD)
    now_ns = int(world.now_ns[WORLD])
    session = plan.scenario.session
    return {
        "scenario": plan.scenario.name,
        "seed": plan.seed,
        "flow": plan.scenario.flow.kind,
        "tape_hash": tape.hash(),
        "book_hash": world.books.hash(WORLD),
        "simulated_ns": now_ns,
        "events": int(simulation.n_events[WORLD]),
        "opening_messages": len(plan.opening),
        "fills": len(stream.fills),
        "null_events": int(world.n_null_events[WORLD]),
        "ended_by": "duration" if now_ns >= session.duration_ns else "max_events",
        "touch": _touch(simulation),
        "empty_side_ns": {
            name: empty_side_ns(stream, side, session.warmup_ns, max(now_ns, session.warmup_ns))
            for name, side in (("bid", Side.BUY), ("ask", Side.SELL))
        },
        "accounts": [_account(simulation, owner) for owner in range(world.accounts.shape[1])],
        "parent": _parent(plan, stream, world.accounts[WORLD, AGENT]),
        "shocks": [shock.as_json() for shock in stream.shocks],
    }


def _touch(simulation: Simulation) -> dict[str, int | None]:
    """Ticks and lots of the best levels; None where a side is empty."""
    ticks, lots = simulation.world.books.depth(1)
    bid, ask = (int(tick) for tick in ticks[WORLD, :, 0])
    return {
        "bid_tick": None if bid == EMPTY_BID else bid,
        "ask_tick": None if ask == EMPTY_ASK else ask,
        "bid_lots": int(lots[WORLD, Side.BUY, 0]),
        "ask_lots": int(lots[WORLD, Side.SELL, 0]),
    }


def _account(simulation: Simulation, owner: int) -> dict[str, Any]:
    """Integers as they are; `fee` in ticks times lots."""
    account = simulation.world.accounts[WORLD, owner]
    return {
        "owner": owner,
        "name": _NAMES.get(owner, f"owner {owner}"),
        **dict(zip(COLUMNS, account.tolist(), strict=True)),
        "fee": float(simulation.plan.fees.fee(account)),
    }


def _parent(plan: Plan, stream: Stream, account: np.ndarray) -> dict[str, Any] | None:
    """What a shortfall is made of; None without a parent order, or before its start."""
    parent = plan.parent
    if parent is None or parent.start_ns > stream.time_ns[-1]:
        return None
    said = dict(zip(COLUMNS, account.tolist(), strict=True))
    executed = said["bought_lots"] + said["sold_lots"]
    # Before its own nanosecond, when the parent may already have moved it.
    before = int(np.searchsorted(stream.time_ns, parent.start_ns))
    return {
        "side": parent.side.name.lower(),
        "lots": parent.lots,
        "executed_lots": executed,
        "remaining_lots": parent.lots - executed,
        "start_ns": parent.start_ns,
        "end_ns": parent.end_ns,
        "arrival_mid_x2": mid_x2_after(stream, max(before, len(plan.opening))),
        "notional": said["maker_notional"] + said["taker_notional"],
        "mean_price_tick": abs(said["cash"]) / executed if executed else None,
        "fee": float(plan.fees.fee(account)),
    }
