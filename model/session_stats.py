"""What a stored session looks like in numbers and in one picture.

The events are executed once more, part by part, so that the spread, the depth and the moves of the
mid are those of the engine's book. Openings put the book in place and are counted nowhere else.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mtsim.engine.batch import Books
from mtsim.engine.events import EventType, Origin, to_messages
from mtsim.engine.messages import Reject, TimeInForce
from mtsim.engine.units import EMPTY_ASK, EMPTY_BID, Side
from mtsim.model.histogram import Histogram, lower_edges
from mtsim.model.store import StoredSession

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEPTH_LEVELS = 10
DEPTH_EVENTS = 512
"""The depth profile is the mean of one book in so many events."""
QUIET_NS = 60 * 10**9
"""Longer without any event is listed as a gap, though the feed may be whole."""
_PATH_POINTS = 2000
_SHARES = (0.01, 0.25, 0.5, 0.75, 0.99)
_MARKET = ("ADD", "MARKETABLE", "CANCEL", "REDUCE", "REPLACE")


@dataclass
class SessionStats:
    """Everything that is counted of one session; `as_json` has the numbers, `draw` the picture."""

    stored: StoredSession
    mix: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Events by type and side."""
    origins: Counter[str] = field(default_factory=Counter)
    spread_ticks: Histogram = field(default_factory=Histogram)
    spread_ns: float = 0.0
    """Integral of the spread over time, in ticks times nanoseconds, and the time it covers."""
    two_sided_ns: int = 0
    gap_ns: Histogram = field(default_factory=Histogram)
    lots: dict[str, Histogram] = field(default_factory=dict)
    depth_lots: np.ndarray = field(default_factory=lambda: np.zeros((2, DEPTH_LEVELS)))
    depth_books: int = 0
    events: int = 0
    trades: int = 0
    moves: int = 0
    """Events that moved the mid, and trades that did."""
    trade_moves: int = 0
    price_changes: int = 0
    """Trades at another price than the trade before."""
    last_price_tick: int | None = None
    quiet: list[tuple[int, int]] = field(default_factory=list)
    path: list[np.ndarray] = field(default_factory=list)
    """(time_ns, doubled mid) at up to a few thousand moments."""

    def as_json(self) -> dict[str, Any]:
        """The numbers as JSON values; None where there is nothing to say it of."""
        depth = self.depth_lots / max(1, self.depth_books)
        return {
            "session": str(self.stored.key),
            "events": self.events,
            "by_type": {
                name: {side: self.mix[name, side] for side in ("buy", "sell")}
                for name in sorted({name for name, _ in self.mix})
            },
            "by_origin": dict(sorted(self.origins.items())),
            "trades": self.trades,
            "spread_ticks": {
                **_quantiles(self.spread_ticks),
                "time_weighted_mean": _ratio(self.spread_ns, self.two_sided_ns),
            },
            "depth_lots": {
                side.name.lower(): [round(lots, 3) for lots in depth[side].tolist()]
                for side in Side
            },
            "gap_ns": {
                **_quantiles(self.gap_ns),
                "zero_share": _ratio(int(self.gap_ns.counts[0]), self.gap_ns.total()),
            },
            "lots": {name: _quantiles(histogram) for name, histogram in self.lots.items()},
            "move_rate": {
                "per_event": _ratio(self.moves, self.events),
                "per_trade": _ratio(self.trade_moves, self.trades),
                "price_changes_per_trade": _ratio(self.price_changes, self.trades - 1),
            },
            "gaps": self.stored.manifest["gaps"],
            "quiet": [{"from_ns": start, "to_ns": end} for start, end in self.quiet],
        }

    def draw(self, file: Path) -> None:
        """Write the picture as a PNG; equal sessions give equal bytes."""
        # No pyplot: it has one global state and looks for a display.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(16, 8), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(f"{self.stored.key} · {self.events:,} events · {self.trades:,} trades")
        panels = figure.subplots(2, 4).ravel()
        self._draw_mix(panels[0])
        self._draw_distribution(panels[1], {"": self.spread_ticks}, "spread, ticks")
        self._draw_depth(panels[2])
        self._draw_distribution(panels[3], {"": self.gap_ns}, "gap between events, ns")
        self._draw_distribution(panels[4], self.lots, "lots")
        self._draw_moves(panels[5])
        self._draw_path(panels[6])
        self._draw_gaps(panels[7])
        # The version of the library would be in the file, and change it.
        figure.savefig(file, format="png", dpi=80, metadata={"Software": None})

    def _draw_mix(self, panel: Axes) -> None:
        names = [name for name in _MARKET if self.mix[name, "buy"] or self.mix[name, "sell"]]
        buys = [self.mix[name, "buy"] for name in names]
        panel.bar(names, buys, label="buy")
        panel.bar(names, [self.mix[name, "sell"] for name in names], bottom=buys, label="sell")
        panel.set_title("events")
        panel.tick_params(axis="x", labelrotation=30)
        panel.legend()

    def _draw_distribution(self, panel: Axes, histograms: dict[str, Histogram], title: str) -> None:
        for name, histogram in histograms.items():
            total = histogram.total()
            if total:
                used = np.flatnonzero(histogram.counts)
                shares = np.cumsum(histogram.counts[used]) / total
                panel.step(lower_edges()[used], shares, where="post", label=name.lower())
        panel.set_xscale("symlog", linthresh=1)
        panel.set_ylim(0, 1)
        panel.set_title(f"{title} (share at most)")
        if len(histograms) > 1:
            panel.legend()

    def _draw_depth(self, panel: Axes) -> None:
        depth = self.depth_lots / max(1, self.depth_books)
        level = np.arange(DEPTH_LEVELS)
        panel.bar(-1 - level, depth[Side.BUY], label="bid")
        panel.bar(1 + level, depth[Side.SELL], label="ask")
        panel.set_title("mean lots by level")
        panel.legend()

    def _draw_moves(self, panel: Axes) -> None:
        rates = [self.moves / max(1, self.events), self.trade_moves / max(1, self.trades)]
        panel.bar(["per event", "per trade"], rates)
        panel.set_title("share that moves the mid")

    def _draw_path(self, panel: Axes) -> None:
        if self.path:
            path = np.concatenate(self.path)
            panel.plot(path[:, 0] / 1e9, path[:, 1] / 2, linewidth=0.8)
        for gap in self.stored.manifest["gaps"]:
            panel.axvspan(gap["from_ns"] / 1e9, gap["to_ns"] / 1e9, alpha=0.3)
        panel.set_title("mid, ticks, by seconds")

    def _draw_gaps(self, panel: Axes) -> None:
        gaps = [(gap["from_ns"], gap["to_ns"]) for gap in self.stored.manifest["gaps"]]
        for height, spans in enumerate((gaps, self.quiet)):
            for start, end in spans:
                panel.plot([start / 1e9, end / 1e9], [height, height], linewidth=6)
        panel.set_yticks([0, 1], [f"gaps ({len(gaps)})", f"quiet ({len(self.quiet)})"])
        panel.set_ylim(-1, 2)
        panel.set_title("gaps and quiet minutes")


