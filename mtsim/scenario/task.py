"""What an agent is asked to do, and how: policy, task, observation, action, reward."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from mtsim.scenario.quantities import (
    Count,
    DurationNs,
    Float,
    Fraction,
    Lots,
    NonNegative,
    Positive,
    Ticks,
)
from mtsim.scenario.section import Section

OrderSide = Literal["buy", "sell"]
BookSide = Literal["bid", "ask"]
BookSides = Literal["bid", "ask", "both"]


class DoNothing(Section):
    """Never trades; what is left at the horizon is liquidated."""

    policy: Literal["do_nothing"]


class RandomPolicy(Section):
    """A uniform draw over the allowed actions."""

    policy: Literal["random"]


class AllAtOnce(Section):
    """The whole parent order as one market order at the start."""

    policy: Literal["all_at_once"]


class Twap(Section):
    """Equal slices in equal intervals."""

    policy: Literal["twap"]
    slices: Count = Field(default=20, description="Number of child orders.")
    style: Literal["market", "passive"] = Field(
        default="market",
        description="Children take, or rest at the touch and take when the interval ends.",
    )


class Vwap(Section):
    """Slices in proportion to an expected volume curve."""

    policy: Literal["vwap"]
    slices: Count = Field(default=20, description="Number of child orders.")
    curve: tuple[NonNegative, ...] | None = Field(
        default=None,
        description="Expected volume of each interval; null takes the session's own average.",
    )


class Pov(Section):
    """A share of the volume that others trade."""

    policy: Literal["pov"]
    rate: Fraction = Field(default=0.1, description="Share of the traded volume.")
    lookback_ns: DurationNs = Field(
        default=60 * 10**9, alias="lookback", description="Window in which volume is counted."
    )
    price_limit_tick: Ticks | None = Field(
        default=None,
        alias="price_limit",
        description="Never trades beyond this tick; null has no limit.",
    )


class AlmgrenChriss(Section):
    """The closed-form schedule of Almgren and Chriss (2001)."""

    policy: Literal["almgren_chriss"]
    slices: Count = Field(default=20, description="Number of child orders.")
    risk_aversion: NonNegative = Field(
        default=1e-6, description="Lambda of the mean-variance objective."
    )
    temporary_impact: Positive = Field(
        default=1e-3, description="Eta: ticks for each lot per second."
    )
    permanent_impact: NonNegative = Field(default=1e-5, description="Gamma: ticks for each lot.")
    volatility: Positive | None = Field(
        default=None,
        description="Ticks per square root of a second; null measures it before the start.",
    )


class PassiveThenCross(Section):
    """Rests at the touch, follows it, and crosses when time runs out."""

    policy: Literal["passive_then_cross"]
    patience_ns: DurationNs = Field(
        default=30 * 10**9, alias="patience", description="How long a child order may rest."
    )
    slices: Count = Field(default=10, description="Number of child orders.")


class AvellanedaStoikov(Section):
    """Market making with a reservation price (Avellaneda and Stoikov 2008)."""

    policy: Literal["avellaneda_stoikov"]
    risk_aversion: Positive = Field(default=0.1, description="Gamma.")
    decay: Positive = Field(default=1.5, description="k of the fill intensity A exp(-k distance).")
    lots: Lots = Field(default=1, description="Size of each quote.")
    max_inventory: Lots = Field(default=100, description="Quotes that would pass it are not sent.")


class Glft(Section):
    """Market making with inventory bounds (Gueant, Lehalle and Fernandez-Tapia 2013)."""

    policy: Literal["glft"]
    risk_aversion: Positive = Field(default=0.1, description="Gamma.")
    decay: Positive = Field(default=1.5, description="k of the fill intensity A exp(-k distance).")
    intensity: Positive = Field(default=1.0, description="A of the fill intensity.")
    lots: Lots = Field(default=1, description="Size of each quote.")
    max_inventory: Lots = Field(default=100, description="The bound of the closed form.")


class Learned(Section):
    """A policy saved by `mtsim train-agent`."""

    policy: Literal["learned"]
    model: str = Field(description="Path of the saved policy.")
    deterministic: bool = Field(
        default=True, description="Takes the likeliest action instead of a draw."
    )


Agent = Annotated[
    DoNothing
    | RandomPolicy
    | AllAtOnce
    | Twap
    | Vwap
    | Pov
    | AlmgrenChriss
    | PassiveThenCross
    | AvellanedaStoikov
    | Glft
    | Learned,
    Field(discriminator="policy"),
]


class TimeClock(Section):
    """A decision every fixed time."""

    kind: Literal["time"]
    every_ns: DurationNs = Field(
        default=10**9, alias="every", description="Time between decisions."
    )


class EventClock(Section):
    """A decision every fixed number of events."""

    kind: Literal["events"]
    every: Count = Field(default=100, description="Events between decisions.")


class FillClock(Section):
    """A decision after each own fill, and at the latest after `at_most`."""

    kind: Literal["own_fill"]
    at_most_ns: DurationNs = Field(default=10 * 10**9, alias="at_most", description="Longest wait.")


Clock = Annotated[TimeClock | EventClock | FillClock, Field(discriminator="kind")]


class Observation(Section):
    """What the agent sees."""

    mode: Literal["features", "l1", "l2", "l3", "events", "dict"] = Field(
        default="features", description="Form of the observation."
    )
    levels: Count = Field(default=10, le=100, description="Book levels on each side.")
    events: Count = Field(default=100, le=10_000, description="Past events, in mode `events`.")


class Action(Section):
    """What the agent can do."""

    mode: Literal["placement", "continuous", "schedule", "quotes", "orders"] = Field(
        default="placement", description="Form of the action."
    )
    sizes: tuple[Fraction, ...] = Field(
        default=(0.25, 0.5, 1.0),
        min_length=1,
        description="Order sizes as fractions of what remains.",
    )
    levels: Count = Field(default=3, le=50, description="Passive levels to choose from.")


class RewardTerm(Section):
    """One term of the reward; the reward is their weighted sum, and each is in `info`."""

    term: Literal[
        "implementation_shortfall",
        "twap_advantage",
        "vwap_advantage",
        "pnl",
        "running_inventory",
        "terminal_inventory",
        "cara",
        "crra",
        "spooner",
        "almgren_chriss",
    ] = Field(description="Which term.")
    weight: Float = Field(default=1.0, description="Its factor.")
    coefficient: NonNegative = Field(
        default=1.0, description="Its own parameter, where it has one."
    )


class ExecutionTask(Section):
    """Buy or sell a quantity within a horizon."""

    kind: Literal["execution"]
    side: OrderSide = Field(default="buy", description="Side of the parent order.")
    quantity: Lots | None = Field(default=None, description="Size of the parent order.")
    quantity_fraction: Positive | None = Field(
        default=None, description="Size as a share of the volume expected within the horizon."
    )
    start_ns: DurationNs = Field(default=0, alias="start", description="When the parent begins.")
    horizon_ns: DurationNs = Field(default=900 * 10**9, alias="horizon", description="Time it has.")
    clock: Clock = Field(
        default_factory=lambda: TimeClock(kind="time"), description="When the agent decides."
    )
    observation: Observation = Field(default_factory=Observation, description="What it sees.")
    action: Action = Field(default_factory=Action, description="What it can do.")
    reward: tuple[RewardTerm, ...] = Field(
        default_factory=lambda: (RewardTerm(term="implementation_shortfall"),),
        description="Terms that are added up.",
    )
    force_liquidation: bool = Field(
        default=True, description="What is left at the end is really traded."
    )

    @model_validator(mode="after")
    def _one_quantity(self) -> ExecutionTask:
        if (self.quantity is None) == (self.quantity_fraction is None):
            raise PydanticCustomError(
                "one_of", "give exactly one of quantity and quantity_fraction"
            )
        return self


class MarketMakingTask(Section):
    """Quote both sides and keep the inventory within bounds."""

    kind: Literal["market_making"]
    horizon_ns: DurationNs = Field(
        default=900 * 10**9, alias="horizon", description="Length of an episode."
    )
    max_inventory: Lots = Field(default=100, description="Bound on the position, either way.")
    clock: Clock = Field(
        default_factory=lambda: TimeClock(kind="time"), description="When the agent decides."
    )
    observation: Observation = Field(default_factory=Observation, description="What it sees.")
    action: Action = Field(
        default_factory=lambda: Action(mode="quotes"), description="What it can do."
    )
    reward: tuple[RewardTerm, ...] = Field(
        default_factory=lambda: (RewardTerm(term="pnl"), RewardTerm(term="running_inventory")),
        description="Terms that are added up.",
    )


Task = Annotated[ExecutionTask | MarketMakingTask, Field(discriminator="kind")]
