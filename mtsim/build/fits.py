"""Flows fitted to a stored session, and what they then do in the closed loop beside what was done.

A likelihood says how likely the next event is after the real ones before it, not what becomes of a
market that lives on its own events: its spreads and queues need not be the real ones. So the rates
of each sort of event are scaled in the end until simulated sessions have as many as the real one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np

from mtsim.build.fitting import order_events
from mtsim.build.queue_events import levels_needed, queue_events
from mtsim.engine.batch import Books
from mtsim.engine.messages import Kind
from mtsim.engine.tape import Tape
from mtsim.errors import UsageError
from mtsim.flow import fit_zero_intelligence as zero_intelligence
from mtsim.flow.base import Flow
from mtsim.flow.fit_hawkes import DECAYS, fit_hawkes
from mtsim.flow.fit_queue_reactive import fit_queue_reactive
from mtsim.flow.hawkes import Hawkes
from mtsim.flow.hawkes_likelihood import Rescaling, rescaling, residuals
from mtsim.flow.hawkes_rates import N_EVENTS
from mtsim.flow.order_events import SECOND_NS, OrderEvents
from mtsim.flow.placing import CANCEL_TOUCH, MARKET, N_TYPES, OrderKind
from mtsim.flow.queue_reactive import QueueReactive
from mtsim.model.store import StoredSession
from mtsim.world.opening import synthetic
from mtsim.world.world import World

KINDS = ("zero_intelligence", "hawkes", "queue_reactive")
FlowKind = Literal["zero_intelligence", "hawkes", "queue_reactive"]

SORTS = ("add", "cancel", "market")
_MID_TICK = 1_000_000
_WORLDS, _CHECK_WORLDS = 16, 32
_ROUNDS, _CLOSE_ENOUGH = 20, 0.01
_PROBE, _RIDGE, _LONGEST = 0.05, 0.01, 0.15
_LEAST_PIECE_S = 600.0
_MOST_PIECES = 13

Progress = Callable[[str], None]


class RateRow(NamedTuple):
    """Events per second, both sides together, in the session and in simulated ones."""

    event: str
    real: float
    simulated: float

    @property
    def ratio(self) -> float | None:
        return self.simulated / self.real if self.real > 0 else None


class Fit(NamedTuple):
    kind: FlowKind
    parameters: dict[str, Any]
    """As the fitted file holds them."""
    summary: dict[str, Any]
    rates: list[RateRow]
    source: dict[str, Any]


def fit_session(
    kind: FlowKind,
    session: StoredSession,
    *,
    levels: int | None = None,
    decays: tuple[float, ...] = DECAYS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Fit:
    """Fit a flow of this kind. Simulations draw from `seed`; those that the rates are scaled by are
    others than those that are reported."""
    say = progress or (lambda step: None)
    say("reading the session")
    events = order_events(session)
    source = {
        "session": str(session.key),
        "manifest_sha256": session.manifest_sha256,
        "events": len(events),
        "seconds": events.seconds(),
    }
    if kind == "zero_intelligence":
        parameters, summary, rates = _fit_zero_intelligence(events, seed, say)
    elif kind == "hawkes":
        parameters, summary, rates = _fit_hawkes(events, decays, seed, say)
    else:
        parameters, summary, rates = _fit_queue_reactive(session, events, levels, seed, say)
    return Fit(kind, parameters, summary, rates, source)


def _fit_zero_intelligence(events: OrderEvents, seed: int, say: Progress):
    flow = zero_intelligence.fit_zero_intelligence(events, first_tick=_MID_TICK)
    say("simulating")
    found = _sorts_simulated(flow, events.seconds(), None, seed + 1, worlds=4)
    by_kind = events.counts().sum(axis=1)
    real = [by_kind[MARKET + 1 : CANCEL_TOUCH].sum(), by_kind[CANCEL_TOUCH:].sum(), by_kind[MARKET]]
    parameters = zero_intelligence.as_json(flow)
    names = ("add_rate", "market_rate", "cancel_rate", "depth")
    summary = {name: parameters[name] for name in names}
    return parameters, summary, _rate_rows(SORTS, real, found, events.seconds())


def _fit_hawkes(events: OrderEvents, decays: tuple[float, ...], seed: int, say: Progress):
    seconds = events.seconds()
    say("maximising the likelihood")
    fitted = fit_hawkes(
        events,
        decays=decays,
        piece_ends_ns=pieces_of_day(events),
        reference_orders=reference_orders(events),
        first_tick=_MID_TICK,
    )
    real = events.counts().sum(axis=1)
    opening = opening_like(events, reference_orders(events))

    def scaled(scales: np.ndarray) -> Hawkes:
        return replace(fitted.flow, spread_factors=fitted.flow.spread_factors * scales)

    def counts(scales: np.ndarray) -> np.ndarray:
        return _kinds_simulated(scaled(scales), seconds, opening, seed, _WORLDS)

    scales = _matched(counts, real, say)
    flow = scaled(scales)
    say("simulating")
    found = _kinds_simulated(flow, seconds, opening, seed + 1, _CHECK_WORLDS)
    _, of_own = residuals(fitted.flow, events)
    summary = {
        "branching_ratio": flow.branching_ratio(),
        "decays_per_s": flow.decays.tolist(),
        "base_per_s": flow.base.tolist(),
        "log_likelihood_per_event": fitted.log_likelihood,
        "rescaling": _rescaling_json(fitted.rescaling),
        "rescaling_by_type": _rescaling_json(rescaling(of_own)),
        "scales": scales.tolist(),
    }
    names = [kind.name.lower() for kind in OrderKind]
    return flow.as_json(), summary, _rate_rows(names, real, found, seconds)


def _fit_queue_reactive(
    session: StoredSession, events: OrderEvents, levels: int | None, seed: int, say: Progress
):
    if levels is None:
        levels = levels_needed(events.spread_ticks, events.gap_ns() / SECOND_NS)
    say(f"reading the queues of {levels} levels")
    queues = queue_events(session, levels)
    fitted = fit_queue_reactive(queues, first_tick=_MID_TICK)
    seconds = float(queues.seconds().sum())
    real = queues.counts().sum(axis=1)
    opening = opening_like(events, 2 * levels)

    def scaled(scales: np.ndarray) -> QueueReactive:
        return replace(fitted, rates=fitted.rates * scales[:, None, None])

    def counts(scales: np.ndarray) -> np.ndarray:
        return _sorts_simulated(scaled(scales), seconds, opening, seed, worlds=4)

    scales = _matched(counts, real, say)
    flow = scaled(scales)
    say("simulating")
    found = _sorts_simulated(flow, seconds, opening, seed + 1, worlds=4)
    share = float((queues.level > 0).mean())
    summary = {
        "levels": levels,
        "sizes": flow.rates.shape[2] - 1,
        "unit_lots": flow.unit_lots,
        "share_of_events_at_these_levels": share,
        "scales": scales.tolist(),
    }
    return flow.as_json(), summary, _rate_rows(SORTS, real, found, seconds)


# --- what a session is like -----------------------------------------------------------------------


def pieces_of_day(events: OrderEvents) -> np.ndarray:
    """int64: the ends of pieces as long as one another, at most 13, each ten minutes or more."""
    first_ns, last_ns = int(events.time_ns[0]), int(events.time_ns[-1])
    n = int(min(_MOST_PIECES, (last_ns - first_ns) / SECOND_NS / _LEAST_PIECE_S))
    return first_ns + (last_ns - first_ns) * np.arange(1, n, dtype=np.int64) // max(n, 1)


def reference_orders(events: OrderEvents) -> int:
    """Orders that a side has: its lots near the touch over those of an addition, 10 at least."""
    adds = (events.kind != MARKET) & (events.kind < CANCEL_TOUCH)
    return max(10, round(float(events.resting_lots.mean() / 2 / events.lots[adds].mean())))


def opening_like(events: OrderEvents, orders: int) -> np.ndarray:
    """An opening with so many orders a side, two a tick, at the session's median spread."""
    adds = (events.kind != MARKET) & (events.kind < CANCEL_TOUCH)
    return synthetic(
        mid_tick=_MID_TICK,
        spread=max(1, round(float(np.median(events.spread_ticks)))),
        levels=-(-orders // 2),
        orders_per_level=2,
        lots=max(1, round(float(np.median(events.lots[adds])))),
    )


# --- simulating -----------------------------------------------------------------------------------


def _kinds_simulated(
    flow: Hawkes, seconds: float, opening: np.ndarray, seed: int, worlds: int
) -> np.ndarray:
    """Events of each kind that a world has in so many seconds, on average."""
    world = World(Books(worlds, slots=1023), flow, seed=seed)
    world.open(opening)
    world.advance(round(seconds * SECOND_NS))
    counts = world.state_i[:, N_EVENTS : N_EVENTS + N_TYPES].mean(axis=0)
    return counts.reshape(-1, 2).sum(axis=1)


def _sorts_simulated(
    flow: Flow, seconds: float, opening: np.ndarray | None, seed: int, *, worlds: int
) -> np.ndarray:
    """Additions, cancels and market orders that a world has in so many seconds, on average."""
    world = World(Books(worlds, slots=1023), flow, seed=seed)
    if opening is not None:
        world.open(opening)
    tape = Tape(seeds={"seed": seed}, config={}, books=worlds)
    world.record(tape)
    world.advance(round(seconds * SECOND_NS))
    kinds = tape.table("steps")["message"]["kind"]
    counts = [(kinds == kind).sum() for kind in (Kind.LIMIT, Kind.CANCEL, Kind.MARKET)]
    return np.array(counts) / worlds


def _matched(
    counts: Callable[[np.ndarray], np.ndarray], real: np.ndarray, say: Progress
) -> np.ndarray:
    """Factors for which simulated counts are the real ones, as far as simulations can tell.

    A factor does not move its own count alone: events bring about others, and the spread moves with
    all of them. So the derivatives are measured first and kept by Broyden's updates.
    """
    real = np.maximum(real, 1.0)
    n = len(real)

    def off(at: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(counts(np.exp(at)), 1.0) / real)

    say("matching rates")
    at = np.zeros(n)
    value = off(at)
    slopes = np.empty((n, n))
    for k in range(n):
        say(f"matching rates, derivative {k + 1} of {n}")
        slopes[:, k] = (off(at + _PROBE * np.eye(n)[k]) - value) / _PROBE
    radius = _LONGEST
    for turn in range(_ROUNDS):
        if np.abs(value).max() < _CLOSE_ENOUGH:
            break
        say(f"matching rates, round {turn + 1}")
        # Some directions move hardly anything but noise.
        normal = slopes.T @ slopes + _RIDGE * np.eye(n)
        step = -np.linalg.solve(normal, slopes.T @ value)
        step *= min(1.0, radius / np.abs(step).max())
        after = off(at + step)
        slopes += np.outer(after - value - slopes @ step, step) / max(step @ step, 1e-12)
        if after @ after < value @ value:
            at, value = at + step, after
        else:
            radius /= 2
    return np.exp(at)


def _rate_rows(names, real, found, seconds: float) -> list[RateRow]:
    if not seconds > 0:
        raise UsageError("no time passes in this session; there are no rates")
    return [
        RateRow(name, float(a / seconds), float(b / seconds))
        for name, a, b in zip(names, real, found, strict=True)
    ]


def _rescaling_json(found: Rescaling) -> dict[str, float]:
    return dict(found._asdict())
