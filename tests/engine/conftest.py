"""Every implementation of the OrderBook protocol, for the tests that must hold for each of them."""

from collections.abc import Callable

import pytest

from mtsim.engine.base import OrderBook


@pytest.fixture(params=["numba", "reference"])
def make_book(request: pytest.FixtureRequest) -> Callable[[], OrderBook]:
    """Makes an empty book with external ids. A test that uses it runs for each implementation."""
    # Imported here, so that tests of neither book do not wait for the compiler.
    if request.param == "numba":
        from mtsim.engine.book import Book

        return Book
    from mtsim.engine.reference import ReferenceBook

    return ReferenceBook
