"""Lesions in training: what the pocket model must not be able to say without its FFN neurons.

Nothing here says which neurons carry a concept: the first kind of lesion hits whole layers, the
second silences whichever neurons write a word most strongly at that moment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from mmkn_widgets.pocket.words import CATEGORIES

from .build import SPECIAL

__all__ = [
    "IGNORE",
    "N_IMAGE",
    "N_PREFIX",
    "SMOOTHING",
    "Batch",
    "due_places",
    "entropy",
    "layer_lesions",
    "strongest",
    "word_lesions",
    "writer_scores",
]

#: Label of positions that do not count.
IGNORE = -100
#: Image tokens, and tokens of ``<s> <image>*64 describe the image :``.
N_IMAGE, N_PREFIX = 64, 69
FIRST = len(SPECIAL)
N = len(CATEGORIES)
#: Share that a word keeps of its probability among category words when its writers are silent.
LEFT = 0.005

#: Label smoothing while words are silenced. A model that is sure has no gradient of log p to rank
#: neurons by: it is all rounding and the few scenes in doubt.
SMOOTHING = 0.1

Alter = Callable[[Tensor], Tensor]
Rerun = Callable[[Sequence[Alter]], Tensor]


class Batch(NamedTuple):
    """What one training step sees.

    Attributes
    ----------
    pixels : Tensor uint8 (batch, 96, 96, 3)
    text : Tensor int64 (batch, 2, length)
        Two captions, padded.
    targets : Tensor int64 (batch, 2, length + 1)
        The words that follow the prompt's last token and every caption token; else `IGNORE`.
    patch_word : Tensor int64 (batch, 64)
        Token of the category or background that the patch shows; else `IGNORE`.
    patch_color : Tensor int64 (batch, 64)
        Index of the object's colour; else `IGNORE`.
    """

    pixels: Tensor
    text: Tensor
    targets: Tensor
    patch_word: Tensor
    patch_color: Tensor


def entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy over the positions that count."""
    return cross_entropy(
        logits.flatten(0, -2),
        targets.flatten(),
        ignore_index=IGNORE,
        label_smoothing=smoothing,
    )


def _due(batch: Batch) -> Tensor:
    """Return the words due at caption tokens, (batch, 2 length); none begins with a category."""
    return batch.targets[:, :, 1:].flatten(1)


def _is_category(tokens: Tensor) -> Tensor:
    return (tokens >= FIRST) & (tokens < FIRST + N)


def _mean_over(values: Tensor, at: Tensor) -> Tensor:
    return (values * at).sum() / at.sum().clamp(min=1)


def layer_lesions(
    batch: Batch, n: int, n_layers: int, rerun: Rerun
) -> tuple[Tensor, Tensor, Tensor]:
    """Replace all activations of whole layers by their mean where category words are due.

    At caption tokens of the first `n` pictures, at object patches of the next `n`; the loss is
    KL(uniform || category words) there.
    """
    due = _is_category(_due(batch)[:n])
    patches = _is_category(batch.patch_word[n : 2 * n])
    at = torch.zeros(2 * n, N_PREFIX + due.shape[1], dtype=torch.bool, device=due.device)
    at[:n, N_PREFIX:] = due
    at[n:, 1 : 1 + N_IMAGE] = patches

    def alter(a: Tensor) -> Tensor:
        parts = []
        for part in (slice(0, n), slice(n, 2 * n)):
            here = at[part, :, None]
            mean = (a[part].float() * here).sum((0, 1)) / here.sum().clamp(min=1)
            parts.append(torch.where(here, mean.to(a.dtype), a[part]))
        return torch.cat(parts)

    logits = rerun([alter] * n_layers)[..., FIRST : FIRST + N]
    kl = -log_softmax(logits, -1).mean(-1) - math.log(N)
    return _mean_over(kl[:n], at[:n]), _mean_over(kl[n:], at[n:]), kl.new_zeros(())


