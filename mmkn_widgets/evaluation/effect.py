"""Everything that section "what the neurons do" reports, measured in one call."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import bad_argument
from .._jobs import CancelToken, Progress
from .._provenance import provenance
from ..attribution import as_concept
from ..datasets import as_scenes
from .captioning import Captioner
from .coco_words import coco_vocabulary
from .compare import METRICS, defined, intervals, text_metrics
from .concept import identical, retention, substitution, suppression
from .effect_text import describe_effect
from .naming import as_vocabulary, names
from .statistics import random_control

if TYPE_CHECKING:
    from ..datasets import Scene

__all__ = ["Effect", "measure_effect"]

#: scenes that are taken of a data set which is only named
_MEASURING = 100


@dataclass(frozen=True, repr=False)
class Effect:
    """What happens to captions when neurons are switched off; undefined figures are None.

    Attributes
    ----------
    suppression : float or None
        See `suppression`; over the scenes whose caption named the concept before.
    retention : dict
        ``scene``, ``other`` and ``headline``; see `retention`.
    identical : float or None
        Share of unchanged captions, on scenes without the concept (on those with it, if there are
        no others).
    substitution : float or None
        Share of captions of scenes with the concept that newly name an object that is not there.
    bleu, rougeL, bertscore : dict
        ``{"with": {...}, "without": {...}}`` for scenes with and without the concept; each holds
        ``before`` and ``after`` (against the reference captions) and ``between`` (the caption
        after against the one before). Empty when not asked for.
    random_control : dict
        ``mean`` and ``max`` suppression over seeded draws of as many neurons with the same layer
        histogram, ``uniform_mean`` over draws from all layers, ``n`` and ``n_uniform`` draws.
    n_scenes : dict
        ``with``, ``without`` the concept, and ``named``: with it and naming it before.
    ci : dict
        95% bootstrap intervals over scenes: suppression, retention_scene, retention_other,
        identical.
    captions_before, captions_after : tuple of str
        Of the scenes with the concept, then of those without.
    provenance : dict
    """

    suppression: float | None
    retention: dict[str, float | None]
    identical: float | None
    substitution: float | None
    random_control: dict[str, Any]
    n_scenes: dict[str, int]
    bleu: dict[str, dict[str, float | None]] = field(default_factory=dict)
    rougeL: dict[str, dict[str, float | None]] = field(default_factory=dict)  # noqa: N815
    bertscore: dict[str, Any] = field(default_factory=dict)
    ci: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    captions_before: tuple[str, ...] = ()
    captions_after: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return describe_effect(self)

    def to_dict(self, *, captions: bool = False) -> dict[str, Any]:
        """Return everything as JSON knows it; captions only when asked for."""
        found: dict[str, Any] = {
            "suppression": self.suppression,
            "retention": dict(self.retention),
            "identical": self.identical,
            "substitution": self.substitution,
            "bleu": self.bleu,
            "rougeL": self.rougeL,
            "bertscore": self.bertscore,
            "random_control": dict(self.random_control),
            "n_scenes": dict(self.n_scenes),
            "ci": {name: list(pair) for name, pair in self.ci.items()},
            "provenance": self.provenance,
        }
        if captions:
            found["captions_before"] = list(self.captions_before)
            found["captions_after"] = list(self.captions_after)
        return found


def measure_effect(
    model: Any,
    neurons: Any,
    with_scenes: Any,
    without_scenes: Any = (),
    concept: Any = None,
    *,
    vocabulary: Any = None,
    n_random: int = 20,
    seed: int = 0,
    metrics: Sequence[str] = ("bleu", "rougeL"),
    bertscore: str | Path | None = None,
    before: MutableMapping[Any, str] | None = None,
    drawn: MutableMapping[Any, bool] | None = None,
    prompt: str | None = None,
    max_new_tokens: int | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> Effect:
    """Caption scenes without and with a neuron set switched off, and compare.

    Captions are greedy. Neurons are zeroed at all positions and all generation steps, in a clean
    scope: what is active on the model plays no part and stays as it is.

    Parameters
    ----------
    model : MultimodalModel
    neurons : NeuronSet
        May be empty.
    with_scenes, without_scenes : sequence of Scene, or what stands for them
        Scenes that show the concept, and scenes that do not; pictures, whose other objects are
        then not known; or a data set's name, of which the first 100 such scenes are taken. See
        `mmkn_widgets.datasets.as_scenes`. Masks are not needed.
    concept : str, Concept or list of str
    vocabulary : mapping or sequence, optional
        The categories that retention and substitution look for (see `as_vocabulary`); by default
        all categories of the data sets, or of the scenes if they are given as lists;
        for COCO with synonyms (`coco_vocabulary`).
    n_random : int
        Draws of the random control with the same layer histogram (a quarter as many uniform ones
        beside); 0 for none.
    seed : int
        Of the draws and of the bootstrap.
    metrics : sequence of {"bleu", "rougeL", "bertscore"}
    bertscore : str or path, optional
        The encoder of BERTScore; given, BERTScore is among the metrics.
    before : mutable mapping, optional
        Captions before, kept between calls: pass the same (at first empty) dict to each.
    drawn : mutable mapping, optional
        The same for the random control, of which equal draws are measured once.
    prompt, max_new_tokens
        As in ``model.caption``.
    batch_size : int, optional
        Rows of one generation.
    progress, cancel : optional

    Returns
    -------
    Effect

    Raises
    ------
    BadArgument
        If there is no scene with the concept, no concept, or an unknown metric.
    Cancelled
        If `cancel` was called; nothing stays changed.
    """
    if concept is None:
        raise bad_argument("concept", None, "a word or a Concept")
    wanted = as_concept(concept) if isinstance(concept, str | list | tuple) else concept
    with_scenes, without_scenes = (
        as_scenes(given, wanted, name=name, masks=False, shows=shows, n=_MEASURING)
        for name, given, shows in (
            ("with_scenes", with_scenes, True),
            ("without_scenes", without_scenes, False),
        )
    )
    present, absent = list(with_scenes), list(without_scenes)
    if not present:
        raise bad_argument("with_scenes", [], "at least one scene that shows the concept")
    for metric in metrics:
        if metric not in METRICS:
            raise bad_argument("metrics", metric, "one of " + ", ".join(METRICS))
    if n_random < 0:
        raise bad_argument("n_random", n_random, "0 or more")
    if isinstance(concept, str):
        concept = as_concept(concept)
    scenes, split = present + absent, len(present)
    if vocabulary is None:
        named_by_data = [c for part in (with_scenes, without_scenes) for c in _categories(part)]
        vocabulary = list(dict.fromkeys(named_by_data))
        if all(scene.source.startswith("coco:") for scene in scenes):
            vocabulary = coco_vocabulary(vocabulary)
    known = as_vocabulary(vocabulary)
    writer = Captioner(
        model, prompt, max_new_tokens=max_new_tokens, batch_size=batch_size, cancel=cancel
    )
    first = writer.before(scenes, before, progress)
    then = writer.after(scenes, neurons, progress) if len(neurons) else list(first)
    kept = retention(first[:split], then[:split], first[split:], then[split:], concept, known)
    same = slice(split, None) if absent else slice(None)
    named = [pair for pair in zip(present, first, strict=False) if names(pair[1], concept)]
    wanted = tuple(dict.fromkeys([*metrics, *(["bertscore"] if bertscore is not None else [])]))
    scored = text_metrics(wanted, scenes, first, then, split, bertscore)
    return Effect(
        suppression=defined(suppression(first[:split], then[:split], concept)),
        retention={name: defined(value) for name, value in kept.items()},
        identical=defined(identical(first[same], then[same])),
        substitution=defined(
            substitution(
                then[:split], [s.categories for s in present], known.without(concept), first[:split]
            )
        ),
        random_control=_control(writer, neurons, named, concept, n_random, seed, progress, drawn),
        n_scenes={"with": split, "without": len(absent), "named": len(named)},
        **scored,
        ci=intervals(first, then, split, same, concept, known, seed),
        captions_before=tuple(first),
        captions_after=tuple(then),
        provenance=provenance(
            "measure_effect",
            model=model.name,
            weights=model.weights_hash,
            concept=getattr(concept, "word", concept),
            neurons=len(neurons),
            categories=known.categories,
            n_random=n_random,
            seed=seed,
            metrics=wanted,
            bertscore=bertscore,
            prompt=prompt,
            with_scenes=[f"{s.source}/{s.id}" for s in present],
            without_scenes=[f"{s.source}/{s.id}" for s in absent],
        ),
    )


def _categories(scenes: Sequence[Scene]) -> Sequence[str]:
    """Return the data set's categories, or all those of the scenes."""
    whole = getattr(scenes, "categories", None)
    return [c for scene in scenes for c in scene.categories] if whole is None else list(whole)


