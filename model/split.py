"""Which days of which symbols are trained on, which validate, which test: `split.yaml` and its law.

    fractions: {train: 0.7, validation: 0.15, test: 0.15}   # of each symbol's days, in their order
    dates: {train_from: 2024-01-02, validation_from: 2024-01-20, test_from: 2024-01-25,
            until: 2024-01-31}                              # or this: the same days for all symbols
    purge_days: 0        # so many days before each boundary belong to no part
    purge_events: 1000   # where a day is divided within: so many events after each boundary, too
    held_out: [MSFT]     # symbols, or "VENUE SYMBOL", that are only scored

Every key has the default shown, `dates`, `held_out` none. A symbol with too few days for its parts
has its time divided within a day; purged events are counted before a schema picks from them. Knows
days and shares of a day; knows no event and no store.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from mtsim.errors import MissingError, Problem, ScenarioError, UsageError
from mtsim.model.sources.mapping_problems import problem_of
from mtsim.model.store import Key
from mtsim.scenario.tree import Node, parse_value


class Part(IntEnum):
    """What an event is for. Numbers are those of the files."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2
    HELD_OUT = 3  # Of a symbol that no training saw.
    NONE = 4  # Purged, or of no day that was asked for.


class Piece(NamedTuple):
    """What a day is for, from where the piece before it ends up to `until`, a share of the day."""

    until: float
    part: Part


def _date(value: Any) -> Any:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"must be a date as in 2024-01-31, got {value!r}") from None


