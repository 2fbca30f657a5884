"""The model in the box: a drawn world with known truth, and a small LLaVA trained on it."""

from __future__ import annotations

from pathlib import Path

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
