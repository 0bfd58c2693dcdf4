"""Every folder of real data is imported into one store with one command each, and is right."""

import pytest

from mtsim.cli.app import run
from mtsim.model.store import Store

FOLDERS = {
    "lobster": ("lobster", 4),
    "databento": ("databento_mbo", 4),
    "bitstamp": ("bitstamp_l3", 2),
    "binance-stream": ("binance_ws", 14),
    "binance": ("binance_trades", 4),
    "submissions": ("nasdaq_replay", 2),
    "itch": ("itch", 13),
    "tardis": ("tardis", 1),
    "coinbase": ("coinbase_l2", 2),
    "bitfinex": ("bitfinex_l2", 1),
}
"""The folder of each kind, and how many sessions it brings to a store that has those before."""


@pytest.mark.slow
def test_every_folder_is_imported_without_an_option_and_verified(market_data, tmp_path, capsys):
    store = tmp_path / "store"
    before = 0
    for kind, (folder, sessions) in FOLDERS.items():
        given = ["data", "import", kind, str(market_data / folder), "--store", str(store)]
        assert run(given) == 0, capsys.readouterr().err
        now = len(Store(store).folders())
        assert (kind, now - before) == (kind, sessions)
        before = now
    capsys.readouterr()
    assert run(["data", "verify", str(store)]) == 0
    assert f"{before} of {before} sessions are right" in capsys.readouterr().err
