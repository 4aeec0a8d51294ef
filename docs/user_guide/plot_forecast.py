"""Draw two years of carbon dioxide at Mauna Loa, forecast from the end of 1999."""

import matplotlib.pyplot as plt
from statsmodels.datasets import co2

from sks4 import S4Forecaster

series = co2.load_pandas().data["co2"]
past, future = series[:"1999"], series["2000":]
forecaster = S4Forecaster(
    horizon=104, context_length=156, calendar=["day_of_year"], random_state=0
).fit(past)
forecast = forecaster.forecast(len(future))
lower, upper = forecaster.predict_interval(future, coverage=0.9).T

figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
axes.plot(series["1996":], color="0.3", label="measured")
axes.plot(forecast, color="C0", label="forecast")
axes.fill_between(future.index, lower, upper, color="C0", alpha=0.25, lw=0, label="90 % interval")
axes.axvline(past.index[-1], color="0.6", lw=0.8)
axes.set_ylabel("CO₂ at Mauna Loa, ppm")
axes.legend(loc="upper left")
