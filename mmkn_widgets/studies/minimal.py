"""How few neurons of a ranking are enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..core import NeuronSet, bad_argument, provenance, real_number, reporting, with_kinds
from ..datasets import as_scenes

if TYPE_CHECKING:
    from ..core import CancelToken, Concept, Progress
    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = ["minimal_set"]


class Ranked(Protocol):
    """What is asked of a study."""

    model: MultimodalModel
    concept: Concept
    options: dict[str, Any]

    @property
    def scored(self) -> tuple[Scene, ...]:
        """The scenes that the evidence was made of."""

    def neurons(self) -> NeuronSet:
        """Return the default set."""


def minimal_set(
    study: Ranked,
    neurons: NeuronSet | None = None,
    *,
    suppression: float = 0.95,
    with_concept: Any = None,
    progress: Progress | bool | None = None,
    cancel: CancelToken | None = None,
) -> NeuronSet:
    """Return the fewest of the first neurons of a ranking that silence the word.

    Parameters
    ----------
    study : Study
    neurons : NeuronSet, optional
        Best first; by default those of ``study.neurons()``.
    suppression : float
        Share of the captions that name the concept which have to lose it.
    with_concept : sequence of Scene, or what stands for them
        The captions that are asked; by default the scenes that chose the neurons. The figure on
        these is not held out: measure the set on others.
    progress, cancel
        As in `mmkn_widgets.study`.

    Returns
    -------
    NeuronSet
        The first so many, or none where all of them are not enough;
        ``provenance["suppression"]`` holds what was reached by every number that was tried, and
        ``provenance["why"]`` says why it is empty.

    Raises
    ------
    BadArgument
        If there are no neurons, or no caption names the concept.

    Notes
    -----
    Numbers that double are tried in one pass, then all between the first that is enough and the one
    before it, by halves: what is found is the smallest of a run of numbers that are enough, where
    suppression grows with their number. Prefixes of one ranking, so not the smallest set of all:
    that one would be chosen by its effect, as `Study.learned_mask` does.

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> study = mmkn.study(model, "car", val.with_concept("car", 4))
    >>> found = minimal_set(study)
    >>> 0 < len(found) < len(study.neurons())
    True
    """
    from ..evaluation import Captioner

    chosen = study.neurons() if neurons is None else neurons
    if not len(chosen):
        raise bad_argument("neurons", chosen, "at least one neuron")
    asked = real_number("suppression", suppression, lowest=0, highest=1)
    wanted = with_kinds(study.concept)
    given = study.scored if with_concept is None else with_concept
    scenes = list(as_scenes(given, wanted, name="with_concept", masks=False, n=len(study.scored)))
    writer = Captioner(study.model, study.options["prompt"], cancel=cancel)
    tried: dict[int, float] = {}
    with reporting(progress) as step:
        first = writer.before(scenes, None, step)
        named = [at for at, text in enumerate(first) if wanted.named_in(text)]
        if not named:
            raise bad_argument(
                "with_concept",
                f"{len(scenes)} scenes",
                f"some whose caption names {wanted.word!r}",
            )
        shown, said = [scenes[at] for at in named], [first[at] for at in named]

        def measure(sizes: Sequence[int]) -> None:
            sets = [chosen.top(n) for n in sizes]
            still = writer.named_under(shown, said, sets, wanted, step, "fewer neurons")
            tried.update(zip(sizes, (1 - np.asarray(still, float).mean(1)).tolist(), strict=True))

        doubled = [2**k for k in range(len(chosen).bit_length()) if 2**k < len(chosen)]
        measure([*doubled, len(chosen)])
        enough = [n for n, share in tried.items() if share >= asked]
        if enough:
            high = min(enough)
            low = max((n for n in tried if n < high), default=0)
            while high - low > 1:
                middle = (low + high) // 2
                measure([middle])
                low, high = (low, middle) if tried[middle] >= asked else (middle, high)
    size = high if enough else 0
    made = provenance(
        "minimal_set",
        model=study.model.name,
        concept=wanted.to_dict(),
        scenes=[f"{scene.source}/{scene.id}" for scene in scenes],
        neurons=chosen.provenance,
        asked=asked,
    )
    made["suppression"] = {str(n): tried[n] for n in sorted(tried)}
    if not size:
        best = max(tried.values())
        made["why"] = (
            f"none of the first {len(chosen)} neurons' numbers silences {asked:.3g} of the "
            f"captions: {best:.3g} at most"
        )
    few = chosen.top(size)
    return NeuronSet(few.layer, few.index, few.expert, few.score, few.words, made, few.sign)
