"""The tokenizer floor: real actions, made tokens and drawn back into a book, beside themselves.

No model can be nearer to the market than its own alphabet is. From the real book, short stretches
of real tokens move a book of their own (`echo`); what comes out is compared with what really
happened, number by number, and so is one half of the real stretches with the other: the noise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mtsim.engine.batch import Books
from mtsim.errors import IntegrityError, MissingError, UsageError
from mtsim.evaluation.distance import edges_of, total_variation
from mtsim.evaluation.echo import echo
from mtsim.model.actions import ActionKind
from mtsim.model.dataset import Dataset
from mtsim.model.dataset_files import TOKENIZER
from mtsim.model.features import FEATURES, LOG_SCALE
from mtsim.model.history import History, settings_of
from mtsim.model.past import Past, Settings
from mtsim.model.prepare import market_of
from mtsim.model.store import Key, Store, StoredSession
from mtsim.model.tokenizer import Tokenizer
from mtsim.streams import Stream

STRETCH_ACTIONS = 128
"""So many actions go through tokens before the book is the real one again. Tokens that are given do
not react to the book that they make: in longer stretches their errors feed on themselves, which
says less and less about the tokens (docs/experiments.md)."""

_SPREAD = FEATURES.index("spread")
_BID_LOTS, _ASK_LOTS = FEATURES.index("bid_lots_1"), FEATURES.index("ask_lots_1")
_IMBALANCE = FEATURES.index("touch_imbalance")
_NEAR = FEATURES.index("near_imbalance")


class Lived(NamedTuple):
    """Some actions in order, and what was observed before each."""

    actions: np.ndarray
    features: np.ndarray


@dataclass
class Floor:
    """What a session keeps of itself when it goes through tokens."""

    session: str
    actions: int = 0
    stretches: int = 0
    moved: int = 0
    lost: int = 0
    edited: int = 0
    real: list[Lived] = field(default_factory=list)
    decoded: list[Lived] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The row of the table: rates of price moves, total variations, and the noise of both."""
        tvs = _variations(self.real, self.decoded)
        noise = _variations(self.real[::2], self.real[1::2])
        real, decoded = _move_rate(self.real), _move_rate(self.decoded)
        halves = _move_rate(self.real[::2]), _move_rate(self.real[1::2])
        worst = max(tvs, key=lambda name: tvs[name], default=None)
        return {
            "session": self.session,
            "actions": self.actions,
            "stretches": self.stretches,
            "move_rate_real": _rounded(real),
            "move_rate_decoded": _rounded(decoded),
            "move_rate_ratio": _rounded(decoded / real if real else float("nan")),
            "mean_tv": _rounded(float(np.mean(list(tvs.values())))) if tvs else None,
            "worst": worst,
            "worst_tv": None if worst is None else _rounded(tvs[worst]),
            "noise_move_rate_ratio": _rounded(halves[1] / halves[0] if halves[0] else float("nan")),
            "noise_mean_tv": _rounded(float(np.mean(list(noise.values())))) if noise else None,
            "edited": _rounded(self.edited / self.actions) if self.actions else None,
            "moved": _rounded(self.moved / self.actions) if self.actions else None,
            "lost": _rounded(self.lost / self.actions) if self.actions else None,
            "tv": {name: _rounded(value) for name, value in tvs.items()},
            "noise_tv": {name: _rounded(value) for name, value in noise.items()},
        }


def measure_dataset(
    dataset: Dataset,
    store: Path | str | None = None,
    *,
    seed: int = 0,
    stretch_actions: int = STRETCH_ACTIONS,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Floor]:
    """`measure` for every session of a data set, by its own tokenizer.

    `store` is where the sessions are, if not where they were. A session without a book has a row
    without numbers. IntegrityError where one is not what the data set was made of.
    """
    opened = Store(dataset.store if store is None else store)
    tokenizer = Tokenizer.from_json(
        (dataset.folder / TOKENIZER).read_text(), str(dataset.folder / TOKENIZER)
    )
    asked = dataset.manifest["settings"]
    for said in dataset.manifest["sessions"]:
        key = Key(said["venue"], said["symbol"], date.fromisoformat(said["date"]))
        session = opened.find(key)
        if session is None:
            raise MissingError(
                f"{opened.folder}: there is no session {key}", "Say --store, where it has moved."
            )
        if session.manifest_sha256 != said["manifest_sha256"]:
            raise IntegrityError(
                f"{session.folder}: not the session that {dataset.folder} was made of. Prepare the "
                "data set again, or say the store it was made of."
            )
        settings = Settings(
            asked["volatility_half_life_ns"],
            asked["flow_half_life_ns"],
            asked["vwap_half_life_ns"],
            tier=said["liquidity_tier"],
        )
        if settings_of(session, settings).bookless:
            yield Floor(str(key))
            continue
        yield measure(
            session,
            tokenizer,
            settings,
            seed=seed,
            stretch_actions=stretch_actions,
            progress=lambda done, key=key: progress(f"{key}: {done:,}") if progress else None,
        )


