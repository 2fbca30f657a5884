"""The parts of the Explorer, each a widget of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets as t

from ..attribution import default_thresholds, nothing_to_find
from ..core import NeuronIndex, NeuronSet, bad_argument
from ._base import Answer, Call, Widget, bundle, request
from .changes import Changes, Chosen, Following, measured
from .code import Recipe, caption_line
from .encode import encode_picture, float32_bytes, int32_array, int32_bytes
from .labelled import maps_of, scores_of, tokens_of
from .look import (
    as_masks,
    enlarge,
    grid_state,
    map_state,
    painted,
    painting_shape,
    read_upload,
    token_state,
)
from .selection import Selection
from .traits import (
    TEXT,
    AblationTraits,
    CaptionTraits,
    EvidenceTraits,
    MaskTraits,
    ObjectTraits,
    PictureTraits,
    SceneTraits,
    TokenTraits,
    WordTraits,
    data,
    json,
    listing,
)

if TYPE_CHECKING:
    import pandas as pd

    from ..models import Worker
    from .protocols import StudyLike

__all__ = [
    "AblationPanel",
    "CaptionDiff",
    "Choosing",
    "MaskPainter",
    "NeuronTable",
    "PatchHeatmap",
    "Scored",
    "ThresholdPlane",
    "TokenStrip",
]

#: words of so many neurons travel with the table; the rest on sight
_WORDS_FIRST = 64


class Choosing(EvidenceTraits, Widget):
    """A widget that chooses neurons by two thresholds."""

    selection: Selection

    @property
    def thresholds(self) -> tuple[float, float]:
        """The two absolute thresholds in force, whichever the mode."""
        return self.selection.thresholds

    @property
    def kept(self) -> np.ndarray:
        """Flat ids (row * columns + index) of the checked survivors, best first."""
        return self.selection.kept

    @property
    def neurons(self) -> NeuronSet:
        """The checked survivors, best stage-2 score first."""
        return self.selection.neurons

    def account(self) -> Any:
        """Return what the static view says."""
        from .html import choosing_account

        return choosing_account(self.selection, self.labels)


class Scored(Choosing):
    """A part that chooses neurons by two thresholds over the scores that it was given."""

    def __init__(
        self,
        scores: Any,
        threshold_d: float | None = None,
        threshold_g: float | None = None,
        **traits: Any,
    ) -> None:
        given = scores_of(scores)
        evidence, index = given.evidence, given.index
        self.selection = Selection(evidence, index, self, method=given.method)
        d, g = self.selection.difference, self.selection.gradcam
        cut_d, cut_g = default_thresholds(d, g, nothing=bool(nothing_to_find(evidence)))
        acts = self.selection.activation
        sums = evidence["gradient_sum"].values if "gradient_sum" in evidence else ()
        super().__init__(
            shape=list(d.shape),
            rows=[list(pair) for pair in index.rows],
            difference=float32_bytes(d),
            gradcam=float32_bytes(g),
            gradient_sum=float32_bytes(sums),
            activation=float32_bytes(() if acts is None else acts),
            labels=given.labels,
            threshold_d=cut_d if threshold_d is None else threshold_d,
            threshold_g=cut_g if threshold_g is None else threshold_g,
            **traits,
        )


class ThresholdPlane(Scored):
    """Every neuron in the plane of both scores, with a corner to drag.

    Parameters
    ----------
    scores : Study, store, xarray.Dataset, DataArray or pair of arrays (layer, neuron)
        ``difference`` and ``gradcam``; of a captured store its largest activations at image and
        at text tokens; one score DataArray serves both axes.
    threshold_d, threshold_g : float, optional
        Start values; traits afterwards.

    Attributes
    ----------
    neurons : NeuronSet
        The checked survivors, best second score first.

    Examples
    --------
    >>> import numpy as np
    >>> plane = ThresholdPlane((np.eye(3), np.eye(3)), 0.5, 0.5)
    >>> [(neuron.layer, neuron.index) for neuron in plane.neurons]
    [(0, 0), (1, 1), (2, 2)]
    """

    _esm: ClassVar[Any] = bundle("threshold_plane")


class NeuronTable(WordTraits, Scored):
    """The neurons that pass both thresholds, with their words.

    Parameters
    ----------
    scores : Study, store, xarray.Dataset, DataArray or pair of arrays (layer, neuron)
    threshold_d, threshold_g : float, optional
    words : callable, optional
        ``words(rows, indices) -> list of lists of str``; a Study brings its own.
    concept_forms : sequence of str
        Words to set in bold.

    Attributes
    ----------
    neurons : NeuronSet
        The checked survivors, best second score first.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> d, g = np.float32([[0.9, 0.1, 0.8]]), np.float32([[0.2, 0.9, 0.5]])
    >>> dims = ("layer", "neuron")
    >>> scores = xr.Dataset({"difference": (dims, d), "gradcam": (dims, g)}, {"layer": [4]})
    >>> [(n.layer, n.index) for n in NeuronTable(scores, 0.5, 0.1).neurons]
    [(4, 2), (4, 0)]
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
        study = scores if hasattr(scores, "evidence") else None
        self._words = words if words is not None or study is None else study.words
        self._model = None if study is None else study.model
        super().__init__(
            scores, threshold_d, threshold_g, concept_forms=list(concept_forms), **traits
        )
        if self._words is not None:
            ids = self.kept[:_WORDS_FIRST]
            self.map_ids = int32_bytes(ids)
            self.words = self._words_of(ids)

    @property
    def _worker(self) -> Worker | None:
        return None if self._model is None else self._model.worker

    def _words_of(self, ids: np.ndarray) -> list[list[str]]:
        rows, indices = self.selection.index.split(ids)
        if self._words is None:
            return [[] for _ in ids]
        return [[str(word) for word in line] for line in self._words(rows, indices)]

    @request("words")
    def _ask_words(self, call: Call) -> Answer:
        return {"words": self._words_of(np.asarray(call.wholes("ids"), np.int64))}

    def to_dataframe(self) -> pd.DataFrame:
        """Return the checked survivors as a table: layer, expert, index and both scores."""
        import pandas as pd

        kept, chosen = self.kept, self.selection
        neurons = chosen.neurons
        return pd.DataFrame(
            {
                "layer": neurons.layer,
                "expert": neurons.expert,
                "index": neurons.index,
                "difference": chosen.difference.ravel()[kept],
                "gradcam": chosen.gradcam.ravel()[kept],
            }
        )

    def account(self) -> Any:
        """Return what the static view says."""
        from .html import choosing_account, words_by_id

        words = words_by_id(self.map_ids, self.words)
        return choosing_account(self.selection, self.labels, words=words)

    def close(self) -> None:
        """Let go of the study, and free the memory."""
        self._words = self._model = None
        super().close()


