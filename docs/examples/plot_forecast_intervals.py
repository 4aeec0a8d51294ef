"""
Forecast with intervals
=======================

Weekly carbon dioxide at Mauna Loa, two years ahead from the end of 1999, with intervals that should contain
nine weeks in ten. Gaps in the series stay as they are, and the day of the year is known ahead.
"""

import matplotlib.pyplot as plt
import numpy as np
from statsmodels.datasets import co2

from sks4 import S4Forecaster, plot

series = co2.load_pandas().data["co2"]
past, future = series[:"1999"], series["2000":].iloc[:104]
print(f"{len(past)} weeks, {past.isna().sum()} of them without a measurement")

forecaster = S4Forecaster(
    horizon=104, context_length=156, calendar=["day_of_year"], random_state=0
)
forecaster.fit(past)

# %%
# One call returns the forecast and both ends of its interval:

predictions = forecaster.forecast(coverage=0.9)
print(predictions.head(3).round(2))

# %%
# :func:`sks4.plot.forecast` draws them beside what came true:

ax = plot.forecast(
    predictions, history=past, truth=future, coverage=0.9, unit="ppm", n_before=260
)
ax.set_title("Carbon dioxide at Mauna Loa")
plt.show()

error = (predictions["forecast"] - future).abs().mean()
naive = np.abs(np.resize(past[-52:], len(future)) - future).mean()
print(f"mean absolute error {error:.2f} ppm, of the last year again {naive:.2f} ppm")
inside = future.between(predictions["lower"], predictions["upper"])[future.notna()]
print(f"{inside.mean():.0%} of the weeks are in their interval")

# %%
# A single forecast may be lucky. A backtest starts from many weeks, and its error by step of the horizon
# shows how far ahead a forecast is of use:

plot.BacktestDisplay.from_estimator(forecaster, series["1990":], stride=8, unit="ppm")
plt.show()
