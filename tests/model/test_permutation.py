"""A keyed shuffle: a permutation for every size, key and epoch, the same wherever it is asked."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtsim.model.permutation import MAX_NUMBERS, permuted
from mtsim.streams import Stream

KEY = Stream(7, "windows").key
GOLDEN = [97, 503, 421, 202, 376, 499, 324, 976]

sizes = st.integers(1, 3000)
keys = st.integers(0, 2**64 - 1).map(np.uint64)
epochs = st.integers(0, 2**32 - 1)


@given(sizes, keys, epochs)
def test_every_number_has_one_place(n, key, epoch):
    order = permuted(np.arange(n), n, key, epoch)
    assert np.array_equal(np.sort(order), np.arange(n))


@given(sizes, keys, epochs, st.data())
def test_a_place_alone_is_as_among_others(n, key, epoch, data):
    place = data.draw(st.integers(0, n - 1))
    assert permuted(place, n, key, epoch) == permuted(np.arange(n), n, key, epoch)[place]


@given(st.integers(1, MAX_NUMBERS), keys, st.data())
def test_sizes_that_no_array_holds_stay_in_range_and_apart(n, key, data):
    places = data.draw(st.lists(st.integers(0, n - 1), unique=True, max_size=20))
    order = permuted(places, n, key)
    assert len(set(order.tolist())) == len(places)
    assert all(0 <= number < n for number in order.tolist())


def test_epochs_broadcast_against_places():
    both = permuted(np.arange(50), 50, KEY, np.array([[0], [3]]))
    assert both.shape == (2, 50)
    assert np.array_equal(both[0], permuted(np.arange(50), 50, KEY, 0))
    assert np.array_equal(both[1], permuted(np.arange(50), 50, KEY, 3))


def test_other_keys_and_other_epochs_are_other_orders():
    places = np.arange(1000)
    orders = [
        permuted(places, 1000, KEY, 0),
        permuted(places, 1000, KEY, 1),
        permuted(places, 1000, Stream(8, "windows").key, 0),
        permuted(places, 1000, Stream(7, "other").key, 0),
        places,
    ]
    for k, one in enumerate(orders):
        for other in orders[:k]:
            # Two random orders of 1000 agree in one place, give or take one; ten are a 1e-7 event.
            assert np.count_nonzero(one == other) < 10


def test_each_number_is_as_likely_at_each_place():
    """Chi-square of 7 x 7 counts over 7000 epochs: 36 degrees of freedom, 99.99 % below 80."""
    orders = permuted(np.arange(7), 7, KEY, np.arange(7000)[:, None])
    counts = np.stack([np.bincount(orders[:, place], minlength=7) for place in range(7)])
    assert ((counts - 1000) ** 2 / 1000).sum() < 80


def test_all_orders_of_four_come_up_alike():
    """24 orders over 24,000 epochs: 23 degrees of freedom, 99.99 % below 57."""
    orders = permuted(np.arange(4), 4, KEY, np.arange(24_000)[:, None])
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 24
    assert ((counts - 1000) ** 2 / 1000).sum() < 57


def test_neighbours_do_not_stay_neighbours():
    n = 100_000
    order = permuted(np.arange(n), n, KEY)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 4 / np.sqrt(n)
    assert abs(np.corrcoef(np.arange(n), order)[0, 1]) < 4 / np.sqrt(n)


@pytest.mark.golden
def test_the_order_is_what_it_was():
    """Resuming a run on another machine or version needs these very numbers."""
    assert permuted(np.arange(8), 1000, KEY, 2).tolist() == GOLDEN


def test_another_process_finds_the_same_order():
    program = (
        "import numpy as np\nfrom mtsim.model.permutation import permuted\n"
        "from mtsim.streams import Stream\n"
        "print(permuted(np.arange(8), 1000, Stream(7, 'windows').key, 2).tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(GOLDEN)
