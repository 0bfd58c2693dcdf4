"""What is found in LOBSTER rows: left out, repaired or broken, each with its name and its code.

How often, and where, is counted elsewhere.
"""

from __future__ import annotations

DROPPED = ("hidden_execution", "cross", "halt_marker", "unknown_order")
REPAIRED = (
    "level_entered",  # lots of a price that came into the window
    "level_grew",  # lots that had come to a price while it was out of the window
    "level_shrank",  # lots that had left it meanwhile
    "level_gone",  # orders of a price that had become empty meanwhile
    "price_passed",  # orders that a later message shows to be gone: it passed their price
    "maker_unseen",  # an order nobody announced, put in place to be executed
    "queue_order",  # orders sent behind the one that the feed executes before them
    "other_order",  # lots taken from another order of the price than the unknown one that is named
    "order_split",  # aggressive orders that had to be cut in two
    "executed_in_halt",  # orders of a halt's cross, which leave as cancels
)
REASONS = DROPPED + REPAIRED
HIDDEN, CROSS_PRINT, HALT_MARKER, UNKNOWN = range(4)
(
    ENTERED,
    GREW,
    SHRANK,
    GONE,
    PASSED,
    UNSEEN,
    QUEUE,
    OTHER,
    SPLIT,
    IN_HALT,
) = range(4, len(REASONS))

BROKEN = {
    1: "the book row does not follow from the row before it and the message",
    2: "an execution must be at the best price",
    3: "order id is added twice",
    4: "more lots leave the price than the row before it shows there",
    5: "the best bid must be below the best ask",
    6: "trading resumes with a crossed book",
}
NOT_FOLLOWING, NOT_BEST, TWICE, TOO_MANY, CROSSED, RESUMES_CROSSED = range(1, 7)
