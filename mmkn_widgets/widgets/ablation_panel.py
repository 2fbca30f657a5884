"""Ablate what passes both thresholds; what is active stays in sight."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..core import bad_argument
from ._base import Answer, Call, bundle, request
from ._encode import int32_array
from ._measured import measured_state, nothing_measured
from ._scored import Scored
from .traits import AblationTraits

__all__ = ["AblationPanel"]


class AblationPanel(AblationTraits, Scored):
    """Ablate the neurons that pass both thresholds, restore, undo, redo; shows what is active.

    Parameters
    ----------
    study : Study
    threshold_d, threshold_g : float, optional
    scene : int
        The scene on which the change is measured.
    """

    _esm: ClassVar[Any] = bundle("ablation_panel")

    def __init__(
        self,
        study: Any,
        threshold_d: float | None = None,
        threshold_g: float | None = None,
        *,
        scene: int = 0,
    ) -> None:
        from ._ablation import Ablations

        if not hasattr(study, "model"):
            raise bad_argument("study", type(study).__name__, "a Study")
        if not 0 <= scene < len(study.scenes):
            raise bad_argument("scene", scene, f"0 to {len(study.scenes) - 1}")
        self._study, self._scene = study, scene
        super().__init__(study, threshold_d, threshold_g)
        self._ablations = Ablations(study.model, (self._d.shape[0], self._d.shape[1]))
        self._forget = study.model.interventions.observe(self._changed)
        self._show()

    @property
    def _worker(self) -> Any:
        study = getattr(self, "_study", None)
        return None if study is None else study.model.worker

    def _show(self) -> None:
        self.ablation = {**self._ablations.state(), **nothing_measured()}

    def _changed(self, event: Any) -> None:
        if event.action not in ("enter", "exit"):
            self._show()
            self._later(self._measure)

    def _measure(self) -> None:
        found = measured_state(self._study, self._ablations.now, self._scene)
        self.ablation = {**self._ablations.state(), **found}

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
        found = {"from_inpainted": self._study.pictures(self._scene)[1]}
        if "activation" in evidence:
            found["mean"] = np.nan_to_num(evidence["activation"].values)
        return found

    def close(self) -> None:
        """Take back the own ablation and free the memory."""
        if not self._closed and hasattr(self, "_ablations"):
            self._forget()
            self._ablations.drop()
        super().close()
