"""Where each image token looks: boxes on the picture, and how values over tokens are painted.

A :class:`Geometry` says for every image token of one prompt which rectangle of the *original*
picture it was made from, after the processor's resize, crop, padding and tiling, and paints values
over tokens back onto that picture. How the rectangles are found is in the files beside this one
(``geometry_frames``: pixels of the processed picture to the original; ``geometry_layout``: tokens
to pixels of the processed picture).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...core import BadArgument, NotSupported, bad_argument
from .origins import Box

__all__ = ["Geometry", "GeometryKind", "Panel", "merge_tiles", "one_picture", "raster", "several"]

GeometryKind = Literal["grid", "merged_grid", "tiles", "strips", "queries", "none"]


@dataclass(frozen=True, eq=False)
class Geometry:
    """The places of the image tokens of one picture.

    Parameters
    ----------
    kind : {"grid", "merged_grid", "tiles", "strips", "queries", "none"}
        ``grid``: one token a patch (or a block of patches that the projector pools);
        ``merged_grid``: the vision tower works on a grid whose neighbours are merged (Qwen 2x2);
        ``tiles``: the picture is seen in several crops; ``strips``: cells that are not square
        (MiniGPT-4 with Llama-2: 16x4); ``queries``: learned queries without a place of their own,
        painted through their cross-attention; ``none``: no place is known, see `reason`.
    shape : tuple of int
        (rows, columns) of the token grid; of the finest panel for tiles; (0, 0) without a grid.
    boxes : array, (image token, 4)
        x0, y0, x1, y1 in pixels of the original picture, continuous (pixel ``i`` covers
        ``[i, i+1)``). Cells that lie on the processor's padding reach outside of the picture;
        tokens without a place (newlines, separators) hold NaN.
    picture_size : tuple of int
        (height, width) of the original picture.
    panels : tuple of arrays, each (rows, columns)
        Indices into the image tokens, one raster per panel (the whole picture, the mosaic of
        tiles, the overview); -1 where a cell has no token. The first is the finest.
    approximate : bool
        True when the places are inferred from attention instead of the layout of the pixels.
    reason : str
        Why nothing can be painted, or what is approximate. One sentence.
    attention : callable, optional
        For ``queries``: returns (weights (image token, rows, columns), box of that grid on the
        picture); called at the first paint.

    Examples
    --------
    >>> import numpy as np
    >>> from mmkn_widgets.models.geometry import Geometry
    >>> geometry = Geometry.grid(2, 2, picture_size=(4, 4))
    >>> geometry.boxes[1].tolist()
    [2.0, 0.0, 4.0, 2.0]
    >>> geometry.paint([0, 1, 0, 0], smooth=False)[0].tolist()
    [0.0, 0.0, 1.0, 1.0]
    """

    kind: GeometryKind
    shape: tuple[int, int]
    boxes: NDArray[np.float64]
    picture_size: tuple[int, int]
    panels: tuple[NDArray[np.int64], ...] = ()
    approximate: bool = False
    reason: str = ""
    attention: Callable[[], tuple[NDArray[np.float64], tuple[float, ...]]] | None = field(
        default=None, repr=False
    )

    @classmethod
    def grid(
        cls,
        rows: int,
        cols: int,
        picture_size: tuple[int, int],
        box: tuple[float, float, float, float] | None = None,
        kind: GeometryKind = "grid",
    ) -> Geometry:
        """Return a plain raster of `rows` x `cols` tokens over `box` (default: the whole picture).

        Parameters
        ----------
        rows, cols : int
            The token grid, raster order.
        picture_size : tuple of int
            (height, width) of the original picture.
        box : tuple of float, optional
            x0, y0, x1, y1 of the part the grid covers, in picture pixels.
        kind : str
            Recorded as the geometry's kind.
        """
        x0, y0, x1, y1 = box or (0.0, 0.0, float(picture_size[1]), float(picture_size[0]))
        xs, ys = np.linspace(x0, x1, cols + 1), np.linspace(y0, y1, rows + 1)
        row, col = np.divmod(np.arange(rows * cols), cols)
        boxes = np.stack([xs[col], ys[row], xs[col + 1], ys[row + 1]], axis=1)
        panel = np.arange(rows * cols).reshape(rows, cols)
        return cls(kind, (rows, cols), boxes, picture_size, (panel,))

    @classmethod
    def none(cls, n_tokens: int, picture_size: tuple[int, int], reason: str) -> Geometry:
        """Return a geometry that refuses to paint, with the reason why."""
        return cls("none", (0, 0), np.full((n_tokens, 4), np.nan), picture_size, reason=reason)

    def __repr__(self) -> str:
        grid = f" {self.shape[0]}x{self.shape[1]}" if self.shape != (0, 0) else ""
        note = f", {self.reason}" if self.reason else ""
        return f"<Geometry {self.kind}{grid}, {len(self.boxes)} image tokens{note}>"

    @property
    def n_tokens(self) -> int:
        """Number of image tokens, placed or not."""
        return len(self.boxes)

    @property
    def paintable(self) -> bool:
        """Whether `paint` gives a picture rather than `NotSupported`."""
        return bool(self.panels) or self.attention is not None

    @property
    def rows(self) -> NDArray[np.int64]:
        """Row of each image token in its panel, -1 for a token without a place."""
        return self._raster()[0]

    @property
    def cols(self) -> NDArray[np.int64]:
        """Column of each image token in its panel, -1 for a token without a place."""
        return self._raster()[1]

    def _raster(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows = np.full(self.n_tokens, -1, dtype=np.int64)
        cols = np.full(self.n_tokens, -1, dtype=np.int64)
        for panel in reversed(self.panels):
            at = np.argwhere(panel >= 0)
            rows[panel[panel >= 0]] = at[:, 0]
            cols[panel[panel >= 0]] = at[:, 1]
        return rows, cols

    def tokens_at(self, x: float, y: float) -> NDArray[np.int64]:
        """Return the image tokens whose box holds the point (x, y) of the picture.

        Examples
        --------
        >>> from mmkn_widgets.models.geometry import Geometry
        >>> Geometry.grid(2, 2, picture_size=(4, 4)).tokens_at(3.5, 0.5).tolist()
        [1]
        """
        x0, y0, x1, y1 = self.boxes.T
        return np.flatnonzero((x0 <= x) & (x < x1) & (y0 <= y) & (y < y1))

    def paint(
        self,
        values: ArrayLike,
        size: tuple[int, int] | None = None,
        *,
        smooth: bool = True,
        fill: float = 0.0,
    ) -> NDArray[np.float64]:
        """Return values over image tokens as an array over the picture.

        Parameters
        ----------
        values : array-like, (image token,)
            One number an image token, in the order of the tokens.
        size : tuple of int, optional
            (height, width) of the result; the original picture's by default.
        smooth : bool
            True: bilinear between the *centres* of the cells, constant from the outermost centres
            to the edge. False: every pixel takes the value of the cell that its centre lies in.
        fill : float
            Value where no token looks (what a crop cut away); pass ``float("nan")`` to mark it.

        Returns
        -------
        array, (height, width)
            Where several panels see a pixel (an overview and tiles), the mean of them.

        Raises
        ------
        NotSupported
            When the tokens have no known place; the message is `reason`.
        BadArgument
            When the number of values is not the number of image tokens.
        """
        if not self.paintable:
            raise NotSupported(self.reason or "these image tokens have no place on the picture")
        flat = np.asarray(values, dtype=np.float64)
        if flat.shape != (self.n_tokens,):
            wanted = f"one value for each of the {self.n_tokens} image tokens"
            raise bad_argument("values", f"shape {flat.shape}", wanted)
        height, width = size or self.picture_size
        if height < 1 or width < 1:
            raise bad_argument("size", size, "(height, width), both at least 1")
        ys = (np.arange(height) + 0.5) * self.picture_size[0] / height
        xs = (np.arange(width) + 0.5) * self.picture_size[1] / width
        total, weight = np.zeros((height, width)), np.zeros((height, width))
        for raster, known, row_edges, col_edges in self._layers(flat):
            rows = _weights(ys, row_edges, smooth)
            cols = _weights(xs, col_edges, smooth)
            covered = rows @ known @ cols.T
            painted = rows @ (raster * known) @ cols.T
            seen = covered > 1e-9
            total[seen] += painted[seen] / covered[seen]
            weight += seen
        out = np.full((height, width), float(fill))
        np.divide(total, weight, out=out, where=weight > 0)
        return out

    def _layers(
        self, values: NDArray[np.float64]
    ) -> list[
        tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    ]:
        """Return (raster, known cells, row edges, column edges) of every panel.

        Edges are (cell, 2): each row's top and bottom, each column's left and right.
        """
        if self.attention is not None:
            maps, box = self.attention()
            near = maps.sum(axis=0)
            raster = np.einsum("q,qrc->rc", values, maps) / np.where(near > 0, near, 1.0)
            ys = np.linspace(box[1], box[3], raster.shape[0] + 1)
            xs = np.linspace(box[0], box[2], raster.shape[1] + 1)
            edges = np.stack([ys[:-1], ys[1:]], 1), np.stack([xs[:-1], xs[1:]], 1)
            return [(raster, (near > 0).astype(float), *edges)]
        layers = []
        for panel in self.panels:
            known = panel >= 0
            raster = np.where(known, values[np.maximum(panel, 0)], 0.0)
            boxes = np.where(known[..., None], self.boxes[np.maximum(panel, 0)], np.nan)
            row_edges = np.nanmean(boxes[:, :, [1, 3]], axis=1)
            col_edges = np.nanmean(boxes[:, :, [0, 2]], axis=0)
            layers.append((raster, known.astype(float), row_edges, col_edges))
        return layers


def _weights(
    at: NDArray[np.float64], edges: NDArray[np.float64], smooth: bool
) -> NDArray[np.float64]:
    """Return (pixel, cell) weights of a one-dimensional resampling with cells between `edges`."""
    low, high = edges[:, 0], edges[:, 1]
    inside = (at >= low.min()) & (at < high.max())
    if smooth:
        centres = (low + high) / 2
        place = np.interp(at, centres, np.arange(len(centres), dtype=np.float64))
        cell = np.arange(len(centres))
        weights = np.maximum(0.0, 1.0 - np.abs(place[:, None] - cell[None, :]))
    else:
        weights = ((at[:, None] >= low) & (at[:, None] < high)).astype(np.float64)
    shares: np.ndarray = weights * inside[:, None]
    return shares


@dataclass(frozen=True, eq=False)
class Panel:
    """A raster of image tokens over a rectangle of the picture.

    Parameters
    ----------
    tokens : int array, (rows, columns)
        Indices into the image tokens, -1 where a cell has none.
    box : tuple of float
        The rectangle in pixels of the original picture.
    """

    tokens: NDArray[np.int64]
    box: Box

    @property
    def cell_area(self) -> float:
        """Area of one cell in square pixels of the picture."""
        x0, y0, x1, y1 = self.box
        return abs((x1 - x0) * (y1 - y0)) / self.tokens.size

    def write(self, boxes: NDArray[np.float64]) -> None:
        """Write the boxes of this panel's tokens into `boxes` (image token, 4)."""
        rows, cols = self.tokens.shape
        x0, y0, x1, y1 = self.box
        xs, ys = np.linspace(x0, x1, cols + 1), np.linspace(y0, y1, rows + 1)
        row, col = np.nonzero(self.tokens >= 0)
        token = self.tokens[row, col]
        boxes[token] = np.stack([xs[col], ys[row], xs[col + 1], ys[row + 1]], axis=1)


