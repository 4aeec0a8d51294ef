"""What all displays share: where they are drawn."""

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


class Display:
    """Data that can be drawn, as scikit-learn's displays.

    Attributes
    ----------
    ax_ : Axes
        Where it was drawn.
    figure_ : Figure
        Figure of these axes.
    """

    ax_: "Axes"
    figure_: "Figure | SubFigure"

    def _drawn_in(self, ax: "Axes") -> Self:
        """Return the display, which has been drawn into axes."""
        self.ax_, self.figure_ = ax, ax.figure
        return self
