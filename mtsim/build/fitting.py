"""The order events of stored sessions, for fits of flows. Reads through `model.history` alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mtsim.errors import UsageError
from mtsim.flow.order_events import OrderEvents
from mtsim.flow.placing import OrderKind
from mtsim.model.actions import ActionKind
from mtsim.model.features import ASK_LOTS, BID_LOTS, LEVELS, LOG_SCALE, SPREAD
from mtsim.model.history import observe_session
from mtsim.model.store import StoredSession


def order_events(session: StoredSession | Iterable[np.ndarray]) -> OrderEvents:
    """Every action of a session, or of EVENT_DTYPE arrays, as an order event.

    `resting_lots` are those of the ten best levels of each side.
    """
    parts = [_of_actions(batch.actions, batch.features) for batch in observe_session(session)]
    if not parts:
        raise UsageError(f"{session}: nothing was done in this session; there is nothing to fit")
    return OrderEvents(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _of_actions(actions: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, ...]:
    distance = actions["distance_ticks"].astype(np.int64)
    adds = actions["kind"] == ActionKind.ADD
    trades = actions["kind"] == ActionKind.TRADE
    kind = np.select(
        [trades, adds & (distance < 0), adds & (distance == 0), adds, distance <= 0],
        [
            OrderKind.MARKET,
            OrderKind.ADD_INSIDE,
            OrderKind.ADD_TOUCH,
            OrderKind.ADD_DEEP,
            OrderKind.CANCEL_TOUCH,
        ],
        OrderKind.CANCEL_DEEP,
    )
    levels = np.concatenate(
        [_integers(features[:, first : first + LEVELS]) for first in (BID_LOTS, ASK_LOTS)], axis=1
    )
    return (
        actions["time_ns"],
        kind.astype(np.int64),
        actions["side"].astype(np.int64),
        _integers(features[:, SPREAD]),
        np.where(trades, 0, np.abs(distance)),
        actions["lots"].astype(np.int64),
        np.where((actions["side"] == 0) ^ trades, levels[:, 0], levels[:, LEVELS]),
        levels.sum(axis=1),
        actions["opens"] != 0,
    )


def _integers(logs: np.ndarray) -> np.ndarray:
    """The integers whose logarithms are features. Exact to one part in a million."""
    return np.rint(np.expm1(logs.astype(np.float64) / LOG_SCALE)).astype(np.int64)
