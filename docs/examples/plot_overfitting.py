"""
Is it overfitting?
==================

The losses of training and validation answer this, and more data is the best remedy. With ``X_val`` and
``y_val``, training stops early and keeps the weights of its best epoch.
"""

import matplotlib.pyplot as plt
import numpy as np

from sks4 import S4Classifier, plot

rng = np.random.default_rng(0)


def waves(n_samples):
    """Return noisy waves and whether they are fast; a fifth of the labels are wrong."""
    y = np.arange(n_samples) % 2
    speed = np.where(y, 0.33, 0.27)[:, None]
    X = np.sin(speed * np.arange(80) + rng.uniform(0, 6, (n_samples, 1)))
    X += rng.normal(0, 1.0, X.shape)
    return X, np.where(rng.random(n_samples) < 0.2, 1 - y, y)


X_val, y_val = waves(200)
X_test, y_test = waves(400)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
for ax, n_samples, max_epochs in zip(axes, (40, 400), (40, 12)):
    X, y = waves(n_samples)
    classifier = S4Classifier(
        d_model=16,
        n_layers=1,
        d_state=16,
        readout="trained",
        dropout=0.0,
        lr=0.02,
        max_epochs=max_epochs,
        patience=40,
        random_state=0,
    )
    classifier.fit(X, y, X_val=X_val, y_val=y_val)
    plot.history(classifier, ax=ax)
    ax.set_title(f"{n_samples} sequences")
    accuracy = classifier.score(X_test, y_test)
    print(
        f"{n_samples} sequences: best epoch {classifier.best_epoch_}, accuracy {accuracy:.3f}"
    )
plt.show()

# %%
# On the left the training loss falls while the validation loss rises: the model learns the wrong labels by heart.
# The weights in use are those of the best epoch. No classifier can be right on more than four fifths of the
# test, since a fifth of its labels are wrong as well. See :doc:`/how_to/overfitting` for what else helps.
