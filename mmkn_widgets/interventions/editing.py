"""Edit a few neurons' columns of W_out, so that one word becomes another, or is not said."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..core import (
    BLANK,
    BadArgument,
    CancelToken,
    Concept,
    NotSupported,
    Progress,
    as_concept,
    bad_argument,
    count,
    counted,
    html_card,
    html_changes,
    html_table,
    neuron_rows,
    provenance,
    provenance_of,
    real_number,
    whole_number,
    write_whole,
)
from .base import WeightIntervention
from .closed_form import closed_form, signs_of, word_direction
from .learning import Goal, lessons, optimise, swaps
from .weights import writable_columns

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = [
    "Edit",
    "EditReport",
    "as_targets",
    "columns_hash",
    "edit",
    "load_edit",
    "save_edit",
]

FORMAT = "mmkn-edit"
VERSION = 2
_TENSORS = ("layer", "expert", "neuron", "delta")
_LARGEST = 512 * 1024 * 1024


@dataclass(frozen=True)
class EditReport:
    """Figures of an edit; rates are 0 to 1, None where there was nothing to count.

    Attributes
    ----------
    source : str
        The word that was to be replaced.
    target : str
        What was to be said instead; "" for muting.
    success : float or None
        Of captions that named the source: those that no longer do, and name the target (if any).
    gone : float or None
        Of the same: those that no longer name the source.
    locality : float or None
        Of captions that did not name the source: those unchanged, letter for letter.
    kept_scene : float or None
        Of other words that captions with the source named: those still named.
    kept_other : float or None
        Of words that captions without the source named: those still named.
    leaked : float or None
        Of captions without source and target: those that now name the target.
    shortened : float or None
        Of all captions: those with fewer words than before.
    repeated : float or None
        Of successes whose caption did not name the target before: those that name it twice.
    n_with, n_without : int
        Captions that named the source, and that did not.
    n_neurons : int
        Columns changed.
    changed : tuple of (str, str)
        Pairs of captions, before and after, that changed.

    Examples
    --------
    >>> rates = dict.fromkeys(("gone", "locality", "kept_scene", "kept_other"), 1.0)
    >>> none = dict.fromkeys(("leaked", "shortened", "repeated"), 0.0)
    >>> counts = {"n_with": 8, "n_without": 8, "n_neurons": 10}
    >>> report = EditReport("car", "boat", 0.875, **rates, **none, **counts)
    >>> EditReport.from_dict(report.to_dict()) == report
    True
    """

    source: str
    target: str
    success: float | None
    gone: float | None
    locality: float | None
    kept_scene: float | None
    kept_other: float | None
    leaked: float | None
    shortened: float | None
    repeated: float | None
    n_with: int
    n_without: int
    n_neurons: int
    changed: tuple[tuple[str, str], ...] = ()

    def _repr_html_(self) -> str:
        rows = [
            ("success", self.success, f"of {self.n_with} captions that named {self.source}"),
            (f"{self.source} gone", self.gone, "of the same"),
            ("locality", self.locality, f"of {self.n_without} other captions, letter for letter"),
            ("kept, same captions", self.kept_scene, "other words still named"),
            ("kept, other captions", self.kept_other, "words still named"),
            ("leaked", self.leaked, "captions without either word that now name the new one"),
            ("shortened", self.shortened, "of all captions"),
            ("repeated", self.repeated, "of successes"),
        ]
        shown = self.changed[:4]
        pairs = html_changes(("before", "after"), shown) if shown else ""
        more = f"{counted(len(self.changed), 'caption')} changed" if shown else "no caption changed"
        more += f", the first {len(shown)}:" if len(self.changed) > len(shown) else ""
        about = f"{self.source} → {self.target or '(nothing)'}, {counted(self.n_neurons, 'neuron')}"
        shares = html_table(["", "share", ""], rows, more)
        return html_card("EditReport", (), shares, pairs, about=about)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; what could not be counted is None."""
        return asdict(self)

    @classmethod
    def from_dict(cls, described: dict[str, Any]) -> EditReport:
        """Read what `to_dict` wrote."""
        changed = tuple((str(a), str(b)) for a, b in described["changed"])
        return cls(**{**described, "changed": changed})


