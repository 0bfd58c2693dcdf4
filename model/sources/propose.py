"""A first mapping for a file nobody has described: roles of columns, guessed from names and values.

    print(propose("orders_2024-01-31.csv.zst"))

Names are hints, values decide: times do not go back, sides are two words, an action is one of a few
known words, ids repeat between actions, prices and sizes have a grid. What is written is YAML for
`mapping`, with a comment wherever a choice was made that the file alone cannot settle, and with
what came of trying it on the file's first rows.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np

from mtsim.errors import DataError, UsageError
from mtsim.model.sources.base import OWN_IDS, Options
from mtsim.model.sources.mapped import MappedSource
from mtsim.model.sources.mapping import loads
from mtsim.model.sources.propose_columns import (
    WORDS,
    Column,
    actions_of,
    book_of,
    columns_of,
    roles_of,
    sides_of,
    time_format,
)

# A grid may miss this share of the prices: orders far from the market that nobody meant.
_OFF_GRID = 0.002


@dataclass
class _Draft:
    """The mapping in the making: its lines, and what a reader should know before using it."""

    lines: list[str] = field(default_factory=list)

    def add(self, line: str, *notes: str) -> None:
        self.lines += [f"# {note}" for note in notes]
        self.lines.append(line)


def propose(file: str, *, header: Sequence[str] | None = None, delimiter: str = ",") -> str:
    """A mapping of this file as YAML text, with comments; it has been validated and tried.

    UsageError where no column can be the time, the action, the side, the id, the price or the size.
    """
    columns = columns_of(file, header, delimiter)
    book = book_of(columns)
    plain = [column for column in columns if not book or column.name not in book.names]
    roles = roles_of(file, plain)
    draft = _Draft()
    draft.add(f"about: {_quoted('orders of ' + Path(file).name)}", "Proposed from the first rows.")
    if header is not None or delimiter != ",":
        names = f", columns: [{', '.join(map(_quoted, header))}]" if header is not None else ""
        draft.add(f"file: {{delimiter: {_quoted(delimiter)}{names}}}")
    _say_instrument(draft, roles)
    _say_time(draft, roles["time"])
    _say_grids(draft, roles)
    actions = actions_of(roles["action"])
    _say_id(draft, roles, actions)
    sides = sides_of(roles["side"])
    assert sides is not None
    _say_sides(draft, roles["side"], sides)
    _say_actions(draft, roles, actions)
    _say_fills(draft, roles, actions, sides, plain)
    if book:
        draft.lines += ["# The book beside each row:", "book:", f"  levels: {book.levels}"]
        draft.lines += [f"  {key}: {_quoted(name)}" for key, name in book.patterns.items()]
    text = "\n".join(draft.lines) + "\n"
    mapping = loads(text, "the proposal")
    try:
        source = MappedSource((file,), mapping, _stand_in(file, text))
        for _ in source.batches():
            break
    except (DataError, UsageError) as error:
        return f"{text}# Tried, and refused: {' '.join(str(error).split())}\n"
    counts = source.counts
    lost = "".join(f"\n#   {n:,} {reason}" for reason, n in counts.dropped.most_common())
    return f"{text}# Tried on the first {counts.read:,} rows: {counts.used:,} used.{lost}\n"


def _stand_in(file: str, text: str) -> Options:
    """What a user would say on the command line: a symbol, where neither file nor mapping does."""
    named = any(line.startswith("instrument:") for line in text.splitlines())
    return Options(symbol=None if named else Path(file).name.partition("_")[0])


def _say_instrument(draft: _Draft, roles: dict[str, Column]) -> None:
    if "symbol" in roles:
        draft.add(f"instrument: {{column: {_quoted(roles['symbol'].name)}}}")
    else:
        draft.lines.append("# No column names the instrument: say --symbol, or add it here as")
        draft.lines.append("# instrument: {symbol: ABC, venue: XYZ, currency: USD}")


def _say_time(draft: _Draft, column: Column) -> None:
    form = time_format(column)
    notes = ["The zone decides which day a time belongs to: change it to that of the venue."]
    if form is not None and not form.startswith("epoch") and form != "iso":
        notes.append("The times say no date: it is taken from the file's name, or from --date.")
    draft.add(f"time: {{column: {_quoted(column.name)}, format: {form}, zone: UTC}}", *notes)


def _say_grids(draft: _Draft, roles: dict[str, Column]) -> None:
    grid = _grid(roles["price"], _OFF_GRID)
    scale = Decimal(1)
    notes = []
    if roles["price"].whole and grid >= 10 and math.log10(grid).is_integer():
        scale = grid * 100
        notes.append(f"Prices are whole, in steps of {grid:f}: taken for 0.01 each.")
    off = any(number % grid for number in roles["price"].numbers or [])
    if off:
        notes.append("A few prices lie between these ticks: their orders are left out.")
    draft.add(
        f"price: {{column: {_quoted(roles['price'].name)}, tick: {(grid / scale).normalize():f}"
        f"{f', scale: {scale:f}' if scale != 1 else ''}{', between_ticks: drop' if off else ''}}}",
        *notes,
    )
    lot = _grid(roles["size"], 0)
    scale = Decimal(1)
    notes = []
    if lot >= 1000 and math.log10(lot).is_integer():
        scale = lot
        notes.append(f"Sizes are multiples of {lot:f}: taken for 1 each.")
    elif lot >= 1:
        lot = Decimal(1)
    draft.add(
        f"size: {{column: {_quoted(roles['size'].name)}, lot: {(lot / scale).normalize():f}"
        f"{f', scale: {scale:f}' if scale != 1 else ''}}}",
        *notes,
    )


def _grid(column: Column, off: float) -> Decimal:
    """The largest step that all numbers are multiples of, `off` of them aside."""
    numbers = Counter(abs(number) for number in column.numbers or [] if number)
    if not numbers:
        return Decimal(1)
    digits = max(0, *(-_exponent(number) for number in numbers))
    units = Counter({int(number.scaleb(digits)): n for number, n in numbers.items()})
    step = math.gcd(*units)
    total = units.total()
    for coarser in (step * 10**power for power in range(12, 0, -1)):
        if sum(n for unit, n in units.items() if unit % coarser) <= off * total:
            return Decimal(coarser).scaleb(-digits)
    return Decimal(step).scaleb(-digits)


def _exponent(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return exponent


def _say_id(draft: _Draft, roles: dict[str, Column], actions: dict[str, str]) -> None:
    column = roles["id"]
    parts, notes = [f"column: {_quoted(column.name)}"], []
    if not column.whole:
        parts.append("text: true")
    elif max(column.numbers or [Decimal(0)]) >= OWN_IDS:
        parts.append("renumber: true")
        notes.append("Ids this large do not fit the engine: orders are numbered as they come.")
    adds = {
        (word, side)
        for word, side, action in zip(
            column.words, roles["side"].words, roles["action"].words, strict=True
        )
        if actions.get(action) == "add"
    }
    if len({word for word, _ in adds}) < len(adds):
        parts.append("unique: side")
        notes.append("The same id is seen on both sides.")
    draft.add(f"id: {{{', '.join(parts)}}}", *notes)


def _say_sides(
    draft: _Draft, column: Column, sides: tuple[list[str], list[str], list[str]]
) -> None:
    buy, sell, rest = sides
    notes = []
    if {*buy, *sell} == {"0", "1"}:
        notes.append("0 is taken for the buy side: turn the two round if that is not so.")
    none = f", none: {_quoted(rest[0])}" if rest else ""
    draft.add(
        f"side: {{column: {_quoted(column.name)}, buy: {_quoted(buy[0])}, "
        f"sell: {_quoted(sell[0])}{none}}}",
        *notes,
    )


def _say_actions(draft: _Draft, roles: dict[str, Column], actions: dict[str, str]) -> None:
    by_action: dict[str, list[str]] = {}
    ends = "delete" not in actions.values() and _cancels_end(roles, actions)
    for code, action in actions.items():
        if action == "replace" and "old_id" not in roles:
            action = "modify"
        if action == "market" and "fill" in actions.values():
            action = "ignore"
        if action == "cancel" and ends:
            action = "delete"
        by_action.setdefault(action, []).append(code)
    parts = [f"column: {_quoted(roles['action'].name)}"]
    for action in (*WORDS, "ignore"):
        if codes := by_action.get(action):
            listed = ", ".join(_quoted(code) for code in sorted(codes))
            parts.append(f"{action}: {listed if len(codes) == 1 else f'[{listed}]'}")
    notes = []
    if "ignore" in by_action:
        notes.append("Codes that were not recognised are ignored: put them where they belong.")
    if ends:
        notes.append("After a cancel its order is not heard of again: all of it leaves.")
    if "modify" in by_action:
        notes.append("The size of a modify is taken for the new one (modify: {gives: remaining}).")
    draft.add(f"action: {{{', '.join(parts)}}}", *notes)
    if "replace" in by_action:
        draft.add(f"replace: {{old_id: {_quoted(roles['old_id'].name)}}}")


def _cancels_end(roles: dict[str, Column], actions: dict[str, str]) -> bool:
    """Whether the cancel of an order is its last row, as far as these rows go."""
    cancelled, heard_again = 0, 0
    gone: set[str] = set()
    for word, code in zip(roles["id"].words, roles["action"].words, strict=True):
        heard_again += word in gone
        if actions.get(code) == "cancel":
            cancelled += 1
            gone.add(word)
    return heard_again <= 0.01 * cancelled


def _say_fills(
    draft: _Draft,
    roles: dict[str, Column],
    actions: dict[str, str],
    sides: tuple[list[str], list[str], list[str]],
    columns: list[Column],
) -> None:
    fills = np.array([actions.get(word) == "fill" for word in roles["action"].words])
    if not fills.any():
        if "fill" not in actions.values():
            draft.lines.append("# No fills are recorded: what crosses trades by price and time.")
        return
    buy, sell, rest = sides
    sell_id = next((c for c in columns if _is_second_id(c, fills)), None)
    if sell_id is not None:
        buy_id = next(
            (c for c in columns if c.looks_like("id") and re.search("buy|bid", c.name.lower())),
            roles["id"],
        )
        none = f", none: {_quoted(rest[0])}" if rest else ""
        draft.lines.append("# A fill names the orders of both sides, and whose turn it was.")
        draft.lines.append("fill:")
        draft.lines.append("  names: both")
        draft.lines.append(f"  buy: {_quoted(buy_id.name)}")
        draft.lines.append(f"  sell: {_quoted(sell_id.name)}")
        draft.lines.append(
            f"  aggressor: {{column: {_quoted(roles['side'].name)}, buy: {_quoted(buy[0])}, "
            f"sell: {_quoted(sell[0])}{none}}}"
        )
        _say_session(draft, roles, fills, rest)
        return
    own = {
        (word, side)
        for word, side, fill in zip(roles["id"].words, roles["side"].words, fills, strict=True)
        if not fill
    }
    told = [
        (word, side)
        for word, side, fill in zip(roles["id"].words, roles["side"].words, fills, strict=True)
        if fill and side in (buy[0], sell[0])
    ]
    flip = {buy[0]: sell[0], sell[0]: buy[0]}
    same = sum(pair in own for pair in told)
    other = sum((word, flip[side]) in own for word, side in told)
    side = "taker" if other > same else "maker"
    draft.add(f"fill: {{names: maker, side: {side}}}", "A fill names the order that rested.")
    if rest:
        code = _quoted(rest[0])
        draft.lines.append("# Rows without a side name no order of the book.")
        draft.lines.append(
            f"drop: [{{column: {_quoted(roles['side'].name)}, is: {code}, because: no side}}]"
        )


def _is_second_id(column: Column, fills: np.ndarray) -> bool:
    """Ids of sell orders, which only fills have."""
    there = np.array([bool(word) and word != "0" for word in column.words])
    named = column.looks_like("id") and re.search("sell|ask|offer", column.name.lower()) is not None
    return named and column.whole and bool(there[fills].mean() > 0.9)


def _say_session(
    draft: _Draft, roles: dict[str, Column], fills: np.ndarray, rest: list[str]
) -> None:
    """Fills without an aggressor come from an auction: the session starts after the first one."""
    form = time_format(roles["time"])
    if not rest or form not in ("HHMMSS", "HHMMSScc", "HHMMSSmmm", "HHMMSSuuuuuu"):
        return
    none = np.array([word == rest[0] for word in roles["side"].words])
    sided = np.flatnonzero(fills & ~none)
    if not len(sided) or not (fills & none)[: sided[0]].any():
        return
    clock = roles["time"].words[int(sided[0])].zfill(len(form))
    draft.lines.append("# What comes before the first fill with an aggressor is an auction.")
    draft.lines.append(f'session: {{from: "{clock[:2]}:{clock[2:4]}:00"}}')


def _quoted(text: str) -> str:
    """A YAML scalar that is this text and nothing else."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.{}]*", text) and text.lower() not in _RESERVED:
        return text if "{" not in text else f'"{text}"'
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_RESERVED = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
