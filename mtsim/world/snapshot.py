"""One world set aside: everything that decides what happens in it later, and its accounts.

What its user has set stays with the `World`: flow, latency, who is muted, who is woken.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mtsim.engine.snapshot import Snapshot
from mtsim.flow.base import ROOM
from mtsim.world.conservation import Ledger

if TYPE_CHECKING:
    from mtsim.world.world import World


@dataclass(frozen=True, eq=False)
class WorldSnapshot:
    """Take it with `World.snapshot`, put it back with `World.restore`."""

    book: Snapshot
    seed: int
    key: np.uint64
    number: int
    state_f: np.ndarray
    state_i: np.ndarray
    clock: np.ndarray
    pending: np.ndarray
    n_sent: int
    accounts: np.ndarray
    messages_sent: np.ndarray
    last_arrival: np.ndarray

    @classmethod
    def of(cls, world: World, b: int) -> WorldSnapshot:
        return cls(
            book=world.books.snapshot(b),
            seed=int(world.seeds[b]),
            key=world.keys[b],
            number=int(world.numbers[b]),
            state_f=world.state_f[b].copy(),
            state_i=world.state_i[b].copy(),
            clock=world.clocks[b].copy(),
            pending=world.inbox.pending(b).copy(),
            n_sent=world.inbox.n_sent(b),
            accounts=world.accounts[b].copy(),
            messages_sent=world.messages_sent[b].copy(),
            last_arrival=world.last_arrival[b].copy(),
        )

    def put(self, world: World, b: int) -> None:
        row = self.state_i[None]
        while row.shape[1] < world.state_i.shape[1]:
            row = world.flow.grow(row)
        while row.shape[1] > world.state_i.shape[1]:
            world.state_i = world.flow.grow(world.state_i)
        world.books.restore(b, self.book)
        world.seeds[b] = self.seed
        world.keys[b] = self.key
        world.numbers[b] = self.number
        world.state_f[b] = self.state_f
        world.state_i[b] = row[0]
        world.clocks[b] = self.clock
        world.inbox.put_back(b, self.pending, self.n_sent)
        world.accounts[b] = self.accounts
        world.messages_sent[b] = self.messages_sent
        world.last_arrival[b] = self.last_arrival
        if world.ledgers is not None:
            world.ledgers[b] = Ledger(world.books, b, world.accounts[b])

    def digest(self, book_hash: str) -> str:
        """SHA-256 of it all; `book_hash` stands for the book. How much room there is does not
        count."""
        digest = hashlib.sha256(book_hash.encode())
        for words in (
            np.array([self.key]).view(np.int64),
            np.array([self.seed, self.number, self.n_sent]),
            self.state_f,
            np.trim_zeros(np.delete(self.state_i, ROOM), "b"),
            self.clock,
            self.pending,
            self.accounts,
            self.messages_sent,
            self.last_arrival,
        ):
            digest.update(words.size.to_bytes(8, "little"))
            digest.update(np.ascontiguousarray(words).tobytes())
        return digest.hexdigest()
