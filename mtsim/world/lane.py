"""One thread's way through its worlds: the memory of a message, its place, rows not yet on a tape.

Knows the order of things that one run of the compiled loop needs, and no time.
"""

import numpy as np

from mtsim.engine.base import Outcome
from mtsim.engine.batch import Books
from mtsim.engine.drive import NEED_UNCROSS, Arrays, Drive
from mtsim.engine.layout import N_FILLS, NEED_FILLS
from mtsim.engine.messages import FILL_DTYPE, RESULT_DTYPE
from mtsim.engine.tape import STEP_DTYPE, Tape
from mtsim.world.loop import (
    AT_WORLD,
    EXECUTED,
    N_FILL_ROWS,
    N_STEPS,
    NEED,
    PROGRESS_WORDS,
    STAGE,
)


class Lane:
    """`rows` is how many messages it records before they have to be taken away; 0 records none."""

    def __init__(self, books: Books, rows: int):
        self.books = books
        self.drive = Drive(books)
        self.progress = np.zeros(PROGRESS_WORDS, np.int64)
        self.end_world = 0
        self._steps = np.zeros(rows, STEP_DTYPE)
        self._results = np.zeros(rows, RESULT_DTYPE)
        self._fills = np.zeros(rows, FILL_DTYPE)

    def begin(self, first_world: int, end_world: int) -> None:
        self.progress[:] = 0
        self.progress[AT_WORLD] = first_world
        self.end_world = end_world

    @property
    def is_done(self) -> bool:
        return bool(self.progress[AT_WORLD] >= self.end_world)

    @property
    def world(self) -> int:
        return int(self.progress[AT_WORLD])

    def arrays(self) -> Arrays:
        return self.drive.arrays()

    def buffers(self) -> tuple[np.ndarray, ...]:
        """int64 words of steps, results and fills, to be recorded into."""
        return tuple(rows.view(np.int64) for rows in (self._steps, self._results, self._fills))

    def recorded(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Views of the steps, results and fills since they were last taken away."""
        n_steps, n_fills = self.progress[[N_STEPS, N_FILL_ROWS]]
        return self._steps[:n_steps], self._results[:n_steps], self._fills[:n_fills]

    def hand_over(self, tape: Tape | None) -> None:
        """Put the recorded rows on a tape, and make room for those of the message at hand."""
        if tape is not None:
            steps, results, fills = self.recorded()
            tape.record(steps["time_ns"], steps["message"], Outcome(results, fills), steps["book"])
        self.progress[N_STEPS] = self.progress[N_FILL_ROWS] = 0
        if self.progress[STAGE] == EXECUTED and len(self._fills) < len(self.drive.fills()):
            self._fills = np.zeros(len(self.drive.fills()), FILL_DTYPE)

    def make_room(self) -> bool:
        """Give the book what its message needs, or execute an UNCROSS; whether it was one."""
        need = int(self.progress[NEED])
        if need != NEED_UNCROSS:
            self.drive.make_room(self.world, need)
            return False
        step = self.books.step(self.drive.message[None], books=np.array([self.world]))
        while self.arrays().fills.size < step.fills.view(np.int64).size:
            self.drive.make_room(self.world, NEED_FILLS)
        arrays = self.arrays()
        words = step.fills.view(np.int64)
        arrays.fills[: words.size] = words
        arrays.control[0, N_FILLS] = len(step.fills)
        self.drive.result[:] = step.results[0]
        self.progress[STAGE] = EXECUTED
        return True
