"""Files of Binance's public archive, fetched over HTTP until they are whole and proven.

A file lands under its name only when its SHA-256 agrees with the archive's; until then it is a
`.part` beside it, which the next try, or the next run, goes on from. Knows URLs and bytes; what is
in the files, `binance` knows.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Literal

from mtsim.errors import IntegrityError, MissingError, UsageError

ARCHIVE = "https://data.binance.vision"

_MARKETS = {"spot": "spot", "um": "futures/um", "cm": "futures/cm"}
_BLOCK_BYTES = 1 << 16
_SHA256 = re.compile(rb"[0-9a-fA-F]{64}")
_MOST_CHECKSUM_BYTES = 1 << 12
# What a server or a network may do to us that is worth another try.
_PASSING = (OSError, http.client.HTTPException)

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are here and, where the server says it, the bytes of the file."""


def fetch_binance(
    symbol: str,
    when: str | date,
    kind: Literal["trades", "aggTrades"],
    market: Literal["spot", "um", "cm"],
    target: Path | str,
    *,
    base_url: str = ARCHIVE,
    progress: Progress | None = None,
    tries: int = 6,
    timeout_s: float = 30.0,
    backoff_s: float = 1.0,
) -> Path:
    """The archive of one month (`2024-08`) or day (`2024-08-09` or a date), in the folder `target`.

    A file that is there already is not fetched again if it agrees with its checksum. `tries` bounds
    how often in a row nothing new may arrive; each wait is twice the one before. MissingError where
    the archive has no such file or does not answer, IntegrityError where what it sends is wrong
    twice.
    """
    if kind not in ("trades", "aggTrades") or market not in _MARKETS:
        raise UsageError(
            f"the archive has trades and aggTrades of spot, um and cm, not {kind} {market}"
        )
    folder = Path(target)
    folder.mkdir(parents=True, exist_ok=True)
    period = when.isoformat() if isinstance(when, date) else when
    _check_names(symbol, period)
    often = "daily" if len(period) == len("2024-08-09") else "monthly"
    name = f"{symbol}-{kind}-{period}.zip"
    url = f"{base_url.rstrip('/')}/data/{_MARKETS[market]}/{often}/{kind}/{symbol}/{name}"
    loader = _Loader(tries, timeout_s, backoff_s, progress)

    said = folder / f"{name}.CHECKSUM"
    part = folder / f"{name}.CHECKSUM.part"
    part.unlink(missing_ok=True)
    loader.load(f"{url}.CHECKSUM", part)
    expected = expected_sha256(part.read_bytes())
    if expected is None:
        part.unlink()
        raise IntegrityError(f"{url}.CHECKSUM has no SHA-256 in it")
    part.replace(said)

    file = folder / name
    if file.is_file() and _sha256(file) == expected:
        return file
    part = folder / f"{name}.part"
    found = ""
    for _ in range(2):
        # An earlier run may have ended between the last byte and the rename.
        if not (part.is_file() and _sha256(part) == expected):
            loader.load(url, part)
        found = _sha256(part)
        if found == expected:
            part.replace(file)
            return file
        part.unlink()
    raise IntegrityError(f"{url}: its SHA-256 is {found}, its CHECKSUM file says {expected}")


def expected_sha256(checksum: bytes) -> str | None:
    """The SHA-256 that a CHECKSUM file (`digest  name`) says, None if it says none."""
    words = checksum[:_MOST_CHECKSUM_BYTES].split()
    if not words or not _SHA256.fullmatch(words[0]):
        return None
    return words[0].decode().lower()


def _check_names(symbol: str, period: str) -> None:
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?", period):
        raise UsageError(f"{period!r} is no month (2024-08) and no day (2024-08-09)")
    if not re.fullmatch(r"[A-Z0-9]{2,20}(_[A-Z0-9]{2,10})?", symbol):
        raise UsageError(f"{symbol!r} is no symbol as the archive spells it (BTCUSDT)")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Loader:
    """Loads a URL into a file, however often it takes."""

    def __init__(
        self, tries: int, timeout_s: float, backoff_s: float, progress: Progress | None
    ) -> None:
        self._tries = tries
        self._timeout_s = timeout_s
        self._backoff_s = backoff_s
        self._progress = progress

    def load(self, url: str, part: Path) -> None:
        """Fill `part` up to the whole file, going on from what it holds."""
        failed = most = 0
        while True:
            before = part.stat().st_size if part.is_file() else 0
            try:
                if self._load_once(url, part, before):
                    return
                why = "the connection ended early"
            except urllib.error.HTTPError as error:
                error.close()
                if error.code == 404:
                    raise MissingError(
                        f"the archive has no {url}", "Look at the symbol, the kind and the period"
                    ) from None
                if error.code == 416:
                    # There is more here than the server has: what is here is another file's.
                    part.unlink(missing_ok=True)
                elif error.code < 500 and error.code not in (408, 429):
                    raise MissingError(
                        f"{url} is refused: {error.code} {error.reason}", "Look at the base address"
                    ) from None
                why = f"{error.code} {error.reason}"
            except _PASSING as error:
                why = str(error) or type(error).__name__
            after = part.stat().st_size if part.is_file() else 0
            # Only more than ever before is progress: a server may ignore where we want to go on.
            failed = 0 if after > max(before, most) else failed + 1
            most = max(before, most, after)
            if failed >= self._tries:
                raise MissingError(
                    f"{url} does not come, after {failed} tries without a new byte: {why}",
                    f"Run it again: it goes on from the {after} bytes that are here",
                )
            time.sleep(self._backoff_s * 2 ** min(failed, 6))

    def _load_once(self, url: str, part: Path, have: int) -> bool:
        """One request. Whether the file is whole now."""
        request = urllib.request.Request(url)
        if have:
            request.add_header("Range", f"bytes={have}-")
        with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:
            start = _start_of(answer)
            if start not in (0, have):
                # Not what was asked for, and of no use.
                part.unlink(missing_ok=True)
                return False
            length = answer.headers.get("Content-Length")
            whole = start + int(length) if length and length.isdigit() else None
            with part.open("ab" if start else "wb") as file:
                here = start
                while block := answer.read1(_BLOCK_BYTES):
                    file.write(block)
                    here += len(block)
                    if self._progress is not None:
                        self._progress(here, whole)
        return whole is None or here == whole


def _start_of(answer: http.client.HTTPResponse) -> int:
    """Which byte of the file an answer begins with: 0 where the server ignores a range."""
    if answer.status != http.client.PARTIAL_CONTENT:
        return 0
    match = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(match[1]) if match else -1
