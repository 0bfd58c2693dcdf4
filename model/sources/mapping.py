"""What a user says about an order-by-order file, in a page of YAML: the mapping, strict and placed.

Knows the keys, their rules and what they default to; knows no file. `mapped` reads a file by it,
`propose` writes one. Everything wrong is said at once, with file, line and column.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mtsim.errors import MissingError, ScenarioError, UsageError
from mtsim.model.sources.mapping_problems import problem_of
from mtsim.model.sources.mapping_values import (
    ByLevel,
    Clock,
    Codes,
    Day,
    Positive,
    TimeFormat,
    Zone,
)
from mtsim.scenario.tree import Node, parse_value


class Part(BaseModel):
    """A mapping within the mapping: strict, frozen, no unknown keys."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", populate_by_name=True)


class InstrumentPart(Part):
    symbol: str | None = None
    column: str | None = None
    """The column that names the instrument; rows of others are dropped."""
    venue: str | None = None
    currency: str = "USD"


class FilePart(Part):
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    columns: tuple[str, ...] | None = None
    """The names of the columns of a file without a header line."""


class TimePart(Part):
    column: str
    format: TimeFormat
    zone: Zone = "UTC"
    date: Day | None = None


class PricePart(Part):
    column: str
    tick: Positive | None = None
    scale: Positive = Decimal(1)
    """What a price of 1 is in the file: 10000 where prices are in hundredths of cents."""
    between_ticks: Literal["error", "drop"] = "error"
    """What a price is that is no whole number of ticks: a mistake, or an order to leave out."""


class SizePart(Part):
    column: str
    lot: Positive = Decimal(1)
    scale: Positive = Decimal(1)


class IdPart(Part):
    column: str
    text: bool = False
    """Ids are no whole numbers. Orders are then numbered as they come."""
    unique: Literal["session", "side"] = "session"
    """`side`: the same id may name an order on each side."""
    renumber: bool = False
    """Orders are numbered as they come, for ids that the engine has no room for."""


class SidePart(Part):
    column: str
    buy: Codes
    sell: Codes
    none: Codes = ()
    """Codes that say nothing; an order's own row must say its side."""


class ActionPart(Part):
    column: str
    add: Codes
    cancel: Codes = ()
    delete: Codes = ()
    modify: Codes = ()
    replace: Codes = ()
    fill: Codes = ()
    market: Codes = ()
    ignore: Codes = ()

    @model_validator(mode="after")
    def _no_code_twice(self) -> ActionPart:
        seen: dict[str, str] = {}
        for action in ACTIONS:
            for code in getattr(self, action):
                if seen.setdefault(code, action) != action:
                    raise ValueError(f"the code {code!r} is given for {seen[code]} and {action}")
        if self.market and self.fill:
            raise ValueError(
                "market orders are given together with fills: where fills are recorded, ignore them"
            )
        return self


ACTIONS = ("add", "cancel", "delete", "modify", "replace", "fill", "market", "ignore")


class CancelPart(Part):
    gives: Literal["removed", "remaining"] = "removed"
    """Whether the size of a cancel is what it takes away or what it leaves; `delete` takes all."""


class ModifyPart(Part):
    gives: Literal["remaining", "delta", "before"] = "remaining"
    """What the size of a change is: the new one, what is added, or the one before the change, which
    leaves the new one untold."""
    place: Literal["kept", "lost"] = "kept"
    """Whether an order that only shrinks keeps its place."""


class ReplacePart(Part):
    old_id: str
    """The column with the id of the order that leaves; `id` is that of the new one."""
    old_price: str | None = None
    old_size: str | None = None
    """What it was, for orders that rested before the file begins."""

    def columns(self) -> tuple[str | None, ...]:
        return self.old_id, self.old_price, self.old_size


class AggressorPart(Part):
    column: str
    buy: Codes
    sell: Codes
    none: Codes = ()
    """The codes of an auction's fills, in which both orders rest."""


class FillPart(Part):
    """Which order a fill names.

    `maker`: `id` is the resting order. `each`: a row for each order that trades. `both`: one row
    names both, in the columns `maker` and `taker`, or `buy` and `sell` with the aggressor's side.
    """

    names: Literal["maker", "each", "both"] = "maker"
    side: Literal["maker", "taker"] = "maker"
    """Whose side the side column has in a fill's row (with `names: maker`)."""
    maker: str | None = None
    taker: str | None = None
    buy: str | None = None
    sell: str | None = None
    aggressor: AggressorPart | None = None

    @model_validator(mode="after")
    def _both_are_named(self) -> FillPart:
        by_role = self.maker is not None and self.taker is not None
        by_side = None not in (self.buy, self.sell, self.aggressor)
        given = (self.maker, self.taker, self.buy, self.sell, self.aggressor)
        if self.names == "both" and not by_role and not by_side:
            raise ValueError(
                "a fill that names both needs the columns maker and taker, or buy, sell, aggressor"
            )
        if self.names == "both" and by_role == any(item is not None for item in given[2:]):
            raise ValueError("either maker and taker, or buy, sell and aggressor")
        if self.names != "both" and any(item is not None for item in given):
            raise ValueError(f"with names: {self.names} a fill's order is that of the id column")
        return self


