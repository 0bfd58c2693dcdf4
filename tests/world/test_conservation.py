"""What goes in comes out: lots and cash, after every event; and a check that would notice."""

from fractions import Fraction

import numpy as np
import pytest

from mtsim.engine.messages import Flag, Kind, SelfTrade
from mtsim.engine.units import Side
from mtsim.world.account import CASH, COLUMNS, OPEN_ORDERS, POSITION_LOTS, FeeSchedule
from mtsim.world.conservation import open_orders
from tests.world.worlds import (
    BUY,
    SECOND_NS,
    SELL,
    cancel,
    disturb,
    limit,
    make_world,
    rows,
    tape_of,
)


def test_an_agents_run_conserves_lots_and_cash():
    """Checked by the paranoid world after every event; the events are the same as without."""
    paranoid, plain = (make_world(2, agents=1, paranoid=it) for it in (True, False))
    for world in (paranoid, plain):
        disturb(world)
    assert paranoid.tape.hash() == plain.tape.hash()
    assert (plain.accounts[:, :, CASH].sum(axis=1) == 0).all()
    assert (plain.accounts[:, 1, COLUMNS.index("bought_lots")] > 10).all()


def test_every_kind_of_message_conserves_lots():
    """Icebergs, replaces, reduces, each self-trade mode, posts that would take, an auction."""
    random = np.random.default_rng(3)
    world = make_world(agents=2, paranoid=True)
    named = [1]
    for _ in range(400):
        owner = int(random.integers(1, 3))
        kind = int(random.choice([Kind.LIMIT] * 4 + [Kind.MARKET, Kind.REPLACE, Kind.REDUCE]))
        lots = int(random.integers(1, 30))
        fields = {
            "kind": kind,
            "side": int(random.integers(2)),
            "price_tick": int(random.integers(94, 110)),
            "lots": lots,
            "stp": int(random.choice(list(SelfTrade))),
            "order_id": int(random.choice(named)),
        }
        if kind == Kind.LIMIT and random.random() < 0.3:
            fields["display_lots"] = max(1, lots // 4)
        if kind in (Kind.LIMIT, Kind.REPLACE) and random.random() < 0.2:
            fields["flags"] = Flag.POST_ONLY
        sent = world.submit(0, owner, rows(fields))
        named = [*named[-6:], int(sent.order_ids[0])]
        world.advance(events=int(random.integers(1, 4)))
    kinds = world.tape.table("fills")["kind"]
    assert set(kinds.tolist()) == {0, 1, 2}
    assert len(tape_of(world)) > 500


def test_an_auction_settles_what_it_uncrosses():
    world = make_world(agents=2, paranoid=True, opening=None, flow=quiet())
    world.deliver(0, rows({"kind": Kind.AUCTION, "lots": 0}))
    world.submit(0, 1, limit(BUY, 105, lots=7))
    world.submit(0, 1, limit(BUY, 90, lots=1))
    world.submit(0, 2, limit(SELL, 95, lots=4))
    world.advance(SECOND_NS)
    world.deliver(0, rows({"kind": Kind.UNCROSS, "price_tick": 100, "lots": 0}))
    world.advance(2 * SECOND_NS)
    assert world.accounts[0, :, POSITION_LOTS].tolist() == [0, 4, -4]
    assert world.accounts[0, :, OPEN_ORDERS].tolist() == [0, 2, 0]
    assert world.tape.table("fills")["lots"].sum() == 4


def quiet():
    from tests.world.test_latency import scripted

    return scripted((10**15, limit(BUY, 1, order_id=1)))


def test_accounts_hold_what_trades_make_of_them():
    world = make_world(agents=2, opening=None, flow=quiet())
    sent = world.submit(0, 1, np.concatenate((limit(SELL, 101, lots=5), limit(SELL, 102, lots=5))))
    world.submit(0, 2, rows({"side": BUY, "lots": 7}))
    world.submit(0, 2, limit(BUY, -3, lots=2))
    world.submit(0, 1, rows({"side": SELL, "lots": 1}))
    world.advance(SECOND_NS)
    seller, buyer = (dict(zip(COLUMNS, world.accounts[0, owner], strict=True)) for owner in (1, 2))
    assert buyer == {
        "position_lots": 8,
        "cash": -(5 * 101 + 2 * 102) + 3,
        "maker_notional": 3,
        "taker_notional": 5 * 101 + 2 * 102,
        "bought_lots": 8,
        "sold_lots": 0,
        "maker_lots": 1,
        "open_orders": 1,
    }
    assert seller["cash"] == -buyer["cash"]
    assert (seller["sold_lots"], seller["maker_lots"], seller["open_orders"]) == (8, 7, 1)
    world.submit(0, 1, cancel(int(sent.order_ids[1])))
    world.advance(2 * SECOND_NS)
    assert world.accounts[0, :, OPEN_ORDERS].tolist() == [0, 0, 1]


def test_open_orders_are_those_in_the_book():
    world = make_world(4, agents=1)
    disturb(world)
    world.submit(np.arange(4), 1, np.repeat(limit(BUY, 60), 4))
    world.advance(11 * SECOND_NS)
    for b in range(4):
        found = open_orders(world.books, b, 2)
        assert world.accounts[b, :, OPEN_ORDERS].tolist() == found.tolist()
        assert found[1] > 0


def test_fees_are_exact():
    fees = FeeSchedule(maker_bp=Fraction(-1, 5), taker_bp=Fraction(3, 10))
    account = np.zeros(len(COLUMNS), np.int64)
    account[COLUMNS.index("maker_notional")] = 2**55 + 1
    account[COLUMNS.index("taker_notional")] = 7
    assert fees.fee(account) == Fraction(-(2**55 + 1), 50_000) + Fraction(21, 100_000)


@pytest.mark.parametrize("column", [POSITION_LOTS, CASH, OPEN_ORDERS])
def test_a_miscounted_account_is_noticed(column):
    world = make_world(agents=1, paranoid=True)
    world.advance(SECOND_NS)
    world.accounts[0, 0, column] += 1
    world.accounts[0, 1, column] -= 1
    with pytest.raises(AssertionError, match="book 0: "):
        world.advance(2 * SECOND_NS)


def test_lots_from_nowhere_are_noticed():
    world = make_world(agents=1, paranoid=True)
    world.advance(SECOND_NS)
    world.books.step(limit(Side.BUY, 50, order_id=77)[None])
    with pytest.raises(AssertionError, match="lots in, "):
        world.advance(2 * SECOND_NS)
