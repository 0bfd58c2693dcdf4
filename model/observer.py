"""Worlds observed as they are lived: the features of B books, one message at a time.

The step form of what `history` does in one pass, with the same compiled code in it. Owns the pasts
of its worlds and none of their books.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from mtsim.engine.batch import Books
from mtsim.engine.drive import DONE, NEED_UNCROSS, Drive
from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.layout import HANDLES, MESSAGE_WORDS
from mtsim.engine.messages import MESSAGE_DTYPE
from mtsim.errors import EngineInputError
from mtsim.model import acting
from mtsim.model.acting import N_ACTIONS, OPENS, TOLD, TURN_WORDS, act, begin_message
from mtsim.model.actions import ACTION_DTYPE
from mtsim.model.describe import MOST_PARTS, Told
from mtsim.model.features import FEATURES, observe
from mtsim.model.past import Settings, new_past, rebase, reset_past


class Performed(NamedTuple):
    """What one message was: its actions in order, and what was observed before each of them."""

    actions: np.ndarray  # ACTION_DTYPE [n], n from 0 to MOST_PARTS
    features: np.ndarray  # float32 [n, F]
    told: Told
    """Of its last part: ACTION, or why it was none."""


class Observer:
    """The pasts of all worlds of `books`, beginning at the start of a session.

    Books must take the ids of their messages (`ids="external"`), because the parts of a message
    keep its id. `settings` is one for all worlds, or one for each.
    """

    def __init__(self, books: Books, settings: Settings | Sequence[Settings] = Settings()):  # noqa: B008
        n_worlds = len(books)
        each = [settings] * n_worlds if isinstance(settings, Settings) else list(settings)
        if len(each) != n_worlds:
            raise EngineInputError(
                f"Observer: settings must be one or {n_worlds}, one a book, got {len(each)}."
            )
        _, a64, bases = books.memory()
        if a64[bases[0] + HANDLES]:
            raise EngineInputError(
                "Observer: the books issue their ids, so that a message in parts would get several."
                ' Build them with Books(..., ids="external").'
            )
        self.books = books
        self.past = new_past(n_worlds)
        self._settings = np.array([one.row() for one in each])
        self._turns = np.zeros((n_worlds, TURN_WORDS), np.int64)
        self._turns[:, OPENS] = 1
        self._drive = Drive(books)
        self._rest = np.zeros(MESSAGE_WORDS, np.int64)
        self._told = np.zeros(len(Told), np.int64)
        self._features = np.zeros((MOST_PARTS, len(FEATURES)), np.float32)

    def forget(self, worlds: np.ndarray | None = None) -> None:
        """Begin a new session: these worlds (all, if not said) remember nothing."""
        chosen = slice(None) if worlds is None else worlds
        self.past.floats[chosen] = 0.0
        self.past.integers[chosen] = 0
        self._turns[chosen] = 0
        self._turns[chosen, OPENS] = 1

    def begin(self, time_ns: int, worlds: np.ndarray | None = None) -> None:
        """Begin a stretch at `time_ns`, when its first action will be, on the books as they are."""
        for world in self._chosen(worlds):
            _, a64, bases = self.books.memory()
            self._turns[world, OPENS] = 1
            _reset(a64, bases, world, *self.past, time_ns)

    def rebase(self, worlds: np.ndarray | None = None) -> None:
        """Take note of books that changed without an action to learn from."""
        for world in self._chosen(worlds):
            _, a64, bases = self.books.memory()
            _rebase(a64, bases, world, *self.past)

    def observe(self, worlds: np.ndarray | None = None) -> np.ndarray:
        """float32 [n, F]: the FEATURES of these worlds now. The array is the caller's."""
        chosen = self._chosen(worlds)
        found = np.zeros((len(chosen), len(FEATURES)), np.float32)
        _, a64, bases = self.books.memory()
        _observe(a64, bases, chosen, *self.past, self._settings, found)
        return found

    def perform(self, world: int, message: np.ndarray, time_ns: int) -> Performed:
        """Execute one MESSAGE_DTYPE row on the book of a world, and remember what it did.

        An order of an owner other than 0 is an agent's. An UNCROSS is `books.step` and `rebase`.
        """
        if message.dtype != MESSAGE_DTYPE or message.size != 1:
            raise EngineInputError(
                f"Observer.perform: message must be one row of MESSAGE_DTYPE, got {message.size} "
                f"of {message.dtype}."
            )
        self._chosen(np.array([world]))
        self._drive.message[0] = message.reshape(-1)[0]
        turn = self._turns[world]
        _begin(self._drive.message.view(np.int64), turn)
        actions = np.zeros(MOST_PARTS, ACTION_DTYPE)
        while True:
            status = _perform(
                *self._drive.arrays(),
                world,
                *self.past,
                self._settings,
                time_ns,
                self._rest,
                turn,
                actions,
                self._features,
                self._told,
            )
            if status == DONE:
                break
            if status == NEED_UNCROSS:
                raise EngineInputError(
                    "Observer.perform: an UNCROSS is no action. Execute it by Books.step, then "
                    "rebase and begin a stretch."
                )
            self._drive.make_room(world, status)
        n = int(turn[N_ACTIONS])
        return Performed(actions[:n], self._features[:n].copy(), Told(int(turn[TOLD])))

    def _chosen(self, worlds: np.ndarray | None) -> np.ndarray:
        n_worlds = len(self.books)
        chosen = np.arange(n_worlds) if worlds is None else np.asarray(worlds, np.int64)
        if len(chosen) and not (chosen.min() >= 0 and chosen.max() < n_worlds):
            raise EngineInputError(
                f"Observer: there are worlds 0 to {n_worlds - 1}, got {chosen.min()} to "
                f"{chosen.max()}."
            )
        return chosen


def _make_entry_points(sources: int):
    @njit(nogil=True, cache=True, error_model="numpy")
    def reset_world(a64, bases, world, past_f, past_i, time_ns):
        _ = sources
        reset_past(a64, bases[world], past_f[world], past_i[world], time_ns)

    @njit(nogil=True, cache=True, error_model="numpy")
    def rebase_world(a64, bases, world, past_f, past_i):
        _ = sources
        rebase(a64, bases[world], past_f[world], past_i[world])

    @njit(nogil=True, cache=True, error_model="numpy")
    def observe_worlds(a64, bases, worlds, past_f, past_i, settings, out):
        _ = sources
        for n in range(worlds.size):
            w = worlds[n]
            observe(a64, bases[w], past_f[w], past_i[w], settings[w], out[n])

    @njit(nogil=True, cache=True, error_model="numpy")
    def perform(
        a32,
        a64,
        bases,
        message,
        result,
        fills,
        span,
        control,
        world,
        past_f,
        past_i,
        settings,
        time_ns,
        rest,
        turn,
        actions,
        features,
        told_counts,
    ):
        """`act` on the book of one world."""
        _ = sources
        return act(
            a32,
            a64,
            bases[world],
            message,
            result,
            fills,
            span,
            control,
            past_f[world],
            past_i[world],
            settings[world],
            time_ns,
            rest,
            turn,
            actions,
            features,
            0,
            told_counts,
        )

    @njit(nogil=True, cache=True, error_model="numpy")
    def begin(message, turn):
        _ = sources
        begin_message(message, turn)

    return reset_world, rebase_world, observe_worlds, begin, perform


_reset, _rebase, _observe, _begin, _perform = _make_entry_points(
    fingerprint(acting.SOURCES, Path(__file__))
)
