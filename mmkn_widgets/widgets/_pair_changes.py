"""What the page of two concepts asks: ablations with their random control, maps, measures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import bad_argument
from ._ablation import Ablations, Snapshot
from ._base import Answer, Call, Widget, request
from ._encode import float32_bytes, int32_array
from ._measured import nothing_measured
from ._pair_parts import PairParts
from ._pair_traits import PARTS, SIDES

__all__ = ["PairChanges"]


class PairChanges(PairParts, Widget):
    """A mixin of `ConceptPair`: its requests."""

    _ablations: Ablations
    _ids: np.ndarray
    _seed: int
    _quiet: int

    def _study(self, side: str) -> Any:
        if side not in SIDES:
            raise bad_argument("side", side, "a or b")
        return self.study_a if side == "a" else self.study_b

    def _names(self) -> dict[str, str]:
        a, b = self.a_concept, self.b_concept
        if a == b:
            a, b = f"{a} (first)", f"{b} (second)"
        return {"a": f"own of {a}", "shared": f"shared by {a} and {b}", "b": f"own of {b}"}

    # -- ablation ----------------------------------------------------------------------------

    @request("ablate", stage="writing the captions")
    def _ask_ablate(self, call: Call) -> Answer:
        part = str(call.args.get("part", self.part))
        ids = int32_array(call.buffers[0]) if call.buffers else self.ids_of(part)
        if not len(ids):
            raise bad_argument("part", part, "a part with neurons: lower a threshold")
        name = self._names().get(part, part)
        label = f"{len(ids)} neuron{'s' if len(ids) != 1 else ''} ablated: {name}"
        chosen = Snapshot(tuple(int(i) for i in ids), "zero", 0.0, label)
        self._quietly(lambda: self._ablations.set(chosen, {}))
        return self._after_change(call)

    @request("restore", stage="writing the captions")
    def _ask_restore(self, call: Call) -> Answer:
        def clear() -> None:
            self._ablations.set(None, {})
            self.study_a.model.interventions.clear()

        self._quietly(clear)
        return self._after_change(call)

    @request("undo", stage="writing the captions")
    def _ask_undo(self, call: Call) -> Answer:
        self._quietly(lambda: self._ablations.undo({}))
        return self._after_change(call)

    @request("redo", stage="writing the captions")
    def _ask_redo(self, call: Call) -> Answer:
        self._quietly(lambda: self._ablations.redo({}))
        return self._after_change(call)

    def ablate(self, part: str | None = None) -> tuple[str, str]:
        """Ablate a part (by default the shown one) as the button does; return both captions."""
        if part is not None:
            self.part = part
        done = self._submit(lambda: self._ask_ablate(Call("", "ablate", {}, [])))
        done.result()
        return self.a_caption_after, self.b_caption_after

    def restore(self) -> None:
        """Take back everything that is active on the model, as the button does."""
        self._submit(lambda: self._ask_restore(Call("", "restore", {}, []))).result()

    def _after_change(self, call: Call | None = None) -> Answer:
        """Write both captions with what is active, then the controls; show each as it comes."""
        self._show_active()
        self._show({f"{s}_caption_{k}": "" for s in SIDES for k in ("after", "random")})
        for write in (self._written, self._written_control):
            for side in SIDES:
                if call is not None:
                    call.cancel.raise_if_cancelled()
                scene = getattr(self, f"{side}_scene")
                made = write(side, scene)
                if scene == getattr(self, f"{side}_scene"):
                    self._show(made)
        return {}

    def _written(self, side: str, scene: int) -> dict[str, Any]:
        active = self.study_a.model.interventions.active
        text = self._caption(side, scene) if active else ""
        self._set_line(side, scene, after=text)
        return {f"{side}_caption_after": text}

    def _written_control(self, side: str, scene: int) -> dict[str, Any]:
        """Write the caption with as many random neurons off, in a clean inner scope."""
        now, model = self._ablations.now, self.study_a.model
        if not isinstance(now, Snapshot):
            return {f"{side}_caption_random": ""}
        from ..attribution import random_like

        neurons = self._as_set(np.asarray(now.ids, np.int64))
        drawn = random_like(model, neurons, self._seed)
        with model.interventions.suspended(), model.ablate(drawn):
            return {f"{side}_caption_random": self._caption(side, scene)}

    def _caption(self, side: str, scene: int) -> str:
        study = self._study(side)
        image, prompt = study.scenes[scene].image, study.options.get("prompt")
        return str(self.study_a.model.caption(image, prompt))

    def _set_line(self, side: str, scene: int | None = None, **changes: str) -> None:
        at = getattr(self, f"{side}_scene") if scene is None else scene
        lines = [dict(line) for line in getattr(self, f"{side}_scenes")]
        if lines[at] | changes != lines[at]:
            lines[at].update(changes)
            setattr(self, f"{side}_scenes", lines)

    def _show_active(self) -> None:
        self.ablation = {**self._ablations.state(), **nothing_measured()}

    def _show(self, values: dict[str, Any]) -> None:
        with self.hold_sync():
            for name, value in values.items():
                setattr(self, name, value)

    def _stack_changed(self, event: Any) -> None:
        if self._quiet == 0 and not self._closed and event.action not in ("enter", "exit"):
            self._submit(self._guarded(self._after_change))

    def _quietly(self, change: Callable[[], Any]) -> None:
        self._quiet += 1
        try:
            change()
        finally:
            self._quiet -= 1

    # -- what lies beyond the prefetched -----------------------------------------------------

    @request("maps")
    def _ask_maps(self, call: Call) -> Answer:
        ids, study, scene, signed = self._asked(call, call.args.get("ids", []))
        maps = study.maps(ids // self.shape[1], ids % self.shape[1], scene=scene, signed=signed)
        return {"count": len(ids)}, [float32_bytes(maps)]

    @request("mean_map")
    def _ask_mean_map(self, call: Call) -> Answer:
        ids, study, scene, signed = self._asked(call, int32_array(call.buffers[0]))
        total = np.zeros(())
        for begin in range(0, len(ids), 4096):
            call.cancel.raise_if_cancelled()
            part = ids[begin : begin + 4096]
            rows, index = part // self.shape[1], part % self.shape[1]
            maps = study.maps(rows, index, scene=scene, signed=signed)
            total = total + np.asarray(maps, np.float64).sum(0)
        return {"count": len(ids)}, [float32_bytes(total / len(ids))]

    @request("words")
    def _ask_words(self, call: Call) -> Answer:
        return {"words": self._words_of(self._checked(call.args.get("ids", [])))}

    def _words_of(self, ids: np.ndarray) -> list[list[str]]:
        """Decode each neuron with its sign for the concept for which it fires more."""
        found: list[list[str]] = [[] for _ in ids]
        strength = [
            np.abs(np.nan_to_num(study.evidence["activation"].values.ravel()[ids]))
            if "activation" in study.evidence
            else np.zeros(len(ids))
            for study in (self.study_a, self.study_b)
        ]
        of_b = strength[1] > strength[0]
        for study, chosen in ((self.study_a, ~of_b), (self.study_b, of_b)):
            at = np.flatnonzero(chosen)
            lines = (
                study.words(ids[at] // self.shape[1], ids[at] % self.shape[1]) if len(at) else []
            )
            for place, line in zip(at, lines, strict=True):
                found[int(place)] = [str(word) for word in line]
        return found

    def _asked(self, call: Call, ids: Any) -> tuple[np.ndarray, Any, int, bool]:
        side = str(call.args.get("side", ""))
        study = self._study(side)
        scene = int(call.args.get("scene", getattr(self, f"{side}_scene")))
        if not 0 <= scene < len(study.scenes):
            raise bad_argument("scene", scene, f"0 to {len(study.scenes) - 1}")
        return self._checked(ids), study, scene, bool(call.args.get("signed"))

    def _checked(self, ids: Any) -> np.ndarray:
        found, size = np.asarray(ids, np.int64).ravel(), int(np.prod(self.shape))
        if not found.size:
            raise bad_argument("ids", "none", "at least one neuron")
        if found.min() < 0 or found.max() >= size:
            raise bad_argument("ids", int(found.max()), f"flat ids from 0 to {size - 1}")
        return found

    # -- what each part does to either concept -----------------------------------------------

    @request("evaluate", stage="measuring")
    def _ask_evaluate(self, call: Call) -> Answer:
        """Measure how far each part suppresses either concept, beside random neurons."""
        progress, found = self._progress(), []
        before: dict[str, dict[Any, str]] = {side: {} for side in SIDES}
        for part in PARTS:
            neurons = self.neurons_of(part)
            line: dict[str, Any] = {"part": part, "neurons": len(neurons), "a": None, "b": None}
            for side in SIDES if len(neurons) else ():
                study = self._study(side)
                scenes = list(getattr(study, "scored", study.scenes))
                name = self._names()[part]
                effect = study.evaluate(
                    neurons,
                    scenes,
                    (),
                    metrics=(),
                    before=before[side],
                    progress=lambda stage, k, n, name=name: progress(f"{name}: {stage}", k, n),
                    cancel=call.cancel,
                )
                if effect.suppression is not None:
                    line[side] = {
                        "value": float(effect.suppression),
                        "random": _number(effect.random_control.get("mean")),
                        "scenes": len(scenes),
                    }
            found.append(line)
        self.part_effects = found
        return {}


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
