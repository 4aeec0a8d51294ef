"""The arrows between the parts of the package, read from the imports.

::

    exceptions, _validation            (everyone may use)

    _native  <---  ssm  <---  nn  ----+
                   data  -------------+---  estimators  <---  plot, persistence, export,
                   training  ---------+                       model_selection, metrics

`nn` may use `_native` too. `_show_versions` reports on the installation. No module imports itself
through others, and private names of other packages are in `_compat` alone.
"""

import ast
from graphlib import CycleError, TopologicalSorter
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
    "_native": set(),
    "ssm": {"_native"} | HELPERS,
    "nn": {"ssm", "_native"} | HELPERS,
    "data": HELPERS,
    "training": HELPERS,
    "estimators": {"nn", "data", "training"} | HELPERS,
    "datasets": {"data"} | HELPERS,
    "plot": {"nn", "estimators"} | HELPERS,
    "persistence": INNER,
    "export": INNER,
    "model_selection": INNER,
    "metrics": {"data"} | HELPERS,
    "_show_versions": {"_native", "_version"},
}
SKORCH_SUBCLASS = PRIVATE_NAMES = "_compat.py"
# Public methods of named tuples, in spite of their names.
NAMED_TUPLE = {"_replace", "_asdict", "_fields", "_make"}


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


def is_private(name):
    """Return whether a name has one leading underscore, and is more than that."""
    return name.startswith("_") and not name.startswith("__") and name.strip("_") != ""


