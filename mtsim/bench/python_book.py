"""The book one would write in plain Python, to measure against: dictionaries, deques and two heaps.

It knows what the `zi1` stream needs and nothing else (plain limit orders and cancels, no checks,
fills as its only output), so it is as fast as the approach allows, and the comparison is kind to
it. Cancelled orders stay in their queue until they come to its head.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush

from mtsim.bench.zi1 import CANCEL

Fill = tuple[int, int, int, int, int]


class PythonBook:
    """A price-time-priority book. `process` takes the rows of `zi1.ROW_DTYPE` as tuples."""

    def __init__(self) -> None:
        # A resting order is [id, open lots]; 0 lots is one that is gone.
        self._orders: dict[int, list[int]] = {}
        # By side: price key -> queue, and a heap of the keys. A key is the price with the sign that
        # makes the best price of its side the smallest.
        self._queues: tuple[dict[int, deque[list[int]]], dict[int, deque[list[int]]]] = ({}, {})
        self._heaps: tuple[list[int], list[int]] = ([], [])
        self._messages = 0

    def process(self, rows: Sequence[tuple[int, int, int, int, int, int]]) -> list[Fill]:
        """(message, maker, taker, price, lots) of every trade, in order. O(log levels) a
        message."""
        orders, fills = self._orders, []
        first = self._messages
        self._messages += len(rows)
        for message, (kind, side, _, price_tick, lots, order_id) in enumerate(rows, first):
            if kind == CANCEL:
                order = orders.pop(order_id, None)
                if order is not None:
                    order[1] = 0
                continue
            own_key = price_tick if side else -price_tick
            other_heap, other_queues = self._heaps[1 - side], self._queues[1 - side]
            while lots and other_heap:
                key = other_heap[0]
                if key > -own_key:
                    break
                queue, traded_tick = other_queues[key], -key if side else key
                while lots and queue:
                    maker = queue[0]
                    open_lots = maker[1]
                    if open_lots > lots:
                        maker[1] = open_lots - lots
                        fills.append((message, maker[0], order_id, traded_tick, lots))
                        lots = 0
                        break
                    queue.popleft()
                    if open_lots:
                        maker[1] = 0
                        lots -= open_lots
                        del orders[maker[0]]
                        fills.append((message, maker[0], order_id, traded_tick, open_lots))
                if not queue:
                    heappop(other_heap)
                    del other_queues[key]
            if lots:
                order = orders[order_id] = [order_id, lots]
                queue = self._queues[side].get(own_key)
                if queue is None:
                    queue = self._queues[side][own_key] = deque()
                    heappush(self._heaps[side], own_key)
                queue.append(order)
        return fills

    def touch(self) -> tuple[int | None, int | None]:
        """The best bid and ask ticks; None where a side is empty."""
        bid, ask = self._best_key(0), self._best_key(1)
        return (None if bid is None else -bid), ask

    def _best_key(self, side: int) -> int | None:
        heap, queues = self._heaps[side], self._queues[side]
        while heap:
            queue = queues[heap[0]]
            while queue and not queue[0][1]:
                queue.popleft()
            if queue:
                return heap[0]
            del queues[heappop(heap)]
        return None
