"""The entry points into compiled code. Everything else that is compiled is reached through them.

Each entry point closes over the fingerprint of all compiled sources, SOURCES; code elsewhere that
calls them puts it into its own. Compilation happens at the first call, not at import.
"""

from pathlib import Path

from numba import njit, prange

from mtsim.engine.auction import uncross
from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.ladder import U
from mtsim.engine.layout import ORDERS
from mtsim.engine.matching import make_run
from mtsim.engine.queries import depth_of, list_orders, list_side, lots_ahead

# All modules whose code or constants end up in compiled code.
_COMPILED = ("units", "messages", "layout", "ladder", "fetch", "matching", "auction", "queries")


def _entry_points(sources: int):
    @njit(nogil=True, cache=True, parallel=True, error_model="numpy")
    def run_parallel(a32, a64, spans, messages, results, fills, control):
        """`run` on every range, each in a thread."""
        _ = sources
        for t in prange(control.shape[0]):
            run(a32, a64, spans, messages, results, fills, control, t)

    @njit(nogil=True, cache=True, error_model="numpy")
    def depths(a32, a64, bases, ticks, lots):
        """Fill [n, 2, levels] arrays with the best levels of the books at `bases`."""
        _ = sources
        for n in range(bases.size):
            depth_of(a64, bases[n], ticks[n], lots[n])

    @njit(nogil=True, cache=True, error_model="numpy")
    def queues_ahead(a32, a64, bases, order_ids, lots):
        """Fill `lots` with what is ahead of each order, -1 for one that does not rest."""
        _ = sources
        for n in range(bases.size):
            o = bases[n]
            lots[n] = lots_ahead(a32, a64, o, (o + a64[U(o + ORDERS)]) * 2, order_ids[n])

    @njit(nogil=True, cache=True, error_model="numpy")
    def resting_rows(a32, a64, o, rows):
        """Write RESTING_DTYPE rows, as far as there is room; returns how many there are."""
        _ = sources
        r = (o + a64[U(o + ORDERS)]) * 2
        n_rows = list_side(a32, a64, o, r, 0, rows, 0)
        return list_side(a32, a64, o, r, 1, rows, n_rows)

    @njit(nogil=True, cache=True, error_model="numpy")
    def level_rows(a32, a64, o, rows, side, key):
        """`resting_rows` of one level."""
        _ = sources
        return list_orders(a32, a64, o, (o + a64[U(o + ORDERS)]) * 2, side, key, rows, 0)

    @njit(nogil=True, cache=True, error_model="numpy")
    def uncross_book(a32, a64, o, messages, row, results, fills, n_fills):
        """`auction.uncross`."""
        _ = sources
        return uncross(a32, a64, o, messages, row, results, fills, n_fills)

    return run_parallel, uncross_book, depths, queues_ahead, resting_rows, level_rows


SOURCES = fingerprint(*(Path(__file__).with_name(f"{module}.py") for module in _COMPILED))
run = make_run(SOURCES)
run_parallel, uncross_book, depths, queues_ahead, resting_rows, level_rows = _entry_points(SOURCES)
