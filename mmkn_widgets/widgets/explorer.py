"""The Explorer: a concept's neurons, where they look, and what changes without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets as t

from ..core import bad_argument
from ._ablation import Ablations
from ._actions import Actions
from ._base import bundle
from ._choice import default_thresholds, kept_ids
from ._explorer_code import setup_code
from ._explorer_keep import Keeping
from ._explorer_study import StudyWork
from ._open import OpenSaved
from ._own_picture import OwnPicture
from ._scene_state import (
    PREFETCHED,
    best_neurons,
    evidence_state,
    first_words,
    scene_state,
    thumbnails,
)

if TYPE_CHECKING:
    from .protocols import StudyLike

__all__ = ["Explorer"]

_PRESETS = ("compact", "teaching", "full")


class Explorer(Keeping, StudyWork, OwnPicture, Actions):
    """All parts in one widget, for one study.

    Parameters
    ----------
    study : Study or MultimodalModel
        From `mmkn_widgets.study`; or a model, with `image` and `concept`.
    image : picture or Scene, optional
        With a model: what to look at; whatever `mmkn_widgets.datasets.read_image` reads.
    concept : str, optional
        With a model: the word to look for.
    mask : mask, optional
        With a picture: where the object is, see `mmkn_widgets.datasets.read_mask`. Without it the
        Explorer opens on the picture without scores; paint the object there, then compute.
    threshold_d, threshold_g : float, optional
        By default the pair that keeps the top 5 % by stage 1 and of these the 60 best.
    test_scenes : pair of sequences of Scene, optional
        Held-out scenes with and without the concept, for "measure"; by default the study's own,
        and the page says so.
    preset : {"full", "compact", "teaching"}
        How much is shown.

    Attributes
    ----------
    threshold_d, threshold_g, quantile_d, quantile_g, mode
        The thresholds (traits: observe and set them).
    neurons : NeuronSet
        The checked survivors.
    scene, selected, overlay, opacity, colormap, ...
        What is shown (traits).
    caption_before, caption_after : str
    state : dict
        Exactly what is on screen, JSON-able.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> scenes = mmkn.datasets.pocket_world("val", 60).with_concept("car", 2)
    >>> explorer = mmkn.Explorer(mmkn.study(model, "car", scenes))
    >>> explorer.threshold_d = 0.5
    """

    _esm: ClassVar[Any] = bundle("explorer")

    def __init__(
        self,
        study: Any,
        image: Any = None,
        concept: str | None = None,
        mask: Any = None,
        *,
        threshold_d: float | None = None,
        threshold_g: float | None = None,
        test_scenes: tuple[Sequence[Any], Sequence[Any]] | None = None,
        preset: str = "full",
        state: Mapping[str, Any] | None = None,
        restudy: Callable[..., Any] | None = None,
    ) -> None:
        if not hasattr(study, "evidence"):
            study = _study_from(study, image, concept, mask)
        if preset not in _PRESETS:
            raise bad_argument("preset", preset, "one of " + ", ".join(_PRESETS))
        self._given_test = test_scenes
        self._restudy = restudy
        self._quiet = 0
        self._loading = True
        self._forget_stack: Callable[[], None] = lambda: None
        super().__init__()
        self.preset = preset
        self.signed = True  # raw means of neurons of both signs cancel
        self._show_study(study, threshold_d, threshold_g)
        self._loading = False
        if state is not None:
            self.state = state
        self._forget_stack = study.model.interventions.observe(self._stack_changed)

    # -- a study comes in --------------------------------------------------------------------

    def _show_study(
        self, study: StudyLike, threshold_d: float | None = None, threshold_g: float | None = None
    ) -> None:
        """Fill every trait from a study, in one message."""
        made = evidence_state(study)
        self.study = study
        self._d = np.asarray(study.evidence["difference"].values, np.float32)
        self._g = np.asarray(study.evidence["gradcam"].values, np.float32)
        self._width = int(self._d.shape[1])
        self._ablations = Ablations(study.model, (self._d.shape[0], self._d.shape[1]))
        cut_d, cut_g = default_thresholds(self._d, self._g)
        if threshold_d is not None:
            cut_d = float(threshold_d)
        if threshold_g is not None:
            cut_g = float(threshold_g)
        first = kept_ids(self._d, self._g, cut_d, cut_g)[:PREFETCHED]
        rest = best_neurons(self._d, self._g)
        self._ids = np.concatenate([first, rest[~np.isin(rest, first)]])[:PREFETCHED]
        if not getattr(study, "scored", study.scenes):
            self._ids = self._ids[:0]  # no scores yet: no neuron is better than another
        before = [getattr(study, "_captions", {}).get(k, "") for k in range(len(study.scenes))]
        words = first_words(study, self._ids)
        values: dict[str, Any] = {
            **made,
            **self._concept_state(study),
            **scene_state(study, 0, self._ids),
            "scene": 0,
            "scenes": [
                {"name": str(scene.id), "before": before[k], "after": ""}
                for k, scene in enumerate(study.scenes)
            ],
            "thumbnails": thumbnails(study),
            "words": words,
            "threshold_d": cut_d,
            "threshold_g": cut_g,
            "quantile_g": _share_below(self._g, cut_g),
            "mode": "absolute",
            "unchecked": [],
            "rows_off": [],
            "marks": [],
            "selected": int(self._ids[0]) if len(self._ids) else -1,
            "caption_after": "",
            "transplanted": None,
            "stale": [],
            "uploads": hasattr(study, "with_scene"),
            "transplants": True,
            "effect": None,
            "tokens": [],
            "token_values": b"",
            "setup_code": setup_code(study),
        }
        was, self._loading = self._loading, True
        try:
            with self.hold_sync():
                for name, value in values.items():
                    setattr(self, name, value)
                self._set_line(0, before=self.caption_before)
                self._show_active()
                self._choose()
        finally:
            self._loading = was

    # -- scenes ------------------------------------------------------------------------------

    @t.validate("scene")
    def _valid_scene(self, proposal: Any) -> int:
        if not self._loading and not 0 <= proposal["value"] < len(self.study.scenes):
            raise bad_argument("scene", proposal["value"], f"0 to {len(self.study.scenes) - 1}")
        return int(proposal["value"])

    @t.observe("scene")
    def _on_scene(self, _change: Any) -> None:
        if not self._loading:
            self._submit(self._guarded(self._load_scene))

    def _load_scene(self) -> None:
        """Show the scene that is wanted now; earlier wishes in the queue find nothing to do."""
        scene = self.scene
        if getattr(self, "_shown", (None, -1)) == (self.study, scene):
            return
        values = scene_state(self.study, scene, self._ids)
        values |= self._written(scene, None)
        if scene != self.scene:
            return
        self._shown = (self.study, scene)
        with self.hold_sync():
            for name, value in values.items():
                setattr(self, name, value)
            self._set_line(scene, before=self.caption_before)
            self._show_active()
        if self.study.model.interventions.active:
            self._later(self._measure)

    def _set_line(self, scene: int, **changes: str) -> None:
        lines = [dict(line) for line in self.scenes]
        if lines[scene] | changes != lines[scene]:
            lines[scene].update(changes)
            self.scenes = lines

    # -- the shared stack --------------------------------------------------------------------

    def _stack_changed(self, event: Any) -> None:
        """Follow what others do to the model; runs in their thread, so it only enqueues."""
        if self._quiet == 0 and not self._closed and event.action not in ("enter", "exit"):
            self._submit(self._guarded(self._after_change))

    def _quietly(self, change: Callable[[], Any]) -> None:
        self._quiet += 1
        try:
            change()
        finally:
            self._quiet -= 1

    def _ablations_drop(self) -> None:
        self._quietly(self._ablations.drop)

    @property
    def _worker(self) -> Any:
        study = getattr(self, "study", None)
        return None if study is None else study.model.worker

    open: ClassVar[Any] = OpenSaved()

    def close(self) -> None:
        """Take back the own ablation, cancel what runs, free the arrays."""
        if self._closed or not hasattr(self, "_ablations"):
            return
        self._forget_stack()
        self._ablations_drop()
        super().close()
        del self._d, self._g


def _share_below(values: np.ndarray, cut: float) -> float:
    finite = values[np.isfinite(values)]
    return float((finite <= np.float32(cut)).mean()) if finite.size else 0.0


def _study_from(model: Any, image: Any, concept: str | None, mask: Any) -> Any:
    """Return the study of one picture; where nobody says where the object is, a blank one."""
    if image is None or concept is None:
        raise bad_argument(
            "study", type(model).__name__, "a Study, or a model with image= and concept="
        )
    from ..attribution import as_concept, has_scene_mask
    from ..datasets import Scene, read_image, single_scene
    from ..studies import blank_study, study

    if mask is not None:
        if isinstance(image, Scene):
            raise bad_argument("mask", type(mask).__name__, "no mask beside a Scene, or a picture")
        return study(model, concept, single_scene(image, mask, concept))
    if not isinstance(image, Scene):
        name = Path(image).name if isinstance(image, str | Path) else "picture"
        image = Scene(name, read_image(image, name="image"), source="own")
    wanted = as_concept(concept)
    named = any(wanted.named_in(category) for category in image.categories)
    if not image.categories or (named and not has_scene_mask(image, wanted)):
        return blank_study(model, concept, image)  # the page asks for the mask
    return study(model, concept, image)