def _control(
    writer: Captioner,
    neurons: Any,
    named: Sequence[tuple[Scene, str]],
    concept: Any,
    n_random: int,
    seed: int,
    progress: Progress | None,
    known: MutableMapping[Any, bool] | None,
) -> dict[str, Any]:
    """Suppress with random neurons, on the scenes whose caption named the concept."""
    drawn: list[list[float]] = []
    uniform = -(-n_random // 4)
    for kind, count in (("like", n_random), ("uniform", uniform)):
        if not len(neurons) or not named:
            drawn.append([0.0] * count if named else [])
            continue
        sets = _draws(kind, neurons, writer.model, count, seed)
        scenes, captions = zip(*named, strict=True)
        stage = f"random control ({kind})"
        still = writer.named_under(scenes, captions, sets, concept, progress, stage, known)
        drawn.append([1 - sum(part) / len(part) for part in still])
    like, even = random_control(drawn[0]), random_control(drawn[1])
    return {
        "mean": defined(like["mean"]),
        "max": defined(like["max"]),
        "n": like["n"],
        "uniform_mean": defined(even["mean"]),
        "n_uniform": even["n"],
    }


def _draws(kind: str, neurons: Any, model: Any, count: int, seed: int) -> list[Any]:
    from ..attribution import random_like, random_uniform

    if kind == "like":
        return [random_like(neurons, model, seed + number) for number in range(count)]
    return [random_uniform(len(neurons), model, seed + number) for number in range(count)]
