"""The generator: likelihoods that are probabilities, draws that follow them."""

import itertools
import math
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from sks4 import S4Generator, _native
from sks4.nn import S4Stepper

SMALL = {"d_model": 4, "n_layers": 2, "d_state": 4, "max_epochs": 2, "batch_size": 8}
SMALL |= {"dtype": "float64", "random_state": 0}
REAL = ["gaussian", "mixture"]


def words(n=20, seed=0):
    """Return texts of 3 to 9 letters, the next of which is likely the next in the alphabet."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(n):
        steps = rng.choice([0, 1, 2], p=[0.1, 0.8, 0.1], size=rng.integers(3, 10))
        texts.append("".join("abc"[i % 3] for i in np.cumsum(steps)))
    return texts


def walks(n=20, n_channels=2, n_timepoints=12, seed=0):
    rng = np.random.default_rng(seed)
    return 50 + 10 * rng.normal(size=(n, n_channels, n_timepoints)).cumsum(axis=2)


def of_words(**options):
    return S4Generator(**SMALL | options).fit(words())


def of_walks(distribution="gaussian", n_channels=2, **options):
    generator = S4Generator(**SMALL | options, distribution=distribution)
    return generator.fit(walks(n_channels=n_channels))


WORDS = of_words()
WALKS = {distribution: of_walks(distribution) for distribution in REAL}


# -- likelihoods


@pytest.mark.parametrize("length", [1, 2, 4])
@pytest.mark.parametrize("norm", ["layer", "batch", None])
def test_probabilities_of_all_short_sequences_sum_to_one(length, norm):
    generator = of_words(norm=norm)
    everything = ["".join(letters) for letters in itertools.product("abc", repeat=length)]
    assert np.exp(generator.score_samples(everything)).sum() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("distribution", REAL)
@pytest.mark.parametrize("standardize", ["global", None])
def test_density_of_short_series_integrates_to_one(distribution, standardize):
    X = walks(n_channels=1) / 10
    options = {"distribution": distribution, "standardize": standardize, "max_epochs": 1}
    generator = S4Generator(**SMALL | options).fit(X)
    x = np.linspace(-300, 300, 8001)
    single = np.exp(generator.score_samples(x[:, np.newaxis, np.newaxis]))
    assert np.trapezoid(single, x) == pytest.approx(1, abs=1e-3)
    x = np.sinh(np.linspace(-8, 8, 401))  # narrow densities near 0, wide ones far away
    pairs = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    density = np.exp(generator.score_samples(pairs)).reshape(401, 401)
    assert np.trapezoid(np.trapezoid(density, x), x) == pytest.approx(1, abs=2e-3)


def stepped_log_likelihood(generator, u, y):
    """Return the sum over steps of the recurrence, for one sequence of inputs and targets."""
    model, likelihood = generator.net_.module_, generator.net_.criterion_
    stepper, total = S4Stepper(model.backbone), 0.0
    with torch.inference_mode():
        for t in range(u.shape[1]):
            output = model.head.linear(stepper.step(u[:, t]))
            total += likelihood.log_prob(output, y[:, t]).sum().item()
    return total


@pytest.mark.parametrize("ssm", ["s4", "s4d"])
def test_likelihood_of_a_text_is_the_sum_over_recurrent_steps(ssm):
    generator = of_words(ssm=ssm)
    texts = ["cab", "a", "abccba" * 20]
    for text, got in zip(texts, generator.score_samples(texts), strict=True):
        y = torch.tensor([["abc".index(letter) for letter in text]])
        u = torch.cat([torch.tensor([[3]]), y[:, :-1]], 1)
        assert got == pytest.approx(stepped_log_likelihood(generator, u, y), abs=1e-9)


@pytest.mark.parametrize("distribution", REAL)
def test_likelihood_of_a_series_is_the_sum_over_recurrent_steps(distribution):
    generator, X = WALKS[distribution], walks(n_timepoints=150, seed=1)[:2]
    standardizer = generator._predictor_.codec.encoder.standardizer_
    for x, got in zip(X, generator.score_samples(X), strict=True):
        z = torch.from_numpy((x.T - standardizer.mean_) / standardizer.scale_)[None]
        u = torch.zeros(1, 150, 3, dtype=torch.float64)
        u[:, 1:, :2], u[:, 0, 2] = z[:, :-1], 1
        expected = stepped_log_likelihood(generator, u, z) - 150 * np.log(standardizer.scale_).sum()
        assert got == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("distribution", REAL)
def test_density_changes_with_the_unit_as_it_must(distribution):
    X = walks()
    generator = clone(WALKS[distribution]).fit(1000 * X)
    expected = WALKS[distribution].score_samples(X) - X[0].size * math.log(1000)
    assert_allclose(generator.score_samples(1000 * X), expected, rtol=1e-6)


def test_long_sequence_in_pieces_has_the_likelihood_of_one_pass(monkeypatch):
    texts = ["abcabcaab" * 9, "ab"]
    expected = WORDS.score_samples(texts)
    monkeypatch.setattr("sks4.estimators._autoregression.MAX_TOKENS", 14)
    assert_allclose(WORDS.score_samples(texts), expected, rtol=1e-9)


@pytest.mark.parametrize("generator", [WORDS, *WALKS.values()], ids=["words", *REAL])
def test_likelihood_does_not_depend_on_order_or_company(generator):
    X = words(seed=2) if generator is WORDS else [x[:, : 3 + i % 7] for i, x in enumerate(walks())]
    expected = generator.score_samples(X)
    assert expected.shape == (20,)
    assert_allclose(generator.score_samples(X[::-1])[::-1], expected, rtol=1e-9)
    alone = [generator.score_samples([x])[0] for x in X]
    assert_allclose(alone, expected, rtol=1e-9)


@pytest.mark.parametrize("generator", [WORDS, WALKS["gaussian"]], ids=["words", "gaussian"])
def test_score_and_bits_are_means_of_the_likelihoods(generator):
    X = ["abc", "ab"] if generator is WORDS else [np.full((2, 3), 50.0), np.full((2, 1), 40.0)]
    n_values = 5 if generator is WORDS else 8
    log_likelihoods = generator.score_samples(X)
    assert generator.score(X) == pytest.approx(log_likelihoods.mean())
    bits = -log_likelihoods.sum() / math.log(2) / n_values
    assert generator.bits_per_dim(X) == pytest.approx(bits)


@pytest.mark.parametrize("missing", ["mask", "ffill"])
def test_missing_values_count_in_no_likelihood(missing):
    X = walks()
    X[3, 1, 4] = np.nan
    generator = S4Generator(**SMALL, distribution="gaussian", missing=missing).fit(X)
    x = X[3:4].copy()
    x[0, 0, -1] = np.nan  # the last value: nothing depends on it
    whole, without = generator.score_samples(np.concatenate([X[3:4], x]))
    one_value = X[3, 0, -1]
    others = np.tile(X[3], (4001, 1, 1))
    others[:, 0, -1] = np.linspace(one_value - 2000, one_value + 2000, 4001)
    densities = np.exp(generator.score_samples(others) - without)
    assert np.trapezoid(densities, others[:, 0, -1]) == pytest.approx(1, abs=1e-3)
    assert whole != without


@pytest.mark.parametrize("missing", ["mask", "ffill"])
def test_missing_symbols_count_in_no_likelihood(missing):
    X = np.array([["a", "b", "c", "a"], ["b", None, "a", None]] * 4, dtype=object)
    generator = S4Generator(**SMALL, missing=missing).fit(X[:, np.newaxis])
    everything = [np.array(["b", None, *x], dtype=object) for x in itertools.product("abc", "ab")]
    everything += [np.array(["b", None, x, "c"], dtype=object) for x in "abc"]
    total = np.exp(generator.score_samples(everything)).sum()
    only_b = np.exp(generator.score_samples([np.array(["b"])]))[0]
    assert total == pytest.approx(only_b)


# -- draws


def test_frequent_sequences_are_drawn_as_often_as_they_are_likely():
    everything = ["".join(letters) for letters in itertools.product("abc", repeat=2)]
    drawn = ["".join(row) for row in WORDS.sample(4000, 2, random_state=0)]
    shares = [drawn.count(text) / 4000 for text in everything]
    # four standard deviations of a share of 4,000
    assert_allclose(shares, np.exp(WORDS.score_samples(everything)), atol=4 * 0.5 / 4000**0.5)


def test_real_values_are_drawn_in_the_unit_of_the_data():
    generator = of_walks(max_epochs=30, lr=0.03)
    X, drawn = walks(500), generator.sample(500, 12, random_state=0)
    assert drawn.shape == (500, 2, 12)
    assert drawn.dtype == np.float64
    own = generator.score_samples(drawn)
    # the mean log-density of draws is the negative entropy; data cannot be more likely for long
    assert abs(own.mean() - generator.score(X)) < 0.35 * abs(own.mean())
    assert_allclose(drawn.mean(axis=(0, 2)), X.mean(axis=(0, 2)), atol=10)


@pytest.mark.parametrize("generator", [WORDS, *WALKS.values()], ids=["words", *REAL])
def test_same_seed_draws_the_same_and_global_generators_are_left_alone(generator):
    states = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = generator.sample(3, 8, random_state=1)
    assert_array_equal(generator.sample(3, 8, random_state=1), first)
    assert (generator.sample(3, 8, random_state=2) != first).any()
    assert (generator.sample(3, 8) != generator.sample(3, 8)).any()
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002


@pytest.mark.skipif(not _native.is_available(), reason="no compiled code")
@pytest.mark.parametrize("options", [{}, {"temperature": 0.5}, {"prompt": "ab"}, {"top_k": 2}])
@pytest.mark.parametrize("name", ["words", *REAL])
def test_both_paths_draw_the_same(monkeypatch, name, options):
    generator, is_words = {"words": WORDS, **WALKS}[name], name == "words"
    if not is_words and "top_k" in options:
        pytest.skip("values have no top_k")
    if "prompt" in options and not is_words:
        options = {"prompt": walks(1)[0, :, :4]}
    options = {"n_samples": 3, "length": 40, "random_state": 0} | options
    before = _native.N_CALLS["draw"]
    compiled = generator.sample(**options)
    assert _native.N_CALLS["draw"] > before
    monkeypatch.setattr(_native, "_core", None)
    plain = generator.sample(**options)
    if is_words:
        assert_array_equal(compiled, plain)
    else:
        assert_allclose(compiled, plain, rtol=1e-6)


@pytest.mark.parametrize("generator", [WORDS, *WALKS.values()], ids=["words", *REAL])
def test_longer_sequence_begins_with_the_shorter_one(path, monkeypatch, generator):
    monkeypatch.setattr("sks4.estimators._autoregression._BLOCK", 20)  # several blocks
    long, short = (generator.sample(2, length, random_state=0) for length in (45, 13))
    assert_array_equal(long[..., :13], short)


@pytest.mark.parametrize(
    ("generator", "shape"),
    [(WORDS, (3, 8)), (WALKS["mixture"], (3, 2, 8))],
    ids=["words", "mixture"],
)
def test_draws_have_the_length_asked_for_or_the_median(generator, shape):
    assert generator.sample(3, 8).shape == shape
    lengths = [len(text) for text in words()] if generator is WORDS else [12]
    assert generator.length_ == round(np.median(lengths))
    assert generator.sample().shape[-1] == generator.length_


@pytest.mark.parametrize("prompt", ["abca", np.array(list("abca")), ["abca"] * 3])
def test_prompt_of_symbols_is_continued(prompt):
    drawn = WORDS.sample(3, 6, prompt=prompt, random_state=0)
    assert ["".join(row[:4]) for row in drawn] == ["abca"] * 3
    greedy = WORDS.sample(3, 5, prompt=prompt, top_k=1)[0, 4]
    candidates = ["abca" + letter for letter in "abc"]
    assert greedy == "abc"[WORDS.score_samples(candidates).argmax()]


def test_each_draw_may_have_its_own_prompt():
    drawn = WORDS.sample(2, 6, prompt=["abca", "cccc"], top_k=1)
    alone = [WORDS.sample(1, 6, prompt=prompt, top_k=1)[0] for prompt in ("abca", "cccc")]
    assert_array_equal(drawn, alone)


@pytest.mark.parametrize("distribution", REAL)
def test_prompt_of_values_is_continued_as_the_density_says(distribution):
    generator, prompt = of_walks(distribution, n_channels=1), walks(n_channels=1)[0, :, :5]
    drawn = generator.sample(1000, 6, prompt=prompt, random_state=0)
    assert_allclose(drawn[..., :5], np.tile(prompt, (1000, 1, 1)))
    x = np.linspace(-200, 300, 5001)
    grid = np.concatenate([np.tile(prompt, (5001, 1, 1)), x[:, None, None]], axis=2)
    total = np.exp(generator.score_samples(grid)).cumsum()
    p_value = stats.kstest(drawn[:, 0, 5], lambda v: np.interp(v, x, total / total[-1])).pvalue
    assert p_value > 1e-3  # the hypothesis is true


def test_each_draw_of_values_may_have_its_own_prompt():
    prompts = walks()[:3, :, :5]
    assert_allclose(WALKS["mixture"].sample(3, 6, prompt=prompts)[..., :5], prompts)


def test_prompt_of_one_channel_needs_no_axis_for_it():
    generator = of_walks(n_channels=1)
    drawn = generator.sample(2, 6, prompt=[50.0, 51.0])
    assert_allclose(drawn[:, 0, :2], [[50, 51]] * 2)


def test_lower_temperature_draws_likelier_sequences():
    scores = [
        WORDS.score(["".join(row) for row in WORDS.sample(200, 8, temperature=t, random_state=0)])
        for t in (2.0, 1.0, 0.3)
    ]
    assert scores == sorted(scores)
    spread = [
        WALKS["gaussian"].sample(500, 2, temperature=t, random_state=0)[..., 0].std(axis=0)
        for t in (1.0, 0.25)
    ]
    assert_allclose(spread[1] / spread[0], 0.5, rtol=1e-6)


def test_top_k_leaves_the_least_probable_out():
    text = "abcab"
    least = "abc"[WORDS.score_samples([text + letter for letter in "abc"]).argmin()]
    drawn = WORDS.sample(300, 6, prompt=text, top_k=2, random_state=0)
    assert set(drawn[:, -1]) == set("abc") - {least}


# -- forms, symbols, tools of scikit-learn


@pytest.mark.parametrize(
    ("X", "symbols"),
    [
        (words(), list("abc")),
        ([word.encode() for word in words()], [97, 98, 99]),
        (np.array([[3, 1], [1, 2]] * 5), [1, 2, 3]),
        (pd.DataFrame([["x", "y"], ["y", "y"]] * 5), ["x", "y"]),
        ([np.array(["to", "be"]), np.array(["be"])] * 5, ["be", "to"]),
    ],
)
def test_draws_are_the_original_symbols(X, symbols):
    generator = S4Generator(**SMALL | {"max_epochs": 1}).fit(X)
    assert generator.symbols_.tolist() == symbols
    drawn = generator.sample(40, 3, random_state=0)
    assert set(drawn.ravel().tolist()) == set(symbols)
    assert drawn.dtype == generator.symbols_.dtype
    if not isinstance(X, pd.DataFrame):
        assert np.isfinite(generator.score_samples(X[:2])).all()


def test_padding_is_the_same_as_shorter_sequences():
    X = walks()
    X[::2, :, 9:] = np.nan
    ragged = [x[:, :9] if i % 2 == 0 else x for i, x in enumerate(X)]
    generator = S4Generator(**SMALL, distribution="mixture").fit(X)
    expected = S4Generator(**SMALL, distribution="mixture").fit(ragged).score_samples(ragged)
    assert_allclose(generator.score_samples(X), expected, rtol=1e-9)


def test_training_makes_the_data_likelier():
    trained = of_words(max_epochs=40, lr=0.03)
    assert trained.score(words(seed=5)) > WORDS.score(words(seed=5)) + 0.5
    assert trained.bits_per_dim(words(seed=5)) < math.log2(3) - 0.2


def test_weight_of_two_is_the_same_as_a_repeated_sequence():
    X, options = walks(8), SMALL | {"distribution": "gaussian", "dropout": 0.0, "batch_size": 16}
    options |= {"standardize": None, "lr_schedule": None}
    weighted = S4Generator(**options).fit(X, sample_weight=[2] * 4 + [1] * 4)
    repeated = S4Generator(**options).fit(np.concatenate([X, X[:4]]))
    assert_allclose(weighted.score_samples(X), repeated.score_samples(X), rtol=1e-6)


def test_validation_data_stops_training_early():
    options = {"max_epochs": 60, "patience": 2, "lr": 0.1}
    generator = S4Generator(**SMALL | options).fit(words(4), X_val=words(4, seed=9))
    assert generator.best_epoch_ <= generator.n_epochs_ < 60
    assert "valid_loss" in generator.history_[-1]
    set_aside = S4Generator(**SMALL, early_stopping=True, validation_fraction=0.2).fit(words())
    assert set_aside.history_[-1]["valid_batch_count"] == 1


def test_training_goes_on_with_warm_start_and_partial_fit():
    generator = S4Generator(**SMALL, warm_start=True).fit(words()).fit(words(seed=1))
    assert generator.n_epochs_ == 4
    online = S4Generator(**SMALL).partial_fit(["ab"] * 8, symbols=list("abc"))
    online.partial_fit(["cab"] * 8)
    assert online.symbols_.tolist() == ["a", "b", "c"]
    assert online.n_epochs_ == 2
    with pytest.raises(ValueError, match="symbols must be those of the first call"):
        online.partial_fit(["cab"] * 8, symbols=list("abcd"))
    online.set_params(distribution="gaussian")
    with pytest.raises(ValueError, match="distribution must stay as in the first fit"):
        online.partial_fit(walks())


@pytest.mark.parametrize("generator", [WORDS, *WALKS.values()], ids=["words", *REAL])
def test_pickled_generator_scores_and_draws_the_same(generator):
    X = words() if generator is WORDS else walks()
    other = pickle.loads(pickle.dumps(generator))
    assert_array_equal(other.score_samples(X), generator.score_samples(X))
    assert_array_equal(other.sample(2, 9, random_state=3), generator.sample(2, 9, random_state=3))


def test_grid_search_chooses_by_likelihood():
    search = GridSearchCV(WORDS, {"max_epochs": [1, 30]}, cv=2, error_score="raise").fit(words())
    assert search.best_params_ == {"max_epochs": 30}


def test_parameters_without_a_meaning_are_none():
    names = S4Generator().get_params()
    assert not {"bidirectional", "patch_size", "pooling"} & set(names)
    with pytest.raises(ValueError, match="Invalid parameter 'patch_size'"):
        S4Generator().set_params(patch_size=2)


# -- what a caller may get wrong


def test_unfitted_generator_refuses_everything():
    for call in (S4Generator().sample, lambda: S4Generator().score_samples(["a"])):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: WORDS.score_samples(["abd"]),
        lambda: WORDS.sample(1, 5, prompt="abd"),
        lambda: S4Generator(**SMALL).fit(words(), X_val=["abd"]),
    ],
)
def test_unknown_symbol_is_refused(call):
    message = r"must hold the 3 symbols of fit only \('a', 'b', 'c'\), got 'd'"
    with pytest.raises(ValueError, match=message):
        call()


def test_fractions_are_no_symbols():
    with pytest.raises(ValueError, match="For real values, pass distribution='gaussian'"):
        S4Generator(**SMALL).fit(walks())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 0}, "n_samples must be at least 1, got 0"),
        ({"length": 0}, "length must be at least 1, got 0"),
        ({"temperature": 0}, "temperature must be finite and above zero, got 0"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"prompt": "abcab"}, "must be larger than its 5 time points, got 5"),
        ({"prompt": ["ab", "ab"]}, r"with n_samples=1, got \(2, 2\)"),
    ],
)
def test_wrong_options_of_a_draw_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        WORDS.sample(**{"length": 5} | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 3}, "top_k must be None for real values, got 3. Use temperature"),
        (
            {"prompt": np.zeros(4)},
            r"shape \(2, n_timepoints\) or \(1, 2, n_timepoints\), got \(4,\)",
        ),
        ({"prompt": np.zeros((3, 2, 4))}, r"got \(3, 2, 4\)"),
        ({"prompt": np.full((2, 3), np.nan)}, "must hold finite numbers only"),
    ],
)
def test_wrong_options_of_a_draw_of_values_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        WALKS["gaussian"].sample(length=9, **options)


def test_missing_symbols_are_refused_if_asked():
    X = np.array([["a", None, "b"]], dtype=object)
    with pytest.raises(ValueError, match=r"no missing values with missing='error', got .* X\[0\]"):
        S4Generator(**SMALL, missing="error").fit(X[:, np.newaxis])


def test_scale_of_each_series_is_no_option():
    with pytest.raises(ValueError, match="The 'standardize' parameter"):
        S4Generator(distribution="gaussian", standardize="series").fit(walks())


@pytest.mark.gpu
def test_generator_on_a_gpu_equals_the_cpu():
    for generator, X in ((WORDS, words()), (WALKS["mixture"], walks())):
        other = pickle.loads(pickle.dumps(generator))
        other.net_.module_.cuda()
        assert_allclose(other.score_samples(X), generator.score_samples(X), rtol=1e-9)
        assert other.sample(2, 5).shape == generator.sample(2, 5).shape
