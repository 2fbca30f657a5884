"""What the Explorer shows, as JSON, as a folder and as one page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import bad_argument
from ._explorer_choice import Choice
from ._scene_state import PREFETCHED, scene_state

if TYPE_CHECKING:
    from .protocols import StudyLike

__all__ = ["Keeping"]

_STATE = (
    "mode",
    "threshold_d",
    "threshold_g",
    "quantile_d",
    "quantile_g",
    "axis",
    "scene",
    "overlay",
    "opacity",
    "colormap",
    "smooth",
    "signed",
    "above_percentile",
    "ablate_mode",
    "ablate_scale",
    "preset",
)


class Keeping(Choice):
    """A mixin of `Explorer`: state, saving, the page without a kernel."""

    study: StudyLike
    _ids: np.ndarray
    _submit: Callable[..., Any]

    @property
    def state(self) -> dict[str, Any]:
        """What is on screen, as JSON knows it; `Explorer(study, state=...)` shows it again."""
        found: dict[str, Any] = {name: getattr(self, name) for name in _STATE}
        found["concept"] = self.concept
        found["unchecked"] = [list(self._place(int(i))) for i in self.unchecked]
        found["rows_off"] = [list(self.rows[int(row)]) for row in self.rows_off]
        found["selected"] = list(self._place(self.selected)) if self.selected >= 0 else None
        return found

    @state.setter
    def state(self, saved: Mapping[str, Any]) -> None:
        known = {*_STATE, "concept", "unchecked", "rows_off", "selected"}
        unknown = sorted(set(saved) - known)
        if unknown:
            raise bad_argument("state", ", ".join(unknown), "the keys of Explorer.state")
        if saved.get("concept", self.concept) != self.concept:
            raise bad_argument("state", saved["concept"], f"a state of {self.concept!r}")
        with self.hold_trait_notifications():
            for name in _STATE:
                if name in saved:
                    setattr(self, name, saved[name])
            self.unchecked = sorted(self._flat(place) for place in saved.get("unchecked", []))
            rows = [tuple(row) for row in self.rows]
            self.rows_off = sorted(rows.index(tuple(row)) for row in saved.get("rows_off", []))
            chosen = saved.get("selected")
            self.selected = -1 if chosen is None else self._flat(chosen)

    def save(self, path: str | Path) -> Path:
        """Write the study and what is on screen as one folder for `Explorer.open`."""
        folder = Path(self.study.save(path))  # type: ignore[attr-defined]
        text = json.dumps(self.state, indent=1)
        (folder / "explorer.json").write_text(text + "\n", encoding="utf-8")
        return folder

    def saved_scenes(self, n: int = 24, neurons: int = 300) -> dict[int, dict[str, Any]]:
        """Return the traits of the first scenes, for a page that cannot ask the kernel.

        Parameters
        ----------
        n : int
            Scenes at most; the shown one is among them.
        neurons : int
            Maps of each scene at least; the kept neurons always have theirs.
        """
        ids = np.concatenate([self.kept, self._ids[~np.isin(self._ids, self.kept)]])
        ids = ids[: max(neurons, min(len(self.kept), PREFETCHED))]
        wanted = range(min(max(n, self.scene + 1), len(self.study.scenes)))

        def made(scene: int) -> dict[str, Any]:
            after = self.scenes[scene]["after"]
            return {**scene_state(self.study, scene, ids), "caption_after": after}

        states = self._submit(lambda: {scene: made(scene) for scene in wanted}).result()
        words = [self._word_of(int(i)) for i in ids]
        known = next((k for k, word in enumerate(words) if word is None), len(words))
        for state in states.values():
            state["words"] = words[:known]
        return states

    def saved_traits(self) -> dict[str, dict[int, dict[str, Any]]]:
        """Return what another scene brings, by trait and value, for a page without a kernel."""
        return {"scene": self.saved_scenes()}

    def _word_of(self, flat: int) -> list[str] | None:
        place = np.flatnonzero(self._ids[: len(self.words)] == flat)
        return self.words[int(place[0])] if len(place) else None
