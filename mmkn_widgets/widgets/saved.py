"""What a page without a kernel must bring along: the traits of other scenes and other neurons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..core import CancelToken, Progress
from .encode import float32_bytes

__all__ = ["Pace", "Saved", "Several", "named", "save_tokens"]

#: the tokens of so many of the kept neurons are in a saved page; a row of the table shows any
_TOKENS_OF = 64


@dataclass
class Several:
    """What the values of several traits together bring.

    Attributes
    ----------
    of : tuple of str
        The traits.
    known : dict of tuple of int to traits
    otherwise : dict
        The traits that any other values bring.
    """

    of: tuple[str, ...]
    known: dict[tuple[int, ...], dict[str, Any]] = field(default_factory=dict)
    otherwise: dict[str, Any] = field(default_factory=dict)


@dataclass
class Saved:
    """What other values of traits bring to a page without a kernel.

    Attributes
    ----------
    single : dict of str to dict of int to traits
        By trait and value, such as ``"scene"`` and 3.
    several : list of Several
    """

    single: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    several: list[Several] = field(default_factory=list)

    def page(self) -> dict[str, Any]:
        """Return it as the page reads it."""
        several = [
            {
                "of": list(one.of),
                "known": {",".join(map(str, key)): traits for key, traits in one.known.items()},
                "otherwise": one.otherwise,
            }
            for one in self.several
        ]
        return {"single": self.single, "several": several}


@dataclass
class Pace:
    """Who hears how far the saving is, and who stops it."""

    progress: Progress | None = None
    cancel: CancelToken | None = None

    def each(self, scenes: Sequence[int]) -> Iterator[int]:
        """Go through scenes."""
        for done, scene in enumerate(scenes):
            if self.cancel is not None:
                self.cancel.raise_if_cancelled()
            if self.progress is not None:
                self.progress("writing the page", done, len(scenes))
            yield scene


def named(widget: Any) -> list[tuple[int, str]]:
    """Return the chosen neuron of a widget and the kept ones, best first: flat id and name."""
    chosen = widget.selection
    first = [widget.selected] if widget.selected >= 0 else []
    ids = dict.fromkeys([*first, *(int(flat) for flat in chosen.kept)])
    return [(flat, chosen.name(flat)) for flat in ids]


class Telling(Protocol):
    """What a `Look`, or a store's, says of tokens."""

    def tokens_of(
        self, ids: np.ndarray, scene: int
    ) -> tuple[list[tuple[str, str, int]], np.ndarray]:
        """Return (text, role, step) of each token, and activations (neuron, token) there."""


def save_tokens(
    traits: dict[str, Any],
    several: Several,
    look: Telling,
    scene: int,
    neurons: Sequence[tuple[int, str]],
) -> None:
    """Add the tokens of a scene, and what neurons do along them.

    Parameters
    ----------
    traits : dict
        Of the scene; gets ``tokens``.
    several : Several
        Of scene and chosen neuron; gets the values.
    look : Telling
    scene : int
    neurons : sequence of (int, str)
        Flat ids and names, the best first; a page keeps so many.
    """
    kept = list(neurons)[:_TOKENS_OF]
    if not kept:
        return
    tokens, values = look.tokens_of(np.asarray([flat for flat, _ in kept]), scene)
    several.otherwise = {
        "token_values": b"",
        "token_label": f"this neuron's values are not saved, only those of the {len(kept)} best",
    }
    traits["tokens"] = [{"text": str(x), "role": str(r), "step": int(s)} for x, r, s in tokens]
    for (flat, name), line in zip(kept, values, strict=True):
        several.known[scene, flat] = {
            "token_values": float32_bytes(line),
            "token_label": f"activation of {name}",
        }
