"""Writes ITCH 5.0: single messages, the frames they travel in, and the day of a small exchange."""

import struct
from collections.abc import Iterable

import numpy as np

FILLER = "YLVWKJhOIN"
"""Types that say nothing of an order; the reader only counts them."""

_LENGTHS = {"S": 12, "R": 39, "H": 25, "Y": 20, "L": 26, "V": 35, "W": 12, "K": 28, "J": 35}
_LENGTHS |= {"h": 21, "O": 48, "A": 36, "F": 40, "E": 31, "C": 36, "X": 23, "D": 19, "U": 35}
_LENGTHS |= {"P": 44, "Q": 40, "B": 19, "I": 50, "N": 20}
_STOCK_AT = {"Y": 11, "L": 15, "K": 11, "J": 11, "h": 11, "O": 11, "I": 28, "N": 11}


def message(letter: str, locate: int, time_ns: int, body: bytes = b"") -> bytes:
    head = letter.encode() + struct.pack(">HH", locate, 0) + time_ns.to_bytes(6, "big")
    assert len(head + body) == _LENGTHS[letter], (letter, len(head + body))
    return head + body


def filler(letter: str, locate: int, time_ns: int, stock: str) -> bytes:
    body = bytearray(_LENGTHS[letter] - 11)
    at = _STOCK_AT.get(letter, 0) - 11
    if at >= 0:
        body[at : at + 8] = _stock(stock)
    return message(letter, locate, time_ns, bytes(body))


def system(time_ns: int, event: str) -> bytes:
    return message("S", 0, time_ns, event.encode())


def directory(locate: int, stock: str, time_ns: int = 0) -> bytes:
    return message("R", locate, time_ns, _stock(stock) + b"N" * 20)


def trading(locate: int, time_ns: int, stock: str, state: str) -> bytes:
    return message("H", locate, time_ns, _stock(stock) + state.encode() + b" " * 5)


def add(
    locate: int,
    time_ns: int,
    order_id: int,
    side: str,
    shares: int,
    price: int,
    *,
    stock: str = "ABC",
    mpid: str = "",
) -> bytes:
    """`price` in 1e-4 dollars, as everywhere here."""
    body = struct.pack(">Q", order_id) + side.encode() + struct.pack(">I", shares)
    body += _stock(stock) + struct.pack(">I", price) + mpid.encode()
    return message("F" if mpid else "A", locate, time_ns, body)


def execute(locate: int, time_ns: int, order_id: int, shares: int) -> bytes:
    return message("E", locate, time_ns, struct.pack(">QIQ", order_id, shares, 7))


def execute_at(
    locate: int, time_ns: int, order_id: int, shares: int, price: int, printed: str = "Y"
) -> bytes:
    body = struct.pack(">QIQ", order_id, shares, 7) + printed.encode() + struct.pack(">I", price)
    return message("C", locate, time_ns, body)


def cancel(locate: int, time_ns: int, order_id: int, shares: int) -> bytes:
    return message("X", locate, time_ns, struct.pack(">QI", order_id, shares))


def delete(locate: int, time_ns: int, order_id: int) -> bytes:
    return message("D", locate, time_ns, struct.pack(">Q", order_id))


def replace(
    locate: int, time_ns: int, order_id: int, new_id: int, shares: int, price: int
) -> bytes:
    return message("U", locate, time_ns, struct.pack(">QQII", order_id, new_id, shares, price))


def hidden_trade(locate: int, time_ns: int, shares: int, price: int, stock: str = "ABC") -> bytes:
    body = struct.pack(">QcI", 0, b"B", shares) + _stock(stock) + struct.pack(">IQ", price, 7)
    return message("P", locate, time_ns, body)


def cross(locate: int, time_ns: int, shares: int, price: int, stock: str = "ABC") -> bytes:
    body = struct.pack(">Q", shares) + _stock(stock) + struct.pack(">IQc", price, 7, b"O")
    return message("Q", locate, time_ns, body)


def broken(locate: int, time_ns: int) -> bytes:
    return message("B", locate, time_ns, struct.pack(">Q", 7))


def framed(messages: Iterable[bytes], *, lengths: bool = True) -> bytes:
    """A day file. Without `lengths` every frame says 0, as some published samples do."""
    return b"".join((len(text) if lengths else 0).to_bytes(2, "big") + text for text in messages)


