"""The examples of the README run as printed, up to seconds and rounding, and its links exist."""

import contextlib
import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```\n+```text\n(.*?)```", README, flags=re.DOTALL)
NUMBER = re.compile(r"(?<![\w-])\d+(?:\.\d+)?(?![\w-])")
SECONDS = re.compile(r"\b\d+ s\b")


def run(code):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    return SECONDS.sub("", printed.getvalue())


def test_readme_has_an_example_of_a_classifier_and_a_forecaster():
    assert ["S4Classifier" in EXAMPLES[0][0], "S4Forecaster" in EXAMPLES[1][0]] == [True, True]


@pytest.mark.parametrize(("code", "expected"), EXAMPLES, ids=["classifier", "forecaster"])
def test_readme_example_prints_what_is_shown(code, expected):
    printed, expected = run(code), SECONDS.sub("", expected)
    assert NUMBER.sub("0", printed).split() == NUMBER.sub("0", expected).split()
    # other processors round differently, which a training amplifies
    shown = [np.array(NUMBER.findall(text), dtype=float) for text in (printed, expected)]
    np.testing.assert_allclose(*shown, rtol=0.02)


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#:]+)\)", README))
def test_readme_links_to_files_that_exist(target):
    assert (ROOT / target).exists()


def test_readme_states_the_measured_accuracies():
    with (ROOT / "benchmarks/results/classification_summary.csv").open(newline="") as file:
        rows = {row["dataset"]: row for row in csv.DictReader(file)}
    mean, theo = rows["mean of the UCR sets"], rows["digits_theo"]
    table = README[README.index("## When to use it") : README.index("## Features")]
    for row, method in [(mean, "s4"), (mean, "minirocket"), (theo, "s4"), (theo, "minirocket")]:
        assert row[f"{method} accuracy"] in table