def raster(
    rows: int, cols: int, start: int = 0, row_stride: int | None = None
) -> NDArray[np.int64]:
    """Return token indices in raster order from `start`; `row_stride` skips tokens at row ends.

    Examples
    --------
    >>> raster(2, 2, start=1, row_stride=3).tolist()
    [[1, 2], [4, 5]]
    """
    stride = cols if row_stride is None else row_stride
    return start + np.arange(rows)[:, None] * stride + np.arange(cols)[None, :]


def merge_tiles(panels: list[Panel]) -> list[Panel]:
    """Join tiles that lie edge to edge in a regular mosaic; others stay as they are."""
    if len(panels) < 2:
        return panels
    sizes = np.array([(p.box[2] - p.box[0], p.box[3] - p.box[1]) for p in panels])
    groups: dict[int, list[Panel]] = {}
    for index, panel in enumerate(panels):
        near = np.all(np.abs(sizes[:index] - sizes[index]) < 0.05 * sizes[index], axis=1)
        same = [i for i in np.flatnonzero(near) if panels[i].tokens.shape == panel.tokens.shape]
        groups.setdefault(int(same[0]) if same else index, []).append(panel)
    out: list[Panel] = []
    for group in groups.values():
        out.extend(_mosaic(group))
    return out


def _mosaic(group: list[Panel]) -> list[Panel]:
    if len(group) == 1:
        return group
    boxes = np.array([panel.box for panel in group])
    wide = np.mean(boxes[:, 2] - boxes[:, 0])
    high = np.mean(boxes[:, 3] - boxes[:, 1])
    col = np.rint((boxes[:, 0] - boxes[:, 0].min()) / wide).astype(int)
    row = np.rint((boxes[:, 1] - boxes[:, 1].min()) / high).astype(int)
    cols, rows = int(col.max()) + 1, int(row.max()) + 1
    off_x = np.abs(boxes[:, 0] - boxes[:, 0].min() - col * wide) > 0.1 * wide
    off_y = np.abs(boxes[:, 1] - boxes[:, 1].min() - row * high) > 0.1 * high
    if off_x.any() or off_y.any() or len({*zip(row, col, strict=True)}) != len(group):
        return group
    if rows * cols != len(group):
        return group
    height, width = group[0].tokens.shape
    tokens = np.full((rows * height, cols * width), -1, dtype=np.int64)
    for panel, r, c in zip(group, row, col, strict=True):
        tokens[r * height : (r + 1) * height, c * width : (c + 1) * width] = panel.tokens
    box = (
        float(boxes[:, 0].min()),
        float(boxes[:, 1].min()),
        float(boxes[:, 2].max()),
        float(boxes[:, 3].max()),
    )
    return [Panel(tokens, box)]


