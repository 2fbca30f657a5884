"""An edit as a small file: which columns, by how much, and of which model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .._errors import BadArgument, NotSupported, bad_argument

if TYPE_CHECKING:
    from .editing import Edit

__all__ = ["FORMAT", "VERSION", "columns_hash", "load_edit", "save_edit"]

FORMAT = "mmkn-edit"
VERSION = 1
_TENSORS = ("layer", "expert", "neuron", "delta")
_LARGEST = 512 * 1024 * 1024


def columns_hash(model: Any, rows: Any) -> str:
    """Return the SHA-256 of the original columns of some neurons, type and place included."""
    digest = hashlib.sha256()
    for row in sorted(rows):
        site = model.sites[row]
        columns = model.interventions.original_columns(row, rows[row]).contiguous().cpu()
        digest.update(f"{site.layer} {site.expert} {columns.dtype} {tuple(columns.shape)}".encode())
        digest.update(np.asarray(rows[row], dtype="<i8").tobytes())
        digest.update(columns.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_edit(edit: Edit, path: str | Path) -> Path:
    """Write an edit as a safetensors patch.

    Parameters
    ----------
    edit : Edit
        From `edit`.
    path : path
        Ends in ``.safetensors``, or gets it.

    Returns
    -------
    pathlib.Path
        The file: tensors ``layer``, ``expert``, ``neuron`` (int64) and ``delta`` (neuron, hidden;
        float32); metadata with format, version, the model's name and weights hash, the hash of
        the original columns, provenance and report.
    """
    from safetensors.torch import save_file

    place = Path(path)
    if place.suffix != ".safetensors":
        place = place.with_name(place.name + ".safetensors")
    model = edit.model
    layer, expert, neuron, delta = [], [], [], []
    for row, index in edit.rows.items():
        site = model.sites[row]
        layer += [site.layer] * len(index)
        expert += [site.expert] * len(index)
        neuron += index.tolist()
        delta.append(edit.deltas[row].T)
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "name": edit.name,
        "model": model.name,
        "weights_hash": model.weights_hash,
        "columns_hash": columns_hash(model, edit.rows),
        "provenance": json.dumps(edit.provenance),
        "report": json.dumps(edit.report.to_dict() if edit.report else None),
    }
    tensors = {
        "layer": torch.tensor(layer),
        "expert": torch.tensor(expert),
        "neuron": torch.tensor(neuron),
        "delta": torch.cat(delta).contiguous(),
    }
    part = place.with_name(place.name + ".part")
    save_file(tensors, part, metadata=metadata)
    part.replace(place)
    return place


def load_edit(model: Any, path: str | Path) -> Edit:
    """Read a patch that `Edit.save` wrote, for the model that it was made for.

    Parameters
    ----------
    model : MultimodalModel
        The model.
    path : path
        A ``.safetensors`` patch. Nothing in it is executed.

    Returns
    -------
    Edit
        Not yet active.

    Raises
    ------
    BadArgument
        If the file is no patch, is broken, or names neurons that the model does not have.
    NotSupported
        If it was made for another model (its weights or types differ), or the model's weights
        cannot be changed exactly.

    Examples
    --------
    >>> import tempfile
    >>> from mmkn_widgets.interventions import edit
    >>> model = mmkn.load_model("pocket")
    >>> made = edit(model, {5: [3]}, "car", "boat", activation=np.ones((6, 512)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load_edit(model, made.save(folder + "/car-boat.safetensors"))
    <edit 'car > boat': 1 neuron in layer 5>
    """
    from .editing import Edit
    from .neurons import neuron_rows
    from .report import EditReport
    from .weights import writable_columns

    metadata, tensors = _read(Path(path))
    if metadata["weights_hash"] != model.weights_hash:
        raise NotSupported(
            f"path: the patch {Path(path).name} was made for {metadata.get('model', 'a model')} "
            f"with weights {metadata['weights_hash'][:12]}, and {model.name} has weights "
            f"{model.weights_hash[:12]}; load the same model in the same dtype"
        )
    layer, expert, neuron = (tensors[name].tolist() for name in _TENSORS[:3])
    rows = neuron_rows(model, list(zip(layer, expert, neuron, strict=True)), empty=False)
    if sum(len(index) for index in rows.values()) != len(neuron):
        raise bad_argument("path", Path(path).name, "a patch that names every neuron once")
    if tensors["delta"].shape[1] != model.hidden_size:
        raise bad_argument("path", Path(path).name, f"deltas of length {model.hidden_size}")
    for row in rows:
        writable_columns(model, row)
    if metadata["columns_hash"] != columns_hash(model, rows):
        raise NotSupported(
            f"path: the columns that {Path(path).name} changes are not those it was made for; "
            "load the model anew"
        )
    place = {key: position for position, key in enumerate(zip(layer, expert, neuron, strict=True))}
    deltas: dict[int, Tensor] = {}
    for row, index in rows.items():
        site = model.sites[row]
        order = [place[site.layer, site.expert, int(i)] for i in index]
        deltas[row] = tensors["delta"][order].T.contiguous()
    made = Edit(
        model, rows, deltas, name=metadata["name"], provenance=json.loads(metadata["provenance"])
    )
    report = json.loads(metadata.get("report", "null"))
    if report is not None:
        made.report = EditReport.from_dict(report)
    return made


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    wanted = f"a patch written by Edit.save (safetensors, {FORMAT} version {VERSION})"
    try:
        if path.stat().st_size > _LARGEST:
            raise bad_argument("path", path.name, wanted + " below 512 MB")
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            if metadata.get("format") != FORMAT or metadata.get("version") != str(VERSION):
                found = f"{metadata.get('format')} version {metadata.get('version')}"
                raise bad_argument("path", f"{path.name} ({found})", wanted)
            tensors = {name: file.get_tensor(name) for name in _TENSORS}
    except BadArgument:
        raise
    except (OSError, SafetensorError, ValueError) as error:
        raise BadArgument(f"path: {path} cannot be read ({error}); expected {wanted}") from error
    missing = {"name", "weights_hash", "columns_hash", "provenance"} - set(metadata)
    n = tensors["neuron"].shape[0] if tensors["neuron"].dim() == 1 else -1
    shapes = all(tensors[name].shape == (n,) for name in _TENSORS[:3])
    whole = all(tensors[name].dtype == torch.int64 for name in _TENSORS[:3])
    delta = tensors["delta"]
    good = delta.dim() == 2 and len(delta) == n and delta.dtype == torch.float32
    if missing or n < 1 or not (shapes and whole and good) or not torch.isfinite(delta).all():
        raise bad_argument("path", path.name, wanted)
    return metadata, tensors
