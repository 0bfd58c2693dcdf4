"""The base of every part of a scenario: strict, frozen, no unknown keys, random values drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from mtsim.scenario.quantities import Distribution, Drawn, Random


@dataclass(slots=True)
class DrawContext:
    """How random values become values during one validation, and those that could not.

    `draw` takes a `Random` and the kind of its field. A refusal does not stop the validation: the
    rest of the scenario is still looked at, so that all problems come out at once.
    """

    draw: Callable[[Random, str], Any]
    refused: list[tuple[Random, PydanticCustomError]] = field(default_factory=list)


class Section(BaseModel):
    """A part of a scenario. Validated with a `DrawContext` as context."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _draw_fields(cls, raw: Any, info: ValidationInfo) -> Any:
        if not isinstance(raw, dict) or not any(map(_is_random, raw.values())):
            return raw
        kinds = _kinds(cls)
        context = info.context
        assert isinstance(context, DrawContext)
        return {key: _drawn(value, kinds.get(key), context) for key, value in raw.items()}


def _is_random(value: Any) -> bool:
    return isinstance(value, Random) or (
        isinstance(value, tuple) and any(isinstance(item, Random) for item in value)
    )


def _drawn(value: Any, kind: str | None, context: DrawContext) -> Any:
    if kind is None or kind == "population":
        return value
    if isinstance(value, tuple):
        return tuple(_drawn(item, kind, context) for item in value)
    if not isinstance(value, Random):
        return value
    try:
        return context.draw(value, kind)
    except PydanticCustomError as error:
        context.refused.append((value, error))
        return value


@cache
def _kinds(section: type[Section]) -> dict[str, str]:
    """By key: how a random value of that field is drawn; what is no number, by choice."""
    fields = section.model_fields.items()
    return {
        field.alias or name: _kind([field.annotation, *field.metadata]) for name, field in fields
    }


def _kind(pending: list[Any]) -> str:
    while pending:
        item = pending.pop()
        if isinstance(item, Drawn):
            return item.kind
        if item is Distribution:
            return "population"
        pending.extend(getattr(item, "__metadata__", ()))
        pending.extend(getattr(item, "__args__", ()))
    return "choice"
