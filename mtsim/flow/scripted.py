"""Messages with their times, sent as they stand. Observes nothing.

What is against the rules of the book when its time comes is refused by the engine, and is on the
tape as that.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.ladder import U, hot
from mtsim.engine.layout import MESSAGE_WORDS
from mtsim.engine.messages import MESSAGE_DTYPE
from mtsim.errors import UsageError
from mtsim.flow.base import BACKGROUND, FAR, ROOM, SOURCES, Kernels

# A word of `state_i`: which script is this world's. `params_i` is, for each script, where it begins
# and how many rows it has; then all rows, a time and a message each.
SCRIPT = 1
ROW_WORDS = 1 + MESSAGE_WORDS


class Scripted:
    """`scripts` are (time_ns, messages) pairs; world b of a group of worlds plays script b, and
    all worlds play the only one where there is one."""

    def __init__(self, scripts: Sequence[tuple[np.ndarray, np.ndarray]]):
        if not scripts:
            raise UsageError("Scripted: at least one script is needed")
        for number, (time_ns, messages) in enumerate(scripts):
            _require_script(number, time_ns, messages)
        self._scripts = [
            (np.ascontiguousarray(time_ns, np.int64), np.ascontiguousarray(messages))
            for time_ns, messages in scripts
        ]

    @property
    def kernels(self) -> Kernels:
        return KERNELS

    @property
    def owners(self) -> int:
        return 1 + max(
            (int(messages["owner"].max(initial=BACKGROUND)) for _, messages in self._scripts)
        )

    def params(self) -> tuple[np.ndarray, np.ndarray]:
        heads, rows = [], []
        first = 2 * len(self._scripts)
        for time_ns, messages in self._scripts:
            heads.append([first, len(messages)])
            words = messages.view(np.int64).reshape(-1, MESSAGE_WORDS)
            rows.append(np.column_stack((time_ns, words)).ravel())
            first += len(rows[-1])
        return np.zeros(0), np.concatenate([np.array(heads, np.int64).ravel(), *rows])

    def new_state(self, n_worlds: int) -> tuple[np.ndarray, np.ndarray]:
        scripts = len(self._scripts)
        if scripts not in (1, n_worlds):
            raise UsageError(
                f"Scripted: {scripts} scripts for {n_worlds} worlds: one each or one for all "
                "is needed"
            )
        state_i = np.zeros((n_worlds, 2), np.int64)
        state_i[:, ROOM] = 1
        state_i[:, SCRIPT] = np.arange(n_worlds) % scripts
        return np.zeros((n_worlds, 0)), state_i

    def grow(self, state_i: np.ndarray) -> np.ndarray:
        raise AssertionError("a script remembers no orders, so it never lacks room")


def _require_script(number: int, time_ns: np.ndarray, messages: np.ndarray) -> None:
    if messages.dtype != MESSAGE_DTYPE or messages.ndim != 1:
        raise UsageError(
            f"Scripted: script {number}: messages must be one-dimensional MESSAGE_DTYPE, got "
            f"{messages.ndim} dimensions of {messages.dtype}"
        )
    time_ns = np.asarray(time_ns)
    if time_ns.shape != messages.shape or time_ns.dtype.kind not in "iu":
        raise UsageError(
            f"Scripted: script {number}: {len(messages)} integer times are needed, got "
            f"{time_ns.dtype} of shape {time_ns.shape}"
        )
    if len(time_ns) and (time_ns[0] < 0 or (np.diff(time_ns) < 0).any() or time_ns[-1] >= FAR):
        raise UsageError(
            f"Scripted: script {number}: times must go up from 0 and stay below {FAR} ns"
        )


@hot
def schedule(a32, a64, o, params_f, params_i, state_f, state_i, key, world, index, now_ns):
    """The time of row `index`, however late."""
    head = 2 * state_i[U(SCRIPT)]
    if index >= params_i[U(head + 1)]:
        return FAR
    return max(params_i[U(params_i[U(head)] + ROW_WORDS * index)], now_ns)


@hot
def compose(a32, a64, o, params_f, params_i, state_f, state_i, key, world, index, now_ns, message):
    """Row `index`."""
    row = params_i[U(2 * state_i[U(SCRIPT)])] + ROW_WORDS * index
    for word in range(MESSAGE_WORDS):
        message[U(word)] = params_i[U(row + 1 + word)]
    return True


@hot
def observe(
    a32,
    a64,
    o,
    params_f,
    params_i,
    state_f,
    state_i,
    key,
    world,
    index,
    now_ns,
    message,
    result,
    fills,
    n_fills,
    own,
):
    """Nothing: the script goes on as it stands."""


KERNELS = Kernels(
    schedule,
    compose,
    observe,
    fingerprint(SOURCES, Path(__file__)),
)