class AblationPanel(AblationTraits, Following, Scored):
    """Ablate the neurons that pass both thresholds, restore, undo, redo; shows what is active.

    Parameters
    ----------
    study : Study
    threshold_d, threshold_g : float, optional
    scene : int
        The scene on which the change is measured.

    Attributes
    ----------
    neurons : NeuronSet
        The checked survivors, best stage-2 score first.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> scenes = mmkn.datasets.pocket_world("val", 60).with_concept("car", 1)
    >>> study = mmkn.study(model, "car", scenes)
    >>> AblationPanel(study).neurons.places == study.neurons().places
    True
    """

    _esm: ClassVar[Any] = bundle("ablation_panel")
    owned: ClassVar[dict[str, type]] = {"changes": Changes}

    def __init__(
        self,
        study: Any,
        threshold_d: float | None = None,
        threshold_g: float | None = None,
        *,
        scene: int = 0,
    ) -> None:
        if not hasattr(study, "model"):
            raise bad_argument("study", type(study).__name__, "a Study")
        if not 0 <= scene < len(study.scenes):
            raise bad_argument("scene", scene, f"0 to {len(study.scenes) - 1}")
        self._study: StudyLike | None = study
        self._scene = scene
        self.changes = Changes(self, study.model)
        super().__init__(study, threshold_d, threshold_g)
        self.ablation = self._state()
        self.follow(study.model.interventions)

    @property
    def _worker(self) -> Worker | None:
        return None if self._study is None else self._study.model.worker

    def _open(self) -> StudyLike:
        if self._study is None:
            raise bad_argument("study", "none: the panel was closed", "an open panel")
        return self._study

    def _state(self) -> dict[str, Any]:
        study = self._open()
        return self.changes.state(lambda: [caption_line(study, self._scene)])

    def chosen(self, call: Call) -> Chosen:
        """Return the neurons that a click means."""
        chosen = self.selection
        ids = chosen.index.checked(int32_array(call.data)) if call.buffers else chosen.kept
        word = str(self._open().concept.word)
        return Chosen(chosen.set_of(ids), recipe_of(chosen, ids), before=word)

    def reference(self, mode: str) -> tuple[Any, str]:
        """Return what "mean" or "from_inpainted" needs, and the Python for it."""
        return reference_of(self._open(), self._scene, mode)

    def rewrite(self, _call: Call | None) -> Answer:
        """Show what is active now, and measure what it does."""
        self._behind = False
        self.ablation = self._state()
        self._later(self._measure, "measure")
        return {}

    def follow_up(self) -> None:
        """Show what others made active, and what it does."""
        self.rewrite(None)

    def _measure(self) -> None:
        study, active = self._open(), self.changes.stack.active
        found = measured(study, self.changes.now, self._scene)
        if active == self.changes.stack.active:
            self.ablation = {**self._state(), **found}

    def close(self) -> None:
        """Take back the own ablation and free the memory."""
        if self._closed:
            return
        self.unfollow()
        self.changes.forget()
        super().close()
        self._study = None
        del self.changes


