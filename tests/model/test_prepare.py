"""Stores into data sets: what is fitted, what is encoded, what is left after a kill."""

import hashlib
import random
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from mtsim.errors import IntegrityError, StoreError, UsageError
from mtsim.model.dataset import Dataset
from mtsim.model.dataset_files import STORE_NOTE, TOKENIZER
from mtsim.model.history import observe_session
from mtsim.model.ingest import import_files
from mtsim.model.liquidity import TIER_EDGES, Liquidity, tier, traded_value
from mtsim.model.past import Settings
from mtsim.model.prepare import Wishes, prepare
from mtsim.model.schemas import schema_named
from mtsim.model.sources.base import Options
from mtsim.model.sources.lobster import open_sessions as open_lobster
from mtsim.model.split import Part, Split, loads
from mtsim.model.store import Store
from mtsim.model.tokenizer import Tokenizer
from mtsim.model.vocabulary import BOS, EOS, PAD
from tests.model.made_up_store import busy_store, import_busy

BINS = {
    "book": {"add": 10, "cancel": 6, "lots": 4, "gap": 4},
    "tradefm": {"price": 6, "lots": 6, "gap": 6},
    "trades": {"move": 5, "size": 4, "gap": 4},
    "trades-579": {},
}
DAYS = {"A": 5, "B": 4, "C": 1}


def wishes(schema: str = "book", split: str = "", **more) -> Wishes:
    rules = loads(split) if split else Split()
    return Wishes(schema_named(schema, BINS[schema]), rules, **more)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != STORE_NOTE
    }


def tokenizer_of(dataset: Dataset) -> Tokenizer:
    return Tokenizer.from_json((dataset.folder / TOKENIZER).read_text())


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return busy_store(tmp_path_factory.mktemp("busy") / "store", DAYS)


@pytest.fixture(scope="module")
def dataset(store, tmp_path_factory) -> Dataset:
    split = "held_out: [B]\npurge_events: 50"
    return prepare(store, tmp_path_factory.mktemp("data") / "book", wishes(split=split)).dataset


@pytest.fixture
def copied(store, tmp_path) -> Store:
    """A store of one's own, to be changed."""
    shutil.copytree(store.folder, tmp_path / "store")
    return Store(tmp_path / "store")


# What is in the files -----------------------------------------------------------------------------


@pytest.mark.parametrize("schema", list(BINS))
@pytest.mark.parametrize("quiet_ns", [0, 2_000_000])
def test_the_files_are_what_observing_and_encoding_give(store, tmp_path, schema, quiet_ns):
    asked = wishes(schema, sessions="UP A *", quiet_ns=quiet_ns)
    dataset = prepare(store, tmp_path / "out", asked).dataset
    tokenizer = tokenizer_of(dataset)
    tokens, features = [], []
    for told in dataset.manifest["sessions"]:
        (session,) = [one for one in store.sessions() if str(one.key) == told["session"]]
        past = tokenizer.new_past()
        settings = Settings(tier=told["liquidity_tier"])
        (observed,) = observe_session(session, settings, quiet_ns=quiet_ns)
        encoded = tokenizer.encode(observed.actions, past)
        spelled = np.full(len(observed.actions), -1, np.int64)
        spelled[encoded.kept] = encoded.tokens
        begin = 0
        for end, closing in zip(observed.closed, observed.closing_features, strict=True):
            kept = np.flatnonzero(spelled[begin:end] >= 0) + begin
            if len(kept):
                tokens += [BOS, *spelled[kept].tolist(), EOS]
                features += [*observed.features[kept], closing, np.zeros_like(closing)]
            begin = end
        assert told["stretches"] == len(observed.closed)
        assert (told["stretches"] > 1) == (quiet_ns > 0)
    assert dataset.tokens.tolist() == tokens
    assert np.array_equal(dataset.features, np.array(features))


