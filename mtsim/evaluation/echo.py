"""Real actions through the tokenizer and back into a book: what tokens alone keep of a market.

The book begins as the real one and is then moved by the codes of real actions, each realised
against the book as it has become. A code that this book does not allow (the order to be cancelled
has gone) stands for the nearest one that it does, and is counted. What nobody is to learn from
(levels that enter a feed's window) is given to both books alike. Knows no session and no distance.
"""

# Numba's stubs know fewer options than its decorators.
# pyright: reportCallIssue=false

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from mtsim.engine.batch import Books
from mtsim.engine.drive import DONE, Drive, execute_one
from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.ladder import cold
from mtsim.engine.layout import MESSAGE_WORDS
from mtsim.engine.messages import Flag, Kind
from mtsim.model import acting, history, realise
from mtsim.model.acting import N_ACTIONS, TURN_WORDS, act, begin_message
from mtsim.model.actions import ACTION_DTYPE
from mtsim.model.book_codes import N_SHAPES, N_SWEPT, BookTables
from mtsim.model.describe import MOST_PARTS, Told
from mtsim.model.features import FEATURES
from mtsim.model.history import write_message
from mtsim.model.masks import CANCEL, TRADE
from mtsim.model.past import Past, Settings, rebase
from mtsim.model.realise import draw_gap
from mtsim.model.realise import realise as realise_one
from mtsim.streams import Stream

LOWEST_TICK = 1
# Far above every id of a feed and of its readers (`sources.base.OWN_IDS` is 2^62).
_FIRST_ID = 3 * 2**61

_AT, _ROWS, _STAGE, _TIME_NS, _MOVED, _LOST, _GIVEN = range(7)
_NEW, _BEGUN = range(2)


class Echo(NamedTuple):
    """What became of some actions that went through codes."""

    actions: np.ndarray  # ACTION_DTYPE [n]
    features: np.ndarray  # float32 [n, F]: observed before each
    moved: int
    """How many stand for the nearest code that the book allowed."""
    lost: int
    """For how many the book allowed no code of their type."""


def echo(
    books: Books,
    past: Past,
    settings: Settings,
    tables: BookTables,
    fields: np.ndarray,
    time_ns: int,
    stream: Stream,
    first_index: int,
    given: np.ndarray,
    given_after: np.ndarray,
) -> Echo:
    """Move book 0 by the field codes of n actions, int64 [n, 4]; the book and its past change.

    `time_ns` is that of the action before the first. The draws are those of `stream` for the
    indices from `first_index`. `given` are EVENT_DTYPE rows, each executed as it stands once
    `given_after` of the actions are done; those that this book refuses or would trade are not.
    """
    drive = Drive(books)
    n = len(fields)
    state = np.zeros(7, np.int64)
    state[_TIME_NS] = time_ns
    actions = np.zeros(n + MOST_PARTS, ACTION_DTYPE)
    features = np.zeros((n + MOST_PARTS, len(FEATURES)), np.float32)
    turn, rest = np.zeros(TURN_WORDS, np.int64), np.zeros(MESSAGE_WORDS, np.int64)
    told_counts = np.zeros(len(Told), np.int64)
    while True:
        status = _echo(
            *drive.arrays(),
            past.floats[0],
            past.integers[0],
            settings.row(),
            tables,
            np.ascontiguousarray(fields),
            np.uint64(stream.key),
            np.uint64(first_index),
            given,
            given_after,
            rest,
            turn,
            state,
            actions,
            features,
            told_counts,
        )
        if status == DONE:
            break
        drive.make_room(0, status)
    rows = int(state[_ROWS])
    return Echo(actions[:rows], features[:rows], int(state[_MOVED]), int(state[_LOST]))


@cold
def realise_nearest(a32, a64, o, past_i, tables, codes, key, index, order_id, message):
    """`realise` these codes, or the nearest that the book allows: 0 as they are, 1 others, 2 none.

    Nearest are other lots at the same level, then other levels of the type, by the distance of the
    codes.
    """
    type_code, level, lots = codes[0], codes[1], codes[2]
    n_lots = tables.lots_lower.size
    n_add = tables.add_lower.size
    first, end = 0, n_add
    if type_code >> 1 == TRADE:
        first, end = n_add, n_add + N_SWEPT
    elif type_code >> 1 == CANCEL:
        first = n_add + N_SWEPT
        end = first + tables.cancel_lower.size * N_SHAPES
    world = np.uint64(0)
    for level_step in range(2 * (end - first) + 1):
        near = level + (level_step + 1) // 2 * (1 if level_step % 2 else -1)
        if near < first or near >= end:
            continue
        for lots_step in range(2 * n_lots + 1):
            some = lots + (lots_step + 1) // 2 * (1 if lots_step % 2 else -1)
            if some < 0 or some >= n_lots:
                continue
            if realise_one(
                a32,
                a64,
                o,
                past_i,
                tables,
                LOWEST_TICK,
                type_code,
                near,
                some,
                key,
                world,
                index,
                order_id,
                message,
            ):
                return 0 if level_step == 0 and lots_step == 0 else 1
    return 2


def _make_echo(sources: int):
    first_id = _FIRST_ID
    limit, post_only = Kind.LIMIT.value, Flag.POST_ONLY.value

    @njit(nogil=True, cache=True, error_model="numpy")
    def run(
        a32,
        a64,
        bases,
        message,
        result,
        fills,
        span,
        control,
        past_f,
        past_i,
        settings,
        tables,
        fields,
        key,
        first_index,
        given,
        given_after,
        rest,
        turn,
        state,
        actions,
        features,
        told_counts,
    ):
        _ = sources
        o = bases[0]
        while state[_AT] < len(fields):
            at = state[_AT]
            row = state[_ROWS]
            index = first_index + np.uint64(at)
            if state[_STAGE] == _NEW:
                while state[_GIVEN] < len(given) and given_after[state[_GIVEN]] <= at:
                    write_message(given[state[_GIVEN]], message)
                    if message[0] & 255 == limit:
                        # Where this book stands elsewhere, it would trade.
                        message[0] |= post_only << 32
                    status = execute_one(a32, a64, o, message, result, fills, span, control)
                    if status != DONE:
                        return status
                    rebase(a64, o, past_f, past_i)
                    state[_GIVEN] += 1
                nearest = realise_nearest(
                    a32,
                    a64,
                    o,
                    past_i,
                    tables,
                    fields[at],
                    key,
                    index,
                    first_id + np.int64(index),
                    message,
                )
                state[_MOVED] += nearest == 1
                if nearest == 2:
                    state[_LOST] += 1
                    state[_AT] += 1
                    continue
                state[_TIME_NS] += draw_gap(tables, fields[at, 3], key, np.uint64(0), index)
                begin_message(message, turn)
                state[_STAGE] = _BEGUN
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
                state[_TIME_NS],
                rest,
                turn,
                actions,
                features,
                row,
                told_counts,
            )
            if status != DONE:
                return status
            state[_STAGE] = _NEW
            state[_ROWS] += turn[N_ACTIONS]
            state[_AT] += 1
        return DONE

    return run


_echo = _make_echo(
    fingerprint(acting.SOURCES, realise.SOURCES, Path(history.__file__), Path(__file__))
)