def as_targets(target: Any) -> list[Concept]:
    """Return the words to say instead: none, one, or several."""
    if target is None:
        return []
    if isinstance(target, list | tuple):
        return [as_concept(one) for one in target]
    return [as_concept(target)]


def columns_hash(model: MultimodalModel, rows: Any) -> str:
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
    """Write an edit as a safetensors patch, at once or not at all.

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
        the original columns, provenance, report, and a checksum of the whole file.

    Raises
    ------
    BadArgument
        If it cannot be written; an older patch there is then as it was.

    Examples
    --------
    >>> import tempfile
    >>> model = mmkn.load_model("pocket")
    >>> made = edit(model, {5: [3]}, "car", "boat", activation=np.ones((6, 512)))
    >>> save_edit(made, tempfile.mkdtemp() + "/car-boat").name
    'car-boat.safetensors'
    """
    from safetensors.torch import save

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
        "checksum": BLANK,
    }
    tensors = {
        "layer": torch.tensor(layer),
        "expert": torch.tensor(expert),
        "neuron": torch.tensor(neuron),
        "delta": torch.cat(delta).contiguous(),
    }
    return write_whole(place, _stamped(save(tensors, metadata=metadata), BLANK))


def _stamped(raw: bytes, held: str) -> bytes:
    """Return a patch with its checksum in the place of what it holds there."""
    head, found, tail = raw.partition(f'"checksum":"{held}"'.encode())
    blank = head + f'"checksum":"{BLANK}"'.encode() + tail if found else b""
    return head + f'"checksum":"{hashlib.sha256(blank).hexdigest()}"'.encode() + tail


def load_edit(model: MultimodalModel, path: str | Path) -> Edit:
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
    try:
        described = json.loads(metadata["provenance"])
        report = json.loads(metadata.get("report", "null"))
        measured = None if report is None else EditReport.from_dict(report)
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # of version 1
        raise bad_argument("path", Path(path).name, "a patch written by Edit.save") from error
    made = Edit(model, rows, deltas, name=metadata["name"], provenance=described)
    made.report = measured
    return made


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    wanted = f"a patch written by Edit.save (safetensors, {FORMAT} version {VERSION})"
    try:
        if path.stat().st_size > _LARGEST:
            raise bad_argument("path", path.name, wanted + " below 512 MB")
        raw = path.read_bytes()
        held = load(raw)
        size = int.from_bytes(raw[:8], "little")
        metadata = dict(json.loads(raw[8 : 8 + size]).get("__metadata__") or {})
        if metadata.get("format") != FORMAT or metadata.get("version") not in ("1", str(VERSION)):
            found = f"{metadata.get('format')} version {metadata.get('version')}"
            raise bad_argument("path", f"{path.name} ({found})", wanted)
        checksum = metadata.get("checksum")  # version 1, of earlier releases, had none
        unmarked = metadata["version"] == "1" and checksum is None
        if not unmarked and _stamped(raw, checksum or "") != raw:
            raise ValueError("its checksum does not fit: it is damaged")
        tensors = {name: held[name] for name in _TENSORS}
    except BadArgument:
        raise
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
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


METHODS = ("closed_form", "optimised")
#: Sizes tried for ``alpha=None``, and the share of captions that is enough.
ALPHAS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
ENOUGH = 0.95


