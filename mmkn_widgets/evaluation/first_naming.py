"""Does a caption still name the concept? One forward answers where nothing changes before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .naming import names
from .replay import Replay

if TYPE_CHECKING:
    from ..datasets import Scene

__all__ = ["FirstNaming"]

_AT_ONCE = 32


class FirstNaming:
    """Captions up to where they name a concept, to be checked under ablations.

    A caption of the unchanged model is teacher-forced up to one token behind the concept. If under
    an ablation every one of these tokens is still the most probable one, greedy decoding would
    write them, and the caption names the concept: one forward instead of a generation (as
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
    start : int
        No ablation reaches a layer before this one.
    prompt : str, optional
    batch_size : int
        Rows of a forward; at most 32.
    """

    def __init__(
        self,
        model: Any,
        scenes: Sequence[Scene],
        captions: Sequence[str],
        concept: Any,
        *,
        start: int = 0,
        prompt: str | None = None,
        batch_size: int = _AT_ONCE,
    ) -> None:
        self._model, self._n = model, len(scenes)
        self._parts: list[tuple[list[int], list[tuple[int, ...]], list[int], Replay]] = []
        # A decoder beside its encoder is continued in another way: there captions are written.
        if getattr(model, "is_encoder_decoder", True):
            return
        ids = dict(enumerate(self._until_named(scenes, captions, concept, prompt)))
        able = [at for at, one in ids.items() if one]
        size = min(batch_size, _AT_ONCE)
        for first in range(0, len(able), size):
            part = able[first : first + size]
            forced = [list(ids[at]) for at in part]
            prepared = model.prepare([scenes[at].image for at in part], prompt, continuation=forced)
            shortest = min(prepared.prompt_lengths)
            begin = [length - shortest for length in prepared.prompt_lengths]
            replay = Replay(model, prepared, start, max(prepared.lengths) - shortest + 1)
            self._parts.append((part, [ids[at] for at in part], begin, replay))

    def _until_named(
        self, scenes: Sequence[Scene], captions: Sequence[str], concept: Any, prompt: str | None
    ) -> list[tuple[int, ...]]:
        """Return each caption's ids up to one behind the concept: that one ends the word."""
        if not scenes:
            return []
        made = self._model.prepare(
            [scene.image for scene in scenes], prompt, continuation=list(captions)
        )
        found: list[tuple[int, ...]] = []
        for caption, ids in zip(captions, made.continuation, strict=True):
            stops = range(1, len(ids)) if names(caption, concept) else ()
            ahead = (ids[: stop + 1] for stop in stops if self._names(ids[:stop], concept))
            found.append(next((one for one in ahead if self._names(one, concept)), ()))
        return found

    def _names(self, ids: Sequence[int], concept: Any) -> bool:
        return names(self._model.decode(list(ids)), concept)

    def hold(self, neurons: Any) -> list[bool]:
        """Return which captions certainly still name the concept without some neurons.

        Parameters
        ----------
        neurons : NeuronSet

        Returns
        -------
        list of bool
            One for each scene; False where the caption has to be written to know.
        """
        from ..interventions import ablate

        held = [False] * self._n
        for part, ids, begin, replay in self._parts:
            with self._model.interventions.suspended(), ablate(self._model, neurons):
                best = replay.logits().argmax(-1)
            for row, at in enumerate(part):
                said = best[row, begin[row] : begin[row] + len(ids[row])].tolist()
                held[at] = said == list(ids[row])
        return held
