"""
Grid search over ragged data
============================

:class:`~sklearn.model_selection.GridSearchCV` takes a list of sequences of different lengths, and reports
its progress with ``verbose``. Recordings of one speaker stay in one fold, so the score is that of speakers
whom training has not heard. The voices are simulated.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV, GroupKFold

from sks4 import S4Classifier

rng = np.random.default_rng(0)
n_recordings = 96
speaker = np.arange(n_recordings) % 8
y = np.arange(n_recordings) // 8 % 2  # the vowel
X = []
for vowel, who in zip(y, speaker):
    time = np.arange(rng.integers(80, 160))
    pitch = 0.15 + 0.02 * who
    second = 1.6 if vowel else 2.3
    x = np.sin(pitch * time) + 0.7 * np.sin(second * time + rng.uniform(0, 6))
    X.append(x + rng.normal(0, 2.0, len(time)))

search = GridSearchCV(
    S4Classifier(n_layers=1, d_state=16, max_epochs=8, random_state=0),
    {"d_model": [8, 16], "lr": [0.001, 0.02]},
    cv=GroupKFold(3),
    verbose=3,
)
search.fit(X, y, groups=speaker)

# %%
# The best candidate, fitted again on everything:

print(search.best_params_, f"{search.best_score_:.3f}")

# %%
# What each candidate reached, with the spread over the folds:

results = search.cv_results_
names = [f"d_model={p['d_model']}\nlr={p['lr']}" for p in results["params"]]
figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
mean, std = results["mean_test_score"], results["std_test_score"]
ax.errorbar(range(len(names)), mean, std, fmt="o", capsize=4)
ax.set_xticks(range(len(names)), names)
ax.set(ylabel="accuracy on unheard speakers", ylim=(0, 1.05))
plt.show()
