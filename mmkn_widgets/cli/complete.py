"""What a shell proposes when Tab is pressed; nothing heavy is imported for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

__all__ = [
    "DATASETS",
    "DEVICES",
    "DTYPES",
    "ENCODERS",
    "INPAINTERS",
    "METHODS",
    "POSITIONS",
    "concepts",
    "models",
    "one_of",
]

DATASETS = ("pocket:train", "pocket:val", "pocket:test", "coco:", "folder:")
DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("float32", "bfloat16", "float16")
ENCODERS = ("auto", "none", "packaged")
INPAINTERS = ("telea", "ns", "exact", "diffusers:")
METHODS = (
    "two_stage",
    "two_stage_auto",
    "two_stage_image_signed",
    "learned_mask",
    "activation_difference",
    "gradcam",
    "contribution",
    "contrastive_mean",
    "contrastive_maximum",
    "contrastive_exclusive",
    "attribution_patching",
    "attribution_patching_star",
    "gradient",
    "integrated_gradients",
    "activation",
    "random_like",
    "random",
)
POSITIONS = ("predicting", "image", "all")


def one_of(*words: str) -> Callable[[str], list[str]]:
    """Return a completion that proposes those of the words that begin like what was typed.

    Examples
    --------
    >>> one_of("cpu", "cuda", "mps")("c")
    ['cpu', 'cuda']
    """

    def propose(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return propose


def concepts(incomplete: str) -> list[str]:
    """Propose the pocket world's words; those of another data set are not known before it is read.

    Examples
    --------
    >>> concepts("ca")
    ['car', 'cat']
    """
    from ..pocket import CATEGORIES

    return [word for word in sorted(CATEGORIES) if word.startswith(incomplete)]


def models(incomplete: str) -> list[str]:
    """Propose the model in the box, and folders that hold a model or lead further.

    Examples
    --------
    >>> models("poc")[:1]
    ['pocket']
    """
    found = ["pocket"] if "pocket".startswith(incomplete) else []
    folder = Path(incomplete or ".")
    if incomplete and not incomplete.endswith("/"):
        folder = folder.parent
    if folder.is_dir():
        shown = "" if str(folder) == "." and not incomplete.startswith("./") else f"{folder}/"
        names = sorted(path.name for path in folder.iterdir() if path.is_dir())
        found += [
            f"{shown}{name}/"
            for name in names
            if not name.startswith(".") and f"{shown}{name}".startswith(incomplete)
        ]
    return found
