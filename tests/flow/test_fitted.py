"""Files of fitted flows: what was written is read, and what was damaged is not."""

import json

import numpy as np
import pytest

from mtsim.engine.sealed import sealed
from mtsim.errors import IntegrityError, UsageError
from mtsim.flow.fitted import FORMAT, VERSION, read_fitted, write_fitted
from mtsim.flow.hawkes import Hawkes
from mtsim.flow.queue_reactive import QueueReactive, built_in
from tests.flow.hawkes_markets import market
from tests.world.worlds import SECOND_NS, make_world

SOURCE = {"session": "made up"}


@pytest.mark.parametrize(
    ("kind", "flow", "make"),
    [
        ("hawkes", market(reference_orders=20), Hawkes.from_json),
        ("queue_reactive", built_in(100), QueueReactive.from_json),
    ],
)
def test_a_flow_read_from_a_file_makes_the_same_market(tmp_path, kind, flow, make):
    path = tmp_path / "flow.json"
    write_fitted(path, kind, flow.as_json(), SOURCE)
    again = read_fitted(path, kind, lambda value: make(value, first_tick=100))
    for one, other in zip(flow.params(), again.params(), strict=True):
        assert one.tobytes() == other.tobytes()
    worlds = [make_world(flow=it) for it in (flow, again)]
    for world in worlds:
        world.advance(20 * SECOND_NS)
    assert worlds[0].tape.hash() == worlds[1].tape.hash()


def test_equal_flows_give_equal_files(tmp_path):
    for name in ("one", "two"):
        write_fitted(tmp_path / name, "hawkes", market().as_json(), SOURCE)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "flow.json"
    write_fitted(path, "hawkes", market().as_json(), SOURCE)
    return path


def test_every_flipped_byte_is_found(file):
    content = file.read_bytes()
    for at in np.random.default_rng(0).integers(0, len(content), 40).tolist():
        file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(IntegrityError, match=str(file)):
            read_fitted(file, "hawkes", Hawkes.from_json)


def test_a_file_cut_short_or_missing_is_said(file):
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(IntegrityError):
        read_fitted(file, "hawkes", Hawkes.from_json)
    file.unlink()
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_fitted(file, "hawkes", Hawkes.from_json)


def test_a_file_of_another_kind_is_refused(file):
    with pytest.raises(UsageError, match="'hawkes', 'queue_reactive' was asked for"):
        read_fitted(file, "queue_reactive", QueueReactive.from_json)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": VERSION + 1}, r"\(format, version\)"),
        ({"format": "other"}, r"\(format, version\)"),
        ({"parameters": {}}, "no parameters of a flow"),
        ({"parameters": {**market().as_json(), "base": "none"}}, "no parameters of a flow"),
    ],
)
def test_a_sealed_file_of_something_else_is_found(file, change, reason):
    content = json.loads(file.read_bytes())["content"]
    assert content["format"] == FORMAT
    file.write_bytes(sealed({**content, **change}))
    with pytest.raises(IntegrityError, match=reason):
        read_fitted(file, "hawkes", Hawkes.from_json)