@pytest.mark.parametrize("schema", ["book", "tradefm", "trades", "trades-579"])
def test_what_was_trained_on_has_tokens_of_its_own(store, tmp_path, schema):
    """Training sees each session as encoding does: from its beginning, with no past."""
    dataset = prepare(store, tmp_path / "out", wishes(schema, sessions="[AB]")).dataset
    assert dataset.manifest["parts"]["train"]["sessions"] == 5
    assert dataset.manifest["parts"]["train"]["edited"] == 0
    tokenizer = tokenizer_of(dataset)
    training = dataset.segments[dataset.segments["part"] == Part.TRAIN]
    counts = np.zeros(tokenizer.vocabulary, np.int64)
    for row in training:
        tokens = dataset.tokens[row["first"] : row["end"]]
        counts += np.bincount(tokens, minlength=tokenizer.vocabulary)
    assert np.array_equal(counts[3:], tokenizer.counts[3:])


def test_segments_cover_every_position_and_keep_sessions_apart(dataset):
    segments = dataset.segments
    assert segments["first"][0] == 0
    assert np.array_equal(segments["first"][1:], segments["end"][:-1])
    assert segments["end"][-1] == len(dataset.tokens) == dataset.manifest["positions"]
    assert (segments["end"] > segments["first"]).all()
    # Where the session changes, a stretch has ended and another begins.
    changes = np.flatnonzero(np.diff(segments["session"]))
    assert len(changes) == len(dataset.manifest["sessions"]) - 1
    assert (dataset.tokens[segments["first"][changes + 1]] == BOS).all()
    assert (dataset.tokens[segments["end"][changes] - 1] == EOS).all()


def test_no_segment_reaches_across_a_stretch(store, tmp_path):
    asked = wishes(sessions="A", quiet_ns=2_000_000)
    dataset = prepare(store, tmp_path / "out", asked).dataset
    inside = [dataset.tokens[row["first"] + 1 : row["end"]] for row in dataset.segments]
    assert not any((tokens == BOS).any() for tokens in inside)
    inside = [dataset.tokens[row["first"] : row["end"] - 1] for row in dataset.segments]
    assert not any((tokens == EOS).any() for tokens in inside)
    assert len(dataset.segments) > 20


def test_the_manifest_counts_what_is_there(dataset):
    lengths = dataset.segments["end"] - dataset.segments["first"]
    for part in Part:
        mine = dataset.segments["part"] == part
        said = dataset.manifest["parts"].get(part.name.lower(), {"positions": 0})
        assert said["positions"] == lengths[mine].sum()
    for number, told in enumerate(dataset.manifest["sessions"]):
        actions = sum(part["actions"] for part in told["parts"].values())
        assert actions + sum(told["dropped"].values()) == told["actions"]
        mine = lengths[dataset.segments["session"] == number]
        assert mine.sum() == actions + 2 * told["stretches"]
        assert told["silent"]["REFUSED"] > 0
    dataset.verify()


# Parts --------------------------------------------------------------------------------------------


def test_a_held_out_symbol_is_only_scored(dataset):
    by_session = [told["symbol"] for told in dataset.manifest["sessions"]]
    parts = {symbol: set() for symbol in DAYS}
    for row in dataset.segments:
        parts[by_session[row["session"]]].add(Part(row["part"]))
    assert parts["B"] == {Part.HELD_OUT}
    assert Part.HELD_OUT not in parts["A"] | parts["C"]


def test_a_single_day_is_divided_in_time_with_a_purge(dataset, store):
    (number,) = [k for k, told in enumerate(dataset.manifest["sessions"]) if told["symbol"] == "C"]
    told = dataset.manifest["sessions"][number]
    mine = dataset.segments[dataset.segments["session"] == number]
    order = [Part.TRAIN, Part.NONE, Part.VALIDATION, Part.NONE, Part.TEST]
    assert mine["part"].tolist() == order
    lengths = (mine["end"] - mine["first"]).tolist()
    assert lengths[1] == lengths[3] == 50
    assert sum(lengths) == told["actions"] + 2
    (session,) = [one for one in store.sessions() if one.key.symbol == "C"]
    (observed,) = observe_session(session)
    n_actions = len(observed.actions)
    for share, first in ((0.7, lengths[0] - 1), (0.85, sum(lengths[:3]) - 1)):
        assert int(share * n_actions) == first


