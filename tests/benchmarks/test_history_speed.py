"""The pass over a session, from events to actions and features, under pytest-benchmark.

Nothing here asserts a time. What a run tells is asserted, so that no wrong pass is fast.
"""

import numpy as np
import pytest

from mtsim.bench import zi1
from mtsim.engine import events
from mtsim.engine.batch import Books
from mtsim.model.actions import ActionKind
from mtsim.model.history import History

pytestmark = pytest.mark.bench

SPEC = zi1.Spec(seed=5, prefill=2_000, timed=300_000, target=2_000)


@pytest.fixture(scope="module")
def session():
    """Events a millisecond apart, the lots traded among them, and the final book's hash."""
    messages = zi1.to_messages(zi1.generate(SPEC).rows)
    books = Books(1)
    outcome = books.process(messages)
    rows = events.from_messages(10**6 * np.arange(len(messages)), messages, outcome.results)
    return rows, int(outcome.fills["lots"].sum(dtype=np.int64)), books.hash(0)


def test_the_pass_over_a_session(benchmark, session):
    rows, traded_lots, book = session

    def run():
        history = History()
        traded = 0
        for observed in history.observe([rows]):
            trades = observed.actions["kind"] == ActionKind.TRADE
            traded += int(observed.actions["lots"][trades].sum(dtype=np.int64))
        return traded, history.books.hash(0)

    found = benchmark.pedantic(run, rounds=5, warmup_rounds=1)

    assert found == (traded_lots, book)
    benchmark.extra_info["events_per_s"] = round(len(rows) / benchmark.stats["min"])
