"""The engine's part of the closed loop by itself, compiled: the same calls, and nothing else."""

from pathlib import Path

from numba import njit

from mtsim.engine.drive import DONE, SOURCES, execute_one
from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.layout import MESSAGE_WORDS


def _entry_point(sources: int):
    @njit(nogil=True, cache=True, error_model="numpy")
    def execute_all(arrays, book, rows, row):
        """Execute message words from `row` on; where it stopped, and why."""
        _ = sources
        a32, a64, bases, message, result, fills, span, control = arrays
        while row < rows.size // MESSAGE_WORDS:
            for word in range(MESSAGE_WORDS):
                message[word] = rows[row * MESSAGE_WORDS + word]
            status = execute_one(a32, a64, bases[book], message, result, fills, span, control)
            if status != DONE:
                return row, status
            row += 1
        return row, DONE

    return execute_all


execute_all = _entry_point(fingerprint(SOURCES, Path(__file__)))
