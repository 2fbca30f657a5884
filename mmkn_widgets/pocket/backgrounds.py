"""The six backgrounds of the pocket world: soft gradients with a horizon and a little life."""

from __future__ import annotations

from functools import lru_cache
from random import Random

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["draw_background"]

RGB = tuple[int, int, int]

_TONES: dict[str, tuple[RGB, RGB, RGB, RGB]] = {
    # sky top, sky at the horizon, ground at the horizon, ground bottom
    "grass": ((150, 200, 242), (222, 240, 250), (150, 202, 112), (98, 168, 78)),
    "sea": ((164, 208, 240), (232, 244, 250), (96, 172, 206), (44, 116, 172)),
    "sky": ((118, 178, 236), (170, 210, 244), (170, 210, 244), (220, 238, 250)),
    "room": ((240, 222, 200), (246, 232, 214), (196, 152, 112), (170, 124, 86)),
    "night": ((20, 24, 62), (58, 58, 110), (36, 52, 66), (24, 36, 46)),
    "snow": ((176, 194, 218), (214, 224, 236), (236, 242, 248), (218, 228, 240)),
}


@lru_cache(maxsize=1024)
def _gradient(background: str, size: int, horizon: int) -> np.ndarray:
    top, low, near, bottom = (np.array(c, np.float32) for c in _TONES[background])
    up = np.linspace(0, 1, horizon, dtype=np.float32)[:, None]
    down = np.linspace(0, 1, size - horizon, dtype=np.float32)[:, None]
    rows = np.concatenate([top + (low - top) * up, near + (bottom - near) * down])
    return np.ascontiguousarray(
        np.broadcast_to(rows[:, None].round().astype(np.uint8), (size, size, 3))
    )


def _cloud(d: ImageDraw.ImageDraw, x: float, y: float, r: float, color: RGB) -> None:
    for dx, dy, k in ((-1.1, 0.25, 0.6), (0, 0, 1), (1.1, 0.2, 0.7)):
        cx, cy, rr = x + dx * r, y + dy * r, r * k
        d.ellipse((cx - rr, cy - rr * 0.75, cx + rr, cy + rr * 0.75), color)


def draw_background(background: str, seed: int, size: int = 96) -> np.ndarray:
    """Draw a background.

    Parameters
    ----------
    background : str
        One of ``"grass" "sea" "sky" "room" "night" "snow"``.
    seed : int
        Chooses horizon and details.
    size : int
        Side of the square picture.

    Returns
    -------
    numpy.ndarray of uint8, shape (size, size, 3)

    Examples
    --------
    >>> draw_background("sea", 1).shape
    (96, 96, 3)
    """
    rng = Random(seed)
    scale = 2
    n = size * scale
    horizon = n if background == "sky" else scale * rng.randint(size * 45 // 100, size * 68 // 100)
    image = Image.fromarray(_gradient(background, n, horizon))
    d = ImageDraw.Draw(image)
    unit = n / 96
    if background in ("grass", "sea", "sky"):
        for _ in range(rng.randint(1, 2) + (background == "sky")):
            y = rng.uniform(6, 80 if background == "sky" else 24) * unit
            _cloud(d, rng.uniform(0, n), y, rng.uniform(4, 8) * unit, (240, 247, 252))
    if background == "grass":
        for _ in range(14):
            x, y = rng.uniform(0, n), rng.uniform(horizon + 4 * unit, n)
            h = rng.uniform(1.6, 3.2) * unit
            d.line((x - h * 0.4, y - h, x, y, x + h * 0.4, y - h), (84, 148, 66), round(unit * 0.8))
    elif background == "sea":
        for _ in range(12):
            x, y = rng.uniform(-8 * unit, n), rng.uniform(horizon + 3 * unit, n)
            w = rng.uniform(5, 12) * unit
            d.line((x, y, x + w, y), (142, 200, 224), round(unit * 0.8))
    elif background == "room":
        d.rectangle((0, horizon - 3 * unit, n, horizon), (252, 246, 236))
        step = rng.uniform(11, 16) * unit
        x = rng.uniform(0, step)
        while x < n:
            d.line((x, 0, x, horizon - 3 * unit), (234, 212, 186), round(unit))
            x += step
        for k in range(1, 4):
            y = horizon + (n - horizon) * k / 4
            d.line((0, y, n, y), (160, 116, 80), round(unit * 0.7))
    elif background == "night":
        for _ in range(16):
            x, y, r = rng.uniform(0, n), rng.uniform(0, horizon - 4 * unit), rng.choice((0.4, 0.7))
            r *= unit
            d.ellipse((x - r, y - r, x + r, y + r), (226, 228, 246))
    elif background == "snow":
        x = rng.uniform(0, n)
        box = (x - 40 * unit, horizon - 7 * unit, x + 40 * unit, horizon + 20 * unit)
        d.ellipse(box, (240, 245, 250))
        for _ in range(22):
            x, y, r = rng.uniform(0, n), rng.uniform(0, n), rng.choice((0.6, 0.9)) * unit
            d.ellipse((x - r, y - r, x + r, y + r), (252, 253, 255))
    return np.asarray(image.reduce(scale))
