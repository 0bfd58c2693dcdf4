"""The compiled loop: advances worlds, one after the other, until something needs Python.

In each turn of a world the earliest of the flow's next event and the inbox's first message is
executed; at the same nanosecond the inbox goes first (see `inbox`). Then accounts are settled, rows
are recorded, the flow observes, and after a message of somebody else it is asked anew when its
next event is. Knows no scenario; `world` is its Python side.

`make_advance` compiles one loop for each kind of flow, so that its kernels are inlined.
"""

from enum import IntEnum
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

from numba import njit

from mtsim.engine.drive import DONE, execute_one
from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.ladder import U
from mtsim.engine.layout import FILL_WORDS, MESSAGE_WORDS, N_FILLS, RESULT_WORDS
from mtsim.engine.tape import STEP_DTYPE
from mtsim.flow.base import DRAW, FAR, ROOM, SOURCES, Kernels
from mtsim.world.account import settle
from mtsim.world.inbox import ARRIVAL, COUNT, HEAD, MESSAGE

STEP_WORDS = STEP_DTYPE.itemsize // 8


class Stop(IntEnum):
    """Why a world has stopped."""

    TIME = 0  # Its clock is at the given time; whatever is later has not happened.
    EVENTS = 1  # So many messages have been executed.
    FILL = 2  # An owner was filled that asked to be woken.
    VACUUM = 3  # Without a time to stop at: nothing will ever happen.
    FLOW = 4  # The flow's next event has to be drawn in Python.


class Pause(IntEnum):
    """Why a loop has come back before its worlds had stopped."""

    NONE = 0
    BOOK = 1  # `progress[NEED]` says what the book needs.
    FLOW_ROOM = 2  # The flow has to grow.
    BUFFER = 3  # The recorded rows have to be taken away.


TIME, EVENTS, FILL, VACUUM, FLOW = (stop.value for stop in Stop)
NO_PAUSE, BOOK, FLOW_ROOM, BUFFER = (pause.value for pause in Pause)

# Columns of `clocks`: the time, the flow's events begun, when the next one is (DRAW: it has to be
# asked), messages executed, null events.
NOW, INDEX, NEXT, N_MESSAGES, N_NULLS = range(5)
CLOCK_COLUMNS = 5

# Words of `progress`, one loop's place: the world, how far its message has come, whether it is the
# flow's, why the loop has come back, what the book needs; rows recorded.
AT_WORLD, STAGE, OWN, PAUSE, NEED, N_STEPS, N_FILL_ROWS = range(7)
PROGRESS_WORDS = 7
READY, COMPOSED, EXECUTED = range(3)

# Columns of `goals`: the last nanosecond that may happen, and the count of messages to stop at.
UNTIL, MESSAGES_END = range(2)

# The names by which `advance` calls the kernels of a flow: see `make_advance`.
schedule: Any = None
compose: Any = None
observe: Any = None


