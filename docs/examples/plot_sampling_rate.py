"""
Predict at another sampling rate
================================

A state space is a system in continuous time. A model that knows the sampling rate of its training data reads
recordings of another sensor, at twice or half the rate, without training again.
"""

import matplotlib.pyplot as plt
import numpy as np

from sks4 import S4Classifier

rng = np.random.default_rng(0)
y = np.arange(90) % 3
FREQUENCY = np.array([6.0, 10.0, 16.0])  # Hz


def record(rate):
    """Return recordings of one second at a rate in Hz, (90, 1, rate)."""
    time = np.arange(0, 1, 1 / rate)
    phase = rng.uniform(0, 6, (len(y), 1))
    x = np.sin(2 * np.pi * FREQUENCY[y][:, None] * time + phase)
    return (x + rng.normal(0, 0.3, x.shape))[:, np.newaxis]


classifier = S4Classifier(
    d_model=16,
    n_layers=1,
    d_state=16,
    ssm="s4d",
    readout="trained",
    max_epochs=30,
    random_state=0,
)
classifier.fit(record(200), y, sampling_rate=200)

# %%
# New recordings at four rates, with and without the rate in the call:

rates = [100, 150, 200, 400]
told, untold = [], []
for rate in rates:
    X = record(rate)
    told.append(classifier.score(X, y, sampling_rate=rate))
    untold.append(classifier.score(X, y))
    print(f"{rate} Hz: {told[-1]:.2f} with the rate, {untold[-1]:.2f} without")

figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.plot(rates, told, "o-", color="#0072B2", label="sampling_rate=rate")
ax.plot(rates, untold, "s--", color="#D55E00", label="rate not given")
ax.axhline(1 / 3, color="0.6", lw=1, linestyle=":", label="chance")
ax.set(xlabel="sampling rate (Hz)", ylabel="accuracy", ylim=(0, 1.05), xticks=rates)
ax.legend()
plt.show()
