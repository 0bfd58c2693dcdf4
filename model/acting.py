"""One message after another on one book: executed in its parts, told, remembered.

The pass over history (`history`) and the step of live worlds (`observer`) are loops around `act`,
so that what is learnt from is what is lived through. Around the execution of each part it does

    begin_part   tell the action that the part is, observe the features before it
    end_part     remember the action, and find what is left of the message

with the words of a `turn`, and the `rest` of the message, as the state of one book between them.
"""

# Numba's stubs know fewer options than its decorators.
# pyright: reportCallIssue=false

from __future__ import annotations

from pathlib import Path

import numpy as np

from mtsim.engine import drive
from mtsim.engine.drive import DONE, execute_one
from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.ladder import cold
from mtsim.engine.layout import MESSAGE_WORDS, N_FILLS
from mtsim.engine.messages import FillKind, Kind
from mtsim.model.actions import ActionKind
from mtsim.model.describe import ACTION, describe, rest_of, settle, take_apart, widen_slice
from mtsim.model.features import observe
from mtsim.model.past import BOOKLESS, LAST_NS, rebase, remember, reset_past, vwap_tick

_MODULES = ("actions", "past", "features", "describe", "acting")
SOURCES = fingerprint(
    drive.SOURCES, *(Path(__file__).with_name(f"{module}.py") for module in _MODULES)
)
"""For the entry points of whatever runs these."""

# Words of a turn. A message is begun by `begin_message`.
HAS_REST = 0
TOLD = 1  # what became of the last part, as `describe.Told`
SURPLUS = 2  # lots that a slice was widened by, to be reduced again before the part ends
OPENS = 3  # the next action opens a stretch
BY_AGENT = 4
BEGUN = 5  # a part is begun and not yet executed
N_ACTIONS = 6  # of the message, so far
TURN_WORDS = 7

_REDUCE = Kind.REDUCE.value
_TRADE = ActionKind.TRADE.value
_TRADED = FillKind.TRADE.value


@cold
def begin_message(message, turn):
    """Begin to `act`. An owner other than 0 is an agent."""
    turn[HAS_REST] = 0
    turn[BEGUN] = 0
    turn[N_ACTIONS] = 0
    turn[BY_AGENT] = np.int32(message[1]) != 0


@cold
def act(
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
    time_ns,
    rest,
    turn,
    actions,
    features,
    row,
    told_counts,
):
    """Execute `message` on the book at `o`, in its parts: DONE, or what is needed to go on.

    Each action and the features before it are written from `row` on, N_ACTIONS in the end and
    MOST_PARTS at most; every part is counted in `told_counts`.
    """
    while True:
        at = row + turn[N_ACTIONS]
        if turn[BEGUN] == 0:
            begin_part(
                a32,
                a64,
                o,
                message,
                rest,
                turn,
                past_f,
                past_i,
                settings,
                time_ns,
                actions,
                features,
                at,
            )
            turn[BEGUN] = 1
        status = execute_one(a32, a64, o, message, result, fills, span, control)
        if status != DONE:
            return status
        if take_surplus(message, turn):
            continue
        turn[BEGUN] = 0
        end_part(
            a64,
            o,
            message,
            result,
            fills,
            control[0, N_FILLS],
            rest,
            turn,
            past_f,
            past_i,
            settings,
            time_ns,
            actions,
            at,
        )
        told_counts[turn[TOLD]] += 1
        if turn[TOLD] == ACTION:
            turn[N_ACTIONS] += 1
        if turn[HAS_REST] == 0:
            return DONE


@cold
def begin_part(
    a32,
    a64,
    o,
    message,
    rest,
    turn,
    past_f,
    past_i,
    settings,
    time_ns,
    actions,
    features,
    row,
):
    """Prepare `message` for execution; where it is an action, row `row` of the arrays tells it."""
    is_rest = turn[HAS_REST] != 0
    turn[SURPLUS] = 0
    if is_rest:
        for word in range(MESSAGE_WORDS):
            message[word] = rest[word]
    turn[HAS_REST] = take_apart(a32, a64, o, message, rest, is_rest)
    if is_rest and turn[HAS_REST] == 0:
        turn[SURPLUS] = widen_slice(message)
    told = describe(a32, a64, o, past_i, settings, message, actions, row)
    turn[TOLD] = told
    if told != ACTION:
        return
    if turn[OPENS] != 0:
        reset_past(a64, o, past_f, past_i, time_ns)
    action = actions[row]
    action.lots -= turn[SURPLUS]
    action.order_lots -= turn[SURPLUS]
    action.time_ns = time_ns
    action.gap_ns = time_ns - past_i[LAST_NS]
    action.vwap_tick = vwap_tick(past_f, past_i)
    action.agent = turn[BY_AGENT]
    action.opens = turn[OPENS]
    observe(a64, o, past_f, past_i, settings, features[row])


@cold
def take_surplus(message, turn):
    """Make `message` the reduction that must be executed before the part ends; False: none must."""
    if turn[SURPLUS] == 0:
        return False
    message[0] = _REDUCE
    message[1] &= 0xFFFFFFFF
    message[2] = turn[SURPLUS]
    turn[SURPLUS] = 0
    return True


@cold
def end_part(
    a64,
    o,
    message,
    result,
    fills,
    n_fills,
    rest,
    turn,
    past_f,
    past_i,
    settings,
    time_ns,
    actions,
    row,
):
    """Take note of an executed part: ACTION is TOLD where row `row` stays."""
    if turn[HAS_REST] != 0:
        turn[HAS_REST] = rest_of(a64, o, message, result, fills, n_fills, rest)
    if turn[TOLD] == ACTION:
        turn[TOLD] = settle(settings, result, fills, n_fills, actions, row)
    if turn[TOLD] != ACTION:
        rebase(a64, o, past_f, past_i)
        return
    if settings[BOOKLESS] != 0.0 and n_fills == 0:
        n_fills = write_fill(actions[row], fills)
    remember(a64, o, past_f, past_i, settings, time_ns, fills, n_fills, turn[BY_AGENT])
    turn[OPENS] = 0


@cold
def write_fill(action, fills):
    """Write the fill of a trade that a feed without a book shows; how many there are."""
    if action.kind != _TRADE:
        return 0
    fills[3] = (np.int64(action.price_tick) & 0xFFFFFFFF) | (np.int64(action.lots) << 32)
    fills[5] = ((np.int64(action.side) << 8) | _TRADED) << 32
    return 1
