"""
What the model looks at
=======================

Hide a part of a sequence and predict again: where the probability falls, the model has looked. This works for
every classifier, needs no gradient, and answers in the units of the prediction.
"""

import matplotlib.pyplot as plt
import numpy as np

from sks4 import S4Classifier, plot

# %%
# Recordings of two seconds of noise. In half of them a short ringing hides somewhere, as of a bearing that begins
# to fail.

RATE, LENGTH = 100, 200
rng = np.random.default_rng(0)
time = np.arange(40) / RATE
ringing = 2 * np.sin(2 * np.pi * 20 * time) * np.exp(-8 * time)
y = np.array(["sound", "faulty"] * 150)
X = rng.normal(0, 0.5, (len(y), LENGTH))
starts = rng.integers(0, LENGTH - len(ringing), len(y))
for x, label, start in zip(X, y, starts, strict=True):
    if label == "faulty":
        x[start : start + len(ringing)] += ringing

X_train, X_test, y_train, y_test = X[:200], X[200:], y[:200], y[200:]
classifier = S4Classifier(random_state=0).fit(X_train, y_train)
print(f"accuracy {classifier.score(X_test, y_test):.2f}")

# %%
# Occlusion: 15 samples at a time are replaced by zeros, and each sample is given the mean fall of the probability
# over all windows that hide it.

faulty = list(classifier.classes_).index("faulty")


def occlusion(x, width=15):
    """Return how far the probability of "faulty" falls where a sample is hidden."""
    windows = np.arange(LENGTH - width + 1)[:, None] + np.arange(width)
    hidden = np.repeat(x[None], len(windows), axis=0)
    np.put_along_axis(hidden, windows, 0, axis=1)
    before = classifier.predict_proba(x[None])[0, faulty]
    falls = before - classifier.predict_proba(hidden)[:, faulty]
    covered = np.zeros((len(windows), LENGTH))
    np.put_along_axis(covered, windows, 1, axis=1)
    return falls @ covered / covered.sum(0)


# %%
# The ringing, between the dashed lines, is what the probability hangs on:

rows = np.flatnonzero(y_test == "faulty")[:3]
figure, axes = plt.subplots(3, figsize=(8, 5), sharex=True, layout="constrained")
for ax, row in zip(axes, rows, strict=True):
    weights = occlusion(X_test[row])
    plot.saliency(X_test[row], weights, sampling_rate=RATE, ax=ax)
    start = starts[200 + row]
    for edge in (start, start + len(ringing)):
        ax.axvline(edge / RATE, color="black", linestyle="--", linewidth=1)
    inside = weights[start : start + len(ringing)].clip(0).sum() / weights.clip(0).sum()
    print(f"share of the falls inside the ringing: {inside:.2f}")
plt.show()
