"""One concept, one model, some scenes: everything the Explorer and the command line ask for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import bad_argument
from ..attribution import Concept, NeuronSet, as_concept, collect, two_stage
from ..datasets import as_scenes
from ..inpainting import get_inpainter
from .pairs import PairCache
from .seen import Seen
from .tried import Tried

if TYPE_CHECKING:
    import xarray as xr

    from .._jobs import CancelToken, Progress
    from ..attribution.predicting import Prediction
    from ..datasets import Scene
    from ..models import MultimodalModel
    from .search import ThresholdSearch

__all__ = ["CHOOSING", "Study", "study"]

#: scenes with the concept that are taken of a data set which is only named
CHOOSING = 48


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
    progress: Progress | None = None,
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
    progress : callable, optional
        Called as ``progress(stage, done, total)``.
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
    evidence = collect(
        model, wanted, chosen, inpainter=pairs, progress=progress, cancel=cancel, **options
    )
    return Study(model, wanted, chosen, evidence, pairs=pairs, options=options)


class Study(Seen, Tried):
    """Scores of every neuron for one concept, with the scenes they come from.

    Made by `study`, read back by `mmkn_widgets.open_study`.

    Attributes
    ----------
    model : MultimodalModel
    concept : Concept
    scenes : tuple of Scene
        In the order of the evidence.
    evidence : xarray.Dataset
        float32 variables of dims (layer, neuron): ``difference`` (stage 1), ``gradcam`` (stage 2),
        ``gradient_sum``, ``contribution``, ``activation``.
    options : dict
        The arguments that shaped the evidence.
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
        self._captured: OrderedDict[int, Any] = OrderedDict()
        self._predicting: dict[int, Prediction] = {}
        self._scored = len(self.scenes) if n_scored is None else n_scored
        self.search: ThresholdSearch | None = None

    def __repr__(self) -> str:
        layers, neurons = self.evidence["difference"].shape
        return (
            f"<Study {self.concept.word!r} in {self.model.name}: {len(self.scenes)} scenes, "
            f"{layers} x {neurons} neurons, positions={self.options['positions']!r}>"
        )

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
        scenes, captions = list(self.scenes), dict(self._captions)
        if place is None:
            scenes.append(scene)
        elif self._scored <= place < len(scenes):
            scenes[place] = scene
        else:
            wanted = f"{self._scored} to {len(scenes) - 1}: scenes that were added"
            raise bad_argument("place", place, wanted)
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
        made._predicting = {k: v for k, v in self._predicting.items() if k != place}
        return made

    # -- neurons -----------------------------------------------------------------------------

    def neurons(
        self,
        threshold_d: float | None = None,
        threshold_g: float | None = None,
        *,
        quantile_d: float | None = None,
        quantile_g: float | None = None,
        top: int | None = None,
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
        Without any threshold: the top 5 % by stage 1, of these the 60 best by stage 2.
        """
        if (
            threshold_d is None
            and threshold_g is None
            and quantile_d is None
            and quantile_g is None
        ):
            quantile_d, top = 0.95, 60 if top is None else top
        found = two_stage(
            self.evidence,
            threshold_d=threshold_d,
            threshold_g=threshold_g,
            quantile_d=quantile_d,
            quantile_g=quantile_g,
            top=top,
        )
        if exclude:
            gone = {tuple(int(part) for part in place) for place in exclude}
            found = found.filter(
                lambda n: (
                    (n.layer, n.index) not in gone and (n.layer, n.expert, n.index) not in gone
                )
            )
        return found.with_words(self.model) if words else found

    def propose_thresholds(self, **options: Any) -> ThresholdSearch:
        """Search the threshold plane on this study's scenes; see `search_thresholds`."""
        from .search import search_thresholds

        self.search = search_thresholds(self, **options)
        return self.search

    # -- keep ---------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write the study as one folder that `mmkn_widgets.open_study` reads."""
        from .format import save_study

        return save_study(self, Path(path))
