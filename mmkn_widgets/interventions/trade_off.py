"""How much of a false naming an intervention cures, and what it costs where the object is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..attribution.concept import as_concept
from .report import caption_all, without_nan

__all__ = ["TradeOffPoint", "pairs_to_edit", "trade_off"]


@dataclass(frozen=True)
class TradeOffPoint:
    """One intervention's place on the trade-off curve.

    Attributes
    ----------
    name : str
        The intervention's; "none" for the model as it is.
    n_neurons : int
        Neurons that it touches.
    hallucinated : float
        Share of pictures without the object whose caption names it.
    chair : float
        Share of pictures without the object whose caption names any category that is not there
        (CHAIR_s): a cure that only says another wrong word does not lower it.
    recall : float
        Share of pictures with the object whose caption names it.
    kept : float
        Of the categories that captions named rightly before, this one apart: those still named.
    identical : float
        Share of all captions unchanged.
    """

    name: str
    n_neurons: int
    hallucinated: float
    chair: float
    recall: float
    kept: float
    identical: float

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return without_nan(asdict(self))


def trade_off(
    model: Any,
    interventions: Sequence[Any],
    concept: Any,
    absent: Sequence[Any],
    present: Sequence[Any],
    *,
    words: Sequence[str] | None = None,
    prompt: str | None = None,
    batch_size: int = 32,
) -> list[TradeOffPoint]:
    """Measure interventions against a word that is said although its object is not there.

    Parameters
    ----------
    model : MultimodalModel
        The model.
    interventions : sequence of Intervention
        Such as ablations of growing sets, or edits of growing size.
    concept : str or Concept
        The word.
    absent, present : sequence of Scene
        Pictures without the object (of a kind where it is named nevertheless), and with it.
    words : sequence of str, optional
        All categories; by default those of the scenes and the concept's.
    prompt : str, optional
        The captioning prompt.
    batch_size : int
        Pictures in a generation.

    Returns
    -------
    list of TradeOffPoint
        The model as it is first, then one for each intervention.
    """
    wanted = as_concept(concept)
    scenes = [*absent, *present]
    known = words or sorted({wanted.word, *(c for s in scenes for c in s.categories)})
    concepts = {word: as_concept(word) for word in known}

    def said(captions: Sequence[str]) -> list[set[str]]:
        return [{w for w, c in concepts.items() if c.named_in(caption)} for caption in captions]

    def false(scene: Any, named: set[str]) -> bool:
        return any(not any(concepts[w].named_in(c) for c in scene.categories) for w in named)

    def point(name: str, n_neurons: int, captions: list[str]) -> TradeOffPoint:
        named, now = [wanted.named_in(caption) for caption in captions], said(captions)
        right = [
            word in after
            for scene, old, after in zip(scenes, said(before), now, strict=True)
            for word in old
            if not wanted.named_in(word) and not false(scene, {word})
        ]
        return TradeOffPoint(
            name,
            n_neurons,
            _mean(named[: len(absent)]),
            _mean([false(s, words) for s, words in zip(absent, now, strict=False)]),
            _mean(named[len(absent) :]),
            _mean(right),
            _mean([a == b for a, b in zip(before, captions, strict=True)]),
        )

    with model.interventions.suspended():
        before = caption_all(model, scenes, prompt, batch_size)
        points = [point("none", 0, before)]
        for intervention in interventions:
            with intervention:
                captions = caption_all(model, scenes, prompt, batch_size)
            points.append(point(intervention.name, intervention.n_neurons, captions))
    return points


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else float("nan")


def pairs_to_edit(words: Sequence[str], n: int = 16, *, seed: int = 0) -> list[tuple[str, str]]:
    """Draw pairs (source, target) of different words, every word once as source first.

    Examples
    --------
    >>> pairs = pairs_to_edit(["car", "bus", "boat"], 3)
    >>> sorted(source for source, _ in pairs), all(a != b for a, b in pairs)
    (['boat', 'bus', 'car'], True)
    """
    import numpy as np

    draw = np.random.default_rng(seed)
    pairs: list[tuple[str, str]] = []
    while len(pairs) < n:
        for place in draw.permutation(len(words)):
            others = [word for word in words if word != words[place]]
            pair = (words[place], str(draw.choice(others)))
            if pair not in pairs or len(pairs) >= len(words) * (len(words) - 1):
                pairs.append(pair)
    return pairs[:n]
