"""What the columns of an unknown file may be: their roles, guessed from names and values.

Names are hints, values decide: times do not go back, sides are two words, an action is one of a few
known words. Knows columns and words; writes nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as compute

from mtsim.errors import DataError, UsageError
from mtsim.model.sources.tables import read_blocks

_LOOKED_AT = 20_000
_MOST_CODES = 24

# A word in a name ends where its letters do.
_NAMES = {
    "time": r"\b(t|ts)\b|time|epoch|clock|\bns\b|after midnight",
    "action": r"action|event|type|\b(kind|op|msg)\b",
    "side": r"\b(bs|dir|flag)\b|side|direction|buy sell",
    "id": r"order ?(id|no|num|number|ref|reference)|\b(oid|id|ref)\b",
    "price": r"price|\bpx\b",
    "size": r"size|qty|quantity|volume|\b(vol|amount|shares|lots)\b",
    "symbol": r"symbol|stock|ticker|instrument|security|isin",
}
_DERIVED = re.compile(r"old|orig|prev|exec|last|best|mid|bid|ask|avg|vwap|spread|locate|seq|offset")
_LEVEL = re.compile(r"^(.*?)(\d+)(.*)$")
_ISO = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?")

_BUY = ("buy", "b", "bid", "1", "true", "long")
_SELL = ("sell", "s", "ask", "a", "offer", "-1", "2", "false", "short", "0")
_ITCH = {
    "A": "add",
    "F": "add",
    "E": "fill",
    "C": "fill",
    "X": "cancel",
    "D": "delete",
    "U": "replace",
    "P": "ignore",
    "Q": "ignore",
}
WORDS = {
    "add": ("a", "add", "new", "n", "limit", "insert", "created", "open", "submit", "limit_order"),
    "cancel": ("c", "cancel", "x", "reduce", "partial_cancel", "cancelled", "canceled"),
    "delete": ("d", "delete", "deleted", "remove", "removed", "order_cancelled", "done"),
    "modify": ("m", "modify", "change", "changed", "update", "amend", "modified"),
    "replace": ("u", "r", "replace", "replaced"),
    "fill": ("t", "trade", "e", "execute", "executed", "fill", "match", "f", "order_executed"),
    "market": ("market", "mkt", "market_order"),
}


@dataclass
class Column:
    """What the first rows say of a column."""

    name: str
    words: list[str]

    @cached_property
    def codes(self) -> Counter[str]:
        return Counter(self.words)

    @cached_property
    def filled(self) -> list[str]:
        return [word for word in self.words if word]

    @cached_property
    def numbers(self) -> list[Decimal] | None:
        """Its filled cells as numbers, None where one is none."""
        if not self.filled or any(not _is_number(word) for word in self.codes if word):
            return None
        return [Decimal(word) for word in self.filled]

    @cached_property
    def whole(self) -> bool:
        return self.numbers is not None and all(number == int(number) for number in self.numbers)

    def looks_like(self, role: str) -> bool:
        return re.search(_NAMES[role], _spaced(self.name)) is not None

    @property
    def derived(self) -> bool:
        return _DERIVED.search(self.name.lower()) is not None


def _spaced(name: str) -> str:
    """A name in lower case, its words apart: `orderNo` is `order no`, `bid_px_1` is `bid px 1`."""
    return " ".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", name)).lower()


def columns_of(file: str, header: Sequence[str] | None, delimiter: str) -> list[Column]:
    for block in read_blocks(file, None, header=header, delimiter=delimiter):
        head = block.table.slice(0, _LOOKED_AT)
        if not head.num_rows:
            break
        return [Column(name, _words(head.column(name))) for name in head.schema.names if name]
    raise DataError(file, 1, "the file has no rows")


def _words(column: pa.Array) -> list[str]:
    if pa.types.is_timestamp(column.type):
        return [str(value) if value is not None else "" for value in column.to_pylist()]
    text = column if pa.types.is_string(column.type) else compute.cast(column, pa.string())
    return [word or "" for word in text.to_pylist()]


def _is_number(word: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", word) is not None


def roles_of(file: str, columns: list[Column]) -> dict[str, Column]:
    """The column of each role, the most telling first, so that none serves twice."""
    tests = {
        "time": lambda column: time_format(column) is not None,
        "action": lambda column: "add" in actions_of(column).values(),
        "side": lambda column: sides_of(column) is not None,
        "id": lambda column: len(column.codes) > 0 and not _is_constant(column),
        "price": lambda column: column.numbers is not None and min(column.numbers) > 0,
        "size": lambda column: column.numbers is not None,
    }
    roles: dict[str, Column] = {}
    for role, fits in tests.items():
        free = [column for column in columns if column not in roles.values() and fits(column)]
        # Price, size and id are told by their names alone: their values look alike.
        named = [column for column in free if column.looks_like(role)]
        wanted = named if named or role in ("id", "price", "size") else free
        if not wanted:
            raise UsageError(
                f"{file}: no column can be the {role}. Columns: "
                f"{', '.join(column.name for column in columns)}. Write the mapping by hand."
            )
        roles[role] = max(wanted, key=lambda column: _fitness(role, column))
    for column in columns:
        names_it = column.looks_like("symbol") and _is_constant(column)
        better = "symbol" not in roles or roles["symbol"].derived
        if names_it and better and column not in roles.values():
            roles["symbol"] = column
        if column.looks_like("id") and re.search("old|orig|prev", column.name.lower()):
            roles.setdefault("old_id", column)
    return roles


def _fitness(role: str, column: Column) -> tuple[float, ...]:
    filled = len(column.filled) / max(1, len(column.words))
    if role == "time":
        # Of several clocks the finest, and rather one of whole numbers.
        return (column.looks_like("time"), column.whole, len(column.codes), not column.derived)
    if role == "action":
        return (
            len(set(actions_of(column).values())),
            not column.whole,
            column.looks_like("action"),
        )
    return (not column.derived, filled, -len(column.name))


def _is_constant(column: Column) -> bool:
    return len(column.codes) == 1


def time_format(column: Column) -> str | None:
    """How a column writes time, None where it is no time: times never go back."""
    if column.filled != column.words:
        return None
    if all(_ISO.match(word) for word in column.codes):
        return "iso"
    numbers = column.numbers
    if numbers is None or _is_constant(column) or min(numbers) < 0:
        return None
    if any(later < sooner for sooner, later in pairwise(numbers)):
        return None
    highest = max(numbers)
    for unit, begin in (("ns", 10**17), ("us", 10**14), ("ms", 10**11), ("s", 10**8)):
        if begin * 5 <= highest < begin * 50:
            return f"epoch_{unit}" if _is_exact(numbers, unit) else None
    if column.looks_like("time") and column.whole:
        for form, digits in (("HHMMSS", 0), ("HHMMSScc", 2), ("HHMMSSmmm", 3), ("HHMMSSuuuuuu", 6)):
            if 10 ** (4 + digits) <= highest < 25 * 10 ** (4 + digits) and all(
                _is_clock(int(number) // 10**digits) for number in set(numbers)
            ):
                return form
    if column.looks_like("time"):
        for unit, seconds in (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)):
            if 60 * seconds < highest <= 86_400 * seconds and _is_exact(numbers, unit):
                return f"midnight_{unit}"
    return None


def _is_exact(numbers: list[Decimal], unit: str) -> bool:
    digits = {"s": 9, "ms": 6, "us": 3, "ns": 0}[unit]
    return all(number.scaleb(digits) == int(number.scaleb(digits)) for number in numbers[:1000])


def _is_clock(hhmmss: int) -> bool:
    return hhmmss // 10_000 <= 24 and hhmmss // 100 % 100 < 60 and hhmmss % 100 < 60


def actions_of(column: Column) -> dict[str, str]:
    """The action of each code; what is not known is ignored. Empty: no column of actions."""
    codes = [code for code in column.codes if code]
    if not 2 <= len(codes) <= _MOST_CODES:
        return {}
    if {"A", "D", "E"} <= set(codes) <= set(_ITCH):
        return {code: _ITCH[code] for code in codes}
    known = {word: action for action, words in WORDS.items() for word in words}
    found = {code: known.get(code.lower().removeprefix("order_"), "ignore") for code in codes}
    found |= {code: known[code.lower()] for code in codes if code.lower() in known}
    leaves = {"cancel", "delete", "fill"} & set(found.values())
    return found if "add" in found.values() and leaves else {}


def sides_of(column: Column) -> tuple[list[str], list[str], list[str]] | None:
    """The codes for buy, for sell and for neither."""
    codes = [code for code in column.codes if code]
    if not 2 <= len(codes) <= 3:
        return None
    lower = {code.lower().removesuffix(".0"): code for code in codes}
    if set(lower) == {"0", "1"}:
        return [lower["0"]], [lower["1"]], []
    buy = [code for word, code in lower.items() if word in _BUY]
    sell = [code for word, code in lower.items() if word in _SELL]
    rest = [code for code in codes if code not in buy + sell]
    return (buy, sell, rest) if len(buy) == len(sell) == 1 else None


@dataclass(frozen=True)
class BookColumns:
    names: frozenset[str]
    levels: int
    patterns: dict[str, str]
    """By `bid_price` and the like: the name of its columns, {n} for the level."""


def book_of(columns: list[Column]) -> BookColumns | None:
    """The columns of a book: prices and sizes of both sides, numbered from 1 to some level."""
    numbered: dict[str, set[int]] = {}
    for column in columns:
        match = _LEVEL.match(column.name)
        if match and column.numbers is not None:
            numbered.setdefault(f"{match[1]}{{n}}{match[3]}", set()).add(int(match[2]))
    found: dict[str, str] = {}
    for pattern in numbered:
        name = pattern.lower()
        side = "bid" if re.search("bid|buy", name) else "ask" if re.search("ask|sell", name) else ""
        spaced = _spaced(pattern.replace("{n}", " "))
        kind = next((role for role in ("price", "size") if re.search(_NAMES[role], spaced)), "")
        if side and kind:
            found.setdefault(f"{side}_{kind}", pattern)
    keys = ("bid_price", "bid_size", "ask_price", "ask_size")
    if set(found) != set(keys):
        return None
    levels = 0
    while all(levels + 1 in numbered[found[key]] for key in keys):
        levels += 1
    if not levels:
        return None
    names = {found[key].replace("{n}", str(n)) for key in keys for n in range(1, levels + 1)}
    return BookColumns(frozenset(names), levels, {key: found[key] for key in keys})
