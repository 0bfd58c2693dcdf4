"""How liquid a symbol has been: the value traded on days before, as one small number.

Tier 0 is not known; tier k from 1 on begins at 10^(k + 3) units of the currency a day, tier 1 at
none: below 10^5 is tier 1, from 10^5 tier 2, from 10^6 tier 3, ..., from 10^11 tier 8. Currencies
are not exchanged. Knows no day but those before, so it can be known live.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import numpy as np

from mtsim.engine.events import Origin
from mtsim.engine.messages import Reject, TimeInForce
from mtsim.model.store import Key, StoredSession

MOST_DAYS = 20
"""The value is the mean of at most so many days before."""

TIER_EDGES = tuple(10.0**power for power in range(5, 12))


class Liquidity:
    """The traded value of the days of a store's sessions, each looked at once at most.

    The lots are those of a session's manifest; the price is the median of what traded in its first
    part, the only rows that are read. A feed of trades alone has no traded lots in its manifest:
    the value of its first part stands for the others by their rows.
    """

    def __init__(self, sessions: Iterable[StoredSession]):
        self._sessions = {session.key: session for session in sessions}
        self._values: dict[Key, float] = {}

    def tier_of(self, key: Key) -> int:
        """The tier of the days of the same symbol before this one."""
        before = [other for other in self._sessions if other[:2] == key[:2] and other < key]
        if not before:
            return 0
        days = sorted(before)[-MOST_DAYS:]
        return tier(sum(self._value_of(day) for day in days) / len(days))

    def _value_of(self, key: Key) -> float:
        if key not in self._values:
            self._values[key] = traded_value(self._sessions[key])
        return self._values[key]


def tier(value: float) -> int:
    """The tier of a value traded in a day; 0 of nothing."""
    return 1 + int(np.searchsorted(TIER_EDGES, value, side="right")) if value > 0 else 0


def traded_value(session: StoredSession) -> float:
    """What was traded in a session, in its currency, to a few per cent."""
    manifest = session.manifest
    unit = Decimal(manifest["instrument"]["tick_size"]) * Decimal(
        manifest["instrument"]["lot_size"]
    )
    rows = next(session.events())
    rows = rows[(rows["reject"] == Reject.NONE) & (rows["origin"] != Origin.OPENING)]
    filled = rows[rows["filled_lots"] > 0]
    if len(filled):
        price = float(np.median(filled["price_tick"]))
        return abs(price) * manifest["events"]["traded_lots"] * float(unit)
    # Takers that met nobody, because no book is shown.
    takers = rows[rows["tif"] == TimeInForce.IOC]
    value = float((np.abs(takers["price_tick"].astype(np.float64)) * takers["lots"]).sum())
    share = manifest["parts"][0]["rows"] / sum(part["rows"] for part in manifest["parts"])
    return value / share * float(unit)
