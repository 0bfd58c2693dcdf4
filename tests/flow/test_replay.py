"""History is what it was while nobody else is there; where somebody is, its messages do what they
can."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mtsim.engine.batch import Books
from mtsim.engine.events import EVENT_DTYPE, EventType, Origin, to_messages
from mtsim.engine.messages import (
    Flag,
    Kind,
    Reject,
    SelfTrade,
    TimeInForce,
)
from mtsim.errors import UsageError
from mtsim.flow.base import FAR, FIRST_FLOW_ID
from mtsim.flow.replay import Replay
from mtsim.model.execution import Execution
from mtsim.model.ingest import import_session
from mtsim.model.sources.base import Options
from mtsim.model.sources.lobster import open_sessions as open_lobster
from mtsim.model.store import Store
from mtsim.world.world import World
from tests.engine.streams import auction, batch, cancel, limit, market, reduce, replace, uncross
from tests.model.generated_feed import made_up
from tests.model.lived import STEP_NS, market_session, recorded, wild_session, with_marker
from tests.world.worlds import BUY, SECOND_NS, SELL, disturb, make_world, tape_of
from tests.world.worlds import cancel as agent_cancel
from tests.world.worlds import limit as agent_limit

IOC, FOK = TimeInForce.IOC, TimeInForce.FOK


def world_of(flow: Replay, n_worlds: int = 1, **options) -> World:
    return make_world(n_worlds, flow=flow, opening=flow.opening, **{"agents": 1, **options})


def fallbacks(world: World, b: int = 0) -> dict[str, int]:
    """Those that have happened."""
    assert isinstance(world.flow, Replay)
    counts = world.flow.fallbacks(world.state_i)
    return {name: int(count[b]) for name, count in counts.items() if count[b]}


def accepted(events: np.ndarray) -> np.ndarray:
    is_message = events["type"] < EventType.SESSION_START
    return events[is_message & (events["reject"] == Reject.NONE)]


def executed_by_hand(events: np.ndarray):
    """The history's messages one by one, an order's id that of the entering message; the touch
    after each."""
    messages = to_messages(accepted(events))
    n_opening = int(np.argmax(accepted(events)["origin"] != Origin.OPENING))
    books, ids = Books(1), {}
    touch, fills = [], []
    for row, message in enumerate(messages):
        if message["kind"] <= Kind.MARKET:
            new = row + 1 if row < n_opening else FIRST_FLOW_ID + row - n_opening
            ids[int(message["order_id"])] = new
        message["order_id"] = ids.get(int(message["order_id"]), 0)
        message["owner"] = 0
        outcome = books.process(messages[row : row + 1])
        assert outcome.results["reject"][0] == Reject.NONE
        touch.append(books.touch()[0].tolist())
        fills.append(outcome.fills)
    return books, touch, np.concatenate(fills)


def touches(world: World) -> list[list[int]]:
    return touch_after(tape_of(world).stream(0).results)


def touch_after(results: np.ndarray) -> list[list[int]]:
    return np.column_stack((results["bid_tick"], results["ask_tick"])).tolist()


def without(rows: np.ndarray, *fields: str) -> list:
    names = [name for name in rows.dtype.names or () if name not in fields]
    return rows[names].tolist()


@pytest.mark.parametrize(
    "make", [market_session, lambda seed: wild_session(seed, self_trade=False)]
)
@pytest.mark.parametrize("seed", range(3))
def test_alone_it_makes_the_book_that_history_made(make, seed):
    """Openings, inferred events, gaps; icebergs, auctions, refusals and ids used twice."""
    events = make(seed)
    history = accepted(events)
    world = world_of(Replay([events]))
    world.advance(FAR)

    books, touch, fills = executed_by_hand(events)
    stream = tape_of(world).stream(0)
    assert touches(world) == touch
    assert stream.fills.tobytes() == fills.tobytes()
    assert world.books.hash(0) == books.hash(0)
    observed = history["origin"] != Origin.OPENING
    first = int(np.argmax(observed))
    assert stream.time_ns[first:].tolist() == history["time_ns"][first:].tolist()
    assert stream.results["filled_lots"].tolist() == history["filled_lots"].tolist()
    assert fallbacks(world) == {}
    assert world.n_null_events[0] == 0


@pytest.mark.parametrize(
    "make", [market_session, lambda seed: wild_session(seed, self_trade=False)]
)
def test_its_orders_are_the_session_s_own_by_other_names(make):
    events = make(5)
    books = Books(1)
    books.process(to_messages(events))
    world = world_of(Replay([events]))
    world.advance(FAR)
    ours, theirs = world.books.resting(0), books.resting(0)
    assert len(ours) > 10
    assert without(ours, "order_id", "owner") == without(theirs, "order_id", "owner")


def test_parts_are_one_session():
    events = market_session(2)
    whole, cut = Replay([events]), Replay([events[:70], events[70:700], events[700:]])
    assert whole.opening.tobytes() == cut.opening.tobytes()
    assert whole.params()[1].tobytes() == cut.params()[1].tobytes()


def test_a_stored_session_is_played_from_its_parts(tmp_path):
    source = made_up(tmp_path / "feed", seed=9, n=900)
    stored = import_session(source, Store(tmp_path / "store"))
    world = world_of(Replay(stored.events()))
    world.advance(FAR)
    assert world.n_messages[0] == stored.manifest["events"]["executed"]
    fills = tape_of(world).stream(0).fills
    assert int(fills["lots"].sum()) == stored.manifest["events"]["traded_lots"] > 0


def test_what_has_fallen_back_is_part_of_a_world():
    """Restored in the middle it goes on, and has counted, as without."""
    flow = Replay([market_session(3)])
    straight, again = world_of(flow, is_recorded=False), world_of(flow, is_recorded=False)
    disturb(straight)
    again.restore(0, straight.snapshot(0))
    assert fallbacks(again) == fallbacks(straight) != {}
    for world in (straight, again):
        world.advance(FAR)
    assert again.hash(0) == straight.hash(0)
    assert fallbacks(again) == fallbacks(straight)


def test_a_replay_can_begin_later():
    """What was before is the opening."""
    events = market_session(4)
    start_ns = int(events["time_ns"][1200])
    world = world_of(Replay([events], from_ns=start_ns))
    before = tape_of(world).stream(0)
    assert set(before.time_ns.tolist()) == {0}
    assert len(before.messages) == (accepted(events)["time_ns"] < start_ns).sum()
    world.advance(FAR)
    stream = tape_of(world).stream(0)
    later = accepted(events)["time_ns"] >= start_ns
    assert stream.time_ns[len(before.messages) :].tolist() == (
        (accepted(events)["time_ns"][later] - start_ns).tolist()
    )
    assert stream.results["filled_lots"].tolist() == accepted(events)["filled_lots"].tolist()
    assert fallbacks(world) == {}


def test_all_of_a_session_may_be_opening():
    rows = recorded(batch(limit(BUY, 9, 1, 1)), origin=Origin.OPENING)
    world = world_of(Replay([rows]))
    world.advance(FAR)
    assert world.books.resting(0)["price_tick"].tolist() == [9]


# What becomes of history when somebody else is there ---------------------------------------------


def played(*messages, sent, opening: int = 2, at_ns: int = 0) -> World:
    """A history whose first messages are its opening, and an agent's message into it before the
    rest."""
    rows = recorded(batch(*messages))
    rows["origin"][:opening] = Origin.OPENING
    rows["time_ns"][:opening] = 0
    world = world_of(Replay([rows]), paranoid=True)
    world.submit(0, 1, sent, at_ns=at_ns)
    world.advance(FAR)
    return world


def last_result(world: World):
    return tape_of(world).stream(0).results[-1]


BID, ASK = limit(BUY, 10, 5, 1), limit(SELL, 12, 5, 2)


def test_an_aggressor_takes_what_is_left_at_its_price():
    world = played(BID, ASK, limit(BUY, 12, 5, 3, tif=IOC), sent=agent_limit(BUY, 12, lots=2))
    assert last_result(world)["filled_lots"] == 3
    assert last_result(world)["cancelled_lots"] == 2
    assert fallbacks(world) == {"FILLED_LESS": 1}


def test_what_a_resting_aggressor_does_not_get_rests():
    world = played(BID, ASK, limit(BUY, 12, 7, 3), sent=agent_limit(BUY, 12, lots=2))
    assert last_result(world)["filled_lots"] == 3
    assert last_result(world)["resting_lots"] == 4
    assert fallbacks(world) == {"FILLED_LESS": 1}


def test_a_fill_or_kill_that_is_not_filled_whole_is_refused():
    world = played(BID, ASK, limit(BUY, 12, 5, 3, tif=FOK), sent=agent_limit(BUY, 12, lots=2))
    assert last_result(world)["reject"] == Reject.UNFILLABLE
    assert fallbacks(world) == {"REFUSED": 1}


@pytest.mark.parametrize("message", [market(BUY, 9, 3), limit(BUY, 13, 9, 3)])
def test_an_aggressor_that_found_too_little_finds_more(message):
    world = played(BID, ASK, message, sent=agent_limit(SELL, 13, lots=2))
    assert last_result(world)["filled_lots"] == 7
    assert fallbacks(world) == {"FILLED_MORE": 1}


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (cancel(2), "CANCEL_GONE"),
        (reduce(2, 2), "REDUCE_GONE"),
        (replace(2, 13, 4), "REPLACE_GONE"),
    ],
)
def test_what_asks_for_an_order_that_is_gone_is_a_null_event(message, name):
    world = played(BID, ASK, message, sent=agent_limit(BUY, 12, lots=5))
    assert len(tape_of(world).stream(0).messages) == 3
    assert world.n_null_events[0] == 1
    assert fallbacks(world) == {name: 1}


@pytest.mark.parametrize(
    ("message", "cancelled", "resting", "expected"),
    [
        (cancel(2), 2, 0, {"CANCEL_OF_LESS": 1}),
        (reduce(2, 4), 2, 0, {"REDUCE_OF_LESS": 1}),
        (reduce(2, 1), 1, 1, {}),
        (replace(2, 12, 4), 1, 1, {"REPLACE_TO_LESS": 1}),
        (replace(2, 13, 8), 0, 5, {"REPLACE_TO_LESS": 1}),
        (replace(2, 12, 3), 2, 0, {"REPLACE_TO_NOTHING": 1}),
        # In history it crossed, and traded.
        (replace(2, 10, 2), 2, 0, {"REPLACE_TO_NOTHING": 1}),
        (replace(2, 10, 4), 0, 0, {"REPLACE_TO_LESS": 1, "FILLED_LESS": 1}),
    ],
)
def test_an_order_that_has_less_gives_what_it_has(message, cancelled, resting, expected):
    """Three of its five lots are gone."""
    world = played(BID, ASK, message, sent=agent_limit(BUY, 12, lots=3))
    assert last_result(world)["order_id"] == 2
    assert last_result(world)["cancelled_lots"] == cancelled
    assert last_result(world)["resting_lots"] == resting
    assert fallbacks(world) == expected


@pytest.mark.parametrize(
    ("message", "cancelled", "resting", "expected"),
    [
        (cancel(2), 4, 0, {"CANCEL_OF_MORE": 1}),
        (reduce(2, 1), 1, 3, {}),
        (replace(2, 12, 1), 1, 3, {"REPLACE_TO_MORE": 1}),
    ],
)
def test_an_order_that_was_not_reached_has_more(message, cancelled, resting, expected):
    """An agent's better offer has traded two of the three lots that history's order did."""
    take = limit(BUY, 12, 3, 3, tif=IOC)
    world = played(BID, ASK, take, message, sent=agent_limit(SELL, 11, lots=2))
    assert last_result(world)["cancelled_lots"] == cancelled
    assert last_result(world)["resting_lots"] == resting
    assert fallbacks(world) == expected


def test_the_hidden_lots_of_an_iceberg_are_lots_of_its_order():
    berg = limit(SELL, 12, 10, 2, display_lots=2)
    alone = played(BID, berg, replace(2, 12, 6), sent=agent_limit(BUY, 9))
    assert last_result(alone)["resting_lots"] == 6
    assert fallbacks(alone) == {}
    less = played(BID, berg, replace(2, 12, 6), sent=agent_limit(BUY, 12, lots=3))
    assert last_result(less)["resting_lots"] == 3
    assert fallbacks(less) == {"REPLACE_TO_LESS": 1}


def test_a_shrunken_order_keeps_its_place():
    world = played(
        BID, ASK, limit(SELL, 12, 1, 3), replace(2, 12, 4), sent=agent_limit(BUY, 12, lots=3),
        opening=3,
    )  # fmt: skip
    resting = world.books.orders_at(0, SELL, 12)
    assert resting[["order_id", "lots"]].tolist() == [(2, 1), (3, 1)]


def test_an_order_that_now_crosses_trades_and_its_rest_rests():
    world = played(BID, ASK, limit(BUY, 11, 5, 3), sent=agent_limit(SELL, 11, lots=2))
    fill = tape_of(world).stream(0).fills[-1]
    assert (fill["maker_owner"], fill["taker_owner"], fill["lots"]) == (1, 0, 2)
    assert last_result(world)["resting_lots"] == 3
    assert fallbacks(world) == {"ADD_TRADED": 1}


def test_a_post_only_order_that_now_crosses_is_refused_and_its_cancel_is_null():
    add = limit(BUY, 11, 5, 3, flags=Flag.POST_ONLY)
    world = played(BID, ASK, add, cancel(3), sent=agent_limit(SELL, 11, lots=2))
    assert last_result(world)["reject"] == Reject.WOULD_TAKE
    assert fallbacks(world) == {"REFUSED": 1, "CANCEL_GONE": 1}


def test_an_agent_trades_in_history_s_auction():
    rows = (BID, ASK, auction(), limit(BUY, 11, 3, 3), limit(SELL, 11, 3, 4), uncross(11))
    world = played(*rows, sent=agent_limit(BUY, 11, lots=2), at_ns=3 * STEP_NS)
    assert world.accounts[0, 1, 0] == 2
    alone = played(*rows, sent=agent_limit(BUY, 1))
    assert last_result(alone)["filled_lots"] == last_result(world)["filled_lots"] == 3
    assert fallbacks(alone) == fallbacks(world) == {}


def test_an_id_that_history_uses_twice_is_two_orders():
    """The first of them still rests when the second enters."""
    rows = (BID, ASK, limit(BUY, 12, 5, 3, tif=IOC), limit(SELL, 13, 4, 2), cancel(2))
    world = played(*rows, sent=agent_limit(SELL, 11, lots=5))
    assert world.books.orders_at(0, SELL, 12)["order_id"].tolist() == [2]
    assert world.books.orders_at(0, SELL, 13).size == 0
    assert fallbacks(world) == {}


# Twins -------------------------------------------------------------------------------------------


def test_a_muted_agent_leaves_no_trace():
    flow = Replay([market_session(6)])
    muted, empty = world_of(flow), world_of(flow)
    muted.muted[:, 1] = True
    disturb(muted)
    empty.advance(int(muted.now_ns[0]))
    assert muted.tape.hash() == empty.tape.hash()
    assert muted.books.hash(0) == empty.books.hash(0)


def test_an_agent_s_orders_move_no_event_of_history():
    """Every event comes at its time, as its message or as one of the null events."""
    events = market_session(7)
    world = world_of(Replay([events]), paranoid=True)
    for second in range(1, 11):
        sent = world.submit(0, 1, agent_limit(BUY, 10_004, lots=90 + second))
        world.submit(0, 1, agent_limit(SELL, int(world.touch()[0, SELL]), lots=70))
        world.submit(0, 1, agent_cancel(int(sent.order_ids[0])))
        world.advance(second * 3 * SECOND_NS)
    world.advance(FAR)

    stream = tape_of(world).stream(0)
    ours = np.flatnonzero(stream.messages["owner"] == 0)[80:]
    history = asked(accepted(events)["time_ns"][80:], to_messages(accepted(events)[80:]))
    missing = Counter(history) - Counter(asked(stream.time_ns[ours], stream.messages[ours]))
    counts = fallbacks(world)
    gone = sum(count for name, count in counts.items() if name.endswith("_GONE"))
    changed = sum(count for name, count in counts.items() if name.startswith("REPLACE_TO"))
    assert len(history) - len(ours) == gone == world.n_null_events[0] > 0
    assert missing.total() == gone + changed
    assert changed > 0
    assert world.accounts[0, 1, 0] != 0


def asked(time_ns: np.ndarray, messages: np.ndarray) -> list[tuple]:
    """Times and messages, whoever's they are."""
    return list(zip(time_ns.tolist(), without(messages, "order_id", "owner"), strict=True))


