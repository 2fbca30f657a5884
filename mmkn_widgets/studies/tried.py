"""What a study tries on its model: ablation, transplants, and what they should do and did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

    from ..attribution import Concept, NeuronSet
    from ..datasets import Scene
    from ..evaluation import Effect
    from ..models import MultimodalModel
    from .forced import Change
    from .study import Study
    from .transplanting import Transplanted

__all__ = ["Tried"]


class Tried:
    """A mixin of `Study`: what happens when neurons are changed."""

    model: MultimodalModel
    concept: Concept
    scenes: tuple[Scene, ...]
    evidence: xr.Dataset
    options: dict[str, Any]

    def evaluate(
        self,
        neurons: NeuronSet,
        with_concept: Sequence[Scene],
        without_concept: Sequence[Scene] = (),
        **options: Any,
    ) -> Effect:
        """Measure suppression, retention and random control; see `evaluation.measure_effect`."""
        from ..evaluation import measure_effect

        return measure_effect(
            self.model, neurons, with_concept, without_concept, self.concept, **options
        )

    def predicted_change(self, neurons: NeuronSet) -> float:
        """Return the first-order change of y when the neurons are zeroed.

        ``-sum_p g`` summed over the neurons, mean over the pairs, in the units of y (section 10:
        log-probability unless the study was made with ``target="logit"``).
        """
        total = self.evidence["gradient_sum"].values[neurons.mask(self.model)].sum(dtype=np.float64)
        return -float(total)

    def measured_change(
        self,
        scene: int,
        rows: Sequence[int] | np.ndarray = (),
        indices: Sequence[int] | np.ndarray = (),
        scale: float = 0.0,
    ) -> Change:
        """Measure what is active now on one scene; see `forced.measured_change`."""
        from .forced import measured_change

        return measured_change(cast("Study", self), scene, rows, indices, scale)

    def transplant(
        self,
        scene: int,
        index: int,
        mask: np.ndarray,
        **options: Any,
    ) -> Transplanted:
        """Put a part of the picture in the place of a word; see `transplant_to_word`."""
        from .transplanting import transplant_to_word

        return transplant_to_word(cast("Study", self), scene, index, mask, **options)

    def word_shares(
        self, others: Sequence[Scene] = (), words: Sequence[str] = (), **options: Any
    ) -> xr.Dataset:
        """Measure what each neuron adds to each word of the captions; see `word_shares`.

        Parameters
        ----------
        others : sequence of Scene
            Beside the study's own.
        words : sequence of str
            By default the categories of these scenes.
        """
        from .elsewhere import word_shares

        scenes = [*self.scenes, *others]
        known = dict.fromkeys([self.concept.word, *words])
        if not words:
            known |= dict.fromkeys(name for scene in scenes for name in scene.categories)
        return word_shares(self.model, scenes, known, prompt=self.options["prompt"], **options)