def test_a_session_too_short_to_be_divided_is_of_no_part_and_named(store, tmp_path):
    asked = wishes(split="purge_events: 3000")
    manifest = prepare(store, tmp_path / "out", asked).dataset.manifest
    (short,) = [told for told in manifest["sessions"] if told["too_short"]]
    assert short["symbol"] == "C"
    assert list(short["parts"]) == ["none"]


def test_sessions_that_are_all_too_short_are_an_error(store, tmp_path):
    with pytest.raises(UsageError, match=r"not one action to train on.*smaller purge_events"):
        prepare(store, tmp_path / "out", wishes(split="purge_events: 3000", sessions="C"))
    assert list(tmp_path.iterdir()) == []


def test_purged_days_are_left_out_and_named(store, tmp_path):
    asked = wishes(split="purge_days: 1", sessions="A")
    manifest = prepare(store, tmp_path / "out", asked).dataset.manifest
    assert manifest["left_out"] == ["UP A 2020-01-02", "UP A 2020-01-04"]
    assert [told["date"] for told in manifest["sessions"]] == [
        "2020-01-01",
        "2020-01-03",
        "2020-01-05",
    ]


# What is fitted -----------------------------------------------------------------------------------

SPLIT = "held_out: [B]\npurge_events: 50"


@pytest.mark.parametrize(
    ("symbol", "day", "seen"),
    [("A", 1, True), ("A", 3, True), ("A", 4, False), ("A", 5, False), ("B", 1, False)],
)
def test_the_tokenizer_sees_training_days_alone(dataset, copied, tmp_path, symbol, day, seen):
    """Another day of training makes another tokenizer; one of validation, test or held out none."""
    import_busy(copied, 4100, symbol=symbol, day=date(2020, 1, day), seed=77)
    other = prepare(copied, tmp_path / "out", wishes(split=SPLIT)).dataset
    assert other.manifest["identity"] != dataset.manifest["identity"]
    same = (other.folder / TOKENIZER).read_bytes() == (dataset.folder / TOKENIZER).read_bytes()
    assert same != seen


def test_the_tokenizer_sees_no_more_of_a_divided_day_than_its_training_part(store, tmp_path):
    """What it saw is, byte by byte, the training part's share of the actions."""
    dataset = prepare(store, tmp_path / "out", wishes(sessions="C", split=SPLIT[14:])).dataset
    (session,) = [one for one in store.sessions() if one.key.symbol == "C"]
    (observed,) = observe_session(session)
    actions = observed.actions
    training = actions[: int(0.7 * len(actions))]
    tokenizer = tokenizer_of(dataset)
    assert tokenizer.content.saw == hashlib.sha256(training.tobytes()).hexdigest()
    assert tokenizer.counts.sum() == len(training)
    assert dataset.manifest["parts"]["train"]["edited"] == 0
    assert dataset.manifest["tokenizer_sha256"] == tokenizer.sha256


def test_edits_are_counted_by_part(store, tmp_path):
    dataset = prepare(store, tmp_path / "out", wishes(sessions="C", split=SPLIT[14:])).dataset
    (session,) = [one for one in store.sessions() if one.key.symbol == "C"]
    (observed,) = observe_session(session)
    encoded = tokenizer_of(dataset).encode(observed.actions)
    parts = dataset.manifest["parts"]
    assert sum(part["edited"] for part in parts.values()) == encoded.edits > 0
    assert parts["test"]["edit_rate"] == pytest.approx(
        parts["test"]["edited"] / parts["test"]["actions"], abs=1e-9
    )