Day = Annotated[date, BeforeValidator(_date)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Fractions(_Strict):
    """Shares of each symbol's days, in the order of time."""

    train: Share = 0.7
    validation: Share = 0.15
    test: Share = 0.15

    @model_validator(mode="after")
    def _are_all(self) -> Fractions:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(
                f"train, validation and test must add up to 1, they are {total:g} "
                "(what is not said is 0.7, 0.15 and 0.15)"
            )
        if not self.train:
            raise ValueError("train must be above 0: there would be nothing to learn from")
        return self

    def shares(self) -> list[tuple[Part, float]]:
        """The parts there are, in the order of time."""
        all_three = zip(Part, (self.train, self.validation, self.test), strict=False)
        return [(part, share) for part, share in all_three if share]


class Dates(_Strict):
    """First days of the parts; `until` is the last day of all. The same for every symbol."""

    train_from: Day = date.min
    validation_from: Day
    test_from: Day
    until: Day = date.max

    @model_validator(mode="after")
    def _in_order(self) -> Dates:
        if not self.train_from < self.validation_from <= self.test_from <= self.until:
            raise ValueError(
                "the dates must follow one another: train_from < validation_from <= test_from "
                "<= until (the same day for the last two parts leaves validation out)"
            )
        return self

    def part(self, day: date) -> Part:
        if not self.train_from <= day <= self.until:
            return Part.NONE
        if day < self.validation_from:
            return Part.TRAIN
        return Part.VALIDATION if day < self.test_from else Part.TEST


class Rules(_Strict):
    """What a split file may say."""

    fractions: Fractions = Fractions()
    dates: Dates | None = None
    purge_days: Annotated[int, Field(ge=0)] = 0
    purge_events: Annotated[int, Field(ge=0)] = 1000
    held_out: tuple[Annotated[str, Field(min_length=1)], ...] = ()

    @model_validator(mode="after")
    def _one_way(self) -> Rules:
        if self.dates is not None and "fractions" in self.model_fields_set:
            raise ValueError("either dates or fractions: both are given")
        return self


@dataclass(frozen=True)
class Split:
    """The rules, and where they were written, for what can only be seen with a store at hand."""

    rules: Rules = field(default_factory=Rules)
    tree: Node | None = None

    def assign(self, keys: Iterable[Key]) -> dict[Key, tuple[Piece, ...]]:
        """What each session is for. UsageError where nothing is left to train on, where a part that
        was asked for has no day, or a symbol is held out that is not there."""
        ordered = sorted(keys)
        held_out = self._held_out(ordered)
        by_symbol: dict[tuple[str, str], list[Key]] = defaultdict(list)
        for key in ordered:
            by_symbol[key.venue, key.symbol].append(key)
        assigned: dict[Key, tuple[Piece, ...]] = {}
        for symbol, days in by_symbol.items():
            if symbol in held_out:
                assigned |= dict.fromkeys(days, (Piece(1.0, Part.HELD_OUT),))
            else:
                assigned |= zip(days, self._divide(days), strict=True)
        self._check(assigned)
        return assigned

    def as_json(self) -> dict[str, Any]:
        """The rules as they apply, defaults filled in."""
        said = self.rules.model_dump(mode="json")
        del said["fractions" if self.rules.dates is not None else "dates"]
        return said

    def _held_out(self, keys: Sequence[Key]) -> set[tuple[str, str]]:
        found: set[tuple[str, str]] = set()
        for k, name in enumerate(self.rules.held_out):
            mine = {key[:2] for key in keys if name in (key.symbol, f"{key.venue} {key.symbol}")}
            if not mine:
                known = ", ".join(dict.fromkeys(f"{key.venue} {key.symbol}" for key in keys))
                message = f"no session is of a symbol {name!r}"
                raise self._refusal(("held_out", k), message, f"symbols: {known}")
            found |= mine
        return found

    def _divide(self, days: list[Key]) -> list[tuple[Piece, ...]]:
        rules = self.rules
        if rules.dates is not None:
            parts = [rules.dates.part(key.date) for key in days]
            return _whole(_purged(parts, rules.purge_days))
        shares = rules.fractions.shares()
        needed = len(shares) + rules.purge_days * (len(shares) - 1)
        if len(days) < needed:
            if rules.purge_days:
                key = days[0]
                message = (
                    f"{key.venue} {key.symbol} has {len(days)} days; {len(shares)} parts with "
                    f"{rules.purge_days} days between them need {needed}"
                )
                hint = "purge_days: 0 divides the time within a day"
                raise self._refusal(("purge_days",), message, hint)
            return _within(shares, len(days))
        parts: list[Part] = []
        fewest = [1 + rules.purge_days] * (len(shares) - 1) + [1]
        until = 0.0
        for k, (part, share) in enumerate(shares):
            until += share
            end = max(round(until * len(days)), len(parts) + fewest[k])
            end = min(end, len(days) - sum(fewest[k + 1 :]))
            parts += [part] * (end - len(parts))
        return _whole(_purged(parts, rules.purge_days))

    def _check(self, assigned: dict[Key, tuple[Piece, ...]]) -> None:
        there = {piece.part for pieces in assigned.values() for piece in pieces}
        days = sorted(key.date for key in assigned)
        span = f"the sessions are of {days[0]} to {days[-1]}" if days else "there are no sessions"
        wanted = [Part.TRAIN]
        if (dates := self.rules.dates) is not None:
            wanted += [Part.VALIDATION] if dates.validation_from < dates.test_from else []
            wanted += [Part.TEST]
        else:
            wanted += [part for part, _ in self.rules.fractions.shares()[1:]]
        for part in wanted:
            if part not in there:
                where = ("held_out",) if dates is None else ("dates",)
                name = part.name.lower()
                raise self._refusal(where, f"no day is left for {name}", span)

    def _refusal(self, location: tuple[str | int, ...], message: str, hint: str) -> UsageError:
        path, node = "", self.tree
        for step in location:
            path = f"{path}[{step}]" if isinstance(step, int) else step
            if node is not None:
                node = node.value[step] if isinstance(step, int) else node.value.get(step)
        if node is None:
            return UsageError(Problem("split", 0, 0, path, message, hint).text())
        return UsageError(node.mark.problem(path, message, hint).text())


def load(path: Path | str) -> Split:
    """The split of a YAML file. UsageError with every problem and its place."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingError(
            f"the split {path} cannot be read: {error.strerror}", "Look at the path."
        ) from None
    return loads(data, str(path))


def loads(text: bytes | str, name: str = "<text>") -> Split:
    """As `load`, for YAML text that came from `name`."""
    try:
        tree, problems = parse_value(text, name)
    except ScenarioError as error:
        raise _refused(error.problems) from None
    if not isinstance(tree.value, dict):
        raise _refused([tree.mark.problem("", "a split has keys and values, here is none")])
    rules = None
    try:
        rules = Rules.model_validate(_plain(tree))
    except ValidationError as error:
        problems = problems + [problem_of(details, tree, Rules) for details in error.errors()]
    if problems:
        raise _refused(sorted(set(problems)))
    assert rules is not None
    return Split(rules, tree)


def _purged(parts: list[Part], days: int) -> list[Part]:
    """Without the last so many days before each change of part."""
    purged = list(parts)
    for k in range(1, len(parts)):
        if parts[k] != parts[k - 1] and Part.NONE not in (parts[k], parts[k - 1]):
            first = max(0, k - days)
            purged[first:k] = [Part.NONE] * (k - first)
    return purged


def _whole(parts: list[Part]) -> list[tuple[Piece, ...]]:
    return [(Piece(1.0, part),) for part in parts]


def _within(shares: list[tuple[Part, float]], days: int) -> list[tuple[Piece, ...]]:
    """The days as one line of time, divided where the shares say; each day's pieces of it."""
    ends = []
    end = 0.0
    for _, share in shares:
        end += share * days
        ends.append(end)
    ends[-1] = float(days)
    divided = []
    for day in range(days):
        pieces = [
            Piece(min(1.0, end - day), part)
            for (part, _), end, start in zip(shares, ends, [0.0, *ends[:-1]], strict=True)
            if end > day and start < day + 1
        ]
        divided.append(tuple(pieces))
    return divided


def _refused(problems: Any) -> UsageError:
    # The reader of YAML is that of scenarios, and says so.
    return UsageError(
        "\n".join(problem.text() for problem in problems).replace("a scenario", "a split")
    )


def _plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: _plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return tuple(_plain(child) for child in node.value)
    return node.value
