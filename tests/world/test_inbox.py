"""Pending messages stand in the order in which they will act, however they came in."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtsim.world.inbox import ARRIVAL, HEAD, MESSAGE, RANK, SEQUENCE, Inbox, Rank
from tests.world.worlds import rows

batches = st.lists(
    st.tuples(
        st.sampled_from(Rank),
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=30),
        st.integers(0, 3),
    ),
    max_size=8,
)


@given(batches)
def test_pending_messages_are_sorted_by_time_rank_and_sequence(batches):
    """Against a plain list that is sorted, with some messages acting in between."""
    inbox, expected, number = Inbox(3), [[], [], []], 0
    for rank, sent, taken in batches:
        worlds = np.array([world for world, _ in sent], np.int64)
        times = np.array([time_ns for _, time_ns in sent], np.int64)
        lots = number + 1 + np.arange(len(sent))
        messages = rows(*({"lots": int(it)} for it in lots))
        inbox.put(worlds, times, rank, messages)
        for world, time_ns, it in zip(worlds, times, lots, strict=True):
            expected[world].append((int(time_ns), int(rank), int(it)))
        number += len(sent)
        for world in range(3):
            expected[world].sort()
            found = inbox.pending(world)
            assert [
                (int(row[ARRIVAL]), int(row[RANK]), int(row[MESSAGE + 2])) for row in found
            ] == expected[world]
            assert len(set(found[:, SEQUENCE].tolist())) == len(found)
            acting = min(taken, len(found))
            inbox.state[world, HEAD] += acting
            del expected[world][:acting]
