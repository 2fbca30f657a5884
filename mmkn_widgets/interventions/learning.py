"""The edit that is learned: one delta for each neuron's column, everything else frozen."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..activations import find_span
from ..core import CancelToken, Concept, Progress, bad_argument, ending, sure
from ..models import plain_torch

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["Goal", "Lesson", "Text", "lessons", "optimise", "swaps", "write"]


@dataclass(frozen=True)
class Lesson:
    """A batch of teacher-forced captions.

    Attributes
    ----------
    inputs : mapping of str to Tensor
        The forward's arguments.
    width : int
        The last so many positions are the caption's places: those whose output is a caption token.
    before : Tensor, shape (row, place, word)
        Log-probabilities of the model as it is.
    asked : Tensor of bool, shape (row, place)
        Where the answers are predicted.
    answers : Tensor of int64, shape (asked,)
        Those tokens, in the order of ``asked``.
    behind : Tensor of bool, shape (row, place)
        Places behind the answer, where it should not be said again.
    kept : Tensor of bool, shape (row, place)
        Places that should stay as they are.
    word : Tensor of int64, shape (row,)
        The answer's first token; 0 in rows without an answer.
    """

    inputs: Mapping[str, Tensor]
    width: int
    before: Tensor
    asked: Tensor
    answers: Tensor
    behind: Tensor
    kept: Tensor
    word: Tensor


@dataclass(frozen=True)
class Text:
    """A caption to learn from.

    Attributes
    ----------
    scene : Scene
        Its picture.
    ids : tuple of int
        The teacher-forced caption.
    at, n : int
        Where the answer stands in it, and how many tokens it has; -1 and 0 for a caption that
        should stay as it is.
    """

    scene: Any
    ids: tuple[int, ...]
    at: int = -1
    n: int = 0


def swaps(
    model: MultimodalModel,
    source: Concept,
    target: Concept | None,
    scenes: Sequence[Any],
    prompt: str | None,
    batch_size: int,
) -> tuple[list[Text], list[Text]]:
    """Caption scenes, and put the target in place of the source.

    Parameters
    ----------
    model : MultimodalModel
        With nothing active.
    source : Concept
        The word to be replaced.
    target : Concept or None
        The word to be said; None when the source is to be muted: then in each caption the next
        best token is the answer.
    scenes : sequence of Scene
        Pictures.
    prompt : str, optional
        The captioning prompt.
    batch_size : int
        Pictures in a generation.

    Returns
    -------
    list of Text
        Captions that name the source, the word replaced.
    list of Text
        Captions that do not.

    Raises
    ------
    BadArgument
        If no caption names the source.
    """
    answer: list[int] | None = None
    if target is not None:
        answer = list(next(iter(target.token_ids(model.tokenizer).values())))
    with_source: list[Text] = []
    without: list[Text] = []
    for scene, ids in write(model, scenes, prompt, batch_size):
        span = find_span(model, ids, source)
        if span is None:
            without.append(Text(scene, tuple(ids)))
            continue
        at, end = span
        said = answer or [_next_best(model, source, scene, ids[:at], prompt)]
        with_source.append(Text(scene, (*ids[:at], *said, *ids[end:]), at, len(said)))
    if not with_source:
        raise bad_argument(
            "scenes", f"{len(scenes)} scenes", f"some whose caption names {source.word!r}"
        )
    return with_source, without


def _next_best(
    model: MultimodalModel, source: Concept, scene: Any, ahead: list[int], prompt: str | None
) -> int:
    """Return the token the model would say there if it could not say the source."""
    prepared = model.prepare([scene.image], prompt, continuation=[ahead])
    last = model.forward(prepared, logits_to_keep=1).logits[0, -1].clone()
    last[list(source.first_tokens(model.tokenizer))] = -torch.inf
    return int(last.argmax())


def write(
    model: MultimodalModel, scenes: Sequence[Any], prompt: str | None, batch_size: int
) -> list[tuple[Any, list[int]]]:
    """Return each scene with the ids of its greedy caption."""
    made: list[tuple[Any, list[int]]] = []
    for group in _groups(list(scenes), batch_size):
        written = model.generate(model.prepare([s.image for s in group], prompt)).token_ids
        made += zip(group, (list(ids) for ids in written), strict=True)
    return made


@plain_torch(False)
def lessons(
    model: MultimodalModel,
    texts: Sequence[Text],
    prompt: str | None,
    batch_size: int,
    *,
    once: bool = True,
) -> list[Lesson]:
    """Return batches of captions with what the model says of them now.

    Parameters
    ----------
    model : MultimodalModel
        With nothing active.
    texts : sequence of Text
        Captions.
    prompt : str, optional
        The captioning prompt.
    batch_size : int
        Captions in a lesson.
    once : bool
        Whether an answer should not be said again behind its place.
    """
    return [_lesson(model, group, prompt, once) for group in _groups(list(texts), batch_size)]


def _groups(items: list[Any], size: int) -> list[list[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _lesson(
    model: MultimodalModel, group: Sequence[Text], prompt: str | None, once: bool
) -> Lesson:
    captions = [list(text.ids) for text in group]
    prepared = model.prepare([text.scene.image for text in group], prompt, continuation=captions)
    total = max(prepared.lengths)
    # the output of the prompt's last token is the caption's first, the caption's last ends it
    width = total - min(prepared.prompt_lengths) + 1
    logits = model.forward(prepared, logits_to_keep=width).logits[:, -width:]
    before = torch.log_softmax(logits.float(), dim=-1)
    asked = torch.zeros(before.shape[:2], dtype=torch.bool)
    behind, valid = torch.zeros_like(asked), torch.zeros_like(asked)
    answers: list[int] = []
    for row, text in enumerate(group):
        first = prepared.prompt_lengths[row] - 1 - (total - width)
        valid[row, first : first + len(text.ids) + 1] = True
        if text.at >= 0:
            end = text.at + text.n
            asked[row, first + text.at : first + end] = True
            behind[row, first + end : first + len(text.ids) + 1] = once
            answers += text.ids[text.at : end]
    where = before.device
    return Lesson(
        prepared.inputs,
        width,
        before,
        asked.to(where),
        torch.tensor(answers, dtype=torch.long, device=where),
        behind.to(where),
        (valid & ~asked).to(where),
        torch.tensor([t.ids[t.at] if t.at >= 0 else 0 for t in group], device=where),
    )


@dataclass(frozen=True)
class Goal:
    """What an optimised edit minimises, and how.

    Attributes
    ----------
    nll : float
        Weight of the answer's negative log-likelihood: the target word's where the source was
        predicted, when muting the next best word's.
    kl : float
        Weight of KL(model before || model after) at every other place of the captions, of scenes
        with and without the source.
    repetition : float
        Weight of ``-log(1 - p(answer))`` behind the answer, so that it is said once.
    norm : float
        Weight of the mean squared delta, in units of the mean column norm.
    rate : float
        Adam's learning rate, in units of the mean column norm.
    steps : int
        At most so many steps.
    stop_at : float
        Stop when the answers' mean probability reaches this.
    batch_size : int
        Scenes of each kind in a step.

    Examples
    --------
    >>> Goal(steps=50, kl=40.0)  # sooner, and more careful with everything else
    Goal(nll=1.0, kl=40.0, ..., steps=50, ...)
    """

    nll: float = 1.0
    kl: float = 20.0
    repetition: float = 0.2
    norm: float = 0.01
    rate: float = 0.005
    steps: int = 150
    stop_at: float = 0.9
    batch_size: int = 8


@plain_torch()
def optimise(
    model: MultimodalModel,
    rows: Mapping[int, np.ndarray],
    changing: Sequence[Lesson],
    staying: Sequence[Lesson],
    goal: Goal,
    *,
    seed: int = 0,
    what: str = "editing",
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> tuple[dict[int, Tensor], dict[str, Any]]:
    """Learn deltas of W_out columns with Adam.

    Parameters
    ----------
    model : MultimodalModel
        Untouched: the changed weights are passed to its forward, never written.
    rows : mapping of int to numpy.ndarray
        Site row to neurons.
    changing, staying : sequence of Lesson
        What should be said otherwise, and what should stay; one of each in every step.
    goal : Goal
        Losses and rate.
    seed : int
        Order of the lessons.
    what : str
        What `progress` says.
    progress, cancel : optional
        Told and asked as it goes.

    Returns
    -------
    dict of int to Tensor, shape (hidden, neuron)
        Float32 deltas.
    dict
        What to record: the goal, steps made, the last probability of the answers.
    """
    with model.interventions.suspended():
        learner = _Learner(model, rows)
        theta = list(learner.theta.values())
        adam = torch.optim.Adam(theta, lr=goal.rate)
        order = np.random.default_rng(seed)
        reached, done = 0.0, 0
        for step in range(goal.steps):
            if cancel is not None:
                cancel.raise_if_cancelled()
            batch = [changing[int(order.integers(len(changing)))]]
            if staying:
                batch.append(staying[int(order.integers(len(staying)))])
            loss = goal.norm * learner.size()
            for lesson in batch:
                loss = loss + _loss(learner.logits(lesson), lesson, goal)
            # of the deltas alone: the model's own parameters get no .grad, trainable or not
            for one, gradient in zip(theta, torch.autograd.grad(loss, theta), strict=True):
                one.grad = gradient
            adam.step()
            done = step + 1
            if done % 5 == 0 or done == goal.steps:
                reached = learner.reached(changing)
                if progress is not None:
                    progress(f"{what}, probability {reached:.2f}", done, goal.steps)
                if reached >= goal.stop_at:
                    break
    details = {"goal": asdict(goal), "steps": done, "probability": round(reached, 4)}
    return learner.deltas(), details


def _loss(logits: Tensor, lesson: Lesson, goal: Goal) -> Tensor:
    log_p = torch.log_softmax(logits.float(), dim=-1)
    loss = logits.new_zeros((), dtype=torch.float32)
    if lesson.asked.any():
        chosen = log_p[lesson.asked]
        said = chosen.gather(1, lesson.answers[:, None])[:, 0]
        loss = loss - goal.nll * said.mean()
    if lesson.behind.any():
        rows, places = lesson.behind.nonzero(as_tuple=True)
        again = log_p[rows, places, lesson.word[rows]]
        loss = loss + goal.repetition * -_log_not(again).mean()
    if lesson.kept.any():
        before = lesson.before[lesson.kept]
        divergence = (before.exp() * (before - log_p[lesson.kept])).sum(-1)
        loss = loss + goal.kl * divergence.mean()
    return loss


def _log_not(log_p: Tensor) -> Tensor:
    """Return log(1 - p)."""
    return torch.log1p(-log_p.exp().clamp(max=1 - 1e-6))


class _Learner:
    """Deltas as parameters of a forward that never touches the model's own."""

    def __init__(self, model: MultimodalModel, rows: Mapping[int, np.ndarray]) -> None:
        self._model = model
        self._index = {
            row: torch.as_tensor(index, device=model.w_out(*_place(model, row)).device)
            for row, index in rows.items()
        }
        columns = {
            row: model.interventions.original_columns(row, index).float()
            for row, index in rows.items()
        }
        norms = torch.cat([one.norm(dim=0).cpu() for one in columns.values()])
        self._unit = float(norms.mean())
        if self._unit == 0:
            raise bad_argument("neurons", "columns that are all zero", "neurons that write")
        self.theta = {
            row: torch.zeros_like(one, requires_grad=True) for row, one in columns.items()
        }
        self._keeps = "logits_to_keep" in inspect.signature(model.hf.forward).parameters

    def deltas(self) -> dict[int, Tensor]:
        return {row: self._unit * theta.detach() for row, theta in self.theta.items()}

    def size(self) -> Tensor:
        """Return the mean squared length of a delta, in units of the mean column norm."""
        squares = [theta.square().sum(0).cpu() for theta in self.theta.values()]
        return torch.cat(squares).mean()

    def _parameters(self) -> dict[tuple[nn.Module, str], Tensor]:
        """Return the changed weights by the module that holds them and their name there."""
        changed: dict[tuple[nn.Module, str], Tensor] = {}
        for row, theta in self.theta.items():
            site, index = self._model.sites[row], self._index[row]
            delta = self._unit * theta
            module: Any = site.module
            if site.kind == "routed":
                place = (module, "down_proj")
                whole = changed.get(place, module.down_proj)
                at = site.expert - site.first_expert
                axis = 0 if module.is_transposed else 1
                one = whole[at].index_add(axis, index, _like(delta, whole, axis))
                changed[place] = torch.cat([whole[:at], one[None], whole[at + 1 :]])
            else:
                axis = 0 if site.kind == "conv1d" else 1
                weight = module.weight
                changed[module, "weight"] = weight.index_add(
                    axis, index, _like(delta, weight, axis)
                )
        return changed

    def logits(self, lesson: Lesson) -> Tensor:
        """Return logits (row, place, word) at the caption's places."""
        inputs: dict[str, Any] = dict(lesson.inputs)
        inputs["use_cache"] = False
        if self._keeps:
            inputs["logits_to_keep"] = lesson.width
        with self._model.measuring(grad=torch.is_grad_enabled()), self._changed():
            output = self._model.hf(**inputs)
            logits: Tensor = output.logits[:, -lesson.width :]
            return logits

    @sure
    def _changed(self) -> Iterator[None]:
        """Have the changed weights in place of the model's own, which stay as they are."""
        changed = self._parameters()
        own = {place: place[0]._parameters[place[1]] for place in changed}

        def put(parameters: Mapping[tuple[nn.Module, str], Any]) -> None:
            for (module, name), value in parameters.items():
                module._parameters[name] = value

        with ending(lambda: put(own)):
            put(changed)
            yield

    def reached(self, changing: Sequence[Lesson]) -> float:
        """Return the mean probability of the answers."""
        found: list[Tensor] = []
        with plain_torch(False):
            for lesson in changing:
                log_p = torch.log_softmax(self.logits(lesson).detach().float(), dim=-1)
                said = log_p[lesson.asked].gather(1, lesson.answers[:, None])[:, 0].exp()
                found.append(said)
        return float(torch.cat(found).mean())


def _place(model: MultimodalModel, row: int) -> tuple[int, int]:
    return model.sites[row].layer, model.sites[row].expert


def _like(delta: Tensor, weight: Tensor, axis: int) -> Tensor:
    return (delta if axis == 1 else delta.T).to(weight.dtype)
