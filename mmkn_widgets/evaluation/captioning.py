"""Captions of many scenes, with nothing changed, with neurons off, or with many random sets off."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from ..core import CancelToken, Neuron, Progress, names
from ..models import BatchSize
from .first_naming import FirstNaming

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
        self, scenes: Sequence[Scene], neurons: Any, progress: Progress | None = None
    ) -> list[str]:
        """Return the captions with a neuron set switched off, and nothing else active."""
        return self.under(scenes, [neurons], progress, "captions after")[0]

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
        known: MutableMapping[Any, bool] | None = None,
    ) -> list[list[bool]]:
        """Return for each of several neuron sets which captions still name a concept.

        The same answer as captioning under each set gives, mostly from one forward: see
        `FirstNaming`. Only captions that leave the way before they name the concept are written
        again.

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
            Answers kept between calls, by the model's weights, scene, prompt, length, concept and
            neurons; new ones are added.
        """
        store = {} if known is None else known
        made_by = None if known is None else self._made_by()
        keys = [
            [(made_by, scene.source, scene.id, str(concept), *_key(neurons)) for scene in scenes]
            for neurons in sets
        ]
        starts = [min((n.layer for n in one if isinstance(n, Neuron)), default=0) for one in sets]
        open_sets = [n for n, row in enumerate(keys) if any(key not in store for key in row)]
        open_sets.sort(key=starts.__getitem__)
        drafts: dict[int, FirstNaming] = {}
        again: list[tuple[int, int]] = []
        for done, number in enumerate(open_sets):
            if self._cancel is not None:
                self._cancel.raise_if_cancelled()
            start = starts[number]
            if start not in drafts:
                drafts = {}  # one at a time: each holds what entered its first layer
                drafts[start] = FirstNaming(
                    self.model, scenes, captions, concept,
                    start=start, prompt=self.prompt, batch_size=self.batch_size,
                )  # fmt: skip
            for at, yes in enumerate(drafts[start].hold(sets[number])):
                if yes:
                    store[keys[number][at]] = True
                elif keys[number][at] not in store:
                    again.append((at, number))
            if progress is not None:
                progress(stage, done + 1, len(open_sets))

        def write(part: Sequence[tuple[int, int]]) -> list[str]:
            prepared = self._prepare([scenes[at] for at, _ in part])
            return self._rows(prepared, [sets[number] for _, number in part])

        for part, texts in self._size.over(again, write):
            for (at, number), text in zip(part, texts, strict=True):
                store[keys[number][at]] = names(text, concept)
        return [[store[key] for key in row] for row in keys]

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
