"""Directive ``benchmark-table``: chosen columns of a table in ``benchmarks/results``.

``where`` (``column=value``, several separated by ``;``) keeps rows. ``pivot`` (index column, column
of names, column of values) makes one column of each name. ``digits`` rounds the columns named in
``compare``, and ``best`` ("min" or "max") prints the best of them in each row bold. The content
names the columns to show, one a line, as ``column = heading``. A link to the whole table follows.
"""

from pathlib import Path

import pandas as pd
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
MAX_COLUMNS = 6


def chosen_rows(table, where):
    """Return the rows in which every named column has the given value, compared as text."""
    for condition in filter(None, where.split(";")):
        column, value = (part.strip() for part in condition.split("=", 1))
        table = table[table[column].astype(str) == value]
    return table


def pivoted(table, pivot):
    """Return one row for each value of the first column, one column for each of the second."""
    index, names, values = pivot.split()
    return table.pivot(index=index, columns=names, values=values).reset_index()


def text_of(value, digits):
    """Return a cell: numbers rounded, a dash where nothing was measured."""
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return "–"
    if float(value).is_integer() and digits is None:
        return f"{value:,.0f}"
    return f"{value:,.{3 if digits is None else digits}f}"


def cells(row, columns, digits, best, compare):
    """Return the texts of one row, the best of the compared ones bold."""
    numbers = row[compare].dropna() if best else row[[]]
    top = None if numbers.empty else getattr(numbers, best)()
    return [
        f"**{text_of(row[name], digits)}**"
        if name in compare and row[name] == top
        else text_of(row[name], None if not compare or name not in compare else digits)
        for name in columns
    ]


class BenchmarkTable(SphinxDirective):
    """Table of results with few columns."""

    required_arguments = 1
    has_content = True
    option_spec = {  # noqa: RUF012
        "where": directives.unchanged,
        "pivot": directives.unchanged,
        "digits": directives.nonnegative_int,
        "best": lambda value: directives.choice(value, ("min", "max")),
        "compare": directives.unchanged,
    }

    def run(self):
        """Return the table and the link."""
        path = RESULTS / self.arguments[0]
        self.env.note_dependency(str(path))
        table = chosen_rows(pd.read_csv(path), self.options.get("where", ""))
        if "pivot" in self.options:
            table = pivoted(table, self.options["pivot"])
        headings = dict(map(str.strip, line.split("=", 1)) for line in self.content)
        if len(headings) > MAX_COLUMNS or table.empty:
            raise self.error(
                f"needs rows and at most {MAX_COLUMNS} columns, got {table.shape[0]} rows and "
                f"{len(headings)} columns"
            )
        compare = [name.strip() for name in self.options.get("compare", "").split(",") if name]
        rows = [
            cells(row, headings, self.options.get("digits"), self.options.get("best"), compare)
            for _, row in table.iterrows()
        ]
        return self.parse_text_to_nodes("\n".join(self._lines(path, headings.values(), rows)))

    def _lines(self, path, headings, rows):
        """Return the table in reStructuredText."""
        yield from (".. list-table::", "   :header-rows: 1", "")
        for row in [headings, *rows]:
            for i, cell in enumerate(row):
                yield f"   {'* -' if i == 0 else '  -'} {cell}"
        target = Path(*[".."] * len(Path(self.env.docname).parts), *path.parts[-3:])
        yield from ("", f"All columns: :download:`{path.name} <{target.as_posix()}>`", "")


def setup(app):
    """Register the directive."""
    app.add_directive("benchmark-table", BenchmarkTable)
    return {"parallel_read_safe": True}
