"""The model in the box: a drawn world with known truth, and a small LLaVA trained on it."""

from __future__ import annotations

from pathlib import Path

from .words import CATEGORIES as CATEGORIES
from .world import SPLITS as SPLITS
from .world import SUBSETS as SUBSETS
from .world import PocketScene as PocketScene
from .world import draw as draw

__all__ = ["PROMPT", "path"]

#: The prompt that the pocket model was trained with.
PROMPT = "<image> describe the image :"


def path() -> Path:
    """Return the folder of the shipped model.

    Examples
    --------
    >>> (path() / "config.json").is_file()
    True
    """
    return Path(__file__).parent / "model"
