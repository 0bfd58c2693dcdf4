"""The scenario: everything that defines a run, as frozen data that knows no class it becomes."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from mtsim.scenario.flows import DecoderFlow, Flow, Opening, SyntheticOpening
from mtsim.scenario.quantities import (
    Bp,
    ClockNs,
    Count,
    DurationNs,
    ExactDecimal,
    Fraction,
    Lots,
    NonNegative,
    Positive,
)
from mtsim.scenario.section import Section
from mtsim.scenario.shocks import SECOND_NS, AnyShock
from mtsim.scenario.task import Agent, Task


class Instrument(Section):
    """What trades."""

    symbol: str = Field(default="SYN", min_length=1, max_length=32, description="Its name.")
    tick_size: ExactDecimal = Field(
        default=Decimal("0.01"), gt=0, le=10**9, description="Price of one tick."
    )
    lot_size: ExactDecimal = Field(
        default=Decimal(1), gt=0, le=10**9, description="Quantity of one lot."
    )
    currency: str = Field(
        default="USD", min_length=1, max_length=16, description="What prices are in."
    )
    liquidity_tier: int | None = Field(
        default=None,
        ge=0,
        le=15,
        description="Volume bin the decoder is told; null leaves it to the opening.",
    )


class Session(Section):
    """When it trades, and when the run stops."""

    open_ns: ClockNs = Field(
        default=(9 * 3600 + 30 * 60) * SECOND_NS,
        alias="open",
        description="Time of day of the first event.",
    )
    duration_ns: DurationNs = Field(
        default=1800 * SECOND_NS, alias="duration", description="Length of the run."
    )
    warmup_ns: DurationNs = Field(
        default=0,
        alias="warmup",
        description="Part at the start that no metric counts and no agent sees.",
    )
    max_events: Count | None = Field(
        default=None, description="Stops earlier after so many events."
    )

    @model_validator(mode="after")
    def _warmup_ends_first(self) -> Session:
        if self.warmup_ns >= self.duration_ns:
            raise PydanticCustomError("order", "warmup must be shorter than duration")
        return self


class Fees(Section):
    """What a trade costs each side, of its notional; below 0 is a rebate."""

    maker_bp: Bp = Field(default=0.0, description="Of the order that rested.")
    taker_bp: Bp = Field(default=0.0, description="Of the order that came in.")


class Halt(Section):
    """A pause when the price leaves its band (limit up, limit down)."""

    band: Fraction = Field(
        default=0.05, gt=0, description="Half-width of the band around the reference."
    )
    reference_ns: DurationNs = Field(
        default=300 * SECOND_NS,
        alias="reference",
        description="Window of the mean price in its middle.",
    )
    limit_state_ns: DurationNs = Field(
        default=15 * SECOND_NS,
        alias="limit_state",
        description="Time at the band before the pause.",
    )
    pause_ns: DurationNs = Field(
        default=300 * SECOND_NS, alias="pause", description="Length of the pause."
    )
    reopen: Literal["auction", "continuous"] = Field(
        default="auction", description="How trading resumes."
    )


class Rules(Section):
    """What the exchange allows and charges."""

    fees: Fees = Field(default_factory=Fees, description="Fees and rebates.")
    self_trade: Literal["allow", "cancel_newest", "cancel_oldest", "cancel_both", "decrement"] = (
        Field(default="cancel_newest", description="When an owner would meet its own order.")
    )
    price_limit: Fraction | None = Field(
        default=None,
        gt=0,
        description="Orders beyond this move from the open are refused; null has no limit.",
    )
    halt: Halt | None = Field(default=None, description="Volatility halt; null never halts.")
    throughput: Positive | None = Field(
        default=None,
        description="Messages per second the exchange takes in; the rest queues; null: no bound.",
        json_schema_extra={"unit": "1/s"},
    )
    opening_auction: bool = Field(
        default=False, description="The session begins with a call auction."
    )
    max_lots: Lots | None = Field(
        default=None, description="Largest order; null is the engine's own bound."
    )


class Latency(Section):
    """Time from the agent's decision to the exchange, lognormal."""

    median_ns: DurationNs = Field(
        default=0, alias="median", description="Half the messages take less."
    )
    sigma: NonNegative = Field(default=0.0, le=5, description="Of the logarithm; 0 is constant.")
    feed_ns: DurationNs = Field(default=0, alias="feed", description="Age of what the agent sees.")


class Evaluation(Section):
    """What a run writes down and measures."""

    twin: bool = Field(
        default=True, description="Runs the same world with agent and shocks muted beside it."
    )
    levels: Count = Field(default=10, le=1000, description="Book levels that depth metrics read.")
    sample_ns: DurationNs = Field(
        default=SECOND_NS, alias="sample", description="Grid of state metrics."
    )
    bootstrap: Count = Field(default=1000, le=100_000, description="Resamples behind an interval.")
    report: bool = Field(default=True, description="Writes the report.")


class Scenario(Section):
    """Everything that defines a run.

    Every value has a default, so the smallest scenario is an empty mapping: half an hour of the
    shipped model's own market, without agent and shocks.
    """

    name: str | None = Field(
        default=None,
        max_length=64,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="Of the run's folder.",
    )
    description: str = Field(
        default="", max_length=4000, description="What it shows, for `mtsim ls scenarios`."
    )
    seed: int = Field(
        default=0, ge=0, le=2**63 - 1, description="All randomness of the run follows from it."
    )
    instrument: Instrument = Field(default_factory=Instrument, description="The instrument.")
    session: Session = Field(default_factory=Session, description="When it trades.")
    rules: Rules = Field(default_factory=Rules, description="Of the exchange.")
    latency: Latency = Field(default_factory=Latency, description="Of the agent's messages.")
    flow: Flow = Field(
        default_factory=lambda: DecoderFlow(kind="decoder"),
        description="Where background messages come from.",
    )
    opening: Opening = Field(
        default_factory=lambda: SyntheticOpening(kind="synthetic"),
        description="The book at the start.",
    )
    agent: Agent | None = Field(
        default=None, description="Who performs the task; null only watches."
    )
    task: Task | None = Field(default=None, description="What the agent is asked to do.")
    shocks: tuple[AnyShock, ...] = Field(
        default=(), max_length=100, description="Scheduled interventions."
    )
    evaluation: Evaluation = Field(default_factory=Evaluation, description="What is measured.")

    @model_validator(mode="after")
    def _agent_has_a_task(self) -> Scenario:
        if self.agent is not None and self.task is None:
            raise PydanticCustomError("order", "an agent needs a task")
        names = [shock.name for shock in self.shocks if shock.name is not None]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise PydanticCustomError(
                "order", "two shocks are named {names}", {"names": ", ".join(twice)}
            )
        return self