class Edit(WeightIntervention):
    """Columns of W_out with deltas added; made by `edit` or read by `load_edit`.

    Parameters
    ----------
    model : MultimodalModel
    rows : mapping of int to numpy.ndarray
        Site row to the neurons there.
    deltas : mapping of int to Tensor
        See below.
    name, provenance
        As in `Intervention`.

    Attributes
    ----------
    deltas : dict of int to Tensor, shape (hidden, neuron)
        Site row to float32 deltas, in the order of ``rows``.
    report : EditReport or None
        What `edit_report` measured last.

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> made = edit(model, {5: [3]}, "car", "boat", activation=np.ones((6, 512)))
    >>> made, made.deltas[5].shape
    (<edit 'car > boat': 1 neuron in layer 5>, torch.Size([128, 1]))
    """

    kind: ClassVar[str] = "edit"

    def __init__(
        self,
        model: MultimodalModel,
        rows: Mapping[int, np.ndarray],
        deltas: Mapping[int, Tensor],
        *,
        name: str,
        provenance: dict[str, Any],
    ) -> None:
        super().__init__(model, rows, name=name, provenance=provenance)
        self.deltas = {row: deltas[row].detach().float().cpu() for row in self.rows}
        self.report: EditReport | None = None

    def changed(self, row: int, columns: Tensor) -> Tensor:
        """Return the columns with their deltas; shape (hidden, neuron)."""
        return (columns.float() + self.deltas[row].to(columns.device)).to(columns.dtype)

    def save(self, path: str | Path) -> Path:
        """Write a safetensors patch that `load_edit` reads; see `save_edit`."""
        return save_edit(self, path)

    def _more(self) -> str:
        if self.report is None:
            return ""
        rates = {"success": self.report.success, "locality": self.report.locality}
        return "".join(f", {k} {'-' if v is None else f'{v:.2f}'}" for k, v in rates.items())


