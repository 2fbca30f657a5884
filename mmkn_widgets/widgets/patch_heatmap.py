"""A picture with maps over its patches."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .._errors import bad_argument
from ._base import bundle
from ._encode import encode_grids, encode_picture, int32_bytes
from ._scored import Scored
from .traits import PictureTraits, SceneTraits, WordTraits

__all__ = ["PatchHeatmap"]


class PatchHeatmap(WordTraits, PictureTraits, SceneTraits, Scored):
    """A picture with the map of one neuron, or of the mean over neurons, on its patches.

    Parameters
    ----------
    image : PIL.Image.Image
    maps : array or DataArray (neuron, row, column)
        Activations over the token grid in picture coordinates.
    inpainted : PIL.Image.Image, optional
        Adds a swipe between the two pictures.

    Examples
    --------
    >>> import numpy as np
    >>> from PIL import Image
    >>> heat = PatchHeatmap(Image.new("RGB", (48, 48)), np.random.rand(3, 6, 6))
    >>> heat.grid["rows"]
    6
    """

    _esm: ClassVar[Any] = bundle("patch_heatmap")

    def __init__(self, image: Any, maps: Any, *, inpainted: Any = None, **traits: Any) -> None:
        values = np.asarray(getattr(maps, "values", maps), np.float32)
        if values.ndim == 2:
            values = values[None]
        if values.ndim != 3 or not values.size:
            raise bad_argument("maps", f"shape {values.shape}", "(neuron, row, column)")
        ones = np.ones((1, len(values)), np.float32)
        made = encode_grids(values)
        super().__init__(
            (ones, ones),
            0.0,
            0.0,
            picture=encode_picture(image, 640),
            inpainted=b"" if inpainted is None else encode_picture(inpainted, 640),
            grid={
                "rows": int(values.shape[1]),
                "cols": int(values.shape[2]),
                "extent": [0.0, 0.0, 1.0, 1.0],
                "approximate": False,
                "reason": "",
            },
            map_ids=int32_bytes(np.arange(len(values))),
            maps=made.grids,
            map_scale=made.scale,
            map_offset=made.offset,
            map_sign=np.ones(len(values), np.int8).tobytes(),
            **traits,
        )
