"""One concept, one model, some scenes: everything the Explorer and the command line ask for."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import shutil
import tempfile
import threading
import weakref
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..activations import Prediction, predictions
from ..attribution import (
    SCORES,
    activation_ranges,
    collect,
    has_scene_mask,
    predicted_from_sum,
    scene_mask,
    two_stage,
)
from ..core import (
    BadArgument,
    Concept,
    NeuronSet,
    NotSupported,
    as_concept,
    bad_argument,
    heal,
    html_bars,
    html_card,
    html_figure,
    html_gallery,
    html_picture,
    neuron_coords,
    provenance,
    reporting,
    seal,
    unseal,
    whole_folder,
    whole_numbers,
)
from ..datasets import CHOOSING, OWN, ObjectInstance, Scene, as_scenes, open_dataset, read_image
from ..inpainting import get_inpainter
from .dose import measure_doses
from .minimal import minimal_set
from .on_scene import (
    Change,
    PatchScores,
    Place,
    Strongest,
    measured_change,
    patch_mask,
    patch_scores,
    patch_words,
)
from .patching import measure_patching
from .plot import StudyPlots
from .streams import measure_streams

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from PIL.Image import Image

    from ..core import CancelToken, Progress
    from ..datasets import SceneDataset
    from ..evaluation import Effect
    from ..inpainting import Inpainter
    from ..interventions import TransplantResult
    from ..models import Geometry, MultimodalModel, TokenMap
    from .search import ThresholdSearch

__all__ = ["DEFAULTS", "PairCache", "Study", "blank_study", "open_study", "save_study", "study"]

_LOG = logging.getLogger("mmkn_widgets.studies")

#: what shapes the evidence where the caller says nothing
DEFAULTS: dict[str, Any] = {
    "positions": "predicting",
    "reduce": "max",
    "difference": "absolute",
    "target": "log_prob",
    "caption": "greedy",
    "prompt": None,
}

#: what a notebook shows of them
_HOW_SCORED = ("positions", "difference", "target")

#: pictures whose activations stay in memory (one 7B picture is about 0.4 GB)
_CAPTURES_KEPT = 2


#: painted pictures that stay in memory; more wait in files
_PAINTED_KEPT = 64


def _key(scene: Scene, mask: np.ndarray) -> str:
    found = hashlib.blake2b(repr((scene.source, scene.id, mask.shape)).encode(), digest_size=16)
    found.update(np.packbits(mask).tobytes())
    return found.hexdigest()


class PairCache:
    """An inpainter that remembers what it painted.

    The last 64 pictures are in memory, those before in a temporary folder that goes with the cache:
    a study of thousands of pictures takes no more memory than one of a hundred.

    Parameters
    ----------
    inpainter : Inpainter
    """

    def __init__(self, inpainter: Inpainter) -> None:
        self.inpainter = inpainter
        self._painted: OrderedDict[str, Image] = OrderedDict()
        self._in_files: set[str] = set()
        self._folder: Path | None = None
        self._turn = threading.RLock()

    def __deepcopy__(self, memo: dict[int, Any]) -> PairCache:
        twin = PairCache(copy.deepcopy(self.inpainter, memo))
        memo[id(self)] = twin
        with self._turn:
            if self._folder is not None:
                for key in self._in_files:
                    twin._put(key, read_image(self._folder / f"{key}.png"))
            for key, image in self._painted.items():
                twin._put(key, image)
        return twin

    @property
    def name(self) -> str:
        """The inpainter's name, for provenance."""
        return str(self.inpainter.name)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The inpainter's, for provenance."""
        return self.inpainter.parameters

    def _get(self, key: str) -> Image | None:
        """Return what was painted under a key, or None."""
        with self._turn:
            if key in self._painted:
                self._painted.move_to_end(key)
                return self._painted[key]
            if key not in self._in_files or self._folder is None:
                return None
            image = read_image(self._folder / f"{key}.png")
            self._put(key, image)
            return image

    def _put(self, key: str, image: Image) -> None:
        with self._turn:
            self._painted[key] = image
            self._painted.move_to_end(key)
            while len(self._painted) > _PAINTED_KEPT:
                oldest, picture = self._painted.popitem(last=False)
                if oldest in self._in_files:
                    continue
                if self._folder is None:
                    self._folder = Path(tempfile.mkdtemp(prefix="mmkn-painted-"))
                    weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
                picture.convert("RGB").save(self._folder / f"{oldest}.png", compress_level=1)
                self._in_files.add(oldest)

    def __call__(self, image: Image, mask: np.ndarray, scene: Scene | None = None) -> Image:
        """Inpaint, or return what was painted for the same scene and mask."""
        if scene is None:
            return self.inpainter(image, mask, scene)
        key = _key(scene, mask)
        painted = self._get(key)
        if painted is None:
            painted = self.inpainter(image, mask, scene)
            self._put(key, painted)
        return painted

    def batch(
        self,
        images: Sequence[Image],
        masks: Sequence[np.ndarray],
        scenes: Sequence[Scene] | None = None,
        *,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> list[Image]:
        """Inpaint what is not there yet in one batch of the inpainter."""
        if scenes is None:
            return self.inpainter.batch(images, masks, progress=progress, cancel=cancel)
        keys = [_key(scene, mask) for scene, mask in zip(scenes, masks, strict=True)]
        found = {key: self._get(key) for key in keys}
        new = [n for n, key in enumerate(keys) if found[key] is None]
        painted = self.inpainter.batch(
            [images[n] for n in new],
            [masks[n] for n in new],
            [scenes[n] for n in new],
            progress=progress,
            cancel=cancel,
        )
        for n, made in zip(new, painted, strict=True):
            found[keys[n]] = made
            self._put(keys[n], made)
        return [picture for key in keys if (picture := found[key]) is not None]

    def inpainted(self, scene: Scene, concept: Concept) -> Image:
        """Return the scene's picture without the concept."""
        return self(scene.image, scene_mask(scene, concept), scene)

    def keep(self, scene: Scene, mask: np.ndarray, image: Image) -> None:
        """Take a picture painted elsewhere (by hand, or read from a file) as the inpainted one."""
        key = _key(scene, mask)
        self._in_files.discard(key)  # another may lie there
        self._put(key, image)


def study(
    model: MultimodalModel,
    concept: str | Concept,
    scenes: Any,
    *,
    inpainter: Any = "telea",
    positions: str = "predicting",
    reduce: str = "max",
    difference: str = "absolute",
    target: str = "log_prob",
    caption: str = "greedy",
    prompt: str | None = None,
    progress: Progress | bool | None = None,
    cancel: CancelToken | None = None,
) -> Study:
    """Inpaint the concept away, capture both pictures of every pair, and score every neuron.

    Parameters
    ----------
    model : MultimodalModel
        From `mmkn_widgets.load_model`.
    concept : str or Concept
        The word to look for; its plural and synonyms are found by themselves.
    scenes : Scene, sequence of Scene, or what stands for them
        Scenes that show the concept, with its object masks; ``{"image": picture, "mask": mask}``
        for pictures of one's own; a data set; or a data set's name such as ``"pocket:val"`` or a
        Hugging Face data set, of which the first 48 scenes with the concept are taken. See
        `mmkn_widgets.datasets.as_scenes`.
    inpainter : str or callable
        ``"telea"``, ``"ns"``, ``"exact"`` (the pocket world only), ``"diffusers:NAME_OR_FOLDER"``.
    positions : {"predicting", "image", "all"}
        The positions p of equation 4.1: where a neuron has to fire.
    reduce : {"max", "mean"}
        The reduction over p; ``"max"`` is "there is a p".
    difference : {"absolute", "signed"}
        Stage 1: ``|O - O'|`` or ``O - O'`` (as the paper writes it).
    target : {"log_prob", "logit"}
        The score y of the concept's token that stage 2 differentiates.
    caption : {"greedy", "reference"}
        Which caption is teacher-forced: the model's own, or the first reference that names the
        concept.
    prompt : str, optional
        The question; by default the model's own captioning prompt.
    progress : callable or bool, optional
        Called as ``progress(stage, done, total)``; False for silence. By default a bar appears
        when the work takes more than a second; see `mmkn_widgets.set_progress`.
    cancel : CancelToken, optional
        Stops the work between two pictures; nothing half done is returned.

    Returns
    -------
    Study

    Raises
    ------
    BadArgument
        If a scene does not show the concept, a mask is missing or empty, or the model names the
        concept in none of the captions.

    References
    ----------
    .. [1] Sato and Takagi 2025, arXiv 2503.22941.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> scenes = mmkn.datasets.pocket_world("val", 60).with_concept("car", 2)
    >>> mmkn.study(model, "car", scenes).evidence["difference"].dims
    ('layer', 'neuron')
    """
    wanted = as_concept(concept)
    chosen = list(as_scenes(scenes, wanted, n=CHOOSING))
    if not chosen:
        raise bad_argument("scenes", [], f"at least one scene that shows {wanted.word!r}")
    known = isinstance(inpainter, PairCache)  # with what was painted by hand
    pairs = inpainter if known else PairCache(get_inpainter(inpainter))
    options: dict[str, Any] = {
        "positions": positions,
        "reduce": reduce,
        "difference": difference,
        "target": target,
        "caption": caption,
        "prompt": prompt,
    }
    _LOG.info("studying %r in %s on %d scenes", wanted.word, model.name, len(chosen))
    with reporting(progress) as step:
        evidence = collect(
            model, wanted, chosen, inpainter=pairs, progress=step, cancel=cancel, **options
        )
    return Study(model, wanted, chosen, evidence, pairs=pairs, options=options)


class Study:
    """Scores of every neuron for one concept, with the scenes they come from.

    Made by `study`, read back by `mmkn_widgets.open_study`.

    Parameters
    ----------
    model, concept, scenes, evidence, options
        See below.
    pairs : PairCache
        The inpainter, with what it painted.
    captions : dict of int to str, optional
        Captions that are known already, by scene.
    n_scored : int, optional
        The evidence was made of the first so many scenes; by default of all.

    Attributes
    ----------
    model : MultimodalModel
    concept : Concept
    scenes : tuple of Scene
        In the order of the evidence.
    evidence : xarray.Dataset
        float32 variables of dims (layer, neuron): ``difference`` (stage 1), ``gradcam`` (stage 2),
        ``gradient_sum``, ``attribution_patching``, ``contribution``, ``activation``,
        ``activation_std``.
    options : dict
        The arguments that shaped the evidence.

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> study = mmkn.study(model, "car", val.with_concept("car", 2))
    >>> study
    <Study 'car' in pocket: 2 scenes, 6 x 512 neurons, positions='predicting'>
    >>> len(study.neurons()), study.caption(0)
    (60, 'a picture of a purple ball, a red cup and a red car at night')
    """

    def __init__(
        self,
        model: MultimodalModel,
        concept: Concept,
        scenes: Sequence[Scene],
        evidence: xr.Dataset,
        *,
        pairs: PairCache,
        options: dict[str, Any],
        captions: dict[int, str] | None = None,
        n_scored: int | None = None,
    ) -> None:
        self.model = model
        self.concept = concept
        self.scenes = tuple(scenes)
        self.evidence = evidence
        self.options = dict(options)
        self._pairs = pairs
        self._captions = dict(captions or {})
        self._captured: OrderedDict[int, tuple[np.ndarray, TokenMap]] = OrderedDict()
        self._predicting: dict[int, Prediction] = {}
        self._scored = len(self.scenes) if n_scored is None else n_scored
        self.search: ThresholdSearch | None = None
        self._shares: tuple[tuple[Any, ...], xr.DataArray] | None = None

    def __repr__(self) -> str:
        layers, neurons = self.evidence["difference"].shape
        return (
            f"<Study {self.concept.word!r} in {self.model.name}: {len(self.scenes)} scenes, "
            f"{layers} x {neurons} neurons, positions={self.options['positions']!r}>"
        )

    def _repr_html_(self) -> str:
        layers, width = self.evidence["difference"].shape
        figures = []
        for place in range(min(len(self.scored), 3)):
            pictures = zip(("with", "without"), self.pictures(place), strict=True)
            for name, picture in pictures if self.has_pair(place) else list(pictures)[:1]:
                shown = html_picture(picture, f"scene {self.scenes[place].id} {name}", 96)
                figures.append(html_figure(shown, f"{name} {self.concept.word}"))
        facts: list[tuple[str, Any]] = [
            ("concept", ", ".join(self.concept.forms)),
            ("model", f"{self.model.name}, {layers} × {width:,} neurons"),
            (
                "scenes",
                f"{len(self.scenes)}"
                + (f", {len(self.scored)} of them scored" * (len(self.scored) < len(self.scenes))),
            ),
            ("inpainter", self._pairs.name),
            ("scores", ", ".join(f"{k} {self.options[k]}" for k in _HOW_SCORED)),
        ]
        found: list[str] = [html_gallery(figures)]
        if self._scored:
            default = self.neurons()
            facts.append(("default set", f"{len(default)} neurons, see study.neurons()"))
            counts = [(f"layer {k}", n) for k, n in sorted(default.layer_histogram().items())]
            found.append(html_bars(counts))
        return html_card("Study", facts, *found, about=repr(self.concept.word))

    @property
    def scored(self) -> tuple[Scene, ...]:
        """The scenes that the evidence was made of: all but those that were only added to look."""
        return self.scenes[: self._scored]

    def with_scene(self, scene: Scene, place: int | None = None) -> Study:
        """Return the same study with one more scene to look at; the scores stay as they are.

        Parameters
        ----------
        scene : Scene, or what stands for one
            Any picture; a mask of the concept is needed only for what needs the pair.
        place : int, optional
            Put it in the place of a scene that was added before, instead of at the end.
        """
        added = as_scenes(scene, self.concept, name="scene", masks=False)
        if len(added) != 1:
            raise bad_argument("scene", f"{len(added)} scenes", "one at a time")
        scene = added[0]
        if place is None:
            return self._with(scene, len(self.scenes))
        if self._scored <= place < len(self.scenes):
            return self._with(scene, place)
        wanted = f"{self._scored} to {len(self.scenes) - 1}: scenes that were added"
        raise bad_argument("place", place, wanted)

    def _with(self, scene: Scene, place: int) -> Study:
        """Return the study with a scene at a place, or behind the last; what is known stays."""
        scenes, captions = list(self.scenes), dict(self._captions)
        same = place < len(scenes) and scenes[place].image is scene.image
        scenes[place : place + 1] = [scene]
        if not same:
            captions.pop(place, None)  # of the picture that was there
        made = Study(
            self.model,
            self.concept,
            scenes,
            self.evidence,
            pairs=self._pairs,
            options=self.options,
            captions=captions,
            n_scored=self._scored,
        )
        made.search = self.search
        made._predicting = {k: v for k, v in self._predicting.items() if same or k != place}
        return made

    def with_mask(self, scene: int, mask: np.ndarray) -> Study:
        """Return the study with a mask of the concept that was painted by hand.

        On a data set's scene of the evidence only the inpainted picture changes; on a picture of
        one's own, or another that was added to look, the mask becomes its object. The scores stay
        as they are until a study is made anew.

        Parameters
        ----------
        scene : int
        mask : numpy.ndarray of bool, shape (height, width)
            Of the picture's size; some of it is True.

        Raises
        ------
        BadArgument
            If the mask is empty or has another size.
        """
        chosen, marked = self.scenes[scene], np.asarray(mask, bool)
        if not marked.any() or marked.shape != chosen.image.size[::-1]:
            wanted = f"some marked pixels, shape {chosen.image.size[::-1]}"
            raise bad_argument("mask", f"{marked.sum()} of shape {marked.shape}", wanted)
        if scene < self._scored and chosen.source != OWN:
            painted = self._pairs.inpainter(chosen.image, marked, chosen)
            self._pairs.keep(chosen, scene_mask(chosen, self.concept), painted)
            return self
        rows, columns = np.flatnonzero(marked.any(1)), np.flatnonzero(marked.any(0))
        x, y = float(columns[0]), float(rows[0])
        box = (x, y, float(columns[-1] + 1 - x), float(rows[-1] + 1 - y))
        others = [item for item in chosen.objects if not self.concept.named_in(item.category)]
        objects = [*others, ObjectInstance(self.concept.word, marked, box)]
        made = Scene(chosen.id, chosen.image, chosen.captions, objects, source=chosen.source)
        return self._with(made, scene)

    # -- scenes of other words ----------------------------------------------------------------

    @property
    def dataset(self) -> SceneDataset | None:
        """The one data set that the scenes come from, where its name says where it is.

        None where the scenes come from none or from several, and for files of one's own: a scene
        tells the name of its folder, not the place.
        """
        sources = {scene.source for scene in self.scenes} - {OWN}
        source = sources.pop() if len(sources) == 1 else ""
        return open_dataset(source) if source.startswith("pocket:") else None

    def scenes_of(self, word: str) -> list[Scene]:
        """Return the scenes that show another concept: the study's own, else of its data set.

        They are as many as those of the evidence, where the data set has so many. Pictures of
        one's own, and others that were added to look, come on top where they show it.

        Raises
        ------
        BadArgument
            If there is none; the message lists what the scenes show.
        """
        concept, data = as_concept(word), self.dataset

        def showing(scenes: Sequence[Scene]) -> list[Scene]:
            return [scene for scene in scenes if has_scene_mask(scene, concept)]

        chosen = [scene for scene in self.scored if scene.source != OWN]
        here, added = showing(chosen), showing([s for s in self.scenes if s not in chosen])
        if len(here) < len(chosen) and data is not None and concept.word in data.categories:
            here = list(data.with_concept(concept.word, len(chosen))) or here
        if not here and not added:
            known = sorted({name for scene in self.scenes for name in scene.categories})
            offered = ", ".join(data.categories if data is not None else known)
            raise bad_argument("concept", word, f"an object that the scenes show: {offered}")
        return here + added

    def scenes_without(self, n: int) -> list[Scene]:
        """Return up to `n` scenes of the data set that do not show the concept; may be none."""
        data = self.dataset
        if data is None or self.concept.word not in data.categories:
            return []
        return list(data.without_concept(self.concept.word, n))

    def of_word(
        self,
        word: str,
        *,
        progress: Progress | bool | None = None,
        cancel: CancelToken | None = None,
    ) -> Study:
        """Make the same study of another concept, on the scenes that show it (`scenes_of`).

        Where there are only pictures of one's own, and none has a mask of the concept yet, the
        study has no scores (`blank_study`).
        """
        concept = as_concept(word)
        mine = [scene for scene in self.scenes if scene.source == OWN]
        if len(mine) == len(self.scenes) and not any(has_scene_mask(s, concept) for s in mine):
            blank = blank_study(self.model, concept, mine[0], inpainter=self._pairs)
            return Study(
                self.model,
                concept,
                mine,
                blank.evidence,
                pairs=self._pairs,
                options=self.options,
                captions=self._captions,
                n_scored=0,
            )
        return study(
            self.model,
            word,
            self.scenes_of(word),
            inpainter=self._pairs,
            progress=progress,
            cancel=cancel,
            **self.options,
        )

    @property
    def pairs(self) -> PairCache:
        """The inpainter, with what it painted."""
        return self._pairs

    @property
    def captions(self) -> dict[int, str]:
        """The captions that were written so far, by scene; a copy."""
        return dict(self._captions)

    # -- neurons -----------------------------------------------------------------------------

    def neurons(
        self,
        threshold_d: float | None = None,
        threshold_g: float | None = None,
        *,
        quantile_d: float | None = None,
        quantile_g: float | None = None,
        top: int | None = None,
        among: xr.DataArray | None = None,
        words: bool = False,
        exclude: Sequence[tuple[int, ...]] = (),
    ) -> NeuronSet:
        """Return the neurons that pass both stages, best GradCAM score first.

        Parameters
        ----------
        threshold_d, threshold_g : float, optional
            Absolute thresholds, in the units of the evidence; a neuron passes when its value is
            greater, compared in float32.
        quantile_d, quantile_g : float, optional
            The same as quantiles over all neurons: ``quantile_d=0.95`` keeps the top 5 %.
        top : int, optional
            Of those that pass, the best `top` by stage 2.
        among : xarray.DataArray of bool, optional
            Only these neurons, as `mmkn_widgets.attribution.automatic_thresholds` found them.
        words : bool
            Also decode the neurons to words.
        exclude : sequence of (layer, index) or (layer, expert, index)
            Neurons unchecked by hand.

        Returns
        -------
        NeuronSet
            May be empty.

        Notes
        -----
        Without any threshold: the default set of `mmkn_widgets.attribution.two_stage`.
        """
        found = two_stage(
            self.evidence,
            threshold_d=threshold_d,
            threshold_g=threshold_g,
            quantile_d=quantile_d,
            quantile_g=quantile_g,
            top=top,
            among=among,
        )
        if exclude:
            gone = {tuple(whole_numbers("exclude", place).tolist()) for place in exclude}
            found = found.filter(
                lambda n: (
                    (n.layer, n.index) not in gone and (n.layer, n.expert, n.index) not in gone
                )
            )
        return found.with_words(self.model) if words else found

    def best_by_gradcam(self, n: int, first_layer: int = 0) -> NeuronSet:
        """Return the `n` neurons of the highest positive GradCAM scores, whatever stage 1 says.

        Parameters
        ----------
        n : int
        first_layer : int
            None below it.
        """
        scores = self.evidence["gradcam"]
        among = (scores["layer"] >= first_layer).broadcast_like(scores) if first_layer else None
        return two_stage(self.evidence, candidates=1.0, top=n, among=among)

    def learned_mask(self, without_concept: Any = None, **options: Any) -> NeuronSet:
        """Learn which neurons to silence so that the word goes and all else stays.

        Parameters
        ----------
        without_concept : sequence of Scene, optional
            By default as many of the study's data set as it has scenes.
        **options
            ``size``, ``retain``, ``prompts``, ``goal`` and others of
            `mmkn_widgets.studies.learned.learned_mask` and `mmkn_widgets.interventions.learn_mask`.

        Returns
        -------
        NeuronSet
            Learned on the study's scenes: measure it on others.
        """
        from .learned import learned_mask

        if without_concept is None:
            without_concept = self.scenes_without(len(self.scored))
        return learned_mask(self, without_concept, **options)

    def contrast(
        self, against: str = "mean", without_concept: Any = None, *, top: int = 200
    ) -> xr.DataArray:
        """Score every neuron by its contribution to the word, less that to other words.

        Parameters
        ----------
        against : {"mean", "maximum", "exclusive"}
            See `mmkn_widgets.attribution.contrast`.
        without_concept : sequence of Scene, optional
            Their captions name the other words, beside the study's own; by default as many of its
            data set as it has scenes.
        top : int
            Of ``exclusive``.

        Returns
        -------
        xarray.DataArray
            float32, dims (layer, neuron), logits before the final norm.
        """
        from ..attribution import contrast

        return contrast(self._contributions(without_concept), self.concept.word, against, top=top)

    def activation_ranges(self, spread: float = 2.5) -> xr.Dataset:
        """Return where every neuron's activation lies while the study's captions say the concept.

        For ``model.ablate(neurons, "range", reference=...)``, which silences a neuron only inside;
        see `mmkn_widgets.attribution.activation_ranges`.

        Parameters
        ----------
        spread : float
            Standard deviations on either side of the mean.

        Returns
        -------
        xarray.Dataset
        """
        return activation_ranges(self.evidence, spread=spread)

    def serves(
        self, neurons: NeuronSet | None = None, without_concept: Any = None, *, top: int = 200
    ) -> pd.DataFrame:
        """Return which other concepts the neurons serve, by their contribution scores.

        Parameters
        ----------
        neurons : NeuronSet, optional
            By default ``study.neurons()``.
        without_concept, top
            As for `contrast`: a neuron serves a word if it is among the `top` that add most to it.

        Returns
        -------
        pandas.DataFrame
            See `mmkn_widgets.attribution.served`.
        """
        from ..attribution import served

        chosen = self.neurons() if neurons is None else neurons
        return served(self._contributions(without_concept), chosen, self.concept.word, top=top)

    def _contributions(self, without_concept: Any) -> xr.DataArray:
        """Return what every neuron adds to every word; the last answer is kept."""
        if without_concept is None:
            without_concept = self.scenes_without(len(self.scored))
        others = list(as_scenes(
            without_concept, self.concept, name="without_concept", masks=False, shows=False,
            n=CHOOSING,
        ))  # fmt: skip
        key = tuple((scene.source, scene.id) for scene in others)
        if self._shares is None or self._shares[0] != key:
            words = [c for scene in (*self.scored, *others) for c in scene.categories]
            known = [w for w in dict.fromkeys(words) if not self.concept.named_in(w)]
            found = self.word_shares(others, [self.concept.word, *known])
            self._shares = (key, found["contribution"])
        return self._shares[1]

    def propose_thresholds(self, **options: Any) -> ThresholdSearch:
        """Search the threshold plane on this study's scenes; see `search_thresholds`."""
        from .search import search_thresholds

        self.search = search_thresholds(self, **options)
        return self.search

    # -- what one sees of it ------------------------------------------------------------------

    @property
    def plot(self) -> StudyPlots:
        """The study's plots: ``study.plot.thresholds()`` and others; see `StudyPlots`."""
        return StudyPlots(self)

    def pictures(self, scene: int) -> tuple[Image, Image]:
        """Return the original picture of a scene and the one without the concept.

        Twice the original where no mask says where the concept is (see `has_pair`).
        """
        chosen = self.scenes[scene]
        if not self.has_pair(scene):
            return chosen.image, chosen.image
        return chosen.image, self._pairs.inpainted(chosen, self.concept)

    def has_pair(self, scene: int) -> bool:
        """Return whether a scene has a mask of the concept, so that it can be painted away.

        A scene may show it without: then its data set knows a box or no more than the name.
        """
        return has_scene_mask(self.scenes[scene], self.concept)

    def caption(self, scene: int) -> str:
        """Return the caption of the unchanged model, whatever is ablated at the moment."""
        if scene not in self._captions:
            with self.model.interventions.suspended():
                self._captions[scene] = str(
                    self.model.caption(self.scenes[scene].image, self.options["prompt"])
                )
        return self._captions[scene]

    def place(self, scene: int) -> Place:
        """Return where a scene's caption names the concept, in the unchanged model.

        Raises
        ------
        BadArgument
            If the caption does not name it.
        """
        if scene not in self._predicting:
            with self.model.interventions.suspended():
                found, _ = predictions(
                    self.model,
                    self.concept,
                    [self.scenes[scene]],
                    caption=self.options["caption"],
                    prompt=self.options["prompt"],
                )
            self._predicting[scene] = found[0]
        return Place(self._predicting[scene], self.options["prompt"], self.options["target"])

    def geometry(self, scene: int) -> Geometry:
        """Return where a scene's image tokens look; its `approximate` and `reason` say how sure."""
        return self._image_activations(scene)[1].geometry

    def references(self, scene: int) -> tuple[str, ...]:
        """Return the reference captions of a scene; may be empty."""
        return self.scenes[scene].captions

    def maps(
        self,
        rows: Sequence[int] | np.ndarray,
        indices: Sequence[int] | np.ndarray,
        *,
        scene: int,
        signed: bool = False,
    ) -> np.ndarray:
        """Return the activations of some neurons over the picture.

        Parameters
        ----------
        rows, indices : sequence of int
            Row in the evidence's ``layer`` dimension, and index in that layer, of each neuron.
        scene : int
            Which of `scenes`.
        signed : bool
            Multiply by the sign of the neuron's mean activation at the predicting position.

        Returns
        -------
        numpy.ndarray of float32, shape (neuron, grid row, grid column)
            In picture coordinates: cell (0, 0) is the picture's top left corner.

        Raises
        ------
        NotSupported
            If the model's image tokens have no place on the picture; the message says why.
        """
        tokens, token_map = self._image_activations(scene)
        chosen = tokens[np.asarray(rows, int), :, np.asarray(indices, int)]
        if signed:
            signs = np.sign(
                self.evidence["activation"].values[np.asarray(rows), np.asarray(indices)]
            )
            chosen = chosen * signs[:, None].astype(np.float32)
        geometry = token_map.geometry
        painted = [geometry.paint(values, size=geometry.shape, smooth=False) for values in chosen]
        return np.asarray(painted, np.float32).reshape(len(painted), *geometry.shape)

    def strongest_scenes(
        self,
        row: int,
        index: int,
        n: int = 8,
        *,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> list[Strongest]:
        """Return the scenes on whose pictures a neuron fires most, and where, strongest first.

        Parameters
        ----------
        row, index : int
            The neuron, as in `maps`.
        n : int
            How many at most.
        progress, cancel : optional

        Returns
        -------
        list of Strongest
            Empty where the image tokens have no place on the picture.
        """
        found = []
        for scene in range(len(self.scenes)):
            if cancel is not None:
                cancel.raise_if_cancelled()
            try:
                grid = self.maps([row], [index], scene=scene)[0]
            except NotSupported:
                return []
            if np.isfinite(grid).any():
                found.append(Strongest.on(grid, scene))
            if progress is not None:
                progress("looking through the scenes", scene + 1, len(self.scenes))
        return sorted(found, key=lambda one: -one.value)[:n]

    def patch_mask(self, scene: int, cells: Sequence[int]) -> np.ndarray:
        """Return cells of a scene's token grid as a mask of its picture; see `on_scene`."""
        return patch_mask(cells, self.geometry(scene).shape, self.scenes[scene].image.size)

    def patch_scores(
        self,
        rows: Sequence[int] | np.ndarray,
        indices: Sequence[int] | np.ndarray,
        *,
        scene: int,
    ) -> PatchScores:
        """Return where on a scene's picture some neurons pass both stages.

        Parameters
        ----------
        rows, indices : sequence of int
            The neurons, as in `maps`.
        scene : int

        Returns
        -------
        PatchScores

        Raises
        ------
        BadArgument
            If no neuron is given, the scene has no mask of the concept, or its caption does not
            name it.
        NotSupported
            If the image tokens have no place on the picture.
        """
        if not self.has_pair(scene):
            raise bad_argument(
                "scene",
                self.scenes[scene].id,
                f"a scene with a mask of {self.concept.word!r}: paint one and inpaint",
            )
        original, gone = self.pictures(scene)
        signed = self.options["difference"] == "signed"
        place = self.place(scene)
        return patch_scores(self.model, original, gone, place, rows, indices, signed=signed)

    def patch_words(self, scene: int, k: int = 3) -> list[list[str]]:
        """Return the words that the logit lens reads at each patch; see `on_scene.patch_words`."""
        return patch_words(self.model, self.scenes[scene].image, self.options["prompt"], k)

    def words(
        self, rows: Sequence[int] | np.ndarray, indices: Sequence[int] | np.ndarray, k: int = 6
    ) -> list[list[str]]:
        """Return the `k` words each neuron writes most, the sign of its activation applied."""
        signs = self.evidence["activation"].values
        return self.model.neuron_words(rows, indices, k=k, signs=signs)

    def tokens(
        self, scene: int, row: int | np.ndarray, index: int | np.ndarray
    ) -> tuple[list[tuple[str, str, int]], np.ndarray]:
        """Return activations along the prompt and the greedy caption of a scene.

        Parameters
        ----------
        scene : int
        row, index : int or numpy.ndarray of int, shape (neuron,)
            One neuron, or several in one forward.

        Returns
        -------
        list of (str, str, int)
            Text, role and generation step (-1 in the prompt) of each token.
        numpy.ndarray of float32, shape (token,) or (neuron, token)
        """
        from ..activations import capture

        with self.model.interventions.suspended():
            store = capture(
                self.model,
                self.scenes[scene].image,
                self.options["prompt"],
                generate=True,
                layers=sorted({self.model.sites[int(r)].layer for r in np.ravel(row)}),
                progress=False,
            )
        places = zip(store["layer"].values.tolist(), store["expert"].values.tolist(), strict=True)
        at = {place: k for k, place in enumerate(places)}
        sites = [self.model.sites[int(r)] for r in np.ravel(row)]
        where = np.asarray([at[site.layer, site.expert] for site in sites]).reshape(np.shape(row))
        values = store["activation"].values[where, :, index]
        names = zip(
            store["token_text"].values.tolist(),
            store["role"].values.tolist(),
            store["step"].values.tolist(),
            strict=True,
        )
        return list(names), values.astype(np.float32)

    def _image_activations(self, scene: int) -> tuple[np.ndarray, TokenMap]:
        from ..activations import image_activations

        if scene not in self._captured:
            with self.model.interventions.suspended():
                self._captured[scene] = image_activations(
                    self.model, self.scenes[scene].image, self.options["prompt"]
                )
            while len(self._captured) > _CAPTURES_KEPT:
                self._captured.popitem(last=False)
        self._captured.move_to_end(scene)
        return self._captured[scene]

    # -- what happens when neurons are changed ------------------------------------------------

    def evaluate(
        self,
        neurons: NeuronSet,
        with_concept: Sequence[Scene],
        without_concept: Sequence[Scene] = (),
        **options: Any,
    ) -> Effect:
        """Measure suppression, retention and random control; see `evaluation.measure_effect`."""
        from ..evaluation import measure_effect

        return measure_effect(
            self.model, neurons, with_concept, without_concept, self.concept, **options
        )

    def doses(self, with_concept: Any, without_concept: Any = (), **options: Any) -> xr.Dataset:
        """Measure what the first 1, 2, 5, ... neurons do, beside random ones; see `measure_doses`.

        Parameters
        ----------
        with_concept, without_concept : sequence of Scene, or what stands for them
            Scenes that chose nothing.
        **options
            Of `mmkn_widgets.studies.measure_doses`: neurons, counts, n_random, seed.

        Returns
        -------
        xarray.Dataset
        """
        return measure_doses(self, with_concept, without_concept, **options)

    def patching(self, with_concept: Any, **options: Any) -> xr.Dataset:
        """Measure what neurons carry of the object's effect; see `measure_patching`.

        Parameters
        ----------
        with_concept : sequence of Scene, or what stands for them
            Scenes that chose nothing.
        **options
            Of `mmkn_widgets.studies.measure_patching`: neurons, n_random, seed.

        Returns
        -------
        xarray.Dataset
        """
        return measure_patching(self, with_concept, **options)

    def streams(self, with_concept: Any, **options: Any) -> xr.Dataset:
        """Measure where the object's effect travels, layer by layer; see `measure_streams`.

        Parameters
        ----------
        with_concept : sequence of Scene, or what stands for them
            Scenes that chose nothing.
        **options
            Of `mmkn_widgets.studies.measure_streams`: layers, parts, positions.

        Returns
        -------
        xarray.Dataset
        """
        return measure_streams(self, with_concept, **options)

    def minimal_set(self, neurons: NeuronSet | None = None, **options: Any) -> NeuronSet:
        """Return the fewest of the first neurons that silence the word; see `minimal_set`.

        Parameters
        ----------
        neurons : NeuronSet, optional
            Best first; by default those of `neurons`.
        **options
            Of `mmkn_widgets.studies.minimal_set`: suppression, with_concept.
        """
        return minimal_set(self, neurons, **options)

    def predicted_change(self, neurons: NeuronSet, scale: float = 0.0) -> float:
        """Return the first-order change of y when the neurons are zeroed, or scaled.

        ``(scale - 1) sum_p g`` summed over the neurons, mean over the pairs, in the units of y
        (log-probability unless the study was made with ``target="logit"``). It costs nothing, and
        is right for small changes only: a model that is sure of the word has hardly a gradient, so
        that zeroing what carries it is predicted to do next to nothing. `measured_change` asks the
        gradient three quarters on the way, on one scene.
        """
        sums = self.evidence["gradient_sum"].values
        return predicted_from_sum(sums, neurons.mask(self.model), scale)

    def measured_change(
        self,
        scene: int,
        rows: Sequence[int] | np.ndarray = (),
        indices: Sequence[int] | np.ndarray = (),
        scale: float = 0.0,
    ) -> Change:
        """Measure what is active now on one scene, beside what the gradient on the way predicts.

        Parameters
        ----------
        scene : int
        rows, indices : sequence of int, optional
            The neurons that are zeroed or scaled, for the prediction.
        scale : float
            Their factor; 0 for zeroing.

        Returns
        -------
        Change
            See `mmkn_widgets.studies.on_scene.measured_change`: two forwards and backwards, and one
            forward, where neurons are given.

        Raises
        ------
        BadArgument
            If the unchanged caption does not name the concept.
        """
        image, place = self.scenes[scene].image, self.place(scene)
        return measured_change(self.model, image, place, rows, indices, scale)

    def transplant(
        self,
        scene: int,
        index: int,
        mask: np.ndarray,
        **options: Any,
    ) -> TransplantResult:
        """Put a part of the picture in the place of a word of its caption.

        See `mmkn_widgets.interventions.transplant_patches`.
        """
        from ..interventions import transplant_patches

        image, prompt = self.scenes[scene].image, self.options["prompt"]
        return transplant_patches(self.model, image, mask, index, prompt=prompt, **options)

    def word_shares(
        self, scenes: Sequence[Scene] = (), words: Sequence[str] = (), **options: Any
    ) -> xr.Dataset:
        """Measure what each neuron adds to each word of the captions; see `word_shares`.

        Parameters
        ----------
        scenes : sequence of Scene
            Beside the study's own.
        words : sequence of str
            By default the categories of these scenes.
        """
        from .elsewhere import word_shares

        read = [*self.scenes, *scenes]
        known = dict.fromkeys([self.concept.word, *words])
        if not words:
            known |= dict.fromkeys(name for scene in read for name in scene.categories)
        return word_shares(self.model, read, known, prompt=self.options["prompt"], **options)

    # -- keep ---------------------------------------------------------------------------------

    def save(self, path: str | Path, also: Mapping[str, str] | None = None) -> Path:
        """Write the study as one folder that `mmkn_widgets.open_study` reads; see `save_study`."""
        return save_study(self, Path(path), also)


def blank_study(
    model: MultimodalModel, concept: str | Concept, scene: Scene, *, inpainter: Any = "telea"
) -> Study:
    """Return a study that has a picture and no scores; every neuron's are 0, and none is kept.

    The Explorer starts from it when nobody has said yet where on the picture the object is: the
    picture is captioned and painted on, then the real study takes its place.

    Parameters
    ----------
    model : MultimodalModel
    concept : str or Concept
    scene : Scene
        Any picture; needs no mask.
    inpainter : str or Inpainter
        What will paint the object away.

    Returns
    -------
    Study
        ``scored`` is empty.

    Raises
    ------
    BadArgument
        If the tokenizer does not know the concept.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> from mmkn_widgets.datasets import Scene
    >>> picture = mmkn.datasets.pocket_world("val", 1)[0].image
    >>> study = blank_study(mmkn.load_model("pocket"), "car", Scene("mine", picture))
    >>> len(study.scored), len(study.neurons())
    (0, 0)
    """
    import xarray as xr

    wanted = as_concept(concept)
    if model.tokenizer is not None:
        wanted.token_ids(model.tokenizer)
    nothing = np.zeros((len(model.sites), model.n_neurons), np.float32)
    evidence = xr.Dataset(
        {name: (("layer", "neuron"), nothing.copy()) for name in SCORES},
        coords=neuron_coords(model),
        attrs={
            "concept": wanted.word,
            "model": model.name,
            "provenance": json.dumps(
                provenance("blank", model=model.name, weights=model.weights_hash)
            ),
        },
    )
    options = dict(DEFAULTS)
    known = isinstance(inpainter, PairCache)
    pairs = inpainter if known else PairCache(get_inpainter(inpainter))
    return Study(model, wanted, [scene], evidence, pairs=pairs, options=options, n_scored=0)


FORMAT_VERSION = 2
_MARK = "mmkn-study"


def save_study(study: Study, path: Path, also: Mapping[str, str] | None = None) -> Path:
    """Write a study as a folder, at once or not at all.

    Parameters
    ----------
    study : Study
    path : pathlib.Path
        A new folder, or one that holds a saved study (which is replaced).
    also : mapping of str to str, optional
        Name to text of files that belong into the folder too.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    BadArgument
        If `path` exists and is something else, or cannot be written; an older study there is then
        as it was.
    """
    with whole_folder(path, replaces=_is_saved) as part:
        scenes = [_write_scene(study, place, part) for place in range(len(study.scenes))]
        np.savez(part / "evidence.npz", allow_pickle=False, **_arrays(study.evidence))
        described = {
            "format": _MARK,
            "version": FORMAT_VERSION,
            "concept": study.concept.to_dict(),
            "model": {"name": study.model.name, "weights": study.model.weights_hash},
            "inpainter": study.pairs.name,
            "options": study.options,
            "evidence": {
                "dims": {name: list(v.dims) for name, v in study.evidence.variables.items()},
                "attrs": {key: _plain(value) for key, value in study.evidence.attrs.items()},
            },
            "scenes": scenes,
            "scored": len(study.scored),
            "provenance": provenance("save_study"),
        }
        for name, text in (also or {}).items():
            (part / name).write_text(text, encoding="utf-8", newline="\n")
        described["files"] = {file.name: _hash(file) for file in sorted(part.iterdir())}
        (part / "study.json").write_text(seal(described), encoding="utf-8", newline="\n")
    return path


def _is_saved(folder: Path) -> bool:
    return (folder / "study.json").is_file()


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _read_described(folder: Path) -> dict[str, Any]:
    """Return ``study.json``, when it and all it names are as they were written.

    Raises
    ------
    BadArgument
        If not, or it is no study of this version or an earlier one.
    """
    try:
        raw = (folder / "study.json").read_bytes()
        held = dict(json.loads(raw))
    except (OSError, ValueError, TypeError) as error:
        raise bad_argument("path", str(folder), "a folder that Study.save wrote") from error
    if held.get("format") != _MARK or held.get("version") not in (1, FORMAT_VERSION):
        raise bad_argument(
            "path", f"{held.get('format')} {held.get('version')}",
            f"a study of version {FORMAT_VERSION}",
        )  # fmt: skip
    if held["version"] == 1 and not held.keys() & {"files", "checksum"}:
        return held  # of an earlier release, which kept no checksums
    name = "study.json"
    try:
        held = unseal(raw)
        for name, wanted in held["files"].items():
            if Path(name).name != name or (folder / name).is_symlink():
                raise ValueError("it leads out of the study's folder")
            if _hash(folder / name) != wanted:
                raise ValueError("its checksum does not fit")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise BadArgument(
            f"path: {folder}, the saved study is damaged: {name} ({error}); save it anew"
        ) from error
    return held


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

    Examples
    --------
    >>> import tempfile
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> study = mmkn.study(model, "car", val.with_concept("car", 2))
    >>> again = open_study(study.save(tempfile.mkdtemp() + "/car"), model)
    >>> again.neurons() == study.neurons()
    True
    """
    folder = Path(path)
    heal(folder)
    described = _read_described(folder)
    if model is None:
        from ..models import load_model

        model = load_model(described["model"]["name"])
    if model.weights_hash != described["model"]["weights"]:
        raise BadArgument(
            f"model: got weights {model.weights_hash[:12]}, expected those of the study, "
            f"{described['model']['weights'][:12]} ({described['model']['name']})"
        )
    try:
        return _opened(folder, described, model)
    except _BROKEN as error:  # of version 1, or replaced while it was read
        raise BadArgument(
            f"path: {folder}, the saved study is damaged ({type(error).__name__}: {error})"
        ) from error


_BROKEN = (
    OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def _opened(folder: Path, described: dict[str, Any], model: MultimodalModel) -> Study:
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

    # opened here: of a damaged archive np.load leaves its own file open
    with (folder / "evidence.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
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
        "caption": study.captions.get(place),
    }


def _read_mask(path: Path) -> np.ndarray:
    from ..datasets import read_image

    return np.asarray(read_image(path))[..., 0] > 127


def _read_scene(record: dict[str, Any], place: int, folder: Path) -> tuple[Scene, Any]:
    from ..datasets import read_image

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
