"""Data sets as a decoder reads them: windows inside segments, each target once, order by step."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtsim.errors import IntegrityError, MissingError, StoreError, UsageError
from mtsim.model.dataset import PAD, Dataset, Order
from mtsim.model.dataset_files import FEATURES, MANIFEST, STORE_NOTE, TOKENS, DatasetWriter
from mtsim.model.split import Part
from tests.model.made_up_dataset import made_up_dataset

PARTS = (Part.TRAIN, Part.VALIDATION, Part.NONE)


@st.composite
def layouts(draw) -> list[tuple[int, int, Part]]:
    sizes = draw(st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(any))
    return [
        (size, session // 2, draw(st.sampled_from(PARTS))) for session, size in enumerate(sizes)
    ]


def opened(layout: list[tuple[int, int, Part]]) -> Dataset:
    """A data set whose files are mapped, and so stay readable when the folder goes."""
    with tempfile.TemporaryDirectory() as folder:
        return made_up_dataset(Path(folder) / "data", layout)


def targets_of(layout, part: Part) -> list[int]:
    """The tokens of all positions of a part that have one before them in their segment."""
    found, first = [], 0
    for length, _, mine in layout:
        found += range(first + 2, first + length + 1) if mine == part else []
        first += length
    return found


class TestWindows:
    @given(layouts(), st.integers(1, 17), st.data())
    def test_every_position_that_follows_another_is_a_target_once(self, layout, context, data):
        scored = data.draw(st.integers(1, context))
        dataset = opened(layout)
        for part in PARTS:
            windows = dataset.windows(part, context, scored)
            targets = windows.batch(np.arange(len(windows))).targets
            found = sorted(targets[targets != PAD].tolist())
            assert found == targets_of(layout, part)
            assert windows.scored() == len(found)

    @given(layouts(), st.integers(1, 17), st.data())
    def test_no_window_reaches_out_of_its_segment(self, layout, context, data):
        scored = data.draw(st.integers(1, context))
        dataset = opened(layout)
        for part in PARTS:
            windows = dataset.windows(part, context, scored)
            last = windows.first + windows.n_inputs  # the position of the last target
            inside = (windows.first[:, None] >= dataset.segments["first"]) & (
                last[:, None] < dataset.segments["end"]
            )
            assert (inside.sum(axis=1) == 1).all()
            segment = inside.argmax(axis=1)
            assert (dataset.segments["part"][segment] == part).all()
            assert np.array_equal(dataset.segments["session"][segment], windows.session)

    @given(layouts(), st.integers(1, 17))
    def test_a_batch_is_what_the_files_say_and_padding(self, layout, context):
        dataset = opened(layout)
        windows = dataset.windows(Part.TRAIN, context)
        batch = windows.batch(np.arange(len(windows)))
        real = batch.tokens != PAD
        assert np.array_equal(real.sum(axis=1), windows.n_inputs)
        assert np.array_equal(batch.features[..., 0], batch.tokens)
        assert np.array_equal(batch.targets[real], batch.tokens[real] + 1)
        assert (batch.targets[~real] == PAD).all()

    def test_windows_are_full_where_a_segment_is_long_enough(self):
        dataset = opened([(9, 0, Part.TRAIN)])
        windows = dataset.windows(Part.TRAIN, 4)
        assert windows.first.tolist() == [0, 4]
        assert windows.n_inputs.tolist() == [4, 4]

    def test_what_is_scored_has_what_came_before_it_as_context(self):
        dataset = opened([(14, 0, Part.TEST)])
        windows = dataset.evaluation(Part.TEST, 6)
        batch = windows.batch(np.arange(len(windows)))
        assert batch.tokens[1].tolist() == [4, 5, 6, 7, 8, 9]
        assert batch.targets[1].tolist() == [PAD, PAD, PAD, 8, 9, 10]
        assert batch.targets[0].tolist() == [2, 3, 4, 5, 6, 7]

    @pytest.mark.parametrize("scored", [0, 5])
    def test_more_than_a_window_cannot_be_scored(self, scored):
        with pytest.raises(UsageError, match="a window of 4 positions cannot score"):
            opened([(9, 0, Part.TEST)]).windows(Part.TEST, 4, scored)


class TestEvaluation:
    LAYOUT = ((1001, 0, Part.TEST), (101, 1, Part.TEST), (11, 2, Part.TEST), (21, 2, Part.TEST))

    def test_a_sample_has_of_each_session_as_much_as_it_has(self):
        dataset = opened(list(self.LAYOUT))
        windows = dataset.evaluation(Part.TEST, 10, 10, most=43)
        assert len(windows) == 43
        assert np.bincount(windows.session).tolist() == [30, 10, 3]

    def test_a_sample_is_spread_over_the_session(self):
        dataset = opened(list(self.LAYOUT))
        windows = dataset.evaluation(Part.TEST, 10, 10, most=15)
        first = windows.first[windows.session == 0]
        assert len(first) == 6
        assert np.abs(np.diff(first) - 1000 / 6).max() <= 10
        assert first[0] <= 100
        assert first[-1] >= 900

    @given(layouts(), st.integers(1, 9), st.integers(1, 60))
    def test_a_sample_is_some_windows_of_all_each_once(self, layout, context, most):
        dataset = opened(layout)
        every = dataset.evaluation(Part.TRAIN, context)
        some = dataset.evaluation(Part.TRAIN, context, most=most)
        assert len(some) == min(most, len(every))
        assert len(set(some.first.tolist())) == len(some)
        assert set(some.first.tolist()) <= set(every.first.tolist())

    def test_nothing_cannot_be_scored(self):
        with pytest.raises(UsageError, match="at least one window"):
            opened(list(self.LAYOUT)).evaluation(Part.TEST, 10, most=0)


class TestOrder:
    @given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 2**63 - 1), st.integers(0, 3))
    def test_each_window_once_an_epoch(self, n_windows, batch, seed, epoch):
        order = Order(n_windows, batch, seed)
        first, end = epoch * n_windows, (epoch + 1) * n_windows
        steps = range(first // batch, -(-end // batch))
        dealt = np.concatenate([order.numbers(step) for step in steps])
        mine = dealt[first - steps[0] * batch :][:n_windows]
        assert np.array_equal(np.sort(mine), np.arange(n_windows))

    @given(st.integers(1, 300), st.integers(1, 8), st.sampled_from([1, 2, 3, 4, 6, 12]))
    def test_any_number_of_processes_shares_the_same_order(self, n_windows, step, world_size):
        order = Order(n_windows, 12, seed=3)
        shares = [order.numbers(step, rank, world_size) for rank in range(world_size)]
        assert np.array_equal(np.concatenate(shares), order.numbers(step))

    @given(st.integers(1, 300), st.integers(1, 5), st.integers(0, 50))
    def test_the_batch_size_does_not_change_the_order(self, n_windows, batch, step):
        """Four steps of a batch are one of four times the batch."""
        small, large = Order(n_windows, batch, 5), Order(n_windows, 4 * batch, 5)
        four = [small.numbers(4 * step + k) for k in range(4)]
        assert np.array_equal(np.concatenate(four), large.numbers(step))

    def test_another_seed_and_another_epoch_are_another_order(self):
        one, other = Order(500, 500, 1), Order(500, 500, 2)
        assert not np.array_equal(one.numbers(0), other.numbers(0))
        assert not np.array_equal(one.numbers(0), one.numbers(1))
        assert np.array_equal(one.numbers(7), Order(500, 500, 1).numbers(7))

    def test_epochs_are_counted_in_windows(self):
        assert Order(100, 10, 1).epoch(25) == 2.5

    def test_a_batch_that_cannot_be_shared_evenly_is_refused(self):
        with pytest.raises(UsageError, match="10 windows cannot be shared by 4 processes"):
            Order(100, 10, 1).numbers(0, 0, 4)

    @pytest.mark.parametrize(("n_windows", "batch"), [(0, 1), (1, 0)])
    def test_without_windows_there_is_no_order(self, n_windows, batch):
        with pytest.raises(UsageError):
            Order(n_windows, batch, 1)


LAYOUT = [(30, 0, Part.TRAIN), (10, 1, Part.TEST)]


def test_a_data_set_says_where_its_store_was(tmp_path):
    dataset = made_up_dataset(tmp_path / "d", [(5, 0, Part.TRAIN)])
    assert dataset.store == (tmp_path / "store").resolve()
    (dataset.folder / STORE_NOTE).unlink()
    with pytest.raises(MissingError, match="does not say where its store was"):
        _ = Dataset.open(dataset.folder).store


class TestFiles:
    def test_a_folder_without_a_data_set_is_said(self, tmp_path):
        with pytest.raises(MissingError, match="mtsim data prepare"):
            Dataset.open(tmp_path)

    @pytest.mark.parametrize("name", ["segments.parquet", "tokenizer.json", MANIFEST])
    def test_a_changed_small_file_is_found_when_the_data_set_is_opened(self, tmp_path, name):
        path = made_up_dataset(tmp_path / "d", LAYOUT).folder / name
        path.write_bytes(path.read_bytes().replace(b"0", b"1") + b"\n")
        with pytest.raises(IntegrityError, match=name):
            Dataset.open(path.parent)

    @pytest.mark.parametrize("name", [TOKENS, FEATURES])
    def test_a_large_file_of_another_size_is_found_when_it_is_opened(self, tmp_path, name):
        path = made_up_dataset(tmp_path / "d", LAYOUT).folder / name
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(IntegrityError, match=name):
            Dataset.open(path.parent)
        path.unlink()
        with pytest.raises(IntegrityError, match=name):
            Dataset.open(path.parent)

    @pytest.mark.parametrize("name", [TOKENS, FEATURES])
    def test_a_flipped_bit_is_found_when_all_is_verified(self, tmp_path, name):
        dataset = made_up_dataset(tmp_path / "d", LAYOUT)
        dataset.verify()
        content = bytearray((dataset.folder / name).read_bytes())
        content[17] ^= 4
        (dataset.folder / name).write_bytes(content)
        with pytest.raises(IntegrityError, match=name):
            Dataset.open(dataset.folder).verify()

    def test_what_is_there_already_is_left_alone(self, tmp_path):
        made_up_dataset(tmp_path / "d", LAYOUT)
        with pytest.raises(UsageError, match="is there already"):
            made_up_dataset(tmp_path / "d", LAYOUT)
        Dataset.open(tmp_path / "d").verify()

    def test_an_error_leaves_nothing(self, tmp_path):
        def fail():
            with DatasetWriter(tmp_path / "d") as writer:
                writer.grow(TOKENS).append(np.arange(10))
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        assert list(tmp_path.iterdir()) == []

    def test_what_a_killed_process_left_is_no_data_set_and_goes_with_the_next_try(self, tmp_path):
        program = (
            "import os, sys\nimport numpy as np\nfrom pathlib import Path\n"
            "from mtsim.model.dataset_files import DatasetWriter\n"
            "writer = DatasetWriter(Path(sys.argv[1])).__enter__()\n"
            "writer.grow('tokens.bin').append(np.arange(1000))\n"
            "writer.scratch('actions').append(np.arange(1000))\n"
            "os.kill(os.getpid(), 9)\n"
        )
        done = subprocess.run([sys.executable, "-c", program, tmp_path / "d"], check=False)
        assert done.returncode == -9
        assert [path.name for path in tmp_path.iterdir()] == ["d.part"]
        made_up_dataset(tmp_path / "d", LAYOUT)
        assert [path.name for path in tmp_path.iterdir()] == ["d"]

    def test_two_at_a_time_are_refused(self, tmp_path):
        with (
            DatasetWriter(tmp_path / "d"),
            pytest.raises(StoreError, match="another process"),
            DatasetWriter(tmp_path / "d"),
        ):
            pass

    @pytest.mark.parametrize("room", range(8))
    def test_a_full_disk_is_a_clear_error_and_leaves_nothing(self, tmp_path, monkeypatch, room):
        left = room
        real = os.fsync

        def fsync(descriptor: int) -> None:
            nonlocal left
            if left == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            left -= 1
            real(descriptor)

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", fsync)
            with pytest.raises(StoreError, match="No space left on device"):
                made_up_dataset(tmp_path / "d", LAYOUT)
        # The last sync is of the folder above: the data set is whole by then.
        assert [path.name for path in tmp_path.iterdir()] == (["d"] if room == 7 else [])
