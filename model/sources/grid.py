"""The grid of an instrument: one tick and one lot, said by the user or found in the file's numbers.

Prices and sizes arrive as exact decimals, as text or as integers of their eighth digit
(`UNITS` to one), and leave as whole steps, or not at all: nothing is rounded. Knows no format.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from mtsim.errors import DataError, UsageError
from mtsim.model.sources.base import Options

DIGITS = 8
UNITS = 10**DIGITS

# A level or an order of more lots is taken for a mistake in the lot size: it would be cut into tens
# of thousands of the engine's orders. (Levels of 150,000 BTC do stand at a cent, in lots of 1e-8.)
MAX_LOTS_IN_ALL = 2**45

# No number in the files is more steps than this.
MOST = 2**62

_DECIMAL = re.compile(r"([0-9]{1,18})(?:\.([0-9]*))?")
_KNOWN_TEXTS = 1 << 20


def units(text: str) -> int:
    """A decimal without sign or exponent, in units of its eighth digit. ValueError for others."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is no number in quotes")
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no decimal number")
    fraction = (match[2] or "").rstrip("0")
    if len(fraction) > DIGITS:
        raise ValueError(f"{text!r} has more than {DIGITS} digits after the point")
    return int(match[1]) * UNITS + int(fraction.ljust(DIGITS, "0"))


def step_of(divisor: int) -> int:
    """The step, in units, of a grid whose numbers have this greatest common divisor.

    It is the divisor itself where that looks like a step (1, 2, 2.5 or 5 times a power of ten),
    and else the largest power of ten that divides it: a short file in which every size happens to
    be a multiple of three has no lot of three.
    """
    if divisor == 0:
        return UNITS
    power = 1
    while divisor % (power * 10) == 0:
        power *= 10
    return divisor if divisor // power in (1, 2, 5, 25) else power


class Divisor:
    """The greatest common divisor of numbers that arrive as text."""

    def __init__(self) -> None:
        self.value = 0
        self._seen: set[str] = set()

    def take(self, texts: Iterable[str]) -> None:
        """Count some numbers in. ValueError for text that is none."""
        new = set(texts).difference(self._seen)
        self.value = math.gcd(self.value, *map(units, new))
        if len(self._seen) >= _KNOWN_TEXTS:
            self._seen.clear()
        self._seen |= new


class Grid(NamedTuple):
    """One tick and one lot, in units, and what had to be assumed to know them."""

    tick_step: int
    lot_step: int
    assumptions: tuple[str, ...]


def grid_of(options: Options, price_divisor: int, size_divisor: int) -> Grid:
    """The grid that the user gives, or else that of numbers with these common divisors."""
    assumptions = []
    tick_step, lot_step = step_of(price_divisor), step_of(size_divisor)
    if options.tick_size is not None:
        tick_step = as_step(options.tick_size, "tick size")
    else:
        assumptions.append(
            f"The tick is {as_decimal(tick_step)}, found as the common divisor of all prices."
        )
    if options.lot_size is not None:
        lot_step = as_step(options.lot_size, "lot size")
    else:
        assumptions.append(
            f"The lot is {as_decimal(lot_step)}, found as the common divisor of all sizes."
        )
    return Grid(tick_step, lot_step, tuple(assumptions))


def common_divisor(values: np.ndarray, divisor: int = 0) -> int:
    """The greatest common divisor of whole numbers and of `divisor`."""
    return math.gcd(divisor, int(np.gcd.reduce(values, initial=0))) if len(values) else divisor


def as_decimal(step: int) -> Decimal:
    """A step in units as the exact decimal of a price or size."""
    # Written out, for normalize alone turns ten into 1E+1.
    return Decimal(f"{Decimal(step).scaleb(-DIGITS).normalize():f}")


def as_step(size: Decimal, name: str) -> int:
    """A tick or lot size that a user gave, in units. UsageError where it has none."""
    scaled = size * UNITS
    if not scaled.is_finite() or scaled < 1 or scaled != scaled.to_integral_value():
        raise UsageError(
            f"{name} {size}: a positive decimal with at most {DIGITS} digits after the point is"
            " needed"
        )
    return int(scaled)


class Steps(dict[str, int]):
    """Numbers as text to whole steps. Remembers what it has seen; a KeyError never happens.

    ValueError for text that is no number, is off the grid, or is more than `most` steps.
    """

    def __init__(self, step: int, most: int):
        super().__init__()
        self._step = step
        self._most = most

    def __missing__(self, text: str) -> int:
        steps, rest = divmod(units(text), self._step)
        if rest:
            raise ValueError(f"{text} is no multiple of {as_decimal(self._step)}")
        if steps > self._most:
            raise ValueError(f"{text} is more than {self._most} times {as_decimal(self._step)}")
        if len(self) >= _KNOWN_TEXTS:
            self.clear()
        self[text] = steps
        return steps


def tick_steps(tick_step: int) -> Steps:
    """Prices as text to ticks, also such as the engine does not have (`MAX_TICK`)."""
    return Steps(tick_step, MOST)


def lot_steps(lot_step: int) -> Steps:
    """Sizes as text to lots."""
    return Steps(lot_step, MAX_LOTS_IN_ALL)


def whole_steps(
    values: np.ndarray, step: int, most: int, file: str, rows: np.ndarray, name: str
) -> np.ndarray:
    """A column in units as whole steps from 0 to `most`. DataError naming the first of `rows`
    that has no such number."""
    steps, rest = np.divmod(values, step)
    bad = (rest != 0) | (steps < 0) | (steps > most)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            file,
            int(rows[row]),
            f"{name} {as_decimal(int(values[row]))} is not one of 0 to {most} times"
            f" {as_decimal(step)}",
            "Say the tick and lot size if the file was read with others",
        )
    return steps


def units_of_floats(texts: np.ndarray, file: str, first_row: int) -> np.ndarray:
    """Numbers that were printed from floating point, in units, as the decimals they came from.

    A decimal of eight digits survives that up to the last place of a float (0.901 comes back as
    0.9009999999999999). DataError for a number further from every such decimal.
    """
    try:
        floats = texts.astype(np.float64)
    except ValueError as error:
        raise DataError(file, None, f"a size in rows from {first_row} on: {error}") from None
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = floats * UNITS
        values = np.rint(scaled)
        # A few units in the last place, of the number and of what it is a sum of.
        bad = ~(np.abs(scaled - values) <= 1e-6 + 1e-14 * scaled) | ~(scaled < 2.0**53)
    bad |= ~(scaled >= 0)
    if bad.any():
        row = int(np.argmax(bad))
        what = f"size {texts[row]} is not near a decimal of {DIGITS} digits"
        raise DataError(file, first_row + row, what)
    return values.astype(np.int64)
