"""The picture of original, mask and inpainted side by side (the first paper's figure 1)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import bad_argument
from ..datasets import read_image, read_mask

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["pair_figure"]

_INK, _PAPER, _MASK = (30, 30, 30), (255, 255, 255), (213, 94, 0)


def pair_figure(
    originals: Any,
    masks: Any,
    inpainted: Any,
    *,
    captions: Sequence[tuple[str, str]] | None = None,
    labels: tuple[str, str, str] = ("original", "mask", "inpainted"),
    height: int = 240,
) -> Image:
    """Return one picture: a row of original | mask | inpainted for each pair.

    Parameters
    ----------
    originals, masks, inpainted : one or a list each
        Anything `read_image` and `read_mask` read.
    captions : sequence of (str, str), optional
        For each pair the caption of the original and of the inpainted picture, written below.
    labels : tuple of str
        The heads of the three columns.
    height : int
        Of each picture, in pixels.

    Returns
    -------
    PIL.Image.Image

    Raises
    ------
    BadArgument
        If the numbers of pictures and masks differ or a mask does not fit.

    Examples
    --------
    >>> picture = np.zeros((20, 30, 3), np.uint8)
    >>> pair_figure(picture, np.eye(20, 30) > 0, picture, height=40).width > 3 * 60
    True
    """
    from PIL import Image, ImageDraw, ImageFont

    if not isinstance(originals, list | tuple):
        originals, masks, inpainted = [originals], [masks], [inpainted]
    if not len(originals) == len(masks) == len(inpainted) > 0:
        given = (len(originals), len(masks), len(inpainted))
        raise bad_argument("originals, masks, inpainted", given, "as many of each, at least one")
    if captions is not None and len(captions) != len(originals):
        raise bad_argument("captions", len(captions), f"one pair of captions for {len(originals)}")
    rows = [_row(*row, height) for row in zip(originals, masks, inpainted, strict=True)]
    text, gap = max(11, height // 16), max(6, height // 30)
    font = ImageFont.load_default(size=text)
    width = max(row[0].width for row in rows)
    wrapped = [
        [textwrap.wrap(words, max(8, int(width / text * 1.9))) for words in pair]
        for pair in captions or [("", "")] * len(rows)
    ]
    line = int(text * 1.35)
    below = [max(len(lines) for lines in pair) * line for pair in wrapped]
    total = line + gap + sum(height + gap + extra for extra in below) + gap
    page = Image.new("RGB", (3 * width + 4 * gap, total), _PAPER)
    draw = ImageDraw.Draw(page)
    columns = [gap + i * (width + gap) for i in range(3)]
    for x, label in zip(columns, labels, strict=True):
        draw.text((x, gap // 2), label, fill=_INK, font=font)
    y = line + gap
    for row, lines, extra in zip(rows, wrapped, below, strict=True):
        for x, picture in zip(columns, row, strict=True):
            page.paste(picture, (x, y))
        for x, words in ((columns[0], lines[0]), (columns[2], lines[1])):
            draw.multiline_text(
                (x, y + height + 2), "\n".join(words), fill=_INK, font=font, spacing=line - text
            )
        y += height + extra + gap
    return page


def _row(original: Any, mask: Any, inpainted: Any, height: int) -> tuple[Image, Image, Image]:
    from PIL import Image

    before, after = read_image(original, name="original"), read_image(inpainted, name="inpainted")
    covered = read_mask(mask, before.size)
    grey = np.asarray(before.convert("L").convert("RGB"), dtype=np.float32) * 0.5 + 110
    tinted = np.where(covered[..., None], np.asarray(_MASK, np.float32), grey)
    middle = Image.fromarray(np.clip(tinted, 0, 255).astype(np.uint8))
    size = (max(1, round(before.width * height / before.height)), height)
    scaled = [one.resize(size, Image.Resampling.LANCZOS) for one in (before, middle, after)]
    return scaled[0], scaled[1], scaled[2]