def mold(messages: Iterable[bytes], number: int, session: bytes = b"SESSION001") -> bytes:
    """A MoldUDP64 packet whose first message has this number."""
    blocks = [len(text).to_bytes(2, "big") + text for text in messages]
    return session + struct.pack(">QH", number, len(blocks)) + b"".join(blocks)


def datagram(payload: bytes, *, vlan: bool = False, protocol: int = 17) -> bytes:
    """An Ethernet frame with an IPv4 packet of UDP."""
    udp = struct.pack(">HHHH", 1, 2, 8 + len(payload), 0) + payload
    ip = struct.pack(">BBHHHBBH8x", 0x45, 0, 20 + len(udp), 0, 0, 1, protocol, 0)
    return bytes(12) + (b"\x81\x00\x00\x8d" if vlan else b"") + b"\x08\x00" + ip + udp


def pcap(
    packets: Iterable[bytes], *, nanoseconds: bool = True, order: str = "<", at: int = 0
) -> bytes:
    """A capture of frames, all at `at` seconds since 1970."""
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 1 << 16, 1)
    for frame in packets:
        out += struct.pack(order + "IIII", at, 0, len(frame), len(frame)) + frame
    return out


def pcapng(packets: Iterable[bytes], *, order: str = "<", at: int = 0) -> bytes:
    """A capture of frames, whose times are in nanoseconds by an option of its interface."""

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        length = struct.pack(order + "I", 12 + len(body))
        return struct.pack(order + "I", kind) + length + body + length

    out = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    options = struct.pack(order + "HHB3xHH", 9, 1, 9, 0, 0)
    out += block(1, struct.pack(order + "HHI", 1, 0, 1 << 16) + options)
    for frame in packets:
        high, low = divmod(at * 10**9, 1 << 32)
        head = struct.pack(order + "IIIII", 0, high, low, len(frame), len(frame))
        out += block(6, head + frame)
    return out


