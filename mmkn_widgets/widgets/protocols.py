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

    def has_pair(self, scene: int) -> bool:
        """Return whether a mask says where the concept is."""

    def with_scene(self, scene: Any, place: int | None = None) -> Any:
        """Return the same study with one more scene to look at."""

    def patch_scores(
        self,
        rows: Sequence[int] | np.ndarray,
        indices: Sequence[int] | np.ndarray,
        *,
        scene: int,
    ) -> Any:
        """Return both stages over the patches, each of shape (grid row, grid column)."""

    def patch_words(self, scene: int, k: int = 3) -> list[list[str]]:
        """Return the words that the logit lens reads at each patch."""

    def word_shares(self, others: Any = (), words: Any = (), **options: Any) -> xr.Dataset:
        """Return what each neuron adds to each word of the captions."""

    def measured_change(
        self,
        scene: int,
        rows: Sequence[int] | np.ndarray = (),
        indices: Sequence[int] | np.ndarray = (),
        scale: float = 0.0,
    ) -> Any:
        """Measure what is active on one scene."""

    def transplant(self, scene: int, index: int, mask: np.ndarray, **options: Any) -> Any:
        """Write a caption with a part of the picture in the place of a word."""

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
