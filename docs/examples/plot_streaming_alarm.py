"""
Streaming alarm
===============

A classifier reads a signal sample by sample, at the same cost for each sample however long the stream has
run. Here it watches a pump and raises an alarm soon after the rhythm changes.
"""

import time

import matplotlib.pyplot as plt
import numpy as np

from sks4 import S4Classifier, plot

RATE = 50  # Hz
rng = np.random.default_rng(0)


def pump(speed):
    """Return a noisy signal with a given speed in Hz at each sample."""
    phase = 2 * np.pi * np.cumsum(speed) / RATE + rng.uniform(0, 6)
    return np.sin(phase) + rng.normal(0, 0.3, len(speed))


# %%
# Training data: recordings of one to four seconds, of a healthy pump (2 Hz) and of a stuttering one
# (4 Hz). A stream reads forward only, so scaling must not need the whole sequence.

y = np.array(["healthy", "stuttering"] * 80)
X = [
    pump(np.full(rng.integers(RATE, 4 * RATE), 2 if label == "healthy" else 4))
    for label in y
]
classifier = S4Classifier(
    d_model=16,
    n_layers=2,
    d_state=16,
    pooling="last",
    standardize="global",
    max_epochs=15,
    random_state=0,
)
classifier.fit(X, y)

# %%
# The stream: after ten seconds the pump begins to stutter.

signal = pump(np.repeat([2.0, 4.0], 10 * RATE))
stream = classifier.stream()
start = time.perf_counter()
probabilities = np.array([stream.push([x]).predict_proba()[0] for x in signal])
microseconds = 1e6 * (time.perf_counter() - start) / len(signal)
print(f"{microseconds:.0f} µs for a sample and a prediction")

# %%
# One sample may look odd by chance, so the alarm waits until the probability has been above 0.9 for a fifth
# of a second.

above = np.convolve(probabilities[:, 1] > 0.9, np.ones(RATE // 5), mode="full")[
    : len(signal)
]
alarms = np.flatnonzero(above == RATE // 5) / RATE
print(f"first alarm {alarms[alarms >= 10][0] - 10:.2f} s after the change")
print(f"alarms before the change: {np.sum(alarms < 10)}")

# %%
figure, axes = plt.subplots(2, sharex=True, figsize=(8, 4.4), layout="constrained")
axes[0].plot(np.arange(len(signal)) / RATE, signal, lw=0.7, color="0.3")
axes[0].axvline(10, color="0.6", linestyle="--")
axes[0].set(ylabel="signal", title="The pump begins to stutter after 10 s")
plot.stream(
    probabilities,
    classes=classifier.classes_,
    sampling_rate=RATE,
    threshold=0.9,
    ax=axes[1],
)
plt.show()
