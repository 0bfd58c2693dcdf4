"""The schema `tradefm`: adds and cancels by their price against the average price traded at.

A trade is an add with an aggressive price. Before the first trade of a session there is no average,
so that no action has a token: nothing is filled in backwards. Beside its tokens it has a context,
observed and never predicted. Knows bins; no book.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mtsim.model.actions import ActionKind
from mtsim.model.bins import Bins
from mtsim.model.spelling import PARTS_A_UNIT, Past, Read, Spelling, spelled

CONTEXT = ("liquidity", "agent", "open")
"""The context's columns: the instrument's liquidity tier, whether an agent acted, and the bin of
the average price against the session's first one."""

_OPEN = 0  # of the past: the first average price of the session


def _new_past() -> Past:
    return Past(np.full(1, np.nan), np.zeros(0, np.int64))


def _radices(bins: Mapping[str, int]) -> tuple[int, ...]:
    return (2, 2, bins["price"], bins["lots"], bins["gap"])


def _relative(price: np.ndarray, base: np.ndarray | np.float64) -> np.ndarray:
    # Spreads may trade at 0 and below; one tick keeps the quotient finite.
    parts = (price - base) / np.maximum(np.abs(base), 1.0) * PARTS_A_UNIT
    return np.rint(parts).astype(np.int64)


def _numbers(actions: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "price": _relative(actions["price_tick"], actions["vwap_tick"]),
        "lots": actions["lots"].astype(np.int64),
        "gap": actions["gap_ns"],
    }


def _from_open(vwap_tick: np.ndarray, past: Past) -> np.ndarray:
    """The average price against the session's first, of actions that have one."""
    if np.isnan(past.f[_OPEN]) and len(vwap_tick):
        past.f[_OPEN] = vwap_tick[0]
    return _relative(vwap_tick, past.f[_OPEN])


def _measure(actions: np.ndarray, past: Past) -> dict[str, np.ndarray]:
    told = actions[~np.isnan(actions["vwap_tick"])]
    numbers = _numbers(told)
    # The first gap of a stretch is none: its 0 is no observation.
    numbers["gap"] = numbers["gap"][told["opens"] == 0]
    return {**numbers, "open": _from_open(told["vwap_tick"], past)}


def _read(actions: np.ndarray, past: Past, bins: Mapping[str, Bins]) -> Read:
    has_vwap = ~np.isnan(actions["vwap_tick"])
    told = actions[has_vwap]
    numbers = _numbers(told)
    columns = [
        (2, (told["kind"] == ActionKind.CANCEL).astype(np.int64)),
        (2, told["side"].astype(np.int64)),
        *((len(bins[line]), bins[line].encode(of)) for line, of in numbers.items()),
    ]
    from_open = {"open": _from_open(told["vwap_tick"], past)}
    return spelled(np.where(has_vwap, -1, 0), columns, {**numbers, **from_open}, bins)


def context_of(
    actions: np.ndarray, past: Past, bins: Mapping[str, Bins], liquidity_tier: int
) -> np.ndarray:
    """The context of each action, int64 [n, 3]: see CONTEXT. The open's bin is -1 without a trade.

    `past` may have seen these actions before, or not: it remembers the session's first price only.
    """
    context = np.empty((len(actions), len(CONTEXT)), np.int64)
    context[:, 0] = liquidity_tier
    context[:, 1] = actions["agent"]
    context[:, 2] = -1
    has_vwap = ~np.isnan(actions["vwap_tick"])
    from_open = _from_open(actions["vwap_tick"][has_vwap], past)
    context[has_vwap, 2] = bins["open"].encode(from_open)
    return context


TRADEFM = Spelling(
    fields=("action", "side", "price", "lots", "gap"),
    laws={"price": "price", "lots": "lots", "gap": "gap", "open": "open"},
    fixed=2,
    mirror_field=1,
    reasons=("no_trade_before",),
    radices=_radices,
    new_past=_new_past,
    measure=_measure,
    read=_read,
)
