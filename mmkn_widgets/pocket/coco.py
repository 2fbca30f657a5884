"""Write scenes of the pocket world in the format of COCO 2017."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..core import bad_argument
from .words import CATEGORIES
from .world import SIZE, PocketScene, scenes

__all__ = ["run_lengths", "write_coco"]


def run_lengths(mask: np.ndarray) -> list[int]:
    """Return COCO's uncompressed run lengths of a mask: column by column, zeros first.

    Parameters
    ----------
    mask : numpy.ndarray of bool, shape (height, width)

    Examples
    --------
    >>> import numpy as np
    >>> run_lengths(np.array([[0, 1], [1, 1]], bool))
    [1, 3]
    """
    flat = np.concatenate([[False], mask.ravel(order="F")])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    runs: list[int] = np.diff(np.concatenate([[0], changes, [mask.size]])).tolist()
    return runs


def _annotation(scene: PocketScene, k: int) -> dict[str, Any]:
    o = scene.objects[k]
    return {
        "id": scene.seed * 4 + k,
        "image_id": scene.seed,
        "category_id": CATEGORIES.index(o.category) + 1,
        "segmentation": {"counts": run_lengths(o.mask), "size": [SIZE, SIZE]},
        "area": float(o.mask.sum()),
        "bbox": list(o.bbox),
        "iscrowd": 0,
        "attributes": {"color": o.color},
    }


def _dump(content: dict[str, Any], path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content))
    os.replace(partial, path)


def write_coco(
    split: str, n: int, directory: str | os.PathLike[str], *, subset: str | None = "ordinary"
) -> Path:
    """Write the first `n` scenes of a split as COCO 2017 does.

    ``images/{split}/*.png``, ``annotations/instances_{split}.json`` (exact masks as
    uncompressed run lengths) and ``annotations/captions_{split}.json``. The annotations are written
    last and whole, so that what can be read is complete.

    Parameters
    ----------
    split : str
        ``"train"``, ``"val"`` or ``"test"``.
    n : int
        Number of scenes.
    directory : path
        Created where needed.
    subset : str or None
        See `scenes`.

    Returns
    -------
    Path
        The directory.

    Raises
    ------
    BadArgument
        If `n` is not positive or the split is unknown.

    Examples
    --------
    >>> import tempfile
    >>> folder = write_coco("val", 2, tempfile.mkdtemp())
    >>> sorted(p.name for p in (folder / "annotations").iterdir())
    ['captions_val.json', 'instances_val.json']
    """
    if n < 1:
        raise bad_argument("n", n, "a positive number of scenes")
    chosen: Sequence[PocketScene] = list(islice(scenes(split, subset=subset), n))
    root = Path(directory)
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "images" / split).mkdir(parents=True, exist_ok=True)
    images, instances, texts = [], [], []
    for scene in chosen:
        name = f"{scene.seed:012d}.png"
        Image.fromarray(scene.image).save(root / "images" / split / name)
        images.append({"id": scene.seed, "file_name": name, "width": SIZE, "height": SIZE})
        instances += [_annotation(scene, k) for k in range(len(scene.objects))]
        texts += [
            {"id": scene.seed * 8 + k, "image_id": scene.seed, "caption": caption}
            for k, caption in enumerate(scene.captions)
        ]
    info = {"description": "pocket world", "version": "1", "split": split}
    categories = [
        {"id": k + 1, "name": name, "supercategory": "pocket"} for k, name in enumerate(CATEGORIES)
    ]
    head = {"info": info, "licenses": [], "images": images}
    folder = root / "annotations"
    _dump({**head, "annotations": texts}, folder / f"captions_{split}.json")
    _dump(
        {**head, "annotations": instances, "categories": categories},
        folder / f"instances_{split}.json",
    )
    return root
