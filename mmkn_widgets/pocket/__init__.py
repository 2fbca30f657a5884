"""A drawn world with known truth, and the models in the box that were trained on it."""

from __future__ import annotations

from pathlib import Path

from .words import CATEGORIES as CATEGORIES
from .world import SIZE as SIZE
from .world import SPLITS as SPLITS
from .world import SUBSETS as SUBSETS
from .world import PocketScene as PocketScene
from .world import draw as draw
from .world import scenes as scenes

__all__ = ["PROMPT", "path"]

#: The prompt that the pocket model was trained with.
PROMPT = "<image> describe the image :"


#: what a config says (`mmkn_knows`) of the only pictures that a model of this world knows
KNOWS = f"drawn scenes of {SIZE} x {SIZE} pixels, of sixteen kinds of objects"

#: name of a shipped model -> its folder beside this file
FOLDERS = {"pocket": "model", "pocket-plain": "plain", "pocket-smollm2": "smollm2"}


def path(name: str = "pocket") -> Path:
    """Return the folder of a shipped model.

    Parameters
    ----------
    name : {"pocket", "pocket-plain", "pocket-smollm2"}
        Prepared so that its concepts hang on few neurons; trained by captions alone; the eyes and
        the projector of a language model that others trained on text.

    Returns
    -------
    pathlib.Path

    Examples
    --------
    >>> (path() / "config.json").is_file()
    True
    """
    return Path(__file__).parent / FOLDERS[name]
