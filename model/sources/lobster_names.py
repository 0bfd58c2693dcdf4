"""The two files of a LOBSTER day: how they are named, found beside each other, and headed."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

from mtsim.errors import DataError
from mtsim.model.sources.files import open_binary

NAME = re.compile(
    r"(?P<symbol>.+)_(?P<date>\d{4}-\d\d-\d\d)_(?P<start>\d+)_(?P<end>\d+)"
    r"_message_(?P<levels>\d+)(?:\..*)?"
)
_PACKINGS = ("", ".zst", ".gz", ".zip")
LEVEL_CELLS = 4  # of an order book row: ask price, ask size, bid price, bid size


def book_of(messages: Path) -> Path | None:
    """The order book file of a message file, if it lies beside it."""
    head, message, tail = messages.name.rpartition("message")
    if not message:
        return None
    packing = next((end for end in _PACKINGS[1:] if tail.endswith(end)), "")
    for end in (packing, *_PACKINGS):
        path = messages.with_name(f"{head}orderbook{tail.removesuffix(packing)}{end}")
        if path.is_file():
            return path
    return None


def n_columns(path: Path) -> int:
    with open_binary(path) as file:
        line = file.readline(1 << 20)
    if not line:
        raise DataError(str(path), 1, "the file is empty")
    return line.count(b",") + 1


def n_levels(book: Path, said: int | None) -> int:
    """How many levels an order book file has. DataError where its name says otherwise."""
    n = n_columns(book)
    if n % LEVEL_CELLS or (said is not None and n != LEVEL_CELLS * said):
        expected = "a multiple of 4" if said is None else f"{LEVEL_CELLS * said}"
        raise DataError(str(book), 1, f"{expected} columns are expected, found {n}")
    return n // LEVEL_CELLS


def day_of(path: Path, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise DataError(str(path), None, f"its name has no such date: {text}") from None
