"""A ledger of a feed that tells every order: what its messages leave is what its records say."""

import random

import numpy as np
import pytest

from mtsim.engine.batch import Books
from mtsim.engine.messages import Kind, TimeInForce
from mtsim.errors import DataError
from mtsim.model.sources.ledger import Ledger, Rules
from mtsim.model.sources.ledger_records import NO_SIDE, RECORD_DTYPE, Drop, Op

BUY, SELL = 0, 1
FIELDS = ("time_ns", "op", "id", "side", "tick", "lots", "other")


def records_of(*rows: tuple) -> np.ndarray:
    """Records of (time, op, id, side, tick, lots, other); what is left out is 0."""
    records = np.zeros(len(rows), RECORD_DTYPE)
    for k, row in enumerate(rows):
        for name, value in zip(FIELDS, row, strict=False):
            records[name][k] = value
        records["row"][k] = k + 1
    return records


def followed(records: np.ndarray) -> tuple[np.ndarray, np.ndarray, Ledger]:
    """All messages, the `Drop` of each record, and the ledger."""
    ledger = Ledger(Rules(in_turn=True), file="some.file")
    parts = list(ledger.follow(records))
    feed = np.concatenate([batch.feed for batch, _ in parts])
    return feed["message"], np.concatenate([outcome for _, outcome in parts]), ledger


def book_after(messages: np.ndarray) -> dict[int, int]:
    """The lots of each order that rests in the engine, which must refuse nothing."""
    books = Books(1)
    results = books.process(np.ascontiguousarray(messages)).results
    assert not results["reject"].any()
    resting = books.resting(0)
    return dict(zip(resting["order_id"].tolist(), resting["lots"].tolist(), strict=True))


FILLED = (
    (1, Op.ADD, 1, SELL, 100, 5),
    (2, Op.ADD, 2, SELL, 100, 5),
    (3, Op.FILL_SAID_AGAIN, 1, NO_SIDE, 0, 5),
)


@pytest.mark.parametrize(
    ("last", "drop", "book"),
    [
        ((3, Op.CANCEL, 1, NO_SIDE, 0, 5), Drop.IMPLIED, {2: 5}),
        ((3, Op.DELETE, 1, NO_SIDE), Drop.IMPLIED, {2: 5}),
        ((3, Op.SHOW, 1, SELL, 100, 0), Drop.IMPLIED, {2: 5}),
        ((3, Op.SHOW, 1, SELL, 101, 3), Drop.USED, {2: 5, 1: 3}),
        ((3, Op.REPLACE, 9, NO_SIDE, 101, 3, 1), Drop.USED, {2: 5, 1: 3}),
        ((3, Op.CLEAR, 0, NO_SIDE), Drop.USED, {}),
        ((4, Op.CANCEL, 1, NO_SIDE, 0, 5), Drop.CANCEL, {2: 5}),
    ],
)
def test_an_order_whose_lots_have_traded_is_known_as_long_as_that_is_to_be_said_again(
    last, drop, book
):
    messages, outcome, _ = followed(records_of(*FILLED, last))
    assert outcome[-1] == drop
    assert book_after(messages) == book


def test_a_cancel_of_no_lots_or_of_more_than_there_are_takes_all():
    for lots in (0, 9):
        records = records_of((1, Op.ADD, 1, BUY, 100, 5), (2, Op.CANCEL, 1, NO_SIDE, 0, lots))
        messages, _, _ = followed(records)
        assert messages["kind"].tolist() == [Kind.LIMIT, Kind.CANCEL]


def test_a_fill_out_of_turn_takes_its_lots_out_of_the_order_that_is_named():
    messages, _, ledger = followed(
        records_of(*FILLED[:2], (3, Op.FILL, 2, NO_SIDE, 0, 3), (3, Op.FILL, 1, NO_SIDE, 0, 4))
    )
    assert messages["kind"].tolist() == [Kind.LIMIT, Kind.LIMIT, Kind.LIMIT, Kind.REDUCE]
    assert messages["lots"].tolist() == [5, 5, 4, 3]
    assert book_after(messages) == {1: 1, 2: 2}
    assert ledger.repaired().total() == 1


def test_ids_that_the_engine_refuses_are_replaced_by_others():
    messages, _, _ = followed(
        records_of((1, Op.ADD, 0, BUY, 100, 5), (2, Op.CANCEL, 0, NO_SIDE, 0, 2))
    )
    assert list(book_after(messages).values()) == [3]


@pytest.mark.parametrize(
    ("last", "rule"),
    [
        ((4, Op.ADD, 1, SELL, 100, 5), "rests already"),
        ((4, Op.REPLACE, 2, NO_SIDE, 100, 5, 1), "rests already"),
        ((4, Op.SHOW, 1, BUY, 100, 3), "another side"),
    ],
)
def test_records_that_contradict_each_other_are_refused_with_their_row(last, rule):
    with pytest.raises(DataError, match=rf"some\.file:3: .*{rule}"):
        followed(records_of(*FILLED[:2], last))


@pytest.mark.parametrize("seed", range(20))
def test_the_lots_of_every_order_are_what_its_records_leave(seed):
    """Whoever is named, in turn or not, and whether or not the book lies crossed."""
    luck = random.Random(seed)
    lots: dict[int, int] = {}
    line: dict[int, tuple[int, int]] = {}
    rows: list[tuple] = []
    time = 0
    for number in range(1, 400):
        time += luck.random() < 0.5
        # Half of them are the first in line of the bids.
        ahead = [order for order in lots if line[order] == min(line[k] for k in lots)]
        named = luck.choice([*ahead[:1], luck.choice(list(lots))]) if lots else 0
        kind = luck.random() if len(lots) > 3 else 0
        if kind < 0.45:
            side = luck.randrange(2)
            # Now and then the book crosses.
            tick = 1000 + (2 * side - 1) * luck.choice([-1, *range(1, 7), *range(1, 7)])
            lots[number] = luck.randrange(1, 10)
            line[number] = (side, tick if side == SELL else -tick)
            rows.append((time, Op.ADD, number, side, tick, lots[number]))
            continue
        part = luck.randrange(1, lots[named] + 1)
        if kind < 0.6:
            rows.append((time, Op.CANCEL, named, NO_SIDE, 0, part))
        elif kind < 0.9:
            rows.append((time, luck.choice([Op.FILL, Op.MATCH]), named, NO_SIDE, 0, part))
        else:
            rows.append((time, Op.FILL_SAID_AGAIN, named, NO_SIDE, 0, part))
            rows.append((time, Op.CANCEL, named, NO_SIDE, 0, part))
        lots[named] -= part
        if lots[named] == 0:
            del lots[named]

    messages, outcome, _ = followed(records_of(*rows))

    assert book_after(messages) == lots
    assert set(outcome.tolist()) <= {Drop.USED, Drop.IMPLIED}
    assert {TimeInForce.GTC, TimeInForce.IOC} == set(messages["tif"].tolist())
