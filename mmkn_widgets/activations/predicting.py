"""Where a model predicts a concept: the caption up to its first token, teacher-forced."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core import BadArgument, Concept, bad_argument, plain, spans, unit_texts, units
from ..models import BatchSize

if TYPE_CHECKING:
    from ..core import CancelToken
    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = ["Prediction", "find_span", "find_word", "predictions"]


@dataclass(frozen=True)
class Prediction:
    """One scene's predicting position.

    Attributes
    ----------
    scene : int
        Its place in the list of scenes.
    prefix : tuple of int
        Token ids of the caption before the concept.
    token : int
        The concept's first token in that caption.
    caption : str
        The whole caption.
    tokens : tuple of int
        All tokens of the concept there, the first included.
    """

    scene: int
    prefix: tuple[int, ...]
    token: int
    caption: str
    tokens: tuple[int, ...] = ()


def find_span(
    model: MultimodalModel, token_ids: Sequence[int], concept: Any
) -> tuple[int, int] | None:
    """Return where a concept's first mention starts and ends in a list of tokens, or None.

    The mention is that of the whole text, by the rule of `mmkn_widgets.core.names`. Tokens are
    aligned with it by decoding: the shortest beginning of the caption that has all its words, up
    to the mention's last, ends at the mention's last token; the longest one that has all words
    before the mention, and nothing of it, ends before its first. A token that is only a space
    before it is not part of it.

    Parameters
    ----------
    model : MultimodalModel
        Decodes the ids.
    token_ids : sequence of int
        What was generated.
    concept : str, Concept or list of str
        A word, or exactly the given forms.

    Returns
    -------
    (int, int) or None
        Its tokens are ``token_ids[start:end]``.
    """
    ids = list(token_ids)
    whole = model.decode(ids)
    found = spans(whole, concept)
    if not found:
        return None
    mention, words = found[0], _words(whole)
    first, last = words[mention.start], words[mention.end - 1]
    until = [*words[: mention.end - 1], last[: len(last) - mention.behind]]
    ahead = words[: mention.start]
    ends = [ahead[:n] for n in range(len(ahead))] + [ahead]
    if mention.before:
        ends.append([*ahead, first[: mention.before]])
    start, end = 0, len(ids)
    for n in range(len(ids) + 1):
        known = _words(model.decode(ids[:n]))
        if known in ends:
            start = n
        if known == until or known[: mention.end] == words[: mention.end]:
            end = n
            break
    return min(start, max(end - 1, 0)), end


def _words(text: str) -> list[str]:
    return [unit.key for unit in units(plain(text))]


def find_word(model: MultimodalModel, token_ids: Sequence[int], concept: Any) -> int | None:
    """Return the place of the first token of a concept's first mention, or None."""
    span = find_span(model, token_ids, concept)
    return None if span is None else span[0]


def predictions(
    model: MultimodalModel,
    concept: Concept,
    scenes: Sequence[Scene],
    *,
    caption: str = "greedy",
    prompt: str | None = None,
    batch_size: int = 16,
    cancel: CancelToken | None = None,
) -> tuple[list[Prediction], dict[str, str]]:
    """Find the predicting position of every scene.

    Parameters
    ----------
    model : MultimodalModel
    concept : Concept
    scenes : sequence of Scene
    caption : {"greedy", "reference"}
        The model's own greedy caption of the original picture, or the first reference that names
        the concept.
    prompt : str, optional
    batch_size : int
    cancel : CancelToken, optional

    Returns
    -------
    list of Prediction
    dict
        Scene id -> why it was left out.

    Raises
    ------
    BadArgument
        If no caption names the concept; the message has the nearest words that captions use.
    """
    if caption not in ("greedy", "reference"):
        raise bad_argument("caption", caption, "'greedy' or 'reference'")
    found, skipped = [], {}
    written = _captions(model, concept, scenes, caption, prompt, batch_size, cancel)
    for place, (scene, ids) in enumerate(zip(scenes, written, strict=True)):
        span = find_span(model, ids, concept)
        if span is None:
            said = f"{model.decode(ids)!r} does not name it" if ids else "no reference names it"
            skipped[str(scene.id)] = f"{caption} caption: {said}"
            continue
        start, end = span
        found.append(
            Prediction(
                place, tuple(ids[:start]), ids[start], model.decode(ids), tuple(ids[start:end])
            )
        )
    if not found:
        texts = [model.decode(ids) for ids in written]
        texts += [text for scene in scenes for text in scene.captions]
        near = ", ".join(_nearest(concept.word, texts))
        where = "its caption" if len(scenes) == 1 else f"any of {len(scenes)} captions"
        raise BadArgument(
            f"concept: got {concept.word!r}, which "
            f"{'the model does not name' if caption == 'greedy' else 'no reference names'} in "
            f"{where} ({next(iter(skipped.values()), 'no scene')}); "
            + (f"nearest words of the captions: {near}; " if near else "")
            + "choose scenes whose caption names it"
            + ("" if caption == "reference" else ", or caption='reference'")
        )
    return found, skipped


def _captions(
    model: MultimodalModel,
    concept: Concept,
    scenes: Sequence[Scene],
    caption: str,
    prompt: str | None,
    batch_size: int,
    cancel: CancelToken | None,
) -> list[list[int]]:
    written: list[list[int]] = []
    if caption == "reference":
        for scene in scenes:
            text = next((c for c in scene.captions if concept.named_in(c)), "")
            if not text:
                written.append([])
                continue
            prepared = model.prepare([scene.image], prompt, continuation=[text])
            written.append(list(prepared.continuation[0]))
        return written

    def write(part: Sequence[Scene]) -> list[list[int]]:
        if cancel is not None:
            cancel.raise_if_cancelled()
        pictures = [scene.image for scene in part]
        return [list(i) for i in model.generate(model.prepare(pictures, prompt)).token_ids]

    for _, ids in BatchSize(batch_size).over(scenes, write):
        written += ids
    return written


def _nearest(word: str, texts: Iterable[str], n: int = 3) -> list[str]:
    known = {w for text in texts for w in unit_texts(text) if len(w) > 2 and not w[0].isdigit()}
    return difflib.get_close_matches(word, sorted(known), n=n, cutoff=0.4)
