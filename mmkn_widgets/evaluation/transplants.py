"""How often a transplant makes the caption name the other object, over many scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..activations import find_word
from ..attribution import scene_mask
from ..core import CancelToken, Progress, as_concept, bad_argument
from ..interventions import TransplantResult, first_said, patch_mean, transplant

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["TransplantReport", "transplant_report"]


@dataclass(frozen=True)
class TransplantReport:
    """Transplants over scenes, one for each.

    Attributes
    ----------
    success : float or None
        Share in which the next greedy word is the transplanted object's; None without transplants.
    n : int
        Number of transplants.
    per_object : dict of str to (float, int)
        Success and number for each object put in.
    results : tuple of TransplantResult
        Each of them.

    Examples
    --------
    >>> from mmkn_widgets.evaluation import transplant_report
    >>> model = mmkn.load_model("pocket")
    >>> scenes = mmkn.datasets.pocket_world("val", 2)
    >>> report = transplant_report(model, scenes, layers=[4, 5])
    >>> report.n == len(report.results) == sum(n for _, n in report.per_object.values())
    True
    """

    success: float | None
    n: int
    per_object: dict[str, tuple[float, int]]
    results: tuple[TransplantResult, ...] = field(repr=False, default=())

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def transplant_report(
    model: MultimodalModel,
    scenes: Sequence[Any],
    *,
    donors: str = "other",
    patches: str = "object",
    neurons: Any = None,
    layers: Sequence[int] | None = None,
    threshold: float = 0.4,
    prompt: str | None = None,
    seed: int = 0,
    batch_size: int = 32,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> TransplantReport:
    """Transplant one object into each scene's caption, at the place of one of its own words.

    For each scene a category that its caption names is drawn, and the object to put there.

    Parameters
    ----------
    model : MultimodalModel
        The model.
    scenes : sequence of Scene
        With masks.
    donors : {"other", "same"}
        The object comes from another scene (of a category the picture does not show), or is
        another object of the same picture (scenes with one object are left out).
    patches : {"object", "background"}
        What is put there: the object's patches, or as a control those of the same picture that no
        object's mask covers.
    neurons, layers, threshold, prompt
        As in `transplant_object`; on the pocket model layers 4 and 5.
    seed : int
        Draws words and donors.
    batch_size : int
        Pictures in a generation.
    progress, cancel : optional
        Told and asked at every batch.

    Returns
    -------
    TransplantReport

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> scenes = mmkn.datasets.pocket_world("val", 4)
    >>> transplant_report(model, scenes, layers=[4, 5]).success
    1.0
    """
    if donors not in ("other", "same"):
        raise bad_argument("donors", donors, "'other' or 'same'")
    if patches not in ("object", "background"):
        raise bad_argument("patches", patches, "'object' or 'background'")
    draw = np.random.default_rng(seed)
    results: list[TransplantResult] = []
    with model.interventions.suspended():
        for start in range(0, len(scenes), batch_size):
            if cancel is not None:
                cancel.raise_if_cancelled()
            group = list(scenes[start : start + batch_size])
            results += _batch(
                model, group, scenes, donors, patches, draw, neurons, layers, threshold, prompt
            )
            if progress is not None:
                progress("transplanting", min(start + batch_size, len(scenes)), len(scenes))
    tried: dict[str, list[bool]] = {}
    for one in results:
        tried.setdefault(one.object, []).append(bool(one.success))
    return TransplantReport(
        float(np.mean([one.success for one in results])) if results else None,
        len(results),
        {word: (float(np.mean(hits)), len(hits)) for word, hits in sorted(tried.items())},
        tuple(results),
    )


def _batch(
    model: MultimodalModel,
    group: list[Any],
    scenes: Sequence[Any],
    donors: str,
    patches: str,
    draw: np.random.Generator,
    neurons: Any,
    layers: Sequence[int] | None,
    threshold: float,
    prompt: str | None,
) -> list[TransplantResult]:
    written = model.generate(model.prepare([s.image for s in group], prompt))
    plans: list[tuple[Any, int, str, str, Any, int]] = []
    for number, scene in enumerate(group):
        ids = written.token_ids[number]
        named = [c for c in scene.categories if find_word(model, ids, as_concept(c)) is not None]
        if not named:
            continue
        word = str(draw.choice(named))
        donor, other = _donor(scene, word, scenes, donors, draw)
        if donor is not None:
            place = find_word(model, ids, as_concept(word))
            assert place is not None
            plans.append((scene, number, word, other, donor, place))
    if not plans:
        return []
    values = patch_mean(
        model,
        [donor.image for *_, donor, _ in plans],
        [_patches(donor, other, patches) for _, _, _, other, donor, _ in plans],
        prompt,
        threshold=threshold,
    )
    prepared = model.prepare([scene.image for scene, *_ in plans], prompt)
    places = [n + plan[5] - 1 for n, plan in zip(prepared.prompt_lengths, plans, strict=True)]
    put = transplant(model, values, neurons, layers=layers, positions=places)
    with put:
        after = model.generate(prepared)
    made = []
    for row, (_, number, word, other, _, start) in enumerate(plans):
        said, right = first_said(model.decode(after.token_ids[row][start:]), other)
        made.append(
            TransplantResult(
                written.texts[number],
                after.texts[row],
                word,
                other,
                places[row],
                said,
                right,
                len(model.decode(written.token_ids[number][:start]).split()),
                put.layers,
            )
        )
    return made


def _patches(donor: Any, other: str, patches: str) -> np.ndarray:
    if patches == "object":
        return scene_mask(donor, as_concept(other))
    nothing: np.ndarray = ~np.logical_or.reduce([donor.mask(one) for one in donor.masked])
    return nothing


def _donor(
    scene: Any, word: str, scenes: Sequence[Any], donors: str, draw: np.random.Generator
) -> tuple[Any, str]:
    """Return a scene and its category to put in place of the word, or (None, "")."""
    if donors == "same":
        others = [category for category in scene.categories if category != word]
        return (scene, str(draw.choice(others))) if others else (None, "")
    for at in draw.permutation(len(scenes)):
        fresh = [c for c in scenes[int(at)].categories if c not in scene.categories]
        if fresh:
            return scenes[int(at)], str(draw.choice(fresh))
    return None, ""