def edit(
    model: MultimodalModel,
    neurons: Any,
    source: Any,
    target: Any = None,
    *,
    method: str = "closed_form",
    top: int | None = 10,
    leave_out_last: int = 0,
    alpha: float | None = 1.0,
    activation: Any = None,
    scenes: Sequence[Any] | None = None,
    goal: Goal | None = None,
    prompt: str | None = None,
    seed: int = 0,
    name: str | None = None,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> Edit:
    """Return a reversible change of weights after which a model says another word.

    Only the chosen neurons' columns of W_out change. Nothing happens until the edit is entered
    (``with``) or pushed on ``model.interventions``; undoing restores the columns bit for bit.

    Parameters
    ----------
    model : MultimodalModel
        The model; its weights must be in memory and not quantised.
    neurons : NeuronSet, boolean array (sites, neurons), mapping {layer: indices} or pairs
        Neurons of the concept `source`.
    source : str or Concept
        The word to be replaced.
    target : str, Concept or list of these, optional
        What is to be said instead; of a list the mean direction is taken. By default nothing in
        particular: the word is muted.
    method : {"closed_form", "optimised"}
        Add ``alpha * mean column norm * unit(u_target - u_source) * sign of the activation`` to
        every column; or learn one delta for each neuron.
    top : int, optional
        Of an ordered neuron set take the first `top`; None takes all.
    leave_out_last : int
        Leave out neurons of the last so many layers.
    alpha : float or None
        Size of the closed form; None takes the smallest that replaces the word in 95% of the
        captions of `scenes` that name it.
    activation : array over (layer, neuron) or evidence, optional
        The neurons' mean activation where `source` is predicted, of which the sign is used:
        `collect`'s evidence holds it. Otherwise it is captured from `scenes`.
    scenes : sequence of Scene, optional
        For method "optimised" (and without `activation`): pictures with the concept, and for
        locality pictures without it. Do not measure on the same.
    goal : Goal, optional
        Weights of the losses, rate, steps of method "optimised".
    prompt : str, optional
        The captioning prompt; the model's own by default.
    seed : int
        Order of the scenes in optimisation.
    name : str, optional
        For people.
    progress, cancel : optional
        For method "optimised".

    Returns
    -------
    Edit
        Measure it with `edit_report` on scenes that were not used here.

    Raises
    ------
    BadArgument
        If an argument cannot be used.
    NotSupported
        If the columns cannot be written exactly (quantised, offloaded).

    Notes
    -----
    Pan et al. 2024 (arXiv 2311.07470), section on editing.

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> signs = np.ones((len(model.sites), model.n_neurons))
    >>> made = edit(model, {4: [1, 2], 5: [3]}, "car", "boat", activation=signs)
    >>> made
    <edit 'car > boat': 3 neurons in layers 4-5>
    >>> before = model.w_out(5)[:, 3].clone()
    >>> with made:
    ...     bool((model.w_out(5)[:, 3] == before).all())
    False
    >>> bool((model.w_out(5)[:, 3] == before).all())
    True
    """
    if method not in METHODS:
        raise bad_argument("method", method, "'closed_form' or 'optimised'")
    if method == "optimised" and not scenes:
        raise bad_argument("scenes", scenes, "scenes with and without the concept, to learn from")
    concept = as_concept(source)
    targets = as_targets(target)
    rows = _choose(model, neurons, top, leave_out_last)
    for row in rows:
        writable_columns(model, row)
    shown = name or f"{concept.word} > {' | '.join(t.word for t in targets) or 'nothing'}"
    if method == "closed_form":
        if alpha is None and not scenes:
            raise bad_argument("alpha", alpha, "a number, or scenes to find the smallest one on")
        if alpha is not None:
            alpha = real_number("alpha", alpha)
        signs = signs_of(model, concept, activation, scenes, prompt)
        deltas = closed_form(model, rows, signs, word_direction(model, concept, targets), 1.0)
        if alpha is None:
            alpha = _smallest(model, rows, deltas, concept, targets, scenes or (), prompt)
        deltas = {row: alpha * delta for row, delta in deltas.items()}
        details: dict[str, Any] = {"alpha": alpha}
    else:
        goal = goal or Goal()
        to = targets[0] if targets else None
        size = goal.batch_size
        with model.interventions.suspended():
            swapped, others = swaps(model, concept, to, scenes or (), prompt, size)
            changing = lessons(model, swapped, prompt, size)
            staying = lessons(model, others, prompt, size)
        deltas, details = optimise(
            model,
            rows,
            changing,
            staying,
            goal,
            seed=seed,
            what=f"editing {concept.word}",
            progress=progress,
            cancel=cancel,
        )
    made = provenance(
        "edit",
        source=concept.to_dict(),
        target=[one.to_dict() for one in targets],
        edit_method=method,
        top=top,
        leave_out_last=leave_out_last,
        n_neurons=count(rows),
        seed=seed,
        scenes=None if scenes is None else [f"{s.source}/{s.id}" for s in scenes],
        neurons=provenance_of(neurons),
        **details,
    )
    return Edit(model, rows, deltas, name=shown, provenance=made)


def _choose(
    model: MultimodalModel, neurons: Any, top: int | None, leave_out_last: int
) -> dict[int, np.ndarray]:
    if top is not None:
        top = whole_number("top", top, lowest=1)
    most = model.n_layers - 1
    leave_out_last = whole_number("leave_out_last", leave_out_last, lowest=0, highest=most)
    last = model.n_layers - leave_out_last
    if hasattr(neurons, "top") and hasattr(neurons, "filter"):
        neurons = neurons.filter(lambda neuron: neuron.layer < last)
        if top is not None:
            neurons = neurons.top(top)
    rows = neuron_rows(model, neurons, empty=False)
    kept = {row: index for row, index in rows.items() if model.sites[row].layer < last}
    if not kept:
        raise bad_argument("leave_out_last", leave_out_last, "a number that leaves some neurons")
    return kept


def _smallest(
    model: MultimodalModel,
    rows: Mapping[int, np.ndarray],
    deltas: Mapping[int, Tensor],
    source: Concept,
    targets: list[Concept],
    scenes: Sequence[Any],
    prompt: str | None,
) -> float:
    """Return the smallest size that is enough, or the one with most success."""
    shown = [s for s in scenes if any(source.named_in(category) for category in s.categories)]
    if not shown:
        raise bad_argument("scenes", f"{len(scenes)} scenes", f"some that show {source.word!r}")
    best, most = ALPHAS[-1], -1.0
    pictures = [scene.image for scene in shown]
    with model.interventions.suspended():
        before = model.caption(pictures, prompt)
        pictures = [p for p, text in zip(pictures, before, strict=True) if source.named_in(text)]
        if not pictures:
            raise bad_argument("scenes", f"{len(scenes)} scenes", f"some captioned {source.word!r}")
        for alpha in ALPHAS:
            sized = {row: alpha * delta for row, delta in deltas.items()}
            with Edit(model, rows, sized, name="trial", provenance={}):
                after = model.caption(pictures, prompt)
            replaced = [
                not source.named_in(text)
                and (not targets or any(target.named_in(text) for target in targets))
                for text in after
            ]
            success = sum(replaced) / len(replaced)
            if success > most:
                best, most = alpha, success
            if success >= ENOUGH:
                break
    return best
