"""Books, a flow, messages on their way and accounts under one clock: the closed loop, for people.

Worlds share nothing but the call: a world is the same alone, among others, on any number of
threads, with small and with large buffers. `loop` is where it all happens.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from mtsim.engine.batch import Books, message_words
from mtsim.engine.events import EventType
from mtsim.engine.layout import HANDLES
from mtsim.engine.messages import Kind
from mtsim.engine.tape import Tape
from mtsim.errors import UsageError
from mtsim.flow.base import DRAW, FAR, FIRST_AGENT_ID, ROOM, Flow
from mtsim.streams import Stream
from mtsim.world import loop
from mtsim.world.account import OPEN_ORDERS, new_accounts
from mtsim.world.conservation import Ledger, open_orders
from mtsim.world.inbox import Inbox, Rank, place_among_equals
from mtsim.world.lane import Lane
from mtsim.world.latency import Latency
from mtsim.world.loop import MESSAGES_END, N_MESSAGES, NOW, PAUSE, UNTIL, Pause
from mtsim.world.snapshot import WorldSnapshot


class Sent(NamedTuple):
    """What became of messages at their sending."""

    arrival_ns: np.ndarray
    order_ids: np.ndarray
    """Of those that are orders, the id that they have got; of others, the one they name."""


class World:
    """B worlds: one for each book of `books`, new ones that take external ids.

    World b draws as number `first_world + b` of `seed`. There are owners 0, the background, to
    `agents`; `latency` says how long an agent's messages take, no time by default. Rows go to
    `tape`, in chunks of at most `buffer_rows` messages. `paranoid` checks conservation after every
    message, in plain Python.
    """

    def __init__(
        self,
        books: Books,
        flow: Flow,
        *,
        seed: int,
        agents: int = 0,
        first_world: int = 0,
        latency: Mapping[int, Latency] | None = None,
        tape: Tape | None = None,
        buffer_rows: int = 16_384,
        paranoid: bool = False,
    ):
        n_worlds, owners = len(books), agents + 1
        if flow.owners > owners:
            raise UsageError(
                f"World: the flow sends as owner {flow.owners - 1}, there are 0 to {agents}; "
                f"make it with agents={flow.owners - 1}"
            )
        if buffer_rows < 1:
            raise UsageError(f"World: buffer_rows must be at least 1, got {buffer_rows}")
        _, words, bases = books.memory()
        if words[bases + HANDLES].any():
            raise UsageError("World: books that issue handles; make them with ids='external'")
        if books.n_messages().any():
            raise UsageError("World: books that have been used; open them by messages instead")
        self.books = books
        self.flow = flow
        self.latency = dict(latency or {})
        self.seeds = np.full(n_worlds, seed)
        self.keys = np.full(n_worlds, Stream(seed, "flow").key)
        self.numbers = first_world + np.arange(n_worlds)
        self.state_f, self.state_i = flow.new_state(n_worlds)
        self.clocks = np.zeros((n_worlds, loop.CLOCK_COLUMNS), np.int64)
        self.clocks[:, loop.NEXT] = DRAW
        self.inbox = Inbox(n_worlds)
        self.accounts = new_accounts(n_worlds, owners)
        self.wakes = np.zeros((n_worlds, owners), np.bool_)
        """[B, owners]: who stops its world with `Stop.FILL` when it is filled."""
        self.muted = np.zeros((n_worlds, owners), np.bool_)
        """[B, owners]: whose messages are not sent. Everything else goes on as if they were."""
        self.messages_sent = np.zeros((n_worlds, owners), np.int64)
        self.last_arrival = np.zeros((n_worlds, owners), np.int64)
        self._advance = loop.make_advance(flow.kernels)
        self._params = flow.params()
        self._buffer_rows = buffer_rows
        self.ledgers = (
            [Ledger(books, b, self.accounts[b]) for b in range(n_worlds)] if paranoid else None
        )
        self._lanes: list[Lane] = []
        self.record(tape)

    def __len__(self) -> int:
        return len(self.books)

    # Going on -------------------------------------------------------------------------------------

    def open(self, messages: np.ndarray) -> None:
        """Execute an opening (see `opening`) at time 0 in every world, and mark its end on the
        tape."""
        everywhere = np.arange(len(self))
        self.deliver(
            np.repeat(everywhere, len(messages)),
            np.tile(messages, len(self)),
            at_ns=0,
            rank=Rank.OPENING,
        )
        self.advance(events=len(messages))
        if self.tape is not None:
            for world in everywhere.tolist():
                self.tape.mark(0, EventType.SESSION_START, world)

    def advance(
        self,
        until_ns: np.ndarray | int | None = None,
        *,
        events: np.ndarray | int | None = None,
        worlds: np.ndarray | None = None,
        threads: int = 1,
    ) -> np.ndarray:
        """Go on until `until_ns`, what happens then included, or for so many more messages.

        Both are one value or one a world. Only `worlds` move, by default all. Returns why each
        stopped, a `Stop` for every one of `worlds`.
        """
        if until_ns is None and events is None:
            raise UsageError("World.advance: say until_ns or events")
        if threads < 1:
            raise UsageError(f"World.advance: threads must be at least 1, got {threads}")
        chosen = np.arange(len(self)) if worlds is None else np.asarray(worlds)
        goals = np.empty((len(self), 2), np.int64)
        goals[:, UNTIL] = self.clocks[:, NOW]
        goals[:, MESSAGES_END] = self.clocks[:, N_MESSAGES]
        goals[chosen, UNTIL] = FAR if until_ns is None else until_ns
        if (goals[:, UNTIL] < self.clocks[:, NOW]).any():
            world = int(np.argmax(goals[:, UNTIL] < self.clocks[:, NOW]))
            raise UsageError(
                f"World.advance: until_ns {goals[world, UNTIL]} has passed in world {world}, "
                f"where it is {self.clocks[world, NOW]}"
            )
        if events is None:
            goals[chosen, MESSAGES_END] = FAR
        else:
            goals[chosen, MESSAGES_END] += events
        stops = np.zeros(len(self), np.int64)
        if self.ledgers is not None:
            self._advance_with_care(goals, stops, self.ledgers)
        else:
            self._run(goals, stops, min(threads, len(self)))
            for lane in self._lanes:
                lane.hand_over(self.tape)
        return stops[chosen]

    def _run(self, goals: np.ndarray, stops: np.ndarray, threads: int) -> None:
        """Run all lanes to their ends; what the last round recorded is still in them."""
        rows = self._buffer_rows if self.tape is not None or self.ledgers is not None else 0
        while len(self._lanes) < threads:
            self._lanes.append(Lane(self.books, rows))
        lanes = self._lanes[:threads]
        for t, lane in enumerate(lanes):
            lane.begin(len(self) * t // threads, len(self) * (t + 1) // threads)
        if threads == 1:
            while not lanes[0].is_done:
                self._run_lane(lanes[0], goals, stops)
                self._mend(lanes[0])
            return
        with ThreadPoolExecutor(threads) as pool:
            # A round ends when every lane has come back: making room moves what all work on.
            while running := [lane for lane in lanes if not lane.is_done]:
                list(pool.map(lambda lane: self._run_lane(lane, goals, stops), running))
                for lane in running:
                    self._mend(lane)

    def _run_lane(self, lane: Lane, goals: np.ndarray, stops: np.ndarray) -> None:
        self._advance(
            lane.arrays(),
            self.keys,
            self.numbers,
            *self._params,
            self.state_f,
            self.state_i,
            self.clocks,
            goals,
            stops,
            self.inbox.rows,
            self.inbox.state,
            self.accounts,
            self.wakes,
            lane.progress,
            lane.end_world,
            *lane.buffers(),
        )

    def _mend(self, lane: Lane) -> None:
        """Do what a lane has come back for."""
        match lane.progress[PAUSE]:
            case Pause.BOOK:
                if lane.make_room():
                    world = lane.world
                    found = open_orders(self.books, world, self.accounts.shape[1])
                    self.accounts[world, :, OPEN_ORDERS] = found
            case Pause.FLOW_ROOM:
                # Two lanes may ask in one round; the first has made room for both.
                if self.state_i[lane.world, ROOM] < 1:
                    self.state_i = self.flow.grow(self.state_i)
            case Pause.BUFFER:
                lane.hand_over(self.tape)

    def _advance_with_care(
        self, goals: np.ndarray, stops: np.ndarray, ledgers: list[Ledger]
    ) -> None:
        """One message a world at a time, each followed by a check."""
        goal_of = goals[:, MESSAGES_END].copy()
        going = np.ones(len(self), np.bool_)
        while going.any():
            before = self.clocks[:, N_MESSAGES].copy()
            goals[:, MESSAGES_END] = np.where(going, np.minimum(goal_of, before + 1), before)
            reasons = np.zeros(len(self), np.int64)
            self._run(goals, reasons, threads=1)
            steps, results, fills = self._lanes[0].recorded()
            ends = np.cumsum(results["n_fills"])
            for step, result, end in zip(steps, results, ends, strict=True):
                world = int(step["book"])
                ledgers[world].enter(step["message"], result, fills[end - result["n_fills"] : end])
                ledgers[world].check(self.books, world, self.accounts[world])
            self._lanes[0].hand_over(self.tape)
            stops[going] = reasons[going]
            done = self.clocks[:, N_MESSAGES] >= goal_of
            going &= (reasons == loop.Stop.EVENTS) & ~done
        for world, ledger in enumerate(ledgers):
            ledger.check_orders(self.books, world, self.accounts[world])

    # Sending --------------------------------------------------------------------------------------

    def submit(
        self,
        worlds: np.ndarray | int,
        owner: int,
        messages: np.ndarray,
        at_ns: np.ndarray | int | None = None,
    ) -> Sent:
        """Send MESSAGE_DTYPE rows of an agent, row k to `worlds[k]` at `at_ns[k]`, by default now.

        They act after the agent's entry delay, and in the order of sending: a message does not
        overtake an earlier one of its owner. The rows' owner and the ids of new orders are set
        here. A muted owner's messages count, and draw their delays, but are not sent.
        """
        if not 1 <= owner < self.accounts.shape[1]:
            raise UsageError(
                f"World.submit: agents are 1 to {self.accounts.shape[1] - 1}, got {owner}"
            )
        worlds, messages, at_ns = self._checked("World.submit", worlds, messages, at_ns)
        places = place_among_equals(worlds)
        numbers = self.messages_sent[worlds, owner] + places
        arrival_ns = at_ns + self._entry_ns(worlds, owner, numbers, at_ns)
        for place in range(places.max(initial=-1) + 1):
            now = np.flatnonzero(places == place)
            arrival_ns[now] = np.maximum(arrival_ns[now], self.last_arrival[worlds[now], owner])
            self.last_arrival[worlds[now], owner] = arrival_ns[now]
            self.messages_sent[worlds[now], owner] += 1
        messages["owner"] = owner
        enters = (messages["kind"] == Kind.LIMIT) | (messages["kind"] == Kind.MARKET)
        messages["order_id"][enters] = FIRST_AGENT_ID * owner + numbers[enters]
        heard = ~self.muted[worlds, owner]
        self.inbox.put(worlds[heard], arrival_ns[heard], Rank.AGENT, messages[heard])
        return Sent(arrival_ns, messages["order_id"].copy())

    def deliver(
        self,
        worlds: np.ndarray | int,
        messages: np.ndarray,
        at_ns: np.ndarray | int | None = None,
        rank: Rank = Rank.SHOCK,
    ) -> None:
        """Have MESSAGE_DTYPE rows act at `at_ns`, by default now, as they stand.

        Ids of new background orders are the caller's to choose: below FIRST_FLOW_ID, and never used
        in that world before.
        """
        worlds, messages, at_ns = self._checked("World.deliver", worlds, messages, at_ns)
        if (messages["owner"] >= self.accounts.shape[1]).any():
            raise UsageError(
                f"World.deliver: owners are 0 to {self.accounts.shape[1] - 1}, got "
                f"{messages['owner'].max()}"
            )
        self.inbox.put(worlds, at_ns, rank, messages)

    def _entry_ns(
        self, worlds: np.ndarray, owner: int, numbers: np.ndarray, at_ns: np.ndarray
    ) -> np.ndarray:
        delays = np.zeros(len(worlds), np.int64)
        if owner in self.latency:
            for seed in np.unique(self.seeds[worlds]).tolist():
                mine = self.seeds[worlds] == seed
                delays[mine] = self.latency[owner].entry_ns(
                    seed, owner, self.numbers[worlds[mine]], numbers[mine], at_ns[mine]
                )
        return delays

    def _checked(
        self, caller: str, worlds: np.ndarray | int, messages: np.ndarray, at_ns
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The arguments as arrays of one length, the messages copied."""
        message_words(messages, caller, ndim=1)
        worlds = np.broadcast_to(np.asarray(worlds), len(messages)).astype(np.int64)
        if len(worlds) and not (worlds.min() >= 0 and worlds.max() < len(self)):
            raise UsageError(f"{caller}: there are worlds 0 to {len(self) - 1}, got {worlds}")
        now_ns = self.clocks[worlds, NOW]
        at_ns = np.broadcast_to(now_ns if at_ns is None else np.asarray(at_ns), len(messages))
        if (at_ns < now_ns).any():
            k = int(np.argmax(at_ns < now_ns))
            raise UsageError(
                f"{caller}: at_ns {at_ns[k]} has passed in world {worlds[k]}, where it is "
                f"{now_ns[k]}"
            )
        return worlds, messages.copy(), at_ns.astype(np.int64)

    # Looking --------------------------------------------------------------------------------------

    @property
    def now_ns(self) -> np.ndarray:
        """int64 [B]: each world's time since the session's start."""
        return self.clocks[:, NOW].copy()

    @property
    def n_messages(self) -> np.ndarray:
        """int64 [B]: the messages executed in each world, the opening's among them."""
        return self.clocks[:, N_MESSAGES].copy()

    @property
    def n_null_events(self) -> np.ndarray:
        """int64 [B]: the flow's events that found nothing to do."""
        return self.clocks[:, loop.N_NULLS].copy()

    def touch(self) -> np.ndarray:
        """int64 [B, 2]: see `Books.touch`."""
        return self.books.touch()

    def hash(self, world: int) -> str:
        """SHA-256 of all that decides what happens in a world later, and of its accounts."""
        return self.snapshot(world).digest(self.books.hash(world))

    # Copies ---------------------------------------------------------------------------------------

    def record(self, tape: Tape | None) -> None:
        """Put what happens from now on on this tape, or on none."""
        if tape is not None and tape.books != len(self):
            raise UsageError(f"World: a tape of {tape.books} books for {len(self)} worlds")
        self.tape = tape
        self._lanes = []

    def snapshot(self, world: int) -> WorldSnapshot:
        """One world set aside."""
        return WorldSnapshot.of(self, world)

    def restore(self, world: int, snapshot: WorldSnapshot) -> None:
        """Make a world what it, or another of the same flow, was when the snapshot was taken.

        A tape cannot go back: where one with rows is recorded, that is an error.
        """
        if self.tape is not None and len(self.tape):
            raise UsageError(
                "World.restore: the tape already holds rows, and cannot go back with the world; "
                "call record(None) or record(a new tape) first"
            )
        if snapshot.accounts.shape != self.accounts[world].shape:
            raise UsageError(
                f"World.restore: a snapshot with {len(snapshot.accounts)} owners, this world has "
                f"{self.accounts.shape[1]}"
            )
        snapshot.put(self, world)

    def fork(self, source: int, target: int, seed: int | None = None) -> None:
        """Make world `target` a copy of world `source`; with a `seed`, what is drawn from now on is
        of that seed."""
        self.restore(target, self.snapshot(source))
        if seed is not None:
            self.seeds[target] = seed
            self.keys[target] = Stream(seed, "flow").key