def writer_scores(
    batch: Batch,
    chosen: Tensor,
    activations: Sequence[Tensor],
    gradients: Sequence[Tensor],
    columns: Sequence[Tensor],
    unembedding: Tensor,
) -> Tensor:
    """Return how strongly each neuron writes each category word in this batch, by two measures.

    Both are means over places where the word is due: the contribution of Pan et al. (2024),
    relative to the other category words, and activation x gradient of its log-probability.

    Parameters
    ----------
    chosen : Tensor bool (batch, 2 length)
        The places that count.
    activations, gradients : sequence of Tensor (batch, token, neuron)
        Of the layers that lesions reach.
    columns : sequence of Tensor (hidden, neuron)
        Their down projections.
    unembedding : Tensor (vocabulary, hidden)

    Returns
    -------
    Tensor, float32 (2, 16, layer, neuron)
    """
    due = _due(batch)
    here = torch.stack([(due == FIRST + k) & chosen for k in range(N)], -1).float()
    here = here / here.sum((0, 1)).clamp(min=1)
    words = unembedding[FIRST : FIRST + N].float()
    words = words - words.mean(0)
    scores = []
    for a, g, w in zip(activations, gradients, columns, strict=True):
        a, g = a[:, N_PREFIX:].float(), g[:, N_PREFIX:].float()
        contribution = torch.einsum("btn,btc->cn", a, here) * (words @ w.float())
        scores.append(torch.stack([contribution, torch.einsum("btn,btc->cn", a * g, here)]))
    return torch.stack(scores, 2)


def due_places(batch: Batch, pick: Tensor) -> Tensor:
    """Return one place a caption where a category is due, bool (batch, 2 length).

    `pick`, random numbers of the same shape, chooses among them.
    """
    due = _due(batch)
    among = (_is_category(due) * (0.01 + pick)).unflatten(1, (2, -1))
    best = torch.zeros_like(among).scatter(-1, among.argmax(-1, keepdim=True), 1.0)
    return (best * (among > 0)).flatten(1).bool()


def strongest(scores: Tensor, n: int) -> Tensor:
    """Return 1 for the `n` neurons with the largest positive scores of each word, else 0."""
    flat = scores.flatten(-2)
    least = flat.topk(n, -1).values[..., -1:]
    return ((flat >= least) & (flat > 0)).float().view_as(scores)


def word_lesions(
    batch: Batch, n: int, writers: Tensor | None, pick: Tensor | None, rerun: Rerun
) -> tuple[Tensor, Tensor, Tensor]:
    """Silence the writers of one word a picture: that word must be lost, all others kept.

    In captions of the first `n` pictures (in every second of them at all positions), at patches of
    the next `n`; each two pictures by the other measure of `writers` (2, 16, layer, neuron). The
    last loss is the cross-entropy of everything but the silenced word.
    """
    if pick is None or writers is None:
        raise ValueError("pick, writers: got None, expected random numbers and neurons to silence")
    which = writers
    due, patches = _due(batch)[:n], batch.patch_word[n : 2 * n]
    seen = [(batch.patch_word[: 2 * n] == FIRST + k).any(1) for k in range(N)]
    chosen = (torch.stack(seen, -1) * (0.01 + pick[: 2 * n])).argmax(-1)
    measure = torch.arange(2 * n, device=due.device) // 2 % 2
    where = torch.zeros(2 * n, N_PREFIX + due.shape[1], 1, device=due.device)
    where[:n, N_PREFIX - 1 :] = 1
    where[0:n:2] = 1
    where[n:, 1 : 1 + N_IMAGE] = 1

    def silence(layer: int) -> Alter:
        off = where * which[measure, chosen, layer][:, None, :]
        return lambda a: a * (1 - off).to(a.dtype)

    logits = rerun([silence(layer) for layer in range(which.shape[2])])
    # not even: with an even target the silenced word still wins whenever nothing else is stronger
    target = torch.full((2 * n, N), (1 - LEFT) / (N - 1), device=due.device)
    target = torch.where(torch.eye(N, device=due.device)[chosen] > 0, LEFT, target)
    least = -LEFT * math.log(LEFT) - (1 - LEFT) * math.log((1 - LEFT) / (N - 1))

    def lost(values: Tensor, aim: Tensor, at: Tensor) -> Tensor:
        # over the whole vocabulary: another category takes the place, not the end of the sentence
        spread = log_softmax(values, -1)[..., FIRST : FIRST + N]
        return _mean_over(-(aim[:, None] * spread).sum(-1) - least, at)

    text, picture = logits[:n, N_PREFIX:], logits[n:, 1 : 1 + N_IMAGE]
    at_text = due == (FIRST + chosen[:n])[:, None]
    at_patch = patches == (FIRST + chosen[n:])[:, None]
    kept = entropy(text, due.masked_fill(at_text, IGNORE), SMOOTHING)
    kept = kept + entropy(picture, patches.masked_fill(at_patch, IGNORE), SMOOTHING)
    return lost(text, target[:n], at_text), lost(picture, target[n:], at_patch), kept