def recipe_of(selection: Selection, ids: np.ndarray, study: str = "study") -> Recipe:
    """Return how code gives the neurons of a click: by the thresholds, else one by one."""
    if np.array_equal(np.sort(ids), np.sort(selection.kept)):
        return Recipe(selection.python(study))
    return Recipe("[" + ", ".join(str(selection.place(int(i))) for i in np.sort(ids)) + "]")


def reference_of(study: StudyLike, scene: int, mode: str) -> tuple[Any, str]:
    """Return the reference of a mode and the Python that gives it again.

    Raises
    ------
    BadArgument
        If the study has no activations, or the scene no mask of the concept.
    """
    if mode == "mean":
        if "activation" not in study.evidence:
            raise bad_argument("mode", mode, "a study whose evidence has 'activation'")
        return study.evidence["activation"], 'study.evidence["activation"]'
    if not study.has_pair(scene):
        wanted = f"a scene with a mask of {study.concept.word!r}: paint it first"
        raise bad_argument("mode", mode, wanted)
    return study.pictures(scene)[1], f"study.pictures({scene})[1]"


class TokenStrip(TokenTraits, Widget):
    """One value per token of a sequence: text, image and generated tokens.

    Parameters
    ----------
    tokens : sequence of (text, role, step) or DataArray of dim (token)
        Roles ``text``, ``image``, ``special``, ``generated``; step -1 in the prompt. An array of
        a store brings its own values.
    values : sequence of float, optional
    label : str

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> store = mmkn.capture(model, mmkn.datasets.pocket_world("val", 1)[0].image)
    >>> strip = TokenStrip(store.activation.sel(layer=4, neuron=7))
    >>> len(strip.tokens) == store.sizes["token"]
    True
    """

    _esm: ClassVar[Any] = bundle("token_strip")

    def __init__(
        self, tokens: Sequence[tuple[str, str, int]] | Any, values: Any = None, label: str = ""
    ) -> None:
        if hasattr(tokens, "dims"):
            tokens, values = tokens_of(tokens)
        given = np.zeros(0) if values is None else np.asarray(values, np.float32)
        if given.size and given.size != len(tokens):
            raise bad_argument("values", f"{given.size} values", f"{len(tokens)}, one per token")
        super().__init__(**token_state(tokens, given, label))


