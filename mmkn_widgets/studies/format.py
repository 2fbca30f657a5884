"""A study on disk: one folder with JSON, arrays and pictures; nothing in it is ever executed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._errors import BadArgument, bad_argument
from .._provenance import provenance
from ..attribution import has_scene_mask, scene_mask
from .pairs import PairCache

if TYPE_CHECKING:
    import xarray as xr

    from ..datasets import Scene
    from ..models import MultimodalModel
    from .study import Study

__all__ = ["FORMAT_VERSION", "open_study", "save_study"]

FORMAT_VERSION = 1
_MARK = "mmkn-study"


def save_study(study: Study, path: Path) -> Path:
    """Write a study as a folder, at once or not at all.

    Parameters
    ----------
    study : Study
    path : pathlib.Path
        A new folder, or one that holds a saved study (which is replaced).

    Returns
    -------
    pathlib.Path

    Raises
    ------
    BadArgument
        If `path` exists and is something else.
    """
    if path.exists() and not (path / "study.json").is_file():
        raise bad_argument("path", str(path), "a new folder, or one with a saved study")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=path.name + ".part-", dir=path.parent))
    try:
        scenes = [_write_scene(study, place, part) for place in range(len(study.scenes))]
        np.savez(part / "evidence.npz", allow_pickle=False, **_arrays(study.evidence))
        described = {
            "format": _MARK,
            "version": FORMAT_VERSION,
            "concept": study.concept.to_dict(),
            "model": {"name": study.model.name, "weights": study.model.weights_hash},
            "inpainter": study._pairs.name,
            "options": study.options,
            "evidence": {
                "dims": {name: list(v.dims) for name, v in study.evidence.variables.items()},
                "attrs": {key: _plain(value) for key, value in study.evidence.attrs.items()},
            },
            "scenes": scenes,
            "scored": len(study.scored),
            "provenance": provenance("save_study"),
        }
        (part / "study.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
        if path.exists():
            shutil.rmtree(path)
        os.replace(part, path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return path


def open_study(path: str | Path, model: MultimodalModel | None = None) -> Study:
    """Open a study that `Study.save` wrote.

    Parameters
    ----------
    path : str or pathlib.Path
    model : MultimodalModel, optional
        The study's model; by default it is loaded by the name in the study.

    Returns
    -------
    Study

    Raises
    ------
    BadArgument
        If the folder holds no study, one of a later format, or the model's weights are others.
    """
    from ..attribution import Concept
    from ..inpainting import get_inpainter
    from .study import Study

    folder = Path(path)
    try:
        described = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise bad_argument("path", str(path), "a folder that Study.save wrote") from error
    if described.get("format") != _MARK or described.get("version") != FORMAT_VERSION:
        raise bad_argument(
            "path",
            f"{described.get('format')} {described.get('version')}",
            f"a study of version {FORMAT_VERSION}",
        )
    if model is None:
        from ..models import load_model

        model = load_model(described["model"]["name"])
    if model.weights_hash != described["model"]["weights"]:
        raise BadArgument(
            f"model: got weights {model.weights_hash[:12]}, expected those of the study, "
            f"{described['model']['weights'][:12]} ({described['model']['name']})"
        )
    concept = Concept.from_dict(described["concept"])
    pairs = PairCache(get_inpainter(described["inpainter"]))
    scenes, captions = [], {}
    for place, record in enumerate(described["scenes"]):
        scene, inpainted = _read_scene(record, place, folder)
        if has_scene_mask(scene, concept):
            pairs.keep(scene, scene_mask(scene, concept), inpainted)
        scenes.append(scene)
        if record["caption"] is not None:
            captions[place] = record["caption"]
    return Study(
        model,
        concept,
        scenes,
        _evidence(folder, described["evidence"]),
        pairs=pairs,
        options=described["options"],
        captions=captions,
        n_scored=min(int(described.get("scored", len(scenes))), len(scenes)),
    )


def _arrays(evidence: xr.Dataset) -> dict[str, np.ndarray]:
    arrays = {}
    for name, variable in evidence.variables.items():
        values = np.asarray(variable.values)
        arrays[str(name)] = values.astype(str) if values.dtype == object else values
    return arrays


def _evidence(folder: Path, described: dict[str, Any]) -> xr.Dataset:
    import xarray as xr

    with np.load(folder / "evidence.npz", allow_pickle=False) as arrays:
        variables = {name: (dims, arrays[name]) for name, dims in described["dims"].items()}
    data = xr.Dataset(variables, attrs=described["attrs"])
    coords = [name for name, (dims, _) in variables.items() if name in data.dims]
    scene_coords = [n for n in variables if n in ("expert", "layer_index", "scene", "scene_id")]
    return data.set_coords([*coords, *scene_coords])


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _write_scene(study: Study, place: int, folder: Path) -> dict[str, Any]:
    from PIL import Image

    scene = study.scenes[place]
    original, inpainted = study.pictures(place)
    original.convert("RGB").save(folder / f"{place:05d}.png")
    inpainted.convert("RGB").save(folder / f"{place:05d}-inpainted.png")
    objects = []
    for number, item in enumerate(scene.objects):
        if item.mask is not None:
            Image.fromarray(item.mask.astype(np.uint8) * 255).save(
                folder / f"{place:05d}-mask-{number}.png"
            )
        objects.append(
            {
                "category": item.category,
                "bbox": [float(v) for v in item.bbox],
                "attributes": {str(k): str(v) for k, v in item.attributes.items()},
                "id": item.id if isinstance(item.id, str) else int(item.id),
                "mask": item.has_mask,
            }
        )
    return {
        "id": scene.id,
        "source": scene.source,
        "captions": list(scene.captions),
        "objects": objects,
        "categories": list(scene.categories),
        "caption": study._captions.get(place),
    }


def _read_mask(path: Path) -> np.ndarray:
    from ..datasets import read_image

    return np.asarray(read_image(path))[..., 0] > 127


def _read_scene(record: dict[str, Any], place: int, folder: Path) -> tuple[Scene, Any]:
    from ..datasets import ObjectInstance, Scene, read_image

    objects = [
        ObjectInstance(
            category=item["category"],
            mask=_read_mask(folder / f"{place:05d}-mask-{number}.png")
            if item.get("mask", True)
            else None,
            bbox=tuple(item["bbox"]),
            attributes=item["attributes"],
            id=item["id"],
        )
        for number, item in enumerate(record["objects"])
    ]
    scene = Scene(
        record["id"],
        read_image(folder / f"{place:05d}.png"),
        record["captions"],
        objects,
        source=record["source"],
        categories=record.get("categories"),
    )
    return scene, read_image(folder / f"{place:05d}-inpainted.png")
