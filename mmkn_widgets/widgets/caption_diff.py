"""Two captions, with what changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import traitlets as t

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
    ) -> None:
        super().__init__(
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
