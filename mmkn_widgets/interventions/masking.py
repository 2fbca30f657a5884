"""Learned masks: the fewest neurons whose silence loses a word and leaves everything else said.

Every score of a neuron trades suppression for retention, because neurons are judged one at a time
and by the word alone. A mask is learned for both at once: how much of each candidate neuron is
silenced is found by gradient, with a loss on the word where it stood and a loss on every other
place of the captions, and only the best few stay. Sparse masks over neurons that lose one piece of
knowledge and keep control text are those of Bayazit et al. 2024 (arXiv 2310.03084).
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..activations import find_span
from ..core import (
    BadArgument,
    CancelToken,
    Concept,
    NeuronIndex,
    NeuronSet,
    NotSupported,
    Progress,
    as_concept,
    bad_argument,
    count,
    neuron_rows,
    provenance,
    provenance_of,
    real_number,
    seal,
    unseal,
    whole_number,
    write_whole,
)
from ..models import plain_torch
from .base import ActivationIntervention
from .learning import write
from .where import Selection, Where

if TYPE_CHECKING:
    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = ["MaskGoal", "learn_mask"]


@dataclass(frozen=True)
class MaskGoal:
    """What a learned mask minimises, and how.

    Attributes
    ----------
    word : float
        Weight of the word's log-odds where it stood, above those of `floor`. Log-odds and not
        log-probability: a model that is sure of its word has no gradient in the latter.
    floor : float
        Probability of the word that is low enough.
    kl : float
        Weight of KL(model before || model after), averaged over every other place of the captions.
    substitute : float
        Weight of the probability, where the word stood, of objects that are not on the picture;
        what the model gave them before does not count.
    same, margin : float
        Weight of what every other place's word loses of its lead over the next best one (nats,
        summed over a caption), and the lead that is enough. A divergence that is small can still
        turn a choice between two ways to say the same, and with it the rest of the caption.
    steps : int
        Gradient steps.
    rate, momentum, most : float
        Of the projected gradient: by how much the share of a neuron with the usual gradient changes
        in one step, the weight of the steps before, and by how much any share may change. Adam's
        step, with one scale for all neurons: how strong a word's gradient is depends on how sure
        the model is of it, and which neurons matter more than others must stay.
    wide : float
        So many times `size` neurons may act at the beginning.
    narrow : float
        Share of the steps in which they become `size`; in those that follow shares go to 0 or 1.
    again : int
        So many times, evenly over the steps behind the first third, the model writes of the scenes
        with the word what it says with the mask of that moment. Captions that still name the
        concept, by a kind of it or in another place (and, with `substitute`, those that name an
        object which is not there), are learned from as well.
    batch_size : int
        Captions of each kind (with the word, without it) in a step.

    Examples
    --------
    >>> MaskGoal(kl=40.0)  # more careful with everything else
    MaskGoal(word=1.0, ..., kl=40.0, ...)
    """

    word: float = 1.0
    floor: float = 0.01
    kl: float = 20.0
    substitute: float = 0.0
    same: float = 0.3
    margin: float = 1.0
    steps: int = 32
    rate: float = 0.08
    momentum: float = 0.9
    most: float = 0.2
    wide: float = 8.0
    narrow: float = 0.6
    again: int = 2
    batch_size: int = 7

    def __post_init__(self) -> None:
        for name in ("word", "kl", "substitute", "same", "margin"):
            real_number(name, getattr(self, name), lowest=0)
        if not 0 <= real_number("momentum", self.momentum) < 1:
            raise bad_argument("momentum", self.momentum, "a number from 0 to below 1")
        for name in ("rate", "most"):
            if not real_number(name, getattr(self, name), lowest=0) > 0:
                raise bad_argument(name, getattr(self, name), "a number above 0")
        if not 0 < real_number("floor", self.floor) < 1:
            raise bad_argument("floor", self.floor, "a probability between 0 and 1")
        real_number("wide", self.wide, lowest=1)
        real_number("narrow", self.narrow, lowest=0, highest=1)
        whole_number("steps", self.steps, lowest=1)
        whole_number("again", self.again, lowest=0)
        whole_number("batch_size", self.batch_size, lowest=1)


#: weight of the squared gradients before, in the scale of a step
_SQUARE = 0.95
#: a caption that was written under a mask: the scene's number, the question's, the token ids
_Written = tuple[int, int, list[int]]
#: nats by which running on from the cache may differ: bfloat16 rounds by 1e-3, a wrong place is 1
_ROUNDING = 0.01


class _Shares(ActivationIntervention):
    """Neurons of which a share is silenced."""

    kind: ClassVar[str] = "mask"

    def __init__(
        self, model: MultimodalModel, rows: Mapping[int, np.ndarray], positions: str | None
    ) -> None:
        super().__init__(model, rows, Selection.of(positions), name="learning a mask")
        self.shares: dict[int, Tensor] = {}

    def put(self, shares: Tensor) -> None:
        """Take the shares of all neurons, row after row."""
        parts = torch.split(shares, [len(index) for index in self.rows.values()])
        self.shares = dict(zip(self.rows, parts, strict=True))

    def _change(
        self, row: int, before: Tensor, where: Where | None  # noqa: ARG002  the base's
    ) -> Tensor:  # fmt: skip
        return before * (1 - self.shares[row]).to(before.device, before.dtype)


class _Captions:
    """A batch of teacher-forced captions, and where in them the word stands.

    Parameters
    ----------
    model : MultimodalModel
        With nothing active.
    scenes, ids : sequence
        Pictures and what the unchanged model writes of them.
    concept : Concept
    prompt : str, optional
    others : sequence of Concept
        Objects that may stand in the word's place.
    positions : {None, "predicting"}
        Where neurons will be silenced.
    under_mask : bool
        Whether the captions were written under a mask: then one that does not name the concept is
        asked where it names one of `others` that is not there.
    """

    def __init__(
        self,
        model: MultimodalModel,
        scenes: Sequence[Scene],
        ids: Sequence[Sequence[int]],
        concept: Concept,
        prompt: str | None,
        others: Sequence[Concept],
        positions: str | None,
        under_mask: bool = False,
    ) -> None:
        self._model = model
        forced = [list(one) for one in ids]
        made = model.prepare([scene.image for scene in scenes], prompt, continuation=forced)
        self.prepared = made
        total = max(made.lengths)
        self.width = total - min(made.prompt_lengths) + 1
        asked = np.full(len(forced), -1)
        kept = np.zeros((len(forced), self.width), bool)
        for row, tokens in enumerate(forced):
            first = made.prompt_lengths[row] - 1 - (total - self.width)
            kept[row, first : first + len(tokens) + 1] = True
            gone = list(_mentions(model, tokens, concept))
            if under_mask and not gone:
                gone = _instead(model, tokens, others, scenes[row])
            for at, end in gone:
                kept[row, first + at : first + end] = False
            if gone:
                asked[row] = first + gone[0][0]
        where = model.device
        self._prefix: Any = None
        own = model.forward(made, logits_to_keep=self.width).logits[:, -self.width :]
        if positions == "predicting":
            own = self._cache(own)
        self.before = torch.log_softmax(own.float(), -1)
        self.kept = torch.from_numpy(kept).to(where)
        best = self.before[self.kept].topk(2, -1)
        self.first = best.indices[:, :1]  # (kept place, 1): the word that is written there
        self.lead = best.values[:, 0] - best.values[:, 1]
        rows = np.flatnonzero(asked >= 0)
        self.rows = torch.from_numpy(rows).to(where)
        self.places = torch.from_numpy(asked[rows]).to(where)
        self.word = torch.tensor(_begins(model, concept), device=where)
        self.absent = torch.zeros(len(rows), self.before.shape[-1], dtype=torch.bool, device=where)
        own_tokens = set(self.word.tolist())
        for number, named in enumerate(rows.tolist()):
            for other in others:
                if not any(other.named_in(name) for name in scenes[named].categories):
                    instead = set(other.first_tokens(model.tokenizer)) - own_tokens
                    self.absent[number, sorted(instead)] = True

    @property
    def cached(self) -> bool:
        """Whether the prompt is read once and for all."""
        return self._prefix is not None

    def _cache(self, own: Tensor) -> Tensor:
        """Keep what the prompt leaves in the cache, where running on from it gives `own`.

        What is silenced from the prompt's last token on cannot change what stands before it.
        Returns the logits of the way that is then gone, so that rounding is no change.
        """
        made = self.prepared
        if self._model.is_encoder_decoder or len(set(made.prompt_lengths)) > 1:
            return own
        n = made.prompt_lengths[0] - 1
        length = made.inputs["input_ids"].shape[1] if "input_ids" in made.inputs else 0
        given = {
            name: value[:, :n] if value.dim() == 2 and value.shape[1] == length else value
            for name, value in made.inputs.items()
        }
        try:
            with self._model.measuring(), self._model.running(made):
                self._prefix = self._model.hf(**given, use_cache=True).past_key_values
            again = self.logits()
        except Exception:  # noqa: BLE001  whatever an architecture needs beside: it is run whole
            again = None
        if again is None or again.shape != own.shape or _apart(own, again) > _ROUNDING:
            self._prefix = None
            return own
        return again

    def logits(self, grad: bool = False, *, whole: bool = False) -> Tensor:
        """Return logits (row, place, word) at the caption's places, under whatever is active.

        With `whole` the prompt is read again, under it too.
        """
        if self._prefix is None or whole:
            made = self._model.forward(self.prepared, logits_to_keep=self.width, grad=grad)
            every: Tensor = made.logits[:, -self.width :]
            return every
        inputs = self.prepared.inputs
        start = self.prepared.prompt_lengths[0] - 1
        with self._model.measuring(grad=grad), self._model.running(self.prepared):
            made = self._model.hf(
                input_ids=inputs["input_ids"][:, start:],
                attention_mask=inputs["attention_mask"],
                past_key_values=copy.deepcopy(self._prefix),
                cache_position=torch.arange(
                    start, inputs["input_ids"].shape[1], device=inputs["input_ids"].device
                ),
                use_cache=True,
            )
            rest: Tensor = made.logits[:, -self.width :]
            return rest

    def loss(self, logits: Tensor, goal: MaskGoal) -> tuple[Tensor, dict[str, float]]:
        """Return what is minimised, and its parts as numbers."""
        log_p = torch.log_softmax(logits.float(), -1)
        parts: dict[str, Tensor] = {}
        if len(self.rows):
            there = log_p[self.rows, self.places]
            of_word = there[:, self.word].logsumexp(-1)
            odds = of_word - _log_not(of_word)
            parts["word"] = goal.word * (odds - _logit(goal.floor)).clamp(min=0).mean()
            if goal.substitute and self.absent.any():
                before = self.before[self.rows, self.places].exp()
                more = (there.exp() - before).clamp(min=0) * self.absent
                parts["substitute"] = goal.substitute * more.sum(-1).mean()
        if self.kept.any():
            before = self.before[self.kept]
            after = log_p[self.kept]
            parts["kl"] = goal.kl * (before.exp() * (before - after)).sum(-1).mean()
            if goal.same:
                next_best = after.scatter(-1, self.first, -torch.inf).amax(-1)
                lead = after.gather(-1, self.first)[:, 0] - next_best
                lost = (self.lead.clamp(max=goal.margin) - lead).clamp(min=0)
                parts["same"] = goal.same * lost.sum() / len(self.kept)
        loss = logits.new_zeros((), dtype=torch.float32)
        for part in parts.values():
            loss = loss + part
        return loss, {name: float(part.detach()) for name, part in parts.items()}


def _begins(model: MultimodalModel, concept: Concept) -> list[int]:
    """Return the first tokens of the forms that are one word: "golden" alone names no dog."""
    spelt = concept.token_ids(model.tokenizer)
    single = [ids[0] for form, ids in spelt.items() if " " not in form and "-" not in form]
    return list(dict.fromkeys(single)) or list(concept.first_tokens(model.tokenizer))


def _mentions(
    model: MultimodalModel, ids: Sequence[int], concept: Concept
) -> Iterator[tuple[int, int]]:
    """Yield where a caption names the concept: start and end of each mention."""
    offset = 0
    while (span := find_span(model, ids[offset:], concept)) is not None:
        yield offset + span[0], offset + span[1]
        offset += span[1]


def _instead(
    model: MultimodalModel, ids: Sequence[int], others: Sequence[Concept], scene: Scene
) -> list[tuple[int, int]]:
    """Return where a caption first names an object that is not on the picture: none or one."""
    absent = [one for one in others if not any(one.named_in(name) for name in scene.categories)]
    spans = [span for other in absent if (span := find_span(model, ids, other)) is not None]
    return [min(spans)] if spans else []


def _apart(own: Tensor, again: Tensor) -> float:
    """Return the mean KL(own || again) over rows and places, in nats."""
    first, then = (torch.log_softmax(one.float(), -1) for one in (own, again))
    return float((first.exp() * (first - then)).sum(-1).mean())


def _log_not(log_p: Tensor) -> Tensor:
    """Return log(1 - p)."""
    return torch.log(-torch.expm1(log_p.clamp(max=-1e-6)))


def _logit(p: float) -> float:
    return math.log(p / (1 - p))


class _Learner:
    """The shares of the candidates on their way from 0 to a mask."""

    def __init__(
        self,
        model: MultimodalModel,
        rows: Mapping[int, np.ndarray],
        said: Sequence[_Captions],
        unsaid: Sequence[_Captions],
        size: int,
        goal: MaskGoal,
        seed: int,
        texts: _Texts,
    ) -> None:
        self._said, self._unsaid = list(said), unsaid
        self._first = tuple(said)
        self._size, self._seed = size, seed
        self._texts = texts
        self._written: list[list[_Written]] = []
        self.goal = goal
        self.mask = _Shares(model, rows, texts.positions)
        self._everywhere = _Shares(model, rows, None)
        n = count(rows)
        with plain_torch(False):
            self.shares = torch.zeros(n, device=model.device)
            self.velocity = torch.zeros(n, device=model.device)  # mean of the gradients so far
        self.square = 0.0  # and of their squares, one number for all neurons
        self.step = 0
        self.losses: list[dict[str, float]] = []

    def _batches(self) -> list[_Captions]:
        order = np.random.default_rng((self._seed, self.step))
        return [kind[int(order.integers(len(kind)))] for kind in (self._said, self._unsaid) if kind]

    def _allowed(self) -> int:
        """Return how many neurons may act after this step."""
        narrow = self.goal.narrow * self.goal.steps
        left = 1 - min(1.0, (self.step + 1) / narrow) if narrow else 0.0
        wide: float = self.goal.wide**left
        return max(self._size, round(self._size * wide))

    def _when(self) -> list[int]:
        """Return before which steps the model writes again."""
        goal = self.goal
        last = goal.steps * (1 - 1 / (2 * goal.again + 1)) if goal.again else 0
        return [round(at) for at in np.linspace(goal.steps / 3, last, goal.again)]

    def _rewrite(self) -> None:
        """Learn from what the model writes under the mask of now, too."""
        with plain_torch(False):
            self.mask.put(self.shares)
            self._take(self._texts.rewritten())

    def _take(self, written: list[_Written]) -> None:
        self._written.append(written)
        self.mask.put(torch.zeros_like(self.shares))  # what the model as it is would say of them
        self._said += self._texts.again(written)

    def advance(self) -> None:
        """Make one step."""
        if self._when()[len(self._written) : len(self._written) + 1] == [self.step]:
            self._rewrite()
        shares = self.shares.clone().requires_grad_()
        self.mask.put(shares)
        gradient, parts = torch.zeros_like(self.shares), dict[str, float]()
        for batch in self._batches():
            loss, told = batch.loss(batch.logits(grad=True), self.goal)
            (one,) = torch.autograd.grad(loss, shares)
            gradient += one.float()
            for name, value in told.items():
                parts[name] = parts.get(name, 0.0) + value
        self.losses.append(parts)
        goal, last = self.goal, self.goal.narrow * self.goal.steps
        self.velocity = goal.momentum * self.velocity + (1 - goal.momentum) * gradient
        self.square = _SQUARE * self.square + (1 - _SQUARE) * float((gradient**2).mean())
        usual = math.sqrt(self.square / (1 - _SQUARE ** (self.step + 1)))
        change = self.velocity * (goal.rate / (1 - goal.momentum ** (self.step + 1)))
        moved = self.shares - (change / max(usual, 1e-12)).clamp(-goal.most, goal.most)
        if self.step >= last:  # to 0 or 1, faster towards the end
            through = (self.step + 1 - last) / max(goal.steps - last, 1)
            moved = moved + goal.most * through * (self.shares - 0.5).sign()
        allowed = self._allowed()
        if allowed < len(moved):  # of neurons silenced wholly those that would be silenced further
            out = moved.argsort(descending=True, stable=True)[allowed:]
            moved[out] = 0
            self.velocity[out] = self.velocity[out].clamp(min=0)
        moved = moved.clamp(0, 1)
        self.shares = moved
        self.step += 1

    def total(self, shares: Tensor, *, everywhere: bool = False) -> float:
        """Return the loss over the captions of the model as it is, under given shares.

        With `everywhere` they are silenced at all tokens, wherever the mask was learned.
        """
        mask = self._everywhere if everywhere else self.mask
        mask.put(shares)
        found = []
        with mask:
            for kind in (self._first, self._unsaid):
                values = [
                    float(one.loss(one.logits(whole=everywhere), self.goal)[0]) for one in kind
                ]
                if values:
                    found.append(sum(values) / len(values))
        return sum(found)

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on, as JSON can hold it."""
        return {
            "step": self.step,
            "shares": self.shares.tolist(),
            "velocity": self.velocity.tolist(),
            "square": self.square,
            "losses": self.losses,
            "written": self._written,
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        where = self.shares.device
        self.step = int(state["step"])
        self.shares = torch.tensor(state["shares"], dtype=torch.float32, device=where)
        self.velocity = torch.tensor(state["velocity"], dtype=torch.float32, device=where)
        self.square = float(state["square"])
        self.losses = list(state["losses"])
        for written in state["written"]:
            self._take([(scene, prompt, list(ids)) for scene, prompt, ids in written])


_RESTARTS = 2


def learn_mask(
    model: MultimodalModel,
    concept: str | Concept | Sequence[str],
    with_concept: Sequence[Scene],
    without_concept: Sequence[Scene] = (),
    *,
    candidates: Any,
    size: int = 60,
    prompts: Sequence[str | None] = (None,),
    others: Sequence[str | Concept] = (),
    positions: str | None = None,
    goal: MaskGoal | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> NeuronSet:
    """Learn which neurons to silence so that a word goes and the rest of the captions stays.

    Parameters
    ----------
    model : MultimodalModel
        Every model that ablates and gives gradients.
    concept : str, Concept or list of str
        The word, or several that shall all go; `mmkn_widgets.evaluation.with_kinds` knows the
        kinds of a concept.
    with_concept : sequence of Scene
        Scenes whose caption names it. Figures of the mask on these are not held out.
    without_concept : sequence of Scene
        Scenes whose captions shall stay as they are; also those of `with_concept` whose caption
        does not name it.
    candidates : NeuronSet, mapping or mask
        Among which to choose, as for `ablate`: the few hundred best by GradCAM, say
        (`Study.learned_mask` takes these). Fewer candidates are faster and more selective.
    size : int
        At most so many neurons.
    prompts : sequence of str or None
        Questions: a mask is selective only where it was taught to be. None is the model's own.
    others : sequence of str or Concept
        Objects that shall not be said instead, where they are not on the picture; has an effect
        with `MaskGoal.substitute`, which needs some.
    positions : {None, "predicting"}
        Where the mask will be used, as in `ablate`: at all tokens, or from the prompt's last one
        on, where words are chosen. The second learns in half the time (what stands before is read
        once). Silenced at all tokens such a mask may do other things, the more the lower its
        neurons are; compare ``loss_everywhere``.
    goal : MaskGoal, optional
    seed : int
        Order of the captions.
    checkpoint : path, optional
        A file that is written as it goes; the same call goes on from it.
    progress, cancel : optional
        Told and asked after every step.

    Returns
    -------
    NeuronSet
        Its scores are the shares at the end, above 0.5; best first. May be empty, and then
        ``provenance["why"]`` says why. The provenance holds the losses of the last step and over
        all captions: without the mask (``loss_before``), with it (``loss_after``), and with it at
        all tokens (``loss_everywhere``).

    Raises
    ------
    BadArgument
        If no caption names the concept, or the checkpoint is of another call.
    NotSupported
        If the model gives no gradients at a candidate.
    Cancelled
        If the token was cancelled; with `checkpoint` nothing is lost.

    Notes
    -----
    Projected gradient descent on shares in [0, 1] from 0, steps as `MaskGoal.rate` says. After each
    step only the largest stay: `MaskGoal.wide` times `size` at first, `size` after
    `MaskGoal.narrow` of the steps; then shares are pushed to 0 or 1. A mask that loses to no mask
    at all is learned again at half the rate, twice at most.

    References
    ----------
    .. [1] Bayazit et al. 2024, arXiv 2310.03084: sparse masks with a loss that forgets and losses
       that keep.

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> study = mmkn.study(model, "car", val.with_concept("car", 4))
    >>> mask = learn_mask(
    ...     model, "car", val.with_concept("car", 6), val.without_concept("car", 6),
    ...     candidates=study.neurons(quantile_g=0.97), size=8, goal=MaskGoal(steps=12),
    ... )
    >>> 0 < len(mask) <= 8
    True
    """
    wanted = as_concept(concept)
    goal = goal or MaskGoal()
    size = whole_number("size", size, lowest=1)
    seed = whole_number("seed", seed, lowest=0)
    rows = {row: index for row, index in sorted(neuron_rows(model, candidates).items())}
    if not count(rows):
        raise bad_argument("candidates", "no neurons", "at least one")
    if not prompts:
        raise bad_argument("prompts", prompts, "at least one question; None is the model's own")
    if goal.substitute and not others:
        raise bad_argument("others", others, "the objects that goal.substitute holds down")
    if positions not in (None, "predicting"):
        raise bad_argument("positions", positions, "None (all tokens) or 'predicting'")
    made = provenance(
        "learn_mask",
        model=model.name,
        concept=wanted.to_dict(),
        scenes=[str(scene.id) for scene in with_concept],
        other_scenes=[str(scene.id) for scene in without_concept],
        candidates=provenance_of(candidates),
        n_candidates=count(rows),
        size=size,
        prompts=list(prompts),
        others=[as_concept(other).word for other in others],
        positions=positions,
        goal=asdict(goal),
        seed=seed,
    )
    file = None if checkpoint is None else Path(checkpoint)
    key = _key(made, rows)
    held = _read(file, key)
    with model.interventions.suspended(), plain_torch(False):
        texts = _Texts(model, wanted, prompts, others, positions, goal, cancel)
        said, unsaid = texts.batches(with_concept, without_concept)
        for attempt in range(int(held.get("attempt", 0)), _RESTARTS + 1):
            now = replace(goal, rate=goal.rate / 2**attempt)
            learner = _Learner(model, rows, said, unsaid, size, now, seed, texts)
            if held:
                learner.resume(held["state"])
                held = {}
            _learn(learner, attempt, file, key, progress, cancel)
            without = learner.total(torch.zeros_like(learner.shares))
            chosen = learner.shares > 0.5
            within = learner.total(chosen.float())
            if chosen.any() and within < without:
                break
        else:
            chosen = torch.zeros_like(chosen)
    ids = np.flatnonzero(chosen.cpu().numpy())
    order = ids[np.argsort(-learner.shares.cpu().numpy()[ids], kind="stable")]
    made.update(
        loss_before=without,
        loss_after=within,
        loss_everywhere=learner.total(chosen.float(), everywhere=True),
        last_step=learner.losses[-1],
        restarts=attempt,
        prefix_cached=all(batch.cached for batch in (*said, *unsaid)),
        captions={
            "with": sum(len(batch.prepared) for batch in said),
            "without": sum(len(batch.prepared) for batch in unsaid),
        },
    )
    if not len(order):
        made["why"] = (
            f"no mask of at most {size} of {count(rows)} candidates was better than none: "
            f"loss {within:.3g} with it, {without:.3g} without, after {attempt} restarts"
        )
    return _neurons(model, rows, order, learner.shares.cpu().numpy(), made)


def _learn(
    learner: _Learner,
    attempt: int,
    file: Path | None,
    key: str,
    progress: Progress | None,
    cancel: CancelToken | None,
) -> None:
    steps = learner.goal.steps
    with learner.mask, plain_torch():
        while learner.step < steps:
            if cancel is not None:
                cancel.raise_if_cancelled()
            try:
                learner.advance()
            except RuntimeError as error:
                if "does not require grad" not in str(error):
                    raise
                raise NotSupported(
                    "learn_mask: no gradient reaches the candidates of this model from its words"
                ) from error
            if file is not None:
                held = {"key": key, "attempt": attempt, "state": learner.state()}
                write_whole(file, seal(held), "checkpoint")
            if progress is not None:
                told = ", ".join(
                    f"{name} {value:.2f}" for name, value in learner.losses[-1].items()
                )
                progress(f"learning a mask, {told}", learner.step, steps)


class _Texts:
    """Captions of the scenes, by the model as it is and under a mask, in batches."""

    def __init__(
        self,
        model: MultimodalModel,
        concept: Concept,
        prompts: Sequence[str | None],
        others: Sequence[str | Concept],
        positions: str | None,
        goal: MaskGoal,
        cancel: CancelToken | None,
    ) -> None:
        self.positions = positions
        self._model, self._concept, self._prompts = model, concept, list(prompts)
        self._others = [as_concept(other) for other in others]
        self._goal, self._cancel = goal, cancel
        self._present: list[Scene] = []

    def _written(self, scenes: Sequence[Scene]) -> Iterator[tuple[int, Scene, list[int], str]]:
        """Yield the number of a prompt, a scene, and its caption under whatever is active."""
        for number, prompt in enumerate(self._prompts):
            for scene, ids in write(self._model, scenes, prompt, 16):
                if self._cancel is not None:
                    self._cancel.raise_if_cancelled()
                yield number, scene, ids, self._model.decode(ids)

    def batches(
        self, with_concept: Sequence[Scene], without_concept: Sequence[Scene]
    ) -> tuple[list[_Captions], list[_Captions]]:
        """Lay out what the model says of the scenes, with and without the word."""
        self._present = list(with_concept)
        named: list[tuple[int, Scene, list[int]]] = []
        rest: list[tuple[int, Scene, list[int]]] = []
        for number, scene, ids, text in self._written([*with_concept, *without_concept]):
            (named if self._concept.named_in(text) else rest).append((number, scene, ids))
        if not named:
            raise bad_argument(
                "with_concept",
                f"{len(with_concept)} scenes",
                f"some whose caption names {self._concept.word!r}",
            )
        return self._laid_out(named), self._laid_out(rest)

    def rewritten(self) -> list[_Written]:
        """Return what is still said of the scenes with the concept and should not be."""
        place = {id(scene): number for number, scene in enumerate(self._present)}
        found: list[_Written] = []
        for number, scene, ids, text in self._written(self._present):
            instead = self._goal.substitute and _instead(self._model, ids, self._others, scene)
            if instead or self._concept.named_in(text):
                found.append((place[id(scene)], number, list(ids)))
        return found

    def again(self, written: Sequence[_Written]) -> list[_Captions]:
        """Lay out `rewritten` captions."""
        texts = [(prompt, self._present[scene], ids) for scene, prompt, ids in written]
        return self._laid_out(texts, under_mask=True)

    def _laid_out(
        self, texts: Sequence[tuple[int, Scene, list[int]]], under_mask: bool = False
    ) -> list[_Captions]:
        made: list[_Captions] = []
        for number, prompt in enumerate(self._prompts):
            asked = [(scene, ids) for at, scene, ids in texts if at == number]
            for start in range(0, len(asked), self._goal.batch_size):
                part = asked[start : start + self._goal.batch_size]
                made.append(
                    _Captions(
                        self._model,
                        [scene for scene, _ in part],
                        [ids for _, ids in part],
                        self._concept,
                        prompt,
                        self._others,
                        self.positions,
                        under_mask,
                    )
                )
        return made


def _key(made: Mapping[str, Any], rows: Mapping[int, np.ndarray]) -> str:
    """Return what tells one call from another."""
    chosen = {str(row): index.tolist() for row, index in rows.items()}
    text = json.dumps([made["arguments"], chosen], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(file: Path | None, key: str) -> dict[str, Any]:
    if file is None or not file.is_file():
        return {}
    try:
        held = unseal(file.read_bytes())
    except (OSError, ValueError) as error:
        raise bad_argument("checkpoint", str(file), f"a whole file, or none ({error})") from error
    if held.get("key") != key:
        raise BadArgument(f"checkpoint: got {str(file)!r}, which is of another call of learn_mask")
    return held


def _neurons(
    model: MultimodalModel,
    rows: Mapping[int, np.ndarray],
    order: np.ndarray,
    shares: np.ndarray,
    made: dict[str, Any],
) -> NeuronSet:
    row = np.concatenate([np.full(len(index), row) for row, index in rows.items()])
    place = np.concatenate(list(rows.values()))
    index = NeuronIndex.of(model)
    return index.neurons(index.join(row[order], place[order]), score=shares[order], provenance=made)
