"""Calls by the user, and those of workers and searches."""

import multiprocessing
import runpy
from typing import ClassVar

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from sks4.training import _callers
from sks4.training._callers import is_in_worker_process, is_one_of_many


class Records(BaseEstimator):
    """Remember in each fit whether it is one of many."""

    seen: ClassVar = []

    def __init__(self, a=0):
        self.a = a

    def fit(self, X, y=None):
        self.seen.append(is_one_of_many())
        self.fitted_ = True
        return self

    def score(self, X, y=None):
        return 0.0


@pytest.fixture
def seen(monkeypatch):
    monkeypatch.setattr(Records, "seen", [])
    return Records.seen


X = np.zeros((4, 1))


def test_call_of_the_user_is_not_one_of_many(seen):
    Records().fit(X)
    make_pipeline(Records()).fit(X)
    assert seen == [False, False]
    assert not is_in_worker_process()


def test_fits_of_a_cross_validation_are_of_many(seen):
    cross_val_score(Records(), X, cv=2)
    assert seen == [True, True]


def test_fits_of_a_search_are_of_many_and_so_is_the_last_one(seen):
    GridSearchCV(Records(), {"a": [0]}, cv=2).fit(X)
    assert seen == [True, True, True]


def test_calls_in_threads_of_joblib_are_of_many_but_in_this_process():
    with joblib.parallel_config(backend="threading", n_jobs=2):
        assert all(joblib.Parallel()(joblib.delayed(is_one_of_many)() for _ in range(2)))
        assert not any(joblib.Parallel()(joblib.delayed(is_in_worker_process)() for _ in range(2)))


def test_calls_in_processes_of_joblib_are_in_workers():
    def ask(file):  # runs the file alone, since the package takes seconds to import
        return runpy.run_path(file)["is_in_worker_process"]()

    with joblib.parallel_config(backend="loky", n_jobs=2):
        assert all(joblib.Parallel()(joblib.delayed(ask)(_callers.__file__) for _ in range(2)))


def test_process_that_another_one_has_started_is_a_worker(monkeypatch):
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())
    assert is_in_worker_process()
    assert is_one_of_many()
