"""CSV files that hold nothing but numbers, read by compiled code, several times as fast as `files`.

Knows digits, commas and lines. No quotes, no header, no exponents: what is not a plain decimal is
an error with its row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numba import njit

from mtsim.errors import DataError
from mtsim.model.sources.files import open_binary

_BLOCK_BYTES = 4 << 20
_MAX_DIGITS = 18

SKIP = -1
"""The digits of a column that is not a number, or not needed: it may hold anything but a comma."""

_RULES = (
    "",
    "the row has fewer fields than {n}",
    "the row has more fields than {n}",
    "column {column} is no plain number",
    "column {column} has more digits than are kept",
    "the row has no end",
)
_FEWER, _MORE, _NO_NUMBER, _DIGITS, _ENDLESS = range(1, len(_RULES))


def read_digits(path: Path | str, digits: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of rows: the number of the first row (from 1), and int64 [rows, columns].

    `digits` says how many digits after the point each column keeps (1.25 with 4 is 12,500), or
    SKIP, which gives 0. A row with another number of fields, and one whose number has more digits
    after the point, or more than 18 in all, is a DataError.
    """
    kept = np.array(digits, np.int64)
    # The shortest field of a number is one digit, of others nothing; each has a separator.
    shortest = int(np.where(kept == SKIP, 1, 2).sum())
    cells = np.zeros((_BLOCK_BYTES // shortest + 1, len(kept)), np.int64)
    block = bytearray(_BLOCK_BYTES)
    room, text = memoryview(block), np.frombuffer(block, np.uint8)
    filled, first = 0, 1
    with open_binary(path) as file:
        while True:
            got = file.readinto(room[filled:])  # pyright: ignore[reportAttributeAccessIssue]
            filled += got
            n, used, rule, column = _parse(text, filled, got == 0, kept, cells)
            if rule == 0 and n == 0 and filled == len(text):
                rule = _ENDLESS
            if rule:
                said = _RULES[rule].format(n=len(kept), column=column + 1)
                raise DataError(str(path), first + n, said)
            if n:
                yield first, cells[:n].copy()
            first += n
            if got == 0:
                break
            text[: filled - used] = text[used:filled].copy()
            filled -= used
    if first == 1:
        raise DataError(str(path), 1, "the file is empty")


@njit(cache=True, nogil=True)
def _parse(text, filled, ended, digits, cells):
    """Parse the whole rows in `text[:filled]`, and the last one without an end if it has `ended`.

    Returns (rows, bytes used, rule, column): rule 0, or what the row after those breaks.
    """
    n_columns = len(digits)
    n = used = at = 0
    while at < filled:
        for column in range(n_columns):
            keep = digits[column]
            value = np.int64(0)
            if keep == SKIP:
                while at < filled and text[at] != 44 and text[at] != 10:
                    at += 1
            else:
                negative = at < filled and text[at] == 45
                at += negative
                first_digit = at
                while at < filled and np.uint8(text[at] - 48) < 10:
                    value = value * 10 + (text[at] - 48)
                    at += 1
                n_digits = at - first_digit
                if at < filled and text[at] == 46 and keep > 0:
                    at += 1
                    point = at
                    while at < filled and np.uint8(text[at] - 48) < 10:
                        value = value * 10 + (text[at] - 48)
                        at += 1
                    if at == point:
                        n_digits = 0
                    n_digits += at - point
                    keep -= at - point
                if at < filled and text[at] == 13:
                    at += 1
                separated = at < filled and (text[at] == 44 or text[at] == 10)
                if at < filled and not separated:
                    return n, used, _NO_NUMBER, column
                if separated or ended:
                    if n_digits == 0:
                        return n, used, _NO_NUMBER, column
                    if keep < 0 or n_digits + keep > _MAX_DIGITS:
                        return n, used, _DIGITS, column
                    for _ in range(keep):
                        value *= 10
                    if negative:
                        value = -value
            if at == filled and not ended:
                return n, used, 0, 0
            last = column == n_columns - 1
            line_ends = at == filled or text[at] == 10
            if line_ends and not last:
                return n, used, _FEWER, column
            if last and not line_ends:
                return n, used, _MORE, column
            cells[n, column] = value
            at += 1
        n += 1
        used = min(at, filled)
    return n, used, 0, 0
