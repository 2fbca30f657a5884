"""What the page does to the model: ablation, transplant, undo, redo, and the caption after."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import bad_argument
from ._ablation import Move, Snapshot
from ._base import Answer, Call, Widget, request
from ._encode import int32_array
from ._explorer_choice import Choice
from ._measured import measured_state, nothing_measured
from ._scene_state import patch_mask

if TYPE_CHECKING:
    from ._ablation import Ablations
    from .protocols import StudyLike

__all__ = ["Changes"]


class Changes(Choice, Widget):
    """The requests that change what the model writes."""

    study: StudyLike
    _ablations: Ablations
    _quietly: Callable[[Callable[[], Any]], None]
    _set_line: Callable[..., None]
    _checked_scene: Callable[[Call], int]

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

    @request("transplant", stage="writing the caption")
    def _ask_transplant(self, call: Call) -> Answer:
        move = self._move_of(
            self._checked_scene(call),
            int(call.args.get("index", -1)),
            str(call.args.get("object") or ""),
            call.args.get("cells") or (),
        )
        return self._transplant(move, call)

    def _move_of(self, scene: int, index: int, object: str, cells: Iterable[int]) -> Move:
        words = self.study.caption(scene).split()
        if not 0 <= index < len(words):
            raise bad_argument("word", index, f"0 to {len(words) - 1}, a word of the caption")
        chosen = self.study.scenes[scene]
        patches = sorted({int(cell) for cell in cells})
        if object:
            mask, what = chosen.mask(object), object
        else:
            grid = (int(self.grid["rows"]), int(self.grid["cols"]))
            mask = patch_mask(patches, grid, chosen.image.size)
            what = f"{len(patches)} patch" + ("es" if len(patches) != 1 else "")
        label = f"{what} → “{words[index].strip('.,')}”, scene {scene + 1} only"
        return Move(scene, index, object, mask, label)

    def _transplant(self, move: Move, call: Call | None) -> Answer:
        shown = {"caption_after": self.caption_after, "transplanted": self.transplanted}
        self._quietly(lambda: self._ablations.set(move, {}))
        try:
            return self._after_change(call)
        except BaseException:
            self._quietly(lambda: self._ablations.fail(self._references()))
            self._show_active()
            self._show(shown)
            raise

    def _references(self, mode: str = "") -> dict[str, Any]:
        """Return what the modes "mean" and "from_inpainted" need."""
        found: dict[str, Any] = {}
        if "activation" in self.study.evidence:
            found["mean"] = np.nan_to_num(self.study.evidence["activation"].values)
        if mode == "from_inpainted" and not self.study.has_pair(self.scene):
            word = self.concept
            raise bad_argument("mode", mode, f"a scene with a mask of {word!r}: paint it first")
        if mode in ("", "from_inpainted"):
            found["from_inpainted"] = self.study.pictures(self.scene)[1]
        return found

    # -- the caption after -------------------------------------------------------------------

    def _after_change(self, call: Call | None = None) -> Answer:
        """Caption the shown scene with what is active now, and show what that is."""
        self._show_active()
        scene = self.scene
        self.caption_after = ""
        written = self._written(scene, call)
        if scene == self.scene:
            self._show(written)
        self._later(self._measure)
        return {"caption": written["caption_after"]}

    def _written(self, scene: int, call: Call | None) -> dict[str, Any]:
        """Write a scene's caption with what is active; return the traits that show it."""
        model, now, found = self.study.model, self._ablations.now, None
        options: dict[str, Any] = {}
        if call is not None:
            options = {
                "on_token": lambda piece, *row: self._stream(call, str(piece)),
                "cancel": call.cancel,
            }
        text = ""
        if isinstance(now, Move) and now.scene == scene:
            made = self.study.transplant(scene, now.index, now.mask, object=now.object, **options)
            text = str(made.after)
            found = {
                "object": now.object or now.label.split(" →")[0],
                "word": str(made.word),
                "index": int(made.index),
                "said": str(made.said),
                "success": made.success,
                "layers": [int(layer) for layer in made.layers],
            }
        elif model.interventions.active:
            prompt = self.study.options.get("prompt")
            text = str(model.caption(self.study.scenes[scene].image, prompt, **options))
        self._set_line(scene, after=text)
        return {"caption_after": text, "transplanted": found}

    def _show(self, values: dict[str, Any]) -> None:
        with self.hold_sync():
            for name, value in values.items():
                setattr(self, name, value)

    # -- what is active, and what it did -----------------------------------------------------

    def _show_active(self) -> None:
        self.ablation = {**self._ablations.state(), **nothing_measured()}

    def _measure(self) -> None:
        """Measure what is active on the shown scene, beside what was predicted."""
        scene, active = self.scene, self.study.model.interventions.active
        found = measured_state(self.study, self._ablations.now, scene)
        if scene == self.scene and active == self.study.model.interventions.active:
            self.ablation = {**self._ablations.state(), **found}

    # -- from Python -------------------------------------------------------------------------

    def ablate(self, mode: str | None = None, scale: float | None = None) -> str:
        """Ablate the kept neurons, as the button does; return the caption after."""
        mode = self.ablate_mode if mode is None else mode
        scale = self.ablate_scale if scale is None else scale
        self._submit(lambda: self._ablate(self.kept, mode, scale, None)).result()
        return self.caption_after

    def transplant(
        self, word: str | int, object: str | None = None, *, patches: Sequence[int] = ()
    ) -> str:
        """Put an object or patches of the shown picture in the place of a word of its caption.

        Parameters
        ----------
        word : str or int
            A word of `caption_before`, or its place there, from 0.
        object : str, optional
            An object of the shown scene; its patches.
        patches : sequence of int
            Instead of an object: cells of the token grid, ``row * columns + column``.

        Returns
        -------
        str
            The caption after; `transplanted` says what became of the word.
        """
        words = [part.strip(".,;").lower() for part in self.caption_before.split()]
        if isinstance(word, str) and word.lower() not in words:
            raise bad_argument("word", word, f"a word of the caption {self.caption_before!r}")
        index = words.index(word.lower()) if isinstance(word, str) else int(word)

        def put() -> None:
            self._transplant(self._move_of(self.scene, index, object or "", patches), None)

        self._submit(put).result()
        return self.caption_after

    def restore(self) -> None:
        """Take back everything that is active on the model, as the button does."""

        def clear() -> None:
            self._ablations.set(None, {})
            self.study.model.interventions.clear()

        self._quietly(clear)
        self._submit(self._after_change).result()