def defined_attributes(tree):
    """Return the private attributes that a file defines: of classes, of ``self``, or by name."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                targets = getattr(part, "targets", [getattr(part, "target", part)])
                names |= {getattr(target, "id", getattr(target, "name", "")) for target in targets}
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.Dict):  # fitted attributes are assigned together
            names |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
    return {name for name in names if isinstance(name, str) and is_private(name)}


def is_own(node):
    """Return whether an expression is ``self``, ``cls`` or ``super()``."""
    node = node.func if isinstance(node, ast.Call) else node
    return isinstance(node, ast.Name) and node.id in {"self", "cls", "super"}


def private_violations(tree, file):
    """Yield the private names of other packages, and of other files, except in `_compat`.

    A private attribute belongs to the file that defines it. Through ``self`` it may come from a
    base class of the package.
    """
    if file == PRIVATE_NAMES:
        return
    for name in used_names(tree, file):
        top, *inside = name.split(".")
        if top != "sks4" and any(map(is_private, [top, *inside])):
            yield f"{file}: only {PRIVATE_NAMES} may use {name}"
    here = defined_attributes(tree) | NAMED_TUPLE
    modules = {name for name, full in imported_names(tree, file) if full.startswith("sks4")}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not is_private(node.attr):
            continue
        is_module = isinstance(node.value, ast.Name) and node.value.id in modules
        known = here | OWN_ATTRIBUTES if is_own(node.value) or is_module else here
        if node.attr not in known:
            yield f"{file}: {node.attr} is private to another file or package"


OWN_ATTRIBUTES = set().union(
    *(defined_attributes(ast.parse((ROOT / file).read_text(encoding="utf-8"))) for file in FILES)
)


def violations(source, file):
    """Return one sentence for each rule that the source of `file` breaks."""
    part = part_of(file)
    if part and part not in MAY_IMPORT:
        return [f"{file}: {part} has no place in the architecture"]
    tree = ast.parse(source)
    return [
        *reach_violations(tree, file),
        *subclass_violations(tree, file),
        *private_violations(tree, file),
    ]


def module_of(file):
    """Return the dotted name of the module that a file holds."""
    return ".".join(["sks4", *file.removesuffix(".py").split("/")]).removesuffix(".__init__")


def import_cycle(sources):
    """Return modules that import each other, the first one again at the end, or an empty list.

    Every import counts, also within a function or under ``TYPE_CHECKING``.
    """
    modules = set(map(module_of, sources))
    graph = {}
    for file, source in sources.items():
        names = [name for _, name in imported_names(ast.parse(source), file)]
        # `from a import b` reads the module a.b if there is one, else the module a
        found = {name if name in modules else name.rpartition(".")[0] for name in names}
        graph[module_of(file)] = found & modules
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_module_imports_itself_through_others():
    sources = {file: (ROOT / file).read_text(encoding="utf-8") for file in FILES}
    assert import_cycle(sources) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("from sks4.data._b import g", "from sks4.data._a import f"),
        ("from sks4.data import _b", "from ._a import f"),
        ("import sks4.data._b", "def g():\n    from sks4.data import _a"),
        (
            "from sks4.data._b import g",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ._a import F",
        ),
        ("from sks4.data._b import g", "from sks4.data import f"),
    ],
)
def test_import_cycle_is_found(first, second):
    package = "from sks4.data._a import f"
    sources = {"data/__init__.py": package, "data/_a.py": first, "data/_b.py": second}
    assert {"sks4.data._a", "sks4.data._b"} <= set(import_cycle(sources))
    assert import_cycle(sources | {"data/_b.py": "import numpy"}) == []


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
        ("estimators/_base.py", "from .. import plot", "must not import sks4.plot"),
        ("estimators/_base.py", "import sks4.plot", "must not import sks4.plot"),
        ("plot/_layer.py", "from sks4 import training", "plot must not import sks4.training"),
        ("export.py", "from . import persistence", "export must not import sks4.persistence"),
        ("_validation.py", "from .ssm import hippo", "_validation must not import sks4.ssm"),
        ("nn/_layer.py", "from sks4.ssm._scan import scan", "is private to ssm"),
        ("nn/_layer.py", "from ..ssm import _scan", "is private to ssm"),
        ("nn/_layer.py", "from .. import ssm\nssm._scan.scan()", "is private to ssm"),
        ("nn/_layer.py", "import sks4.ssm._scan", "is private to ssm"),
        ("__init__.py", "from .ssm._scan import scan", "is private to ssm"),
        ("data/_long.py", "from sks4 import _native", "data must not import sks4._native"),
        ("training/_net.py", "from .. import _native", "training must not import sks4._native"),
        ("_native/__init__.py", "from sks4 import ssm", "_native must not import sks4.ssm"),
        ("ssm/_scan.py", "from sks4._native import _core", "sks4._native._core is private"),
        ("deep/_new.py", "", "deep has no place in the architecture"),
        (
            "estimators/_base.py",
            "from skorch import NeuralNetClassifier as Net\nclass A(Net): ...",
            "only _compat.py may subclass skorch.NeuralNetClassifier",
        ),
        ("nn/_model.py", "import skorch\nclass A(skorch.NeuralNet): ...", "may subclass"),
        (
            "data/_rows.py",
            "from sklearn.utils.validation import _num_samples",
            "only _compat.py may use sklearn.utils.validation._num_samples",
        ),
        ("data/_rows.py", "import sklearn.utils as u\nu._tags.f()", "sklearn.utils._tags.f"),
        ("nn/_layer.py", "import torch\ntorch._C.f()", "only _compat.py may use torch._C"),
        ("nn/_layer.py", "def f(p):\n    return p._version", "_version is private to another"),
        ("training/_net.py", "self._get_params_for", "_get_params_for is private to another"),
        ("data/_rows.py", "self.rows._adopt()", "_adopt is private to another"),
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
        ("plot/_layer.py", "from sks4.estimators import S4Classifier\nfrom .. import nn"),
        ("export.py", "from .estimators import S4Classifier\nfrom . import ssm"),
        ("_compat.py", "from sklearn.utils.validation import _num_samples"),
        ("estimators/_regression.py", "self._adopt(trained, {})"),
        ("data/_rows.py", "class A:\n    _x = 1\n\ndef f(a):\n    return a._x"),
        ("data/_rows.py", "state._replace(x=1)"),
        ("ssm/_recurrence.py", "from sks4 import _native\n_native.forward()"),
        ("ssm/_scan.py", "import torch\nfrom sklearn import model_selection"),
        ("__init__.py", "from . import plot\nfrom .persistence import load, save"),
    ],
)
def test_permitted_import_is_accepted(file, source):
    assert violations(source, file) == []
