"""The matching engine: price-time priority, integers only, no clock, no randomness, no torch.

`Book` is one book for people, `Books` many that step together, `ReferenceBook` the definition of
right, slow. Importing this package loads no numba; asking it for one of those does.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtsim.engine.base import OrderBook, Outcome
    from mtsim.engine.batch import Books
    from mtsim.engine.book import Book
    from mtsim.engine.messages import MESSAGE_DTYPE, Kind, Reject, SelfTrade, TimeInForce
    from mtsim.engine.reference import ReferenceBook
    from mtsim.engine.units import Side

_MODULE_OF = {
    "Book": "book",
    "Books": "batch",
    "Kind": "messages",
    "MESSAGE_DTYPE": "messages",
    "OrderBook": "base",
    "Outcome": "base",
    "ReferenceBook": "reference",
    "Reject": "messages",
    "SelfTrade": "messages",
    "Side": "units",
    "TimeInForce": "messages",
}

__all__ = [
    "MESSAGE_DTYPE",
    "Book",
    "Books",
    "Kind",
    "OrderBook",
    "Outcome",
    "ReferenceBook",
    "Reject",
    "SelfTrade",
    "Side",
    "TimeInForce",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
