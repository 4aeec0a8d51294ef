"""
Forecast fifty stores with one model
====================================

Fifty stores sell every day. They share a week and a holiday season, each has promotions of its own, and they differ
in size by a factor of a hundred. One model learns from all of them, each in its own scale. One store has just
opened. The sales are simulated.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sks4 import S4Forecaster
from sks4.metrics import mean_absolute_scaled_error

rng = np.random.default_rng(0)
days = pd.date_range("2024-09-01", "2025-06-30", name="day")
temperature = pd.Series(15 - 10 * np.cos(2 * np.pi * days.day_of_year / 365), days)
temperature += rng.normal(0, 3, len(days))


def simulate(size, opened):
    """Return what is known ahead of the days of a store, and its sales."""
    promotion = (rng.random(len(days)) < 0.15).astype(float)
    week = 1 + 0.4 * (days.day_of_week >= 5)
    mean = size * week * (1 + 0.5 * promotion) * (1 + 0.02 * temperature)
    store = pd.DataFrame({"temperature": temperature, "promotion": promotion}, days)
    store["sales"] = mean * rng.lognormal(0, 0.08, len(days))
    return store[opened:]


stores = {
    f"store {i:02}": simulate(10 ** rng.uniform(1, 3), days[0]) for i in range(49)
}
stores["new store"] = simulate(200.0, pd.Timestamp("2025-06-15"))
rows = pd.concat(stores, names=["store"])
first = pd.Timestamp("2025-06-17")
is_past = rows.index.get_level_values("day") < first
past, future = rows[is_past], rows[~is_past]
print(past.loc["new store"].round(1))

# %%
# The rows have two labels, the store and the day. Temperature is the same for all stores, promotions are not; both
# are known ahead. The forecast has the same labels.

covariates = ["temperature", "promotion"]
forecaster = S4Forecaster(horizon=14, max_epochs=3, random_state=0)
forecaster.fit(past[covariates], past["sales"])
forecast = forecaster.forecast(X_future=future[covariates], coverage=0.8)
print(forecast.head(3).round(1))

# %%
# Errors are judged in the scale of each store. The last week again is the simple forecast to beat.

old = [name for name in stores if name != "new store"]
truth = {name: future.loc[name, "sales"] for name in old}
train = {name: past.loc[name, "sales"] for name in old}
forecasts = {
    "S4Forecaster": {name: forecast.loc[name, "forecast"] for name in old},
    "last week": {name: np.tile(train[name].to_numpy()[-7:], 2) for name in old},
}
for name, of_each in forecasts.items():
    score = mean_absolute_scaled_error(truth, of_each, y_train=train, seasonality=7)
    print(f"{name:14}{score:.2f}")

# %%
# The new store has two days of sales. Its level comes from them, and what a week and a promotion do from the others.

figure, axes = plt.subplots(2, sharex=True, figsize=(8, 5), layout="constrained")
for ax, name in zip(axes, ("store 07", "new store")):
    known, ahead, true = (
        past.loc[name, "sales"][-28:],
        forecast.loc[name],
        future.loc[name],
    )
    ax.plot(known, color="black", marker=".", label="known")
    ax.plot(true["sales"], color="black", linestyle=":", label="truth")
    ax.plot(ahead["forecast"], label="forecast")
    ax.fill_between(ahead.index, ahead["lower"], ahead["upper"], alpha=0.3)
    ax.set_title(name)
axes[0].legend(loc="upper left", ncols=3)
figure.autofmt_xdate()
plt.show()
