"""The sixteen objects of the pocket world, drawn as small flat pictures with an exact alpha."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["SHAPES", "draw_object"]

RGB = tuple[int, int, int]
INK: RGB = (52, 48, 58)
GLASS: RGB = (196, 226, 242)
CREAM: RGB = (255, 248, 226)
WOOD: RGB = (134, 92, 56)
LEAF: RGB = (66, 150, 70)
SUN: RGB = (252, 196, 60)


def _mix(a: RGB, b: RGB, share: float) -> RGB:
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


class Pen:
    """Draws in unit coordinates on a square supersampled canvas."""

    def __init__(self, pixels: int, color: RGB) -> None:
        self.s = pixels
        self.main = color
        self.dark = _mix(color, (20, 16, 34), 0.42)
        self.line_color = _mix(color, (24, 20, 40), 0.66)
        self.light = _mix(color, (255, 255, 255), 0.5)
        self.w = max(2, round(0.032 * pixels))
        self.image = Image.new("RGBA", (pixels, pixels), (0, 0, 0, 0))
        self.d = ImageDraw.Draw(self.image)

    def oval(self, x: float, y: float, rx: float, ry: float, fill: RGB, edge: bool = True) -> None:
        s = self.s
        box = ((x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s)
        self.d.ellipse(box, fill, self.line_color if edge else None, self.w if edge else 0)

    def box(
        self, x0: float, y0: float, x1: float, y1: float, fill: RGB, r: float = 0, edge: bool = True
    ) -> None:
        s = self.s
        box = (x0 * s, y0 * s, x1 * s, y1 * s)
        color, width = (self.line_color, self.w) if edge else (None, 0)
        if r:
            self.d.rounded_rectangle(box, r * s, fill, color, width)
        else:
            self.d.rectangle(box, fill, color, width)

    def poly(self, points: Sequence[tuple[float, float]], fill: RGB, edge: bool = True) -> None:
        scaled = [(x * self.s, y * self.s) for x, y in points]
        self.d.polygon(scaled, fill)
        if edge:
            closed = [*scaled, scaled[0], scaled[1]]
            self.d.line(closed, self.line_color, self.w, joint="curve")

    def stroke(
        self, points: Sequence[tuple[float, float]], color: RGB, width: float = 0.032
    ) -> None:
        scaled = [(x * self.s, y * self.s) for x, y in points]
        self.d.line(scaled, color, max(1, round(width * self.s)), joint="curve")

    def eye(self, x: float, y: float, r: float = 0.035) -> None:
        self.oval(x, y, r, r, INK, edge=False)

    def wheel(self, x: float, y: float, r: float) -> None:
        self.oval(x, y, r, r, INK, edge=False)
        self.oval(x, y, r * 0.48, r * 0.48, (214, 214, 220), edge=False)


def _car(p: Pen) -> None:
    p.poly([(0.17, 0.52), (0.3, 0.22), (0.66, 0.22), (0.84, 0.52)], p.main)
    p.poly([(0.26, 0.5), (0.35, 0.29), (0.46, 0.29), (0.46, 0.5)], GLASS, edge=False)
    p.poly([(0.52, 0.5), (0.52, 0.29), (0.63, 0.29), (0.74, 0.5)], GLASS, edge=False)
    p.box(0.02, 0.48, 0.98, 0.77, p.main, 0.1)
    p.box(0.06, 0.64, 0.94, 0.69, p.dark, edge=False)
    p.oval(0.92, 0.58, 0.035, 0.035, CREAM, edge=False)
    p.wheel(0.25, 0.77, 0.14)
    p.wheel(0.75, 0.77, 0.14)


def _bus(p: Pen) -> None:
    p.box(0.02, 0.14, 0.98, 0.8, p.main, 0.08)
    for x in (0.08, 0.3, 0.52):
        p.box(x, 0.23, x + 0.17, 0.45, GLASS, 0.02, edge=False)
    p.box(0.75, 0.23, 0.92, 0.72, GLASS, 0.02, edge=False)
    p.stroke([(0.835, 0.24), (0.835, 0.71)], p.line_color, 0.025)
    p.box(0.05, 0.53, 0.71, 0.6, p.light, edge=False)
    p.wheel(0.22, 0.8, 0.12)
    p.wheel(0.64, 0.8, 0.12)


def _boat(p: Pen) -> None:
    p.stroke([(0.5, 0.05), (0.5, 0.66)], WOOD, 0.05)
    p.poly([(0.45, 0.08), (0.45, 0.58), (0.06, 0.58)], p.light)
    p.poly([(0.55, 0.16), (0.55, 0.58), (0.9, 0.58)], CREAM)
    p.poly([(0.02, 0.65), (0.98, 0.65), (0.82, 0.92), (0.2, 0.92)], p.main)
    p.stroke([(0.1, 0.74), (0.9, 0.74)], p.dark, 0.05)


def _plane(p: Pen) -> None:
    p.poly([(0.02, 0.16), (0.16, 0.16), (0.3, 0.46), (0.08, 0.46)], p.dark)
    p.oval(0.51, 0.5, 0.48, 0.2, p.main)
    p.poly([(0.78, 0.43), (0.86, 0.43), (0.94, 0.5), (0.78, 0.5)], GLASS, edge=False)
    for x in (0.3, 0.42, 0.54, 0.66):
        p.oval(x, 0.46, 0.03, 0.03, GLASS, edge=False)
    p.poly([(0.42, 0.55), (0.64, 0.55), (0.38, 0.88), (0.24, 0.88)], p.dark)


def _house(p: Pen) -> None:
    p.box(0.68, 0.1, 0.8, 0.36, p.dark)
    p.box(0.12, 0.42, 0.88, 0.95, p.main)
    p.poly([(0.02, 0.45), (0.5, 0.05), (0.98, 0.45)], p.dark)
    p.box(0.2, 0.56, 0.42, 0.76, CREAM)
    p.stroke([(0.31, 0.57), (0.31, 0.75)], p.line_color)
    p.box(0.56, 0.56, 0.77, 0.95, WOOD)
    p.oval(0.72, 0.76, 0.025, 0.025, SUN, edge=False)


def _tree(p: Pen) -> None:
    p.poly([(0.42, 0.58), (0.58, 0.58), (0.63, 0.97), (0.37, 0.97)], WOOD, edge=False)
    for x, y, r in ((0.26, 0.46, 0.23), (0.74, 0.46, 0.23), (0.5, 0.28, 0.26), (0.5, 0.52, 0.21)):
        p.oval(x, y, r, r, p.main)
    for x, y, r in ((0.27, 0.45, 0.18), (0.73, 0.45, 0.18), (0.5, 0.35, 0.23), (0.5, 0.5, 0.18)):
        p.oval(x, y, r, r, p.main, edge=False)
    p.oval(0.42, 0.22, 0.08, 0.06, p.light, edge=False)
    p.oval(0.2, 0.4, 0.05, 0.04, p.light, edge=False)


def _flower(p: Pen) -> None:
    p.stroke([(0.5, 0.5), (0.5, 0.98)], LEAF, 0.07)
    p.poly([(0.5, 0.9), (0.22, 0.7), (0.3, 0.9)], LEAF, edge=False)
    p.poly([(0.5, 0.9), (0.78, 0.7), (0.7, 0.9)], LEAF, edge=False)
    for k in range(6):
        a = pi * (k / 3 + 1 / 6)
        p.oval(0.5 + 0.23 * cos(a), 0.38 + 0.23 * sin(a), 0.145, 0.145, p.main)
    yellowish = p.main[0] > 200 and p.main[1] > 110 and p.main[2] < 120
    p.oval(0.5, 0.38, 0.14, 0.14, WOOD if yellowish else SUN)


def _bird(p: Pen) -> None:
    p.stroke([(0.46, 0.78), (0.42, 0.97)], (214, 130, 40), 0.04)
    p.stroke([(0.58, 0.78), (0.58, 0.97)], (214, 130, 40), 0.04)
    p.poly([(0.24, 0.5), (0.0, 0.38), (0.04, 0.66), (0.28, 0.68)], p.dark)
    p.poly([(0.88, 0.22), (1.0, 0.31), (0.88, 0.37)], (238, 150, 40), edge=False)
    p.oval(0.5, 0.6, 0.32, 0.24, p.main)
    p.oval(0.75, 0.3, 0.18, 0.18, p.main)
    p.poly([(0.6, 0.42), (0.72, 0.44), (0.7, 0.56), (0.56, 0.56)], p.main, edge=False)
    p.oval(0.4, 0.57, 0.19, 0.13, p.dark)
    p.eye(0.8, 0.27, 0.035)


def _fish(p: Pen) -> None:
    p.poly([(0.3, 0.5), (0.02, 0.24), (0.08, 0.5), (0.02, 0.76)], p.dark)
    p.poly([(0.4, 0.3), (0.56, 0.12), (0.72, 0.3)], p.dark)
    p.oval(0.6, 0.5, 0.38, 0.26, p.main)
    p.stroke([(0.46, 0.29), (0.43, 0.5), (0.46, 0.71)], p.light, 0.06)
    p.stroke([(0.6, 0.27), (0.57, 0.5), (0.6, 0.73)], p.light, 0.06)
    p.oval(0.82, 0.44, 0.06, 0.06, CREAM, edge=False)
    p.eye(0.835, 0.44, 0.035)


def _cat(p: Pen) -> None:
    p.stroke([(0.72, 0.86), (0.93, 0.82), (0.94, 0.56)], p.line_color, 0.13)
    p.stroke([(0.72, 0.86), (0.93, 0.82), (0.94, 0.58)], p.main, 0.07)
    p.oval(0.5, 0.76, 0.28, 0.22, p.main)
    p.poly([(0.2, 0.34), (0.18, 0.02), (0.44, 0.16)], p.main)
    p.poly([(0.8, 0.34), (0.82, 0.02), (0.56, 0.16)], p.main)
    p.oval(0.5, 0.36, 0.34, 0.27, p.main)
    p.oval(0.37, 0.32, 0.055, 0.065, CREAM, edge=False)
    p.oval(0.63, 0.32, 0.055, 0.065, CREAM, edge=False)
    p.eye(0.37, 0.33, 0.032)
    p.eye(0.63, 0.33, 0.032)
    p.poly([(0.46, 0.42), (0.54, 0.42), (0.5, 0.47)], INK, edge=False)
    for y in (0.44, 0.52):
        p.stroke([(0.1, y - 0.02), (0.36, 0.46)], p.line_color, 0.02)
        p.stroke([(0.9, y - 0.02), (0.64, 0.46)], p.line_color, 0.02)
    p.oval(0.5, 0.82, 0.13, 0.13, p.light, edge=False)


def _dog(p: Pen) -> None:
    p.stroke([(0.12, 0.5), (0.03, 0.26)], p.line_color, 0.11)
    p.stroke([(0.12, 0.5), (0.04, 0.29)], p.main, 0.055)
    for x in (0.1, 0.28, 0.5, 0.64):
        p.box(x, 0.62, x + 0.13, 0.97, p.main, 0.04)
    p.box(0.08, 0.44, 0.78, 0.78, p.main, 0.15)
    p.box(0.72, 0.26, 0.99, 0.48, p.main, 0.09)
    p.oval(0.7, 0.32, 0.2, 0.2, p.main)
    p.box(0.74, 0.3, 0.95, 0.44, p.main, 0.05, edge=False)
    p.oval(0.57, 0.36, 0.09, 0.19, p.dark)
    p.oval(0.96, 0.31, 0.045, 0.04, INK, edge=False)
    p.eye(0.76, 0.26, 0.035)


def _ball(p: Pen) -> None:
    p.oval(0.5, 0.5, 0.46, 0.46, CREAM)
    s = p.s
    box = (0.06 * s, 0.06 * s, 0.94 * s, 0.94 * s)
    for start in (0, 120, 240):
        p.d.pieslice(box, start + 10, start + 70, p.main)
    p.oval(0.5, 0.5, 0.12, 0.12, p.dark, edge=False)
    p.d.ellipse((0.04 * s, 0.04 * s, 0.96 * s, 0.96 * s), None, p.line_color, p.w)


def _star(p: Pen) -> None:
    points = []
    for k in range(10):
        r = 0.5 if k % 2 == 0 else 0.235
        a = -pi / 2 + k * pi / 5
        points.append((0.5 + r * cos(a) * 0.96, 0.53 + r * sin(a) * 0.96))
    p.poly(points, p.main)
    for k in range(0, 10, 2):
        p.poly([(0.5, 0.53), points[k], points[k + 1]], p.light, edge=False)
    p.poly([(x * 0.9 + 0.05, y * 0.9 + 0.053) for x, y in points], p.main, edge=False)
    p.oval(0.43, 0.5, 0.03, 0.045, INK, edge=False)
    p.oval(0.57, 0.5, 0.03, 0.045, INK, edge=False)


def _umbrella(p: Pen) -> None:
    s = p.s
    p.stroke([(0.5, 0.04), (0.5, 0.9)], WOOD, 0.055)
    hook = (0.5 * s - 0.03 * s, 0.8 * s, 0.68 * s, 0.98 * s)
    p.d.arc(hook, 0, 180, WOOD, max(2, round(0.055 * s)))
    p.d.pieslice((0.02 * s, 0.1 * s, 0.98 * s, 1.06 * s), 180, 360, p.main, p.line_color, p.w)
    p.d.pieslice((0.33 * s, 0.11 * s, 0.67 * s, 1.05 * s), 180, 360, p.light)
    for x in (0.18, 0.5, 0.82):
        p.oval(x, 0.6, 0.16, 0.06, p.dark, edge=False)
    p.box(0.02, 0.56, 0.98, 0.585, p.line_color, edge=False)


def _clock(p: Pen) -> None:
    p.stroke([(0.3, 0.84), (0.2, 0.97)], p.line_color, 0.09)
    p.stroke([(0.7, 0.84), (0.8, 0.97)], p.line_color, 0.09)
    p.oval(0.24, 0.14, 0.15, 0.12, p.dark)
    p.oval(0.76, 0.14, 0.15, 0.12, p.dark)
    p.oval(0.5, 0.52, 0.43, 0.43, p.main)
    p.oval(0.5, 0.52, 0.31, 0.31, CREAM)
    p.stroke([(0.5, 0.52), (0.5, 0.29)], INK, 0.05)
    p.stroke([(0.5, 0.52), (0.67, 0.6)], INK, 0.05)
    p.oval(0.5, 0.52, 0.045, 0.045, INK, edge=False)


def _cup(p: Pen) -> None:
    s = p.s
    for width, color in ((0.13, p.line_color), (0.07, p.main)):
        half = width / 2
        ring = ((0.58 - half) * s, (0.3 - half) * s, (0.9 + half) * s, (0.66 + half) * s)
        p.d.ellipse(ring, None, color, round(width * s))
    p.poly([(0.08, 0.2), (0.76, 0.2), (0.66, 0.86), (0.18, 0.86)], p.main)
    p.oval(0.42, 0.2, 0.34, 0.1, CREAM)
    p.oval(0.42, 0.22, 0.25, 0.055, WOOD, edge=False)
    p.box(0.04, 0.84, 0.8, 0.94, p.dark, 0.05)
    p.stroke([(0.2, 0.36), (0.26, 0.76)], p.light, 0.06)


SHAPES: dict[str, Callable[[Pen], None]] = {
    "car": _car, "bus": _bus, "boat": _boat, "plane": _plane, "house": _house, "tree": _tree,
    "flower": _flower, "bird": _bird, "fish": _fish, "cat": _cat, "dog": _dog, "ball": _ball,
    "star": _star, "umbrella": _umbrella, "clock": _clock, "cup": _cup,
}  # fmt: skip


def draw_object(
    category: str, color: RGB, size: int, *, flip: bool = False, supersample: int = 3
) -> np.ndarray:
    """Draw one object.

    Parameters
    ----------
    category : str
        One of `SHAPES`.
    color : tuple of int
        The object's own RGB colour.
    size : int
        Side of the square, in pixels.
    flip : bool
        Mirror left and right.
    supersample : int
        Pixels drawn per pixel and axis before averaging.

    Returns
    -------
    numpy.ndarray of float32, shape (size, size, 4)
        Red, green, blue times alpha (0..255), and alpha (0..1).

    Examples
    --------
    >>> draw_object("ball", (200, 40, 40), 30).shape
    (30, 30, 4)
    """
    pen = Pen(size * supersample, color)
    SHAPES[category](pen)
    raw = np.asarray(pen.image)
    # alpha is 0 or 255 before averaging and transparent pixels are black: sums are premultiplied
    s = supersample
    small = raw.reshape(size, s, size, s, 4).astype(np.uint16).sum(axis=(1, 3), dtype=np.uint16)
    out: np.ndarray = small.astype(np.float32) / (s * s)
    out[..., 3] /= 255.0
    return out[:, ::-1] if flip else out