def _template(sources: int):
    def advance(
        arrays,
        keys,
        numbers,
        params_f,
        params_i,
        state_f,
        state_i,
        clocks,
        goals,
        stops,
        inbox_rows,
        inbox_state,
        accounts,
        wakes,
        progress,
        end_world,
        steps,
        results,
        fill_rows,
    ):
        """Advance the worlds from `progress[AT_WORLD]` to before `end_world` to their `goals`, and
        write why each stopped into `stops`; come back earlier where `progress[PAUSE]` says why.

        `steps`, `results` and `fill_rows` are int64 words of rows, or of length 0: not recorded.
        """
        _ = sources
        a32, a64, bases, message, result, fills, span, control = arrays
        b = progress[AT_WORLD]
        stage = progress[STAGE]
        own = progress[OWN] != 0
        n_steps = progress[N_STEPS]
        n_fill_rows = progress[N_FILL_ROWS]
        is_recorded = steps.size > 0
        pause = NO_PAUSE
        while b < end_world:
            o = bases[b]
            key = keys[b]
            number = numbers[b]
            sf = state_f[b]
            si = state_i[b]
            clock = clocks[b]
            inbox_at = inbox_state[b]
            stop = -1
            while True:
                if stage == READY:
                    if clock[N_MESSAGES] >= goals[b, MESSAGES_END]:
                        stop = EVENTS
                        break
                    if si[ROOM] < 1:
                        pause = FLOW_ROOM
                        break
                    if clock[NEXT] == DRAW:
                        clock[NEXT] = schedule(
                            a32, a64, o, params_f, params_i, sf, si, key, number,
                            clock[INDEX], clock[NOW],
                        )  # fmt: skip
                    if clock[NEXT] == DRAW:
                        stop = FLOW
                        break
                    time_ns = clock[NEXT]
                    head = inbox_at[HEAD]
                    own = True
                    if head < inbox_at[COUNT] and inbox_rows[b, head, ARRIVAL] <= time_ns:
                        own = False
                        time_ns = inbox_rows[b, head, ARRIVAL]
                    if time_ns > goals[b, UNTIL] or time_ns >= FAR:
                        stop = VACUUM
                        if goals[b, UNTIL] < FAR:
                            clock[NOW] = goals[b, UNTIL]
                            stop = TIME
                        break
                    clock[NOW] = time_ns
                    clock[NEXT] = DRAW
                    if own:
                        index = clock[INDEX]
                        clock[INDEX] = index + 1
                        is_something = compose(
                            a32, a64, o, params_f, params_i, sf, si, key, number,
                            index, time_ns, message,
                        )  # fmt: skip
                        if not is_something:
                            clock[N_NULLS] += 1
                            continue
                    else:
                        inbox_at[HEAD] = head + 1
                        for word in range(MESSAGE_WORDS):
                            message[U(word)] = inbox_rows[b, head, MESSAGE + word]
                    stage = COMPOSED
                if stage == COMPOSED:
                    need = execute_one(a32, a64, o, message, result, fills, span, control)
                    if need != DONE:
                        progress[NEED] = need
                        pause = BOOK
                        break
                    stage = EXECUTED
                n_fills = control[0, N_FILLS]
                if is_recorded:
                    step = n_steps * STEP_WORDS
                    fill = n_fill_rows * FILL_WORDS
                    if (
                        step + STEP_WORDS > steps.size
                        or fill + n_fills * FILL_WORDS > fill_rows.size
                    ):
                        pause = BUFFER
                        break
                    steps[U(step)] = clock[NOW]
                    for word in range(MESSAGE_WORDS):
                        steps[U(step + 1 + word)] = message[U(word)]
                    steps[U(step + 1 + MESSAGE_WORDS)] = b
                    for word in range(RESULT_WORDS):
                        results[U(step + word)] = result[U(word)]
                    for word in range(n_fills * FILL_WORDS):
                        fill_rows[U(fill + word)] = fills[U(word)]
                    n_steps += 1
                    n_fill_rows += n_fills
                clock[N_MESSAGES] += 1
                woken = settle(accounts[b], wakes[b], message, result, fills, n_fills)
                observe(
                    a32, a64, o, params_f, params_i, sf, si, key, number,
                    clock[INDEX], clock[NOW], message, result, fills, n_fills, own,
                )  # fmt: skip
                stage = READY
                if woken:
                    stop = FILL
                    break
            if pause != NO_PAUSE:
                break
            stops[b] = stop
            b += 1
        progress[AT_WORLD] = b
        progress[STAGE] = stage
        progress[OWN] = own
        progress[PAUSE] = pause
        progress[N_STEPS] = n_steps
        progress[N_FILL_ROWS] = n_fill_rows

    return advance


assert STEP_WORDS == RESULT_WORDS, "one offset serves the rows of steps and results"

_SOURCES = fingerprint(
    SOURCES,
    STEP_WORDS,
    *(Path(__file__).with_name(f"{name}.py") for name in ("account", "inbox")),
    Path(__file__),
)


@cache
def make_advance(kernels: Kernels):
    """`advance` for the flows of these kernels.

    They are the compiled function's globals: as its closure they would be part of the key under
    which Numba caches it, and differ in every process.
    """
    template = _template(fingerprint(_SOURCES, kernels.sources))
    names = {
        **globals(),
        "schedule": kernels.schedule,
        "compose": kernels.compose,
        "observe": kernels.observe,
    }
    function = FunctionType(template.__code__, names, template.__name__, None, template.__closure__)
    function.__qualname__ = template.__qualname__
    return njit(nogil=True, cache=True, error_model="numpy")(function)
