"""What the Explorer asks of a study and its model; `mmkn_widgets.Study` answers all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from PIL.Image import Image

__all__ = ["ModelLike", "StudyLike"]


class ModelLike(Protocol):
    """A multimodal model."""

    name: str
    sites: Sequence[Any]
    worker: Any
    tokenizer: Any

    @property
    def n_layers(self) -> int:
        """Decoder layers."""

    @property
    def n_neurons(self) -> int:
        """Neurons of the widest layer."""

    @property
    def device(self) -> Any:
        """Where it computes."""

    @property
    def interventions(self) -> Any:
        """The stack of what is active."""

    def caption(self, images: Any, prompt: Any = None, **options: Any) -> Any:
        """Describe a picture."""


class StudyLike(Protocol):
    """Scores of every neuron for one concept, with the scenes they come from."""

    model: Any
    concept: Any
    scenes: Sequence[Any]
    evidence: xr.Dataset
    options: dict[str, Any]

    def pictures(self, scene: int) -> tuple[Image, Image]:
        """Return a scene's picture, and the one without the concept."""

    def caption(self, scene: int) -> str:
        """Return the caption of the unchanged model."""

    def references(self, scene: int) -> Sequence[str]:
        """Return the reference captions."""

    def maps(
        self,
        rows: Sequence[int] | np.ndarray,
        indices: Sequence[int] | np.ndarray,
        *,
        scene: int,
        signed: bool = False,
    ) -> np.ndarray:
        """Return float32 maps, shape (neuron, grid row, grid column), in picture coordinates."""

    def words(
        self, rows: Sequence[int] | np.ndarray, indices: Sequence[int] | np.ndarray, k: int = 6
    ) -> list[list[str]]:
        """Return the words that each neuron writes most."""

    def neurons(self, *args: Any, **kwargs: Any) -> Any:
        """Return the neurons that pass both stages."""

    def evaluate(self, neurons: Any, with_concept: Any, *args: Any, **options: Any) -> Any:
        """Measure suppression, retention and the random control."""

    def propose_thresholds(self, **options: Any) -> Any:
        """Measure pairs of thresholds by ablation."""
