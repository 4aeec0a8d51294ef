"""Docstrings of the estimators against the code: parameters, defaults, attributes, one wording."""

import ast
import functools
import re

import numpy as np
import pytest

from sks4 import S4Classifier, S4Forecaster, S4Generator, S4Regressor

numpydoc = pytest.importorskip("numpydoc.docscrape")

TINY = {"d_model": 4, "n_layers": 1, "d_state": 4, "max_epochs": 1, "random_state": 0}
X = np.random.default_rng(0).normal(size=(12, 1, 20))
FITTED = {
    S4Classifier: lambda: S4Classifier(**TINY).fit(X, np.arange(12) % 2),
    S4Regressor: lambda: S4Regressor(**TINY).fit(X, np.arange(12.0)),
    S4Forecaster: lambda: S4Forecaster(**TINY, horizon=3).fit(np.sin(np.arange(60))),
    S4Generator: lambda: S4Generator(**TINY).fit(np.arange(60).reshape(3, 20) % 4),
}
ESTIMATORS = pytest.mark.parametrize("cls", FITTED, ids=lambda cls: cls.__name__)

# Attributes that scikit-learn defines, where the data have what they name.
SOMETIMES = {"feature_names_in_", "symbols_"}

# Parameters whose meaning differs between estimators.
DIFFERENT = {
    "S4Forecaster": {
        *("batch_size", "calendar", "dt_min", "dt_max", "early_stopping", "max_epochs", "missing"),
        *("bidirectional", "loss", "patch_size", "pooling", "prenorm", "random_state"),
        *("standardize", "validation_fraction", "norm"),
    },
    "S4Generator": {
        *("missing", "norm", "standardize", "bandlimit", "validation_fraction", "early_stopping"),
    },
    "S4Regressor": {"readout"},
}


@functools.cache
def fitted(cls):
    return FITTED[cls]()


def entries(cls, section):
    """Return type and description of each name in a section, several names of one entry apart."""
    documented = {}
    for entry in numpydoc.ClassDoc(cls)[section]:
        names = re.split(r",\s*", entry.name)
        defaults = re.search(r"default=(.*)$", entry.type)
        values = defaults and re.split(r",\s*(?![^\[(]*[\])])", defaults[1])
        for i, name in enumerate(names):
            value = None if not values else values[i if len(values) == len(names) else 0]
            documented[name] = (entry.type, value, " ".join(" ".join(entry.desc).split()))
    return documented


@ESTIMATORS
def test_every_parameter_is_documented_in_the_order_of_the_signature(cls):
    assert sorted(entries(cls, "Parameters")) == sorted(cls().get_params())


@ESTIMATORS
def test_documented_defaults_are_the_real_ones(cls):
    documented = entries(cls, "Parameters")
    for name, value in cls().get_params().items():
        assert documented[name][1] is not None, f"{name} has no default in the docstring"
        assert ast.literal_eval(documented[name][1]) == value, name


@ESTIMATORS
def test_every_fitted_attribute_is_documented_and_exists(cls):
    estimator = fitted(cls)
    found = {name for name in dir(estimator) if name.endswith("_") and not name.startswith("_")}
    documented = set(entries(cls, "Attributes"))
    assert found - documented == set()
    assert documented - found <= SOMETIMES
    for name in documented - SOMETIMES:
        getattr(estimator, name)


@pytest.mark.parametrize("cls", [S4Regressor, S4Forecaster, S4Generator])
def test_shared_parameters_are_described_as_for_the_classifier(cls):
    shared, own = entries(S4Classifier, "Parameters"), entries(cls, "Parameters")
    for name in shared.keys() & own.keys() - DIFFERENT[cls.__name__]:
        assert own[name][2] == shared[name][2], name


@ESTIMATORS
def test_every_public_method_is_documented(cls):
    for name in dir(cls):
        member = getattr(cls, name)
        if name.startswith("_") or not callable(member) or not hasattr(member, "__module__"):
            continue
        if str(member.__module__).startswith("sks4"):
            doc = numpydoc.FunctionDoc(member)
            arguments = set(member.__code__.co_varnames[1 : member.__code__.co_argcount])
            described = {n for e in doc["Parameters"] for n in re.split(r",\s*", e.name)}
            assert arguments <= described, f"{cls.__name__}.{name}: {arguments - described}"
            assert doc["Summary"], name
