"""Which tools of scikit-learn take 3-D and ragged input, as the table in the docs says."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import sklearn.ensemble
import sklearn.model_selection
import sklearn.multiclass
import sklearn.multioutput
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.inspection import permutation_importance
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.semi_supervised import SelfTrainingClassifier

import sks4
from sks4 import S4Classifier, S4Regressor

PAGE = Path(sks4.__file__).parents[1] / "docs" / "user_guide" / "meta_estimators.rst"
TINY = {"d_model": 4, "n_layers": 1, "d_state": 4, "max_epochs": 1, "random_state": 0}
Y = np.arange(18) % 3
SIGNS = np.where(np.arange(18) % 6 == 5, -1, Y)  # some without a label
CUBE = np.random.default_rng(0).normal(size=(18, 2, 7)) + 3 * Y[:, np.newaxis, np.newaxis]
RAGGED = [x[:, : 4 + i % 4] for i, x in enumerate(CUBE)]
CLASSIFIER = S4Classifier(**TINY | {"max_epochs": 20, "lr": 0.03}, readout="trained")
REGRESSOR = S4Regressor(**TINY)

PARTS = [sklearn.ensemble, sklearn.multiclass, sklearn.multioutput, sklearn.model_selection]
OTHERS = [CalibratedClassifierCV, TransformedTargetRegressor, SelfTrainingClassifier]
TOOLS = {name: tool for part in PARTS for name, tool in vars(part).items()}
TOOLS |= {tool.__name__: tool for tool in [*OTHERS, permutation_importance]}


def rows_of_the_page():
    """Return (tool, takes 3-D arrays, takes ragged lists) of each row of the table."""
    pattern = r"\* - (``.*)\n     - (yes|no)\n     - (yes|no)"
    for names, cube, ragged in re.findall(pattern, PAGE.read_text()):
        for name in re.findall(r"``(\w+)``", names):
            yield name, cube == "yes", ragged == "yes"


TABLE = {name: takes for name, *takes in rows_of_the_page() if name != "FunctionTransformer"}


def use(name, X):
    """Fit or call a tool on an estimator of sequences."""
    if name == "Pipeline":
        return make_pipeline(FunctionTransformer(), CLASSIFIER).fit(X, Y).predict(X)
    if name == "HalvingGridSearchCV":
        pytest.importorskip("sklearn.experimental.enable_halving_search_cv")
        options = {"resource": "max_epochs", "min_resources": 1, "max_resources": 2, "cv": 2}
        search = sklearn.model_selection.HalvingGridSearchCV
        return search(S4Classifier(**TINY), {"lr": [0.01, 0.1]}, **options).fit(X, Y).predict(X)
    tool = TOOLS[name]
    accepted = inspect.signature(tool).parameters
    options = {"cv": 2, "n_iter": 1, "n_estimators": 2, "max_iter": 1, "n_repeats": 1}
    options |= {"n_permutations": 1, "train_sizes": [0.9], "param_name": "lr", "param_range": [0.1]}
    options = {key: value for key, value in options.items() if key in accepted}
    is_value = name.endswith("Regressor") or name == "RegressorChain"
    estimator, y = (REGRESSOR, Y / 2) if is_value else (CLASSIFIER, Y)
    if name in (
        "MultiOutputClassifier",
        "MultiOutputRegressor",
        "ClassifierChain",
        "RegressorChain",
    ):
        y = np.column_stack([y, y])
    if "Threshold" in name:
        y = y > 0
    if inspect.isfunction(tool):
        return tool(estimator.fit(X, y), X, y, **options)
    if name.startswith(("Voting", "Stacking")):
        estimator = [("a", estimator)]
    arguments = ({"lr": [0.01]},) if "SearchCV" in name else ()
    target = SIGNS if name == "SelfTrainingClassifier" else y
    return tool(estimator, *arguments, **options).fit(X, target).predict(X)


def test_page_has_a_table():
    assert {"AdaBoostClassifier", "permutation_importance", "Pipeline"} <= set(TABLE)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("form", ["3-D array", "ragged list"])
@pytest.mark.parametrize("name", TABLE)
def test_tool_takes_what_the_page_says(name, form):
    is_ragged = form == "ragged list"
    X = RAGGED if is_ragged else CUBE
    if TABLE[name][is_ragged]:
        use(name, X)
    else:
        with pytest.raises(ValueError, match=r"Found array with dim 3|inhomogeneous"):
            use(name, X)
