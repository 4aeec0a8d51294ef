"""Number and names of features, as scikit-learn checks them."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from sks4.estimators._features import Features, read_features

FRAME = pd.DataFrame(np.zeros((4, 2)), columns=["a", "b"])


def test_features_are_the_attributes_that_scikit_learn_sets():
    for table in (FRAME, FRAME.to_numpy(), FRAME.set_axis([0, 1], axis=1)):
        expected = vars(LinearRegression().fit(table, np.zeros(4)))
        found = read_features("S4Classifier", table, None).attributes()
        assert found["n_features_in_"] == expected["n_features_in_"] == 2
        names = expected.get("feature_names_in_")
        assert ("feature_names_in_" in found) == (names is not None)
        assert names is None or found["feature_names_in_"].tolist() == names.tolist()


def test_same_features_are_accepted():
    known = read_features("S4Classifier", FRAME, None)
    again = read_features("S4Classifier", FRAME[:1], known)
    assert (again.n_features, again.names.tolist()) == (2, ["a", "b"])
    assert known.names.tolist() == ["a", "b"]


def test_other_features_are_refused_in_the_name_of_the_estimator():
    known = read_features("S4Regressor", FRAME, None)
    with pytest.raises(ValueError, match="feature names should match those that were passed"):
        read_features("S4Regressor", FRAME[["b", "a"]], known)
    with pytest.raises(ValueError, match="X has 3 features, but S4Regressor is expecting 2"):
        read_features("S4Regressor", np.zeros((1, 3)), Features(2, None))


def test_names_on_one_side_only_are_a_warning():
    known = read_features("S4Classifier", FRAME, None)
    with pytest.warns(UserWarning, match="but S4Classifier was fitted with feature names"):
        read_features("S4Classifier", FRAME.to_numpy(), known)
    with pytest.warns(UserWarning, match="but S4Classifier was fitted without feature names"):
        read_features("S4Classifier", FRAME, Features(2, None))
