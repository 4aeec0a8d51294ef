import numpy as np
import pytest

from sks4.estimators._split import split_rows
from sks4.exceptions import ValidationSplitWarning


def test_split_keeps_the_shares_of_the_classes():
    classes = np.repeat([0, 1, 2], [60, 30, 10])
    train, valid = split_rows(100, 0.1, 0, classes=classes)
    assert np.bincount(classes[valid]).tolist() == [6, 3, 1]
    assert np.sort(np.concatenate([train, valid])).tolist() == list(range(100))


def test_split_without_classes_is_random_and_follows_the_seed():
    first, second, third = (split_rows(50, 0.2, seed)[1].tolist() for seed in (0, 0, 1))
    assert first == second != third
    assert len(first) == 10


@pytest.mark.parametrize(
    ("n_samples", "classes", "reason"),
    [
        (1, None, "train set will be empty"),
        (9, np.array([0] * 8 + [1]), "too few"),
        (9, np.array([0, 0, 0, 1, 1, 1, 2, 2, 2]), "should be greater or equal to the number of"),
    ],
)
def test_split_that_is_impossible_is_given_up_with_a_warning(n_samples, classes, reason):
    with pytest.warns(ValidationSplitWarning, match=f"No validation data.*{reason}"):
        train, valid = split_rows(n_samples, 0.1, 0, classes=classes)
    assert train.tolist() == list(range(n_samples))
    assert valid is None
