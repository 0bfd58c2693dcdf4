"""The kinds of value a scenario is made of: durations, moments, decimals, random numbers.

Each kind is an annotated type that parses what a YAML file says into what the code uses, refuses
what it cannot mean, and writes it back the same. Knows no section of the scenario.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from statistics import NormalDist
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, GetPydanticSchema, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError, core_schema

NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
}
MAX_NS = 2**62

_NUMBER = r"(?P<number>\d+(?:\.\d+)?)"
_DURATION = re.compile(rf"{_NUMBER}\s*(?P<unit>[a-zA-Zµμ]+)")
_EVENTS = re.compile(r"(?P<number>\d+)\s*ev")
_CLOCK = re.compile(r"(\d{2}):(\d{2})(?::(\d{2}))?")
# Each quantity a shock can wait for, with the unit its threshold must carry.
CONDITIONS = {"spread": "t", "mid_move": "t", "bid_depth": "l", "ask_depth": "l"}
_CONDITION = re.compile(rf"(?P<quantity>[a-z_]+)\s*(?P<sign>[<>])\s*{_NUMBER}\s*(?P<unit>[a-z]*)")


class Ns(int):
    """An integer that is already nanoseconds: how a drawn duration passes the parser of text."""


@dataclass(frozen=True, slots=True)
class Random:
    """A number to be drawn: a distribution and its arguments, and the path that keys the draw."""

    kind: Literal["uniform", "lognormal", "choice"]
    args: tuple
    path: str

    def __str__(self) -> str:
        return f"{self.kind} [{', '.join(map(str, self.args))}]"


def parse_duration_ns(text: object) -> int:
    """Nanoseconds of `600s`, `200us`, `1.5min`; the unit is part of the value."""
    if isinstance(text, Ns):
        return int(text)
    units = ", ".join(NANOSECONDS)
    if isinstance(text, int | float) and not isinstance(text, bool):
        raise _error("a duration needs a unit ({units}), got {got}", units=units, got=text)
    match = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise _error("must be a duration such as 600s or 200us, got {got}", got=repr(text))
    unit = match["unit"].replace("µ", "u").replace("μ", "u")
    if unit not in NANOSECONDS:
        message = "unknown unit {unit} in the duration {got}; the units are {units}"
        raise _error(message, unit=repr(unit), got=repr(text), units=units)
    exact = Decimal(match["number"]) * NANOSECONDS[unit]
    if exact != int(exact):
        raise _error("a duration is a whole number of nanoseconds, got {got}", got=repr(text))
    if exact > MAX_NS:
        raise _error("a duration is at most 2^62 ns (146 years), got {got}", got=repr(text))
    return int(exact)


def format_duration(time_ns: int) -> str:
    """The text that parses back, in the largest unit up to seconds that divides it."""
    for unit in ("s", "ms", "us"):
        if time_ns % NANOSECONDS[unit] == 0:
            return f"{time_ns // NANOSECONDS[unit]}{unit}"
    return f"{time_ns}ns"


@dataclass(frozen=True, slots=True)
class When:
    """The moment something starts: after a time, after a number of events, or on a condition."""

    kind: Literal["time", "events", "condition"]
    value: int
    quantity: str = ""
    sign: str = ""

    def __str__(self) -> str:
        if self.kind == "time":
            return format_duration(self.value)
        if self.kind == "events":
            return f"{self.value}ev"
        return f"{self.quantity}{self.sign}{self.value}{CONDITIONS[self.quantity]}"


def parse_when(text: object) -> When:
    """A `When` from `600s`, `5000ev` or `spread>4t`."""
    if isinstance(text, When):
        return text
    if isinstance(text, Ns):
        return When("time", int(text))
    if isinstance(text, str):
        clean = text.strip()
        if match := _EVENTS.fullmatch(clean):
            if int(match["number"]) > MAX_NS:
                raise _error("at most 2^62 events, got {got}", got=repr(text))
            return When("events", int(match["number"]))
        if match := _CONDITION.fullmatch(clean):
            return _condition(match, text)
        if _DURATION.fullmatch(clean):
            return When("time", parse_duration_ns(clean))
    message = (
        "must be a time (600s), a number of events (5000ev) or a condition (spread>4t), got {got}"
    )
    raise _error(message, got=repr(text))


def _condition(match: re.Match, text: str) -> When:
    quantity, unit = match["quantity"], match["unit"]
    if quantity not in CONDITIONS:
        known = ", ".join(CONDITIONS)
        message = "unknown quantity {quantity} in the condition {got}; known are {known}"
        raise _error(message, quantity=repr(quantity), got=repr(text), known=known)
    if unit != CONDITIONS[quantity] or "." in match["number"]:
        want = f"{quantity}{match['sign']}4{CONDITIONS[quantity]}"
        message = (
            "the threshold of {quantity} is a whole number with its unit, as in {want}, got {got}"
        )
        raise _error(message, quantity=quantity, want=want, got=repr(text))
    return When("condition", int(match["number"]), quantity, match["sign"])


def parse_clock_ns(text: object) -> int:
    """Nanoseconds after midnight of `09:30` or `09:30:00`."""
    match = _CLOCK.fullmatch(text) if isinstance(text, str) else None
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (99, 0, 0)
    if hours > 23 or minutes > 59 or seconds > 59:
        raise _error("must be a time of day such as '09:30:00', got {got}", got=repr(text))
    return ((hours * 60 + minutes) * 60 + seconds) * NANOSECONDS["s"]


def format_clock(time_ns: int) -> str:
    seconds = time_ns // NANOSECONDS["s"]
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def parse_decimal(value: object) -> Decimal:
    """An exact decimal: 0.01 as written is one hundredth, not its binary neighbour."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _error("must be a number, got {got}", got=repr(value))
    return Decimal(repr(value))


