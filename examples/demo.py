"""Train on real sequences, print held-out scores and times, and draw a picture.

Three sets that come with the dependencies, so that nothing is downloaded: the handwritten digits of
scikit-learn, each read as a sequence of 64 pixels; a recording of the membrane potential of a nerve
cell, which comes with Matplotlib; and weekly carbon dioxide at Mauna Loa, from statsmodels.
"""

import sys
import time
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split
from statsmodels.datasets import co2

from sks4 import S4Classifier, S4Forecaster, S4Regressor

DEFAULT_PICTURE = Path(__file__).resolve().parents[1] / "demo_output" / "demo.png"

# Half the default width takes less than half of the time, for most of the accuracy.
SMALL = {"d_model": 32, "n_layers": 2, "random_state": 0}

# The part in which the cell fires regularly; before and after it is stimulated otherwise.
RECORDING = slice(1500, 7000)
N_TRAIN = 4000  # time points
CONTEXT, AHEAD = 128, 20  # time points: what is seen, and how far ahead the potential is asked for


def timed_fit(estimator, X, y=None, *, samples="training sequences"):
    """Fit, and say how long that took."""
    start = time.perf_counter()
    estimator.fit(X, y)
    seconds = time.perf_counter() - start
    print(f"  {len(X)} {samples}, {estimator.n_epochs_} epochs: {seconds:.0f} s")
    return estimator


def classify_digits(axes):
    """Classify images from their pixels, one after the other."""
    print("Handwritten digits, as sequences of 64 pixels (S4Classifier)")
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    classifier = timed_fit(S4Classifier(**SMALL), X_train, y_train)
    accuracy = classifier.score(X_test, y_test)
    print(f"  accuracy on {len(X_test)} held-out digits: {accuracy:.3f}\n")
    ConfusionMatrixDisplay.from_estimator(classifier, X_test, y_test, ax=axes, colorbar=False)
    axes.set_title(f"Digits as sequences of pixels: accuracy {accuracy:.3f}")


def windows(series, *, step):
    """Return windows of CONTEXT time points, and the value AHEAD time points after each."""
    starts = np.arange(0, len(series) - CONTEXT - AHEAD, step)
    X = np.lib.stride_tricks.sliding_window_view(series, CONTEXT)[starts]
    return X, series[starts + CONTEXT - 1 + AHEAD]


def predict_potential(axes):
    """Predict the membrane potential from its past, on a later part of the recording."""
    print(f"Membrane potential of a nerve cell, {AHEAD} time points ahead (S4Regressor)")
    file = Path(matplotlib.get_data_path()) / "sample_data" / "membrane.dat"
    series = np.fromfile(file, dtype=np.float32)[RECORDING]
    X_train, y_train = windows(series[:N_TRAIN], step=4)
    X_test, y_test = windows(series[N_TRAIN:], step=1)
    regressor = timed_fit(S4Regressor(max_epochs=20, d_state=64, **SMALL), X_train, y_train)
    score = regressor.score(X_test, y_test)
    ridge = Ridge().fit(X_train, y_train).score(X_test, y_test)
    print(f"  R² on {len(X_test)} later time points: {score:.3f} (ridge regression: {ridge:.3f})\n")
    axes.plot(y_test, label="recorded")
    axes.plot(regressor.predict(X_test), label=f"predicted {AHEAD} time points before")
    axes.set(title=f"Membrane potential of a nerve cell: R² {score:.3f}", xlabel="time point")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)


def forecast_carbon_dioxide(axes):
    """Forecast two years of a series with dates and gaps, with an interval for each week."""
    print("Carbon dioxide at Mauna Loa, two years ahead from the end of 1999 (S4Forecaster)")
    series = co2.load_pandas().data["co2"]
    past, future = series[:"1999"], series["2000":]
    forecaster = S4Forecaster(horizon=104, context_length=156, random_state=0)
    timed_fit(forecaster, past, samples="weeks")
    forecast = forecaster.forecast(len(future))
    lower, upper = forecaster.predict_interval(future, coverage=0.9).T
    last_year = np.resize(past[-52:].to_numpy(), len(future))
    error, naive = ((future - guess).abs().mean() for guess in (forecast, last_year))
    held = np.mean((future >= lower) & (future <= upper))
    print(f"  mean absolute error: {error:.2f} ppm (the last year again: {naive:.2f} ppm)")
    print(f"  weeks within their 90 % interval: {held:.0%}\n")
    axes.plot(series["1994":], color="0.3", label="measured")
    axes.plot(forecast, color="C0", label="forecast from the end of 1999")
    axes.fill_between(future.index, lower, upper, color="C0", alpha=0.25, lw=0, label="90 %")
    axes.set(title=f"Carbon dioxide at Mauna Loa: error {error:.2f} ppm", ylabel="ppm")
    axes.legend(loc="upper left")


def main():
    """Run all three, and save the picture to the path in the command line, if one is given."""
    picture = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_PICTURE
    torch.set_num_threads(1)  # models this small gain nothing from more, and lose on a busy machine
    start = time.perf_counter()
    figure = Figure(figsize=(13, 9), layout="constrained")  # no pyplot, so no window and no state
    axes = figure.subplot_mosaic("AB;CC", height_ratios=[5, 4])
    classify_digits(axes["A"])
    predict_potential(axes["B"])
    forecast_carbon_dioxide(axes["C"])
    picture.parent.mkdir(exist_ok=True)
    figure.savefig(picture, dpi=120)
    print(f"{time.perf_counter() - start:.0f} s in total; the picture is {picture}")


if __name__ == "__main__":
    main()
