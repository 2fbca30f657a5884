"""The Explorer's parts, each a widget of its own with the same trait names.

Link them as any widgets: ``traitlets.link((plane, "threshold_d"), (table, "threshold_d"))``. All
but `AblationPanel` need no model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets as t

from .._errors import bad_argument
from . import _kinds as k
from ._base import Answer, Call, Widget, bundle, request
from ._choice import default_thresholds, kept_ids, quantile
from ._encode import encode_grids, encode_picture, float32_bytes, int32_array, int32_bytes
from .traits import (
    AblationTraits,
    CaptionTraits,
    EvidenceTraits,
    MaskTraits,
    PictureTraits,
    SceneTraits,
    TokenTraits,
    WordTraits,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "AblationPanel",
    "CaptionDiff",
    "MaskPainter",
    "NeuronTable",
    "PatchHeatmap",
    "ThresholdPlane",
    "TokenStrip",
]


#: words of so many neurons travel with the table; the rest on sight
_WORDS_FIRST = 64


def _scores(scores: Any) -> tuple[np.ndarray, np.ndarray, list[list[int]], dict[str, Any]]:
    """Return difference, gradcam, rows and extra traits of a Study, a Dataset or two arrays."""
    evidence = getattr(scores, "evidence", scores)
    if isinstance(evidence, tuple) and len(evidence) == 2:
        d, g = (np.asarray(part, np.float32) for part in evidence)
    elif hasattr(evidence, "data_vars") and {"difference", "gradcam"} <= set(evidence.data_vars):
        d, g = (np.asarray(evidence[name].values, np.float32) for name in ("difference", "gradcam"))
    else:
        raise bad_argument(
            "scores",
            type(scores).__name__,
            "a Study, a Dataset with 'difference' and 'gradcam', or a pair of arrays",
        )
    if d.ndim != 2 or d.shape != g.shape:
        raise bad_argument("scores", f"shapes {d.shape} and {g.shape}", "two (layer, neuron)")
    model = getattr(scores, "model", None)
    if model is not None:
        rows = [[int(s.layer), int(getattr(s, "expert", -1))] for s in model.sites]
    else:
        names = np.asarray(evidence["layer"].values) if _has_layers(evidence) else None
        whole = names is not None and np.issubdtype(names.dtype, np.integer)
        rows = [[int(names[r]) if whole else r, -1] for r in range(len(d))]  # type: ignore[index]
    more = {}
    if hasattr(evidence, "data_vars") and "gradient_sum" in evidence:
        more["gradient_sum"] = float32_bytes(evidence["gradient_sum"].values)
    return d, g, rows, more


def _has_layers(evidence: Any) -> bool:
    return hasattr(evidence, "coords") and "layer" in evidence.coords


class _Scored(EvidenceTraits, Widget):
    """A part that chooses neurons by two thresholds."""

    def __init__(
        self,
        scores: Any,
        threshold_d: float | None = None,
        threshold_g: float | None = None,
        **traits: Any,
    ) -> None:
        d, g, rows, more = _scores(scores)
        cut_d, cut_g = default_thresholds(d, g)
        self._d, self._g = d, g
        super().__init__(
            shape=list(d.shape),
            rows=rows,
            difference=float32_bytes(d),
            gradcam=float32_bytes(g),
            labels={
                "difference": "activation difference",
                "gradcam": "GradCAM",
                "activation": "activation",
                "score": "score",
            },
            threshold_d=cut_d if threshold_d is None else float(threshold_d),
            threshold_g=cut_g if threshold_g is None else float(threshold_g),
            **more,
            **traits,
        )

    @property
    def thresholds(self) -> tuple[float, float]:
        """The two absolute thresholds in force, whichever the mode."""
        if self.mode != "quantile":
            return float(np.float32(self.threshold_d)), float(np.float32(self.threshold_g))
        valid = np.isfinite(self._d) & np.isfinite(self._g)
        return quantile(self._d[valid], self.quantile_d), quantile(self._g[valid], self.quantile_g)

    @property
    def kept(self) -> np.ndarray:
        """Flat ids (row * neurons + index) of the checked survivors, best first."""
        return kept_ids(self._d, self._g, *self.thresholds, self.rows_off, self.unchecked)

    @property
    def neurons(self) -> list[tuple[int, int]]:
        """(row, index) of the checked survivors, best first."""
        width = self._d.shape[1]
        return [(int(i) // width, int(i) % width) for i in self.kept]

    def _place(self, flat: int) -> tuple[int, ...]:
        layer, expert = self.rows[flat // self._d.shape[1]]
        index = flat % self._d.shape[1]
        return (layer, index) if expert < 0 else (layer, expert, index)


class ThresholdPlane(_Scored):
    """Every neuron in the plane of both scores, with a corner to drag.

    Parameters
    ----------
    scores : Study, xarray.Dataset or pair of arrays (layer, neuron)
        ``difference`` and ``gradcam``.
    threshold_d, threshold_g : float, optional
        Start values; traits afterwards.

    Examples
    --------
    >>> import numpy as np
    >>> plane = ThresholdPlane((np.eye(3), np.eye(3)), 0.5, 0.5)
    >>> plane.neurons
    [(0, 0), (1, 1), (2, 2)]
    """

    _esm: ClassVar[Any] = bundle("threshold_plane")


class NeuronTable(WordTraits, _Scored):
    """The neurons that pass both thresholds, with their words.

    Parameters
    ----------
    scores : Study, xarray.Dataset or pair of arrays (layer, neuron)
    threshold_d, threshold_g : float, optional
    words : callable, optional
        ``words(rows, indices) -> list of lists of str``; a Study brings its own.
    concept_forms : sequence of str
        Words to set in bold.
    """

    _esm: ClassVar[Any] = bundle("neuron_table")

    def __init__(
        self,
        scores: Any,
        threshold_d: float | None = None,
        threshold_g: float | None = None,
        *,
        words: Callable[..., Sequence[Sequence[str]]] | None = None,
        concept_forms: Sequence[str] = (),
        **traits: Any,
    ) -> None:
        self._words = words or getattr(scores, "words", None)
        self._model = getattr(scores, "model", None)
        super().__init__(
            scores, threshold_d, threshold_g, concept_forms=list(concept_forms), **traits
        )
        if self._words is not None:
            ids, width = self.kept[:_WORDS_FIRST], self._d.shape[1]
            found = self._words(ids // width, ids % width)
            self.map_ids = int32_bytes(ids)
            self.words = [[str(word) for word in line] for line in found]

    @property
    def _worker(self) -> Any:
        return getattr(getattr(self, "_model", None), "worker", None)

    @request("words")
    def _ask_words(self, call: Call) -> Answer:
        width = self._d.shape[1]
        ids = np.asarray(call.args.get("ids", []), np.int64)
        if self._words is None:
            return {"words": [[] for _ in ids]}
        return {
            "words": [[str(w) for w in line] for line in self._words(ids // width, ids % width)]
        }

    def to_dataframe(self) -> pd.DataFrame:
        """Return the checked survivors as a table: layer, expert, index and both scores."""
        import pandas as pd

        kept, width = self.kept, self._d.shape[1]
        place = np.asarray([self.rows[int(i) // width] for i in kept], int).reshape(-1, 2)
        return pd.DataFrame(
            {
                "layer": place[:, 0],
                "expert": place[:, 1],
                "index": kept % width,
                "difference": self._d.ravel()[kept],
                "gradcam": self._g.ravel()[kept],
            }
        )


class PatchHeatmap(WordTraits, PictureTraits, SceneTraits, _Scored):
    """A picture with the map of one neuron, or of the mean over neurons, on its patches.

    Parameters
    ----------
    image : PIL.Image.Image
    maps : array or DataArray (neuron, row, column)
        Activations over the token grid in picture coordinates.
    inpainted : PIL.Image.Image, optional
        Adds a swipe between the two pictures.

    Examples
    --------
    >>> import numpy as np
    >>> from PIL import Image
    >>> heat = PatchHeatmap(Image.new("RGB", (48, 48)), np.random.rand(3, 6, 6))
    >>> heat.grid["rows"]
    6
    """

    _esm: ClassVar[Any] = bundle("patch_heatmap")

    def __init__(self, image: Any, maps: Any, *, inpainted: Any = None, **traits: Any) -> None:
        values = np.asarray(getattr(maps, "values", maps), np.float32)
        if values.ndim == 2:
            values = values[None]
        if values.ndim != 3 or not values.size:
            raise bad_argument("maps", f"shape {values.shape}", "(neuron, row, column)")
        ones = np.ones((1, len(values)), np.float32)
        made = encode_grids(values)
        super().__init__(
            (ones, ones),
            0.0,
            0.0,
            picture=encode_picture(image, 640),
            inpainted=b"" if inpainted is None else encode_picture(inpainted, 640),
            grid={
                "rows": int(values.shape[1]),
                "cols": int(values.shape[2]),
                "extent": [0.0, 0.0, 1.0, 1.0],
                "approximate": False,
                "reason": "",
            },
            map_ids=int32_bytes(np.arange(len(values))),
            maps=made.grids,
            map_scale=made.scale,
            map_offset=made.offset,
            map_sign=np.ones(len(values), np.int8).tobytes(),
            **traits,
        )


class TokenStrip(TokenTraits, Widget):
    """One value per token of a sequence: text, image and generated tokens.

    Parameters
    ----------
    tokens : sequence of (text, role, step)
        Roles ``text``, ``image``, ``special``, ``generated``; step -1 in the prompt.
    values : sequence of float, optional
    label : str
    """

    _esm: ClassVar[Any] = bundle("token_strip")

    def __init__(
        self, tokens: Sequence[tuple[str, str, int]], values: Any = None, label: str = ""
    ) -> None:
        given = np.zeros(0) if values is None else np.asarray(values, np.float32)
        if given.size and given.size != len(tokens):
            raise bad_argument("values", f"{given.size} values", f"{len(tokens)}, one per token")
        super().__init__(
            tokens=[{"text": str(x), "role": str(r), "step": int(s)} for x, r, s in tokens],
            token_values=float32_bytes(given),
            token_label=label,
        )


class CaptionDiff(CaptionTraits, Widget):
    """Two captions, with what changed.

    Parameters
    ----------
    before, after : str
    references : sequence of str
    concept : str
        Its forms are marked.

    Attributes
    ----------
    clicked : str
        The word that was clicked last; observe it.
    """

    _esm: ClassVar[Any] = bundle("caption_diff")
    concept_forms = k.json([], "the forms of the concept's word")
    clicked = t.Unicode("", help="the word that was clicked last")

    def __init__(
        self,
        before: str = "",
        after: str = "",
        *,
        references: Sequence[str] = (),
        concept: str = "",
        concept_forms: Sequence[str] = (),
    ) -> None:
        super().__init__(
            caption_before=before,
            caption_after=after,
            references=list(references),
            concept=concept,
            concept_forms=list(concept_forms) or ([concept] if concept else []),
        )

    @request("compute", worker=False)
    def _ask_compute(self, call: Call) -> Answer:
        self.clicked = str(call.args.get("concept", ""))
        return {}


class MaskPainter(MaskTraits, Widget):
    """Paint a mask on a picture.

    Parameters
    ----------
    image : PIL.Image.Image
    objects : mapping of str to bool arrays (height, width)
        Masks to choose with one click.
    inpaint : callable, optional
        ``inpaint(image, mask) -> PIL.Image.Image``, called by the button.

    Attributes
    ----------
    painted : numpy.ndarray of bool
        The mask at painting resolution, after the button.
    """

    _esm: ClassVar[Any] = bundle("mask_painter")
    picture = k.data("the picture, PNG or JPEG")
    inpainted = k.data("the picture without the object, PNG or JPEG")
    painted = t.Any(None, help="the mask that was painted last, bool (height, width)")

    def __init__(
        self,
        image: Any,
        objects: Mapping[str, Any] | None = None,
        inpaint: Callable[[Any, np.ndarray], Any] | None = None,
    ) -> None:
        from ._scene_state import painting_shape, shrink

        self._image, self._paint = image, inpaint
        shape = painting_shape(image.size)
        masks = {str(n): np.asarray(m, bool) for n, m in (objects or {}).items()}
        super().__init__(
            picture=encode_picture(image, 640),
            inpainted=encode_picture(image, 640),
            mask_shape=list(shape),
            mask=bytes(shape[0] * shape[1]),
            objects=[{"name": n, "area": float(m.mean())} for n, m in masks.items()],
            object_masks=[shrink(m, shape).tobytes() for m in masks.values()],
        )

    @request("inpaint", worker=False)
    def _ask_inpaint(self, call: Call) -> Answer:
        from PIL import Image

        shape = tuple(int(n) for n in call.args.get("shape", ()))
        mask = np.frombuffer(call.buffers[0] if call.buffers else b"", np.uint8)
        if list(shape) != self.mask_shape or mask.size != shape[0] * shape[1] or not mask.any():
            raise bad_argument("mask", f"{mask.size} bytes", f"a painted mask of {self.mask_shape}")
        small = Image.fromarray(np.where(mask.reshape(shape) > 0, 255, 0).astype(np.uint8))
        full = np.asarray(small.resize(self._image.size, Image.Resampling.NEAREST)) > 127
        self.mask = mask.tobytes()
        if self._paint is not None:
            self.inpainted = encode_picture(self._paint(self._image, full), 640)
        self.painted = full
        return {}


class AblationPanel(AblationTraits, _Scored):
    """Ablate the neurons that pass both thresholds, restore, undo, redo; shows what is active.

    Parameters
    ----------
    study : Study
    threshold_d, threshold_g : float, optional
    """

    _esm: ClassVar[Any] = bundle("ablation_panel")

    def __init__(
        self, study: Any, threshold_d: float | None = None, threshold_g: float | None = None
    ) -> None:
        from ._ablation import Ablations

        if not hasattr(study, "model"):
            raise bad_argument("study", type(study).__name__, "a Study")
        self._study = study
        super().__init__(study, threshold_d, threshold_g)
        self._ablations = Ablations(study.model, (self._d.shape[0], self._d.shape[1]))
        self._forget = study.model.interventions.observe(lambda _event: self._show())
        self._show()

    @property
    def _worker(self) -> Any:
        study = getattr(self, "_study", None)
        return None if study is None else study.model.worker

    def _show(self) -> None:
        self.ablation = {**self.ablation, **self._ablations.state()}

    @request("ablate")
    def _ask_ablate(self, call: Call) -> Answer:
        from ._ablation import Snapshot

        ids = int32_array(call.buffers[0]) if call.buffers else self.kept
        mode, scale = str(call.args.get("mode", "zero")), float(call.args.get("scale") or 0.0)
        word = str(getattr(self._study.concept, "word", self._study.concept))
        label = f"{len(ids)} {word} neurons: {mode}"
        chosen = Snapshot(tuple(int(i) for i in ids), mode, scale, label)
        self._ablations.set(chosen, self._references())
        return {}

    @request("restore")
    def _ask_restore(self, call: Call) -> Answer:
        self._ablations.set(None, {})
        self._study.model.interventions.clear()
        return {}

    @request("undo")
    def _ask_undo(self, call: Call) -> Answer:
        self._ablations.undo(self._references())
        return {}

    @request("redo")
    def _ask_redo(self, call: Call) -> Answer:
        self._ablations.redo(self._references())
        return {}

    def _references(self) -> dict[str, Any]:
        evidence = self._study.evidence
        found = {"from_inpainted": self._study.pictures(0)[1]}
        if "activation" in evidence:
            found["mean"] = np.nan_to_num(evidence["activation"].values)
        return found

    def close(self) -> None:
        """Take back the own ablation and free the memory."""
        if not self._closed and hasattr(self, "_ablations"):
            self._forget()
            self._ablations.drop()
        super().close()