def _error(message: str, **context: Any) -> PydanticCustomError:
    return PydanticCustomError("quantity", message, context)  # pyright: ignore[reportArgumentType]


def _text_schema(description: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "format": description, "examples": list(examples)})


@dataclass(frozen=True, slots=True)
class Drawn:
    """Marks a type whose value may be drawn at random, and as what."""

    kind: Literal["int", "float", "duration"]


Int = Annotated[int, Drawn("int")]
Float = Annotated[float, Drawn("float")]
Positive = Annotated[float, Field(gt=0.0, le=1e12), Drawn("float")]
NonNegative = Annotated[float, Field(ge=0.0, le=1e12), Drawn("float")]
Fraction = Annotated[float, Field(ge=0.0, le=1.0), Drawn("float")]
Count = Annotated[int, Field(ge=1, le=10**9), Drawn("int")]
Lots = Annotated[int, Field(ge=1, le=2**30, json_schema_extra={"unit": "lots"}), Drawn("int")]
Ticks = Annotated[int, Field(ge=0, le=2**30, json_schema_extra={"unit": "ticks"}), Drawn("int")]
Bp = Annotated[float, Field(ge=-1e4, le=1e4, json_schema_extra={"unit": "bp"}), Drawn("float")]
DurationNs = Annotated[
    int,
    BeforeValidator(parse_duration_ns),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    _text_schema("duration", "600s", "200us"),
    Drawn("duration"),
]
ClockNs = Annotated[
    int,
    BeforeValidator(parse_clock_ns),
    PlainSerializer(format_clock, return_type=str, when_used="json"),
    _text_schema("time of day", "09:30:00"),
]
Moment = Annotated[
    When,
    GetPydanticSchema(
        lambda _type, _handler: core_schema.no_info_plain_validator_function(parse_when)
    ),
    PlainSerializer(str, return_type=str, when_used="json"),
    _text_schema("moment", "600s", "5000ev", "spread>4t"),
    Drawn("duration"),
]
ExactDecimal = Annotated[
    Decimal,
    BeforeValidator(parse_decimal),
    PlainSerializer(float, return_type=float, when_used="json"),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0}),
]


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution that stays one: whoever uses it draws many values from it."""

    kind: Literal["constant", "uniform", "lognormal", "choice"]
    args: tuple[float, ...]

    def quantile(self, unit: float) -> float:
        """The value at `unit` in [0, 1) of the distribution's cumulative law."""
        if self.kind == "constant":
            return self.args[0]
        return float(draw(Random(self.kind, self.args, ""), "float", unit))


def parse_distribution(value: object) -> Distribution:
    if isinstance(value, Distribution):
        return value
    if isinstance(value, Random):
        return Distribution(value.kind, tuple(float(arg) for arg in _arguments(value, "float")))
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        message = (
            "must be a number, {uniform: [a, b]}, {lognormal: [median, sigma]} or {choice: [...]}"
        )
        raise _error(message)
    return Distribution("constant", (float(value),))


def _write_distribution(value: Distribution) -> Any:
    if value.kind == "constant":
        return value.args[0]
    return {value.kind: list(value.args)}


Population = Annotated[
    Distribution,
    GetPydanticSchema(
        lambda _type, _handler: core_schema.no_info_plain_validator_function(parse_distribution)
    ),
    PlainSerializer(_write_distribution, when_used="json"),
    WithJsonSchema({"type": "number", "format": "population"}),
]


def draw(random: Random, kind: str, unit: float) -> Any:
    """The value of `random` at `unit` in [0, 1), of the kind its field has."""
    args = _arguments(random, kind)
    if random.kind == "choice":
        return args[min(int(unit * len(args)), len(args) - 1)]
    if random.kind == "uniform":
        low, high = args
        if kind == "float":
            return min(low + unit * (high - low), high)
        value = low + min(int(unit * (high - low + 1)), high - low)
    else:
        median, sigma = args
        # Half a step inside: the quantile at 0 is minus infinity.
        value = median * math.exp(sigma * NormalDist().inv_cdf(max(unit, 2.0**-54)))
        if kind == "float":
            return value
        value = round(value)
    return Ns(value) if kind == "duration" else value


def _arguments(random: Random, kind: str) -> tuple:
    """The distribution's arguments in the field's own kind, checked."""
    args = random.args
    if random.kind == "choice":
        if not args:
            raise _error("a choice needs at least one value")
        return args if kind != "duration" else tuple(_number(arg, kind) for arg in args)
    if len(args) != 2:
        names = "[low, high]" if random.kind == "uniform" else "[median, sigma]"
        raise _error("{kind} takes two numbers, {names}", kind=random.kind, names=names)
    if random.kind == "uniform":
        low, high = (_number(arg, kind) for arg in args)
        if low > high:
            raise _error(
                "the low end of uniform is above its high end: {low} > {high}", low=low, high=high
            )
        return low, high
    median, sigma = _number(args[0], kind, whole=False), _number(args[1], "float")
    if median <= 0 or sigma < 0:
        raise _error(
            "lognormal needs a median above 0 and a sigma of at least 0, got {got}", got=str(args)
        )
    return median, sigma


def _number(arg: object, kind: str, *, whole: bool = True) -> Any:
    if kind == "duration":
        return Ns(parse_duration_ns(arg))
    if isinstance(arg, bool) or not isinstance(arg, int | float) or not math.isfinite(arg):
        raise _error("a distribution is made of numbers, got {got}", got=repr(arg))
    if kind == "int" and whole and not isinstance(arg, int):
        raise _error(
            "this value is a whole number, so are the ends of its distribution: {got}", got=arg
        )
    return arg
