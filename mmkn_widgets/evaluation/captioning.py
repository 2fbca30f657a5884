"""Captions of many scenes, with nothing changed, with neurons off, or with many random sets off."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from ..core import CancelToken, Neuron, Progress, names
from ..models import BatchSize
from .first_naming import AT_ONCE, FirstNaming

if TYPE_CHECKING:
    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = ["Captioner"]

_SMALL, _ROWS_SMALL, _ROWS_LARGE = 200_000_000, 96, 8


class Captioner:
    """Captions scenes in batches, greedily, in a clean scope of the model's interventions.

    Parameters
    ----------
    model : MultimodalModel
    prompt : str, optional
        The question; by default the model's own captioning prompt.
    max_new_tokens : int, optional
    batch_size : int, optional
        Rows of one generation; by default 96 for models below 200 million parameters, else 8;
        fewer, with a warning, once the memory was full.
    cancel : CancelToken, optional
        Looked at between batches and after every token.
    """

    def __init__(
        self,
        model: MultimodalModel,
        prompt: str | None = None,
        *,
        max_new_tokens: int | None = None,
        batch_size: int | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        if batch_size is None:
            size = sum(parameter.numel() for parameter in model.hf.parameters())
            batch_size = _ROWS_SMALL if size < _SMALL else _ROWS_LARGE
        self.model, self.prompt = model, prompt
        self._size = BatchSize(batch_size, "captions")
        self._length, self._cancel = max_new_tokens, cancel

    @property
    def batch_size(self) -> int:
        """Rows of the next generation."""
        return self._size.value

    def _generate(self, prepared: Any) -> list[str]:
        if self._cancel is not None:
            self._cancel.raise_if_cancelled()
        made = self.model.generate(prepared, max_new_tokens=self._length, cancel=self._cancel)
        return list(made.texts)

    def _made_by(self) -> tuple[Any, ...]:
        """Return what a caption depends on besides its scene."""
        return self.model.name, self.model.weights_hash, self.prompt, self._length

    def before(
        self,
        scenes: Sequence[Scene],
        known: MutableMapping[Any, str] | None = None,
        progress: Progress | None = None,
    ) -> list[str]:
        """Return the captions of the unchanged model, whatever is active outside.

        Parameters
        ----------
        scenes : sequence of Scene
        known : mutable mapping, optional
            Captions made earlier, by the model's weights, the scene, the prompt and the length;
            new ones are added.
        progress : callable, optional
        """
        store = {} if known is None else known
        made_by = None if known is None else self._made_by()
        keys = [(made_by, scene.source, scene.id) for scene in scenes]
        missing = {key: scene for key, scene in zip(keys, scenes, strict=True) if key not in store}
        todo = list(missing.items())
        with self.model.interventions.suspended():
            done = 0
            for part, texts in self._size.over(
                todo, lambda some: self._plain([s for _, s in some])
            ):
                store.update(zip([key for key, _ in part], texts, strict=True))
                done += len(part)
                if progress is not None:
                    progress("captions before", done, len(todo))
        return [store[key] for key in keys]

    def now(self, scenes: Sequence[Scene]) -> list[str]:
        """Return the captions under whatever is active."""
        made: list[str] = []
        for _, texts in self._size.over(scenes, self._plain):
            made += texts
        return made

    def _plain(self, scenes: Iterable[Scene]) -> list[str]:
        return self._generate(self._prepare(scenes))

    def after(
        self,
        scenes: Sequence[Scene],
        neurons: Any,
        progress: Progress | None = None,
        known: MutableMapping[Any, str] | None = None,
    ) -> list[str]:
        """Return the captions with a neuron set switched off, and nothing else active.

        Parameters
        ----------
        scenes : sequence of Scene
        neurons : NeuronSet
        progress : callable, optional
        known : mutable mapping, optional
            Captions made earlier, as for `before`, and by the neurons; new ones are added.
        """
        if known is None:
            return self.under(scenes, [neurons], progress, "captions after")[0]
        off = _hash(self._made_by(), _key(neurons))
        keys = [f"{off}/{_hash(scene.source, scene.id)}" for scene in scenes]
        missing = {key: scene for key, scene in zip(keys, scenes, strict=True) if key not in known}
        todo = list(missing.items())
        for start in range(0, len(todo), self.batch_size):
            part = todo[start : start + self.batch_size]
            texts = self.under([scene for _, scene in part], [neurons])[0]
            known.update(zip([key for key, _ in part], texts, strict=True))
            if progress is not None:
                progress("captions after", start + len(part), len(todo))
        return [known[key] for key in keys]

    def under(
        self,
        scenes: Sequence[Scene],
        sets: Sequence[Any],
        progress: Progress | None = None,
        stage: str = "random control",
    ) -> list[list[str]]:
        """Return the captions of the scenes for each of several neuron sets.

        Each picture is read once for all sets; when there are few scenes, several sets share a
        batch, in which every row has its own ablation.
        """
        found: list[list[str]] = [[] for _ in sets]
        if not scenes or not sets:
            return found
        done, total = 0, len(scenes) * len(sets)

        def write(part: Sequence[Scene]) -> list[list[str]]:
            nonlocal done
            size = BatchSize(min(len(sets), max(1, self.batch_size // len(part))), "neuron sets")
            prepared: dict[int, Any] = {}

            def together(group: Sequence[int]) -> list[str]:
                n = size.value
                if n not in prepared:
                    prepared.clear()
                    prepared[n] = self._prepare(list(part) * n)
                chosen = [sets[at] for at in group]
                # The last group may be shorter: fill its rows, and drop what they say.
                chosen += [chosen[-1]] * (n - len(group))
                return self._with(prepared[n], chosen, len(part))

            made: list[list[str]] = []
            for group, texts in size.over(range(len(sets)), together):
                made += [texts[n * len(part) : (n + 1) * len(part)] for n in range(len(group))]
                if progress is not None:
                    progress(stage, done + len(part) * len(made), total)
            done += len(part) * len(sets)
            return made

        for _, made in self._size.over(scenes, write):
            for at, texts in enumerate(made):
                found[at] += texts
        return found

    def named_under(
        self,
        scenes: Sequence[Scene],
        captions: Sequence[str],
        sets: Sequence[Any],
        concept: Any,
        progress: Progress | None = None,
        stage: str = "random control",
        known: MutableMapping[Any, str] | None = None,
    ) -> list[list[bool]]:
        """Return for each of several neuron sets which captions still name a concept.

        The same answer as captioning under each set gives, mostly from one forward: see
        `FirstNaming`. Only captions that leave the way before they name the concept are written
        again. Some scenes are read once for all sets, then the next: memory is that of one batch,
        however many scenes there are.

        Parameters
        ----------
        scenes : sequence of Scene
        captions : sequence of str
            Theirs in the unchanged model; each names the concept.
        sets : sequence of NeuronSet
        concept : str, Concept or list of str
        progress, stage
            As in `under`.
        known : mutable mapping, optional
            Answers kept between calls, by the model's weights, scenes, prompt, length, concept and
            neurons; new ones are added, those of a batch of scenes and a set at once.
        """
        store = {} if known is None else known
        made_by = None if known is None else self._made_by()
        off = [_hash(made_by, str(concept), _key(neurons)) for neurons in sets]
        starts = [min((n.layer for n in one if isinstance(n, Neuron)), default=0) for one in sets]
        size = min(self.batch_size, AT_ONCE)
        parts = [slice(first, first + size) for first in range(0, len(scenes), size)]
        shown = [_hash([(scene.source, scene.id) for scene in scenes[part]]) for part in parts]
        keys = [[f"{one}/{some}" for one in off] for some in shown]
        done, total = 0, sum(key not in store for row in keys for key in row)
        for part, row in zip(parts, keys, strict=True):
            missing = [n for n, key in enumerate(row) if key not in store]
            if not missing:
                continue
            here = scenes[part]
            drafts = FirstNaming(
                self.model, here, captions[part], concept,
                starts=[starts[n] for n in missing], prompt=self.prompt, batch_size=size,
            )  # fmt: skip
            held: dict[int, list[bool]] = {}
            for n in missing:
                if self._cancel is not None:
                    self._cancel.raise_if_cancelled()
                held[n] = drafts.hold(sets[n], starts[n])
                done += 1
                if progress is not None:
                    progress(stage, done, total)
            del drafts
            again = [(at, n) for n in missing for at, yes in enumerate(held[n]) if not yes]

            def write(some: Sequence[tuple[int, int]], here: Sequence[Scene] = here) -> list[str]:
                prepared = self._prepare([here[at] for at, _ in some])
                return self._rows(prepared, [sets[n] for _, n in some])

            for some, texts in self._size.over(again, write):
                for (at, n), text in zip(some, texts, strict=True):
                    held[n][at] = names(text, concept)
            for n in missing:
                store[row[n]] = "".join("01"[yes] for yes in held[n])
        return [
            [answer == "1" for row in keys for answer in store[row[n]]] for n in range(len(sets))
        ]

    def _rows(self, prepared: Any, rows: Sequence[Any]) -> list[str]:
        """Caption rows that each have their own ablation."""
        from ..interventions import ablate_rows

        with self.model.interventions.suspended(), ablate_rows(self.model, list(rows)):
            return self._generate(prepared)

    def _with(self, prepared: Any, sets: Sequence[Any], n_scenes: int) -> list[str]:
        from ..interventions import ablate

        if len(sets) == 1:
            with self.model.interventions.suspended(), ablate(self.model, sets[0]):
                return self._generate(prepared)
        return self._rows(prepared, [neurons for neurons in sets for _ in range(n_scenes)])

    def _prepare(self, scenes: Iterable[Scene]) -> Any:
        return self.model.prepare([scene.image for scene in scenes], self.prompt)


def _key(neurons: Any) -> tuple[Any, ...]:
    """Return what makes two neuron sets switch the same neurons off."""
    return tuple(
        sorted((n.layer, n.expert, n.index) if hasattr(n, "layer") else n for n in neurons)
    )


def _hash(*what: Any) -> str:
    """Return a short name of numbers, texts and tuples of them: keys of thousands of pictures."""
    return hashlib.blake2b(repr(what).encode(), digest_size=12).hexdigest()
