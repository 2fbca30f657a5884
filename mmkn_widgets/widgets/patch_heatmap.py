"""A picture with maps over its patches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import traitlets as t

from ..core import bad_argument
from ._base import Answer, Call, bundle, request
from ._encode import encode_grids, encode_picture, float32_bytes, int32_bytes
from ._labelled import maps_of
from ._scored import Scored
from .traits import ObjectTraits, PictureTraits, SceneTraits, WordTraits

__all__ = ["PatchHeatmap"]


class PatchHeatmap(WordTraits, PictureTraits, ObjectTraits, SceneTraits, Scored):
    """A picture with the map of one neuron, or of the mean over neurons, on its patches.

    Parameters
    ----------
    image : PIL.Image.Image
    maps : array or DataArray (neuron, row, column), or DataArray of a store (token, neuron)
        Activations over the token grid in picture coordinates; those of a store, such as
        ``store.activation.sel(layer=4, neuron=[7, 9])``, know their places.
    inpainted : PIL.Image.Image, optional
        Adds a swipe between the two pictures.
    objects : mapping of str to bool arrays (height, width)
        Objects that can be dragged onto a word of a `CaptionDiff`; patches always can.
    maps_of : callable, optional
        ``maps_of(image) -> maps``: with it, the page takes a picture of one's own by upload or
        drop and shows its maps.

    Examples
    --------
    >>> import numpy as np
    >>> from PIL import Image
    >>> heat = PatchHeatmap(Image.new("RGB", (48, 48)), np.random.rand(3, 6, 6))
    >>> heat.grid["rows"]
    6
    """

    _esm: ClassVar[Any] = bundle("patch_heatmap")

    picture_uploaded = t.Any(None, help="the picture that was brought last, PIL")

    def __init__(
        self,
        image: Any,
        maps: Any,
        *,
        inpainted: Any = None,
        objects: Mapping[str, Any] | None = None,
        maps_of: Callable[[Any], Any] | None = None,
        **traits: Any,
    ) -> None:
        from ._scene_state import painting_shape, shrink

        self._maps_of = maps_of
        made = _map_traits(maps)
        ones = np.ones((1, made.pop("count")), np.float32)
        shape = painting_shape(image.size)
        masks = {str(name): np.asarray(mask, bool) for name, mask in (objects or {}).items()}
        super().__init__(
            (ones, ones),
            0.0,
            0.0,
            picture=encode_picture(image, 640),
            inpainted=b"" if inpainted is None else encode_picture(inpainted, 640),
            uploads=maps_of is not None,
            mask_shape=list(shape),
            objects=[{"name": n, "area": float(m.mean())} for n, m in masks.items()],
            object_masks=[shrink(m, shape).tobytes() for m in masks.values()],
            **made,
            **traits,
        )

    @request("upload", worker=False)
    def _ask_upload(self, call: Call) -> Answer:
        from ._own_picture import read_upload

        if self._maps_of is None:
            raise bad_argument("picture", "an upload", "PatchHeatmap(..., maps_of=...)")
        data = call.buffers[0] if call.buffers else b""
        image, _, note = read_upload(data, str(call.args.get("name", "")))
        made = _map_traits(self._maps_of(image))
        count = made.pop("count")
        self._d = self._g = np.ones((1, count), np.float32)
        with self.hold_sync():
            self.picture, self.inpainted = encode_picture(image, 640), b""
            self.objects, self.object_masks = [], []
            self.shape = [1, count]
            self.difference = self.gradcam = float32_bytes(self._d)
            for name, value in made.items():
                setattr(self, name, value)
        self.picture_uploaded = image
        return {"note": note}


def _map_traits(maps: Any) -> dict[str, Any]:
    """Return the traits of maps (neuron, row, column), and how many there are."""
    if "token" in getattr(maps, "dims", ()):
        maps = maps_of(maps)
    values = np.asarray(getattr(maps, "values", maps), np.float32)
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or not values.size:
        raise bad_argument("maps", f"shape {values.shape}", "(neuron, row, column)")
    made = encode_grids(values)
    return {
        "count": len(values),
        "grid": {
            "rows": int(values.shape[1]),
            "cols": int(values.shape[2]),
            "extent": [0.0, 0.0, 1.0, 1.0],
            "approximate": False,
            "reason": "",
        },
        "map_ids": int32_bytes(np.arange(len(values))),
        "maps": made.grids,
        "map_scale": made.scale,
        "map_offset": made.offset,
        "map_sign": np.ones(len(values), np.int8).tobytes(),
    }
