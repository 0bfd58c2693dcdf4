"""Archives arrive whole and proven, whatever a server does; proven against one on this machine."""

import hashlib
import threading
from datetime import date
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mtsim.errors import IntegrityError, MissingError, UsageError
from mtsim.model.sources.fetch import expected_sha256, fetch_binance

DATA = bytes(range(256)) * 2000
DAY = "/data/spot/daily/trades/BTCUSDT/BTCUSDT-trades-2024-08-09.zip"


class Archive:
    """A server whose answers to the requests for one file are scripted, one word a request.

    When the script is over, it serves the file. Each request is kept as (path, Range header).
    """

    def __init__(self):
        self.files = {DAY: DATA}
        self.script = []
        self.requests = []
        self.released = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def asked(self, path=DAY):
        return [since for asked, since in self.requests if asked == path]

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, archive, *args):
        self.archive = archive
        super().__init__(*args)

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        archive, since = self.archive, self.headers.get("Range")
        archive.requests.append((self.path, since))
        if self.path.endswith(".CHECKSUM") and self.path not in archive.files:
            data = archive.files.get(self.path.removesuffix(".CHECKSUM"))
            digest = None if data is None else hashlib.sha256(data).hexdigest()
            body = None if digest is None else f"{digest}  {self.path.rpartition('/')[2]}".encode()
            return self.answer(body, None, "")
        body = archive.files.get(self.path)
        word = archive.script.pop(0) if archive.script and self.path == DAY else ""
        return self.answer(body, since, word)

    def answer(self, body, since, word):
        if body is None:
            return self.send_error(404)
        if word.isdigit():
            return self.send_error(int(word))
        if word == "drop":
            return self.connection.close()
        start = (
            int(since.removeprefix("bytes=").rstrip("-")) if since and "ignore" not in word else 0
        )
        if start >= len(body) and start:
            return self.send_error(416)
        body = bytes(len(body)) if word == "corrupt" else body
        self.send_response(206 if start else 200)
        if start:
            shown = start + 5 if word == "elsewhere" else start
            self.send_header("Content-Range", f"bytes {shown}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        part = body[start:]
        if word in ("short", "stall", "ignore short"):
            part = part[: len(part) // 2]
        self.wfile.write(part)
        self.wfile.flush()
        if word == "stall":
            self.archive.released.wait(5)
        return None


@pytest.fixture
def archive(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    archive = Archive()
    yield archive
    archive.close()


@pytest.fixture
def fetch(archive, tmp_path):
    """Fetch the day, without long waits."""
    return partial(
        fetch_binance,
        "BTCUSDT",
        "2024-08-09",
        "trades",
        "spot",
        tmp_path,
        base_url=archive.url,
        timeout_s=0.3,
        backoff_s=0.001,
    )


def left(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


WHOLE = ["BTCUSDT-trades-2024-08-09.zip", "BTCUSDT-trades-2024-08-09.zip.CHECKSUM"]


def test_a_file_arrives_with_its_checksum(archive, fetch, tmp_path):
    seen = []

    path = fetch(progress=lambda here, whole: seen.append((here, whole)))

    assert path == tmp_path / WHOLE[0]
    assert path.read_bytes() == DATA
    assert left(tmp_path) == WHOLE
    assert seen[-1] == (len(DATA), len(DATA))
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("market", "when", "kind", "path"),
    [
        (
            "spot",
            "2024-08",
            "aggTrades",
            "spot/monthly/aggTrades/ETHUSDT/ETHUSDT-aggTrades-2024-08",
        ),
        (
            "um",
            date(2024, 8, 9),
            "trades",
            "futures/um/daily/trades/ETHUSDT/ETHUSDT-trades-2024-08-09",
        ),
        ("cm", "2024-08-09", "trades", "futures/cm/daily/trades/ETHUSDT/ETHUSDT-trades-2024-08-09"),
    ],
)
def test_markets_kinds_and_periods_have_their_address(archive, tmp_path, market, when, kind, path):
    archive.files[f"/data/{path}.zip"] = b"here"

    fetched = fetch_binance("ETHUSDT", when, kind, market, tmp_path, base_url=archive.url + "/")

    assert fetched.read_bytes() == b"here"


@pytest.mark.parametrize(
    "script",
    [
        ["short"],
        ["short", "short", "short"],
        ["stall", "stall"],
        ["drop"],
        ["500", "503", "429"],
        ["short", "ignore"],
        ["short", "elsewhere"],
        ["short", "416"],
        ["short", "drop", "stall", "502", "ignore short", "short"],
    ],
)
def test_what_passes_is_tried_again(archive, fetch, tmp_path, script):
    """Cut off, stalled, refused for now, or a range not kept to: in the end the file is whole."""
    archive.script = script.copy()

    assert fetch().read_bytes() == DATA

    assert not archive.script
    assert left(tmp_path) == WHOLE


def test_it_goes_on_from_what_is_there(archive, fetch):
    archive.script = ["short", "short"]

    fetch()

    half = len(DATA) // 2
    three_quarters = half + (len(DATA) - half) // 2
    assert archive.asked() == [None, f"bytes={half}-", f"bytes={three_quarters}-"]


def test_a_later_run_goes_on_from_what_an_earlier_one_left(archive, fetch, tmp_path):
    archive.script = ["short", "500", "500", "500"]
    with pytest.raises(MissingError, match="Run it again") as caught:
        fetch(tries=3)
    assert str(len(DATA) // 2) in str(caught.value)
    assert "BTCUSDT-trades-2024-08-09.zip.part" in left(tmp_path)
    assert WHOLE[0] not in left(tmp_path)

    fetch()

    assert archive.asked()[-1] == f"bytes={len(DATA) // 2}-"
    assert left(tmp_path) == WHOLE


def test_a_whole_part_of_an_earlier_run_is_only_named(archive, fetch, tmp_path):
    (tmp_path / f"{WHOLE[0]}.part").write_bytes(DATA)

    assert fetch().read_bytes() == DATA

    assert archive.asked() == []


def test_a_file_that_is_there_is_not_fetched_again(archive, fetch, tmp_path):
    fetch()
    fetch()
    assert len(archive.asked()) == 1

    (tmp_path / WHOLE[0]).write_bytes(b"something else")
    assert fetch().read_bytes() == DATA
    assert len(archive.asked()) == 2


def test_a_wrong_file_is_fetched_once_more(archive, fetch):
    archive.script = ["corrupt"]

    assert fetch().read_bytes() == DATA

    assert archive.asked() == [None, None]


def test_a_file_that_is_wrong_twice_is_refused_and_not_kept(archive, fetch, tmp_path):
    archive.script = ["corrupt", "corrupt"]

    with pytest.raises(IntegrityError, match=hashlib.sha256(DATA).hexdigest()):
        fetch()

    assert left(tmp_path) == [WHOLE[1]]


def test_a_part_of_another_file_is_found_out(archive, fetch, tmp_path):
    """Its length is no proof: the whole is, and it begins anew."""
    (tmp_path / f"{WHOLE[0]}.part").write_bytes(b"x" * 1000)

    assert fetch().read_bytes() == DATA

    assert archive.asked() == ["bytes=1000-", None]


def test_a_longer_part_is_thrown_away(archive, fetch, tmp_path):
    (tmp_path / f"{WHOLE[0]}.part").write_bytes(DATA + b"x")

    assert fetch().read_bytes() == DATA

    assert archive.asked() == [f"bytes={len(DATA) + 1}-", None]


def test_a_server_that_never_gets_further_is_given_up(archive, fetch):
    """It sends the same half again and again, whatever is asked for."""
    archive.script = ["short"] + ["ignore short"] * 50

    with pytest.raises(MissingError, match="4 tries without a new byte"):
        fetch(tries=4)

    assert len(archive.asked()) == 5


@pytest.mark.parametrize("word", ["404", "403"])
def test_a_file_that_the_archive_does_not_have_is_missing(archive, fetch, word):
    archive.script = [word]

    with pytest.raises(MissingError, match=r"BTCUSDT-trades-2024-08-09\.zip"):
        fetch()

    assert len(archive.asked()) == 1


def test_an_archive_that_is_not_there_is_missing(tmp_path, archive):
    archive.close()

    with pytest.raises(MissingError, match="2 tries"):
        fetch_binance(
            "BTCUSDT", "2024-08", "trades", "spot", tmp_path, base_url=archive.url,
            tries=2, timeout_s=0.3, backoff_s=0.001,
        )  # fmt: skip


def test_a_checksum_that_is_none_is_refused(archive, fetch, tmp_path):
    archive.files[f"{DAY}.CHECKSUM"] = b"<html>not here</html>"

    with pytest.raises(IntegrityError, match="no SHA-256"):
        fetch()

    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ({"when": "2024"}, "no month"),
        ({"when": "2024-13"}, "no month"),
        ({"when": "2024-08-32"}, "no month"),
        ({"symbol": "btcusdt"}, "no symbol"),
        ({"symbol": "../BTC"}, "no symbol"),
        ({"kind": "klines"}, "klines"),
        ({"market": "options"}, "options"),
    ],
)
def test_what_the_archive_cannot_have_is_a_mistake_of_use(tmp_path, said, rule):
    asked = {"symbol": "BTCUSDT", "when": "2024-08", "kind": "trades", "market": "spot"} | said

    with pytest.raises(UsageError, match=rule):
        fetch_binance(**asked, target=tmp_path, base_url="http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (b"AB" * 32 + b"  name.zip\n", "ab" * 32),
        (b"ab" * 32, "ab" * 32),
        (b"", None),
        (b"ab" * 31, None),
        (b"zz" * 32, None),
    ],
)
def test_a_checksum_file_says_its_digest_first(text, digest):
    assert expected_sha256(text) == digest
