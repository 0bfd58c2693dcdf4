"""The integers of a book: sides, ticks, lots and their limits. Knows no order and no matching."""

from enum import IntEnum

# A quarter of the int32 range on either side: sums and differences of two ticks cannot overflow.
MIN_TICK = -(2**30)
MAX_TICK = 2**30
MAX_LOTS = 2**30

# The touch of an empty side: `bid_tick < ask_tick` holds for every uncrossed book, empty or not.
EMPTY_BID = -(2**31)
EMPTY_ASK = 2**31 - 1


class Side(IntEnum):
    """The side of the book an order rests on, or would rest on."""

    BUY = 0
    SELL = 1

    @property
    def opposite(self) -> "Side":
        return Side(1 - self)