def several(geometries: Sequence[Geometry]) -> Geometry:
    """Return what stands for all pictures' tokens together: it refuses to paint and says why.

    Examples
    --------
    >>> several([Geometry.grid(1, 2, (4, 8)), Geometry.grid(2, 2, (4, 4))]).n_tokens
    6
    """
    total = sum(geometry.n_tokens for geometry in geometries)
    reason = (
        f"the prompt holds {len(geometries)} pictures; choose one with picture=0 to "
        f"{len(geometries) - 1}"
    )
    return Geometry.none(total, geometries[0].picture_size, reason)


def one_picture(geometries: Sequence[Geometry], picture: int | None) -> tuple[Geometry, slice]:
    """Return one picture's geometry, and where its tokens are among all image tokens.

    Raises
    ------
    BadArgument
        If it is not said which of several, or there is no such picture.

    Examples
    --------
    >>> grids = [Geometry.grid(1, 2, (4, 8)), Geometry.grid(2, 2, (4, 4))]
    >>> one_picture(grids, 1)[1]
    slice(2, 6, None)
    """
    n = len(geometries)
    if picture is None and n > 1:
        raise BadArgument(f"picture: the prompt holds {n} pictures; give one of 0 to {n - 1}")
    which = picture or 0
    if not 0 <= which < n:
        raise bad_argument("picture", picture, f"0 to {n - 1}" if n > 1 else "0, there is one")
    starts = np.cumsum([0, *[geometry.n_tokens for geometry in geometries]])
    return geometries[which], slice(int(starts[which]), int(starts[which + 1]))
