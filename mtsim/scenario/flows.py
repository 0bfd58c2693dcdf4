"""Where background messages come from: one section for each kind of flow. Plain data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mtsim.scenario.quantities import (
    Count,
    DurationNs,
    Fraction,
    Lots,
    NonNegative,
    Population,
    Positive,
    Ticks,
    parse_distribution,
)
from mtsim.scenario.section import Section


class ScriptedFlow(Section):
    """Messages read from a file, sent as they stand; observes nothing."""

    kind: Literal["scripted"]
    messages: str = Field(description="Path of the message file, relative to the scenario.")


class ReplayFlow(Section):
    """A stored session's own messages: the open-loop control."""

    kind: Literal["replay"]
    session: str = Field(description="A session of the store, as `mtsim ls sessions` names it.")
    mode: Literal["pure", "mechanical"] = Field(
        default="pure",
        description="pure: history ignores us and passive fills follow our queue position; "
        "mechanical: history is executed against the book we changed.",
    )


class ZeroIntelligenceFlow(Section):
    """Independent Poisson arrivals at every tick (Santa Fe): add, market and cancel rates."""

    kind: Literal["zero_intelligence"]
    add_rate: Positive = Field(
        default=0.5,
        description="Limit orders per second at each tick.",
        json_schema_extra={"unit": "1/s"},
    )
    market_rate: Positive = Field(
        default=2.0,
        description="Market orders per second and side.",
        json_schema_extra={"unit": "1/s"},
    )
    cancel_rate: Positive = Field(
        default=0.05,
        description="Cancels per second of each resting order.",
        json_schema_extra={"unit": "1/s"},
    )
    depth: Ticks = Field(
        default=50, ge=1, description="How far from the opposite touch limit orders arrive."
    )
    size: Population = Field(
        default_factory=lambda: parse_distribution(1), description="Size of each order."
    )
    fitted: str | None = Field(
        default=None, description="A file of `mtsim fit zi` that replaces the rates."
    )


class HawkesFlow(Section):
    """Twelve event types that excite each other, sums of exponential kernels."""

    kind: Literal["hawkes"]
    fitted: str | None = Field(
        default=None,
        description="A file of `mtsim fit hawkes`; without one the built-in parameters hold.",
    )
    intensity: Positive = Field(default=1.0, description="Factor on every base rate.")
    branching: Fraction | None = Field(
        default=None, description="Rescales the kernels to this branching ratio (spectral radius)."
    )


class QueueReactiveFlow(Section):
    """Rates that depend on the size of the queue they meet."""

    kind: Literal["queue_reactive"]
    fitted: str | None = Field(default=None, description="A file of `mtsim fit queue-reactive`.")
    levels: Annotated[Count, Field(le=50)] | None = Field(
        default=None,
        description="Levels on each side with their own rates; null is all that are fitted, or 5.",
    )


class MarkovFlow(Section):
    """A field-wise n-gram over the decoder's own tokens, Kneser-Ney smoothed."""

    kind: Literal["markov"]
    model: str = Field(description="Path of a fitted n-gram bundle.")
    order: Count = Field(default=5, le=8, description="Length of the n-grams.")


class DecoderFlow(Section):
    """The trained transformer: draws the next event given the executed ones and the book."""

    kind: Literal["decoder"]
    model: str = Field(
        default="default", description="A checkpoint folder, or `default` for the shipped model."
    )
    temperature: Positive = Field(default=1.0, description="Of the softmax; 1 is the trained law.")
    top_k: Count | None = Field(
        default=None,
        description="Keeps the k likeliest values of a field; null keeps all. An ablation.",
    )
    runtime: Literal["auto", "cpu", "cuda", "reference"] = Field(
        default="auto", description="Decoding runtime."
    )


Flow = Annotated[
    ScriptedFlow
    | ReplayFlow
    | ZeroIntelligenceFlow
    | HawkesFlow
    | QueueReactiveFlow
    | MarkovFlow
    | DecoderFlow,
    Field(discriminator="kind"),
]


class BankOpening(Section):
    """An opening of the shipped bank: a book and a context that belong together."""

    kind: Literal["bank"]
    flavour: Literal["small_tick", "large_tick", "crypto"] = Field(
        default="small_tick", description="Which kind of market it was generated as."
    )
    index: int = Field(default=0, ge=0, description="Which opening of that flavour.")


class SessionOpening(Section):
    """The book and the last events of a stored session at one moment."""

    kind: Literal["session"]
    session: str = Field(description="A session of the store.")
    at_ns: DurationNs = Field(default=0, alias="at", description="Time since that session's start.")


class SyntheticOpening(Section):
    """A symmetric book made from numbers, with an empty context."""

    kind: Literal["synthetic"]
    mid_tick: Ticks = Field(
        default=10_000, ge=1, description="The tick just below the middle of the book."
    )
    spread: Ticks = Field(default=1, ge=1, description="Best ask less best bid.")
    levels: Count = Field(default=20, le=1000, description="Occupied levels on each side.")
    orders_per_level: Count = Field(default=3, le=1000, description="Orders that make up a level.")
    lots: Lots = Field(default=10, description="Size of each of these orders.")
    decay: NonNegative = Field(default=0.0, description="Sizes fall as exp(-decay x level).")


Opening = Annotated[
    BankOpening | SessionOpening | SyntheticOpening,
    Field(discriminator="kind"),
]
