"""The axes to draw into, and colors."""

from typing import TYPE_CHECKING, Any

from sks4.exceptions import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito 2008 (Color Universal Design), without their yellow, which is faint on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINE_STYLES = ("-", "--", ":", "-.")
GRAY = "0.45"

HEIGHT = 3.2  # inches, of a new figure
WIDTH = 7.0


def new_axes(ax: Any) -> "Axes":
    """Return `ax`, or the axes of a new figure if it is None.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    TypeError
        If `ax` is neither None nor a matplotlib Axes.
    """
    try:
        from matplotlib import pyplot
        from matplotlib.axes import Axes
    except ImportError as err:
        raise MissingDependencyError(
            'sks4.plot needs matplotlib. Install it with pip install "sks4[plot]".'
        ) from err
    if ax is None:
        _, ax = pyplot.subplots(figsize=(WIDTH, HEIGHT), layout="constrained")
    if not isinstance(ax, Axes):
        raise TypeError(
            f"ax must be a matplotlib Axes or None, got {type(ax).__name__}. "
            "Pass a single one of several axes, such as axes[0]."
        )
    return ax


def line_format(index: int) -> dict[str, Any]:
    """Return color and line style of the line with this number; all differ for 28 lines."""
    return {
        "color": COLORS[index % len(COLORS)],
        "linestyle": LINE_STYLES[index // len(COLORS) % len(LINE_STYLES)],
    }


def integer_ticks(ax: "Axes") -> None:
    """Put the ticks of the horizontal axis at integers only."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def label_axes(ax: "Axes", x: str, y: str, unit: str | None = None) -> None:
    """Name both axes, the vertical one with its unit."""
    ax.set_xlabel(x)
    ax.set_ylabel(f"{y} ({unit})" if unit else y)
