"""
Predict a number for each sequence
==================================

The membrane potential of a nerve cell, 20 time points ahead, from the 128 before. The recording comes with
matplotlib; the test is a later part of it.
"""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import Ridge

from sks4 import S4Regressor

CONTEXT, AHEAD = 128, 20
file = Path(matplotlib.get_data_path()) / "sample_data" / "membrane.dat"
potential = np.fromfile(file, dtype=np.float32)[1500:7000]  # the cell fires regularly


def windows(values, step):
    """Return windows of the past, and the value after each of them."""
    starts = np.arange(0, len(values) - CONTEXT - AHEAD, step)
    X = np.lib.stride_tricks.sliding_window_view(values, CONTEXT)[starts]
    return X, values[starts + CONTEXT - 1 + AHEAD]


X_train, y_train = windows(potential[:4000], step=8)
X_test, y_test = windows(potential[4000:], step=2)

regressor = S4Regressor(d_model=32, n_layers=2, max_epochs=20, random_state=0)
regressor.fit(X_train, y_train)
ridge = Ridge().fit(X_train, y_train)
print(f"R² on {len(X_test)} later time points: {regressor.score(X_test, y_test):.3f}")
print(f"ridge regression: {ridge.score(X_test, y_test):.3f}")

# %%
figure, ax = plt.subplots(figsize=(8, 3.4), layout="constrained")
ax.plot(y_test, color="0.3", label="recorded")
ax.plot(regressor.predict(X_test), "--", color="#D55E00", label="predicted")
ax.set(xlabel="time point", ylabel="potential")
ax.legend(loc="upper right")
plt.show()
