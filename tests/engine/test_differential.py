"""The Numba book against the reference on random messages, and proof that a difference shows."""

import os
import subprocess
import sys

import numpy as np
import pytest

from mtsim.engine.base import Outcome
from mtsim.engine.messages import MESSAGE_DTYPE, FillKind, Kind, Reject
from mtsim.engine.reference import ReferenceBook
from tests.engine.differential import Compared, compare, explain, main, shrink
from tests.engine.streams import (
    BUY,
    SELL,
    RandomStream,
    as_python,
    batch,
    concatenated,
    limit,
    market,
    message,
)


def assert_reaches_everything(compared: Compared) -> None:
    """A stream that never breaks a rule, or never trades with oneself, would prove little."""
    assert set(compared.kinds) == set(Kind)
    assert set(compared.rejects) == set(Reject)
    assert set(compared.fill_kinds) == set(FillKind)
    assert min(compared.rejects.values()) > compared.messages // 5_000
    assert compared.rejects[Reject.NONE] > compared.messages // 3


def test_random_messages_have_one_answer():
    """200,000 messages, legal and illegal, have equal outcomes and leave equal books."""
    total = Compared()
    for seed in range(10):
        total += compare(seed, 20_000)

    assert total.messages == 200_000
    assert_reaches_everything(total)


@pytest.mark.slow
def test_five_million_random_messages_have_one_answer(capsys):
    """The same for fifty other seeds of 100,000 messages each; prints how many were compared."""
    total = Compared()
    for seed in range(100, 150):
        total += compare(seed, 100_000)

    with capsys.disabled():
        sys.stdout.write(f"\ndifferential: {total}\n")
    assert total.messages == 5_000_000
    assert_reaches_everything(total)


class MiscountingBook(ReferenceBook):
    """Wrong on purpose: of a MARKET order of exactly 7 lots it reports one fewer filled."""

    def process(self, messages: np.ndarray) -> Outcome:
        outcome = super().process(messages)
        wrong = (messages["kind"] == Kind.MARKET) & (outcome.results["filled_lots"] == 7)
        outcome.results["filled_lots"][wrong] = 6
        return outcome


def test_a_difference_is_found_and_shrunk_to_its_core():
    """Two messages make 7 lots trade with a market order; the report has them as Python."""
    with pytest.raises(AssertionError, match="2 messages are enough") as found:
        compare(1, 20_000, make_book=MiscountingBook)

    report = str(found.value)
    source = report[report.index("batch(") : report.index("\n)") + 2]
    again = eval(source, {"batch": batch, "message": message, "Kind": Kind})
    assert again["kind"].tolist() == [Kind.LIMIT, Kind.MARKET]
    assert "'filled_lots': 6" in report
    assert "'filled_lots': 7" in report


class LopsidedBook(ReferenceBook):
    """Wrong on purpose: answers rightly, but has lost its asks when asked for all orders."""

    def resting(self) -> np.ndarray:
        every = super().resting()
        return every[every["side"] == BUY]


def test_a_difference_that_shows_only_in_the_book_is_found():
    """Equal outcomes are not enough."""
    messages = batch(limit(BUY, 100, 5, 1), limit(SELL, 101, 5, 2), market(BUY, 1, 3))

    report = explain(messages, make_book=LopsidedBook)

    assert report.startswith("1 messages are enough")
    assert "resting orders differ in row 0 of 0 and 1" in report


def test_shrinking_leaves_out_all_that_does_not_matter():
    """Of 100 messages the two that fail together remain, in their order."""
    messages = batch(*(limit(BUY, 100, i + 1, i + 1) for i in range(100)))

    def fails(tried: np.ndarray) -> bool:
        return {13, 77} <= set(tried["order_id"].tolist())

    assert shrink(messages, fails, effort_messages=100_000)["order_id"].tolist() == [13, 77]
    # Without time to try, nothing is claimed to be superfluous.
    assert len(shrink(messages, fails, effort_messages=0)) == 100


def test_streams_depend_on_their_seed_alone():
    """The same seed, the same bytes; another seed, others."""
    one, same, other = (concatenated(RandomStream(seed).blocks(5_000, 1_300)) for seed in (3, 3, 4))

    assert one.tobytes() == same.tobytes()
    assert one.tobytes() != other.tobytes()
    assert len(one) == 5_000
    assert one.dtype == MESSAGE_DTYPE


def test_messages_print_as_the_python_that_makes_them():
    """Whatever is in their fields."""
    messages = RandomStream(5).block(300)

    source = as_python(messages)

    again = eval(source, {"batch": batch, "message": message, "Kind": Kind})
    assert again.tobytes() == messages.tobytes()


def test_the_long_haul_resumes_where_it_stopped(tmp_path, capsys):
    """Seeds in the record are not compared again; the total counts them."""
    record = tmp_path / "done.json"
    wanted = ["--messages", "6000", "--seeds", "3", "--record", str(record)]

    assert main(wanted) == 0
    first = capsys.readouterr()
    assert main(wanted) == 0
    second = capsys.readouterr()

    assert first.out == second.out
    assert "3 seeds: compared 6,000 messages" in first.out
    assert first.err.count("done") == 3
    assert second.err == ""


@pytest.mark.slow
def test_the_long_haul_is_a_program():
    """`python -m tests.engine.differential` from the top of the repository."""
    command = [sys.executable, "-m", "tests.engine.differential", "--messages", "20_000"]
    finished = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)

    assert "10 seeds: compared 20,000 messages" in finished.stdout