def test_a_world_alone_is_the_same_world_among_others():
    flow = Replay([market_session(8)])
    together = world_of(flow, 4)
    disturb(together)
    together.advance(FAR)
    assert len({together.tape.stream_hash(b) for b in range(4)}) > 1
    for b in (0, 3):
        alone = world_of(flow, first_world=b)
        disturb(alone)
        alone.advance(FAR)
        assert alone.tape.stream_hash(0) == together.tape.stream_hash(b)
        assert alone.hash(0) == together.hash(b)
        assert fallbacks(alone) == fallbacks(together, b) != {}


# What is no history ------------------------------------------------------------------------------


def test_a_part_of_a_session_is_refused_with_the_event_that_shows_it():
    events = with_marker(recorded(batch(BID, ASK, cancel(2))), 1, EventType.GAP)
    missing = np.delete(events, 2)
    with pytest.raises(UsageError, match=r"event 2 traded 0 .* \(UNKNOWN_ORDER\)"):
        Replay([missing])
    fewer = recorded(batch(BID, ASK, market(BUY, 5, 3)))[[0, 2]]
    with pytest.raises(UsageError, match="event 1 traded 5 lots; executed again it trades 0"):
        Replay([fewer])


def test_events_that_cannot_be_played_are_refused():
    with pytest.raises(UsageError, match="must be one-dimensional EVENT_DTYPE"):
        Replay([np.zeros(3)])
    with pytest.raises(UsageError, match="time goes back between events 1 and"):
        Replay([recorded(batch(BID, ASK, cancel(2)), np.array([0, 5, 4]))])
    several = recorded(batch(limit(BUY, 9, 1, 1, owner=1), limit(SELL, 12, 1, 2, owner=2)))
    assert len(Replay([several]).params()[1]) > 1
    several["stp"] = SelfTrade.CANCEL_NEWEST
    with pytest.raises(UsageError, match="orders of 2 owners that ask for self-trade prevention"):
        Replay([several])


