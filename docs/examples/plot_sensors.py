"""
Classify sensor recordings
==========================

A machine carries a three-axis accelerometer. Each recording is an array of three channels, and the state
of the machine is its label. The recordings are simulated, so the truth is known: an unbalanced rotor
shakes two axes a quarter of a turn apart, and a loose bolt rings after random knocks.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split

from sks4 import S4Classifier

RATE, SECONDS = 200, 1.5  # Hz, length of a recording


def record(state, rng):
    """Return one recording, (3, n_timepoints)."""
    time = np.arange(0, SECONDS, 1 / RATE)
    x = rng.normal(0, 0.5, (3, len(time)))
    turn = 2 * np.pi * rng.uniform(18, 22) * time + rng.uniform(0, 2 * np.pi)
    x += 0.5 * np.sin(turn)
    if state == "unbalanced":
        x[0] += 0.6 * np.sin(turn)
        x[1] += 0.6 * np.cos(turn)
    if state == "loose":
        for knock in rng.uniform(0, SECONDS, 4):
            after = np.clip(time - knock, 0, None)
            x[2] += 2 * np.sin(2 * np.pi * 60 * after) * np.exp(-after / 0.03)
    return x


rng = np.random.default_rng(0)
y = np.array(["normal", "unbalanced", "loose"] * 100)
X = np.array([record(state, rng) for state in y])
print(X.shape)  # (n_samples, n_channels, n_timepoints)

# %%
# Recordings go in as they are: no features to design, no scaling to choose.

X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
classifier = S4Classifier(
    d_model=16, n_layers=2, d_state=16, max_epochs=15, random_state=0
)
start = time.perf_counter()
classifier.fit(X_train, y_train)
print(f"fit {len(X_train)} recordings in {time.perf_counter() - start:.1f} s")
print(f"accuracy on {len(X_test)} others: {classifier.score(X_test, y_test):.3f}")

# %%
# One recording of each state, and which states are confused:

figure, axes = plt.subplots(2, 2, figsize=(9, 5.5), layout="constrained")
for ax, state in zip(axes.flat, classifier.classes_):
    sample = X_test[y_test == state][0]
    for channel, name, offset in zip(sample, "xyz", (5, 0, -5)):
        ax.plot(np.arange(len(channel)) / RATE, channel + offset, lw=0.8, label=name)
    ax.set(title=state, xlabel="time (s)", ylabel="acceleration (g)", yticks=[])
axes[0, 0].legend(loc="upper right")
ConfusionMatrixDisplay.from_estimator(
    classifier, X_test, y_test, ax=axes[1, 1], colorbar=False, cmap="cividis"
)
plt.show()
