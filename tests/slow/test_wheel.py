"""A wheel in an environment of its own: the examples of the README, and the suite without C."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(
    r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL
)

pytestmark = pytest.mark.slow


def run(*command, cwd, **variables):
    result = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return result.stdout


@pytest.fixture(scope="module", params=["compiler", "no compiler"])
def environment(request, tmp_path_factory):
    """Return whether there is compiled code, and the interpreter of an environment with sks4."""
    folder = tmp_path_factory.mktemp("wheel")
    has_compiler = request.param == "compiler"
    hidden = {} if has_compiler else {"CC": "/no/such/compiler"}
    pip = ["-m", "pip", "--disable-pip-version-check", "-q"]
    run(sys.executable, *pip, "wheel", ROOT, "--no-deps", "-w", folder, cwd=folder, **hidden)
    (wheel,) = folder.glob("*.whl")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    constraints = ["--constraint", ROOT / "constraints.txt"]
    run(python, *pip, "install", *constraints, f"{wheel}[test]", cwd=folder)
    return has_compiler, python


def test_wheel_has_compiled_code_where_there_was_a_compiler(environment, tmp_path):
    has_compiler, python = environment
    versions = run(python, "-c", "import sks4; sks4.show_versions()", cwd=tmp_path)
    assert ("not compiled" in versions) != has_compiler


@pytest.mark.parametrize("code", EXAMPLES)
def test_example_of_the_readme_runs(environment, code, tmp_path):
    _, python = environment
    assert run(python, "-c", code, cwd=tmp_path)


def test_suite_passes(environment, tmp_path):
    has_compiler, python = environment
    if has_compiler:
        pytest.skip("make test")
    options = ["-p", "no:cacheprovider", "-q", "--rootdir", ROOT, "-c", ROOT / "pyproject.toml"]
    workers = ["--numprocesses", "2", "--dist", "worksteal"]
    command = [python, "-P", "-m", "pytest", *options, *workers, ROOT / "tests"]
    printed = run(*command, cwd=tmp_path, OMP_NUM_THREADS="1")
    assert re.search(r"\d{4} passed", printed)
