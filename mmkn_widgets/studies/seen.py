"""What one sees of a study: pictures, captions, maps over the patches, words, tokens."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..attribution import has_scene_mask

if TYPE_CHECKING:
    import xarray as xr
    from PIL.Image import Image

    from ..attribution import Concept
    from ..datasets import Scene
    from ..models import MultimodalModel
    from .pairs import PairCache
    from .patch_maps import PatchScores
    from .study import Study

__all__ = ["Seen"]

#: pictures whose activations stay in memory (one 7B picture is about 0.4 GB)
_CAPTURES_KEPT = 2


class Seen:
    """A mixin of `Study`: what it shows of its scenes."""

    model: MultimodalModel
    concept: Concept
    scenes: tuple[Scene, ...]
    evidence: xr.Dataset
    options: dict[str, Any]
    _pairs: PairCache
    _captions: dict[int, str]
    _captured: OrderedDict[int, Any]

    def pictures(self, scene: int) -> tuple[Image, Image]:
        """Return the original picture of a scene and the one without the concept.

        Twice the original where no mask says where the concept is (see `has_pair`).
        """
        chosen = self.scenes[scene]
        if not self.has_pair(scene):
            return chosen.image, chosen.image
        return chosen.image, self._pairs.inpainted(chosen, self.concept)

    def has_pair(self, scene: int) -> bool:
        """Return whether a scene has a mask of the concept, so that it can be painted away.

        A scene may show it without: then its data set knows a box or no more than the name.
        """
        return has_scene_mask(self.scenes[scene], self.concept)

    def caption(self, scene: int) -> str:
        """Return the caption of the unchanged model, whatever is ablated at the moment."""
        if scene not in self._captions:
            with self.model.interventions.suspended():
                self._captions[scene] = str(
                    self.model.caption(self.scenes[scene].image, self.options["prompt"])
                )
        return self._captions[scene]

    def references(self, scene: int) -> tuple[str, ...]:
        """Return the reference captions of a scene; may be empty."""
        return self.scenes[scene].captions

    def maps(
        self,
        rows: Sequence[int] | np.ndarray,
        indices: Sequence[int] | np.ndarray,
        *,
        scene: int,
        signed: bool = False,
    ) -> np.ndarray:
        """Return the activations of some neurons over the picture.

        Parameters
        ----------
        rows, indices : sequence of int
            Row in the evidence's ``layer`` dimension, and index in that layer, of each neuron.
        scene : int
            Which of `scenes`.
        signed : bool
            Multiply by the sign of the neuron's mean activation at the predicting position.

        Returns
        -------
        numpy.ndarray of float32, shape (neuron, grid row, grid column)
            In picture coordinates: cell (0, 0) is the picture's top left corner.

        Raises
        ------
        NotSupported
            If the model's image tokens have no place on the picture; the message says why.
        """
        tokens, token_map = self._image_activations(scene)
        chosen = tokens[np.asarray(rows, int), :, np.asarray(indices, int)]
        if signed:
            signs = np.sign(
                self.evidence["activation"].values[np.asarray(rows), np.asarray(indices)]
            )
            chosen = chosen * signs[:, None].astype(np.float32)
        geometry = token_map.geometry
        painted = [geometry.paint(values, size=geometry.shape, smooth=False) for values in chosen]
        return np.asarray(painted, np.float32).reshape(len(painted), *geometry.shape)

    def patch_scores(
        self,
        rows: Sequence[int] | np.ndarray,
        indices: Sequence[int] | np.ndarray,
        *,
        scene: int,
    ) -> PatchScores:
        """Return stage 1 and stage 2 of some neurons over the patches; see `patch_scores`."""
        from .patch_maps import patch_scores

        return patch_scores(cast("Study", self), rows, indices, scene=scene)

    def patch_words(self, scene: int, k: int = 3) -> list[list[str]]:
        """Return the words that the logit lens reads at each patch; see `patch_words`."""
        from .patch_maps import patch_words

        return patch_words(cast("Study", self), scene, k)

    def words(
        self, rows: Sequence[int] | np.ndarray, indices: Sequence[int] | np.ndarray, k: int = 6
    ) -> list[list[str]]:
        """Return the `k` words each neuron writes most, the sign of its activation applied."""
        from ..activations.decode import decode_rows

        return decode_rows(self.model, rows, indices, k=k, signs=self.evidence["activation"].values)

    def tokens(
        self, scene: int, row: int, index: int
    ) -> tuple[list[tuple[str, str, int]], np.ndarray]:
        """Return one neuron's activation along the prompt and the greedy caption of a scene.

        Returns
        -------
        list of (str, str, int)
            Text, role and generation step (-1 in the prompt) of each token.
        numpy.ndarray of float32, shape (token,)
        """
        from ..activations import capture

        with self.model.interventions.suspended():
            store = capture(
                self.model,
                self.scenes[scene].image,
                self.options["prompt"],
                generate=True,
                layers=[self.model.sites[row].layer],
            )
        same = store["expert"].values == self.model.sites[row].expert
        values = store["activation"].values[np.flatnonzero(same)[0], :, index]
        names = zip(
            store["token_text"].values.tolist(),
            store["role"].values.tolist(),
            store["step"].values.tolist(),
            strict=True,
        )
        return list(names), values.astype(np.float32)

    def _image_activations(self, scene: int) -> tuple[np.ndarray, Any]:
        from ..activations import image_activations

        if scene not in self._captured:
            with self.model.interventions.suspended():
                self._captured[scene] = image_activations(
                    self.model, self.scenes[scene].image, self.options["prompt"]
                )
            while len(self._captured) > _CAPTURES_KEPT:
                self._captured.popitem(last=False)
        self._captured.move_to_end(scene)
        return self._captured[scene]
