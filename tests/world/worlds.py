"""Small worlds for the tests, and messages to send into them."""

import numpy as np

from mtsim.engine.batch import Books
from mtsim.engine.messages import MESSAGE_DTYPE, Kind, TimeInForce
from mtsim.engine.tape import Tape
from mtsim.engine.units import Side
from mtsim.flow.base import Flow
from mtsim.flow.sizes import Sizes
from mtsim.flow.zero_intelligence import ZeroIntelligence
from mtsim.world.opening import synthetic
from mtsim.world.world import World

BUY, SELL = Side.BUY, Side.SELL
SECOND_NS = 10**9
SIZES = Sizes.empirical(np.array([1, 2, 5, 20]), np.array([4, 3, 2, 1]))
OPENING = synthetic(mid_tick=100, spread=2, levels=8, orders_per_level=3, lots=6, decay=0.1)


def market(**changes) -> ZeroIntelligence:
    """About 70 events a second of market time, some 100 orders in the book."""
    rates = {"add_rate": 2.0, "market_rate": 3.0, "cancel_rate": 0.25, "depth": 8}
    return ZeroIntelligence(**{**rates, "sizes": SIZES, "first_tick": 100, **changes})


def make_world(
    n_worlds: int = 1,
    flow: Flow | None = None,
    *,
    is_recorded: bool = True,
    opening: np.ndarray | None = OPENING,
    slots: int = 255,
    seed: int = 7,
    **options,
) -> World:
    """Worlds with their opening executed, recorded unless that is not wanted."""
    tape = Tape(seeds={"seed": seed}, config={}, books=n_worlds) if is_recorded else None
    world = World(Books(n_worlds, slots=slots), flow or market(), seed=seed, tape=tape, **options)
    if opening is not None:
        world.open(opening)
    return world


def tape_of(world: World) -> Tape:
    """The tape of a world that is recorded."""
    assert world.tape is not None
    return world.tape


def rows(*wanted: dict) -> np.ndarray:
    """MESSAGE_DTYPE rows: one lot bought at the market, unless a row says otherwise."""
    messages = np.zeros(len(wanted), MESSAGE_DTYPE)
    for message, fields in zip(messages, wanted, strict=True):
        defaults = {"kind": Kind.MARKET, "lots": 1}
        if fields.get("kind", Kind.MARKET) == Kind.MARKET:
            defaults["tif"] = TimeInForce.IOC
        for name, value in {**defaults, **fields}.items():
            message[name] = value
    return messages


def limit(side: Side, price_tick: int, lots: int = 1, **fields) -> np.ndarray:
    return rows(
        {"kind": Kind.LIMIT, "side": side, "price_tick": price_tick, "lots": lots, **fields}
    )


def cancel(order_id: int, **fields) -> np.ndarray:
    return rows({"kind": Kind.CANCEL, "order_id": order_id, "lots": 0, **fields})


def disturb(world: World, worlds: np.ndarray | None = None, *, owner: int = 1) -> None:
    """Ten seconds in which an agent trades and quotes, different in each world."""
    chosen = np.arange(len(world)) if worlds is None else worlds
    for second in range(1, 11):
        for b in chosen.tolist():
            number = int(world.numbers[b])
            side = Side((second + number) % 2)
            tick = int(world.touch()[b, side]) if second > 1 else 100
            sent = world.submit(b, owner, limit(side, tick, lots=3 + number % 4))
            world.submit(b, owner, rows({"side": 1 - side, "lots": 1 + second % 3}))
            if second % 3 == 0:
                world.submit(b, owner, cancel(int(sent.order_ids[0])))
        world.advance(int(world.now_ns[chosen].max()) + SECOND_NS, worlds=chosen)
