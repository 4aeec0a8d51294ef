"""Progress of all estimators: on a terminal, in a file and in the log."""

import logging
import pickle
import re

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from skorch.callbacks import Callback
from tqdm import tqdm

from sks4 import S4Classifier, S4Forecaster, S4Generator, S4Regressor
from sks4.training import _progress

TINY = {"d_model": 4, "n_layers": 1, "d_state": 4, "max_epochs": 2, "random_state": 0}
X = np.random.default_rng(0).normal(size=(24, 1, 20))
FITS = {
    "classifier": lambda **p: S4Classifier(**TINY, **p).fit(X, np.arange(24) % 2),
    "regressor": lambda **p: S4Regressor(**TINY, **p).fit(X, np.arange(24.0)),
    "forecaster": lambda **p: S4Forecaster(**TINY, horizon=3, **p).fit(np.sin(np.arange(80.0))),
    "generator": lambda **p: S4Generator(**TINY, **p).fit(X[:, 0].round().astype(int)),
}


@pytest.fixture(params=FITS)
def fit(request):
    """Return a function that fits an estimator with some parameters besides."""
    return FITS[request.param]


@pytest.fixture
def at_every_step(monkeypatch):
    """Do not wait ten seconds for a line, nor twenty for a notice."""
    monkeypatch.setattr(_progress, "_SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(_progress, "_SECONDS_TO_MEASURE", 0.0)
    monkeypatch.setattr(_progress, "_LONG_FIT", 0.0)
    monkeypatch.setattr(_progress.Notice, "is_given", False)


def notices(caplog):
    return [record for record in caplog.records if record.name == "sks4"]


@pytest.mark.parametrize("verbose", [0, 1])
def test_short_fit_is_quiet_without_a_terminal(fit, capfd, caplog, verbose):
    fit(verbose=verbose)
    assert capfd.readouterr() == ("", "")
    assert notices(caplog) == []


def test_verbose_1_shows_a_bar_on_a_terminal(fit, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    estimator = fit(verbose=1)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{type(estimator).__name__}: ")
    assert f"max_epochs_={estimator.max_epochs_}, device=cpu" in err
    assert "epoch 2/2 100%" in err
    assert f"loss={estimator.history_[-1]['train_loss']:.4g}" in err
    assert ("score=" in err) == (type(estimator) is not S4Generator)
    assert len(tqdm._instances) == 0


def test_verbose_1_writes_plain_lines_to_a_file(fit, capsys, at_every_step):
    estimator = fit(verbose=1)
    out, err = capsys.readouterr()
    assert out == ""
    assert not re.search("[\r\x1b]", err)
    name = type(estimator).__name__
    lines = [line for line in err.splitlines() if ", left " in line]
    assert len(lines) >= 3
    for line in lines:
        assert re.match(rf"{name}: (epoch \d/2, loss=|readout, \d+/)", line)
    assert any("epoch 2/2" in line for line in lines)


def test_verbose_2_prints_what_was_chosen_and_each_epoch(fit, capsys):
    estimator = fit(verbose=2)
    out, err = capsys.readouterr()
    assert re.match(rf"{type(estimator).__name__}: \d+ (sequences|windows), \d+ parameters, ", out)
    for name in ("batch_size_", "max_epochs_"):
        assert f"{name}={getattr(estimator, name)}, " in out
    assert re.search(r"dt_range_=\([\d.e-]+, [\d.]+\), ", out)
    assert "train_loss" in out
    assert len(re.findall(r"^ +[12] ", out, re.MULTILINE)) == 2
    assert "\x1b" not in out
    assert err == ""


def test_verbose_changes_nothing_that_is_fitted(fit, capsys, at_every_step):
    plain, shown = fit(verbose=0), fit(verbose=1)
    state = [e.net_.module_.state_dict() for e in (plain, shown)]
    assert all(np.array_equal(a, b) for a, b in zip(*(s.values() for s in state), strict=True))
    assert shown.history_[:, "train_loss"] == plain.history_[:, "train_loss"]
    assert pickle.loads(pickle.dumps(shown)).history_ == shown.history_


def test_readout_has_a_bar_and_its_score_is_told(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    classifier = S4Classifier(verbose=1, random_state=0).fit(X, np.arange(24) % 2)
    err = capsys.readouterr().err
    assert "readout 100%" in err
    assert "48/48 sequences" in err  # 24 to learn limits of features, and all of them
    assert f"S4Classifier: score of held-out samples {classifier.readout_score_:.3g}\n" in err
    assert len(tqdm._instances) == 0


def test_trained_readout_has_no_score_to_tell(capsys):
    S4Classifier(**TINY, readout="trained", verbose=2).fit(X, np.arange(24) % 2)
    assert "held-out" not in capsys.readouterr().out


def test_interrupted_fit_leaves_no_bar(fit, monkeypatch, capsys):
    class Interrupts(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with pytest.raises(KeyboardInterrupt):
        fit(verbose=1, net_callbacks=[Interrupts()])
    assert len(tqdm._instances) == 0
    assert capsys.readouterr().err.endswith("\n")


def test_long_fit_is_announced_once_for_all_estimators(caplog, at_every_step):
    for fit in FITS.values():
        fit()
    (notice,) = notices(caplog)
    assert notice.levelno == logging.WARNING
    assert "verbose=1" in notice.getMessage()


def test_long_fit_is_announced(fit, caplog, at_every_step):
    fit()
    assert len(notices(caplog)) == 1


def test_long_readout_is_announced(caplog, at_every_step):
    S4Classifier(random_state=0).fit(np.repeat(X, 20, 2), np.arange(24) % 2)
    assert len(notices(caplog)) == 1


@pytest.mark.parametrize("backend", ["sequential", "threading"])
def test_fits_of_cross_validations_and_searches_are_not_announced(caplog, at_every_step, backend):
    estimator, y = S4Classifier(**TINY), np.arange(24) % 2
    with joblib.parallel_config(backend=backend, n_jobs=2):
        cross_val_score(estimator, X, y, cv=2)
        GridSearchCV(clone(estimator), {"lr": [0.01]}, cv=2).fit(X, y)
    assert notices(caplog) == []
    estimator.fit(X, y)
    assert len(notices(caplog)) == 1


def test_history_is_short_as_text(fit):
    estimator = fit()
    assert repr(estimator.history_).startswith("<TrainingHistory of 2 epochs: train_loss ")
    assert len(repr(estimator.history_)) < 120
    assert isinstance(estimator.history_, list)
