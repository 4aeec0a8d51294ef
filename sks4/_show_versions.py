"""What is installed, for reports of bugs."""

import platform
import sys
from importlib import metadata

from sks4 import _native
from sks4._version import __version__

_DEPENDENCIES = (
    *("numpy", "scipy", "pandas", "scikit-learn", "skorch", "torch", "joblib", "threadpoolctl"),
    *("matplotlib", "safetensors", "statsmodels"),
)


def show_versions() -> None:
    """Print the versions of Python, of sks4 and of what it uses, and which code computes.

    ``compiled recurrence`` is one of: the instructions that are used; that it is turned off
    (``SKS4_NATIVE=0`` in the environment); that it is not compiled, cannot be loaded, or was
    compiled from other sources, in which cases everything runs through torch.

    Examples
    --------
    >>> import sks4
    >>> sks4.show_versions()
    <BLANKLINE>
    System:
      python: ...
    """
    _print_table("System", _system())
    packages = {"sks4": __version__} | {name: _version(name) for name in _DEPENDENCIES}
    _print_table("Packages", packages)
    _print_table("Computation", _computation())


def _system() -> dict[str, str]:
    return {
        "python": sys.version.replace("\n", " "),
        "executable": sys.executable,
        "machine": platform.platform(),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _computation() -> dict[str, str]:
    import torch

    return {
        "compiled recurrence": _native.status(),
        "threads of torch": str(torch.get_num_threads()),
        "devices": f"cuda ({torch.cuda.device_count()})" if torch.cuda.is_available() else "cpu",
    }


def _print_table(title: str, rows: dict[str, str]) -> None:
    print(f"\n{title}:")
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:>{width + 2}}: {value}")
