"""CSV files of nothing but numbers arrive exactly, or as a DataError that names the row."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtsim.errors import DataError
from mtsim.model.sources import digits
from mtsim.model.sources.digits import SKIP, read_digits


def read(path: Path, kept: tuple[int, ...]) -> list[list[int]]:
    """All rows, or the error, which are the same whether rows are said to be alike or not."""
    plain, alike = (read_one_way(path, kept, way) for way in (False, True))
    assert str(plain) == str(alike)
    if isinstance(plain, DataError):
        raise plain
    return plain


def read_one_way(path: Path, kept: tuple[int, ...], alike: bool) -> list[list[int]] | DataError:
    """All rows, with the blocks shown to follow each other."""
    rows: list[list[int]] = []
    try:
        for first, block in read_digits(path, kept, alike=alike):
            assert first == len(rows) + 1
            rows += block.tolist()
    except DataError as error:
        return error
    return rows


def written(folder: Path, content: bytes) -> Path:
    path = folder / "numbers.csv"
    path.write_bytes(content)
    return path


NUMBERS = st.decimals(min_value=-(10**11), max_value=10**11, places=3)


@given(rows=st.lists(st.tuples(NUMBERS, st.integers(-(10**18) + 1, 10**18 - 1)), min_size=1))
def test_every_number_is_exact(tmp_path_factory, rows):
    text = "".join(f"{number.normalize():f},{integer}\n" for number, integer in rows)
    path = written(tmp_path_factory.mktemp("digits"), text.encode())
    assert read(path, (6, 0)) == [[int(number * 10**6), integer] for number, integer in rows]


@pytest.mark.parametrize("block_bytes", [16, 17, 31, 1_000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_where_blocks_end_changes_nothing(tmp_path, monkeypatch, block_bytes, end):
    monkeypatch.setattr(digits, "_BLOCK_BYTES", block_bytes)
    lines = [b"%d,%d.5,-%d" % (k, k % 7, k * k % 1_000) for k in range(300)]
    expected = [[k, 10 * (k % 7) + 5, -(k * k % 1_000)] for k in range(300)]
    assert read(written(tmp_path, end.join(lines) + end), (0, 1, 0)) == expected
    # A last row needs no end.
    assert read(written(tmp_path, end.join(lines)), (0, 1, 0)) == expected


@given(
    rows=st.lists(st.lists(st.sampled_from([0, 1, -1, 12, 123456789]), min_size=4, max_size=4)),
    block_bytes=st.integers(50, 90),
    block_rows=st.integers(1, 9),
)
def test_what_a_row_has_in_common_with_the_one_before_changes_nothing(
    tmp_path_factory, rows, block_bytes, block_rows
):
    text = "".join(",".join(map(str, row)) + "\n" for row in [[1, 1, 1, 1], *rows])
    path = written(tmp_path_factory.mktemp("digits"), text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits, "_BLOCK_BYTES", block_bytes)
        patch.setattr(digits, "BLOCK_ROWS", block_rows)
        assert read(path, (0, 0, 0, 0)) == [[1, 1, 1, 1], *rows]


def test_blocks_have_so_many_rows_but_for_the_last(tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "BLOCK_ROWS", 7)
    monkeypatch.setattr(digits, "_BLOCK_BYTES", 16)
    blocks = read_digits(written(tmp_path, b"1,2\n" * 23), (0, 0))
    assert [(first, len(block)) for first, block in blocks] == [(1, 7), (8, 7), (15, 7), (22, 2)]


def test_skipped_columns_may_hold_anything(tmp_path):
    path = written(tmp_path, b"1,null,2\n3,,4\r\n5,-x.1 \xff,6")
    assert read(path, (0, SKIP, 0)) == [[1, 0, 2], [3, 0, 4], [5, 0, 6]]
    path = written(tmp_path, b"1,null\n3,\n5,UBSS")
    assert read(path, (0, SKIP)) == [[1, 0], [3, 0], [5, 0]]


def test_rows_of_empty_fields_fit(tmp_path, monkeypatch):
    """The shortest rows that there can be fill a block with the most rows that it can have."""
    monkeypatch.setattr(digits, "_BLOCK_BYTES", 64)
    assert read(written(tmp_path, b",\n" * 500), (SKIP, SKIP)) == [[0, 0]] * 500
    assert read(written(tmp_path, b"1\n" * 500), (0,)) == [[1]] * 500


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (b"1", "fewer fields than 2"),
        (b"", "column 1 is no plain number"),
        (b"1,", "column 2 is no plain number"),
        (b",1", "column 1 is no plain number"),
        (b"1,2,3", "more fields than 2"),
        (b"1,2,", "more fields than 2"),
        (b"one,2", "column 1 is no plain number"),
        (b"1 ,2", "column 1 is no plain number"),
        (b"1,2x", "column 2 is no plain number"),
        (b"1,-", "column 2 is no plain number"),
        (b"1,+2", "column 2 is no plain number"),
        (b"1,.", "column 2 is no plain number"),
        (b"1,2.", "column 2 is no plain number"),
        (b"1,1.2.3", "column 2 is no plain number"),
        (b"1,1e3", "column 2 is no plain number"),
        (b"1.0,2", "column 1 is no plain number"),
        (b"1,nan", "column 2 is no plain number"),
        (b'"1",2', "column 1 is no plain number"),
        (b"\x00,2", "column 1 is no plain number"),
        (b"1,2.123", "column 2 has more digits than are kept"),
        (b"1234567890123456789,2", "column 1 has more digits than are kept"),
        (b"1,12345678901234567", "column 2 has more digits than are kept"),
        (b"99999999999999999999999999999999999999,2", "column 1 has more digits than are kept"),
    ],
)
@pytest.mark.parametrize("last", [True, False])
def test_a_row_that_is_broken_is_named(tmp_path, monkeypatch, broken, rule, last):
    if last and not broken:
        pytest.skip("nothing after the last row is no row")
    monkeypatch.setattr(digits, "_BLOCK_BYTES", 64)
    path = written(tmp_path, b"1,2.5\n" * 100 + broken + (b"" if last else b"\n1,2.5\n"))
    with pytest.raises(DataError, match=rule) as caught:
        read(path, (0, 2))
    assert (caught.value.file, caught.value.row) == (str(path), 101)


def test_a_row_without_end_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "_BLOCK_BYTES", 64)
    path = written(tmp_path, b"1,2\n" + b"0" * 100)
    with pytest.raises(DataError, match="the row has no end") as caught:
        read(path, (SKIP, 0))
    assert caught.value.row == 2


def test_an_empty_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="the file is empty"):
        read(written(tmp_path, b""), (0,))


def test_eighteen_digits_fit(tmp_path):
    path = written(tmp_path, b"-999999999999999999,34200.004241176\n")
    assert read(path, (0, 12)) == [[-(10**18) + 1, int(Decimal("34200.004241176") * 10**12)]]
