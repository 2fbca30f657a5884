"""Does a caption still name the concept? One forward answers where nothing changes before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..activations import find_span
from ..core import Handles, settled
from ..models import BatchSize, all_continuation_ids

if TYPE_CHECKING:
    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = ["AT_ONCE", "FirstNaming", "Replay"]

#: the residual stream itself, and what would remember the last run
_LEFT_OUT = ("hidden_states", "past_key_values", "past_key_value", "use_cache")


class Replay:
    """A batch whose blocks from `start` on can be run again, say under an ablation.

    What is switched off behind block `start` cannot change what enters it, so that the vision
    tower and the blocks before are run once.

    Parameters
    ----------
    model : MultimodalModel
    prepared : Prepared
    start : int
        The first block that is run again.
    keep : int
        Logits of the last so many positions are wanted.
    also : sequence of int
        Later blocks from which it may be run again too.

    Attributes
    ----------
    works : bool
        Whether running the blocks, the final norm and the head one after the other gives the
        model's own logits; where an architecture does more in between, `logits` runs it whole.
    """

    def __init__(
        self,
        model: MultimodalModel,
        prepared: Any,
        start: int,
        keep: int,
        also: Sequence[int] = (),
    ) -> None:
        self._model, self._prepared, self._keep = model, prepared, keep
        self._blocks = list(model.blocks)[start:]
        self._start, self._entered = start, {start, *also}
        self._given: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        watched = Handles(
            block.register_forward_pre_hook(self._take, with_kwargs=True) for block in self._blocks
        )
        with watched, model.interventions.suspended():
            own = model.forward(prepared, logits_to_keep=keep).logits[:, -keep:]
        self.works = len(self._given) == len(self._blocks) and self._is(own)

    def _take(self, _: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        hidden = given[0] if given else named.get("hidden_states")
        kept = self._start + len(self._given) in self._entered
        rest = {key: value for key, value in named.items() if key not in _LEFT_OUT}
        self._given.append(((hidden if kept else None, *given[1:]), rest))

    def _is(self, own: Tensor) -> bool:
        """Return whether the blocks alone give the model's own logits."""
        try:
            with self._model.interventions.suspended():
                again = self._again(self._start)
        except Exception:  # noqa: BLE001  whatever an architecture needs beside: then it is run whole
            return False
        own = own.to(again.device)  # a spread model's own are where its inputs are
        return again.shape == own.shape and torch.allclose(
            again.float(), own.float(), rtol=1e-3, atol=1e-3
        )

    def _again(self, start: int) -> Tensor:
        skipped = start - self._start
        hidden: Any = self._given[skipped][0][0]
        with self._model.measuring(), self._model.running(self._prepared):
            for block, (given, named) in zip(
                self._blocks[skipped:], self._given[skipped:], strict=True
            ):
                hidden = block(hidden, *given[1:], **named)
                hidden = hidden[0] if isinstance(hidden, tuple) else hidden
            hidden = hidden[:, -self._keep :]
            if self._model.final_norm is not None:
                hidden = self._model.final_norm(hidden)
            made: Tensor = self._model.head(hidden)
        return made

    def logits(self, start: int | None = None) -> Tensor:
        """Return the logits of the last positions under whatever is active from `start` on.

        Parameters
        ----------
        start : int, optional
            One of `also`; by default the first block that is run again.

        Returns
        -------
        torch.Tensor, shape (row, keep, word)
        """
        if self.works:
            return self._again(self._start if start is None else start)
        keep = self._keep
        found: Tensor = self._model.forward(self._prepared, logits_to_keep=keep).logits[:, -keep:]
        return found


#: rows of a forward
AT_ONCE = 32


class FirstNaming:
    """Captions up to where they name a concept, to be checked under ablations.

    A caption of the unchanged model is teacher-forced up to where it names the concept whatever
    follows: one token behind it, or more where that may become a compound ("a bus s", a bus stop?).
    If under an ablation every one of these tokens is still the most probable one, greedy decoding
    would write them, and the caption names the concept: one forward instead of a generation (as
    speculative decoding verifies its draft, Leviathan et al. 2023), and of that forward only the
    layers from the first ablated one on. If not, nothing is known, and the caption has to be
    written.

    Parameters
    ----------
    model : MultimodalModel
    scenes : sequence of Scene
    captions : sequence of str
        Greedy captions of the unchanged model.
    concept : str, Concept or list of str
    starts : sequence of int
        The first layers that ablations reach: the layers from the first of them on run again.
    prompt : str, optional
    batch_size : int
        Rows of a forward; at most 32.
    """

    def __init__(
        self,
        model: MultimodalModel,
        scenes: Sequence[Scene],
        captions: Sequence[str],
        concept: Any,
        *,
        starts: Sequence[int] = (0,),
        prompt: str | None = None,
        batch_size: int = AT_ONCE,
    ) -> None:
        self._model, self._n = model, len(scenes)
        self._first = min(starts, default=0)
        self._parts: list[tuple[list[int], list[tuple[int, ...]], list[int], Replay]] = []
        # A decoder beside its encoder is continued in another way: there captions are written.
        if model.is_encoder_decoder:
            return
        ids = dict(enumerate(self._until_named(scenes, captions, concept, prompt)))
        able = [at for at, one in ids.items() if one]

        def draft(part: Sequence[int]) -> None:
            forced = [list(ids[at]) for at in part]
            prepared = model.prepare([scenes[at].image for at in part], prompt, continuation=forced)
            shortest = min(prepared.prompt_lengths)
            begin = [length - shortest for length in prepared.prompt_lengths]
            keep = max(prepared.lengths) - shortest + 1
            replay = Replay(model, prepared, self._first, keep, starts)
            self._parts.append((list(part), [ids[at] for at in part], begin, replay))

        for _ in BatchSize(min(batch_size, AT_ONCE), "captions").over(able, draft):
            pass

    def _until_named(
        self, scenes: Sequence[Scene], captions: Sequence[str], concept: Any, prompt: str | None
    ) -> list[tuple[int, ...]]:
        """Return each caption's ids up to where it names the concept whatever follows."""
        if not scenes:
            return []
        asked = self._model.prepare([scenes[0].image], prompt).prompts * len(scenes)
        found: list[tuple[int, ...]] = []
        for ids in all_continuation_ids(self._model, list(captions), asked, len(scenes)):
            span = find_span(self._model, ids, concept)
            stops = range(span[1], len(ids) + 1) if span is not None else ()
            ahead = (ids[:stop] for stop in stops)
            found.append(next((tuple(one) for one in ahead if self._names(one, concept)), ()))
        return found

    def _names(self, ids: Sequence[int], concept: Any) -> bool:
        return settled(self._model.decode(list(ids)), concept)

    def hold(self, neurons: Any, start: int | None = None) -> list[bool]:
        """Return which captions certainly still name the concept without some neurons.

        Parameters
        ----------
        neurons : NeuronSet
        start : int, optional
            The first layer that they are in, one of `starts`; by default the lowest of these.

        Returns
        -------
        list of bool
            One for each scene; False where the caption has to be written to know.
        """
        from ..interventions import ablate

        held = [False] * self._n
        for part, ids, begin, replay in self._parts:
            with self._model.interventions.suspended(), ablate(self._model, neurons):
                best = replay.logits(start).argmax(-1)
            for row, at in enumerate(part):
                said = best[row, begin[row] : begin[row] + len(ids[row])].tolist()
                held[at] = said == list(ids[row])
        return held
