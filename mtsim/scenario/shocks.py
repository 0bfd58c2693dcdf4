"""Scheduled interventions, one section for each of the 22 types: plain data.

The letter in a docstring is the kind: E an exchange rule, F injected orders, A agents, G the
generator.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from mtsim.scenario.quantities import (
    Bp,
    Count,
    DurationNs,
    Float,
    Fraction,
    Lots,
    Moment,
    NonNegative,
    Population,
    Positive,
    Ticks,
    When,
    parse_distribution,
)
from mtsim.scenario.section import Section
from mtsim.scenario.task import Agent, BookSide, BookSides, OrderSide

SECOND_NS = 10**9


class Shock(Section):
    """What every shock has."""

    name: str | None = Field(default=None, max_length=64, description="How reports call it.")
    at: Moment = Field(
        default=When("time", 0), description="Start: a time, a number of events or a condition."
    )
    duration_ns: DurationNs | None = Field(
        default=None,
        alias="duration",
        description="How long it lasts; null is once, or to the end.",
    )
    enabled: bool = Field(default=True, description="false keeps it in the file without effect.")


class MassCancel(Shock):
    """F: background orders near the touch are cancelled at once (Large 2007)."""

    type: Literal["mass_cancel"]
    side: BookSides = Field(default="bid", description="Which side of the book.")
    levels: Count = Field(default=5, le=1000, description="Best levels it reaches.")
    fraction: Fraction = Field(default=0.8, description="Share of the lots cancelled.")


class Sweep(Shock):
    """F: one aggressive order through several levels (Degryse 2005; Xu 2016)."""

    type: Literal["sweep"]
    side: OrderSide = Field(default="sell", description="Side of the order.")
    levels: Count | None = Field(default=None, le=1000, description="Levels it takes in full.")
    volume_fraction: Positive | None = Field(
        default=None, description="Size as a share of the lots traded in the last `lookback`."
    )
    lookback_ns: DurationNs = Field(
        default=300 * SECOND_NS, alias="lookback", description="See above."
    )

    @model_validator(mode="after")
    def _one_size(self) -> Sweep:
        if (self.levels is None) == (self.volume_fraction is None):
            raise PydanticCustomError("one_of", "give exactly one of levels and volume_fraction")
        return self


class ParentOrder(Shock):
    """A: a large parent order worked by a policy (impact studies)."""

    type: Literal["parent_order"]
    agent: Agent = Field(description="The policy that works it.")
    side: OrderSide = Field(default="buy", description="Side of the parent.")
    quantity_fraction: Positive = Field(
        default=0.1, description="Size as a share of the volume expected within the horizon."
    )
    horizon_ns: DurationNs = Field(
        default=900 * SECOND_NS, alias="horizon", description="Time it has."
    )


class FlashCrash(Shock):
    """A: a seller by share of volume without regard to price (CFTC-SEC 2010)."""

    type: Literal["flash_crash"]
    side: OrderSide = Field(default="sell", description="Side of the parent.")
    rate: Fraction = Field(default=0.09, description="Share of the volume of the last `lookback`.")
    lookback_ns: DurationNs = Field(
        default=60 * SECOND_NS, alias="lookback", description="See above."
    )
    quantity: Lots | None = Field(
        default=None, description="Size of the parent; null is without bound."
    )
    price_limit: Fraction | None = Field(
        default=None, description="Stops beyond this move; null never."
    )


class MakerWithdrawal(Shock):
    """A/G: a share of the liquidity providers stops quoting."""

    type: Literal["maker_withdrawal"]
    share: Fraction = Field(default=0.5, description="Share of new passive orders that stays away.")
    side: BookSides = Field(default="both", description="Which side of the book.")


class MakerInventoryLimit(Shock):
    """A: market makers that stop at an inventory limit."""

    type: Literal["maker_inventory_limit"]
    makers: Count = Field(default=5, le=1000, description="How many there are.")
    max_inventory: Lots = Field(default=50, description="Limit of each.")
    lots: Lots = Field(default=1, description="Size of their quotes.")


class SpreadWidening(Shock):
    """G/E: orders that would improve the touch are kept off."""

    type: Literal["spread_widening"]
    improve_ban_ticks: Ticks = Field(
        default=2, ge=1, description="Distance from the touch at the start."
    )


class RegimeSwitch(Shock):
    """G: the flow turns to another regime, by prompt or by tilt."""

    type: Literal["regime_switch"]
    to: Literal["volatile", "calm"] = Field(default="volatile", description="The new regime.")
    strength: Positive = Field(default=1.0, description="Of the tilt.")
    ramp_ns: DurationNs = Field(
        default=30 * SECOND_NS, alias="ramp", description="Time to full strength."
    )


class ToxicFlow(Shock):
    """G: one side of the aggressive flow becomes likelier (VPIN literature)."""

    type: Literal["toxic_flow"]
    side: OrderSide = Field(default="sell", description="The likelier side.")
    log_odds: Float = Field(default=0.5, ge=-10, le=10, description="Tilt of the side's log odds.")


class InformedTrader(Shock):
    """A: a trader who knows the future mid with some accuracy (Kyle; Glosten and Milgrom)."""

    type: Literal["informed_trader"]
    signal_horizon_ns: DurationNs = Field(
        default=60 * SECOND_NS,
        alias="signal_horizon",
        description="How far ahead the signal looks.",
    )
    accuracy: Fraction = Field(default=0.6, description="Probability that the signal is right.")
    share: Fraction = Field(default=0.05, description="Share of the traded volume.")


class MomentumIgnition(Shock):
    """A: traders who follow the last move."""

    type: Literal["momentum_ignition"]
    n: Count = Field(default=10, le=10_000, description="How many there are.")
    window_ns: DurationNs = Field(
        default=30 * SECOND_NS, alias="window", description="Their look back."
    )
    size: Lots = Field(default=1, description="Size of their orders.")


class StopOrders(Section):
    """Resting stop orders of one population."""

    n: Count = Field(default=100, le=100_000, description="How many there are.")
    side: OrderSide = Field(default="sell", description="Side of the orders they become.")
    distance_ticks: Population = Field(
        default_factory=lambda: parse_distribution(20),
        description="Trigger below or above the mid.",
    )
    lots: Population = Field(default_factory=lambda: parse_distribution(1), description="Sizes.")


class StopLossCascade(Shock):
    """A: stop orders that trigger one another (mini-crash studies)."""

    type: Literal["stop_loss_cascade"]
    stops: StopOrders = Field(default_factory=StopOrders, description="The orders.")


class Mistake(Shock):
    """F: a fat finger: a far too large order far from the market."""

    type: Literal["mistake"]
    side: OrderSide = Field(default="sell", description="Side of the order.")
    volume_fraction: Positive = Field(
        default=0.5, description="Size as a share of an hour's volume."
    )
    price_change: Float = Field(
        default=-0.05, gt=-1, le=10, description="Its limit, relative to the mid."
    )


class Fundamental(Shock):
    """A/G: the value that informed traders believe in jumps."""

    type: Literal["fundamental"]
    change: Float = Field(default=-0.1, gt=-1, le=10, description="Relative jump.")


class HaltShock(Shock):
    """E: trading halts now and reopens through an auction or at once."""

    type: Literal["halt"]
    reopen: Literal["auction", "continuous"] = Field(
        default="auction", description="How it reopens."
    )


class PriceLimitShock(Shock):
    """E: orders beyond a band around the reference are refused (magnet effect)."""

    type: Literal["price_limit"]
    band: Fraction = Field(default=0.05, gt=0, description="Half-width of the band.")


class AuctionShock(Shock):
    """E: a volatility or closing auction; `duration` is its call phase."""

    type: Literal["auction"]


class QuoteStuffing(Shock):
    """F: bursts of orders that are cancelled at once."""

    type: Literal["quote_stuffing"]
    rate: Positive = Field(
        default=2000.0, description="Orders per second.", json_schema_extra={"unit": "1/s"}
    )
    lifetime_ns: DurationNs = Field(
        default=5 * 10**6, alias="lifetime", description="Of each order."
    )
    levels: Count = Field(default=3, le=1000, description="Levels they are spread over.")


class Spoofing(Shock):
    """F: layered orders that leave before they trade (Wang et al. 2021)."""

    type: Literal["spoofing"]
    side: BookSide = Field(default="bid", description="Side of the layers.")
    levels: Count = Field(default=3, le=1000, description="Levels behind the touch.")
    size_x: Positive = Field(default=5.0, description="Size relative to the level's own.")
    cancel_if_touch: Ticks = Field(default=1, description="Leaves when the touch is this near.")


class LatencySpike(Shock):
    """E: messages take longer."""

    type: Literal["latency_spike"]
    x: Positive = Field(default=50.0, description="Factor on the latency.")


class RuleChange(Shock):
    """E: tick, lot or fees change."""

    type: Literal["rule_change"]
    tick_size_x: Count | None = Field(default=None, description="New tick in old ticks.")
    lot_size_x: Count | None = Field(default=None, description="New lot in old lots.")
    maker_bp: Bp | None = Field(default=None, description="New maker fee; below 0 a rebate.")
    taker_bp: Bp | None = Field(default=None, description="New taker fee.")

    @model_validator(mode="after")
    def _some_change(self) -> RuleChange:
        if all(
            change is None
            for change in (self.tick_size_x, self.lot_size_x, self.maker_bp, self.taker_bp)
        ):
            message = "give at least one of tick_size_x, lot_size_x, maker_bp and taker_bp"
            raise PydanticCustomError("one_of", message)
        return self


class FeedOutage(Shock):
    """E: the agent's view of the book stops or goes blank."""

    type: Literal["feed_outage"]
    mode: Literal["freeze", "blank"] = Field(default="freeze", description="What the agent sees.")
    share: NonNegative = Field(default=1.0, le=1, description="Share of updates lost.")


AnyShock = Annotated[
    MassCancel
    | Sweep
    | ParentOrder
    | FlashCrash
    | MakerWithdrawal
    | MakerInventoryLimit
    | SpreadWidening
    | RegimeSwitch
    | ToxicFlow
    | InformedTrader
    | MomentumIgnition
    | StopLossCascade
    | Mistake
    | Fundamental
    | HaltShock
    | PriceLimitShock
    | AuctionShock
    | QuoteStuffing
    | Spoofing
    | LatencySpike
    | RuleChange
    | FeedOutage,
    Field(discriminator="type"),
]
