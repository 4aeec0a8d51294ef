"""What `import sks4` brings, loads and leaves alone, seen in a fresh interpreter."""

import json
import subprocess
import sys
from importlib import resources

import pytest

import sks4

OPTIONAL = ["aeon", "dask", "matplotlib", "onnx", "safetensors", "statsmodels"]

# Runs one statement and reports what it did; the libraries below it are loaded before.
OBSERVE = """
import contextlib, io, json, random, sys, warnings
import numpy as np, pandas, skorch, torch

def state():
    return {
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "precision": (torch.get_default_dtype(), torch.get_float32_matmul_precision()),
        "torch generator": torch.random.get_rng_state().tolist(),
        "numpy generator": str(np.random.get_state()),
        "python generator": random.getstate(),
        "warning filters": list(warnings.filters),
    }

statement, optional = sys.argv[1:]
before = state()
with contextlib.redirect_stdout(io.StringIO()) as printed:
    exec(statement)
after = state()
print(json.dumps({
    "printed": printed.getvalue(),
    "loaded": [name for name in json.loads(optional) if name in sys.modules],
    "changed": [name for name in before if before[name] != after[name]],
}))
"""


def observe(statement):
    """Run the statement in a new interpreter and return what it printed, loaded and changed."""
    command = [sys.executable, "-c", OBSERVE, statement, json.dumps(OPTIONAL)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def test_import_is_quiet_and_light_and_leaves_global_state_alone():
    seen = observe("warnings.simplefilter('error'); import sks4; warnings.filters.pop(0)")
    assert seen == {"printed": "", "loaded": [], "changed": []}


def test_observer_notices_what_an_import_must_not_do():
    seen = observe("import safetensors; torch.manual_seed(1); random.seed(1); print('hello')")
    assert seen == {
        "printed": "hello\n",
        "loaded": ["safetensors"],
        "changed": ["torch generator", "python generator"],
    }


@pytest.mark.parametrize("name", sks4.__all__)
def test_public_name_exists(name):
    assert getattr(sks4, name) is not None


def test_package_says_that_it_is_typed():
    assert resources.files("sks4").joinpath("py.typed").is_file()


def test_helpers_of_the_layers_are_no_part_of_the_interface_of_ssm():
    helpers = {"can_run", "recurrence_pays", "check_lengths", "real_steps", "reverse_sequences"}
    assert not helpers & set(sks4.ssm.__all__)
