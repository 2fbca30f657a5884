"""What the page can ask of an Explorer; every answer runs on the model's worker thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._errors import bad_argument
from ._ablation import Snapshot
from ._base import Answer, Call, Widget, request
from ._encode import encode_picture, float32_bytes, int32_array

if TYPE_CHECKING:
    from ._ablation import Ablations
    from .protocols import StudyLike

__all__ = ["Actions"]

_PAGE_SCENES = 8


class Actions(Widget):
    """The requests of the Explorer's page."""

    study: StudyLike
    _ablations: Ablations

    # -- ablation ----------------------------------------------------------------------------

    @request("ablate", stage="writing the caption")
    def _ask_ablate(self, call: Call) -> Answer:
        ids = int32_array(call.buffers[0]) if call.buffers else np.asarray(self.kept, np.int32)
        return self._ablate(
            ids, str(call.args.get("mode", "zero")), float(call.args.get("scale") or 0.0), call
        )

    def _ablate(self, ids: np.ndarray, mode: str, scale: float, call: Call | None) -> Answer:
        if not len(ids):
            raise bad_argument("neurons", "no neuron", "at least one: lower a threshold")
        how = {"zero": "ablated", "scale": f"scaled by {scale:g}"}.get(mode, f"set to {mode}")
        word = "neuron" if len(ids) == 1 else "neurons"
        snapshot = Snapshot(
            tuple(int(i) for i in ids), mode, scale, f"{len(ids)} {self.concept} {word} {how}"
        )
        self._quietly(lambda: self._ablations.set(snapshot, self._references(mode)))
        return self._after_change(call)

    @request("restore", stage="writing the caption")
    def _ask_restore(self, call: Call) -> Answer:
        def clear() -> None:
            self._ablations.set(None, {})
            self.study.model.interventions.clear()

        self._quietly(clear)
        return self._after_change(call)

    @request("undo", stage="writing the caption")
    def _ask_undo(self, call: Call) -> Answer:
        self._quietly(lambda: self._ablations.undo(self._references()))
        return self._after_change(call)

    @request("redo", stage="writing the caption")
    def _ask_redo(self, call: Call) -> Answer:
        self._quietly(lambda: self._ablations.redo(self._references()))
        return self._after_change(call)

    def _references(self, mode: str = "") -> dict[str, Any]:
        """Return what the modes "mean" and "from_inpainted" need."""
        found: dict[str, Any] = {}
        if "activation" in self.study.evidence:
            found["mean"] = np.nan_to_num(self.study.evidence["activation"].values)
        if mode in ("", "from_inpainted"):
            found["from_inpainted"] = self.study.pictures(self.scene)[1]
        return found

    def _after_change(self, call: Call | None = None) -> Answer:
        """Caption the shown scene with what is active now, and show what that is."""
        self._show_active()
        scene = self.scene
        self.caption_after = ""
        after = self._write_caption(scene, call)
        if scene == self.scene:
            self.caption_after = after
        return {"caption": after}

    def _write_caption(self, scene: int, call: Call | None) -> str:
        model = self.study.model
        if not model.interventions.active:
            self._set_line(scene, after="")
            return ""
        options: dict[str, Any] = {}
        if call is not None:
            options = {
                "on_token": lambda piece, *row: self._stream(call, str(piece)),
                "cancel": call.cancel,
            }
        prompt = self.study.options.get("prompt")
        text = str(model.caption(self.study.scenes[scene].image, prompt, **options))
        self._set_line(scene, after=text)
        return text

    # -- what lies beyond the prefetched -----------------------------------------------------

    @request("maps")
    def _ask_maps(self, call: Call) -> Answer:
        ids = self._checked_ids(call.args.get("ids", []))
        maps = self.study.maps(
            ids // self._width,
            ids % self._width,
            scene=self._checked_scene(call),
            signed=bool(call.args.get("signed")),
        )
        return {"count": len(ids)}, [float32_bytes(maps)]

    @request("mean_map")
    def _ask_mean_map(self, call: Call) -> Answer:
        ids = self._checked_ids(int32_array(call.buffers[0]))
        scene, signed = self._checked_scene(call), bool(call.args.get("signed"))
        total: np.ndarray | None = None
        for begin in range(0, len(ids), 4096):
            call.cancel.raise_if_cancelled()
            part = ids[begin : begin + 4096]
            maps = self.study.maps(
                part // self._width, part % self._width, scene=scene, signed=signed
            )
            summed = np.asarray(maps, np.float64).sum(0)
            total = summed if total is None else total + summed
        if total is None:
            raise bad_argument("ids", "none", "at least one neuron")
        return {"count": len(ids)}, [float32_bytes(total / len(ids))]

    @request("words")
    def _ask_words(self, call: Call) -> Answer:
        ids = self._checked_ids(call.args.get("ids", []))
        words = self.study.words(ids // self._width, ids % self._width)
        return {"words": [[str(word) for word in line] for line in words]}

    @request("tokens")
    def _ask_tokens(self, call: Call) -> Answer:
        ids = self._checked_ids([call.args.get("id", -1)])
        self._show_tokens(int(ids[0]), self._checked_scene(call))
        return {}

    @request("neuron", stage="looking through the scenes")
    def _ask_neuron(self, call: Call) -> Answer:
        ids = self._checked_ids([call.args.get("id", -1)])
        row, index = ids // self._width, ids % self._width
        progress, found = self._progress(), []
        for scene in range(len(self.study.scenes)):
            call.cancel.raise_if_cancelled()
            grid = np.asarray(self.study.maps(row, index, scene=scene))[0]
            place = np.unravel_index(int(np.nanargmax(grid)), grid.shape)
            found.append((float(np.nanmax(grid)), scene, [int(p) for p in place]))
            progress("looking through the scenes", scene + 1, len(self.study.scenes))
        found.sort(key=lambda item: -item[0])
        best = [{"scene": s, "value": v, "patch": p} for v, s, p in found[:_PAGE_SCENES]]
        return {"scenes": best, "concepts": {}}

    # -- long work ---------------------------------------------------------------------------

    @request("compute", stage="computing")
    def _ask_compute(self, call: Call) -> Answer:
        word = str(call.args.get("concept", "")).strip()
        if not word:
            raise bad_argument("concept", word, "a word")
        made = self._study_of(word, self._progress(), call.cancel)
        self._ablations_drop()
        self._show_study(made)
        return {"concept": word}

    @request("evaluate", stage="measuring")
    def _ask_evaluate(self, call: Call) -> Answer:
        present, absent, held_out = self._test_scenes()
        found = self.study.evaluate(
            self.neurons, present, absent, progress=self._progress(), cancel=call.cancel
        )
        self._show_effect(found, len(self.kept), held_out)
        return {}

    @request("propose", stage="searching thresholds")
    def _ask_propose(self, call: Call) -> Answer:
        found = self.study.propose_thresholds(
            without_concept=self._test_scenes()[1], progress=self._progress(), cancel=call.cancel
        )
        self._show_search(found)
        return {"met": bool(found.met)}

    @request("inpaint", stage="painting the object away")
    def _ask_inpaint(self, call: Call) -> Answer:
        scene = self._checked_scene(call)
        shape = [int(n) for n in call.args.get("shape", [0, 0])]
        mask = np.frombuffer(call.buffers[0] if call.buffers else b"", np.uint8)
        if len(shape) != 2 or mask.size != shape[0] * shape[1] or not mask.any():
            raise bad_argument("mask", f"{mask.size} bytes", "a painted mask of the shown picture")
        self._repaint(scene, mask.reshape(shape) > 0)
        if scene == self.scene:
            self.inpainted = encode_picture(self.study.pictures(scene)[1], 640)
        return {}

    @request("export_html", worker=False)
    def _ask_export_html(self, call: Call) -> Answer:
        from ._html import offline_page

        return {}, [offline_page(self).encode()]

    # -- checks ------------------------------------------------------------------------------

    def _checked_ids(self, ids: Any) -> np.ndarray:
        found = np.asarray(ids, np.int64).ravel()
        size = int(np.prod(self.shape))
        if found.size and (found.min() < 0 or found.max() >= size):
            raise bad_argument("ids", int(found.max()), f"flat ids from 0 to {size - 1}")
        return found

    def _checked_scene(self, call: Call) -> int:
        scene = int(call.args.get("scene", self.scene) or 0)
        if not 0 <= scene < len(self.study.scenes):
            raise bad_argument("scene", scene, f"0 to {len(self.study.scenes) - 1}")
        return scene
