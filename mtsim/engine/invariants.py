"""Every invariant of a book's block, checked in plain Python that shares no matching code with the
engine.

Trusts nothing in the block: links are followed only where they can lead, so that a torn block fails
a check and nothing else.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from mtsim.engine import layout
from mtsim.engine.layout import (
    BEST,
    BITMAP,
    CAPACITY,
    EMPTY_KEY,
    FLOOR,
    FREE,
    HANDLES,
    HEADER_WORDS,
    HIDDEN,
    HIDDEN_LOTS,
    HIDDEN_SLICES,
    ID,
    IDS,
    KEY,
    LADDER,
    LOTS,
    MASK,
    MESSAGES,
    N_PARKED,
    NEXT,
    ORDER_WORDS,
    ORDERS,
    OWNER,
    PARKED,
    PARKED_ROOM,
    PHASE,
    PLACE,
    PLACES,
    PREVIOUS,
    SECOND_AND_SIDE,
    SHIFT,
    SIZE,
    SLICE_LOTS,
    STRAIN,
    SUMMARY,
    USED,
    WIDEST,
)
from mtsim.engine.messages import MAX_TRANCHES, Phase
from mtsim.engine.units import MAX_LOTS, MAX_TICK, Side

_GOLDEN = 0x9E3779B97F4A7C15
_OFFSETS = (
    MASK,
    CAPACITY,
    PARKED_ROOM,
    SHIFT,
    BITMAP,
    SUMMARY,
    LADDER,
    IDS,
    PLACES,
    ORDERS,
    PARKED,
    SIZE,
)


def check_block(block: np.ndarray) -> None:
    """Raise AssertionError, with the whole book printed, when an invariant does not hold. About 10
    us an order."""
    try:
        _check_header(block)
        _Checked(block).check()
    except AssertionError as broken:
        raise AssertionError(f"{broken}\n{describe(block)}") from None


def describe(block: np.ndarray) -> str:
    """The header and every queue of a block, as far as they can be read."""
    lines = [f"header: {block[:HEADER_WORDS].tolist()}"]
    try:
        _check_header(block)
    except AssertionError:
        return lines[0]
    book = _Checked(block)
    for side in Side:
        lines.append(side.name)
        for key, ends, lots in layout.levels_of(block, side).tolist():
            tick = -key if side else key
            lines.append(f"  tick {tick}: {lots} lots, head {ends & 0xFFFFFFFF}, tail {ends >> 32}")
            lines.extend(f"    {book.order_text(slot)}" for slot in book.queue(ends & 0xFFFFFFFF))
    return "\n".join(lines)


def _check_header(block: np.ndarray) -> None:
    """A header that can be trusted to say where the parts are."""
    assert len(block) >= HEADER_WORDS, "a block has at least a header"
    sizes = layout.sizes_of(block)
    # The parts lie where blocks of these sizes have them, and fill the block.
    assert layout.MIN_WINDOW <= sizes.window <= layout.MAX_WINDOW, "window"
    assert sizes.window & (sizes.window - 1) == 0, "window"
    assert 2 <= sizes.slots <= 2**30, "room for orders"
    assert 1 <= sizes.parked <= 2**30, "room for parked levels"
    expected = layout.new_header(sizes, widest=0, handles=False)
    for word in _OFFSETS:
        assert block[word] == expected[word], f"offset in header word {word}"
    assert len(block) == block[SIZE], "length of the block"
    # Counters are within the room, and the modes are known.
    assert 1 <= block[USED] <= sizes.slots, "slots handed out"
    assert all(0 <= block[N_PARKED + side] <= sizes.parked for side in Side), "parked levels"
    assert block[PHASE] in tuple(Phase), "phase"
    assert block[HANDLES] in (0, 1), "handles"
    assert sizes.window <= block[WIDEST] <= layout.MAX_WINDOW, "widest window"
    assert min(block[PLACE], block[MESSAGES], block[STRAIN]) >= 0, "counters"
    for side in Side:
        # Empty or not, the window stays where keys and their sums fit.
        assert abs(block[FLOOR + side]) <= 2 * MAX_TICK, "floor"


class _Checked:
    """A block whose header is sound."""

    def __init__(self, block: np.ndarray):
        self.block = block
        self.used = int(block[USED])
        first = int(block[ORDERS])
        words = block[first : first + self.used * ORDER_WORDS // 2].view(np.int32)
        self.orders = words.reshape(-1, ORDER_WORDS).tolist()
        self.ids = block[first : first + self.used * ORDER_WORDS // 2][
            ID // 2 :: ORDER_WORDS // 2
        ].tolist()
        self.places = block[block[PLACES] :][: self.used].tolist()
        self.live: set[int] = set()
        self.seconds: set[int] = set()

    def order_text(self, slot: int) -> str:
        order = self.orders[slot]
        return (
            f"slot {slot}: id {self.ids[slot]}, lots {order[LOTS]}, owner {order[OWNER]}, "
            f"place {self.places[slot]}, second {order[SECOND_AND_SIDE] >> 1}"
        )

    def queue(self, head: int) -> Iterator[int]:
        """The slots of a queue; ends at a link that leads nowhere, and after as many steps as there
        are slots."""
        slot = head
        for _ in range(self.used):
            if not 0 < slot < self.used:
                return
            yield slot
            slot = self.orders[slot][NEXT]

    def check(self) -> None:
        bid_key, ask_key = self._check_side(Side.BUY), self._check_side(Side.SELL)
        # A continuous book is never crossed.
        if self.block[PHASE] == Phase.CONTINUOUS:
            assert bid_key + ask_key < 0, f"crossed: bid {bid_key}, ask {-ask_key}"
        self._check_slots()
        if self.block[HANDLES]:
            self._check_handles()
        else:
            self._check_ids()

    def _check_side(self, side: Side) -> int:
        """Check the levels of a side; returns its best key."""
        block = self.block
        self._check_bits(side)
        levels = layout.levels_of(block, side).tolist()
        keys = [key for key, _, _ in levels]
        # Parked levels are sorted, and every one is worse than everything in the window.
        assert all(worse < better for worse, better in pairwise(keys)), (
            f"{side.name}: order of the levels"
        )
        n_parked = int(block[N_PARKED + side])
        assert all(key < block[FLOOR + side] for key in keys[:n_parked]), (
            f"{side.name}: parked inside the window"
        )
        # Nothing is parked while the window is empty: the best level is always inside.
        assert len(levels) > n_parked or not levels, f"{side.name}: all levels parked"
        best = keys[-1] if keys else EMPTY_KEY + side
        assert block[BEST + side] == best, (
            f"{side.name}: best key {block[BEST + side]}, best level {best}"
        )
        hidden = sum(self._check_level(side, *level) for level in levels)
        # The side's count of hidden lots is theirs.
        assert block[HIDDEN + side] == hidden, f"{side.name}: hidden lots"
        return best

    def _check_bits(self, side: Side) -> None:
        block = self.block
        window = int(block[MASK]) + 1
        ladder = block[block[LADDER] + side * 2 * window :][: 2 * window].reshape(-1, 2)
        # A level without orders has neither head nor tail nor lots.
        empty = ladder[:, 0] & 0xFFFFFFFF == 0
        assert not ladder[empty].any(), f"{side.name}: something left in an empty level"
        # The bitmap marks the levels that hold orders, the summary the words of the bitmap that
        # mark any.
        bits = _packed(~empty)
        words = block[block[BITMAP] + side * len(bits) :][: len(bits)]
        assert (words == bits).all(), f"{side.name}: bitmap"
        bits = _packed(words != 0)
        summary = block[block[SUMMARY] + side * len(bits) :][: len(bits)]
        assert (summary == bits).all(), f"{side.name}: summary of the bitmap"

    def _check_level(self, side: Side, key: int, ends: int, lots: int) -> int:
        """Check the queue of one level; returns its hidden lots."""
        where = f"{side.name} tick {-key if side else key}"
        assert abs(key) <= MAX_TICK, f"{where}: out of range"
        shown = hidden = last = 0
        for slot in self.queue(ends & 0xFFFFFFFF):
            order = self.orders[slot]
            text = f"{where}: {self.order_text(slot)}"
            # An order is in one queue, once, and the links lead both ways.
            assert slot not in self.live, f"{text}: in two places"
            self.live.add(slot)
            assert order[PREVIOUS] == last, f"{text}: previous is {order[PREVIOUS]}, not {last}"
            # First come, first served: places strictly increase, and have been given out.
            older = self.places[last] if last else -1
            assert older < self.places[slot] < self.block[PLACE], f"{text}: place"
            # It belongs here, shows something, and came in through the checks of a message.
            assert order[KEY] == key, f"{text}: on another level"
            assert order[SECOND_AND_SIDE] & 1 == side, f"{text}: on the other side"
            assert order[OWNER] >= 0, f"{text}: owner"
            shown += order[LOTS]
            behind = self._check_second(text, order)
            assert 0 < order[LOTS] <= MAX_LOTS - behind, f"{text}: lots"
            hidden += behind
            last = slot
        assert last, f"{where}: no orders"
        assert self.orders[last][NEXT] == 0, (
            f"{where}: the queue leads to slot {self.orders[last][NEXT]}"
        )
        assert ends >> 32 == last, f"{where}: tail {ends >> 32}, last order {last}"
        # The level's lots are those that its orders display.
        assert lots == shown, f"{where}: level has {lots} lots, its orders {shown}"
        return hidden

    def _check_second(self, text: str, order: list[int]) -> int:
        """Check the second record of an iceberg; returns its hidden lots, 0 for other orders."""
        second = order[SECOND_AND_SIDE] >> 1
        if second == 0:
            return 0
        # The record has a slot of its own.
        assert 0 < second < self.used, f"{text}: second record outside"
        assert second not in self.seconds, f"{text}: second record of two"
        self.seconds.add(second)
        hidden, slice_lots = self.orders[second][HIDDEN_LOTS], self.orders[second][SLICE_LOTS]
        # An iceberg displays no more than a slice, and needs no more slices than are allowed.
        assert hidden >= 0, f"{text}: hidden {hidden}"
        assert 0 < order[LOTS] <= slice_lots, f"{text}: slice {slice_lots}"
        assert order[LOTS] + hidden <= slice_lots * MAX_TRANCHES, f"{text}: too many slices"
        return hidden

    def _check_slots(self) -> None:
        free = list(self.queue(int(self.block[FREE])))
        end = self.orders[free[-1]][NEXT] if free else int(self.block[FREE])
        # No slot leaks and none has two uses: live + second records + free + nobody = handed out.
        assert end == 0, f"the free list leads to slot {end}"
        uses = [*self.live, *self.seconds, *free]
        assert len(set(uses)) == len(uses), "a slot has two uses"
        assert len(uses) + 1 == self.used, (
            f"{self.used} slots handed out, {len(uses) + 1} accounted for"
        )
        # The slices that icebergs can still show bound the fills of one message.
        slices = sum(
            -(-self.orders[second][HIDDEN_LOTS] // self.orders[second][SLICE_LOTS])
            for second in self.seconds
        )
        assert self.block[HIDDEN_SLICES] == slices, "hidden slices"

    def _check_handles(self) -> None:
        for slot, handle in enumerate(self.ids):
            # A handle ends in its slot while the order rests; nobody's handle ends in 0.
            expected = slot if slot in self.live else 0
            assert handle >= 0, f"handle {handle} in slot {slot}"
            assert handle & 0xFFFFFFFF == expected, f"handle {handle} in slot {slot}"

    def _check_ids(self) -> None:
        block = self.block
        table = block[block[IDS] : block[IDS] + (1 << (64 - int(block[SHIFT])))].tolist()
        entries = {entry & 0xFFFFFFFF: position for position, entry in enumerate(table) if entry}
        # Every resting order has one entry, and nobody else has any.
        assert len(entries) == sum(map(bool, table)), "two entries for one slot"
        assert entries.keys() == self.live, "entries of the id table are not the resting orders"
        assert len({self.ids[slot] for slot in self.live}) == len(self.live), "an id rests twice"
        for slot, position in entries.items():
            order_id = self.ids[slot]
            product = order_id * _GOLDEN & (2**64 - 1)
            assert order_id >= 1, f"id {order_id} of slot {slot}"
            assert table[position] >> 32 & 0xFFFFFFFF == product >> 32, f"tag of id {order_id}"
            # A probe from its home meets no gap before it.
            home = product >> int(block[SHIFT])
            probed = range(home, position if position >= home else position + len(table))
            assert all(table[step % len(table)] for step in probed), (
                f"id {order_id} cannot be found"
            )


def _packed(marks: np.ndarray) -> np.ndarray:
    """Booleans as bits of int64 words, the first the lowest."""
    padded = np.zeros(-(-len(marks) // 64) * 64, np.uint8)
    padded[: len(marks)] = marks
    return np.packbits(padded, bitorder="little").view("<i8")
