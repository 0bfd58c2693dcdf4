"""Actions field by field: the chain rule, masks and draws, what is kept on disk."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from mtsim.engine.sealed import sealed, unsealed
from mtsim.errors import IntegrityError, MissingError, StoreError, UsageError
from mtsim.model import ngram_file
from mtsim.model.field_ngram import (
    BOOK_HISTORIES,
    FieldNgram,
    Place,
    coded,
    plain_histories,
)
from mtsim.model.kneser_ney import sequence_examples
from mtsim.model.ngram_file import COUNTS, MANIFEST, Saved, read_ngram, write_ngram
from mtsim.model.ngram_scores import fit_tokens
from mtsim.model.schemas import schema_named
from mtsim.model.tokenizer import Tokenizer
from mtsim.model.vocabulary import BOS, EOS, PAD
from tests.model.generated_actions import batches_of, generated_actions
from tests.model.plain_kneser_ney import PlainKneserNey

BINS = {"add": 12, "cancel": 6, "lots": 4, "gap": 4}


def tokenizer_of(seed: int = 0) -> Tokenizer:
    actions = generated_actions(4000, seed)
    schema = schema_named("book", BINS)
    return Tokenizer.fit(schema, batches_of(actions, 1000), saw="made up")


def stretch(tokenizer: Tokenizer, n: int, seed: int) -> np.ndarray:
    """BOS, some actions, EOS. Half of them are what came two before, so that there is a law."""
    tokens = tokenizer.encode(generated_actions(n, seed)).tokens.astype(np.int64)
    again = np.random.default_rng(seed).random(len(tokens)) < 0.5
    for i in np.flatnonzero(again):
        tokens[i] = tokens[max(i - 2, 0)]
    return np.concatenate([[BOS], tokens, [EOS]])


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return tokenizer_of()


@pytest.fixture(scope="module")
def training(tokenizer) -> list[np.ndarray]:
    return [stretch(tokenizer, n, seed) for n, seed in ((2000, 1), (800, 2), (0, 3))]


@pytest.fixture(scope="module")
def model(tokenizer, training) -> FieldNgram:
    return FieldNgram.fit(tokenizer, training)


@pytest.fixture(scope="module")
def scored(tokenizer) -> np.ndarray:
    return stretch(tokenizer, 400, 4)


def walked(model: FieldNgram, tokenizer: Tokenizer, tokens: np.ndarray):
    """(recent, fields) before and of each action of a stretch that begins with BOS."""
    recent = model.opening(1)
    for row in coded(tokenizer, tokens[1:]):
        yield recent, row[None]
        recent = model.follow(recent, row[None])


def everything(model: FieldNgram, field: int, n: int) -> np.ndarray:
    return np.ones((n, model.radices[field]), bool)


class TestChainRule:
    def test_the_definition_gives_the_same_for_every_field(
        self, model, tokenizer, training, scored
    ):
        """Contexts are looked up here one by one, and counted in dictionaries."""

        def example(rows, i, field):
            before = [model.opening(1)[0, 1].tolist()] * 3
            known = before + rows
            context = [known[i + 3 - place.lag][place.field] for place in BOOK_HISTORIES[field]]
            return rows[i][field], context

        found = model.log_probabilities(tokenizer, scored)
        tables = [coded(tokenizer, tokens).tolist() for tokens in training]
        rows = coded(tokenizer, scored).tolist()
        for field in range(4):
            n_symbols = model.models[field].n_symbols
            examples = [example(table, i, field) for table in tables for i in range(1, len(table))]
            plain = PlainKneserNey([e for e in examples if e[0] < n_symbols], n_symbols)
            for i in (1, 2, 3, 4, 5, 50, 51):
                expected = plain.probability(*example(rows, i, field))
                assert found[i - 1, field] == pytest.approx(np.log(expected), abs=1e-9)

    def test_steps_of_a_closed_loop_have_the_probabilities_of_the_stretch(
        self, model, tokenizer, scored
    ):
        found = model.log_probabilities(tokenizer, scored)
        for i, (recent, fields) in enumerate(walked(model, tokenizer, scored[:-1])):
            total = 0.0
            for field in range(4):
                weights = model.weights(field, recent, fields, everything(model, field, 1))
                assert weights.sum() == pytest.approx(1)
                if field == 0:
                    # EOS is no code that a book allows: given that it does not come.
                    special = model.models[0].distributions(type_context(model, recent))[0, -3:]
                    weights = weights * (1 - special.sum())
                total += np.log(weights[0, fields[0, field]])
            assert total == pytest.approx(found[i].sum(), abs=1e-9)

    def test_all_combinations_of_fields_and_the_special_types_add_up_to_1(
        self, model, tokenizer, scored
    ):
        recent = list(walked(model, tokenizer, scored))[100][0]
        joint = np.ones(1)
        fields = np.full((1, 4), -1, np.int64)
        for field, radix in enumerate(model.radices):
            n = len(fields)
            weights = model.weights(
                field, np.repeat(recent, n, axis=0), fields, everything(model, field, n)
            )
            joint = (joint[:, None] * weights).reshape(-1)
            fields = np.repeat(fields, radix, axis=0)
            fields[:, field] = np.tile(np.arange(radix), n)
        assert len(joint) == np.prod(model.radices)
        assert joint.sum() == pytest.approx(1, abs=1e-9)
        types = model.models[0].distributions(type_context(model, recent))
        assert types.sum() == pytest.approx(1, abs=1e-12)

    def test_eos_is_its_type_alone(self, model, tokenizer, scored):
        found = model.log_probabilities(tokenizer, scored)
        assert scored[-1] == EOS
        assert found[-1, 0] < 0
        assert (found[-1, 1:] == 0).all()

    def test_a_stretch_of_nothing_but_its_beginning_has_no_probabilities(self, model, tokenizer):
        for tokens in ([], [BOS]):
            found = model.log_probabilities(tokenizer, np.array(tokens, np.int64))
            assert found.shape == (0, 4)

    def test_special_tokens_have_codes_of_their_own(self, model, tokenizer):
        types, *radices = model.radices
        expected = [[types + k, *radices] for k in (PAD, BOS, EOS)]
        assert coded(tokenizer, np.array([PAD, BOS, EOS])).tolist() == expected


def type_context(model: FieldNgram, recent: np.ndarray) -> np.ndarray:
    return np.stack([recent[:, lag - 1, field] for lag, field in model.histories[0]], axis=1)


class TestSkill:
    def test_what_was_shuffled_shows_no_skill_over_single_actions(self, tokenizer):
        """Fields of one action stay together: only what came before can have told nothing."""
        rng = np.random.default_rng(5)
        training = [rng.permutation(stretch(tokenizer, 8000, 6)[1:-1])]
        test = rng.permutation(stretch(tokenizer, 4000, 7)[1:-1])
        alone = tuple(tuple(Place(0, k) for k in range(field)) for field in range(4))
        models = [FieldNgram.fit(tokenizer, training, histories) for histories in (alone, None)]
        single, whole = (-m.log_probabilities(tokenizer, test).sum(axis=1).mean() for m in models)
        assert whole > single - 0.002

    def test_what_came_before_is_used_where_it_tells(self, tokenizer, training, scored):
        alone = tuple(tuple(Place(0, k) for k in range(field)) for field in range(4))
        twice = tuple((*(Place(0, k) for k in range(f)), Place(2, f)) for f in range(4))
        single, two = (
            -FieldNgram.fit(tokenizer, training, histories)
            .log_probabilities(tokenizer, scored)
            .sum(axis=1)
            .mean()
            for histories in (alone, twice)
        )
        assert two < single - 0.5


class TestMasksAndDraws:
    def test_a_mask_takes_away_and_leaves_the_rest_in_proportion(self, model, tokenizer, scored):
        rng = np.random.default_rng(6)
        for recent, fields in itertools.islice(walked(model, tokenizer, scored[:-1]), 50):
            for field, radix in enumerate(model.radices):
                whole = model.weights(field, recent, fields, everything(model, field, 1))[0]
                allowed = rng.random(radix) < 0.4
                allowed[rng.integers(radix)] = True
                masked = model.weights(field, recent, fields, allowed[None])[0]
                assert (masked[~allowed] == 0).all()
                assert (masked[allowed] > 0).all()
                expected = whole[allowed] / whole[allowed].sum()
                assert np.allclose(masked[allowed], expected, rtol=1e-12)

    def test_draws_are_allowed_and_follow_the_masked_distribution(self, model):
        units = (np.arange(20_000) + 0.5) / 20_000
        recent, fields = model.opening(1), np.array([[0, 1, 0, 0]])
        allowed = np.arange(model.radices[3]) != 1
        weights = model.weights(3, recent, fields, allowed[None])[0]
        rows = [np.repeat(array, len(units), axis=0) for array in (recent, fields, allowed[None])]
        counts = np.bincount(model.draw(3, *rows, units), minlength=len(allowed))
        assert counts[1] == 0
        assert np.abs(counts / len(units) - weights).max() < 1e-4

    def test_a_loop_of_its_own_draws_has_its_own_law(self, model, tokenizer, training):
        """What is drawn has, under the model, the entropy of the model: no field is left out."""
        rng = np.random.default_rng(7)
        n, steps = 64, 60
        recent = model.opening(n)
        codes = np.empty((steps, n, 4), np.int64)
        surprise = expected = 0.0
        for step in range(steps):
            fields = np.full((n, 4), -1, np.int64)
            for field in range(4):
                allowed = everything(model, field, n)
                weights = model.weights(field, recent, fields, allowed)
                fields[:, field] = model.draw(field, recent, fields, allowed, rng.random(n))
                surprise -= np.log(weights[np.arange(n), fields[:, field]]).mean()
                expected -= (weights * np.log(weights)).sum(axis=1).mean()
            codes[step] = fields
            recent = model.follow(recent, fields)
        assert surprise / steps == pytest.approx(expected / steps, abs=0.1)
        first = coded(tokenizer, np.concatenate([tokens[1:-1] for tokens in training]))
        drawn = np.bincount(codes[..., 0].reshape(-1), minlength=6) / codes[..., 0].size
        real = np.bincount(first[:, 0], minlength=6) / len(first)
        assert np.abs(drawn - real).max() < 0.05

    def test_a_mask_that_allows_nothing_is_our_own_mistake(self, model):
        nothing = ~everything(model, 0, 1)
        with pytest.raises(AssertionError, match="no code is allowed"):
            model.weights(0, model.opening(1), np.zeros((1, 4), np.int64), nothing)


class TestHistories:
    def test_other_schemas_have_plain_ones(self):
        assert plain_histories(2) == (
            (Place(1, 0), Place(1, 1)),
            (Place(0, 0), Place(1, 1), Place(1, 0)),
        )

    def test_another_schema_is_fitted_by_them(self):
        actions = generated_actions(6000)
        schema = schema_named("trades", {"move": 4, "size": 3, "gap": 3})
        other = Tokenizer.fit(schema, batches_of(actions, 1000), saw="made up")
        tokens = np.concatenate([[BOS], other.encode(actions).tokens, [EOS]])
        model = FieldNgram.fit(other, [tokens])
        assert model.histories == plain_histories(len(other.fields))
        found = model.log_probabilities(other, tokens)
        assert np.isfinite(found).all()
        assert found.shape == (len(tokens) - 1, len(other.fields))

    @pytest.mark.parametrize("place", [Place(0, 1), Place(1, 4), Place(-1, 0)])
    def test_a_code_not_known_yet_is_no_context(self, tokenizer, training, place):
        histories = ((), (place,), (), ())
        with pytest.raises(AssertionError):
            FieldNgram.fit(tokenizer, training, histories)

    def test_nothing_to_count_is_an_error(self, tokenizer):
        with pytest.raises(UsageError, match="there is nothing to count"):
            FieldNgram.fit(tokenizer, [np.array([BOS])])


@pytest.fixture
def folder(model, tmp_path) -> Path:
    model.save(tmp_path / "model")
    return tmp_path / "model"


class TestFiles:
    def test_what_is_loaded_is_what_was_saved(self, model, folder, tokenizer, scored):
        loaded = FieldNgram.load(folder, tokenizer)
        assert loaded.histories == model.histories
        assert np.array_equal(
            loaded.log_probabilities(tokenizer, scored), model.log_probabilities(tokenizer, scored)
        )
        for mine, other in zip(model.models, loaded.models, strict=True):
            assert mine.radices == other.radices
            for array, again in zip(mine.counts, other.counts, strict=True):
                assert array.dtype == again.dtype
                assert np.array_equal(array, again)

    def test_models_of_whole_tokens_are_kept_alike(self, tokenizer, training, scored, tmp_path):
        kept = {f"kn-{n}": fit_tokens(training, tokenizer.vocabulary, n) for n in (1, 3)}
        write_ngram(tmp_path / "model", Saved(tokenizer.sha256, {"why": "test"}, kept))
        found = read_ngram(tmp_path / "model", tokenizer.sha256)
        assert found.about == {"why": "test"}
        assert list(found.models) == ["kn-1", "kn-3"]
        for name, model in kept.items():
            symbols, contexts = sequence_examples([scored], model.order, PAD)
            assert np.array_equal(
                found.models[name].log_probabilities(symbols, contexts),
                model.log_probabilities(symbols, contexts),
            )

    def test_equal_models_are_equal_bytes(self, tokenizer, training, folder, tmp_path):
        FieldNgram.fit(tokenizer, training).save(tmp_path / "again")
        assert {path.name for path in folder.iterdir()} == {COUNTS, MANIFEST}
        for name in (COUNTS, MANIFEST):
            assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()

    @pytest.mark.parametrize("name", [COUNTS, MANIFEST])
    @pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.999])
    def test_a_flipped_bit_is_refused(self, folder, tokenizer, name, share):
        content = bytearray((folder / name).read_bytes())
        content[int(share * len(content))] ^= 1
        (folder / name).write_bytes(bytes(content))
        with pytest.raises(IntegrityError, match=name):
            FieldNgram.load(folder, tokenizer)

    def test_a_file_cut_short_or_gone_is_refused(self, folder, tokenizer):
        content = (folder / COUNTS).read_bytes()
        (folder / COUNTS).write_bytes(content[:-8])
        with pytest.raises(IntegrityError, match="Fit the model again"):
            FieldNgram.load(folder, tokenizer)
        (folder / COUNTS).unlink()
        with pytest.raises(IntegrityError, match="cannot be read"):
            FieldNgram.load(folder, tokenizer)

    def test_another_version_is_refused(self, folder, tokenizer):
        manifest = unsealed(folder / MANIFEST, "the manifest")
        (folder / MANIFEST).write_bytes(sealed({**manifest, "version": 99}))
        with pytest.raises(IntegrityError, match=r"\('mtsim-ngram', 99\)"):
            FieldNgram.load(folder, tokenizer)

    def test_tokens_of_another_tokenizer_are_refused(self, folder):
        with pytest.raises(UsageError, match="counts tokens of the tokenizer"):
            FieldNgram.load(folder, tokenizer_of(seed=1))

    def test_no_model_is_said(self, tokenizer, tmp_path):
        with pytest.raises(MissingError, match="no n-gram model"):
            FieldNgram.load(tmp_path / "none", tokenizer)

    def test_what_is_there_already_is_left_alone(self, model, folder):
        before = (folder / MANIFEST).read_bytes()
        with pytest.raises(UsageError, match="is there already"):
            model.save(folder)
        assert (folder / MANIFEST).read_bytes() == before

    def test_a_disk_that_takes_it_not_keeps_nothing(self, model, tmp_path, monkeypatch):
        def full(descriptor):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(ngram_file.os, "fsync", full)
        with pytest.raises(StoreError, match="No space left"):
            model.save(tmp_path / "model")
        assert list(tmp_path.iterdir()) == []