class CaptionDiff(CaptionTraits, Widget):
    """Two captions, with what changed.

    Parameters
    ----------
    before, after : str
    references : sequence of str
    concept : str
        Its forms are marked.
    concept_forms : sequence of str, optional
        The forms to mark; by default those of `concept`.
    transplant : callable, optional
        ``transplant(index, object, cells) -> str``: the caption with an object (its name) or
        patches (cells of the token grid) in the place of a word of `before`. With it, what is
        dragged from a `PatchHeatmap` onto a word is put there.

    Attributes
    ----------
    clicked : str
        The word that was clicked last; observe it.

    Examples
    --------
    >>> CaptionDiff("a red car on the grass", "a red house on the grass", concept="car").concept
    'car'
    """

    _esm: ClassVar[Any] = bundle("caption_diff")
    concept_forms = json([], "the forms of the concept's word", listing(TEXT))
    clicked = t.Unicode("", help="the word that was clicked last")

    def __init__(
        self,
        before: str = "",
        after: str = "",
        *,
        references: Sequence[str] = (),
        concept: str = "",
        concept_forms: Sequence[str] = (),
        transplant: Callable[[int, str, list[int]], str] | None = None,
    ) -> None:
        self._put = transplant
        super().__init__(
            transplants=transplant is not None,
            caption_before=before,
            caption_after=after,
            references=list(references),
            concept=concept,
            concept_forms=list(concept_forms) or ([concept] if concept else []),
        )

    @request("compute", worker=False)
    def _ask_compute(self, call: Call) -> Answer:
        self.clicked = call.text("concept")
        return {}

    @request("transplant", worker=False)
    def _ask_transplant(self, call: Call) -> Answer:
        words = self.caption_before.split()
        if self._put is None:
            raise bad_argument("transplant", "a word", "CaptionDiff(..., transplant=...)")
        index = word_index(call, words)
        name, cells = call.text("object"), call.wholes("cells")
        after = str(self._put(index, name, cells))
        said = after.split()[index] if index < len(after.split()) else ""
        self.caption_after = after
        self.transplanted = {
            "object": name or f"{len(cells)} patches",
            "word": words[index],
            "index": index,
            "said": said,
            "success": None,
            "layers": [],
        }
        return {"caption": after}

    def account(self) -> Any:
        """Return what the static view says."""
        from .html import Account

        said = (("before", self.caption_before), ("after", self.caption_after))
        head = "CaptionDiff" + (f" of “{self.concept}”" if self.concept else "")
        return Account(head, [], [f"{label}: {text}" for label, text in said if text])


