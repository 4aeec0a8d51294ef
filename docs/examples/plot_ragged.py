"""
Recordings of different lengths
===============================

Sequences need not have one length. A list of arrays goes in as it is, and what pads a batch has no effect
on any result.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.model_selection import cross_val_score

import sks4
from sks4 import S4Classifier

rng = np.random.default_rng(0)
y = np.arange(120) % 2  # 1: the pitch rises
X = []
for rises in y:
    length = rng.integers(60, 200)
    pitch = np.linspace(0.2, 0.5, length)
    phase = np.cumsum(pitch if rises else pitch[::-1])
    X.append(np.sin(phase + rng.uniform(0, 6)) + rng.normal(0, 0.4, length))
print("shortest and longest:", min(map(len, X)), max(map(len, X)))

# %%
# The splitters of scikit-learn take such lists, too.

classifier = S4Classifier(
    d_model=16, n_layers=1, d_state=16, max_epochs=10, random_state=0
)
scores = cross_val_score(classifier, X, y, cv=3)
print("accuracy of each fold:", scores.round(3))

# %%
# The same data as an array padded with NaN, and as a long table with one row for each time point, are the
# same to the estimator.

classifier.fit(X, y)
padded = np.full((len(X), 1, 200), np.nan)
for row, x in zip(padded, X):
    row[0, : len(x)] = x
table = pd.concat(
    pd.DataFrame({"recording": i, "time": np.arange(len(x)), "sound": x})
    for i, x in enumerate(X)
)
from_table, *_ = sks4.from_long(table, id="recording", time="time", values=["sound"])

expected = classifier.predict_proba(X)
for form in (padded, from_table):
    print(np.allclose(classifier.predict_proba(form), expected, atol=1e-5))

# %%
# A recording from each class:

figure, axes = plt.subplots(2, figsize=(8, 3.6), sharex=True, layout="constrained")
for ax, label in zip(axes, (1, 0)):
    x = X[int(np.flatnonzero(y == label)[0])]
    ax.plot(x, lw=0.9)
    ax.set(ylabel="sound", title=f"class {label}, {len(x)} time points", xlim=(0, 200))
axes[1].set_xlabel("sample")
plt.show()
