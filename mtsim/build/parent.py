"""The parent order of a scenario, and the children of agents that need no look at the market."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtsim.build.refusal import not_yet
from mtsim.engine.batch import Books
from mtsim.engine.messages import MESSAGE_DTYPE, Kind, SelfTrade, TimeInForce
from mtsim.engine.units import MAX_LOTS, Side
from mtsim.errors import UsageError
from mtsim.flow.base import Flow
from mtsim.scenario import Resolved
from mtsim.scenario.task import AllAtOnce, DoNothing, ExecutionTask, Twap
from mtsim.world.account import BOUGHT_LOTS
from mtsim.world.world import World

AGENTS_THAT_RUN = "do_nothing, all_at_once, twap with style market"

# The pilot market is this world of this seed, whatever the run's own seed: a scenario's parent
# order is one size for all its seeds.
_PILOT_SEED, _PILOT_WORLD = 0, 2**32 - 1


@dataclass(frozen=True, eq=False)
class Parent:
    """What is to be traded from `start_ns` to `end_ns`, and the children that do it.

    `time_ns` is when each of `children` is sent. With `is_liquidated` what is left at the end is
    sent then, as one market order.
    """

    side: Side
    lots: int
    start_ns: int
    end_ns: int
    time_ns: np.ndarray
    children: np.ndarray
    is_liquidated: bool
    self_trade: SelfTrade

    def remainder(self, lots: int) -> np.ndarray:
        """The market orders for what is left at the end."""
        return _market_orders(self.side, np.array([lots]), self.self_trade)


def parent_of(resolved: Resolved, flow: Flow, opening: np.ndarray, lots: int | None) -> Parent:
    """The parent order of a scenario that has an agent and an execution task.

    `lots` replaces the size that the scenario says, and may be 0.
    """
    scenario = resolved.scenario
    agent, task = scenario.agent, scenario.task
    assert agent is not None
    if not isinstance(task, ExecutionTask):
        raise not_yet(resolved, "task.kind", "a market-making task", "execution")
    if isinstance(agent, Twap) and agent.style != "market":
        raise not_yet(resolved, "agent.style", "a twap with passive children", AGENTS_THAT_RUN)
    start_ns = max(task.start_ns, scenario.session.warmup_ns)
    end_ns = min(start_ns + task.horizon_ns, scenario.session.duration_ns)
    if lots is None:
        lots = task.quantity
    if lots is None:
        assert task.quantity_fraction is not None
        lots = share_of_volume(task.quantity_fraction, flow, opening, start_ns, end_ns)
    if isinstance(agent, DoNothing):
        slices = 0
    elif isinstance(agent, AllAtOnce):
        slices = 1
    elif isinstance(agent, Twap):
        slices = agent.slices
    else:
        raise not_yet(resolved, "agent.policy", f"the agent {agent.policy!r}", AGENTS_THAT_RUN)
    ends = np.array([lots * (k + 1) // slices for k in range(slices)], np.int64)
    each = np.diff(ends, prepend=0)
    sent_ns = np.array([start_ns + task.horizon_ns * k // slices for k in range(slices)], np.int64)
    self_trade = SelfTrade[scenario.rules.self_trade.upper()]
    is_sent = (each > 0) & (sent_ns <= scenario.session.duration_ns)
    return Parent(
        side=Side[task.side.upper()],
        lots=lots,
        start_ns=start_ns,
        end_ns=end_ns,
        time_ns=sent_ns[is_sent],
        children=_market_orders(Side[task.side.upper()], each[is_sent], self_trade),
        is_liquidated=task.force_liquidation,
        self_trade=self_trade,
    )


def share_of_volume(
    share: float, flow: Flow, opening: np.ndarray, start_ns: int, end_ns: int
) -> int:
    """`share` of the lots that trade from `start_ns` to `end_ns` in a pilot: the same market, left
    alone, with randomness of its own that no seed of a run has."""
    pilot = World(Books(1), flow, seed=_PILOT_SEED, agents=flow.owners, first_world=_PILOT_WORLD)
    pilot.open(opening)
    pilot.advance(start_ns)
    before = int(pilot.accounts[0, :, BOUGHT_LOTS].sum())
    pilot.advance(end_ns)
    return round(share * (int(pilot.accounts[0, :, BOUGHT_LOTS].sum()) - before))


def _market_orders(side: Side, lots: np.ndarray, self_trade: SelfTrade) -> np.ndarray:
    if lots.max(initial=0) > MAX_LOTS:
        raise UsageError(f"a child order of {lots.max()} lots: at most {MAX_LOTS} can be sent")
    orders = np.zeros(len(lots), MESSAGE_DTYPE)
    orders["kind"] = Kind.MARKET
    orders["side"] = side
    orders["tif"] = TimeInForce.IOC
    orders["stp"] = self_trade
    orders["lots"] = lots
    return orders
