"""The pass over recorded activity: events in, the actions in them and the features before each out.

Every event is executed on a book, and what was observed is told from the book before it, by the
code that tells it in a live world (`acting`). What gives no action is counted by reason. Memory is
bounded: one array of events and one batch of actions at a time. Knows no tokens and no files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from mtsim.engine.batch import Books
from mtsim.engine.drive import DONE, NEED_UNCROSS, Drive, execute_one
from mtsim.engine.events import EVENT_DTYPE, EventType, Origin, marker
from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.ladder import cold
from mtsim.engine.layout import MESSAGE_WORDS
from mtsim.engine.messages import Kind
from mtsim.errors import EngineInputError, UsageError
from mtsim.model import acting
from mtsim.model.acting import N_ACTIONS, OPENS, TOLD, TURN_WORDS, act, begin_message
from mtsim.model.actions import ACTION_DTYPE
from mtsim.model.describe import MOST_PARTS, REFUSED, Told, is_refused
from mtsim.model.features import FEATURES, observe
from mtsim.model.past import LAST_NS, Past, Settings, new_past, rebase
from mtsim.model.store import StoredSession

BATCH_ACTIONS = 1 << 16

# Words of the pass's own state.
_AT = 0  # the event it has come to
_STAGE = 1
_N_ACTIONS = 2
_N_CLOSINGS = 3
_QUIET_NS = 4
_N_GIVEN = 5
_WORDS = 6
# Stages of an event: nothing done, to be told, to be executed untold, executed or none to execute.
_NEW, _ACTING, _PLAIN, _EXECUTED = range(4)

# A return to Python besides those of the engine.
_FULL = 100


class Observed(NamedTuple):
    """Some actions of a session in order, and what was observed before each.

    A stretch of n actions has n + 1 observations: one before each action (its first action has
    `opens`), and a closing one, after the last. Closing k belongs after the first `closed[k]`
    actions of this batch: 0 where the stretch's last action was in the batch before.
    """

    actions: np.ndarray  # ACTION_DTYPE [n]
    features: np.ndarray  # float32 [n, F]
    closed: np.ndarray  # int64 [k]
    closing_features: np.ndarray  # float32 [k, F]
    given: np.ndarray  # EVENT_DTYPE [g]: opening and inferred events, which nobody is to learn from
    given_after: np.ndarray  # int64 [g]: how many actions of this batch came before each
    silent: Counter[str]
    """What gave no action since the batch before, by `Told` reason."""


@dataclass
class History:
    """The pass over one session, from an empty book."""

    settings: Settings = field(default_factory=Settings)
    quiet_ns: int = 0
    """A stretch ends where nothing is done for longer than this; 0: no silence ends one."""
    batch_actions: int = BATCH_ACTIONS
    books: Books = field(default_factory=lambda: Books(1))

    def __post_init__(self) -> None:
        if self.quiet_ns < 0:
            raise UsageError(f"History: quiet_ns must not be negative, got {self.quiet_ns}.")
        if self.batch_actions < MOST_PARTS:
            raise UsageError(
                f"History: batch_actions must be at least {MOST_PARTS}, got {self.batch_actions}."
            )
        self._drive = Drive(self.books)
        self._state = np.zeros(_WORDS, np.int64)
        self._state[_QUIET_NS] = self.quiet_ns
        self._told = np.zeros(len(Told), np.int64)
        turn = np.zeros(TURN_WORDS, np.int64)
        turn[OPENS] = 1
        floats, integers = (of_all[0] for of_all in new_past(1))
        rest = np.zeros(MESSAGE_WORDS, np.int64)
        self._kept = (floats, integers, self.settings.row(), rest, turn, self._state, self._told)
        self._begin_batch()

    def observe(self, events: Iterable[np.ndarray]) -> Iterator[Observed]:
        """Go on with the session through arrays of EVENT_DTYPE rows, and close its last stretch.

        The arrays that are yielded belong to the caller.
        """
        for rows in events:
            if rows.dtype != EVENT_DTYPE:
                raise EngineInputError(
                    f"not events: EVENT_DTYPE is needed, got {rows.dtype}. Read them from a store."
                )
            yield from self._through(np.ascontiguousarray(rows))
        end = marker(0, EventType.SESSION_END)
        yield from self._through(end)
        self._told[Told.MARKER] -= 1
        if self._state[[_N_ACTIONS, _N_CLOSINGS, _N_GIVEN]].any() or self._told.any():
            yield self._batch()

    def past(self) -> Past:
        """What the world remembers now, as a copy: with `books`, what a live world goes on from."""
        floats, integers = self._kept[:2]
        return Past(floats[None].copy(), integers[None].copy())

    def _through(self, rows: np.ndarray) -> Iterator[Observed]:
        self._state[_AT] = 0
        while True:
            status = _run_pass(*self._drive.arrays(), rows, *self._room, *self._kept)
            if status == _FULL:
                yield self._batch()
            elif status == NEED_UNCROSS:
                self.books.process(self._drive.message)
                self._state[_STAGE] = _EXECUTED
            elif status != DONE:
                self._drive.make_room(0, status)
            else:
                break

    def _begin_batch(self) -> None:
        n, n_features = self.batch_actions, len(FEATURES)
        self._room = (
            np.zeros(n, ACTION_DTYPE),
            np.zeros((n, n_features), np.float32),
            # A stretch that is closed has an action here, or is the one that was open before.
            np.zeros(n + 1, np.int64),
            np.zeros((n + 1, n_features), np.float32),
            np.zeros(n, EVENT_DTYPE),
            np.zeros(n, np.int64),
        )
        self._state[_N_ACTIONS] = self._state[_N_CLOSINGS] = self._state[_N_GIVEN] = 0
        self._told[:] = 0

    def _batch(self) -> Observed:
        n, k = int(self._state[_N_ACTIONS]), int(self._state[_N_CLOSINGS])
        g = int(self._state[_N_GIVEN])
        actions, features, closed, closing_features, given, given_after = self._room
        silent = Counter({told.name: int(self._told[told]) for told in Told if self._told[told]})
        del silent[Told.ACTION.name]
        done = Observed(
            actions[:n],
            features[:n],
            closed[:k].copy(),
            closing_features[:k].copy(),
            given[:g].copy(),
            given_after[:g].copy(),
            silent,
        )
        self._begin_batch()
        return done


def observe_session(
    session: StoredSession | Iterable[np.ndarray],
    settings: Settings = Settings(),  # noqa: B008
    *,
    quiet_ns: int = 0,
    batch_actions: int = BATCH_ACTIONS,
) -> Iterator[Observed]:
    """The actions of a session and what was observed before each, in bounded batches.

    `session` is a stored one, which knows itself at what time its day began and whether it has a
    book, or EVENT_DTYPE arrays in order. A stretch begins at the session's start, after GAP, HALT
    and RESUME, after an auction, and after a silence of more than `quiet_ns` where that is not 0.
    """
    if isinstance(session, StoredSession):
        settings = settings_of(session, settings)
        events = session.events()
    else:
        events = session
    yield from History(settings, quiet_ns, batch_actions).observe(events)


def settings_of(session: StoredSession, settings: Settings = Settings()) -> Settings:  # noqa: B008
    """The settings with what a session says of itself: the start of its day, and if it is without a
    book, which is when nothing but takers came and none met anybody."""
    events = session.manifest["events"]
    bookless = set(events["by_type"]) == {EventType.MARKETABLE.name} and not events["fills"]
    start_ns = session.manifest["session"]["start_ns"]
    return replace(settings, day_start_ns=start_ns, bookless=bookless)


def _make_run_pass(sources: int):
    first_marker = EventType.SESSION_START.value
    observed = Origin.OBSERVED.value
    marker, auction = Told.MARKER.value, Told.AUCTION.value
    replace_kind = Kind.REPLACE.value

    @njit(nogil=True, cache=True, error_model="numpy")
    def run_pass(
        a32,
        a64,
        bases,
        message,
        result,
        fills,
        span,
        control,
        events,
        actions,
        features,
        closed,
        closing_features,
        given,
        given_after,
        past_f,
        past_i,
        settings,
        rest,
        turn,
        state,
        told_counts,
    ):
        """Go through `events` from where `state` says: DONE, or what is needed first."""
        _ = sources
        o = bases[0]
        while state[_AT] < len(events):
            event = events[state[_AT]]
            if state[_STAGE] == _NEW:
                if state[_N_ACTIONS] + MOST_PARTS > len(actions):
                    return _FULL
                is_marker = event.type >= first_marker
                closes = is_marker and event.type != first_marker
                state[_STAGE] = _EXECUTED
                turn[TOLD] = marker
                if not is_marker:
                    write_message(event, message)
                    state[_STAGE] = _PLAIN
                    if event.origin != observed:
                        if state[_N_GIVEN] == len(given):
                            state[_STAGE] = _NEW
                            return _FULL
                        turn[TOLD] = event.origin
                        given[state[_N_GIVEN]] = event
                        given_after[state[_N_GIVEN]] = state[_N_ACTIONS]
                        state[_N_GIVEN] += 1
                    elif event.kind > replace_kind:
                        closes = not is_refused(a32, a64, o, message)
                        turn[TOLD] = auction if closes else REFUSED
                    else:
                        begin_message(message, turn)
                        state[_STAGE] = _ACTING
                        if state[_QUIET_NS] > 0:
                            closes = event.time_ns - past_i[LAST_NS] > state[_QUIET_NS]
                if closes and turn[OPENS] == 0:
                    k = state[_N_CLOSINGS]
                    observe(a64, o, past_f, past_i, settings, closing_features[k])
                    closed[k] = state[_N_ACTIONS]
                    state[_N_CLOSINGS] = k + 1
                    turn[OPENS] = 1
            if state[_STAGE] == _ACTING:
                status = act(
                    a32,
                    a64,
                    o,
                    message,
                    result,
                    fills,
                    span,
                    control,
                    past_f,
                    past_i,
                    settings,
                    event.time_ns,
                    rest,
                    turn,
                    actions,
                    features,
                    state[_N_ACTIONS],
                    told_counts,
                )
                if status != DONE:
                    return status
                state[_N_ACTIONS] += turn[N_ACTIONS]
            else:
                if state[_STAGE] == _PLAIN:
                    status = execute_one(a32, a64, o, message, result, fills, span, control)
                    if status != DONE:
                        return status
                rebase(a64, o, past_f, past_i)
                told_counts[turn[TOLD]] += 1
            state[_STAGE] = _NEW
            state[_AT] += 1
        return DONE

    return run_pass


@cold
def write_message(event, message):
    """The words of the MESSAGE_DTYPE row that executes an event."""
    message[0] = (
        np.int64(event.kind)
        | (np.int64(event.side) << 8)
        | (np.int64(event.tif) << 16)
        | (np.int64(event.stp) << 24)
        | (np.int64(event.flags) << 32)
    )
    message[1] = (np.int64(event.owner) & 0xFFFFFFFF) | (np.int64(event.price_tick) << 32)
    message[2] = (np.int64(event.lots) & 0xFFFFFFFF) | (np.int64(event.display_lots) << 32)
    message[3] = event.order_id


_run_pass = _make_run_pass(fingerprint(acting.SOURCES, Path(__file__)))
