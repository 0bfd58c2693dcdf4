"""Features and tokens had again from a stored tape are those that were seen while it ran."""

import numpy as np
import pytest

from mtsim.engine.batch import Books
from mtsim.engine.tape_files import load, save
from mtsim.model.history import observe_session
from mtsim.model.observer import Observer
from mtsim.model.schemas import schema_named
from mtsim.model.tokenizer import Tokenizer, Training
from mtsim.world.latency import Delay, Latency
from tests.world.worlds import disturb, make_world, tape_of

BINS = {"add": 11, "cancel": 8, "lots": 4, "gap": 6}


@pytest.fixture(scope="module")
def run():
    """Three worlds with an agent in each, on one tape."""
    world = make_world(3, agents=1, latency={1: Latency(entry=Delay(50_000_000, 1.0))})
    disturb(world)
    return tape_of(world)


def lived(tape, n_worlds: int):
    """(actions, features) of each world, seen one message at a time as they came."""
    observer = Observer(Books(n_worlds))
    seen = [([], []) for _ in range(n_worlds)]
    for step in tape.table("steps"):
        world = int(step["book"])
        done = observer.perform(world, step["message"], int(step["time_ns"]))
        seen[world][0].append(done.actions)
        seen[world][1].append(done.features)
    return [(np.concatenate(actions), np.concatenate(features)) for actions, features in seen]


def test_what_is_rebuilt_from_a_stored_tape_is_what_was_lived(run, tmp_path):
    """Bit for bit, agents' orders among them, all worlds side by side."""
    save(run, tmp_path / "tape")
    tape = load(tmp_path / "tape")
    assert (tape.table("steps")["message"]["owner"] != 0).any()
    live = lived(run, 3)
    rebuilt = []
    for world in range(3):
        events = tape.events(world)
        # The mark of the opening's end: what came before was acted out like everything else.
        events = events[events["type"] < 8]
        (observed,) = observe_session([events])
        rebuilt.append(observed)
        actions, features = live[world]
        assert observed.actions.tobytes() == actions.tobytes()
        assert observed.features.tobytes() == features.tobytes()

    training = [Training("", [observed.actions for observed in rebuilt])]
    tokenizer = Tokenizer.fit(schema_named("book", BINS), lambda: training, saw="a run")
    for (actions, _), observed in zip(live, rebuilt, strict=True):
        tokens = tokenizer.encode(observed.actions).tokens
        # One at a time, as a loop encodes.
        past = tokenizer.new_past()
        alone = [tokenizer.encode(actions[k : k + 1], past).tokens for k in range(len(actions))]
        assert np.array_equal(np.concatenate(alone), tokens)
