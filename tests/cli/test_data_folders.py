"""Folders imported with one command: what is one session, what is passed over, and why."""

import json
from datetime import date
from pathlib import Path

import pytest

from mtsim.cli.app import run
from mtsim.model.export import export_lobster
from mtsim.model.ingest import import_session
from mtsim.model.sources.catalogue import KINDS, feeds
from mtsim.model.store import Store
from tests.model import itch_writer as itch
from tests.model.binance_recording import recorded
from tests.model.generated_feed import made_up

AT_S = 1_704_205_800  # 2024-01-02
BEFORE_ALL = "MADE_2020-01-02_34200000_1_message_50.csv"


@pytest.fixture
def store(tmp_path) -> str:
    return str(tmp_path / "store")


@pytest.fixture(scope="module")
def one_session_twice(tmp_path_factory) -> Path:
    """A day of LOBSTER files, and its first messages again without a book, first by name."""
    made = tmp_path_factory.mktemp("made")
    folder = tmp_path_factory.mktemp("lobster")
    source = made_up(made / "seed", n=400, date=date(2020, 1, 2))
    files = export_lobster(import_session(source, Store(made / "store")), folder, 10)
    lines = files.messages.read_text().splitlines(keepends=True)
    (folder / BEFORE_ALL).write_text("".join(lines[:300]))
    assert sorted(folder.glob("*_message_*"))[0].name == BEFORE_ALL
    return folder


def imported(kind: str, where: Path | str, store: str, capsys, *more: str) -> tuple[int, list]:
    code = run(["data", "import", kind, str(where), "--store", store, "--json", *more])
    return code, json.loads(capsys.readouterr().out)


