"""Two captions, with what changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import traitlets as t

from ..core import bad_argument
from . import _kinds as k
from ._base import Answer, Call, Widget, bundle, request
from .traits import CaptionTraits

__all__ = ["CaptionDiff"]


class CaptionDiff(CaptionTraits, Widget):
    """Two captions, with what changed.

    Parameters
    ----------
    before, after : str
    references : sequence of str
    concept : str
        Its forms are marked.
    transplant : callable, optional
        ``transplant(index, object, cells) -> str``: the caption with an object (its name) or
        patches (cells of the token grid) in the place of a word of `before`. With it, what is
        dragged from a `PatchHeatmap` onto a word is put there.

    Attributes
    ----------
    clicked : str
        The word that was clicked last; observe it.
    """

    _esm: ClassVar[Any] = bundle("caption_diff")
    concept_forms = k.json([], "the forms of the concept's word")
    clicked = t.Unicode("", help="the word that was clicked last")

    def __init__(
        self,
        before: str = "",
        after: str = "",
        *,
        references: Sequence[str] = (),
        concept: str = "",
        concept_forms: Sequence[str] = (),
        transplant: Callable[[int, str, list[int]], str] | None = None,
    ) -> None:
        self._put = transplant
        super().__init__(
            transplants=transplant is not None,
            caption_before=before,
            caption_after=after,
            references=list(references),
            concept=concept,
            concept_forms=list(concept_forms) or ([concept] if concept else []),
        )

    @request("compute", worker=False)
    def _ask_compute(self, call: Call) -> Answer:
        self.clicked = str(call.args.get("concept", ""))
        return {}

    @request("transplant", worker=False)
    def _ask_transplant(self, call: Call) -> Answer:
        index = int(call.args.get("index", -1))
        words = self.caption_before.split()
        if self._put is None or not 0 <= index < len(words):
            raise bad_argument("word", index, f"0 to {len(words) - 1}, a word of the caption")
        name = str(call.args.get("object") or "")
        cells = [int(cell) for cell in call.args.get("cells") or ()]
        after = str(self._put(index, name, cells))
        said = after.split()[index] if index < len(after.split()) else ""
        self.caption_after = after
        self.transplanted = {
            "object": name or f"{len(cells)} patches",
            "word": words[index],
            "index": index,
            "said": said,
            "success": None,
            "layers": [],
        }
        return {"caption": after}
