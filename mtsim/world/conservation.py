"""Nothing appears and nothing vanishes: lots and cash of a world, counted again in plain Python.

Shares no code with the compiled accounts, so that each is a witness for the other.
"""

import numpy as np

from mtsim.engine.batch import Books
from mtsim.engine.messages import FillKind, Kind, Reject
from mtsim.engine.units import Side
from mtsim.world.account import CASH, COLUMNS, OPEN_ORDERS, POSITION_LOTS


class Ledger:
    """What has gone into one book and come out, from the moment it is made."""

    def __init__(self, books: Books, book: int, accounts: np.ndarray):
        self.entered_lots = sum(books.total_lots(book, side) for side in Side)
        self.filled_lots = 0
        self.cancelled_lots = 0
        self.accounts = accounts.copy()

    def enter(self, message: np.void, result: np.void, fills: np.ndarray) -> None:
        """Count one executed message."""
        if result["reject"] != Reject.NONE:
            return
        kind = message["kind"]
        if kind in (Kind.LIMIT, Kind.MARKET):
            self.entered_lots += int(message["lots"])
        elif kind == Kind.REPLACE:
            # What is asked for instead of the open lots: the difference comes in, or goes.
            change = int(message["lots"]) - int(result["previous_lots"])
            self.entered_lots += max(change, 0)
        for fill in fills:
            self._enter_fill(fill)
        if kind in (Kind.CANCEL, Kind.REDUCE, Kind.MARKET, Kind.LIMIT):
            self.cancelled_lots += int(result["cancelled_lots"])
        elif kind == Kind.REPLACE:
            left = int(result["filled_lots"]) + int(result["resting_lots"])
            most = max(int(message["lots"]), int(result["previous_lots"]))
            self.cancelled_lots += most - left

    def _enter_fill(self, fill: np.void) -> None:
        lots = int(fill["lots"])
        if fill["kind"] != FillKind.TRADE:
            # The taker's part of a self-trade is in its own result.
            self.cancelled_lots += lots
            return
        self.filled_lots += 2 * lots
        buyer, seller = int(fill["maker_owner"]), int(fill["taker_owner"])
        if fill["taker_side"] == Side.BUY:
            buyer, seller = seller, buyer
        for owner, sign in ((buyer, 1), (seller, -1)):
            self.accounts[owner, POSITION_LOTS] += sign * lots
            self.accounts[owner, CASH] -= sign * lots * int(fill["price_tick"])

    def check(self, books: Books, book: int, accounts: np.ndarray) -> None:
        """Raise AssertionError where book and accounts are not what the messages make them."""
        resting = sum(books.total_lots(book, side) for side in Side)
        assert self.entered_lots == self.filled_lots + resting + self.cancelled_lots, (
            f"book {book}: {self.entered_lots} lots in, {self.filled_lots} filled, {resting} "
            f"resting, {self.cancelled_lots} cancelled"
        )
        for column in (POSITION_LOTS, CASH):
            name = COLUMNS[column]
            # Each trade moves both from one owner to another.
            assert accounts[:, column].sum() == 0, f"book {book}: {name} does not sum to zero"
            assert (accounts[:, column] == self.accounts[:, column]).all(), (
                f"book {book}: {name} is {accounts[:, column]}, fills make it "
                f"{self.accounts[:, column]}"
            )

    def check_orders(self, books: Books, book: int, accounts: np.ndarray) -> None:
        """The same for the book's invariants and the counts of open orders. O(orders)."""
        books.check(book)
        found = open_orders(books, book, len(accounts))
        assert (accounts[:, OPEN_ORDERS] == found).all(), (
            f"book {book}: {accounts[:, OPEN_ORDERS]} orders on the accounts, {found} in the book"
        )


def open_orders(books: Books, book: int, n_owners: int) -> np.ndarray:
    """How many orders of each owner rest. O(orders)."""
    return np.bincount(books.resting(book)["owner"], minlength=n_owners)
