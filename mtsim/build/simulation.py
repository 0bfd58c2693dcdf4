"""A plan under way: a world, its twin where one is wanted, and what happens to them from outside.

How far each call goes, and whether the worlds were set aside and put back in between, changes
nothing. Knows no file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtsim.build.moments import INTERVENTION
from mtsim.build.plan import Plan
from mtsim.engine.batch import Books
from mtsim.engine.events import EventType
from mtsim.engine.messages import MESSAGE_DTYPE
from mtsim.engine.tape import Tape
from mtsim.flow.base import FAR
from mtsim.scenario.quantities import When
from mtsim.world.account import BOUGHT_LOTS, SOLD_LOTS
from mtsim.world.inbox import MESSAGE
from mtsim.world.loop import Stop
from mtsim.world.snapshot import WorldSnapshot
from mtsim.world.world import World

AGENT = 1
"""The owner of the agent's orders."""

WORLD, TWIN = 0, 1
"""The worlds of a simulation that has both."""

_NEVER_NS = -1


@dataclass(frozen=True, eq=False)
class State:
    """A simulation set aside: what happened to each world from outside, and the worlds."""

    fired: np.ndarray
    is_over: bool
    worlds: tuple[WorldSnapshot, ...]


class Simulation:
    """Make it with `begin` or `resume`. All that happens goes to `tape`, which both share.

    The twin is the same world with agent and shocks muted: it draws the same. `paranoid` checks
    conservation after every message, and is slow.
    """

    def __init__(self, plan: Plan, tape: Tape, *, has_twin: bool = False, paranoid: bool = False):
        owners = max(INTERVENTION, plan.flow.owners - 1)
        self.plan = plan
        self.tape = tape
        self.world = World(
            Books(1 + has_twin),
            plan.flow,
            seed=plan.seed,
            agents=owners,
            latency={AGENT: plan.latency},
            paranoid=paranoid,
        )
        if has_twin:
            self.world.fork(WORLD, TWIN)
            self.world.muted[TWIN] = True
        # Of each world: until when everything has happened, which moments have passed. The last
        # moment is the end of the parent order.
        self._settled_ns = np.full(len(self.world), _NEVER_NS)
        self._fired = np.zeros((len(self.world), len(self._moments())), np.bool_)
        self._is_over = False

    @classmethod
    def begin(
        cls, plan: Plan, tape: Tape, *, has_twin: bool = False, paranoid: bool = False
    ) -> Simulation:
        """The worlds at time 0, opening executed; `tape` is an empty one of `Plan.new_tape`."""
        made = cls(plan, tape, has_twin=has_twin, paranoid=paranoid)
        made.world.record(tape)
        made.world.open(plan.opening)
        if plan.parent is not None:
            for b in range(len(made.world)):
                made.world.submit(b, AGENT, plan.parent.children, plan.parent.time_ns)
        return made

    @classmethod
    def resume(cls, plan: Plan, tape: Tape, state: State, *, paranoid: bool = False) -> Simulation:
        """What it was when `state` was taken; `tape` holds what had been recorded by then."""
        made = cls(plan, tape, has_twin=len(state.worlds) > 1, paranoid=paranoid)
        for b, snapshot in enumerate(state.worlds):
            made.world.restore(b, snapshot)
        made._fired = state.fired.copy()
        made._is_over = state.is_over
        made.world.record(tape)
        return made

    def state(self) -> State:
        worlds = tuple(self.world.snapshot(b) for b in range(len(self.world)))
        return State(self._fired.copy(), self._is_over, worlds)

    @property
    def now_ns(self) -> int:
        """The time that all worlds have come to."""
        return int(self.world.now_ns.min())

    @property
    def n_events(self) -> np.ndarray:
        """int64 [B]: messages executed after the opening."""
        return self.world.n_messages - len(self.plan.opening)

    @property
    def is_over(self) -> bool:
        return self._is_over

    def advance(self, until_ns: int) -> None:
        """Go on until `until_ns`, what happens then included, or to the end of the session."""
        until_ns = min(until_ns, self.plan.duration_ns)
        most_events = self.plan.scenario.session.max_events or FAR
        while True:
            self._act()
            goals_ns, events = self._goals(until_ns, most_events)
            stops = self.world.advance(goals_ns, events=events)
            self._settled_ns = np.where(stops == Stop.TIME, goals_ns, self._settled_ns)
            is_full = self.n_events >= most_events
            if ((self._settled_ns >= until_ns) | is_full).all():
                break
        if not self._is_over and ((self._settled_ns >= self.plan.duration_ns) | is_full).all():
            self._is_over = True
            for b, now_ns in enumerate(self.world.now_ns.tolist()):
                self.tape.mark(now_ns, EventType.SESSION_END, b)

    def _moments(self) -> list[When]:
        moments = [intervention.at for intervention in self.plan.interventions]
        if (parent := self.plan.parent) is not None and parent.is_liquidated:
            moments.append(When("time", parent.end_ns))
        return moments

    def _goals(self, until_ns: int, most_events: int) -> tuple[np.ndarray, np.ndarray]:
        """How far each world can go before something happens from outside."""
        goals_ns = np.full(len(self.world), until_ns)
        events = most_events - self.n_events
        for k, when in enumerate(self._moments()):
            ahead = ~self._fired[:, k]
            if when.kind == "time":
                # To the nanosecond before: at its own it comes first.
                goals_ns[ahead] = np.minimum(goals_ns[ahead], when.value - 1)
            else:
                events[ahead] = np.minimum(events[ahead], when.value - self.n_events[ahead])
        return goals_ns, events

    def _act(self) -> None:
        """Let happen from outside what is due."""
        for k, when in enumerate(self._moments()):
            is_time = when.kind == "time"
            reached = self._settled_ns + 1 if is_time else self.n_events
            for b in np.flatnonzero((reached >= when.value) & ~self._fired[:, k]).tolist():
                self._fired[b, k] = True
                at_ns = max(when.value, int(self.world.now_ns[b])) if is_time else None
                if k == len(self.plan.interventions):
                    self._liquidate(b, at_ns)
                elif b != TWIN:
                    self._intervene(b, k, at_ns)

    def _intervene(self, b: int, k: int, at_ns: int | None) -> None:
        intervention = self.plan.interventions[k]
        messages = intervention.messages(self.world, b)
        self.world.deliver(b, messages, at_ns)
        parameters = intervention.section.model_dump(mode="json", by_alias=True)
        time_ns = int(self.world.now_ns[b]) if at_ns is None else at_ns
        self.tape.shock(time_ns, intervention.name, parameters, b)
        if intervention.mark is not None and len(messages):
            self.tape.mark(time_ns, intervention.mark, b)

    def _liquidate(self, b: int, at_ns: int | None) -> None:
        parent = self.plan.parent
        assert parent is not None
        left = parent.lots - executed_lots(self.world, b) - _lots_on_their_way(self.world, b)
        if left > 0:
            self.world.submit(b, AGENT, parent.remainder(left), at_ns)


def executed_lots(world: World, b: int) -> int:
    """What the agent has bought and sold in a world."""
    return int(world.accounts[b, AGENT, [BOUGHT_LOTS, SOLD_LOTS]].sum())


def _lots_on_their_way(world: World, b: int) -> int:
    words = np.ascontiguousarray(world.inbox.pending(b)[:, MESSAGE:])
    messages = words.view(MESSAGE_DTYPE).ravel()
    return int(messages["lots"][messages["owner"] == AGENT].sum())
