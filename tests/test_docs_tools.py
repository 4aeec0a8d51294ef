"""The tools of the documentation: the check of built pages, and tables of results."""

import importlib.util
import shutil
from pathlib import Path

import pandas as pd
import pytest

DOCS = Path(__file__).parents[1] / "docs"


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check_pages = load(DOCS / "check_pages.py")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "a.png").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "page.html").write_text('<h1 id="top">A</h1><img src="../_static/a.png">')
    return tmp_path


@pytest.mark.parametrize(
    "body",
    [
        '<a href="sub/page.html#top">a</a><a href="#here">b</a><p id="here">',
        '<a href="https://example.org/x.html">a</a><a href="mailto:a@b.org">b</a>',
        '<img src="_static/a.png"><script src="_static/a.png"></script>',
    ],
)
def test_references_that_exist_are_accepted(folder, body):
    (folder / "index.html").write_text(body)
    assert list(check_pages.broken_references(folder)) == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="sub/none.html">a</a>', "sub/none.html does not exist"),
        ('<a href="sub/page.html#none">a</a>', "has no such place"),
        ('<a href="#none">a</a>', "has no such place"),
        ('<img src="_static/none.png">', "_static/none.png does not exist"),
    ],
)
def test_broken_reference_is_reported(folder, body, problem):
    (folder / "index.html").write_text(body)
    (line,) = check_pages.broken_references(folder)
    assert line.startswith("index.html: ")
    assert line.endswith(problem)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_page_wider_than_a_screen_is_reported(folder):
    (folder / "index.html").write_text('<div style="width:700px">a</div>')
    lines = list(check_pages.too_wide("chromium", folder))
    assert len(lines) == 1
    assert lines[0].startswith("index.html: ")
    assert lines[0].endswith("pixels wider than a screen of 400")


def test_table_has_the_best_number_of_each_row_in_bold():
    table = pytest.importorskip("sphinx") and load(DOCS / "_ext" / "benchmark_table.py")
    row = pd.Series({"data": "A", "n": 1200.0, "a": 0.91234, "b": 0.5, "c": float("nan")})
    columns, compared = ["data", "n", "a", "b", "c"], ["a", "b", "c"]
    assert table.cells(row, columns, 2, "max", compared) == ["A", "1,200", "**0.91**", "0.50", "–"]
    assert table.cells(row, columns, 2, "min", compared)[3] == "**0.50**"


def test_table_keeps_the_rows_that_are_asked_for():
    table = pytest.importorskip("sphinx") and load(DOCS / "_ext" / "benchmark_table.py")
    rows = pd.DataFrame({"mode": ["a", "a", "b"], "size": [1, 2, 1], "value": [0.1, 0.2, 0.3]})
    assert table.chosen_rows(rows, "mode=a; size=2")["value"].tolist() == [0.2]
    assert table.pivoted(rows, "size mode value").columns.tolist() == ["size", "a", "b"]
