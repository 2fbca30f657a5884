"""matplotlib Axes in the manner of xarray: given or made, drawn on, returned."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .errors import bad_argument

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "COLORS",
    "axes_for",
    "counted",
    "label_axes",
    "legend_beside",
    "open_frame",
    "points_of",
    "shortened",
    "wrapped",
]

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
    """Take away the frame's upper and right side, draw faint lines at ticks, calm their labels.

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
    ax.tick_params(labelsize="small")
    if grid:
        ax.grid(axis=grid, color="#767676", alpha=0.25, linewidth=0.6)
        ax.set_axisbelow(True)


def points_of(ax: Any) -> tuple[float, float]:
    """Return the width and height of Axes in points (1/72 inch), as the figure stands now.

    Examples
    --------
    >>> ax = axes_for(None, (4, 2), (6, 4))
    >>> [round(side) for side in points_of(ax)]
    [223, 111]
    """
    scale = 72 / float(ax.figure.dpi)
    return float(ax.bbox.width) * scale, float(ax.bbox.height) * scale


#: a letter's mean width, of its font's size
_LETTER = 0.54


def wrapped(text: str, points: float, size: float) -> str:
    r"""Break a text into lines of at most so many points; a word is never broken.

    Parameters
    ----------
    text : str
    points : float
        Room, in 1/72 inch.
    size : float
        Of the font, in the same unit.

    Examples
    --------
    >>> wrapped("60 neurons of 'car'", 72, 10)
    "60 neurons of\n'car'"
    """
    room = max(8, int(points / (_LETTER * size)))
    return "\n".join(textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False))


def label_axes(
    ax: Any, *, title: str = "", xlabel: str = "", ylabel: str = "", margin: float = 0.0
) -> None:
    """Write title and labels in as many lines as the Axes' width and height ask for.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    title, xlabel, ylabel : str
        The title begins where the Axes begin; a matplotlib layout sees to the lines' height, not
        to their width.
    margin : float
        Points that labels at the left take from the Axes' width, beyond what numbers take.

    Examples
    --------
    >>> ax = axes_for(None, (2, 2), (6, 4))
    >>> label_axes(ax, title="60 neurons of 'car', scene 4", xlabel="layer")
    >>> len(ax.get_title().splitlines())
    2
    """
    width, height = points_of(ax)
    lines = wrapped(ylabel, height, ax.yaxis.label.get_fontsize()).count("\n")
    width -= margin + 1.3 * lines * ax.yaxis.label.get_fontsize()
    if title:
        ax.set_title("", x=0, ha="left", fontsize="medium")
        ax.title.set_text(wrapped(title, width, ax.title.get_fontsize()))
    for text, room, write, size in (
        (xlabel, width, ax.set_xlabel, ax.xaxis.label.get_fontsize()),
        (ylabel, height, ax.set_ylabel, ax.yaxis.label.get_fontsize()),
    ):
        if text:
            write(wrapped(text, room, size))


def legend_beside(ax: Any, handles: Sequence[Any] | None = None, **options: Any) -> None:
    """Put a legend at the right of Axes, and of narrow ones (a paper's column) below them.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Its label must have been written.
    handles : sequence of matplotlib.artist.Artist, optional
        By default what has a label.
    **options
        Of ``Axes.legend``.

    Examples
    --------
    >>> ax = axes_for(None, (3, 3), (6, 4))
    >>> _ = ax.plot([1, 2], label="suppression")
    >>> legend_beside(ax)
    >>> ax.get_legend().get_texts()[0].get_text()
    'suppression'
    """
    from matplotlib.transforms import ScaledTranslation

    wide = points_of(ax)[0] >= 230
    options = {"frameon": False, "fontsize": "small" if wide else "x-small"} | options
    if handles is not None:
        options["handles"] = handles
    if wide:
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), **options)
        return
    lines = 1 + ax.get_xlabel().count("\n")
    below = 4 + 1.6 * ax.xaxis.get_ticklabels()[0].get_fontsize()
    below += 1.3 * lines * ax.xaxis.label.get_fontsize()
    place = ScaledTranslation(0, -below / 72, ax.figure.dpi_scale_trans)
    ax.legend(
        loc="upper center", bbox_to_anchor=(0.5, 0.0), bbox_transform=ax.transAxes + place,
        ncols=2, columnspacing=1.0, handletextpad=0.5, **options,
    )  # fmt: skip


def shortened(text: str, most: int = 28) -> str:
    """Cut a name that no label has room for.

    Examples
    --------
    >>> shortened("a dining table with four chairs", 16)
    'a dining table…'
    """
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where there are more or less than one.

    Examples
    --------
    >>> counted(1, "neuron"), counted(3072, "neuron")
    ('1 neuron', '3,072 neurons')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
