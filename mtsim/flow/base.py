"""What a flow is: parameters, a state for each world, and three kernels for the compiled loop.

A flow's background events of one world are counted from 0, and every draw of event `index` is a
function of (key, world, index, field) alone. So nothing that others send consumes a draw, and the
same world draws the same alone, among others, and with an agent muted. The loop itself is
`mtsim.world.loop`. Knows no clock of its own and no world.

The kernels are compiled by Numba (`hot` of `mtsim.engine.ladder`), are given one world's book (`a32
a64 o`, see `mtsim.engine.layout`), parameters, state rows `state_f state_i`, the uint64 `key`
and the `world`'s number, and are called in this order:

    schedule(a32, a64, o, params_f, params_i, state_f, state_i, key, world, index, now_ns)
        -> time_ns
        When background event `index` happens: at `now_ns` or later, FAR for never, DRAW where
        Python has to say. Asked anew after every message of somebody else, with the same `index`:
        the answer is then conditional on not having happened before `now_ns`, and takes no new
        randomness where the law of the flow allows that.
    compose(a32, a64, o, params_f, params_i, state_f, state_i, key, world, index, now_ns, message)
        -> bool
        Write that event against the book as it is now into `message` (MESSAGE_DTYPE as int64
        words, see `write_message`). False: there was nothing to do, a *null event*; it consumes
        its index and is on no tape. `index` is over either way.
    observe(a32, a64, o, params_f, params_i, state_f, state_i, key, world, index, now_ns, message,
            result, fills, n_fills, own) -> None
        See what was executed, whoever sent it; `own` says whether `compose` wrote it. `index` is
        that of the next background event.

The owner of all background orders is BACKGROUND, and a flow cancels no others. Its order ids are
FIRST_FLOW_ID + index: below that are the orders of the opening, from FIRST_AGENT_ID those of
agents. `state_i[ROOM]` is how many more orders the flow could remember: the loop lets no message
happen while it is 0 and asks for `grow` instead. A flow that remembers none keeps it at 1.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from mtsim.engine import drive
from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.ladder import U, hot

_PACKAGE = Path(__file__).parents[1]

SOURCES = fingerprint(
    drive.SOURCES, _PACKAGE / "streams.py", _PACKAGE / "streams_numba.py", Path(__file__)
)
"""For the kernels of flows: what all of them may be compiled from."""

FAR = 2**62
"""A time that never comes."""

DRAW = -1
"""Instead of a time: Python has to draw the next event."""

ROOM = 0
"""The word of `state_i` that every flow keeps."""

BACKGROUND = 0
"""The owner of the flow's orders, and of the opening's."""

FIRST_FLOW_ID = 2**32
FIRST_AGENT_ID = 2**44


class Kernels(NamedTuple):
    """The compiled part of a flow, module-level, and the fingerprint of all its sources."""

    schedule: Callable
    compose: Callable
    observe: Callable
    sources: int


class Flow(Protocol):
    """Frozen parameters, and the states of worlds, which are the caller's."""

    @property
    def kernels(self) -> Kernels: ...

    @property
    def owners(self) -> int:
        """The owners of its messages are below this."""
        ...

    def params(self) -> tuple[np.ndarray, np.ndarray]:
        """float64 and int64 words, as the kernels read them; a world asks once."""
        ...

    def new_state(self, n_worlds: int) -> tuple[np.ndarray, np.ndarray]:
        """float64 [B, n] and int64 [B, m]: worlds in which nothing has happened yet."""
        ...

    def grow(self, state_i: np.ndarray) -> np.ndarray:
        """The same int64 states with room for more orders. No result depends on when this was."""
        ...


@hot
def write_message(message, kind, side, tif, owner, price_tick, lots, order_id):
    """Fill in a row that displays all its lots, with no flags and self-trades allowed."""
    message[U(0)] = kind | (side << 8) | (tif << 16)
    message[U(1)] = (owner & 0xFFFFFFFF) | (price_tick << 32)
    message[U(2)] = lots
    message[U(3)] = order_id