def measure(stored: StoredSession) -> SessionStats:
    """Count a session. O(events) time; memory for one part."""
    stats = SessionStats(stored)
    books = Books(1)
    touch = np.array([[EMPTY_BID, EMPTY_ASK]], np.int64)
    last_ns: int | None = None
    every = max(1, stored.manifest["events"]["executed"] // _PATH_POINTS)
    executed = 0
    for part in stored.events():
        rows = part[part["type"] < EventType.SESSION_START]
        if not len(rows):
            continue
        results = _process(books, rows, stats, executed)
        before = np.concatenate([touch, np.empty((len(rows), 2), np.int64)])
        before[1:, 0], before[1:, 1] = results["bid_tick"], results["ask_tick"]
        touch = before[-1:]
        last_ns = _count(stats, rows, before, last_ns, slice(-executed % every, None, every))
        executed += len(rows)
    return stats


def _process(books: Books, rows: np.ndarray, stats: SessionStats, executed: int) -> np.ndarray:
    messages, results = to_messages(rows), []
    # Stops at every multiple of DEPTH_EVENTS in the session, wherever its parts begin.
    stops = [*range(-executed % DEPTH_EVENTS, len(rows), DEPTH_EVENTS), len(rows)]
    for start, stop in zip([0, *stops], stops, strict=False):
        results.append(books.process(messages[start:stop]).results)
        if stop < len(rows) and rows["origin"][stop] != Origin.OPENING:
            stats.depth_lots += books.depth(DEPTH_LEVELS)[1][0]
            stats.depth_books += 1
    return np.concatenate(results)


def _count(
    stats: SessionStats,
    rows: np.ndarray,
    before: np.ndarray,
    last_ns: int | None,
    shown: slice,
) -> int | None:
    """Count one part; `before[k]` is the touch before row k. The time of its last event, or of one
    before it."""
    for origin, n in zip(*np.unique(rows["origin"], return_counts=True), strict=True):
        stats.origins[Origin(int(origin)).name] += int(n)
    after = before[1:]
    two_sided = (before[:, 0] != EMPTY_BID) & (before[:, 1] != EMPTY_ASK)
    # Orders that are collected for an auction may cross: that is no spread.
    two_sided &= before[:, 0] < before[:, 1]
    mid_x2 = before.sum(axis=1)

    active = rows["origin"] != Origin.OPENING
    path = two_sided[1:][shown] & active[shown]
    times = rows["time_ns"]
    stats.path.append(np.column_stack([times[shown], mid_x2[1:][shown]])[path])
    seen = rows[active]
    if not len(seen):
        return last_ns
    stats.events += len(seen)
    for kind, n in zip(*np.unique(seen["type"], return_counts=True), strict=True):
        name = EventType(int(kind)).name
        buys = int(np.count_nonzero((seen["type"] == kind) & (seen["side"] == Side.BUY)))
        stats.mix[name, "buy"] += buys
        stats.mix[name, "sell"] += int(n) - buys
        mine = (seen["type"] == kind) & (seen["reject"] == Reject.NONE)
        stats.lots.setdefault(name, Histogram()).add(seen["lots"][mine])
    stats.spread_ticks.add((after[:, 1] - after[:, 0])[two_sided[1:] & active])

    moved = (mid_x2[1:] != mid_x2[:-1]) & two_sided[1:] & two_sided[:-1] & active
    # A feed of nothing but trades has no book for its aggressors to meet.
    takes = (rows["tif"] != TimeInForce.GTC) & (rows["reject"] == Reject.NONE)
    traded = ((rows["filled_lots"] > 0) | takes) & active
    stats.moves += int(np.count_nonzero(moved))
    stats.trades += int(np.count_nonzero(traded))
    stats.trade_moves += int(np.count_nonzero(moved & traded))
    prices = rows["price_tick"][traded]
    if len(prices):
        if stats.last_price_tick is not None:
            prices = np.insert(prices, 0, stats.last_price_tick)
        stats.price_changes += int(np.count_nonzero(np.diff(prices)))
        stats.last_price_tick = int(prices[-1])

    ends = seen["time_ns"]
    starts = np.insert(ends[:-1], 0, ends[0] if last_ns is None else last_ns)
    gaps = ends - starts
    stats.gap_ns.add(gaps if last_ns is not None else gaps[1:])
    stats.quiet += [(int(starts[k]), int(ends[k])) for k in np.flatnonzero(gaps > QUIET_NS)]
    held = two_sided[:-1][active]
    spread = (before[:-1, 1] - before[:-1, 0])[active]
    stats.spread_ns += float((spread[held].astype(np.float64) * gaps[held]).sum())
    stats.two_sided_ns += int(gaps[held].sum())
    return int(ends[-1])


def _quantiles(histogram: Histogram) -> dict[str, int | None]:
    return {f"p{round(100 * share)}": histogram.quantile(share) for share in _SHARES}


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 6) if whole > 0 else None
