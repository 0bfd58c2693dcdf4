"""One run as a picture: where the touch was, and what the agent paid. Reads tapes only."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mtsim.engine.messages import FillKind
from mtsim.engine.tape import Stream
from mtsim.engine.units import EMPTY_ASK, EMPTY_BID, Side

_POINTS = 4_000


def draw_run(stream: Stream, file: Path, title: str, owner: int) -> None:
    """Write the paths of bid and ask, the trades of `owner` and the shocks as a PNG; equal runs
    give equal bytes."""
    # No pyplot: it has one global state and looks for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    shown = np.unique(np.linspace(0, len(stream.messages) - 1, _POINTS).astype(np.int64))
    seconds = stream.time_ns[shown] / 1e9
    for column, empty, name in (("ask_tick", EMPTY_ASK, "ask"), ("bid_tick", EMPTY_BID, "bid")):
        ticks = stream.results[column][shown].astype(np.float64)
        ticks[stream.results[column][shown] == empty] = np.nan
        panel.step(seconds, ticks, where="post", linewidth=0.8, label=name)
    fills = stream.fills[stream.fills["kind"] == FillKind.TRADE]
    mine = fills[(fills["taker_owner"] == owner) | (fills["maker_owner"] == owner)]
    if len(mine):
        buys = (mine["taker_owner"] == owner) == (mine["taker_side"] == Side.BUY)
        for is_buy, marker, name in ((True, "^", "buys"), (False, "v", "sells")):
            some = mine[buys == is_buy]
            if len(some):
                at = stream.time_ns[some["message"]] / 1e9
                panel.scatter(at, some["price_tick"], s=14, marker=marker, label=f"agent {name}")
    for shock in stream.shocks:
        panel.axvline(shock.time_ns / 1e9, color="black", linestyle=":", label=shock.name)
    panel.set_title(title)
    panel.set_xlabel("s since the session's start")
    panel.set_ylabel("ticks")
    panel.legend()
    # The version of the library would be in the file, and change it.
    figure.savefig(file, format="png", dpi=100, metadata={"Software": None})
