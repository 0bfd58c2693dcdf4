"""What the commands about runs share: seeds as they are written, rows of a table, the live line."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mtsim.errors import UsageError
from mtsim.scenario.quantities import parse_duration_ns

if TYPE_CHECKING:
    from mtsim.build.simulation import Simulation

_SHOWN_EVERY_S = 0.2
_HASH_SHOWN = 16

COLUMNS = (
    "scenario",
    "seed",
    "simulated",
    "events",
    "fills",
    "bid",
    "ask",
    "agent",
    "shocks",
    "tape hash",
)


def parse_seeds(text: str) -> list[int]:
    """The seeds of `A:B`: from A to before B."""
    match = re.fullmatch(r"(\d+):(\d+)", text.strip())
    if match is None or int(match[1]) >= int(match[2]):
        raise UsageError(f"--seeds: must be A:B with A below B, as in 0:32, got {text!r}")
    return list(range(int(match[1]), int(match[2])))


def parse_ns(option: str, text: str) -> int:
    """Nanoseconds of a duration as scenarios write them."""
    from pydantic_core import PydanticCustomError

    try:
        return parse_duration_ns(text)
    except PydanticCustomError as error:
        raise UsageError(f"{option}: {error.message()}") from error


def cells(outcome: dict[str, Any]) -> tuple[object, ...]:
    """What a table says of a run, for COLUMNS."""
    touch, parent = outcome["touch"], outcome["parent"]
    agent = "-"
    if parent is not None:
        agent = f"{parent['side']} {parent['executed_lots']:,} of {parent['lots']:,}"
        if parent["mean_price_tick"] is not None and parent["arrival_mid_x2"] is not None:
            paid = parent["mean_price_tick"] - parent["arrival_mid_x2"] / 2
            agent += f" at arrival {paid:+.2f} ticks"
    return (
        outcome["scenario"] or "-",
        outcome["seed"],
        f"{outcome['simulated_ns'] / 1e9:,.0f} s",
        f"{outcome['events']:,}",
        f"{outcome['fills']:,}",
        "-" if touch["bid_tick"] is None else touch["bid_tick"],
        "-" if touch["ask_tick"] is None else touch["ask_tick"],
        agent,
        ", ".join(shock["name"] for shock in outcome["shocks"]) or "-",
        outcome["tape_hash"][:_HASH_SHOWN],
    )


def remarks(outcome: dict[str, Any]) -> list[str]:
    """What a reader of the table must not overlook."""
    said = []
    for side, empty_ns in outcome["empty_side_ns"].items():
        if empty_ns:
            said.append(f"no {side} at all for {empty_ns / 1e9:,.1f} s")
    if outcome["ended_by"] == "max_events":
        said.append("ended early, by session.max_events")
    return said


def live_line(step: Callable[[str], None]) -> Callable[[Simulation], None]:
    """A progress callback: simulated time, events a second, times real time, spread, mid."""
    from mtsim.engine.units import EMPTY_ASK, EMPTY_BID

    begun: tuple[float, int, int] | None = None
    shown = 0.0

    def show(simulation: Simulation) -> None:
        nonlocal begun, shown
        now = time.monotonic()
        events = int(simulation.n_events.sum())
        if begun is None:
            # From the end of the first part: that may have compiled.
            begun = now, events, simulation.now_ns
            return
        if now - shown < _SHOWN_EVERY_S:
            return
        shown = now
        seconds = max(now - begun[0], 1e-9)
        bid, ask = (int(tick) for tick in simulation.world.touch()[0])
        book = "one side empty"
        if bid != EMPTY_BID and ask != EMPTY_ASK:
            book = f"spread {ask - bid}, mid {(bid + ask) / 2:,.1f}"
        times_real = (simulation.now_ns - begun[2]) / 1e9 / seconds
        rate = (events - begun[1]) / seconds / 1e3
        step(
            f"{simulation.now_ns / 1e9:,.0f} s, {rate:,.0f} K events/s, "
            f"{times_real:,.0f} x real time, {book}"
        )

    return show