def measure(
    session: StoredSession,
    tokenizer: Tokenizer,
    settings: Settings,
    *,
    seed: int = 0,
    stretch_actions: int = STRETCH_ACTIONS,
    progress: Callable[[int], None] | None = None,
) -> Floor:
    """Send a session through tokens, stretch by stretch. UsageError for a tokenizer whose tokens no
    book executes, or a session without a book."""
    settings = settings_of(session, settings)
    if settings.bookless:
        raise UsageError(
            f"{session.key}: this session has trades and no book; the floor needs the messages of "
            "a book. Leave it out of the data set."
        )
    tables = tokenizer.of_market(market_of(session.key)).tables()
    stream = Stream(seed, f"evaluation.tokenizer_floor.{session.key}")
    floor = Floor(str(session.key))
    for lived, given, given_after, books, past in _stretches(session, settings, stretch_actions):
        encoded = tokenizer.encode(lived.actions)
        echoed = echo(
            books,
            past,
            settings,
            tables,
            tokenizer.fields_of(encoded.tokens),
            int(lived.actions["time_ns"][0] - lived.actions["gap_ns"][0]),
            stream,
            floor.actions,
            given,
            given_after,
        )
        floor.actions += len(lived.actions)
        floor.stretches += 1
        floor.moved += echoed.moved
        floor.lost += echoed.lost + int((~encoded.kept).sum())
        floor.edited += encoded.edits
        floor.real.append(lived)
        floor.decoded.append(Lived(echoed.actions, echoed.features))
        if progress is not None:
            progress(floor.actions)
    return floor


def _stretches(
    session: StoredSession, settings: Settings, n_actions: int
) -> Iterator[tuple[Lived, np.ndarray, np.ndarray, Books, Past]]:
    """Stretches of a session's actions with the events given among them, each with the book and the
    past before its first.

    What lies before a stretch of the session begins has no such book: it is put in place meanwhile.
    The books are valid until the next stretch.
    """
    history = History(settings, batch_actions=n_actions)
    # Set aside and put back: a new copy of all memory for each stretch takes five times as long.
    books, snapshot, past = Books(1), history.books.snapshot(0), history.past()
    for observed in history.observe(session.events()):
        actions, features = observed.actions, observed.features
        opens = np.flatnonzero(actions["opens"])
        end = len(actions) if not len(opens) else int(opens[0])
        if end > 1:
            among = observed.given_after < end
            given, given_after = observed.given[among], observed.given_after[among]
            books.restore(0, snapshot)
            yield Lived(actions[:end], features[:end]), given, given_after, books, past
        snapshot, past = history.books.snapshot(0), history.past()


# What is compared ---------------------------------------------------------------------------------


def _numbers(lived: Lived) -> dict[str, np.ndarray]:
    """The numbers by which a market is told from another, each as one sample."""
    actions, features = lived
    kind = actions["kind"]
    is_add, is_trade = kind == ActionKind.ADD, kind == ActionKind.TRADE
    is_cancel = kind == ActionKind.CANCEL
    moves = np.diff(_mid_x2(lived))
    moves = moves[np.isfinite(moves)]
    return {
        "spread": _unlogged(features[:, _SPREAD]),
        "touch_lots": _unlogged(features[:, (_BID_LOTS, _ASK_LOTS)]).ravel(),
        "second_lots": _unlogged(features[:, (_BID_LOTS + 1, _ASK_LOTS + 1)]).ravel(),
        "touch_imbalance": np.round(features[:, _IMBALANCE].astype(np.float64), 3),
        "near_imbalance": np.round(features[:, _NEAR].astype(np.float64), 3),
        "event_type": kind * 2 + actions["side"],
        "add_distance": actions["distance_ticks"][is_add],
        "cancel_distance": actions["distance_ticks"][is_cancel],
        "cancel_place": actions["place"][is_cancel] * 2 + actions["whole"][is_cancel],
        "add_lots": actions["lots"][is_add],
        "trade_lots": actions["lots"][is_trade],
        "cancel_lots": actions["lots"][is_cancel],
        "swept": actions["swept"][is_trade],
        "gap_ns": actions["gap_ns"],
        "move": moves[moves != 0],
    }


def _unlogged(feature: np.ndarray) -> np.ndarray:
    """The integer of which a feature is the logarithm; exact below some 100,000."""
    return np.rint(np.expm1(feature.astype(np.float64) / LOG_SCALE))


def _mid_x2(lived: Lived) -> np.ndarray:
    """The doubled mid before each action; NaN where a side is empty.

    An action tells the touch it is counted from, and the spread tells the other one.
    """
    actions, features = lived
    spread = _unlogged(features[:, _SPREAD])
    buys = np.where(actions["side"] == 0, 1, -1)
    takes = actions["kind"] == ActionKind.TRADE
    # An order that trades is counted from the opposite touch, and lies beyond it.
    away = np.where(takes, -buys, buys)
    touch = actions["price_tick"].astype(np.int64) + away * actions["distance_ticks"]
    return np.where(spread > 0, 2 * touch + away * spread, np.nan)


def _move_rate(stretches: list[Lived]) -> float:
    """The share of actions that moved the mid, of those with one before and after."""
    moved = known = 0
    for lived in stretches:
        moves = np.diff(_mid_x2(lived))
        finite = np.isfinite(moves)
        known += int(finite.sum())
        moved += int((moves[finite] != 0).sum())
    return moved / known if known else float("nan")


def _variations(real: list[Lived], other: list[Lived]) -> dict[str, float]:
    """The total variation of each number; numbers that either side lacks are left out."""
    if not real or not other:
        return {}
    samples = [_pooled(real), _pooled(other)]
    found = {}
    for name in samples[0]:
        a, b = samples[0][name], samples[1][name]
        if len(a) and len(b):
            found[name] = total_variation(a, b, edges_of(a))
    return found


def _pooled(stretches: list[Lived]) -> dict[str, np.ndarray]:
    pooled = defaultdict(list)
    for lived in stretches:
        for name, sample in _numbers(lived).items():
            pooled[name].append(sample)
    return {name: np.concatenate(parts) for name, parts in pooled.items()}


def _rounded(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None
