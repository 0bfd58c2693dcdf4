"""The oracle replay writes the canonical reports, whatever the workload, and says what is wrong
with a file that is none."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtsim.bench import oracle
from mtsim.bench.oracle import CANCEL, MODIFY, NEW
from mtsim.engine.messages import Kind, Reject, TimeInForce
from mtsim.engine.reference import ReferenceBook
from mtsim.errors import IntegrityError, MissingError, UsageError

TYPES = {
    "type": pa.uint8(),
    "side": pa.uint8(),
    "ioc": pa.uint8(),
    "lots": pa.uint32(),
    "seq": pa.int64(),
    "order_id": pa.int64(),
    "price_tick": pa.int32(),
}


def table(rows, **changed):
    """A workload of rows (type, side, ioc, lots, order_id, price_tick), numbered from 0."""
    names = [name for name in TYPES if name != "seq"]
    columns = {
        name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)
    }
    columns["seq"] = list(range(len(rows)))
    columns |= changed
    return pa.table({name: pa.array(columns[name], kind) for name, kind in TYPES.items()})


def written(path, rows, **changed):
    pq.write_table(table(rows, **changed), path)
    return path


def reports(path):
    """The report stream as lines, and the digest that `replay` says it has."""
    workload = oracle.read(path)
    outcome = ReferenceBook().process(workload.messages)
    text = b"".join(text for text, _ in oracle.report_blocks(workload, [outcome]))
    digest = oracle.replay(path, repetitions=1, make_book=ReferenceBook).sha256
    assert digest == hashlib.sha256(text).hexdigest()
    return text.decode().split("\n") if text else []


EVERY_REPORT = [
    (NEW, 1, 0, 10, 7, 101),
    (NEW, 1, 0, 5, 3, 102),
    (NEW, 0, 1, 12, 9, 101),  # Takes 10 of 12, the rest of an IOC is cancelled.
    (CANCEL, 0, 0, 0, 7, 0),  # Gone by now.
    (MODIFY, 1, 0, 4, 7, 100),
    (MODIFY, 1, 0, 8, 3, 103),
    (NEW, 0, 0, 3, 20, 99),
    (MODIFY, 0, 0, 6, 20, 104),  # Trades as it comes back.
    (CANCEL, 1, 0, 0, 3, 0),
]
LINES = [
    "0,0,1,7,101,10",
    "0,1,1,3,102,5",
    "0,2,0,9,101,12",
    "1,2,101,10,7,9",
    "2,2,0,9,101",
    "4,3,7",
    "5,4,7",
    "3,5,1,3,103,8",
    "0,6,0,20,99,3",
    "1,7,103,6,3,20",
    "3,7,0,20,104,6",
    "2,8,1,3,103",
]


def test_every_kind_of_report_is_written(tmp_path):
    assert reports(written(tmp_path / "w.parquet", EVERY_REPORT)) == LINES


def test_the_numba_book_gives_the_same_digest(tmp_path):
    result = oracle.replay(written(tmp_path / "w.parquet", EVERY_REPORT), repetitions=2)
    assert result.sha256 == hashlib.sha256("\n".join(LINES).encode()).hexdigest()
    assert (result.messages, result.reports, result.fills, result.refused) == (9, 12, 2, 2)
    assert len(result.ns_per_message) == 2


def test_an_ioc_order_that_meets_nobody_is_acked_and_cancelled(tmp_path):
    lines = reports(written(tmp_path / "w.parquet", [(NEW, 0, 1, 4, 1, -5)]))
    assert lines == ["0,0,0,1,-5,4", "2,0,0,1,-5"]


def test_a_modify_that_changes_nothing_loses_its_place(tmp_path):
    rows = [
        (NEW, 1, 0, 1, 1, 100),
        (NEW, 1, 0, 1, 2, 100),
        (MODIFY, 1, 0, 1, 1, 100),
        (NEW, 0, 0, 1, 3, 100),
    ]
    assert reports(written(tmp_path / "w.parquet", rows))[-1] == "1,3,100,1,2,3"


def test_a_cancel_reports_the_orders_own_side_and_price(tmp_path):
    rows = [(NEW, 1, 0, 5, 1, 100), (CANCEL, 0, 0, 99, 1, -1)]
    assert reports(written(tmp_path / "w.parquet", rows))[-1] == "2,1,1,1,100"


def test_a_live_id_is_not_acked_twice(tmp_path):
    rows = [(NEW, 1, 0, 5, 1, 100), (NEW, 0, 0, 5, 1, 90)]
    assert reports(written(tmp_path / "w.parquet", rows)) == ["0,0,1,1,100,5"]


def test_ids_and_prices_may_lie_anywhere(tmp_path):
    big = 2**63 - 1
    rows = [(NEW, 1, 0, 2**30, big, -(2**30)), (NEW, 0, 1, 1, 2**40, 2**30)]
    assert reports(written(tmp_path / "w.parquet", rows)) == [
        f"0,0,1,{big},-1073741824,1073741824",
        "0,1,0,1099511627776,1073741824,1",
        f"1,1,-1073741824,1,{big},1099511627776",
    ]


def test_messages_come_in_the_order_of_seq(tmp_path):
    rows = [(NEW, 0, 0, 5, 2, 100), (NEW, 1, 0, 5, 1, 100)]
    path = written(tmp_path / "w.parquet", rows, seq=[17, 4])
    assert reports(path) == ["0,4,1,1,100,5", "0,17,0,2,100,5", "1,17,100,5,1,2"]


def test_a_workload_without_messages_has_no_reports(tmp_path):
    pq.write_table(table(EVERY_REPORT).slice(0, 0), tmp_path / "w.parquet")
    result = oracle.replay(tmp_path / "w.parquet", make_book=ReferenceBook)
    assert (result.messages, result.reports) == (0, 0)
    assert result.sha256 == hashlib.sha256(b"").hexdigest()


def test_columns_may_be_wider_and_in_any_order(tmp_path):
    wide = table(EVERY_REPORT)
    wide = wide.cast(pa.schema([(name, pa.int64()) for name in wide.column_names]))
    pq.write_table(wide.select(sorted(TYPES)), tmp_path / "w.parquet")
    assert reports(tmp_path / "w.parquet") == LINES


def plain_reports(workload, outcome):
    """The stream once more, a message at a time and sorted as the format says."""
    lines = []
    fills = iter(outcome.fills.tolist())
    for seq, message, result in zip(
        workload.seq.tolist(), workload.messages, outcome.results, strict=True
    ):
        kind, order = int(message["kind"]), int(result["order_id"])
        accepted = result["reject"] == Reject.NONE
        place = f"{result['side']},{order},{result['price_tick']}"
        if kind == Kind.LIMIT and accepted:
            lines.append((seq, 0, f"0,{seq},{place},{message['lots']}"))
        for _ in range(result["n_fills"]):
            _, maker, taker, price_tick, lots, *_ = next(fills)
            lines.append((seq, 1, f"1,{seq},{price_tick},{lots},{maker},{taker}"))
        left = message["tif"] == TimeInForce.IOC and result["cancelled_lots"]
        if accepted and (kind == Kind.CANCEL or left):
            lines.append((seq, 2, f"2,{seq},{place}"))
        if accepted and kind == Kind.REPLACE:
            lines.append((seq, 3, f"3,{seq},{place},{message['lots']}"))
        if not accepted and kind in (Kind.CANCEL, Kind.REPLACE):
            lines.append((seq, 4 + (kind == Kind.REPLACE), f"{4 + (kind == 4)},{seq},{order}"))
    return "\n".join(text for *_, text in sorted(lines, key=lambda line: line[:2])).encode()


message_rows = st.tuples(
    st.sampled_from([NEW, NEW, CANCEL, MODIFY]),
    st.integers(0, 1),
    st.just(0),
    st.integers(1, 9),
    st.integers(1, 12),
    st.integers(-3, 3),
) | st.tuples(
    st.just(NEW),
    st.integers(0, 1),
    st.just(1),
    st.integers(1, 30),
    st.integers(1, 12),
    st.integers(-3, 3),
)


@given(rows=st.lists(message_rows, min_size=1, max_size=60), block=st.integers(1, 20))
def test_blocks_of_reports_are_the_stream(tmp_path_factory, rows, block):
    workload = oracle.read(written(tmp_path_factory.mktemp("w") / "w.parquet", rows))
    outcome = ReferenceBook().process(workload.messages)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oracle, "_BLOCK", block)
        blocks = list(oracle.report_blocks(workload, [outcome]))
    expected = plain_reports(workload, outcome)
    assert b"".join(text for text, _ in blocks) == expected
    assert sum(lines for _, lines in blocks) == len(expected.split(b"\n")) * bool(expected)


def test_a_wrong_digest_is_an_integrity_error(tmp_path):
    path = written(tmp_path / "w.parquet", EVERY_REPORT)
    result = oracle.replay(path, repetitions=1, make_book=ReferenceBook)
    result.require(result.sha256.upper())
    with pytest.raises(IntegrityError, match=f"expected {'0' * 64}"):
        result.require("0" * 64)


class Moody(ReferenceBook):
    """A book whose answers depend on how many there were before it."""

    made = 0

    def __init__(self):
        super().__init__()
        Moody.made += 1

    def process(self, messages):
        outcome = super().process(messages)
        outcome.results["filled_lots"] += Moody.made
        return outcome


def test_replays_that_differ_are_an_integrity_error(tmp_path):
    with pytest.raises(IntegrityError, match="3 different outcomes in 3 replays"):
        oracle.replay(written(tmp_path / "w.parquet", EVERY_REPORT), repetitions=2, make_book=Moody)


def test_a_file_that_is_not_there_is_missing(tmp_path):
    with pytest.raises(MissingError, match="no such file"):
        oracle.read(tmp_path / "nowhere.parquet")


@pytest.mark.parametrize("length", [0, 4, 300, -1])
def test_a_truncated_file_is_no_workload(tmp_path, length):
    path = written(tmp_path / "w.parquet", EVERY_REPORT)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UsageError, match=r"w\.parquet: not a readable Parquet file"):
        oracle.read(path)


def test_a_missing_column_is_named(tmp_path):
    pq.write_table(table(EVERY_REPORT).drop_columns(["ioc", "lots"]), tmp_path / "w.parquet")
    with pytest.raises(UsageError, match=r"no column ioc, lots\. A workload has type, side"):
        oracle.read(tmp_path / "w.parquet")


def test_a_column_of_another_type_is_named(tmp_path):
    odd = table(EVERY_REPORT).set_column(0, "type", pa.array([0.5] * len(EVERY_REPORT)))
    pq.write_table(odd, tmp_path / "w.parquet")
    with pytest.raises(UsageError, match="column 'type' holds double, integers are needed"):
        oracle.read(tmp_path / "w.parquet")


def test_a_null_is_named_with_its_row(tmp_path):
    lots = [10, 5, None, 0, 4, 8, 3, 6, 0]
    with pytest.raises(UsageError, match="row 2: 'lots' is null"):
        oracle.read(written(tmp_path / "w.parquet", EVERY_REPORT, lots=lots))


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [
        (0, "type", 3),
        (3, "side", 2),
        (1, "ioc", 2),
        (5, "ioc", 1),
        (0, "lots", 0),
        (4, "lots", 0),
        (0, "lots", 2**30 + 1),
        (0, "lots", 2**32 - 1),
        (0, "price_tick", 2**30 + 1),
        (5, "price_tick", -(2**30) - 1),
        (0, "order_id", 0),
        (1, "order_id", -4),
        (8, "seq", -1),
    ],
)
def test_a_value_out_of_range_is_named_with_its_row(tmp_path, row, column, value):
    values = table(EVERY_REPORT)[column].to_pylist()
    values[row] = value
    with pytest.raises(UsageError, match=f"row {row}: {column} is {value}, allowed are"):
        oracle.read(written(tmp_path / "w.parquet", EVERY_REPORT, **{column: values}))


def test_a_repeated_seq_is_named(tmp_path):
    with pytest.raises(UsageError, match="row 6: seq 2 was there before"):
        oracle.read(written(tmp_path / "w.parquet", EVERY_REPORT, seq=[0, 1, 2, 3, 4, 5, 2, 7, 8]))


def test_what_a_cancel_does_not_use_may_hold_anything(tmp_path):
    rows = [(NEW, 1, 0, 5, 1, 100), (CANCEL, 0, 1, 2**32 - 1, 1, -(2**31))]
    workload = oracle.read(written(tmp_path / "w.parquet", rows))
    np.testing.assert_array_equal(workload.messages["lots"], [5, 0])


PUBLIC = {
    "normal": "e9b2e3926854410b01a035aeb25dd05f1e597c233be8263de9eb49b6713d367e",
    "swing-40": "3cb0175e7982ff09ea220d1feaee3844cf9116a5ce455757879dea1d880b9b9f",
}


@pytest.mark.golden
@pytest.mark.parametrize("name", PUBLIC)
def test_the_public_workloads_give_the_published_digests(name):
    path = Path(__file__).parents[3] / "shared/data/engine_oracle" / f"{name}.parquet"
    if not path.exists():
        pytest.skip("no folder shared/data beside the checkout")
    oracle.replay(path, repetitions=1).require(PUBLIC[name])
