"""CSV files that hold nothing but numbers, read by compiled code, several times as fast as `files`.

Knows digits, commas and lines. No quotes, no header, no exponents: what is not a plain decimal is
an error with its row. Digits are found and added up eight at a time, in a register.
"""

# Numba's stubs know fewer options than its decorators, and its intrinsics are called without the
# first of the arguments that they are written with.
# pyright: reportCallIssue=false, reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from mtsim.engine.ladder import hot
from mtsim.errors import DataError
from mtsim.model.sources.files import open_binary

BLOCK_ROWS = 1 << 15
_BLOCK_BYTES = 1 << 18
_MAX_DIGITS = 18
_WORD_BYTES = 8

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


def read_digits(
    path: Path | str, digits: Sequence[int], *, alike: bool = False
) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of BLOCK_ROWS rows, the last one shorter: the number of the first row (from 1), and
    int64 [rows, columns], which the next block is written over.

    `digits` says how many digits after the point each column keeps (1.25 with 4 is 12,500), or
    SKIP, which gives 0. A row with another number of fields, and one whose number has more digits
    after the point, or more than 18 in all, is a DataError. `alike` says that rows have much in
    common with the row before: such rows are read twice as fast with it, others slower.
    """
    kept, ends = np.array(digits, np.int64), np.zeros(len(digits), np.int64)
    cells = np.zeros((BLOCK_ROWS, len(kept)), np.int64)
    # Behind the text is a byte that is no digit, and room to look at a word that begins there.
    buffer = bytearray(_BLOCK_BYTES + _WORD_BYTES)
    room, text = memoryview(buffer)[:_BLOCK_BYTES], np.frombuffer(buffer, np.uint8)
    used = filled = have = 0
    first, ended = 1, False
    with open_binary(path) as file:
        while True:
            n, used, rule, column = _parse(
                text, used, filled, ended, kept, alike, ends, cells[have:]
            )
            have += n
            if rule == 0 and used == 0 and filled == _BLOCK_BYTES:
                rule = _ENDLESS
            if rule:
                said = _RULES[rule].format(n=len(kept), column=column + 1)
                raise DataError(str(path), first + have, said)
            if have == len(cells) or (ended and have):
                yield first, cells[:have]
                first += have
                have = 0
                continue
            if ended:
                break
            text[: filled - used] = text[used:filled].copy()
            used, filled = 0, filled - used
            got = file.readinto(room[filled:])  # pyright: ignore[reportAttributeAccessIssue]
            ended = got == 0
            filled += got
            buffer[filled] = 0
    if first == 1:
        raise DataError(str(path), 1, "the file is empty")


# A word of text -----------------------------------------------------------------------------------

_U = np.uint64
_ZEROS = _U(0x3030303030303030)
_TO_HIGH_BIT = _U(0x7676767676767676)  # of a byte that is more than 9
_HIGH_BITS = _U(0x8080808080808080)
_POWERS = 10 ** np.arange(_MAX_DIGITS + 1)


@intrinsic
def _word_at(typing_context, text, at):
    """The eight bytes of a uint8 array from `at` on, the first of them lowest."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.gep(data, [arguments[1]])
        word = context.get_value_type(types.uint64)
        return builder.load(builder.bitcast(place, word.as_pointer()), align=1)

    return types.uint64(text, types.int64), generate


@intrinsic
def _zeros_below(typing_context, word):
    """How many bits of a word, not 0, are below its lowest that is set."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], cgutils.true_bit)

    return types.int64(types.uint64), generate


@hot
def _digits_at(text, at):
    """The number that digits from `at` on make, and how many they are. O(digits / 8)."""
    value, n = np.int64(0), np.int64(0)
    word = _word_at(text, at) ^ _ZEROS
    others = _no_digits(word)
    while others == 0:
        value = value * 100_000_000 + _eight_digits(word)
        n += 8
        word = _word_at(text, at + n) ^ _ZEROS
        others = _no_digits(word)
    more = _zeros_below(others) >> 3
    if more > 0:
        value = value * _POWERS[_U(more)] + _eight_digits(word << _U(64 - 8 * more))
    return value, n + more


@hot
def _no_digits(word):
    """The high bit of the lowest byte that is more than 9, and bits above it; 0 if there is none.

    A sum carries only out of a byte that is more than 9, so the lowest one is always right.
    """
    return ((word + _TO_HIGH_BIT) | word) & _HIGH_BITS


@hot
def _eight_digits(word):
    """The number whose digits are a word's bytes, the first of them lowest: in pairs, in fours."""
    word = (word * _U(10 * 2**8 + 1)) >> _U(8)
    word = ((word & _U(0x00FF00FF00FF00FF)) * _U(100 * 2**16 + 1)) >> _U(16)
    word = ((word & _U(0x0000FFFF0000FFFF)) * _U(10_000 * 2**32 + 1)) >> _U(32)
    return np.int64(word)