# Real data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", list(BINS))
def test_a_real_day_is_prepared_with_the_bins_that_are_the_default(market_data, tmp_path, schema):
    file = market_data / "lobster/AMZN_2012-06-21_34200000_57600000_message_5.csv.zst"
    store = Store(tmp_path / "store")
    list(import_files(open_lobster, (str(file),), Options(), store, keep=True))
    asked = Wishes(schema_named(schema))
    dataset = prepare(store, tmp_path / "out", asked).dataset
    dataset.verify()
    parts = dataset.manifest["parts"]
    takers = schema.startswith("trades")
    assert parts["train"]["actions"] > (3_000 if takers else 100_000)
    assert 0.5 < parts["train"]["actions"] / sum(p["actions"] for p in parts.values()) < 0.8
    assert parts["train"]["edited"] == 0
    assert np.isfinite(dataset.features).all()
    windows = dataset.evaluation(Part.TEST, 64, most=8)
    assert (windows.batch(np.arange(8)).targets[:, 32:] != PAD).all()


# Liquidity ----------------------------------------------------------------------------------------


def test_tiers_begin_at_powers_of_ten():
    assert [tier(value) for value in (0, 1, 99_999, 100_000, 1e6, 1e11, 1e15)] == [
        0,
        1,
        1,
        2,
        3,
        8,
        8,
    ]
    assert len(TIER_EDGES) == 7


def test_a_tier_is_of_the_days_before_and_0_on_the_first(store, dataset):
    days = [one for one in store.sessions() if one.key.symbol == "A"]
    liquidity = Liquidity(store.sessions())
    assert liquidity.tier_of(days[0].key) == 0
    mean = (traded_value(days[0]) + traded_value(days[1])) / 2
    assert liquidity.tier_of(days[2].key) == tier(mean) > 0
    told = [t["liquidity_tier"] for t in dataset.manifest["sessions"] if t["symbol"] == "A"]
    assert told[0] == 0
    assert all(told[1:])


def test_the_traded_value_is_that_of_the_fills(store):
    session = store.sessions()[0]
    rows = np.concatenate(list(session.events()))
    filled = rows[rows["filled_lots"] > 0]
    exact = (filled["price_tick"].astype(float) * filled["filled_lots"]).sum() * 0.01
    assert traded_value(session) == pytest.approx(exact, rel=0.05)


# Whole or not at all ------------------------------------------------------------------------------


def test_equal_stores_give_equal_bytes_wherever_they_lie(dataset, copied, tmp_path):
    other = prepare(copied, tmp_path / "elsewhere", wishes(split=SPLIT)).dataset
    assert digests(other.folder) == digests(dataset.folder)
    assert str(tmp_path).encode() not in (other.folder / "manifest.json").read_bytes()


def test_just_this_data_set_is_passed_over(dataset, store):
    before = digests(dataset.folder)
    assert not prepare(store, dataset.folder, wishes(split=SPLIT)).fresh
    assert digests(dataset.folder) == before


@pytest.mark.parametrize(
    "other",
    [
        {"schema": "tradefm"},
        {"split": "held_out: [A]"},
        {"sessions": "[AB]"},
        {"quiet_ns": 10**9},
        {"settings": Settings(flow_half_life_ns=10**9)},
    ],
)
def test_another_data_set_is_not_written_over(dataset, store, other):
    before = digests(dataset.folder)
    with pytest.raises(UsageError, match="holds another data set"):
        prepare(store, dataset.folder, wishes(**{"split": SPLIT, **other}))
    assert digests(dataset.folder) == before


