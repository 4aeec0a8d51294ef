"""The documented rules of "auto" against those of the code."""

from pathlib import Path

import pytest

from sks4.estimators import _auto, _evidence, _supervised

PAGE = Path(__file__).resolve().parents[2] / "docs" / "user_guide" / "training.rst"

RULES = {
    "training": [
        f"{_evidence.N_BLOCKS} blocks that are held out in turn",
        f"misses at least {_evidence._FEWEST_MISSED} sequences",
        f"{_evidence.TRIAL:g} of the epochs",
        f"After {_evidence.FIRST_LOOK:g} of its epochs",
    ],
    "choice of the ridge regression": [
        f"chosen by the {_evidence.N_BLOCKS} blocks",
        f"by {_evidence._BEYOND_CHANCE:g} standard errors",
    ],
    "number of filters": [
        f"{_auto._FILTERS:,}, or",
        rf"{_auto._FILTERS} \sqrt{{{_auto._SAMPLES_FOR_ALL_FILTERS} / n}}",
        f"{_auto._STEPS_OF_FILTERS:.0e}".replace("+0", "") + " over the number of steps",
        f"at least {_auto._FEWEST_FILTERS}",
    ],
    "``max_epochs``": [
        f"{_auto._OPTIMIZER_STEPS:,} optimizer steps",
        f"at most {_auto._TOTAL_TOKENS:.0e} steps".replace("+0", ""),
        f"at least {_auto._EPOCHS[0]} and at most {_auto._EPOCHS[1]} epochs",
    ],
    "``batch_size``": [f"at most {_auto.MAX_TOKENS:,} steps in a batch"],
    "``embedding``": [f"lower by more than {_supervised._BEYOND_CHANCE:g} standard errors"],
    "``patch_size``": [
        f"{_auto._MANY_STEPS:,} or less, at most {_auto._LARGEST_PATCH}",
        "up to :math:`T / {}`, from {} to {}".format(_auto._SPECTRA, *_auto._SAMPLES_OF_SPECTRUM),
    ],
    "``standardize``": [
        f"{_auto._VARYING:g} of a standard deviation",
        rf"{_auto._CHANCE:g} / \sqrt{{T}}",
        f"at most {_auto._TELLING:g} of these differences",
        f"{_auto._SHARE_HIDDEN:g} of the sequences vary by less than {_auto._HIDDEN:g}",
    ],
}


def documented_rules():
    """Return the text of each row of the table, without line breaks."""
    section = PAGE.read_text(encoding="utf-8").split(".. _auto-rules:")[1]
    table = section.split("   * - ")[2:]
    rows = [row.split("The chosen values")[0].split("\n     - ") for row in table]
    return {name.strip(): " ".join(rule.split()) for name, rule in rows}


@pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not part of the package")
@pytest.mark.parametrize("name", RULES)
def test_documented_rules_have_the_numbers_of_the_code(name):
    rule = documented_rules()[name]
    for part in RULES[name]:
        assert part in rule


@pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not part of the package")
def test_every_parameter_that_may_be_auto_has_a_rule():
    from sks4 import S4Classifier

    automatic = {name for name, value in S4Classifier().get_params().items() if value == "auto"}
    documented = " ".join(documented_rules())
    assert {name for name in automatic - {"device"} if f"``{name}``" not in documented} == set()