def test_no_events_are_a_market_where_nothing_happens():
    world = world_of(Replay([np.zeros(0, EVENT_DTYPE)]))
    world.advance(10)
    assert world.n_messages[0] == 0


# Real history ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def amazon(market_data: Path) -> np.ndarray:
    file = market_data / "lobster/AMZN_2012-06-21_34200000_57600000_message_5.csv.zst"
    (source,) = open_lobster((str(file),), Options())
    return np.concatenate(list(Execution(source.session).run(source)))


def test_a_real_session_alone_is_what_it_was(amazon):
    books = Books(1)
    outcome = books.process(to_messages(accepted(amazon)))
    world = world_of(Replay([amazon]))
    world.advance(FAR)
    stream = tape_of(world).stream(0)
    assert len(stream.messages) > 150_000
    assert touches(world) == touch_after(outcome.results)
    names = ("maker_id", "taker_id")
    assert without(stream.fills, *names) == without(outcome.fills, *names)
    assert without(world.books.resting(0), "order_id") == without(books.resting(0), "order_id")
    assert fallbacks(world) == {}


def test_a_real_session_goes_on_after_an_agent_s_trades(amazon):
    """A large order every minute of the first hour, and its price is another than in history."""
    alone, disturbed = world_of(Replay([amazon])), world_of(Replay([amazon]))
    for minute in range(1, 61):
        tick = int(disturbed.touch()[0, SELL])
        disturbed.submit(0, 1, agent_limit(BUY, tick, lots=300))
        disturbed.advance(minute * 60 * SECOND_NS)
    for world in (alone, disturbed):
        world.advance(FAR)
    counts = fallbacks(disturbed)
    n_flow = int((tape_of(disturbed).stream(0).messages["owner"] == 0).sum())
    assert n_flow + disturbed.n_null_events[0] == alone.n_messages[0]
    assert 0 < sum(counts.values()) < 0.2 * alone.n_messages[0]
    assert touches(alone) != touches(disturbed)
