"""The arrows between the parts of the package, read from the imports.

::

    exceptions, _validation            (everyone may use)

        ssm  <---  nn  -----------+
        data  --------------------+---  estimators  <---  plotting, persistence, export,
        training  ----------------+                       model_selection
"""

import ast
from pathlib import Path

import pytest

import sks4

ROOT = Path(sks4.__file__).parent
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))

HELPERS = {"exceptions", "_validation", "_version", "_compat"}
INNER = {"ssm", "nn", "data", "training", "estimators"} | HELPERS
MAY_IMPORT = {
    "exceptions": set(),
    "_validation": {"exceptions"},
    "_version": set(),
    "_compat": set(),
    "ssm": HELPERS,
    "nn": {"ssm"} | HELPERS,
    "data": HELPERS,
    "training": HELPERS,
    "estimators": {"nn", "data", "training"} | HELPERS,
    "datasets": {"data"} | HELPERS,
    "plotting": INNER,
    "persistence": INNER,
    "export": INNER,
    "model_selection": INNER,
}
SKORCH_SUBCLASS = "_compat.py"


def part_of(file):
    """Return the folder or top-level file that `file` belongs to, '' for ``sks4/__init__.py``."""
    return "" if file == "__init__.py" else file.split("/")[0].removesuffix(".py")


def absolute_module(node, file):
    """Return the absolute name of the module that a ``from`` import names."""
    if node.level == 0:
        return node.module
    package = ["sks4", *file.split("/")[:-1]]
    base = package[: len(package) - node.level + 1]
    return ".".join(base + ([node.module] if node.module else []))


def imported_names(tree, file):
    """Yield (local name, full dotted name) of everything that the file imports, wherever."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name, alias.name
        elif isinstance(node, ast.ImportFrom):
            module = absolute_module(node, file)
            for alias in node.names:
                yield alias.asname or alias.name, f"{module}.{alias.name}"


def dotted(node):
    """Return ``a.b.c`` for the attribute access of that form, None for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := dotted(node.value)):
        return f"{base}.{node.attr}"
    return None


def used_names(tree, file):
    """Yield the full dotted name of everything imported, and of attributes taken from it."""
    local = dict(imported_names(tree, file))
    yield from local.values()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (name := dotted(node)):
            first, _, rest = name.partition(".")
            if first in local:
                yield f"{local[first]}.{rest}"


def reach_violations(tree, file):
    """Yield what the file takes from a part that it must not know, or from a private file."""
    part = part_of(file)
    for name in used_names(tree, file):
        top, _, rest = name.partition(".")
        other, *inside = rest.split(".")
        if top != "sks4" or other == part:
            continue
        if part and other not in MAY_IMPORT[part]:
            yield f"{file}: {part} must not import {name}"
        if any(step.startswith("_") and not step.startswith("__") for step in inside):
            yield f"{file}: {name} is private to {other}"


def subclass_violations(tree, file):
    """Yield the classes that inherit from a net of skorch, except in the one file that may."""
    local = dict(imported_names(tree, file))
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef) or file == SKORCH_SUBCLASS:
            continue
        for base in filter(None, map(dotted, node.bases)):
            first, _, rest = base.partition(".")
            full = local.get(first, first) + ("." + rest if rest else "")
            if full.startswith("skorch.") and full.split(".")[-1].startswith("NeuralNet"):
                yield f"{file}: only {SKORCH_SUBCLASS} may subclass {full}"


def violations(source, file):
    """Return one sentence for each rule that the source of `file` breaks."""
    part = part_of(file)
    if part and part not in MAY_IMPORT:
        return [f"{file}: {part} has no place in the architecture"]
    tree = ast.parse(source)
    return [*reach_violations(tree, file), *subclass_violations(tree, file)]


@pytest.mark.parametrize("file", FILES)
def test_file_follows_the_arrows(file):
    assert violations((ROOT / file).read_text(encoding="utf-8"), file) == []


def test_every_part_is_found():
    assert {"ssm", "nn", "data", "training", "estimators"} | HELPERS <= set(map(part_of, FILES))


@pytest.mark.parametrize(
    ("file", "source", "message"),
    [
        ("nn/_layer.py", "from sks4.data import pad", "nn must not import sks4.data"),
        ("nn/_layer.py", "from .. import data", "nn must not import sks4.data"),
        ("nn/_layer.py", "import sks4.data as d", "nn must not import sks4.data"),
        ("nn/_layer.py", "import sks4", "nn must not import sks4"),
        ("data/_long.py", "from ..nn import S4Layer", "data must not import sks4.nn"),
        ("training/_net.py", "from sks4 import nn", "training must not import sks4.nn"),
        ("training/_net.py", "from ..data import collate", "training must not import sks4.data"),
        ("ssm/_scan.py", "from sks4.nn import S4Layer", "ssm must not import sks4.nn"),
        ("ssm/_scan.py", "def f():\n    from ..nn import g", "ssm must not import sks4.nn"),
        ("estimators/_base.py", "from .. import plotting", "must not import sks4.plotting"),
        ("export.py", "from . import persistence", "export must not import sks4.persistence"),
        ("_validation.py", "from .ssm import hippo", "_validation must not import sks4.ssm"),
        ("nn/_layer.py", "from sks4.ssm._scan import scan", "is private to ssm"),
        ("nn/_layer.py", "from ..ssm import _scan", "is private to ssm"),
        ("nn/_layer.py", "from .. import ssm\nssm._scan.scan()", "is private to ssm"),
        ("nn/_layer.py", "import sks4.ssm._scan", "is private to ssm"),
        ("__init__.py", "from .ssm._scan import scan", "is private to ssm"),
        ("deep/_new.py", "", "deep has no place in the architecture"),
        (
            "estimators/_base.py",
            "from skorch import NeuralNetClassifier as Net\nclass A(Net): ...",
            "only _compat.py may subclass skorch.NeuralNetClassifier",
        ),
        ("nn/_model.py", "import skorch\nclass A(skorch.NeuralNet): ...", "may subclass"),
    ],
)
def test_violation_is_found(file, source, message):
    assert any(message in found for found in violations(source, file))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("nn/_layer.py", "from sks4 import ssm\nssm.scan()"),
        ("nn/_layer.py", "from ..ssm import scan\nfrom .._validation import check_choice"),
        ("nn/_model.py", "from ._layer import S4Layer\nfrom sks4.nn import _block"),
        ("estimators/_base.py", "from ..training import S4Net\nclass A(S4Net): ..."),
        ("_compat.py", "from skorch import NeuralNet\nclass A(NeuralNet): ..."),
        ("training/_net.py", "from sks4._compat import SkorchNet\nclass A(SkorchNet): ..."),
        ("plotting.py", "from .estimators import S4Classifier\nfrom . import ssm"),
        ("ssm/_scan.py", "import torch\nfrom sklearn import model_selection"),
        ("__init__.py", "from . import plotting\nfrom .persistence import load, save"),
    ],
)
def test_permitted_import_is_accepted(file, source):
    assert violations(source, file) == []
