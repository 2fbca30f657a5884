"""Two concepts side by side: the neurons of each alone, and those of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets as t

from ..core import bad_argument
from ._ablation import Ablations
from ._base import Widget, bundle
from ._choice import default_thresholds
from ._encode import int32_bytes
from ._pair_changes import PairChanges
from ._pair_parts import pair_code, same_model
from ._pair_traits import PARTS, SIDES
from ._scene_state import best_neurons, evidence_state, scene_state, thumbnails

if TYPE_CHECKING:
    from .protocols import StudyLike

__all__ = ["ConceptPair", "compare"]

#: maps and words of so many neurons travel at once
_PREFETCHED = 1000
_SAVED_SCENES, _WORDS_FIRST = 8, 128
_SCENE = ("picture", "grid", "maps", "map_scale", "map_offset", "map_sign", "caption_before")


class ConceptPair(PairChanges, Widget):
    """The neurons of two concepts in one model: own of the first, shared, own of the second.

    Each concept keeps its own thresholds, scene and caption. A click ablates one of the three
    parts for every view of the model and writes both captions again, beside those with as many
    random neurons of the same layers off.

    Parameters
    ----------
    study_a, study_b : Study or Explorer
        Of one model; their scenes may differ. Of an Explorer its thresholds are taken over.
    seed : int
        Of the random control.

    Attributes
    ----------
    own_a, shared, own_b : NeuronSet
        As the thresholds are now.
    a_threshold_d, a_threshold_g, b_threshold_d, b_threshold_g, ...
        Traits: observe and set them.
    part : {"a", "shared", "b"}
        Which neurons are on the pictures and in the table.
    a_caption_after, a_caption_random, b_caption_after, b_caption_random : str
        Traits; empty when nothing is ablated.

    Raises
    ------
    BadArgument
        If the studies are of two models.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> world = mmkn.datasets.pocket_world("val", 60)
    >>> car, bus = (mmkn.study(model, w, world.with_concept(w, 2)) for w in ("car", "bus"))
    >>> pair = mmkn.compare(car, bus)
    >>> len(pair.own_a) + len(pair.shared) == len(car.neurons())
    True
    """

    _esm: ClassVar[Any] = bundle("concept_pair")

    def __init__(self, study_a: Any, study_b: Any, *, seed: int = 0, **traits: Any) -> None:
        a, b = _study_of(study_a, "study_a"), _study_of(study_b, "study_b")
        same_model(a, b)
        self.study_a, self.study_b, self._seed = a, b, int(seed)
        self._quiet, self._loading, self._forget_stack = 0, True, lambda: None
        self._scores = {}
        super().__init__()
        values: dict[str, Any] = {}
        for side, given in (("a", study_a), ("b", study_b)):
            values |= self._side_values(side, given)
        self._ids = _prefetched(self._scores)
        shape = (int(self._scores["a"][0].shape[0]), int(self._scores["a"][0].shape[1]))
        self._ablations = Ablations(a.model, shape)
        with self.hold_sync():
            for name, value in values.items():
                setattr(self, name, value)
            self.shape, self.rows = list(shape), evidence_state(a)["rows"]
            self.map_ids = int32_bytes(self._ids)
            self.words = self._words_of(self._ids[:_WORDS_FIRST])
            self.facts = self._facts()
            self.signed = True  # as in the Explorer: raw means of both signs cancel
            self.setup_code = pair_code(a, b)
            for side in SIDES:
                self._show(self._scene_values(side, 0))
                self._set_line(side, before=getattr(self, f"{side}_caption_before"))
            self.part = next((p for p in ("shared", *PARTS) if len(self.ids_of(p))), "shared")
            self._show_active()
        self._loading = False
        for name, value in traits.items():
            setattr(self, name, value)
        self._forget_stack = a.model.interventions.observe(self._stack_changed)

    def _side_values(self, side: str, given: Any) -> dict[str, Any]:
        study = self._study(side)
        d, g = (np.asarray(study.evidence[n].values, np.float32) for n in ("difference", "gradcam"))
        self._scores[side] = (d, g)
        cuts = given.thresholds if hasattr(given, "study") else default_thresholds(d, g)
        made = evidence_state(study)
        word = str(getattr(study.concept, "word", study.concept))
        found = {
            "concept": word,
            "concept_forms": [str(form) for form in getattr(study.concept, "forms", (word,))],
            "labels": made["labels"],
            "difference": made["difference"],
            "gradcam": made["gradcam"],
            "threshold_d": cuts[0],
            "threshold_g": cuts[1],
            "scenes": [{"name": str(s.id), "before": "", "after": ""} for s in study.scenes],
            "thumbnails": thumbnails(study),
        }
        return {f"{side}_{name}": value for name, value in found.items()}

    def _facts(self) -> dict[str, Any]:
        model = self.study_a.model
        return {
            "model": str(model.name),
            "layers": int(model.n_layers),
            "neurons": int(model.n_neurons),
            "device": str(model.device),
            "scenes": len(self.study_a.scenes) + len(self.study_b.scenes),
            "seconds": None,
            "inpainter": "",
        }

    # -- scenes ------------------------------------------------------------------------------

    @t.validate("a_scene", "b_scene")
    def _valid_scene(self, proposal: Any) -> int:
        last = len(self._study(proposal["trait"].name[0]).scenes) - 1
        if not 0 <= proposal["value"] <= last:
            raise bad_argument(proposal["trait"].name, proposal["value"], f"0 to {last}")
        return int(proposal["value"])

    @t.validate("part")
    def _valid_part(self, proposal: Any) -> str:
        if proposal["value"] not in PARTS:
            raise bad_argument("part", proposal["value"], "one of " + ", ".join(PARTS))
        return str(proposal["value"])

    @t.observe("a_scene", "b_scene")
    def _on_scene(self, change: Any) -> None:
        if not self._loading:
            side = change["name"][0]
            self._submit(self._guarded(lambda: self._load_scene(side)))

    def _load_scene(self, side: str) -> None:
        scene = getattr(self, f"{side}_scene")
        values = self._scene_values(side, scene) | self._written(side, scene)
        values |= self._written_control(side, scene)
        if scene == getattr(self, f"{side}_scene"):
            self._show(values)
            self._set_line(side, before=getattr(self, f"{side}_caption_before"))

    def _scene_values(self, side: str, scene: int) -> dict[str, Any]:
        made = scene_state(self._study(side), scene, self._ids)
        return {f"{side}_{name}": made[name] for name in _SCENE}

    # -- without a kernel, and the end -------------------------------------------------------

    def saved_traits(self) -> dict[str, dict[int, dict[str, Any]]]:
        """Return what another scene brings, by trait and scene, for a page without a kernel."""

        def scenes_of(side: str) -> dict[int, dict[str, Any]]:
            n = min(
                max(_SAVED_SCENES, getattr(self, f"{side}_scene") + 1),
                len(self._study(side).scenes),
            )
            written = getattr(self, f"{side}_scenes")
            return {
                scene: self._scene_values(side, scene)
                | {f"{side}_caption_after": written[scene]["after"], f"{side}_caption_random": ""}
                for scene in range(n)
            }

        return self._submit(lambda: {f"{side}_scene": scenes_of(side) for side in SIDES}).result()

    @property
    def _worker(self) -> Any:
        study = getattr(self, "study_a", None)
        return None if study is None else study.model.worker

    def close(self) -> None:
        """Take back the own ablation, cancel what runs, free the arrays."""
        if self._closed or not hasattr(self, "_ablations"):
            return
        self._forget_stack()
        self._quietly(self._ablations.drop)
        super().close()
        self._scores.clear()


def compare(study_a: Any, study_b: Any, **options: Any) -> ConceptPair:
    """Show two concepts of one model side by side: shared and own neurons.

    Parameters
    ----------
    study_a, study_b : Study or Explorer
    **options
        Of `ConceptPair`.

    Returns
    -------
    ConceptPair
    """
    return ConceptPair(study_a, study_b, **options)


def _study_of(given: Any, name: str) -> StudyLike:
    study = getattr(given, "study", given)
    if not hasattr(study, "evidence") or not hasattr(study, "model"):
        raise bad_argument(name, type(given).__name__, "a Study, or an Explorer of one")
    return study  # type: ignore[no-any-return]


def _prefetched(scores: dict[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the neurons whose maps travel: the best of both concepts, in turn."""
    best = [best_neurons(d, g, _PREFETCHED) for d, g in scores.values()]
    mixed = np.stack([line[: min(map(len, best))] for line in best], 1).ravel()
    _, first = np.unique(mixed, return_index=True)
    return mixed[np.sort(first)][:_PREFETCHED]
