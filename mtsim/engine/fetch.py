"""The compiled look ahead: asks for the memory that coming messages will need. Changes nothing.

A step of 1,024 books finds next to nothing in the cache. Memory is asked for in three steps, each
of which needs the line that the one before asked for: where things are looked up, the orders found
there, and the orders around those. In one book half of that is in the cache anyhow.
"""

# Numba's stubs know fewer options than its decorators, and its intrinsics are called without the
# first of the arguments that they are written with.
# pyright: reportCallIssue=false

import numpy as np

from mtsim.engine.ladder import GOLDEN, U, cold, hot, prefetch
from mtsim.engine.layout import (
    FREE,
    HEADER_WORDS,
    IDS,
    LADDER,
    MASK,
    MESSAGE_WORDS,
    NEXT,
    ORDER_WORDS,
    ORDERS,
    PLACES,
    PREVIOUS,
    SHIFT,
    SPAN_BASE,
    SPAN_COUNT,
    SPAN_ROW,
)

# How many messages of a book, and how many books, ahead of their turn memory is asked for.
FAR, NEAR, NEXT_BUT_ONE = 8, 4, 2
HEADER_AHEAD, PLACES_AHEAD, ORDERS_AHEAD = 8, 5, 2


@hot
def fetch_entry(a64, o, messages, word):
    """Ask for the entry of the id of a message."""
    product = U(messages[U(word + 3)]) * GOLDEN
    prefetch(a64, U(o + a64[U(o + IDS)] + np.int64(product >> U(a64[U(o + SHIFT)]))))


@hot
def fetch_order(a32, a64, o, r, messages, word):
    """Ask for the order that a message names."""
    prefetch(a32, U(order_named(a64, o, r, messages, word)))


@hot
def fetch_tail(a32, a64, o, r, messages, word):
    """Ask for the last order of the level that an order would join."""
    tail = np.int64(a32[U(level_named(a64, o, messages, word) * 2 + 1)])
    prefetch(a32, U(r + tail * ORDER_WORDS))


@hot
def fetch_neighbours(a32, a64, o, r, messages, word):
    """Ask for the orders around the one that a message names."""
    order = order_named(a64, o, r, messages, word)
    prefetch(a32, U(r + np.int64(a32[U(order + NEXT)]) * ORDER_WORDS))
    prefetch(a32, U(r + np.int64(a32[U(order + PREVIOUS)]) * ORDER_WORDS))


@hot
def order_named(a64, o, r, messages, word):
    """The order at the home of a message's id: almost always the one it names, if that rests."""
    product = U(messages[U(word + 3)]) * GOLDEN
    entry = a64[U(o + a64[U(o + IDS)] + np.int64(product >> U(a64[U(o + SHIFT)])))]
    return r + (entry & 0xFFFFFFFF) * ORDER_WORDS


@hot
def level_named(a64, o, messages, word):
    """The level at the price of a message, if it lies in the window."""
    side = (messages[U(word)] >> 8) & 1
    tick = messages[U(word + 1)] >> 32
    key = tick if side == 0 else -tick
    mask = a64[U(o + MASK)]
    return o + a64[U(o + LADDER)] + (side * (mask + 1) + (key & mask)) * 2


@cold
def fetch_books(a32, a64, spans, messages, at):
    """Ask for a header HEADER_AHEAD spans from `at`, and what nearer books need to begin."""
    for line in range(HEADER_WORDS // 8):
        prefetch(a64, U(spans[at + HEADER_AHEAD, SPAN_BASE] + 8 * line))
    o = spans[at + PLACES_AHEAD, SPAN_BASE]
    r = (o + a64[U(o + ORDERS)]) * 2
    prefetch(a32, U(r + a64[U(o + FREE)] * ORDER_WORDS))
    prefetch(a64, U(o + a64[U(o + PLACES)] + a64[U(o + FREE)]))
    first = spans[at + PLACES_AHEAD, SPAN_ROW]
    for row in range(first, first + min(spans[at + PLACES_AHEAD, SPAN_COUNT], FAR)):
        fetch_entry(a64, o, messages, row * MESSAGE_WORDS)
        prefetch(a64, U(level_named(a64, o, messages, row * MESSAGE_WORDS)))
    o = spans[at + ORDERS_AHEAD, SPAN_BASE]
    r = (o + a64[U(o + ORDERS)]) * 2
    first = spans[at + ORDERS_AHEAD, SPAN_ROW]
    for row in range(first, first + min(spans[at + ORDERS_AHEAD, SPAN_COUNT], FAR)):
        fetch_order(a32, a64, o, r, messages, row * MESSAGE_WORDS)
        fetch_tail(a32, a64, o, r, messages, row * MESSAGE_WORDS)
