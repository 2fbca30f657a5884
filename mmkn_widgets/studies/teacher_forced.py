"""The position that predicts a concept in each scene's own caption, under any lesion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._errors import bad_argument

if TYPE_CHECKING:
    import torch

    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = ["TeacherForced"]


class TeacherForced:
    """The position that predicts a concept in each scene's own caption, ready to be lesioned.

    Parameters
    ----------
    model : MultimodalModel
    concept : str or Concept
    scenes : sequence of Scene
        Scenes whose caption does not name the concept are left out.

    Attributes
    ----------
    images : list of PIL.Image.Image
    prefixes : list of list of int
        The caption's token ids before the concept.
    token : int
        The concept's first token.
    baseline : numpy.ndarray of float32, shape (scene,)
        Log-probability of the token in the unchanged model, in nats.
    """

    def __init__(self, model: MultimodalModel, concept: Any, scenes: Sequence[Scene]) -> None:
        from ..attribution import as_concept

        self.model = model
        wanted = as_concept(concept)
        tokens = set(wanted.first_tokens(model.tokenizer))
        with model.interventions.suspended():
            written = model.generate(model.prepare([scene.image for scene in scenes])).token_ids
        self.images: list[Any] = []
        self.prefixes: list[list[int]] = []
        self.tokens: list[int] = []
        for scene, ids in zip(scenes, written, strict=True):
            place = next((p for p, token in enumerate(ids) if token in tokens), None)
            if place is not None:
                self.images.append(scene.image)
                self.prefixes.append(list(ids[:place]))
                self.tokens.append(ids[place])
        if not self.images:
            raise bad_argument("scenes", len(scenes), f"scenes whose caption names {wanted.word!r}")
        self.baseline = np.concatenate(
            [self.log_prob(scene, None, 1) for scene in range(len(self.images))]
        )

    def __len__(self) -> int:
        return len(self.images)

    def log_prob(self, scene: int, masks: np.ndarray | None, rows: int) -> np.ndarray:
        """Return the concept's log-probability in one scene under many lesions.

        Parameters
        ----------
        scene : int
        masks : numpy.ndarray of bool, shape (rows, site, neuron), or None
            What each row zeroes.
        rows : int

        Returns
        -------
        numpy.ndarray of float32, shape (rows,)
        """
        import torch

        from ..interventions import ablate_rows

        model = self.model
        one = model.prepare([self.images[scene]], continuation=[self.prefixes[scene]])
        batch = {key: _repeat(value, rows) for key, value in one.inputs.items()}
        with model.interventions.suspended():
            if masks is None:
                logits = model.forward(batch, logits_to_keep=1).logits
            else:
                with ablate_rows(model, masks):
                    logits = model.forward(batch, logits_to_keep=1).logits
        values = torch.log_softmax(logits[:, -1].float(), -1)[:, self.tokens[scene]]
        return values.cpu().numpy()


def _repeat(value: torch.Tensor, rows: int) -> torch.Tensor:
    return value.expand(rows, *value.shape[1:])
