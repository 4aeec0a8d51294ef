import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sks4.data import Columns, Timeline, TimeRows


def columns(n_rows, first=0.0):
    """Return rows of two targets and a covariate, numbered."""
    rows = first + np.arange(float(n_rows))
    return Columns(np.column_stack([rows, -rows]), 10 * rows[:, np.newaxis], np.ones(n_rows))


def time_rows(n_rows, first=0.0):
    return TimeRows((columns(n_rows, first),), Timeline(None, n_rows))


def appended(n_rows, n_more):
    rows = time_rows(n_rows)
    for i in range(n_more):
        rows = rows.followed_by(time_rows(1, n_rows + i))
    return rows


@pytest.mark.parametrize("n_more", [0, 1, 2, 3, 7, 40])
def test_rows_appended_one_by_one_are_those_at_once(n_more):
    rows, whole = appended(9, n_more), columns(9 + n_more)
    assert len(rows) == 9 + n_more
    for name in ("values", "covariates", "weights"):
        assert_array_equal(getattr(rows.columns(), name), getattr(whole, name))
    for n_rows in (1, 5, 8):
        latest = rows.latest(n_rows)
        assert_array_equal(latest.values, whole.values[-n_rows - 1 :])
        assert_array_equal(latest.covariates, whole.covariates[-n_rows - 1 :])


def test_appending_copies_few_rows(monkeypatch):
    rows = time_rows(100_000)
    first = rows.blocks[0].values
    copied = []
    concatenate = np.concatenate
    monkeypatch.setattr(
        np, "concatenate", lambda a, **k: copied.append(len(a[0])) or concatenate(a, **k)
    )
    for i in range(64):
        rows = rows.followed_by(time_rows(1, i))
        rows.latest(30)
    assert max(copied) < 200
    assert rows.blocks[0].values is first
    assert len(rows.blocks) < 9


def test_earlier_rows_stay_as_they_were():
    before = appended(5, 3)
    branches = [before.followed_by(time_rows(2, first)) for first in (100, 200)]
    assert len(before) == 8
    assert [branch.columns().values[-1, 0] for branch in branches] == [101, 201]


def test_row_before_the_latest_has_the_last_known_values():
    values = np.full((200, 2), np.nan)
    values[3, 0], values[150, 1] = 7.0, 9.0
    block = Columns(values, np.empty((200, 0)), np.ones(200))
    rows = TimeRows((block,), Timeline(None, 200))
    latest = rows.latest(20)
    assert_array_equal(latest.values[0], [7, 9])
    assert np.isnan(latest.values[1:]).all()
    assert latest.weights[0] == 1  # so that the values count
    values[3, 0] = np.nan
    assert_array_equal(rows.latest(20).values[0], [np.nan, 9])


def test_latest_of_all_rows_has_none_before():
    assert_array_equal(time_rows(6).latest(6).values, columns(6).values)
    assert_array_equal(time_rows(6).latest(60).values, columns(6).values)


def test_head_and_other_covariates():
    rows = appended(6, 2)
    assert_array_equal(rows.head(7).columns().values, columns(7).values)
    changed = rows.columns().with_covariates(5, np.zeros((9, 1)))
    assert_array_equal(changed.covariates[:, 0], [0, 10, 20, 30, 40, 0, 0, 0])
    assert rows.columns().covariates[-1, 0] == 70


@pytest.mark.parametrize("n_rows", [1, 3, 4, 7, 10])
def test_pieces_are_the_rows_in_order_and_the_first_one_is_the_shortest(n_rows):
    columns = Columns(np.arange(7.0)[:, np.newaxis], np.empty((7, 0)), np.ones(7))
    pieces = list(TimeRows((columns,), Timeline(None, 7)).pieces(n_rows))
    assert_array_equal(np.concatenate([piece.columns().values for piece in pieces]), columns.values)
    assert [len(piece) for piece in pieces[1:]] == [n_rows] * ((7 - 1) // n_rows)
