"""Vendor files arrive whole and exact, or as a DataError that says where they are broken."""

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard

from mtsim.errors import DataError, MissingError
from mtsim.model.sources import files
from mtsim.model.sources.files import open_binary, read_csv, sha256

TEXT = b"".join(b"%d,%d.%02d\n" % (k * 7_919 % 1_000, k, k % 100) for k in range(3_000))


def _zip(*members: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        for number, member in enumerate(members):
            writer.writestr(f"{number}.csv", member)
    return archive.getvalue()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    ".gz": gzip.compress,
    ".zip": _zip,
}


def _write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _read(path: Path) -> bytes:
    with open_binary(path) as file:
        return file.read()


def _rows(path: Path, columns, **options) -> list[tuple[int, dict[str, list]]]:
    return [
        (first, {name: values.tolist() for name, values in block.items()})
        for first, block in read_csv(path, columns, **options)
    ]


@pytest.mark.parametrize("packing", [*PACKINGS, ""])
def test_a_file_unpacks_to_its_bytes_whatever_its_packing(tmp_path, packing):
    packed = PACKINGS.get(packing, bytes)(TEXT)
    assert _read(_write(tmp_path, f"f.csv{packing}", packed)) == TEXT


@pytest.mark.parametrize("packing", [".zst", ".gz"])
def test_packed_parts_one_after_the_other_are_one_file(tmp_path, packing):
    pack = PACKINGS[packing]
    assert _read(_write(tmp_path, f"f{packing}", pack(TEXT) + pack(b"end"))) == TEXT + b"end"


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_file_cut_short_anywhere_is_a_data_error_naming_it(tmp_path, packing):
    packed = PACKINGS[packing](TEXT)
    for size in {1, 3, 10, len(packed) // 2, len(packed) - 5, len(packed) - 1}:
        path = _write(tmp_path, f"f{packing}", packed[:size])
        with pytest.raises(DataError, match="f" + packing):
            _read(path)


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_changed_byte_is_a_data_error_or_changes_nothing(tmp_path, packing):
    packed = PACKINGS[packing](TEXT[:400])
    errors = 0
    for at in range(len(packed)):
        changed = bytearray(packed)
        changed[at] ^= 0x55
        path = _write(tmp_path, f"f{packing}", bytes(changed))
        try:
            assert _read(path) == TEXT[:400]
        except DataError:
            errors += 1
    assert errors > len(packed) / 2


def test_damage_in_the_midst_says_how_many_bytes_were_good(tmp_path):
    """To the last MB: that much is unpacked at a time."""
    noise = np.random.default_rng(1).bytes(4 << 20)
    path = _write(tmp_path, "f.gz", gzip.compress(noise, 1)[: 3 << 20])
    with pytest.raises(DataError, match=r"f\.gz: damaged or cut short after (\d+) ") as caught:
        _read(path)
    good = int(caught.value.rule.split("after ")[1].split()[0])
    assert 1 << 20 <= good < 3 << 20


@pytest.mark.parametrize("members", [(), (b"1\n", b"2\n")])
def test_a_zip_holds_one_member(tmp_path, members):
    path = _write(tmp_path, "f.zip", _zip(*members))
    with pytest.raises(DataError, match=f"one member is expected, the archive has {len(members)}"):
        _read(path)


def test_a_zip_packed_in_an_unknown_way_is_a_data_error(tmp_path):
    packed = bytearray(_zip(TEXT))
    directory = packed.index(b"PK\x01\x02")
    packed[8:10] = packed[directory + 10 : directory + 12] = (99).to_bytes(2, "little")
    with pytest.raises(DataError, match="no zip archive"):
        _read(_write(tmp_path, "f.zip", bytes(packed)))


@pytest.mark.parametrize("what", ["nothing.csv", "."])
def test_a_file_that_is_not_there_is_missing(tmp_path, what):
    with pytest.raises(MissingError, match="there is no file"):
        _read(tmp_path / what)


def test_sha256_is_of_the_packed_bytes(tmp_path):
    path = _write(tmp_path, "f.gz", b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_decimals_arrive_as_whole_numbers_of_their_last_digit(tmp_path):
    path = _write(tmp_path, "f.csv", b"x,p,name,n\n9,1.25,a,-7\n9,-0.0001,b c,12\n9,3,,0\n")
    columns = {"p": 4, "n": "int", "name": "text"}
    assert _rows(path, columns) == [
        (2, {"p": [12_500, -1, 30_000], "n": [-7, 12, 0], "name": ["a", "b c", ""]})
    ]


def test_a_file_without_header_counts_its_rows_from_one(tmp_path):
    path = _write(tmp_path, "f.csv", b"1;2\n3;4\n")
    rows = _rows(path, {"b": "int"}, header=("a", "b"), delimiter=";")
    assert rows == [(1, {"b": [2, 4]})]


def test_blocks_follow_each_other_without_a_gap(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_BLOCK_BYTES", 1 << 10)
    path = _write(tmp_path, "f.csv", TEXT)
    blocks = _rows(path, {"a": "int", "b": 2}, header=("a", "b"))
    assert len(blocks) > 10
    assert [first for first, _ in blocks[1:]] == [
        first + len(block["a"]) for first, block in blocks[:-1]
    ]
    assert [value for _, block in blocks for value in block["b"]] == [
        100 * k + k % 100 for k in range(3_000)
    ]


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (b"5", "(?i)column"),
        (b"5,1,2", "(?i)column"),
        (b"five,1", "five"),
        (b"5,1.2.3", "1.2.3"),
        (b"5,1.234", "Rescaling"),
        (b"5,1e400", "(?i)1e400|overflow|precision"),
        (b"5,92233720368547758.08", "64 bits"),
        (b"99999999999999999999,1", "99999999999999999999"),
        (b",1", "(?i)conversion|there is no"),
        (b"5,nan", "nan"),
    ],
)
def test_a_row_that_is_broken_is_a_data_error_that_names_it(tmp_path, broken, rule):
    path = _write(tmp_path, "f.csv", b"1,2.5\n" * 50 + broken + b"\n" + b"1,2.5\n" * 50)
    with pytest.raises(DataError, match=rule) as caught:
        _rows(path, {"a": "int", "b": 2}, header=("a", "b"))
    assert (caught.value.file, caught.value.row) == (str(path), 51)


@pytest.mark.parametrize("header", [True, False])
def test_a_row_with_a_field_too_few_is_named(tmp_path, monkeypatch, header):
    monkeypatch.setattr(files, "_BLOCK_BYTES", 1 << 10)
    good = b"123,2.5\n"
    text = good * 1_000 + b"123\n" + good
    path = _write(tmp_path, "f.csv", b"a,b\n" * header + text)
    with pytest.raises(DataError) as caught:
        _rows(path, {"a": "int", "b": 2}, header=None if header else ("a", "b"))
    assert caught.value.row == 1_001 + header


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(DataError, match="price"):
        _rows(_write(tmp_path, "f.csv", b"a,b\n1,2\n"), {"price": 2})


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
def test_an_empty_file_is_a_data_error(tmp_path, packing):
    path = _write(tmp_path, f"f.csv{packing}", b"")
    with pytest.raises(DataError, match="the file is empty"):
        _rows(path, {"a": "int"})


def test_a_number_that_is_not_there_stands_for_what_the_reader_says(tmp_path):
    path = _write(tmp_path, "f.csv", b"a,b\n1,2.5\n,\n")
    columns = {"a": "int", "b": 2}
    assert _rows(path, columns, empty={"a": -1, "b": 7}) == [(2, {"a": [1, -1], "b": [250, 7]})]
    with pytest.raises(DataError, match=r"f\.csv:3: there is no b"):
        _rows(path, columns, empty={"a": -1})


def test_text_that_is_no_utf8_is_a_data_error(tmp_path):
    path = _write(tmp_path, "f.csv", b"a,b\n1,\xff\xfe\n")
    with pytest.raises(DataError, match=r"f\.csv"):
        _rows(path, {"a": "int", "b": "text"})
