"""Encoded actions as they lie in the files, against lists built one position at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtsim.model.dataset_files import DatasetWriter
from mtsim.model.sequences import Sequences
from mtsim.model.vocabulary import BOS, EOS

# A stretch: its actions as (token, part), and where they are cut into calls.
stretches = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(3, 60_000), st.integers(0, 4)), max_size=12),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=8,
)


def expected(sessions) -> tuple[list[int], list[int], list[tuple[int, int, int]]]:
    """Tokens, the one feature, and (session, stretch, part) of every position."""
    tokens, features, labels = [], [], []
    clock = 0
    for session, actions, stretch in sessions:
        marks = []
        for _ in actions:
            clock += 1
            marks.append(clock)
        clock += 1
        if not actions:
            continue
        tokens += [BOS, *(token for token, _ in actions), EOS]
        features += [*marks, clock, 0]
        parts = [actions[0][1], *(part for _, part in actions), actions[-1][1]]
        labels += [(session, stretch, part) for part in parts]
    return tokens, features, labels


@given(stretches)
def test_stretches_lie_between_bos_and_eos_and_segments_are_runs_of_one_part(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("out")
    told = [(n // 3, actions, n) for n, (actions, _) in enumerate(cut)]
    with DatasetWriter(folder / "d") as writer:
        tokens, features = writer.grow("tokens.bin"), writer.grow("features.bin")
        sequences = Sequences(tokens, features, np.dtype("<u2"), 1)
        clock = 0
        for (session, actions, _), (_, size) in zip(told, cut, strict=True):
            for start in range(0, len(actions), size or 100):
                some = actions[start : start + (size or 100)]
                marks = np.arange(clock + 1, clock + 1 + len(some), dtype=np.float32)
                clock += len(some)
                sequences.add(
                    session,
                    np.array([token for token, _ in some]),
                    marks.reshape(-1, 1),
                    np.array([part for _, part in some], np.uint8),
                )
            clock += 1
            sequences.end(session, np.array([clock], np.float32))
        tokens.set_aside()
        features.set_aside()
        found_tokens = np.fromfile(tokens.path, "<u2").tolist()
        found_features = np.fromfile(features.path, "<f4").tolist()

    wanted_tokens, wanted_features, labels = expected(told)
    assert found_tokens == wanted_tokens
    assert found_features == wanted_features
    assert sequences.positions == len(labels)
    runs = [0, *(k for k in range(1, len(labels)) if labels[k] != labels[k - 1])] if labels else []
    ends = [*runs[1:], len(labels)]
    assert [tuple(row)[:4] for row in sequences.segments().tolist()] == [
        (first, end, labels[first][0], labels[first][2])
        for first, end in zip(runs, ends, strict=bool(runs))
    ]


@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
def test_tokens_are_as_wide_as_was_said(tmp_path, dtype):
    with DatasetWriter(tmp_path / "d") as writer:
        tokens, features = writer.grow("tokens.bin"), writer.grow("features.bin")
        sequences = Sequences(tokens, features, np.dtype(dtype), 2)
        sequences.add(0, np.array([9]), np.zeros((1, 2), np.float32), np.zeros(1, np.uint8))
        sequences.end(0, np.zeros(2, np.float32))
        assert tokens.bytes == 3 * np.dtype(dtype).itemsize
        assert features.bytes == 3 * 2 * 4