# Rows ---------------------------------------------------------------------------------------------


@hot
def _common(text, at, earlier, most):
    """How many bytes from `at` on are those from `earlier` on, up to `most`. O(most / 8)."""
    n = 0
    while n < most:
        differ = _word_at(text, at + n) ^ _word_at(text, earlier + n)
        if differ != 0:
            n += _zeros_below(differ) >> 3
            break
        n += 8
    return min(n, most)


@njit(cache=True, nogil=True, error_model="numpy", no_rewrites=True, _nrt=False)
def _parse(text, at, filled, ended, digits, alike, ends, cells):
    """Parse whole rows of `text[at:filled]` as far as there are cells for them, the last one
    without an end if the text has `ended`.

    `text[filled]` is neither a digit nor anything else that a row may hold. With `alike`, what a
    row has in common with the one before is taken from there; `ends`, int64 [columns], is room for
    where its fields end. Returns (rows, where the next one begins, rule, column): rule 0, or what
    that row breaks.
    """
    n_columns = len(digits)
    n = before = 0
    used = start = at
    while at < filled and n < len(cells):
        before, start = start, at
        column = end_before = 0
        while column < n_columns:
            if alike and n > 0:
                most = min(filled - at, start - before - end_before)
                alike_to = end_before + _common(text, at, before + end_before, most)
                shift = at - start - end_before
                while column < n_columns and ends[_U(column)] <= alike_to:
                    cells[_U(n), _U(column)] = cells[_U(n - 1), _U(column)]
                    end_before = ends[_U(column)]
                    ends[_U(column)] = end_before + shift
                    column += 1
                at = start + end_before + shift
                if column == n_columns:
                    break
                end_before = ends[_U(column)]
            keep = digits[_U(column)]
            value = np.int64(0)
            if keep == SKIP:
                while at < filled and text[_U(at)] != 44 and text[_U(at)] != 10:
                    at += 1
            else:
                negative = text[_U(at)] == 45
                at += negative
                value, n_digits = _digits_at(text, at)
                at += n_digits
                if keep > 0 and text[_U(at)] == 46:
                    fraction, n_more = _digits_at(text, at + 1)
                    at += 1 + n_more
                    keep -= n_more
                    n_digits = n_digits + n_more if n_more > 0 else 0
                    if n_digits <= _MAX_DIGITS:
                        value = value * _POWERS[_U(n_more)] + fraction
                if text[_U(at)] == 13:
                    at += 1
                separated = text[_U(at)] == 44 or text[_U(at)] == 10
                if at < filled and not separated:
                    return n, used, _NO_NUMBER, column
                if separated or ended:
                    if n_digits == 0:
                        return n, used, _NO_NUMBER, column
                    if keep < 0 or n_digits + keep > _MAX_DIGITS:
                        return n, used, _DIGITS, column
                    if keep > 0:
                        value *= _POWERS[_U(keep)]
                    if negative:
                        value = -value
            if at == filled and not ended:
                return n, used, 0, 0
            last = column == n_columns - 1
            line_ends = at == filled or text[_U(at)] == 10
            if line_ends and not last:
                return n, used, _FEWER, column
            if last and not line_ends:
                return n, used, _MORE, column
            cells[_U(n), _U(column)] = value
            at += 1
            ends[_U(column)] = at - start
            column += 1
        n += 1
        used = min(at, filled)
    return n, used, 0, 0
