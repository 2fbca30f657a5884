"""The Explorer's dealings with its study: another concept, test scenes, masks, measured points."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import NotSupported, bad_argument
from ._encode import float32_bytes

if TYPE_CHECKING:
    from .protocols import StudyLike

__all__ = ["StudyWork"]

_MOST_MARKS = 40
_OTHER_SCENES = 24


class StudyWork:
    """A mixin of `Explorer`: what needs the study but not the page."""

    study: StudyLike
    _given_test: tuple[Sequence[Any], Sequence[Any]] | None
    _restudy: Any
    _width: int
    rows: Any

    # -- another concept ---------------------------------------------------------------------

    def _study_of(self, word: str, progress: Any, cancel: Any) -> Any:
        started = time.monotonic()
        if self._restudy is not None:
            made = self._restudy(word, progress=progress, cancel=cancel)
        else:
            from ..studies import study

            old = self.study
            made = study(
                old.model,
                word,
                self._scenes_of(word),
                inpainter=old._pairs,  # type: ignore[attr-defined]
                progress=progress,
                cancel=cancel,
                **old.options,
            )
        self._seconds: float | None = time.monotonic() - started
        return made

    def _scenes_of(self, word: str) -> list[Any]:
        """Return the scenes that show another concept: the study's own, else of its data set.

        Pictures of one's own on which it was painted come with them.
        """
        from ..attribution import as_concept, has_scene_mask

        concept = as_concept(word)
        scored = len(getattr(self.study, "scored", self.study.scenes))
        base, added = self.study.scenes[:scored], self.study.scenes[scored:]

        def showing(scenes: Sequence[Any]) -> list[Any]:
            return [scene for scene in scenes if has_scene_mask(scene, concept)]

        here, mine = showing(base), showing(added)
        if len(here) == len(base):
            return here + mine
        data = self._data()
        if data is not None and concept.word in data.categories:
            found = list(data.with_concept(concept.word, len(base)))
            if found:
                return found + mine
        if not here and not mine:
            known = sorted({c for scene in self.study.scenes for c in scene.categories})
            offered = ", ".join(data.categories if data is not None else known)
            raise bad_argument("concept", word, f"an object that the scenes show: {offered}")
        return here + mine

    def _data(self) -> Any:
        """Return the one data set that the scenes come from, or None."""
        sources = {str(getattr(scene, "source", "")) for scene in self.study.scenes} - {"own"}
        source = sources.pop() if len(sources) == 1 else ""
        if not source.startswith(("pocket:", "coco:", "folder:")):
            return None
        from ..datasets import open_dataset

        return open_dataset(source)

    def _concept_state(self, study: StudyLike) -> dict[str, Any]:
        concept, model = study.concept, study.model
        word = str(getattr(concept, "word", concept))
        forms = getattr(concept, "forms", (word,))
        tokenizer = getattr(model, "tokenizer", None)
        tokens: list[str] = []
        if tokenizer is not None and hasattr(tokenizer, "tokenize"):
            tokens = [str(piece) for piece in tokenizer.tokenize(" " + word)]
        shown = {c for scene in study.scenes for c in getattr(scene, "categories", ())}
        self.study = study
        data = self._data()
        offered = data.categories if data is not None else sorted(shown)
        pairs = getattr(study, "_pairs", None)
        return {
            "concept": word,
            "concept_forms": [str(form) for form in dict.fromkeys((word, *forms))],
            "concept_tokens": tokens,
            "concepts": [str(name) for name in offered],
            "facts": {
                "model": str(model.name),
                "layers": int(model.n_layers),
                "neurons": int(model.n_neurons),
                "device": str(model.device),
                "scenes": len(getattr(study, "scored", study.scenes)),
                "seconds": getattr(self, "_seconds", None),
                "inpainter": str(getattr(pairs, "name", "")),
            },
        }

    # -- measuring ---------------------------------------------------------------------------

    def _test_scenes(self) -> tuple[Sequence[Any], Sequence[Any], bool]:
        if self._given_test is not None:
            return self._given_test[0], self._given_test[1], True
        data = self._data()
        word = str(getattr(self.study.concept, "word", self.study.concept))
        absent: Sequence[Any] = ()
        if data is not None and word in data.categories:
            absent = list(data.without_concept(word, _OTHER_SCENES))
        return list(getattr(self.study, "scored", self.study.scenes)), absent, False

    def _show_effect(self, found: Any, neurons: int, held_out: bool) -> None:
        def measure(value: Any, random: Any = None) -> dict[str, Any]:
            return {"value": float(value), "random": None if random is None else float(random)}

        measures: dict[str, Any] = {}
        if found.suppression is not None:
            measures["suppression"] = measure(found.suppression, found.random_control.get("mean"))
        if found.retention.get("headline") is not None:
            measures["retention"] = measure(found.retention["headline"])
        between = (found.bleu or {}).get("with", {}).get("between")
        if between is not None:
            measures["bleu"] = measure(between)
        self.effect = {
            "measures": measures,
            "neurons": int(neurons),
            "scenes": int(sum(found.n_scenes.get(key, 0) for key in ("with", "without"))),
            "held_out": held_out,
        }

    def _show_search(self, found: Any) -> None:
        points = found.points
        least = np.minimum(points["retention"].values, points["suppression"].values)
        order = dict.fromkeys([*found.frontier, *np.argsort(-least)])
        marks = []
        for k in list(order)[:_MOST_MARKS]:
            one = {name: float(points[name][k]) for name in ("threshold_d", "threshold_g")}
            kept, gone = float(points["retention"][k]), float(points["suppression"][k])
            random = float(points["random_control"][k]) if "random_control" in points else np.nan
            marks.append(
                {
                    **one,
                    "count": int(points["neurons"][k]),
                    "suppression": gone if np.isfinite(gone) else 0.0,
                    "retention": kept if np.isfinite(kept) else 0.0,
                    "random": random if np.isfinite(random) else None,
                }
            )
        self.marks = marks
        self.mode = "absolute"
        self.threshold_d, self.threshold_g = found.threshold_d, found.threshold_g

    # -- masks -------------------------------------------------------------------------------

    def _repaint(self, scene: int, mask: np.ndarray) -> None:
        """Inpaint with a mask painted by hand, and keep it as this scene's pair.

        On a scene of the study only the pair changes; on a picture of one's own the mask becomes
        its object.
        """
        from PIL import Image

        chosen, pairs = self.study.scenes[scene], getattr(self.study, "_pairs", None)
        if pairs is None:
            raise NotSupported("this study keeps no pairs: its pictures cannot be painted again")
        picture = Image.fromarray(mask.astype(np.uint8) * 255)
        full = np.asarray(picture.resize(chosen.image.size, Image.Resampling.NEAREST)) > 127
        from ..attribution import scene_mask

        if scene < len(getattr(self.study, "scored", self.study.scenes)):
            painted = pairs.inpainter(chosen.image, full, chosen)
            pairs.keep(chosen, scene_mask(chosen, self.study.concept), painted)
            return
        self.study = self.study.with_scene(_painted_on(chosen, self.study.concept, full), scene)
        self.study.pictures(scene)

    # -- other words -------------------------------------------------------------------------

    def _shares(self, progress: Any, cancel: Any) -> Any:
        """Return what every neuron adds to every word that captions name; computed once."""
        known = getattr(self, "_known_shares", None)
        if known is not None and known[0] is self.study.evidence:
            return known[1]
        data = self._data()
        word = str(getattr(self.study.concept, "word", self.study.concept))
        others: Sequence[Any] = ()
        if data is not None and word in data.categories:
            others = list(data.without_concept(word, _OTHER_SCENES))
        words = () if data is None else tuple(data.categories)
        made = self.study.word_shares(others, words, progress=progress, cancel=cancel)
        self._known_shares = (self.study.evidence, made)
        return made

    # -- the chosen neuron along the tokens --------------------------------------------------

    def _show_tokens(self, flat: int, scene: int) -> None:
        sequence = getattr(self.study, "tokens", None)
        if not callable(sequence):
            return
        row, index = flat // self._width, flat % self._width
        tokens, values = sequence(scene, row, index)
        self.tokens = [
            {"text": str(text), "role": str(role), "step": int(step)} for text, role, step in tokens
        ]
        self.token_values = float32_bytes(values)
        layer, expert = self.rows[row]
        place = f"L{layer}·{index}" if expert < 0 else f"L{layer}·E{expert}·{index}"
        self.token_label = f"activation of {place}"


def _painted_on(scene: Any, concept: Any, mask: np.ndarray) -> Any:
    """Return a scene on which a mask says where the concept is."""
    from ..datasets import ObjectInstance, Scene

    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = float(columns[0]), float(rows[0])
    box = (x, y, float(columns[-1] + 1 - x), float(rows[-1] + 1 - y))
    others = [item for item in scene.objects if not concept.named_in(item.category)]
    objects = [*others, ObjectInstance(concept.word, mask, box)]
    return Scene(scene.id, scene.image, scene.captions, objects, source=scene.source)