def capture(path: Path, *messages: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(itch.pcap([itch.datagram(itch.mold(messages, 1))], at=AT_S))


def events_of(stored_in: str) -> int:
    (session,) = Store(stored_in).sessions()
    return session.manifest["counts"]["read"]


class TestOneSessionTwice:
    def test_the_feed_with_books_is_imported_and_the_other_passed_over(
        self, one_session_twice, store, capsys
    ):
        code, rows = imported("lobster", one_session_twice, store, capsys)
        assert code == 0
        assert [row["status"] for row in rows] == ["imported", "passed over"]
        first, second = rows
        assert first["session"] == second["session"] == "NASDAQ MADE 2020-01-02"
        assert "orderbook" in first["files"][1]
        assert second["files"] == [BEFORE_ALL]
        assert first["files"][0] in second["why"]
        assert "--replace" in second["why"]
        assert "--venue" in second["why"]
        assert (second["error"], "counts" in second) == (None, False)

    def test_the_table_says_so(self, one_session_twice, store, capsys):
        assert run(["data", "import", "lobster", str(one_session_twice), "--store", store]) == 0
        captured = capsys.readouterr()
        assert "NASDAQ MADE 2020-01-02  passed over" in captured.out
        said = captured.out.partition("why")[2]
        assert BEFORE_ALL in said
        assert "is in the store already" in said
        assert "Error" not in captured.err

    def test_again_it_is_the_same(self, one_session_twice, store, capsys):
        imported("lobster", one_session_twice, store, capsys)
        before = Store(store).hash()
        code, rows = imported("lobster", one_session_twice, store, capsys)
        assert (code, [row["status"] for row in rows]) == (0, ["present", "passed over"])
        assert Store(store).hash() == before

    def test_a_file_that_is_named_is_an_error(self, one_session_twice, store, capsys):
        imported("lobster", one_session_twice, store, capsys)
        code, (row,) = imported("lobster", one_session_twice / BEFORE_ALL, store, capsys)
        assert (code, row["status"]) == (2, "refused")
        assert row["error"].startswith("UsageError: ")

    def test_a_file_that_is_named_has_its_way_by_option(self, one_session_twice, store, capsys):
        _, (row, _) = imported("lobster", one_session_twice, store, capsys)
        named = one_session_twice / BEFORE_ALL
        code, _ = imported("lobster", named, store, capsys, "--venue", "first-messages")
        assert code == 0
        assert [session.key.venue for session in Store(store).sessions()] == [
            "NASDAQ",
            "first-messages",
        ]
        code, (other,) = imported("lobster", named, store, capsys, "--replace")
        assert (code, other["status"]) == (0, "imported")
        assert other["counts"]["read"] == 300 < row["counts"]["read"]

    def test_to_replace_is_not_to_replace_what_the_command_has_imported(
        self, one_session_twice, store, capsys
    ):
        imported("lobster", one_session_twice / BEFORE_ALL, store, capsys)
        assert events_of(store) == 300
        code, rows = imported("lobster", one_session_twice, store, capsys, "--replace")
        assert (code, [row["status"] for row in rows]) == (0, ["imported", "passed over"])
        assert events_of(store) > 300

    def test_two_named_files_of_one_session_do_not_replace_one_another(
        self, one_session_twice, store, capsys
    ):
        files = [str(file) for file in sorted(one_session_twice.glob("*_message_*"))]
        given = ["data", "import", "lobster", *files, "--store", store, "--replace"]
        assert run(given) == 2
        assert "give the files of one of them only" in capsys.readouterr().err
        assert events_of(store) == 300

    def test_what_is_in_the_store_stays_there(self, one_session_twice, store, capsys):
        imported("lobster", one_session_twice / BEFORE_ALL, store, capsys)
        code, rows = imported("lobster", one_session_twice, store, capsys)
        assert (code, [row["status"] for row in rows]) == (0, ["passed over", "present"])
        assert events_of(store) == 300


class TestFilesWithoutASession:
    def test_a_capture_without_an_order_is_passed_over_with_what_it_has(
        self, tmp_path, store, capsys
    ):
        folder = tmp_path / "captures"
        capture(folder / "orders.pcap", itch.add(1, 1, 10, "B", 100, 10_000))
        capture(folder / "quiet" / "halt.pcap", itch.trading(1, 1, "ABC", "H"))
        capture(folder / "quiet" / "lost.pcap", itch.delete(1, 1, 77), itch.delete(2, 1, 78))
        code, rows = imported("itch", folder, store, capsys)
        assert code == 0
        assert [(row["session"], row["status"]) for row in rows] == [
            ("XNAS ABC 2024-01-02", "imported"),
            (None, "passed over"),
            ("XNAS #1 2024-01-02", "passed over"),
            ("XNAS #2 2024-01-02", "passed over"),
        ]
        assert rows[1]["why"] == "no order of any stock: 1 messages of types H (1)"
        assert "of 2 records: 1 a message of another stock, 1 an unknown order" in rows[2]["why"]

    def test_named_it_is_an_error(self, tmp_path, store, capsys):
        capture(tmp_path / "halt.pcap", itch.trading(1, 1, "ABC", "H"))
        file = str(tmp_path / "halt.pcap")
        assert run(["data", "import", "itch", file, "--store", store]) == 4
        assert f"NoSession: {file}: no order of any stock" in capsys.readouterr().err

    def test_one_reason_is_said_once_a_file(self, tmp_path, store, capsys):
        capture(tmp_path / "c" / "lost.pcap", *(itch.delete(k, 1, 77) for k in range(1, 5)))
        assert run(["data", "import", "itch", str(tmp_path / "c"), "--store", store]) == 0
        out = capsys.readouterr().out
        assert out.count("passed over") == 4 + 1
        assert out.partition("why")[2].count("lost.pcap") == 1


class TestFolders:
    def test_folders_in_a_folder_are_looked_at_each_for_itself(self, tmp_path):
        for name in ("x_20240101.gz", "a/x_20240102.gz", "a/x_20240103.gz", "a/.b/x_20240104.gz"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("")
        (tmp_path / ".x_20240105.gz").write_text("")
        found = [
            [str(Path(file).relative_to(tmp_path)) for file in feed.files]
            for feed in feeds(KINDS["binance-stream"], [tmp_path])
        ]
        assert found == [["a/x_20240102.gz", "a/x_20240103.gz"], ["x_20240101.gz"]]

    @pytest.mark.parametrize(
        ("kind", "plain", "with_books", "books"),
        [
            ("databento", "a.mbo.dbn.zst", "b.mbo.csv", "b.mbp-10.csv.zst"),
            ("lobster", "A_2_message_1.csv", "B_2_message_1.csv.zst", "B_2_orderbook_1.csv"),
        ],
    )
    def test_a_feed_with_books_comes_first(self, tmp_path, kind, plain, with_books, books):
        for name in (plain, with_books, books):
            (tmp_path / name).write_text("")
        found = [Path(feed.files[0]).name for feed in feeds(KINDS[kind], [tmp_path])]
        assert found == [with_books, plain]

    @pytest.mark.parametrize(
        ("kind", "names"),
        [
            ("binance", ["LTCUSDT_2025_trades.csv.zst", "A_spot_trade_stream.csv"]),
            ("bitstamp", ["A_2020-01-01_events.csv", "A_2020-01-02_raw.log.gz"]),
            ("itch", ["01302019.NASDAQ_ITCH50", "a.pcapng", "b.pcap.zst"]),
            ("bitfinex", ["ETHUSD_depth.csv.zst"]),
        ],
    )
    def test_a_kind_finds_its_files_however_they_are_packed(self, tmp_path, kind, names):
        for name in (*names, "README.md", "tBTCUSD_R0_raw_book.json.zst"):
            (tmp_path / name).write_text("")
        found = [Path(file).name for feed in feeds(KINDS[kind], [tmp_path]) for file in feed.files]
        assert sorted(found) == sorted(names)


def test_one_symbol_of_three_markets_is_three_sessions_of_one_store(tmp_path, store, capsys):
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name, symbol, futures in (
        ("one", "BTCUSDT", False),
        ("two", "BTCUSDT", True),
        ("three", "BTCUSD_PERP", True),
    ):
        exchange = recorded(3, futures, symbol=symbol)
        (folder / f"{name}.log").write_bytes(exchange.recording())
    code, rows = imported("binance-stream", folder, store, capsys)
    assert code == 0
    assert sorted(row["session"].rpartition(" ")[0] for row in rows) == [
        "binance BTCUSDT",
        "binance-cm BTCUSD_PERP",
        "binance-um BTCUSDT",
    ]
    assert run(["data", "verify", store]) == 0
    assert "3 of 3 sessions are right" in capsys.readouterr().err


def test_a_finding_names_the_second_of_two_files_and_its_row(tmp_path, store, capsys):
    """Best quotes that are wrong from the second recording on."""
    exchange = recorded(3, updates=80)
    cut = len(exchange.lines) // 2
    lines = exchange.lines[cut:]
    is_quote = ["@bookTicker" in line for line in lines]
    wrong = [
        line.replace('"b":"', '"b":"1') if quote else line
        for line, quote in zip(lines, is_quote, strict=True)
    ]
    first, second = tmp_path / "a.log", tmp_path / "b.log"
    first.write_text("".join(exchange.lines[:cut]))
    second.write_text("".join(wrong))
    given = ["data", "import", "binance-stream", str(first), str(second), "--store", store]
    options = ["--tick", "0.01", "--lot", "0.001"]
    assert run([*given, *options]) == 4
    error = capsys.readouterr().err.partition("DataError: ")[2]
    place, _, rule = error.partition(": ")
    file, _, row = place.rpartition(":")
    assert file == str(second)
    assert rule.startswith("[snapshot-sides]")
    assert is_quote[int(row) - 1]
