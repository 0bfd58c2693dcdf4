"""The values of a mapping, as they stand in YAML: codes, times of day, formats, steps.

Knows how one value is written and what it becomes; knows no key.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator

TimeFormat = Literal[
    "epoch_ns",
    "epoch_us",
    "epoch_ms",
    "epoch_s",
    "midnight_ns",
    "midnight_us",
    "midnight_ms",
    "midnight_s",
    "HHMMSS",
    "HHMMSScc",
    "HHMMSSmmm",
    "HHMMSSuuuuuu",
    "iso",
]
"""How a time is written: a number since the epoch or since midnight (seconds may have decimals),
digits of a clock (cc: hundredths of a second), or text as in 2024-01-31 09:30:00.5."""

_CLOCK = re.compile(r"([01]\d|2[0-4]):([0-5]\d)(?::([0-5]\d)(\.\d{1,9})?)?")


def _codes(value: Any) -> Any:
    """One code or a list of them, as the text that stands in the file."""
    values = value if isinstance(value, tuple) else (value,)
    if any(isinstance(item, bool) for item in values):
        # Whoever wrote the file may have written True, true or TRUE.
        spelled = [
            form(str(item)) if isinstance(item, bool) else item
            for item in values
            for form in ((str, str.lower, str.upper) if isinstance(item, bool) else (str,))
        ]
        return tuple(str(item) for item in spelled)
    if any(isinstance(item, dict) or item is None for item in values):
        raise ValueError("must be a code, or a list of codes")
    return tuple(str(item) for item in values)


def _decimal(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a number")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"must be a number, got {value!r}") from None
    if not number.is_finite() or number <= 0:
        raise ValueError(f"must be above 0, got {value}")
    return number


def _clock(value: Any) -> Any:
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f'must be a time of day as in "09:30:00", in quotes, got {value!r}')
    hours, minutes, seconds, fraction = match.groups()
    whole = int(hours) * 3600 + int(minutes) * 60 + int(seconds or 0)
    nanoseconds = whole * 10**9 + int(Decimal(fraction or 0) * 10**9)
    if nanoseconds > 86_400 * 10**9:
        raise ValueError(f"must be at most 24:00, got {value!r}")
    return nanoseconds


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"unknown time zone {value!r}, as in Asia/Shanghai") from None
    return value


def _date(value: Any) -> Any:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"must be a date as in 2024-01-31, got {value!r}") from None


def _stepped(value: str) -> str:
    if "{n}" not in value:
        raise ValueError(f"must have {{n}} where the number of the level goes, got {value!r}")
    return value


Codes = Annotated[tuple[str, ...], BeforeValidator(_codes)]
Positive = Annotated[Decimal, BeforeValidator(_decimal)]
Clock = Annotated[int, BeforeValidator(_clock)]
Zone = Annotated[str, BeforeValidator(_zone)]
Day = Annotated[date, BeforeValidator(_date)]
ByLevel = Annotated[str, BeforeValidator(_stepped)]
"""The name of a column, with {n} for the number of the level."""
