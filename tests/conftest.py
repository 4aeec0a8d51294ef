"""Settings that hold for every test."""

import pytest
import torch
from hypothesis import settings

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
