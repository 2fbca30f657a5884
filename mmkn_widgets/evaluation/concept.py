"""How much of a concept has gone from captions, and how much of everything else has stayed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ..core import as_vocabulary, bad_argument, names

__all__ = ["chair", "identical", "kept_counts", "retention", "substitution", "suppression"]


def _same_length(**lists: Sequence[Any]) -> None:
    (first, reference), *rest = lists.items()
    for name, other in rest:
        if len(other) != len(reference):
            raise bad_argument(
                name, f"{len(other)} entries", f"as many as {first}: {len(reference)}"
            )


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def suppression(before: Sequence[str], after: Sequence[str], concept: Any) -> float | None:
    """Return the share of captions that named the concept and no longer do.

    ``1 - (captions after that name any form) / (captions before that name it)``, over the captions
    that named it before.

    Parameters
    ----------
    before, after : sequence of str
        Captions of the same pictures without and with the intervention; may be empty strings.
    concept : str, Concept or list of str

    Returns
    -------
    float or None
        Between 0 and 1; None when no caption named it before.

    Examples
    --------
    >>> suppression(["a dog", "two dogs", "a cat"], ["a cat", "a dog", ""], ["dog", "dogs"])
    0.5
    """
    _same_length(before=before, after=after)
    named = [b for a, b in zip(before, after, strict=True) if names(a, concept)]
    if not named:
        return None
    return 1 - sum(names(text, concept) for text in named) / len(named)


def kept_counts(
    before: Sequence[str], after: Sequence[str], vocabulary: Any, leave_out: Any = None
) -> list[tuple[int, int]]:
    """Return for each picture how many categories are still named, and how many were before.

    Parameters
    ----------
    before, after : sequence of str
    vocabulary : mapping or sequence
        See `as_vocabulary`.
    leave_out : str, Concept or list of str, optional
        A concept whose categories do not count.
    """
    _same_length(before=before, after=after)
    known = as_vocabulary(vocabulary)
    if leave_out is not None:
        known = known.without(leave_out)
    counts = []
    for first, second in zip(before, after, strict=True):
        there = known.named(first)
        counts.append((len(there & known.named(second)), len(there)))
    return counts


def retention(
    before_with: Sequence[str],
    after_with: Sequence[str],
    before_without: Sequence[str],
    after_without: Sequence[str],
    concept: Any,
    vocabulary: Any,
) -> dict[str, float | None]:
    """Return how many of the other objects named before are still named.

    Parameters
    ----------
    before_with, after_with : sequence of str
        Captions of pictures that show the concept, without and with the intervention.
    before_without, after_without : sequence of str
        Captions of pictures that do not show it; may be empty lists.
    concept : str, Concept or list of str
    vocabulary : mapping or sequence
        The categories that count: category -> forms, or words; see `as_vocabulary`.

    Returns
    -------
    dict
        ``scene``: other categories on pictures with the concept; ``other``: all categories on
        pictures without it; ``headline``: the smaller of the two. None where nothing was named
        before.

    Examples
    --------
    >>> retention(["a dog and a cat"], ["a cat"], ["a car"], ["a bus"], ["dog"],
    ...           {c: [c] for c in ("dog", "cat", "car", "bus")})
    {'scene': 1.0, 'other': 0.0, 'headline': 0.0}
    """
    known = as_vocabulary(vocabulary)
    scene = kept_counts(before_with, after_with, known, concept)
    other = kept_counts(before_without, after_without, known)
    found = {
        "scene": _share(sum(k for k, _ in scene), sum(n for _, n in scene)),
        "other": _share(sum(k for k, _ in other), sum(n for _, n in other)),
    }
    defined = [value for value in found.values() if value is not None]
    return {**found, "headline": min(defined, default=None)}


def identical(before: Sequence[str], after: Sequence[str]) -> float | None:
    """Return the share of captions that have not changed; None when there are none.

    Parameters
    ----------
    before, after : sequence of str
        Captions of the same pictures.

    Examples
    --------
    >>> identical(["a dog", "a cat"], ["a dog", "a cup"])
    0.5
    """
    _same_length(before=before, after=after)
    return _share(sum(a == b for a, b in zip(before, after, strict=True)), len(before))


def substitution(
    after: Sequence[str],
    present: Sequence[Collection[str]],
    vocabulary: Any,
    before: Sequence[str] | None = None,
) -> float | None:
    """Return the share of captions that name an object that is not there.

    Parameters
    ----------
    after : sequence of str
        Captions with the intervention.
    present : sequence of collection of str
        The categories on each picture.
    vocabulary : mapping or sequence
        See `as_vocabulary`.
    before : sequence of str, optional
        Captions without the intervention: what they named already does not count.

    Returns
    -------
    float or None
        None when there are no captions.

    Examples
    --------
    >>> forms = {"car": ["car"], "bus": ["bus"]}
    >>> substitution(["a bus", "a tree"], [["car"], ["car"]], forms)
    0.5
    """
    _same_length(after=after, present=present)
    if before is not None:
        _same_length(after=after, before=before)
    known = as_vocabulary(vocabulary)
    wrong = 0
    for number, (text, there) in enumerate(zip(after, present, strict=True)):
        new = known.named(text) - set(there)
        wrong += bool(new - known.named(before[number]) if before is not None else new)
    return _share(wrong, len(after))


def chair(
    captions: Sequence[str], present: Sequence[Collection[str]], vocabulary: Any
) -> dict[str, float | None]:
    """Return CHAIR, the share of hallucinated objects (Rohrbach et al. 2018).

    Parameters
    ----------
    captions : sequence of str
    present : sequence of collection of str
        The categories on each picture.
    vocabulary : mapping or sequence
        See `as_vocabulary`.

    Returns
    -------
    dict
        ``chair_s``: captions with a hallucinated object / captions; ``chair_i``: mentions of
        objects that are not there / mentions of objects; ``recall``: categories on the pictures
        that are named / categories on the pictures. None where there is nothing to divide by.

    Examples
    --------
    >>> chair(["a dog and a cat", "a dog"], [["dog"], ["dog"]], {"dog": ["dog"], "cat": ["cat"]})
    {'chair_s': 0.5, 'chair_i': 0.3333333333333333, 'recall': 1.0}
    """
    _same_length(captions=captions, present=present)
    known = as_vocabulary(vocabulary)
    sentences = mentioned = hallucinated = there = found = 0
    for text, categories in zip(captions, present, strict=True):
        said = known.mentions(text)
        wrong = [category for category in said if category not in categories]
        sentences += bool(wrong)
        mentioned += len(said)
        hallucinated += len(wrong)
        shown = set(categories) & set(known.categories)
        there += len(shown)
        found += len(shown & set(said))
    return {
        "chair_s": _share(sentences, len(captions)),
        "chair_i": _share(hallucinated, mentioned),
        "recall": _share(found, there),
    }