def word_index(call: Call, words: Sequence[str]) -> int:
    """Return which word of a caption a request means."""
    wanted = f"0 to {len(words) - 1}, a word of the caption"
    return call.whole("index", -1, beyond=len(words), what=wanted)


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
        The mask in the picture's pixels, after the button.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> scene = mmkn.datasets.pocket_world("val", 1)[0]
    >>> masks = {name: scene.mask(name) for name in scene.categories}
    >>> painter = MaskPainter(scene.image, masks)
    >>> [one["name"] for one in painter.objects] == list(masks)
    True
    """

    _esm: ClassVar[Any] = bundle("mask_painter")
    picture = data("the picture, PNG or JPEG")
    inpainted = data("the picture without the object, PNG or JPEG")
    painted = t.Any(None, help="the mask that was painted last, bool (height, width)")

    def __init__(
        self,
        image: Any,
        objects: Mapping[str, Any] | None = None,
        inpaint: Callable[[Any, np.ndarray], Any] | None = None,
    ) -> None:
        self._image, self._paint = image, inpaint
        rows, columns = painting_shape(image.size)
        super().__init__(
            picture=encode_picture(image, 640),
            inpainted=encode_picture(image, 640),
            mask=bytes(rows * columns),
            **as_masks(dict(objects or {}), image.size),
        )

    @request("inpaint", worker=False)
    def _ask_inpaint(self, call: Call) -> Answer:
        mask = painted(call, self.mask_shape)
        full = enlarge(mask, self._image.size)
        self.mask = mask.tobytes()
        if self._paint is not None:
            self.inpainted = encode_picture(self._paint(self._image, full), 640)
        self.painted = full
        return {}

    def account(self) -> Any:
        """Return what the static view says."""
        from .html import Account

        pictures = [("picture", self.picture), ("inpainted", self.inpainted)]
        return Account("MaskPainter", pictures, [])


class PatchHeatmap(WordTraits, PictureTraits, ObjectTraits, SceneTraits, Choosing):
    """A picture with the map of one neuron, or of the mean over neurons, on its patches.

    Parameters
    ----------
    image : PIL.Image.Image
    maps : array or DataArray (neuron, row, column), or DataArray of a store (token, neuron)
        Activations over the token grid in picture coordinates; those of a store, such as
        ``store.activation.sel(layer=4, neuron=[7, 9])``, know their places and neurons.
    inpainted : PIL.Image.Image, optional
        Adds a swipe between the two pictures.
    objects : mapping of str to bool arrays (height, width)
        Objects that can be dragged onto a word of a `CaptionDiff`; patches always can.
    maps_of : callable, optional
        ``maps_of(image) -> maps``: with it, the page takes a picture of one's own by upload or
        drop and shows its maps.

    Attributes
    ----------
    neurons : NeuronSet
        Those whose maps are there and checked; without a store they are numbered from 0, in a
        layer 0.

    Examples
    --------
    >>> import numpy as np
    >>> from PIL import Image
    >>> heat = PatchHeatmap(Image.new("RGB", (48, 48)), np.random.rand(3, 6, 6))
    >>> heat.grid["rows"]
    6
    """

    _esm: ClassVar[Any] = bundle("patch_heatmap")

    picture_uploaded = t.Any(None, help="the picture that was brought last, PIL")

    def __init__(
        self,
        image: Any,
        maps: Any,
        *,
        inpainted: Any = None,
        objects: Mapping[str, Any] | None = None,
        maps_of: Callable[[Any], Any] | None = None,
        **traits: Any,
    ) -> None:
        self._maps_of = maps_of
        super().__init__(
            **self._of(maps),
            labels=dict(_MAPS_LABELS),
            picture=encode_picture(image, 640),
            inpainted=b"" if inpainted is None else encode_picture(inpainted, 640),
            uploads=maps_of is not None,
            **as_masks(dict(objects or {}), image.size),
            **traits,
        )

    def _of(self, maps: Any) -> dict[str, Any]:
        """Take over maps: their neurons are chosen from; return their traits."""
        import xarray as xr

        index, ids, values = _maps_with_neurons(maps)
        scores = np.where(index.mask(ids), np.float32(1), np.float32(np.nan))
        dims = ("layer", "neuron")
        evidence = xr.Dataset({"difference": (dims, scores), "gradcam": (dims, scores)})
        self.selection = Selection(evidence, index, self, method="maps")
        return {
            "shape": list(index.shape),
            "rows": [list(pair) for pair in index.rows],
            "difference": float32_bytes(scores),
            "gradcam": float32_bytes(scores),
            "map_ids": int32_bytes(ids),
            **map_state(values, np.ones(len(values))),
            "grid": grid_state(values),
        }

    @request("upload", worker=False)
    def _ask_upload(self, call: Call) -> Answer:
        if self._maps_of is None:
            raise bad_argument("picture", "an upload", "PatchHeatmap(..., maps_of=...)")
        image, _, note = read_upload(call.data, call.text("name"))
        made = self._of(self._maps_of(image))
        none = {"inpainted": b"", "objects": [], "object_masks": [], "unchecked": []}
        self._show({**none, "picture": encode_picture(image, 640), **made})
        self.picture_uploaded = image
        return {"note": note}

    def account(self) -> Any:
        """Return what the static view says."""
        from .html import choosing_account, pictures_of

        pictures = pictures_of(self, self.kept)
        return choosing_account(self.selection, self.labels, pictures=pictures)


_MAPS_LABELS = {
    "difference": "activation difference",
    "gradcam": "GradCAM",
    "activation": "activation",
    "score": "score",
}


def _maps_with_neurons(maps: Any) -> tuple[NeuronIndex, np.ndarray, np.ndarray]:
    """Return whose maps these are: an index, flat ids in it, and the maps (neuron, row, column)."""
    labelled = maps if hasattr(maps, "dims") else None
    if labelled is not None and "token" in labelled.dims:
        values = maps_of(labelled)
    else:
        values = np.asarray(maps if labelled is None else labelled.values, np.float32)
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or not values.size:
        raise bad_argument("maps", f"shape {values.shape}", "(neuron, row, column)")

    def numbers(name: str, otherwise: np.ndarray) -> np.ndarray:
        if labelled is None or name not in labelled.coords:
            return otherwise
        found = np.asarray(labelled[name].values)
        if not np.issubdtype(found.dtype, np.integer):
            return otherwise
        return np.broadcast_to(found, otherwise.shape) if found.size in (1, n) else otherwise

    n = len(values)
    layer, expert = numbers("layer", np.zeros(n, int)), numbers("expert", np.full(n, -1))
    neuron = numbers("neuron", np.arange(n))
    rows = sorted(set(zip(layer.tolist(), expert.tolist(), strict=True)))
    index = NeuronIndex([r[0] for r in rows], int(neuron.max()) + 1, [r[1] for r in rows])
    at = [index.row(*pair) for pair in zip(layer.tolist(), expert.tolist(), strict=True)]
    return index, index.join(at, neuron), values
