"""What each owner of each world has done and holds, in integers. Knows no fee until it is asked.

Cash and notionals are ticks times lots; money is a matter of the edge. A trade moves cash from one
owner to the other, so that the cash of a world sums to zero, always.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mtsim.engine.ladder import U, hot
from mtsim.engine.layout import FILL_WORDS
from mtsim.engine.messages import FillKind, Kind, Reject
from mtsim.engine.units import Side

LIMIT, MARKET, CANCEL = Kind.LIMIT.value, Kind.MARKET.value, Kind.CANCEL.value
REDUCE, REPLACE, UNCROSS = Kind.REDUCE.value, Kind.REPLACE.value, Kind.UNCROSS.value
TRADE = FillKind.TRADE.value
ACCEPTED = Reject.NONE.value
BUY = Side.BUY.value

COLUMNS = (
    "position_lots",
    "cash",
    "maker_notional",
    "taker_notional",
    "bought_lots",
    "sold_lots",
    "maker_lots",
    "open_orders",
)
"""Of an account: what it holds (below 0: short), what it was paid less what it paid, the sizes of
its trades as the one that rested and as the one that came in (a negative price counts as a positive
one), lots bought and sold, how many of them as maker, and its resting orders."""

(
    POSITION_LOTS,
    CASH,
    MAKER_NOTIONAL,
    TAKER_NOTIONAL,
    BOUGHT_LOTS,
    SOLD_LOTS,
    MAKER_LOTS,
    OPEN_ORDERS,
) = range(len(COLUMNS))


@dataclass(frozen=True)
class FeeSchedule:
    """Fees in basis points of the notional, exact; below 0 is a rebate."""

    maker_bp: Fraction = Fraction(0)
    taker_bp: Fraction = Fraction(0)

    def fee(self, account: np.ndarray) -> Fraction:
        """What an account's row owes, in ticks times lots."""
        maker = self.maker_bp * int(account[MAKER_NOTIONAL])
        taker = self.taker_bp * int(account[TAKER_NOTIONAL])
        return (maker + taker) / 10_000


def new_accounts(n_worlds: int, n_owners: int) -> np.ndarray:
    """int64 [B, owners, COLUMNS]; owner 0 is the background."""
    return np.zeros((n_worlds, n_owners, len(COLUMNS)), np.int64)


@hot
def settle(accounts, wakes, message, result, fills, n_fills):
    """Book one executed message to the accounts of its world; whether it filled an owner in
    `wakes`.

    The orders that an UNCROSS leaves open are not counted: its fills do not say which they are.
    """
    woken = False
    kind = message[U(0)] & 255
    for fill in range(n_fills):
        word = fill * FILL_WORDS
        tick = np.int64(np.int32(fills[U(word + 3)]))
        lots = fills[U(word + 3)] >> 32
        maker = fills[U(word + 4)] & 0xFFFFFFFF
        taker = fills[U(word + 4)] >> 32
        left = fills[U(word + 5)] & 0xFFFFFFFF
        codes = fills[U(word + 5)] >> 32
        if left == 0 and kind != UNCROSS:
            accounts[maker, OPEN_ORDERS] -= 1
        if codes & 255 != TRADE:
            continue
        notional = abs(tick) * lots
        accounts[maker, MAKER_NOTIONAL] += notional
        accounts[maker, MAKER_LOTS] += lots
        accounts[taker, TAKER_NOTIONAL] += notional
        buyer = taker if (codes >> 8) & 255 == BUY else maker
        seller = maker + taker - buyer
        accounts[buyer, POSITION_LOTS] += lots
        accounts[buyer, BOUGHT_LOTS] += lots
        accounts[buyer, CASH] -= tick * lots
        accounts[seller, POSITION_LOTS] -= lots
        accounts[seller, SOLD_LOTS] += lots
        accounts[seller, CASH] += tick * lots
        woken = woken or wakes[maker] or wakes[taker]
    if (result[U(5)] >> 32) & 255 == ACCEPTED:
        owner = message[U(1)] & 0xFFFFFFFF
        resting = result[U(2)] >> 32
        if kind == LIMIT:
            accounts[owner, OPEN_ORDERS] += resting > 0
        elif kind == CANCEL or (resting == 0 and kind in (REDUCE, REPLACE)):
            accounts[owner, OPEN_ORDERS] -= 1
    return woken
