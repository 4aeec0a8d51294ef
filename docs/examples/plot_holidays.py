"""
Forecast with holidays and several targets
==========================================

A shop and its web store sell every day. Holidays are known ahead, so the forecaster can use them: here a list of
dates; ``holidays="DE"`` takes those of a country. The sales are simulated.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sks4 import S4Forecaster, plot

rng = np.random.default_rng(0)
days = pd.date_range("2022-01-01", "2025-12-31")
closed = [
    f"{year}-{day}"
    for year in range(2022, 2027)
    for day in ("01-01", "05-01", "10-03", "12-25", "12-26")
]
is_closed = days.isin(pd.to_datetime(closed))
weekend = days.day_of_week >= 5
sales = pd.DataFrame(
    {
        "shop": (120 + 40 * weekend) * ~is_closed + rng.normal(0, 6, len(days)),
        "web": 60 + 25 * is_closed + rng.normal(0, 6, len(days)),
    },
    index=days,
)
past, future = sales[:"2025-12-10"], sales["2025-12-11":]

# %%
# The same forecaster, with and without the holidays. Both targets are forecast by one model.

figure, axes = plt.subplots(2, sharex=True, figsize=(8, 5), layout="constrained")
for ax, holidays in zip(axes, (None, closed)):
    forecaster = S4Forecaster(
        horizon=21, context_length=56, holidays=holidays, max_epochs=10, random_state=0
    )
    forecaster.fit(past)
    display = plot.ForecastDisplay.from_estimator(
        forecaster, history=past, truth=future, target="shop", n_before=28, ax=ax
    )
    error = (forecaster.forecast() - future).abs().mean().round(1).to_dict()
    ax.set_title("without holidays" if holidays is None else "with holidays")
    print(
        "without" if holidays is None else "with   ",
        "holidays, mean absolute errors:",
        error,
    )
plt.show()
