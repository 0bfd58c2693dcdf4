"""The market around a flow: its opening, its fees, the latency of its agent, its rules."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np

from mtsim.build.files import beside
from mtsim.build.refusal import not_yet, refused
from mtsim.build.session_opening import book_at
from mtsim.errors import UsageError
from mtsim.model.store import open_session
from mtsim.scenario import Resolved
from mtsim.scenario.flows import SessionOpening, SyntheticOpening
from mtsim.scenario.shocks import LatencySpike
from mtsim.world.account import FeeSchedule
from mtsim.world.latency import Delay, Latency, Spike
from mtsim.world.opening import synthetic


def opening_of(resolved: Resolved) -> np.ndarray:
    """The messages that put the book in place; the best bid is the first of them."""
    section = resolved.scenario.opening
    try:
        if isinstance(section, SyntheticOpening):
            return synthetic(
                mid_tick=section.mid_tick,
                spread=section.spread,
                levels=section.levels,
                orders_per_level=section.orders_per_level,
                lots=section.lots,
                decay=section.decay,
            )
        if isinstance(section, SessionOpening):
            return _session_opening(resolved, section)
    except UsageError as error:
        raise refused(resolved, "opening", str(error)) from error
    what = f"an opening of kind {section.kind!r}"
    raise not_yet(resolved, "opening.kind", what, "synthetic, session")


def _session_opening(resolved: Resolved, section: SessionOpening) -> np.ndarray:
    session = open_session(beside(resolved, "opening.session", section.session))
    tick_size = Decimal(session.manifest["instrument"]["tick_size"])
    if tick_size != resolved.scenario.instrument.tick_size:
        raise refused(
            resolved,
            "opening.session",
            f"a tick of {session.key} is {tick_size}, one of the scenario "
            f"{resolved.scenario.instrument.tick_size}",
            "say the session's in instrument.tick_size",
        )
    return book_at(session, section.at_ns)


def fees_of(resolved: Resolved) -> FeeSchedule:
    """The fees as the exact decimals that the scenario has."""
    fees = resolved.scenario.rules.fees
    return FeeSchedule(_exact(fees.maker_bp), _exact(fees.taker_bp))


def _exact(value: float) -> Fraction:
    return Fraction(Decimal(repr(value)))


def latency_of(resolved: Resolved) -> Latency:
    """The agent's delays, with the shocks that stretch them."""
    section = resolved.scenario.latency
    spikes = []
    for k, shock in enumerate(resolved.scenario.shocks):
        if not (isinstance(shock, LatencySpike) and shock.enabled):
            continue
        if shock.at.kind != "time":
            what = f"a latency spike at {str(shock.at)!r}"
            raise not_yet(resolved, f"shocks[{k}].at", what, "a time (600s)")
        start_ns = shock.at.value
        length_ns = shock.duration_ns
        if length_ns is None:
            length_ns = resolved.scenario.session.duration_ns + 1
        spikes.append(Spike(start_ns, start_ns + length_ns, shock.x))
    return Latency(
        feed=Delay(section.feed_ns),
        entry=Delay(section.median_ns, section.sigma),
        spikes=tuple(spikes),
    )


def require_rules_that_run(resolved: Resolved) -> None:
    """Refuse rules of the exchange that no world keeps yet."""
    rules = resolved.scenario.rules
    for key, is_asked in (
        ("price_limit", rules.price_limit is not None),
        ("halt", rules.halt is not None),
        ("throughput", rules.throughput is not None),
        ("opening_auction", rules.opening_auction),
        ("max_lots", rules.max_lots is not None),
    ):
        if is_asked:
            raise not_yet(resolved, f"rules.{key}", f"the rule {key!r}", "fees and self_trade")
