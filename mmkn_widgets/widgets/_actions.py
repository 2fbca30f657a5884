"""What the page can ask of an Explorer; every answer runs on the model's worker thread."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import NotSupported, bad_argument
from ._base import Answer, Call, request
from ._changes import Changes
from ._encode import encode_picture, float32_bytes, int32_array
from ._scene_state import mask_state

__all__ = ["Actions"]

_PAGE_SCENES = 8


class Actions(Changes):
    """The requests of the Explorer's page."""

    _width: int

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

    @request("patch_scores", stage="looking at the patches")
    def _ask_patch_scores(self, call: Call) -> Answer:
        ids, scene = self._checked_ids(int32_array(call.buffers[0])), self._checked_scene(call)
        found = self.study.patch_scores(ids // self._width, ids % self._width, scene=scene)
        if scene == self.scene:
            self._show(
                {
                    "difference_map": float32_bytes(found.difference),
                    "gradcam_map": float32_bytes(found.gradcam),
                }
            )
        return {"count": len(ids)}

    @request("lens")
    def _ask_lens(self, call: Call) -> Answer:
        scene = self._checked_scene(call)
        words = [[str(word) for word in cell] for cell in self.study.patch_words(scene)]
        if scene == self.scene:
            self.patch_words = words
        return {}

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
            try:
                grid = np.asarray(self.study.maps(row, index, scene=scene))[0]
            except NotSupported:  # no places on the picture: the words are still known
                break
            place = np.unravel_index(int(np.nanargmax(grid)), grid.shape)
            found.append((float(np.nanmax(grid)), scene, [int(p) for p in place]))
            progress("looking through the scenes", scene + 1, len(self.study.scenes))
        found.sort(key=lambda item: -item[0])
        best = [{"scene": s, "value": v, "patch": p} for v, s, p in found[:_PAGE_SCENES]]
        from ..studies import shares_of

        shares = self._shares(progress, call.cancel)
        return {
            "scenes": best,
            "concepts": shares_of(shares, int(row[0]), int(index[0])),
            "captions": int(shares.attrs["scenes"]),
            "neurons": int(np.isfinite(self.study.evidence["difference"].values).sum()),
        }

    # -- long work ---------------------------------------------------------------------------

    @request("compute", stage="computing")
    def _ask_compute(self, call: Call) -> Answer:
        word = str(call.args.get("concept", "")).strip()
        if not word:
            raise bad_argument("concept", word, "a word")
        made = self._study_of(word, self._progress(), call.cancel)
        self._ablations_drop()
        self._show_study(self._with_own_pictures(made))
        return {"concept": word}

    @request("evaluate", stage="measuring")
    def _ask_evaluate(self, call: Call) -> Answer:
        self._need_scores()
        present, absent, held_out = self._test_scenes()
        found = self.study.evaluate(
            self.neurons, present, absent, progress=self._progress(), cancel=call.cancel
        )
        self._show_effect(found, len(self.kept), held_out)
        return {}

    @request("propose", stage="searching thresholds")
    def _ask_propose(self, call: Call) -> Answer:
        self._need_scores()
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
        self.stale = sorted({*self.stale, scene})
        if scene == self.scene:
            inpainted = encode_picture(self.study.pictures(scene)[1], 640)
            self._show({**mask_state(self.study, scene), "inpainted": inpainted})
            self._show({"difference_map": b"", "gradcam_map": b"", "mask": mask.tobytes()})
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

    def _need_scores(self) -> None:
        if not getattr(self.study, "scored", self.study.scenes):
            raise bad_argument(
                "study", "a picture without scores", "the object painted on it, then “compute”"
            )

    def _checked_scene(self, call: Call) -> int:
        scene = int(call.args.get("scene", self.scene) or 0)
        if not 0 <= scene < len(self.study.scenes):
            raise bad_argument("scene", scene, f"0 to {len(self.study.scenes) - 1}")
        return scene