class Exchange:
    """A price-time market of one stock that tells ITCH what happens in it.

    Dictionaries and lists, one order at a time: nothing of this is shared with the reader.
    """

    def __init__(
        self, locate: int, rng: np.random.Generator, *, stock: str = "ABC", first_id: int = 1
    ):
        self.locate = locate
        self.stock = stock
        self.messages: list[bytes] = []
        self.orders: dict[int, tuple[str, int, int]] = {}
        """What rests: side, price, shares."""
        self.traded = 0
        self.takes = 0
        self._queues: dict[tuple[str, int], list[int]] = {}
        self._rng = rng
        self._time_ns = 34_200 * 10**9
        self._next_id = first_id

    def step(self) -> None:
        """One more thing happens."""
        self._time_ns += int(self._rng.integers(1, 50_000))
        draw = self._rng.random()
        if not self.orders or draw < 0.45:
            self._enter()
        elif draw < 0.60:
            self._take()
        elif draw < 0.80:
            order_id = self._anyone()
            self._tell(delete(self.locate, self._time_ns, order_id))
            self._leave(order_id)
        elif draw < 0.90:
            self._shrink(self._anyone())
        else:
            self._replace(self._anyone())

    def empty(self) -> None:
        """Everybody goes home."""
        for order_id in list(self.orders):
            self._tell(delete(self.locate, self._time_ns, order_id))
            self._leave(order_id)

    def depth(self) -> dict[tuple[int, int], int]:
        """Shares by side (0 bid) and tick of a cent."""
        levels: dict[tuple[int, int], int] = {}
        for side, price, shares in self.orders.values():
            key = (int(side == "S"), price // 100)
            levels[key] = levels.get(key, 0) + shares
        return levels

    def _tell(self, text: bytes) -> None:
        self.messages.append(text)

    def _anyone(self) -> int:
        ids = list(self.orders)
        return ids[int(self._rng.integers(len(ids)))]

    def _best(self, side: str) -> int | None:
        prices = [price for s, price in self._queues if s == side]
        return None if not prices else max(prices) if side == "B" else min(prices)

    def _price(self, side: str) -> int:
        """A price that does not cross."""
        away = int(self._rng.integers(1, 20)) * 100
        if side == "B":
            best = self._best("S")
            return (1_000_000 if best is None else best) - away
        best = self._best("B")
        return (1_000_000 if best is None else best) + away

    def _join(self, order_id: int, side: str, price: int, shares: int) -> None:
        self.orders[order_id] = (side, price, shares)
        self._queues.setdefault((side, price), []).append(order_id)

    def _leave(self, order_id: int) -> None:
        side, price, _ = self.orders.pop(order_id)
        self._queues[side, price].remove(order_id)
        if not self._queues[side, price]:
            del self._queues[side, price]

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def _enter(self) -> None:
        side = "B" if self._rng.random() < 0.5 else "S"
        order_id, price = self._new_id(), self._price(side)
        shares = int(self._rng.integers(1, 10)) * 100
        mpid = "MPID" if self._rng.random() < 0.1 else ""
        self._tell(
            add(
                self.locate,
                self._time_ns,
                order_id,
                side,
                shares,
                price,
                stock=self.stock,
                mpid=mpid,
            )
        )
        self._join(order_id, side, price, shares)

    def _take(self) -> None:
        """An aggressive order meets whoever is first in line, one record each."""
        side = "B" if self._best("B") is not None and self._rng.random() < 0.5 else "S"
        left = int(self._rng.integers(1, 3_000))
        took = 0
        while left and (price := self._best(side)) is not None:
            order_id = self._queues[side, price][0]
            shares = self.orders[order_id][2]
            filled = min(left, shares)
            if self._rng.random() < 0.2:
                text = execute_at(self.locate, self._time_ns, order_id, filled, price + 50)
            else:
                text = execute(self.locate, self._time_ns, order_id, filled)
            self._tell(text)
            left -= filled
            took += filled
            if filled == shares:
                self._leave(order_id)
            else:
                self.orders[order_id] = (side, price, shares - filled)
        self.traded += took
        self.takes += took > 0

    def _shrink(self, order_id: int) -> None:
        side, price, shares = self.orders[order_id]
        taken = int(self._rng.integers(1, shares)) if shares > 1 else 1
        self._tell(cancel(self.locate, self._time_ns, order_id, taken))
        if taken == shares:
            self._leave(order_id)
        else:
            self.orders[order_id] = (side, price, shares - taken)

    def _replace(self, order_id: int) -> None:
        side, price, _ = self.orders[order_id]
        self._leave(order_id)
        new_id, shares = self._new_id(), int(self._rng.integers(1, 10)) * 100
        price = price if self._rng.random() < 0.3 else self._price(side)
        self._tell(replace(self.locate, self._time_ns, order_id, new_id, shares, price))
        self._join(new_id, side, price, shares)


def repeated(messages: list[bytes], times: int) -> Iterable[bytes]:
    """Day-file bytes of messages that leave an empty book, over and over with new ids and times."""
    text = np.frombuffer(framed(messages), np.uint8)
    lengths = np.array([len(message) + 2 for message in messages])
    starts = np.cumsum(lengths) - lengths + 2
    letters = text[starts]
    span = int.from_bytes(messages[-1][5:11], "big") - int.from_bytes(messages[0][5:11], "big") + 1
    id_places = [starts[np.isin(letters, list(b"AFECXDU"))] + 11, starts[letters == ord("U")] + 19]
    most = max(int(_number(text, places, 8).max()) for places in id_places if len(places)) + 1
    time_ns = _number(text, starts + 5, 6)
    ids = [_number(text, places, 8) for places in id_places]
    for k in range(times):
        copy = text.copy()
        _write(copy, starts + 5, time_ns + k * span, 6)
        for places, values in zip(id_places, ids, strict=True):
            _write(copy, places, values + k * most, 8)
        yield copy.tobytes()


def _number(text: np.ndarray, places: np.ndarray, size: int) -> np.ndarray:
    value = np.zeros(len(places), np.int64)
    for k in range(size):
        value = value << 8 | text[places + k].astype(np.int64)
    return value


def _write(text: np.ndarray, places: np.ndarray, values: np.ndarray, size: int) -> None:
    for k in range(size):
        text[places + k] = (values >> 8 * (size - 1 - k)) & 255


def _stock(name: str) -> bytes:
    return name.ljust(8).encode()
