"""What an edit did on scenes it was not made from: success, locality, side effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .._errors import bad_argument
from ..attribution.concept import Concept, as_concept

__all__ = ["EditReport", "as_targets", "caption_all", "edit_report", "without_nan"]


@dataclass(frozen=True)
class EditReport:
    """Figures of an edit; rates are 0 to 1, NaN where there was nothing to count.

    Attributes
    ----------
    source : str
        The word that was to be replaced.
    target : str
        What was to be said instead; "" for muting.
    success : float
        Of captions that named the source: those that no longer do, and name the target (if any).
    gone : float
        Of the same: those that no longer name the source.
    locality : float
        Of captions that did not name the source: those unchanged, letter for letter.
    kept_scene : float
        Of other words that captions with the source named: those still named.
    kept_other : float
        Of words that captions without the source named: those still named.
    leaked : float
        Of captions without source and target: those that now name the target.
    shortened : float
        Of all captions: those with fewer words than before.
    repeated : float
        Of successes whose caption did not name the target before: those that name it twice.
    n_with, n_without : int
        Captions that named the source, and that did not.
    n_neurons : int
        Columns changed.
    changed : tuple of (str, str)
        Pairs of captions, before and after, that changed.
    """

    source: str
    target: str
    success: float
    gone: float
    locality: float
    kept_scene: float
    kept_other: float
    leaked: float
    shortened: float
    repeated: float
    n_with: int
    n_without: int
    n_neurons: int
    changed: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; what could not be counted is None."""
        return without_nan(asdict(self))

    @classmethod
    def from_dict(cls, described: dict[str, Any]) -> EditReport:
        """Read what `to_dict` wrote."""
        values: dict[str, Any] = {k: float("nan") if v is None else v for k, v in described.items()}
        values["changed"] = tuple((str(a), str(b)) for a, b in described["changed"])
        return cls(**values)


def edit_report(
    edit: Any,
    source: Any,
    target: Any = None,
    scenes: Sequence[Any] = (),
    *,
    words: Sequence[str] | None = None,
    prompt: str | None = None,
    batch_size: int = 32,
    before: Sequence[str] | None = None,
) -> EditReport:
    """Caption scenes without and with an intervention and count what it did.

    Parameters
    ----------
    edit : Intervention
        An `Edit`, or any other intervention that should replace or mute a word.
    source, target : str or Concept
        As in `edit`; of a list of targets any counts.
    scenes : sequence of Scene
        With and without the source; not those the edit was made from.
    words : sequence of str, optional
        Categories whose naming counts as kept; by default all categories of the scenes.
    prompt : str, optional
        The captioning prompt.
    batch_size : int
        Pictures in a generation.
    before : sequence of str, optional
        The captions without any intervention, if they are known.

    Returns
    -------
    EditReport
        Also kept as ``edit.report`` when it is an `Edit`.
    """
    model = edit.model
    if not scenes:
        raise bad_argument("scenes", scenes, "scenes to measure on")
    old, new = as_concept(source), as_targets(target)
    with model.interventions.suspended():
        if before is None:
            before = caption_all(model, scenes, prompt, batch_size)
        with edit:
            after = caption_all(model, scenes, prompt, batch_size)
    known = words or sorted({category for scene in scenes for category in scene.categories})
    others = [as_concept(word) for word in known if not old.named_in(word)]
    report = _count(list(before), after, old, new, others, edit.n_neurons)
    if hasattr(edit, "report"):
        edit.report = report
    return report


def without_nan(described: dict[str, Any]) -> dict[str, Any]:
    """Return a dict with None for NaN, which JSON does not know."""
    return {k: None if isinstance(v, float) and v != v else v for k, v in described.items()}


def as_targets(target: Any) -> list[Concept]:
    """Return the words to say instead: none, one, or several."""
    if target is None:
        return []
    if isinstance(target, list | tuple):
        return [as_concept(one) for one in target]
    return [as_concept(target)]


def caption_all(model: Any, scenes: Sequence[Any], prompt: str | None, size: int) -> list[str]:
    """Caption scenes in batches, with whatever is active."""
    made: list[str] = []
    for start in range(0, len(scenes), size):
        made += model.caption([s.image for s in scenes[start : start + size]], prompt)
    return made


def _share(hits: int, of: int) -> float:
    return hits / of if of else float("nan")


def _count(
    before: list[str],
    after: list[str],
    source: Concept,
    targets: list[Concept],
    words: list[Concept],
    n_neurons: int,
) -> EditReport:
    pairs = list(zip(before, after, strict=True))
    with_source = [pair for pair in pairs if source.named_in(pair[0])]
    without = [pair for pair in pairs if not source.named_in(pair[0])]

    def says(text: str) -> bool:
        return any(target.named_in(text) for target in targets)

    gone = [pair for pair in with_source if not source.named_in(pair[1])]
    good = [pair for pair in gone if not targets or says(pair[1])]
    new_to_it = [pair for pair in without if not says(pair[0])]
    fresh = [pair for pair in good if not says(pair[0])]
    twice = sum(
        any(sum(after.lower().split().count(form) for form in t.forms) > 1 for t in targets)
        for before, after in fresh
    )
    return EditReport(
        source=source.word,
        target=" | ".join(target.word for target in targets),
        success=_share(len(good), len(with_source)),
        gone=_share(len(gone), len(with_source)),
        locality=_share(sum(a == b for a, b in without), len(without)),
        kept_scene=_kept(with_source, words),
        kept_other=_kept(without, words),
        leaked=_share(sum(says(b) for _, b in new_to_it), len(new_to_it) if targets else 0),
        shortened=_share(sum(len(b.split()) < len(a.split()) for a, b in pairs), len(pairs)),
        repeated=_share(twice, len(fresh)),
        n_with=len(with_source),
        n_without=len(without),
        n_neurons=n_neurons,
        changed=tuple(pair for pair in pairs if pair[0] != pair[1]),
    )


def _kept(pairs: list[tuple[str, str]], words: list[Concept]) -> float:
    named = [(word, b) for a, b in pairs for word in words if word.named_in(a)]
    return _share(sum(word.named_in(b) for word, b in named), len(named))
