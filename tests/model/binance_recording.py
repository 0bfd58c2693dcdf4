"""A small Binance: a market whose every change has an id, recorded as its websocket lines."""

import json
import random
from typing import Any

MIDNIGHT_MS = 1_723_161_600_000  # 2024-08-09 00:00 UTC
HOUR_MS = 3_600_000


class Exchange:
    """A book of ticks and lots that changes one level at a time, and the lines that tell of it.

    `lines` are what a recorder wrote; `truth` is the whole book at the id of each depth update.
    """

    def __init__(self, seed=0, futures=False, start_ms=MIDNIGHT_MS - HOUR_MS, symbol="BTCUSDT"):
        self.random = random.Random(seed)
        self.futures = futures
        self.symbol = symbol
        self.now_ms = start_ms
        self.id = 1000
        self.trade_id = 500
        self.mid = 1000
        self.book = ({}, {})
        self.changed = ({}, {})
        self.first_id = self.last_id = self.id
        self.lines = []
        self.truth = {}
        self.traded = []
        for depth in range(1, 15):
            self.set(0, self.mid - depth, 10 * depth)
            self.set(1, self.mid + depth, 10 * depth)
        self.flush(send=False)

    def price(self, tick):
        return f"{tick / 100:.8f}"

    def size(self, lots):
        return f"{lots / 1000:.8f}"

    def send(self, stream, data, wrapped=True, at=None):
        data = {"stream": f"{self.symbol.lower()}@{stream}", "data": data} if wrapped else data
        # The recorder's clock runs behind the exchange's.
        stamp = (self.now_ms - 1300) * 10**6
        line = f"{stamp} {json.dumps(data, separators=(',', ':'))}\n"
        self.lines.insert(len(self.lines) if at is None else at, line)

    def set(self, side, tick, lots):
        self.id += 1
        best = self.touch()
        self.book[side][tick] = lots
        if not lots:
            del self.book[side][tick]
        self.changed[side][tick] = lots
        if self.touch() != best:
            self.quote()

    def touch(self):
        bid, ask = max(self.book[0], default=None), min(self.book[1], default=None)
        return bid, self.book[0].get(bid), ask, self.book[1].get(ask)

    def quote(self):
        bid, bid_lots, ask, ask_lots = self.touch()
        if bid is None or ask is None:
            return
        data = {"u": self.id, "s": self.symbol, "b": self.price(bid), "B": self.size(bid_lots)}
        data |= {"a": self.price(ask), "A": self.size(ask_lots)}
        if self.futures:
            data |= {"e": "bookTicker", "T": self.now_ms, "E": self.now_ms}
        self.send("bookTicker", data)

    def trade(self, side, lots):
        """An aggressor takes what it finds, level by level; the lines come at the end."""
        prints = []
        maker = self.book[1 - side]
        while lots and len(maker) > 3:
            tick = max(maker) if side else min(maker)
            taken = min(lots, maker[tick])
            prints.append((tick, taken))
            self.set(1 - side, tick, maker[tick] - taken)
            lots -= taken
        for tick, taken in prints:
            self.trade_id += 1
            data = {"e": "trade", "E": self.now_ms, "s": self.symbol, "t": self.trade_id}
            data |= {"p": self.price(tick), "q": self.size(taken), "T": self.now_ms}
            data |= {"m": bool(side)} | ({"X": "MARKET"} if self.futures else {"M": True})
            self.send("trade", data)
        if prints:
            self.traded.append((self.now_ms, side, prints))

    def flush(self, send=True):
        """Send the depth update of all that changed since the last one."""
        if self.id == self.last_id:
            return
        changes = [
            [[self.price(tick), self.size(lots)] for tick, lots in side.items()]
            for side in self.changed
        ]
        data = {"e": "depthUpdate", "E": self.now_ms, "s": self.symbol, "U": self.last_id + 1}
        data |= {"u": self.id, "b": changes[0], "a": changes[1]}
        if self.futures:
            # Ids of other symbols lie between two updates of this one.
            data |= {"T": self.now_ms, "U": self.last_id + 5, "pu": self.last_id}
        if send:
            self.send("depth@100ms", data)
            self.truth[self.id] = tuple(dict(side) for side in self.book)
        self.last_id = self.id
        self.changed = ({}, {})
        if self.futures:
            self.id += 7

    def snapshot(self, levels=100):
        data: dict[str, Any] = {"lastUpdateId": self.id}
        if self.futures:
            data |= {"E": self.now_ms, "T": self.now_ms}
        bids = sorted(self.book[0].items(), reverse=True)[:levels]
        asks = sorted(self.book[1].items())[:levels]
        data["bids"] = [[self.price(tick), self.size(lots)] for tick, lots in bids]
        data["asks"] = [[self.price(tick), self.size(lots)] for tick, lots in asks]
        self.send("", data, wrapped=False)

    def live(self, updates, step_ms=100):
        """Let the market live for some depth updates."""
        draw = self.random
        for _ in range(updates):
            for _ in range(draw.randint(0, 8)):
                self.now_ms += draw.randint(0, step_ms // 10)
                if draw.random() < 0.3:
                    self.trade(draw.randint(0, 1), draw.randint(1, 40))
                    continue
                side = draw.randint(0, 1)
                ask, bid = min(self.book[1]), max(self.book[0])
                tick = ask - draw.randint(1, 8) if side == 0 else bid + draw.randint(1, 8)
                old = self.book[side].get(tick, 0)
                if len(self.book[side]) > 3 or not old:
                    self.set(
                        side, tick, draw.choice([0, old + 5, draw.randint(1, 60)]) if old else 9
                    )
            self.now_ms += draw.randint(1, step_ms // 10)
            self.flush()
            # What happens next is not part of that update.
            self.now_ms += 1
        return self

    def recording(self):
        return "".join(self.lines).encode()


def recorded(seed=0, futures=False, updates=60, **options):
    """An exchange whose recording has some updates, a snapshot, and more updates."""
    exchange = Exchange(seed, futures, **options).live(3)
    exchange.snapshot()
    return exchange.live(updates)
