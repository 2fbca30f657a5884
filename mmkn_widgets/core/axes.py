"""matplotlib Axes in the manner of xarray: given or made, drawn on, returned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import bad_argument

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLORS", "axes_for", "open_frame"]

#: of Okabe and Ito, told apart by colour-blind people and in grey print
COLORS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "red": "#D55E00",
    "green": "#009E73",
    "sky": "#56B4E9",
    "pink": "#CC79A7",
    "grey": "#767676",
}


def axes_for(
    ax: Axes | None, figsize: tuple[float, float] | None, usual: tuple[float, float]
) -> Axes:
    """Return the Axes to draw on: `ax`, or the only one of a new figure.

    Parameters
    ----------
    ax : matplotlib.axes.Axes, optional
    figsize : (float, float), optional
        Width and height of the new figure in inches.
    usual : (float, float)
        Of what is drawn, where nobody says.

    Raises
    ------
    BadArgument
        If `ax` is no Axes, or both are given.

    Examples
    --------
    >>> axes_for(None, (3, 2), (6, 4)).figure.get_size_inches().tolist()
    [3.0, 2.0]
    """
    if ax is None:
        import matplotlib.pyplot as plt

        made: Axes = plt.subplots(figsize=figsize or usual, layout="constrained")[1]
        return made
    if not hasattr(ax, "imshow"):
        raise bad_argument("ax", type(ax).__name__, "a matplotlib Axes, or None for a new figure")
    if figsize is not None:
        raise bad_argument("figsize", figsize, "none beside ax, whose figure has its size")
    return ax


def open_frame(ax: Any, grid: str | None = None) -> None:
    """Take away the frame's upper and right side, draw faint lines at ticks, calm the title.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    grid : {"x", "y", "both"}, optional

    Examples
    --------
    >>> ax = axes_for(None, None, (3, 2))
    >>> open_frame(ax, "y")
    >>> ax.spines["top"].get_visible()
    False
    """
    ax.spines[["top", "right"]].set_visible(False)
    ax.title.set_fontsize(10)
    if grid:
        ax.grid(axis=grid, color="#767676", alpha=0.25, linewidth=0.6)
        ax.set_axisbelow(True)
