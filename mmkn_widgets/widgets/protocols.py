"""What the widgets ask of a study and its model; `mmkn_widgets.Study` answers all of it.

A test holds the study of the wire tests and the real one to these protocols, name by name and
argument by argument; mypy does the same below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..core import NeuronModel

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import xarray as xr
    from PIL.Image import Image

    from ..core import CancelToken, NeuronSet, Progress
    from ..models import MultimodalModel, Worker
    from ..studies import Study

__all__ = ["ConceptLike", "ModelLike", "StudyLike"]


@runtime_checkable
class ConceptLike(Protocol):
    """A word to look for."""

    @property
    def word(self) -> str:
        """The word."""

    @property
    def forms(self) -> Sequence[str]:
        """The word, its plural, its synonyms."""

    def named_in(self, text: str) -> bool:
        """Return whether a text names it."""


@runtime_checkable
class ModelLike(NeuronModel, Protocol):
    """A multimodal model."""

    name: str
    worker: Worker
    tokenizer: Any

    @property
    def n_layers(self) -> int:
        """Decoder layers."""

    @property
    def knows(self) -> str:
        """The only pictures that it was trained on; empty where nothing is said."""

    @property
    def device(self) -> Any:
        """Where it computes."""

    @property
    def weights_hash(self) -> str:
        """What tells models apart."""

    @property
    def interventions(self) -> Any:
        """The stack of what is active."""

    def caption(
        self,
        images: Any,
        prompt: Any = None,
        *,
        on_token: Callable[[str, int], None] | None = None,
        cancel: CancelToken | None = None,
    ) -> Any:
        """Describe a picture."""

    def ablate(self, neurons: Any, mode: str = "zero", **options: Any) -> Any:
        """Return an intervention that switches neurons off."""


@runtime_checkable
class StudyLike(Protocol):
    """Scores of every neuron for one concept, with the scenes they come from."""

    evidence: xr.Dataset
    options: dict[str, Any]

    @property
    def model(self) -> ModelLike:
        """The model."""

    @property
    def concept(self) -> ConceptLike:
        """The concept."""

    @property
    def scenes(self) -> Sequence[Any]:
        """All that can be looked at."""

    @property
    def scored(self) -> Sequence[Any]:
        """Those of the evidence."""

    @property
    def pairs(self) -> Any:
        """The inpainter; its `name`."""

    @property
    def captions(self) -> Mapping[int, str]:
        """What was written so far, by scene."""

    @property
    def dataset(self) -> Any:
        """The one data set of the scenes, or None."""

    # -- scenes ------------------------------------------------------------------------------

    def with_scene(self, scene: Any, place: int | None = None) -> Any:
        """Return the same study with one more scene to look at."""

    def with_mask(self, scene: int, mask: np.ndarray) -> Any:
        """Return the study with a mask that was painted by hand."""

    def scenes_without(self, n: int) -> Sequence[Any]:
        """Return scenes of the data set without the concept."""

    def of_word(
        self, word: str, *, progress: Progress | None = None, cancel: CancelToken | None = None
    ) -> Any:
        """Make the same study of another concept."""

    def has_pair(self, scene: int) -> bool:
        """Return whether a mask says where the concept is."""

    def pictures(self, scene: int) -> tuple[Image, Image]:
        """Return a scene's picture, and the one without the concept."""

    def caption(self, scene: int) -> str:
        """Return the caption of the unchanged model."""

    def references(self, scene: int) -> Sequence[str]:
        """Return the reference captions."""

    def geometry(self, scene: int) -> Any:
        """Return where the image tokens look; `shape`, `approximate` and `reason` are asked."""

    def patch_mask(self, scene: int, cells: Sequence[int]) -> np.ndarray:
        """Return cells of the token grid as a mask of the picture."""

    # -- neurons -----------------------------------------------------------------------------

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

    def tokens(
        self, scene: int, row: int | np.ndarray, index: int | np.ndarray
    ) -> tuple[list[tuple[str, str, int]], np.ndarray]:
        """Return (text, role, step) of each token, and the activation of neurons there."""

    def strongest_scenes(
        self,
        row: int,
        index: int,
        n: int = 8,
        *,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> Sequence[Any]:
        """Return the scenes on which a neuron fires most: `scene`, `value`, `patch`."""

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

    def word_shares(
        self, scenes: Sequence[Any] = (), words: Sequence[str] = (), **options: Any
    ) -> xr.Dataset:
        """Return what each neuron adds to each word of the captions."""

    # -- what changes do ---------------------------------------------------------------------

    def predicted_change(self, neurons: NeuronSet, scale: float = 0.0) -> float:
        """Return the first-order change when neurons are zeroed, or scaled."""

    def measured_change(
        self,
        scene: int,
        rows: Sequence[int] | np.ndarray = (),
        indices: Sequence[int] | np.ndarray = (),
        scale: float = 0.0,
    ) -> Any:
        """Measure what is active on one scene: `measured`, `predicted`, `unit`."""

    def transplant(self, scene: int, index: int, mask: np.ndarray, **options: Any) -> Any:
        """Write a caption with a part of the picture in the place of a word."""

    def evaluate(
        self,
        neurons: NeuronSet,
        with_concept: Sequence[Any],
        without_concept: Sequence[Any] = (),
        **options: Any,
    ) -> Any:
        """Measure suppression, retention and the random control."""

    def propose_thresholds(self, **options: Any) -> Any:
        """Measure pairs of thresholds by ablation."""

    def save(self, path: str | Path, also: Mapping[str, str] | None = None) -> Path:
        """Write the study as one folder."""


if TYPE_CHECKING:

    def _answer(model: MultimodalModel, study: Study) -> tuple[ModelLike, StudyLike]:
        """Mypy holds the real ones to the protocols here."""
        return model, study
