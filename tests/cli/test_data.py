"""`mtsim data`: feeds in, verified, looked at, out again; results on stdout, the rest on stderr."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from mtsim.cli.app import run
from mtsim.engine.messages import Kind
from mtsim.model.export import export_lobster
from mtsim.model.ingest import import_session
from mtsim.model.sources.catalogue import KINDS, Feed, feeds, kind_of
from mtsim.model.store import Store
from tests.model.generated_feed import made_up


@pytest.fixture(scope="module")
def lobster_files(tmp_path_factory) -> Path:
    """A folder with two days of a made-up stock as LOBSTER files."""
    folder = tmp_path_factory.mktemp("lobster")
    for day in (2, 3):
        source = made_up(folder / "seed", seed=day, n=400, date=date(2020, 1, day))
        stored = import_session(source, Store(folder.parent / f"store{day}"))
        export_lobster(stored, folder, 10)
    (folder / "seed").unlink()
    return folder


def messages(folder: Path) -> list[Path]:
    return sorted(folder.glob("*_message_*"))


@pytest.fixture
def store(tmp_path) -> str:
    return str(tmp_path / "store")


@pytest.fixture
def imported(lobster_files, store, capsys) -> str:
    assert run(["data", "import", "lobster", str(lobster_files), "--store", store]) == 0
    capsys.readouterr()
    return store


class TestImport:
    def test_a_folder_is_a_row_a_session(self, lobster_files, store, capsys):
        assert run(["data", "import", "lobster", str(lobster_files), "--store", store]) == 0
        captured = capsys.readouterr()
        assert "NASDAQ MADE 2020-01-02  imported" in captured.out
        assert "NASDAQ MADE 2020-01-03  imported" in captured.out
        assert "Importing" not in captured.out
        assert "Importing lobster" in captured.err

    def test_again_it_is_present(self, lobster_files, imported, capsys):
        assert run(["data", "import", "lobster", str(lobster_files), "--store", imported]) == 0
        assert capsys.readouterr().out.count("present") == 2

    def test_json_says_counts_checks_and_agreement(self, lobster_files, store, capsys):
        file = str(messages(lobster_files)[0])
        assert run(["data", "import", "lobster", file, "--store", store, "--json"]) == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert (row["session"], row["status"]) == ("NASDAQ MADE 2020-01-02", "imported")
        assert row["counts"]["read"] == row["counts"]["used"] > 300
        assert row["agreement"]["compared"] == row["agreement"]["equal"] > 0
        assert {check["level"] for check in row["checks"]} <= {"ok", "none"}

    def test_options_say_what_the_files_do_not(self, lobster_files, store, tmp_path, capsys):
        file = messages(lobster_files)[0]
        (tmp_path / "message.csv").write_bytes(file.read_bytes())
        book = file.with_name(file.name.replace("message", "orderbook"))
        (tmp_path / "orderbook.csv").write_bytes(book.read_bytes())
        given = ["data", "import", "lobster", str(tmp_path / "message.csv"), "--store", store]
        assert run(given) == 2
        assert "--symbol" in capsys.readouterr().err
        said = ["--symbol", "ABC", "--date", "2019-05-06", "--venue", "X", "--tick", "0.01"]
        assert run([*given, *said, "--lot", "1"]) == 0
        assert "X ABC 2019-05-06" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("option", "value", "said"),
        [
            ("--date", "yesterday", "2012-06-21"),
            ("--tick", "cheap", "0.01"),
            ("--tick", "0", "more than zero"),
            ("--lot", "-1", "more than zero"),
            ("--lot", "nan", "more than zero"),
        ],
    )
    def test_a_wrong_option_is_exit_2(self, lobster_files, store, option, value, said, capsys):
        arguments = ["data", "import", "lobster", str(lobster_files), "--store", store]
        assert run([*arguments, f"{option}={value}"]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert option in captured.err
        assert said in captured.err

    def test_one_bad_file_does_not_keep_the_rest_of_a_folder_out(
        self, lobster_files, store, tmp_path, capsys
    ):
        for file in lobster_files.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        bad = messages(tmp_path)[0]
        bad.write_text("nothing\n")
        assert run(["data", "import", "lobster", str(tmp_path), "--store", store]) == 4
        captured = capsys.readouterr()
        assert "NASDAQ MADE 2020-01-03  imported" in captured.out
        assert f"DataError: {bad}:1: " in captured.err

    def test_an_unknown_source_is_exit_2_with_the_nearest(self, store, capsys):
        assert run(["data", "import", "lobsterr", "f", "--store", store]) == 2
        assert "Did you mean 'lobster'?" in capsys.readouterr().err

    def test_a_file_that_is_not_there_is_exit_3(self, store, capsys):
        assert run(["data", "import", "lobster", "A_message_1.csv", "--store", store]) == 3
        assert "A_message_1.csv" in capsys.readouterr().err

    def test_a_folder_without_such_files_is_exit_3(self, store, tmp_path, capsys):
        assert run(["data", "import", "itch", str(tmp_path), "--store", store]) == 3
        assert "*.pcap" in capsys.readouterr().err

    def test_another_file_for_a_session_is_exit_2_naming_both(self, imported, tmp_path, capsys):
        source = made_up(tmp_path / "seed", seed=9, n=300, date=date(2020, 1, 2))
        stored = import_session(source, Store(tmp_path / "other"))
        file = str(export_lobster(stored, tmp_path / "new", 10).messages)
        arguments = ["data", "import", "lobster", file, "--store", imported]
        assert run(arguments) == 2
        captured = capsys.readouterr()
        assert "refused" in captured.out
        assert captured.err.count("MADE_2020-01-02_34200000_") >= 2
        assert run([*arguments, "--replace"]) == 0

    def test_bids_and_asks_exchanged_are_exit_4_naming_file_row_and_rule(
        self, lobster_files, store, tmp_path, capsys
    ):
        file = messages(lobster_files)[0]
        book = file.with_name(file.name.replace("message", "orderbook"))
        (tmp_path / file.name).write_bytes(file.read_bytes())
        rows = [line.split(",") for line in book.read_text().splitlines()]
        for row in rows:
            for k in range(0, len(row), 4):
                row[k : k + 4] = [*row[k + 2 : k + 4], *row[k : k + 2]]
        (tmp_path / book.name).write_text("".join(",".join(row) + "\n" for row in rows))
        arguments = ["data", "import", "lobster", str(tmp_path / file.name), "--store", store]
        assert run(arguments) == 4
        captured = capsys.readouterr()
        assert f"DataError: {tmp_path / book.name}:1: " in captured.err
        assert not list(Path(store).rglob("*.parquet"))

    def test_rows_deleted_are_exit_4_naming_file_and_row(
        self, lobster_files, store, tmp_path, capsys
    ):
        file = messages(lobster_files)[0]
        book = file.with_name(file.name.replace("message", "orderbook"))
        for path in (file, book):
            lines = path.read_text().splitlines(keepends=True)
            kept = [line for k, line in enumerate(lines) if k % 100 != 50]
            (tmp_path / path.name).write_text("".join(kept))
        arguments = ["data", "import", "lobster", str(tmp_path / file.name), "--store", store]
        assert run(arguments) == 4
        assert f"{tmp_path / book.name}:51: " in capsys.readouterr().err
        assert not list(Path(store).rglob("*.parquet"))

    def test_what_breaks_a_check_is_exit_4_or_kept(self, lobster_files, store, tmp_path, capsys):
        """Without a book file no reader can tell: an order id that is added twice."""
        file = messages(lobster_files)[0]
        lines = file.read_text().splitlines(keepends=True)
        adds = [k for k, line in enumerate(lines) if line.split(",")[1] == "1"]
        lines[adds[-1]] = lines[adds[-1]].replace(
            lines[adds[-1]].split(",")[2], lines[adds[-2]].split(",")[2]
        )
        copy = tmp_path / file.name
        copy.write_text("".join(lines))
        arguments = ["data", "import", "lobster", str(copy), "--store", store]
        assert run(arguments) == 4
        assert str(copy) in capsys.readouterr().err


class TestVerify:
    def test_a_table_and_exit_0(self, imported, capsys):
        assert run(["data", "verify", imported]) == 0
        captured = capsys.readouterr()
        assert captured.out.count("  ok  ") == 2
        assert "passed" in captured.out
        assert "2 of 2 sessions are right" in captured.err

    def test_json_has_the_hash_of_the_store(self, imported, capsys):
        assert run(["data", "verify", imported, "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["store_sha256"] == Store(imported).hash()
        assert [row["problems"] for row in said["sessions"]] == [[], []]
        assert said["unfinished"] == []

    def test_a_flipped_bit_is_exit_4_naming_the_file(self, imported, capsys):
        path = next(Path(imported).rglob("*.parquet"))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 16
        path.write_bytes(content)
        assert run(["data", "verify", imported]) == 4
        captured = capsys.readouterr()
        assert str(path) in captured.err
        assert "WRONG" in captured.out
        assert "1 of 2 sessions are right" in captured.err

    def test_errors_that_were_kept_are_exit_4(self, tmp_path, capsys):
        def swap(feed, truth):
            return feed, truth._replace(tick=truth.tick[:, ::-1], lots=truth.lots[:, ::-1])

        store = Store(tmp_path / "store")
        import_session(made_up(tmp_path / "f", n=300, change=swap), store, keep=True)
        assert run(["data", "verify", str(store.folder)]) == 4
        assert "f:81: [snapshot-sides]" in capsys.readouterr().err

    def test_an_unfinished_import_is_remarked(self, imported, capsys):
        (manifest, _) = sorted(Path(imported).rglob("manifest.json"))
        manifest.unlink()
        assert run(["data", "verify", imported]) == 0
        captured = capsys.readouterr()
        assert captured.out.count("  ok  ") == 1
        assert f"{manifest.parent}: an import that did not finish" in captured.err

    def test_a_store_that_is_not_there_is_exit_3(self, tmp_path, capsys):
        assert run(["data", "verify", str(tmp_path / "nothing")]) == 3
        assert "no such folder" in capsys.readouterr().err


class TestStats:
    def test_a_row_a_session_and_the_same_as_json(self, imported, capsys):
        assert run(["data", "stats", imported]) == 0
        table = capsys.readouterr().out
        assert "NASDAQ MADE 2020-01-02" in table
        assert run(["data", "stats", imported, "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert [row["session"] for row in rows] == [
            "NASDAQ MADE 2020-01-02",
            "NASDAQ MADE 2020-01-03",
        ]
        assert rows[0]["spread_ticks"]["p50"] > 0

    def test_a_picture_a_session(self, imported, tmp_path, capsys):
        folder = tmp_path / "figures"
        assert run(["data", "stats", imported, "--figures", str(folder)]) == 0
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["NASDAQ_MADE_2020-01-02.png", "NASDAQ_MADE_2020-01-03.png"]
        assert str(folder / names[0]) in capsys.readouterr().err

    def test_one_session_by_its_folder(self, imported, capsys):
        folder = Path(imported) / "NASDAQ" / "MADE" / "2020-01-03"
        assert run(["data", "stats", str(folder), "--json"]) == 0
        assert len(json.loads(capsys.readouterr().out)) == 1


class TestExport:
    def test_the_files_come_back(self, imported, lobster_files, tmp_path, capsys):
        target = tmp_path / "out"
        assert run(["data", "export", imported, "--target", str(target), "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert [row["session"][-10:] for row in rows] == ["2020-01-02", "2020-01-03"]
        assert Path(rows[0]["messages"]).name.endswith("_message_10.csv")
        books = sorted(target.glob("*_orderbook_*"))
        originals = sorted(lobster_files.glob("*_orderbook_*"))
        for book, original in zip(books, originals, strict=True):
            last = book.read_text().splitlines()[-1]
            assert last == original.read_text().splitlines()[-1]

    def test_no_levels_are_exit_2(self, imported, tmp_path, capsys):
        assert run(["data", "export", imported, "--target", str(tmp_path), "--levels", "0"]) == 2
        assert "at least 1" in capsys.readouterr().err


class TestFetch:
    def test_a_month_or_a_day_is_needed(self, capsys):
        assert run(["data", "fetch", "binance", "--symbol", "BTCUSDT"]) == 2
        both = ["--month", "2024-08", "--day", "2024-08-09"]
        assert run(["data", "fetch", "binance", "--symbol", "BTCUSDT", *both]) == 2
        assert capsys.readouterr().err.count("--month or --day") == 2

    def test_an_archive_that_does_not_answer_is_said(self, tmp_path, monkeypatch, capsys):
        from mtsim.model.sources import fetch

        monkeypatch.setattr(fetch.time, "sleep", lambda _: None)
        arguments = ["data", "fetch", "binance", "--symbol", "BTCUSDT", "--day", "2024-08-09"]
        address = ["--base-url", "http://127.0.0.1:9", "--target", str(tmp_path)]
        assert run([*arguments, *address]) == 3
        assert "127.0.0.1:9" in capsys.readouterr().err


class TestMap:
    @pytest.fixture
    def orders(self, tmp_path) -> Path:
        """An order log as anybody might have one."""
        file = tmp_path / "ABC_2024-01-31.csv"
        rows = ["time,order_id,action,side,price,size"]
        for k in range(40):
            price = f"{99.99 - k / 100:.2f}" if k % 2 else f"{100.01 + k / 100:.2f}"
            side = "BUY" if k % 2 else "SELL"
            rows.append(f"2024-01-31 09:30:{k:02}.5,{k + 1},NEW,{side},{price},{k + 1}")
        rows.append("2024-01-31 09:31:00.5,1,CANCEL,SELL,100.01,1")
        file.write_text("\n".join(rows) + "\n")
        return file

    def test_a_proposal_imports_the_file(self, orders, store, tmp_path, capsys):
        mapping = tmp_path / "abc.yaml"
        assert run(["data", "map", str(orders), "-o", str(mapping)]) == 0
        captured = capsys.readouterr()
        assert captured.out == ""
        assert str(mapping) in captured.err
        files = [str(mapping), str(orders)]
        given = ["data", "import", "mapped", *files, "--store", store, "--symbol", "ABC", "--json"]
        assert run(given) == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert row["events"]["by_type"] == {"ADD": 40, "CANCEL": 1}

    def test_without_a_place_it_is_printed(self, orders, tmp_path, capsys):
        assert run(["data", "map", str(orders)]) == 0
        out = capsys.readouterr().out
        assert "time:" in out
        mapping = tmp_path / "abc.yaml"
        assert run(["data", "map", str(orders), "-o", str(mapping)]) == 0
        assert mapping.read_text() == out

    def test_a_file_is_not_written_over(self, orders, capsys):
        assert run(["data", "map", str(orders), "-o", str(orders)]) == 2
        assert "is there already" in capsys.readouterr().err


class TestCatalogue:
    def test_every_kind_can_be_opened(self):
        from mtsim.model.sources.catalogue import opener

        for kind in KINDS.values():
            assert callable(opener(kind))

    def test_a_name_may_be_spelled_with_an_underscore(self):
        assert kind_of("binance_stream") is KINDS["binance-stream"]

    def test_files_that_are_given_are_one_feed_in_their_order(self):
        files = [Path("b"), Path("a")]
        assert feeds(KINDS["binance-stream"], files) == [Feed(("b", "a"), found=False)]

    def test_recordings_of_one_name_continue_one_another(self, tmp_path):
        names = ("x_20240102.gz", "x_20240101.gz", "x_20240109.gz", "y_20240101.gz", "notes.txt")
        for name in names:
            (tmp_path / name).write_text("")
        found = [
            [Path(file).name for file in feed.files]
            for feed in feeds(KINDS["binance-stream"], [tmp_path])
        ]
        assert found == [["x_20240101.gz", "x_20240102.gz"], ["x_20240109.gz"], ["y_20240101.gz"]]

    @pytest.mark.parametrize(
        ("kind", "names"),
        [
            ("binance", ["A-trades-2024-01.zip", "A-trades-2024-02.zip"]),
            ("binance", ["A-aggTrades-2024-01.zip"]),
            ("coinbase", ["A-B_2018-04-24_asks.csv", "A-B_2018-04-24_l2update_1.csv"]),
            ("tardis", ["x_quotes_A_2020-02-22.csv", "x_trades_A_2020-02-22.csv"]),
        ],
    )
    def test_names_say_what_is_one_feed(self, tmp_path, kind, names):
        others = [
            "Z-trades-2024-01.zip",
            "Z-Z_2018-04-24_asks.csv",
            "A-B_2018-04-25_asks.csv",
            "x_trades_B_2020-02-22.csv",
        ]
        for name in (*names, *others):
            (tmp_path / name).write_text("")
        groups = [feed.files for feed in feeds(KINDS[kind], [tmp_path])]
        assert tuple(str(tmp_path / name) for name in names) in groups
        assert len(groups) > 1

    def test_a_file_in_two_forms_is_taken_in_the_better_one(self, tmp_path):
        for name in ("a.mbo.csv.zst", "a.mbo.dbn.zst", "b.mbo.csv"):
            (tmp_path / name).write_text("")
        found = feeds(KINDS["databento"], [tmp_path])
        names = [[Path(file).name for file in feed.files] for feed in found]
        assert names == [["a.mbo.dbn.zst"], ["b.mbo.csv"]]


def test_the_made_up_feed_has_what_these_tests_rest_on(tmp_path):
    kinds = made_up(tmp_path / "f", n=400).feed["message"]["kind"]
    assert {Kind.LIMIT, Kind.CANCEL, Kind.REDUCE, Kind.REPLACE} == set(np.unique(kinds).tolist())
