"""A small venue that plays random orders and writes down what happens, in the way venues do."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

BUY, SELL = 0, 1


@dataclass
class Venue:
    """A price-time book kept with lists, slowly. `rows` is its diary, `books` the book after each.

    A row is (kind, side, id, other, tick, lots): ADD, CANCEL (lots leave), DELETE, REPLACE (`other`
    leaves), FILL (`id` rested, `other` took, `side` is that of `id`). A taker is added with what is
    left of it, after its fills; `announces` writes it before them instead, with all its lots.
    """

    announces: bool = False
    rows: list[tuple[str, int, int, int, int, int]] = field(default_factory=list)
    books: list[tuple[list[tuple[int, int]], list[tuple[int, int]]]] = field(default_factory=list)
    orders: dict[int, list[int]] = field(default_factory=dict)
    was: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Price and lots of the order that each replacing one replaced."""
    next_id: int = 1

    def play(self, seed: int, steps: int) -> "Venue":
        luck = random.Random(seed)
        middle = 1000
        for _ in range(steps):
            middle += luck.choice((-1, 0, 0, 0, 1))
            what = luck.random()
            known = list(self.orders)
            if what < 0.55 or len(known) < 6:
                side = luck.randrange(2)
                away = luck.randrange(-3, 12)
                tick = middle - away if side == BUY else middle + away
                self.submit(side, tick, luck.randrange(1, 9) * 10)
            elif what < 0.65:
                self.cancel(luck.choice(known), luck.randrange(1, 9))
            elif what < 0.85:
                self.delete(luck.choice(known))
            else:
                order = luck.choice(known)
                side, tick, _ = self.orders[order]
                self.replace(order, tick + luck.choice((-2, 1) if side == SELL else (2, -1)), 30)
        return self

    def submit(self, side: int, tick: int, lots: int) -> int:
        order, self.next_id = self.next_id, self.next_id + 1
        left = lots
        if self.announces and self._crossed(side, tick):
            self._write("ADD", side, order, 0, tick, lots)
        while left and (makers := self._crossed(side, tick)):
            maker = makers[0]
            traded = min(left, self.orders[maker][2])
            left -= traded
            price = self.orders[maker][1]
            self._take(maker, traded)
            self._write("FILL", 1 - side, maker, order, price, traded)
        if left:
            self.orders[order] = [side, tick, left]
            if self.announces and left < lots:
                # What is left rests without another word: the book after the last row shows it.
                self.books[-1] = self.book()
            else:
                self._write("ADD", side, order, 0, tick, left)
        return order

    def cancel(self, order: int, lots: int) -> None:
        side, tick, there = self.orders[order]
        if lots < there:
            self._take(order, lots)
            self._write("CANCEL", side, order, 0, tick, lots)

    def delete(self, order: int) -> None:
        side, tick, lots = self.orders.pop(order)
        self._write("DELETE", side, order, 0, tick, lots)

    def replace(self, order: int, tick: int, lots: int) -> None:
        side = self.orders[order][0]
        if not self._crossed(side, tick):
            _, *was = self.orders.pop(order)
            new, self.next_id = self.next_id, self.next_id + 1
            self.was[new] = (was[0], was[1])
            self.orders[new] = [side, tick, lots]
            self._write("REPLACE", side, new, order, tick, lots)

    def book(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(tick, lots) of both sides, best first."""
        sides: list[dict[int, int]] = [{}, {}]
        for side, tick, lots in self.orders.values():
            sides[side][tick] = sides[side].get(tick, 0) + lots
        return sorted(sides[0].items(), reverse=True), sorted(sides[1].items())

    def _crossed(self, side: int, tick: int) -> list[int]:
        """The orders that one of this side and price meets, first in line first."""
        makers = [
            (price if side == BUY else -price, place, order)
            for place, (order, (other, price, _)) in enumerate(self.orders.items())
            if other != side and (price <= tick if side == BUY else price >= tick)
        ]
        return [order for _, _, order in sorted(makers)]

    def _take(self, order: int, lots: int) -> None:
        self.orders[order][2] -= lots
        if not self.orders[order][2]:
            del self.orders[order]

    def _write(self, *row) -> None:
        self.rows.append(row)
        self.books.append(self.book())


def levels_of(side: Sequence[tuple[int, int]], depth: int) -> list[tuple[int, int]]:
    """The best levels of a side, filled up with (0, 0)."""
    return [*side, *[(0, 0)] * depth][:depth]