class SessionPart(Part):
    """Rows before `from` only build the book that opens the session; rows from `to` on are dropped.

    In an auction the book may be crossed: it is taken out before, and put in place after it.
    """

    from_: Annotated[Clock | None, Field(alias="from")] = None
    to: Clock | None = None
    auctions: tuple[tuple[Clock, Clock], ...] = ()

    @model_validator(mode="after")
    def _in_order(self) -> SessionPart:
        edges = [self.from_ or 0]
        for auction in self.auctions:
            edges.extend(auction)
        edges.append(self.to if self.to is not None else edges[-1])
        if edges != sorted(edges):
            raise ValueError("the times of the session and its auctions must follow one another")
        return self


class DropPart(Part):
    """Rows to leave out: those whose `column` has one of the codes `is`, counted as `because`."""

    column: str
    is_: Annotated[Codes, Field(alias="is")]
    because: Annotated[str, Field(min_length=1)]


class BookPart(Part):
    """The book after each row, in columns of its own; or snapshots, in a file beside this one."""

    levels: Annotated[int, Field(ge=1, le=100)]
    bid_price: ByLevel
    bid_size: ByLevel
    ask_price: ByLevel
    ask_size: ByLevel
    beside: tuple[str, str] | None = None
    """The file of the snapshots: this part of the file's name is replaced by that one."""
    time: TimePart | None = None
    lags_s: Annotated[float, Field(ge=0, le=600, strict=False)] = 0.0
    """How long after the moment that it shows a snapshot may be stamped, and (leads) before."""
    leads_s: Annotated[float, Field(ge=0, le=600, strict=False)] = 0.0

    @model_validator(mode="after")
    def _has_time(self) -> BookPart:
        if (self.beside is None) != (self.time is None):
            raise ValueError("snapshots in a file beside this one need both beside and time")
        return self


class Mapping(Part):
    """How to read an order-by-order file. What has no default must be said."""

    about: str = ""
    instrument: InstrumentPart = InstrumentPart()
    file: FilePart = FilePart()
    time: TimePart
    price: PricePart
    size: SizePart
    id: IdPart
    side: SidePart
    action: ActionPart
    cancel: CancelPart = CancelPart()
    modify: ModifyPart = ModifyPart()
    replace: ReplacePart | None = None
    fill: FillPart = FillPart()
    session: SessionPart = SessionPart()
    drop: tuple[DropPart, ...] = ()
    book: BookPart | None = None

    @model_validator(mode="after")
    def _parts_fit(self) -> Mapping:
        if self.action.replace and self.replace is None:
            raise ValueError("the action replace needs `replace: {old_id: COLUMN}`")
        return self

    def columns(self) -> list[str]:
        """The columns that the file must have, each once."""
        fill, book = self.fill, self.book
        named: list[str | None] = [
            self.time.column,
            self.action.column,
            self.side.column,
            self.id.column,
            self.price.column,
            self.size.column,
            self.instrument.column,
            *(self.replace.columns() if self.replace else ()),
            fill.maker,
            fill.taker,
            fill.buy,
            fill.sell,
            fill.aggressor.column if fill.aggressor else None,
            *(drop.column for drop in self.drop),
        ]
        if book is not None and book.beside is None:
            named += book_columns(book)
        return list(dict.fromkeys(name for name in named if name is not None))


def book_columns(book: BookPart) -> list[str]:
    """The columns of a book: bid prices, bid sizes, ask prices, ask sizes, each best first."""
    patterns = (book.bid_price, book.bid_size, book.ask_price, book.ask_size)
    levels = range(1, book.levels + 1)
    return [pattern.replace("{n}", str(n)) for pattern in patterns for n in levels]


def load(path: str | Path) -> Mapping:
    """The mapping of a YAML file. UsageError with every problem and its place."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingError(
            f"the mapping {path} cannot be read: {error.strerror}", "Look at the path."
        ) from None
    return loads(data, str(path))


def loads(text: bytes | str, name: str = "<text>") -> Mapping:
    """As `load`, for YAML text that came from `name`."""
    try:
        tree, problems = parse_value(text, name)
    except ScenarioError as error:
        raise _refused(error.problems) from None
    if not isinstance(tree.value, dict):
        raise _refused([tree.mark.problem("", "a mapping has keys and values, here is none")])
    mapping = None
    try:
        mapping = Mapping.model_validate(_plain(tree))
    except ValidationError as error:
        problems = problems + [problem_of(details, tree, Mapping) for details in error.errors()]
    if problems:
        raise _refused(sorted(set(problems)))
    assert mapping is not None
    return mapping


@cache
def shipped() -> dict[str, Mapping]:
    """The mappings of known layouts, by name."""
    folder = resources.files("mtsim.model.sources") / "mappings"
    found = sorted(item.name for item in folder.iterdir() if item.name.endswith(".yaml"))
    return {
        name.removesuffix(".yaml"): loads((folder / name).read_bytes(), f"mappings/{name}")
        for name in found
    }


def _refused(problems: Any) -> UsageError:
    # The reader of YAML is that of scenarios, and says so.
    return UsageError(
        "\n".join(problem.text() for problem in problems).replace("a scenario", "a mapping")
    )


def _plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: _plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return tuple(_plain(child) for child in node.value)
    return node.value
