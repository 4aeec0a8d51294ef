"""The table of a backtest, against one made row by row."""

import numpy as np
import pandas as pd
import pytest

from sks4.estimators.forecasting._backtest import backtest_frame

ORIGINS = pd.date_range("2024-01-01", periods=3)
SHAPE = (3, 4, 2)


@pytest.mark.parametrize(
    "targets",
    [pd.Index(["a", "b"]), pd.RangeIndex(2), pd.MultiIndex.from_tuples([("n", "a"), ("s", "a")])],
    ids=["names", "numbers", "levels"],
)
def test_frame_has_one_row_for_each_origin_step_and_target(targets):
    truth, forecast, low, high = np.random.default_rng(0).normal(size=(4, *SHAPE))
    truth[2, 1:] = np.nan
    frame = backtest_frame(ORIGINS, targets, truth, forecast, {0.1: low, 0.9: high})
    expected = [
        (origin, h + 1, target, truth[i, h, j], forecast[i, h, j], low[i, h, j], high[i, h, j])
        for i, origin in enumerate(ORIGINS)
        for h in range(4)
        for j, target in enumerate(targets)
    ]
    columns = ["origin", "step", "target", "truth", "forecast", 0.1, 0.9]
    expected = pd.DataFrame(expected, columns=columns)
    assert frame["target"].dtype == "category"
    frame["target"] = frame["target"].astype(object)
    expected["target"] = expected["target"].astype(object)
    pd.testing.assert_frame_equal(frame, expected)