def test_a_folder_of_something_else_is_left_alone(store, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        prepare(store, tmp_path, wishes())
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_no_session_is_said_with_those_there_are(store, tmp_path):
    with pytest.raises(UsageError, match=r"no session that 'Z\*' names; it holds UP A 2020-01-01"):
        prepare(store, tmp_path / "out", wishes(sessions="Z*"))


def test_a_damaged_session_is_an_error_and_leaves_nothing(copied, tmp_path):
    part = next(copied.folder.rglob("000000-*.parquet"))
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    with pytest.raises(IntegrityError, match=part.name):
        prepare(copied, tmp_path / "out", wishes())
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_bins_that_cannot_be_had_leave_nothing(store, tmp_path):
    asked = replace(wishes(split=SPLIT), schema=schema_named("book", {"lots": 1000}))
    with pytest.raises(UsageError, match="bins of lots: 1000 bins were asked for"):
        prepare(store, tmp_path / "out", asked)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("most_bytes", [20_000, 200_000, 2_000_000])
def test_a_full_disk_is_a_clear_error_and_leaves_nothing(store, tmp_path, most_bytes):
    """A limit on the size of files stands for the disk's: writing fails in the middle of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        with pytest.raises(StoreError, match=r"could not be written: .*make room"):
            prepare(store, tmp_path / "out", wishes(split=SPLIT))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_progress_goes_from_nothing_to_everything_three_times(store, tmp_path):
    seen: dict[str, list[int]] = {}

    def progress(what: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        seen.setdefault(what.split()[0], []).append(done)

    prepare(store, tmp_path / "out", wishes(sessions="A"), progress)
    assert list(seen) == ["observing", "fitting", "encoding"]
    assert seen["observing"] == sorted(seen["observing"])
    assert seen["encoding"] == sorted(seen["encoding"])


# Kill it ------------------------------------------------------------------------------------------

_PROGRAM = """
import sys
from mtsim.model.prepare import prepare
from mtsim.model.store import Store
from tests.model.test_prepare import SPLIT, wishes
print("go", flush=True)
prepare(Store(sys.argv[1]), sys.argv[2], wishes(split=SPLIT))
"""


def kill_at(store: Store, out: Path, after_s: float) -> bool:
    """Prepare in a process of its own, killed after so many seconds; whether that cut it short."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(store.folder), str(out)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"go\n"
    time.sleep(after_s)
    process.kill()
    process.stdout.close()
    return process.wait() == -9


def killed_and_rerun(store: Store, whole: Dataset, tmp_path: Path, kills: int) -> None:
    start = time.monotonic()
    prepare(store, tmp_path / "timed", wishes(split=SPLIT))
    seconds = time.monotonic() - start
    draw = random.Random(5)
    cut = 0
    for n in range(kills):
        out = tmp_path / f"out{n}"
        was_cut = kill_at(store, out, draw.uniform(0, seconds))
        cut += was_cut
        assert out.exists() or was_cut
        again = prepare(store, out, wishes(split=SPLIT))
        assert digests(again.dataset.folder) == digests(whole.folder)
        assert not out.with_name(out.name + ".part").exists()
    assert cut


def test_a_killed_preparation_is_done_by_running_it_again(store, dataset, tmp_path):
    killed_and_rerun(store, dataset, tmp_path, 1)


@pytest.mark.slow
def test_kills_at_many_moments(store, dataset, tmp_path):
    killed_and_rerun(store, dataset, tmp_path, 10)


# Large stores -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_twenty_million_events_take_less_than_a_gigabyte(tmp_path):
    program = f"""
import resource
from pathlib import Path
from mtsim.model.prepare import Wishes, prepare
from mtsim.model.schemas import schema_named
from mtsim.model.sources.base import Options
from mtsim.model.sources.lobster import open_sessions as open_lobster
from mtsim.model.store import Store
wishes = Wishes(schema_named("book"))
done = prepare(Store({str(tmp_path / "store")!r}), {str(tmp_path / "out")!r}, wishes)
assert done.dataset.manifest["positions"] > 19_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    import_busy(Store(tmp_path / "store"), 20_000_000)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    shutil.rmtree(tmp_path / "out")
    assert int(done.stdout) * 1024 < 10**9
