"""Draws: the published answers, the same bits compiled and not, independence of keys."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mtsim import streams, streams_numba
from mtsim.streams import Stream

# Random123's known-answer vectors for philox4x32-10: counter, key, output.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]

words = st.integers(0, 2**64 - 1)
small = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("module", [streams, streams_numba], ids=["numpy", "numba"])
@pytest.mark.parametrize(("counter", "key", "output"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(module, counter, key, output):
    arguments = [np.uint64(word) for word in (*key, *counter)]
    assert tuple(int(word) for word in module.philox(*arguments)) == output


@given(key=words, world=small, index=words, field=small)
def test_compiled_draws_have_the_same_bits(key, world, index, field):
    arguments = [np.uint64(word) for word in (key, world, index, field)]
    for name in ("bits_at", "unit_at", "grid_at"):
        assert getattr(streams, name)(*arguments) == getattr(streams_numba, name)(*arguments)


@given(key=words, world=small, index=words, field=small)
def test_a_unit_lies_in_the_half_open_interval(key, world, index, field):
    draw = streams.unit_at(*(np.uint64(word) for word in (key, world, index, field)))
    assert 0.0 <= draw < 1.0


def test_a_draw_does_not_depend_on_its_neighbours():
    stream = Stream(3, "flow")
    many = stream.unit(np.arange(100))
    assert many[41] == stream.unit(41)
    assert np.array_equal(many[10:20], stream.unit(np.arange(10, 20)))


def test_arguments_broadcast():
    draws = Stream(3, "flow").unit(np.arange(5)[:, None], world=np.arange(4))
    assert draws.shape == (5, 4)
    assert draws[2, 3] == Stream(3, "flow").unit(2, world=3)


def test_every_part_of_the_key_matters():
    base = {"index": 5, "world": 6, "field": 7}
    draws = {int(Stream(1, "a").bits(**base)), int(Stream(2, "a").bits(**base))}
    draws |= {int(Stream(1, "b").bits(**base)), int(Stream(1, "a\0b").bits(**base))}
    draws |= {int(Stream(1, "a").bits(**(base | {part: 8}))) for part in base}
    assert len(draws) == 7


def test_units_are_uniform_over_each_part_of_the_key():
    stream = Stream(0, "uniformity")
    for name in ("index", "world", "field"):
        draws = stream.unit(**({"index": 0} | {name: np.arange(20_000)}))
        assert stats.kstest(draws, "uniform").pvalue > 1e-4


def test_the_generators_of_two_worlds_differ_and_repeat():
    first = Stream(9, "bulk").generator(world=0).random(8)
    assert np.array_equal(first, Stream(9, "bulk").generator(world=0).random(8))
    assert not np.array_equal(first, Stream(9, "bulk").generator(world=1).random(8))


def test_the_global_generator_has_no_influence():
    np.random.seed(1)  # noqa: NPY002 - that it must not matter is the point
    before = Stream(4, "flow").unit(np.arange(3))
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(before, Stream(4, "flow").unit(np.arange(3)))


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_outside_its_range_is_refused(seed):
    with pytest.raises(ValueError, match="from 0 to 2\\^63 - 1"):
        Stream(seed, "flow")
