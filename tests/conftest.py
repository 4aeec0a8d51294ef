"""Settings that hold for every test."""

import pytest
import torch
from hypothesis import settings

from sks4 import _native

# The same examples in every run, and no deadline: the first call into torch may take a second.
settings.register_profile("sks4", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("sks4")


def pytest_collection_modifyitems(items):
    """Skip the tests marked `gpu` where there is no CUDA device."""
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


@pytest.fixture
def forbid_compiled(monkeypatch):
    """Turn the compiled code off, as if it were not installed."""
    monkeypatch.setattr(_native, "_core", None)


@pytest.fixture(params=["compiled", "torch"])
def path(request, monkeypatch):
    """Run a test once with compiled code and once without, and assert that this path was taken."""
    if request.param == "torch":
        monkeypatch.setattr(_native, "_core", None)
    elif not _native.is_available():
        pytest.skip(f"no compiled code: {_native.status()}")
    before = dict(_native.N_CALLS)
    yield request.param
    assert (before != _native.N_CALLS) == (request.param == "compiled")
