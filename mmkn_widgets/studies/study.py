"""One concept, one model, some scenes: everything the Explorer and the command line ask for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._errors import bad_argument
from ..attribution import Concept, NeuronSet, as_concept, collect, two_stage
from ..datasets import Scene
from ..inpainting import get_inpainter
from .pairs import PairCache

if TYPE_CHECKING:
    import xarray as xr
    from PIL.Image import Image

    from .._jobs import CancelToken, Progress
    from ..evaluation import Effect
    from ..models import MultimodalModel
    from .search import ThresholdSearch

__all__ = ["Study", "study"]

#: pictures whose activations stay in memory (one 7B picture is about 0.4 GB)
_CAPTURES_KEPT = 2


def study(
    model: MultimodalModel,
    concept: str | Concept,
    scenes: Scene | Sequence[Scene],
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
    scenes : Scene or sequence of Scene
        Scenes that show the concept, with its object masks.
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
    chosen = [scenes] if isinstance(scenes, Scene) else list(scenes)
    if not chosen:
        raise bad_argument("scenes", [], f"at least one scene that shows {wanted.word!r}")
    pairs = PairCache(get_inpainter(inpainter))
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


class Study:
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
    ) -> None:
        self.model = model
        self.concept = concept
        self.scenes = tuple(scenes)
        self.evidence = evidence
        self.options = dict(options)
        self._pairs = pairs
        self._captions = dict(captions or {})
        self._captured: OrderedDict[int, Any] = OrderedDict()
        self.search: ThresholdSearch | None = None

    def __repr__(self) -> str:
        layers, neurons = self.evidence["difference"].shape
        return (
            f"<Study {self.concept.word!r} in {self.model.name}: {len(self.scenes)} scenes, "
            f"{layers} x {neurons} neurons, positions={self.options['positions']!r}>"
        )

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

    # -- what one sees -----------------------------------------------------------------------

    def pictures(self, scene: int) -> tuple[Image, Image]:
        """Return the original picture of a scene and the one without the concept."""
        chosen = self.scenes[scene]
        return chosen.image, self._pairs.inpainted(chosen, self.concept)

    def caption(self, scene: int) -> str:
        """Return the caption of the unchanged model, whatever is ablated at the moment."""
        if scene not in self._captions:
            with self.model.interventions.suspended():
                self._captions[scene] = str(
                    self.model.caption(self.scenes[scene].image, self.options["prompt"])
                )
        return self._captions[scene]

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

    def words(
        self, rows: Sequence[int] | np.ndarray, indices: Sequence[int] | np.ndarray, k: int = 6
    ) -> list[list[str]]:
        """Return the `k` words each neuron writes most, the sign of its activation applied."""
        from ..activations.decode import decode_rows

        return decode_rows(self.model, rows, indices, k=k, signs=self.evidence["activation"].values)

    def tokens(
        self, scene: int, row: int, index: int
    ) -> tuple[list[tuple[str, str, int]], np.ndarray]:
        """Return one neuron's activation along the prompt and the greedy caption of a scene.

        Returns
        -------
        list of (str, str, int)
            Text, role and generation step (-1 in the prompt) of each token.
        numpy.ndarray of float32, shape (token,)
        """
        from ..activations import capture

        with self.model.interventions.suspended():
            store = capture(
                self.model,
                self.scenes[scene].image,
                self.options["prompt"],
                generate=True,
                layers=[self.model.sites[row].layer],
            )
        same = store["expert"].values == self.model.sites[row].expert
        values = store["activation"].values[np.flatnonzero(same)[0], :, index]
        names = zip(
            store["token_text"].values.tolist(),
            store["role"].values.tolist(),
            store["step"].values.tolist(),
            strict=True,
        )
        return list(names), values.astype(np.float32)

    def _image_activations(self, scene: int) -> tuple[np.ndarray, Any]:
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

    # -- what the neurons do ------------------------------------------------------------------

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

    def predicted_change(self, neurons: NeuronSet) -> float:
        """Return the first-order change of y when the neurons are zeroed.

        ``-sum_p g`` summed over the neurons, mean over the pairs, in the units of y (section 10:
        log-probability unless the study was made with ``target="logit"``).
        """
        total = self.evidence["gradient_sum"].values[neurons.mask(self.model)].sum(dtype=np.float64)
        return -float(total)

    # -- keep ---------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write the study as one folder that `mmkn_widgets.open_study` reads."""
        from .format import save_study

        return save_study(self, Path(path))
