"""The Explorer of a captured store: activations alone, without pairs and without a concept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets as t

from ..core import NotSupported, bad_argument
from . import _kinds as k
from ._base import Answer, Call, bundle, request
from ._encode import encode_grids, encode_picture, float32_bytes, int32_array, int32_bytes
from ._labelled import given_pictures, is_store, maps_of, tokens_of
from ._scene_state import PREFETCHED, best_neurons, thumbnail
from ._scored import Scored
from .traits import PictureTraits, SceneTraits, TokenTraits, WordTraits

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["StoreExplorer"]

_WORDS_FIRST, _PAGE_PICTURES, _SAVED_PICTURES = 64, 8, 12
_PLATE = (236, 239, 244)


class StoreExplorer(WordTraits, PictureTraits, TokenTraits, SceneTraits, Scored):
    """A captured store in one widget: its most active neurons, their maps, words and tokens.

    Nothing is inpainted or ablated here. The plane has the largest activation at the image tokens
    against the largest at text tokens, or, where the store keeps gradients, against the largest
    activation times gradient (means over the images).

    Parameters
    ----------
    store : xarray.Dataset
        From `mmkn_widgets.capture` or `mmkn_widgets.open_store`; read layer by layer, so it may
        lie on the disk.
    pictures : picture or sequence of pictures, optional
        Those that were captured, in their order; the store does not keep them. Without them the
        maps lie on an empty plate.
    threshold_d, threshold_g : float, optional
        By default the pair that keeps the top 5 % of the first score and of these the 60 best by
        the second.

    Attributes
    ----------
    neurons : list of (row, index)
        The checked survivors; `to_neurons` makes a `NeuronSet` of them.
    scene : int
        Which picture of the store is shown.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> scenes = mmkn.datasets.pocket_world("val", 2)
    >>> store = mmkn.capture(model, [scene.image for scene in scenes])
    >>> explorer = store.mmkn.explore([scene.image for scene in scenes])
    >>> len(explorer.neurons), explorer.grid["rows"]
    (60, 8)
    """

    _esm: ClassVar[Any] = bundle("store_explorer")
    facts = k.json({}, "model, layers, neurons, device, scenes, seconds, inpainter")

    def __init__(
        self,
        store: xr.Dataset,
        pictures: Any = None,
        threshold_d: float | None = None,
        threshold_g: float | None = None,
        **traits: Any,
    ) -> None:
        if not is_store(store):
            raise bad_argument("store", type(store).__name__, "a store that capture made")
        self.store = store
        self._names = [str(name) for name in store["image"].values] if _many(store) else ["0"]
        self._pictures = given_pictures(pictures, len(self._names))
        super().__init__(store, threshold_d, threshold_g, **traits)
        rest = best_neurons(self._d, self._g)
        first = self.kept[:PREFETCHED]
        self._ids = np.concatenate([first, rest[~np.isin(rest, first)]])[:PREFETCHED]
        attrs = {**store.attrs, **next(iter(store.data_vars.values())).attrs}
        with self.hold_sync():
            self.facts = {
                "model": str(attrs.get("model", "")),
                "layers": int(self._d.shape[0]),
                "neurons": int(self._d.shape[1]),
                "device": "stored activations",
                "scenes": len(self._names),
                "seconds": None,
                "inpainter": "",
            }
            self.scenes = [{"name": name, "before": "", "after": ""} for name in self._names]
            self.thumbnails = [thumbnail(self._picture(i)) for i in range(len(self._names))]
            width = self._d.shape[1]
            ids = self._ids[:_WORDS_FIRST]
            self.words = self._words_of(ids // width, ids % width)
            if len(self._ids):
                self.selected = int(self._ids[0])
            self._show(0)
            self._show_tokens(self.selected, 0)

    # -- pictures ----------------------------------------------------------------------------

    @t.observe("scene")
    def _on_scene(self, change: Any) -> None:
        if not 0 <= change["new"] < len(self._names):
            raise bad_argument("scene", change["new"], f"0 to {len(self._names) - 1}")
        self._guarded(lambda: self._show(self.scene))()

    def _one(self, scene: int) -> xr.Dataset:
        return self.store.isel(image=scene) if _many(self.store) else self.store

    def _whole(self, scene: int) -> xr.Dataset:
        one = self._one(scene)
        if "activation" not in one:
            raise NotSupported("the store keeps only reductions: no maps and no tokens")
        return one

    def _geometry(self, scene: int) -> Any:
        return self._whole(scene).mmkn.geometry

    def _picture(self, scene: int) -> Any:
        from PIL import Image

        if self._pictures is not None:
            return self._pictures[scene]
        try:
            size = self._geometry(scene).picture_size
        except (NotSupported, ValueError, KeyError):
            size = (96, 96)
        return Image.new("RGB", (int(size[0]), int(size[1])), _PLATE)

    def _show(self, scene: int) -> None:
        """Fill the traits of one picture, in one message."""
        values = self._seen(scene)
        with self.hold_sync():
            self.map_ids = int32_bytes(self._ids)
            for name, value in values.items():
                setattr(self, name, value)

    def _seen(self, scene: int) -> dict[str, Any]:
        """Return the traits of one picture."""
        grid = {"rows": 0, "cols": 0, "extent": [0.0, 0.0, 1.0, 1.0], "approximate": False}
        made, why = None, ""
        try:
            maps = self._maps(self._ids, scene)
            made, shape = encode_grids(maps), maps.shape[1:]
            approximate = bool(self._geometry(scene).approximate)
            grid.update(rows=int(shape[0]), cols=int(shape[1]), approximate=approximate)
        except (NotSupported, ValueError) as error:
            why = str(error)
        return {
            "picture": encode_picture(self._picture(scene), 640),
            "grid": {**grid, "reason": why},
            "maps": made.grids if made else b"",
            "map_scale": made.scale if made else b"",
            "map_offset": made.offset if made else b"",
            "map_sign": self._signs(scene).tobytes(),
        }

    def saved_traits(self) -> dict[str, dict[int, dict[str, Any]]]:
        """Return what another picture brings, for a page without a kernel."""
        n = min(max(_SAVED_PICTURES, self.scene + 1), len(self._names))
        return {"scene": {scene: self._seen(scene) for scene in range(n)}}

    def _layer(self, scene: int, row: int) -> xr.DataArray:
        """Return one layer of one picture, dims (token, neuron), in memory."""
        return self._whole(scene)["activation"].isel(layer=row).load()

    def _maps(self, ids: np.ndarray, scene: int) -> np.ndarray:
        width, geometry = self._d.shape[1], self._geometry(scene)
        out = np.zeros((len(ids), *geometry.shape), np.float32)
        for row in np.unique(ids // width):
            at = np.flatnonzero(ids // width == row)
            chosen = self._layer(scene, int(row)).isel(neuron=ids[at] % width)
            out[at] = maps_of(chosen, geometry)
        return out

    def _signs(self, scene: int) -> np.ndarray:
        """Return the sign of each prefetched neuron's activation where the answer begins."""
        one = self._one(scene)
        if "activation" not in one:
            return np.ones(len(self._ids), np.int8)
        before = np.flatnonzero(np.asarray(one["step"].values) < 0)
        if "valid" in one.coords:
            before = before[np.asarray(one["valid"].values, bool)[before]]
        last = one["activation"].isel(token=int(before[-1])).values
        return np.where(last.ravel()[self._ids] < 0, -1, 1).astype(np.int8)

    # -- words and tokens --------------------------------------------------------------------

    def _words_of(self, rows: np.ndarray, indices: np.ndarray) -> list[list[str]]:
        """Return what the neurons write, while the model that made the store is in memory."""
        from ..activations import model_of

        attrs = {**self.store.attrs, **next(iter(self.store.data_vars.values())).attrs}
        try:
            model = model_of(attrs)
        except ValueError:
            return [[] for _ in rows]
        from ..models import decode

        out: list[list[str]] = [[] for _ in rows]
        for row in np.unique(rows):
            at = np.flatnonzero(rows == row)
            layer, expert = self.rows[int(row)]
            found = decode(model, layer, indices[at].tolist(), expert=expert, k=6)
            for place, words in zip(at, found, strict=True):
                out[int(place)] = [str(word) for word in words]
        return out

    def _show_tokens(self, flat: int, scene: int) -> None:
        if flat < 0 or "activation" not in self.store:
            return
        width = self._d.shape[1]
        layer = self._layer(scene, flat // width)
        tokens, values = tokens_of(layer.isel(neuron=flat % width))
        self.tokens = [{"text": x, "role": r, "step": s} for x, r, s in tokens]
        self.token_values = float32_bytes(values)
        self.token_label = "activation of L" + "·".join(str(n) for n in self._place(flat))

    # -- requests ----------------------------------------------------------------------------

    @request("maps")
    def _ask_maps(self, call: Call) -> Answer:
        ids = self._checked(np.asarray(call.args.get("ids", []), np.int64))
        return {"count": len(ids)}, [float32_bytes(self._maps(ids, self._asked_scene(call)))]

    @request("mean_map")
    def _ask_mean_map(self, call: Call) -> Answer:
        ids = self._checked(int32_array(call.buffers[0]))
        return {"count": len(ids)}, [
            float32_bytes(self._maps(ids, self._asked_scene(call)).mean(0))
        ]

    @request("words")
    def _ask_words(self, call: Call) -> Answer:
        ids, width = self._checked(np.asarray(call.args.get("ids", []), np.int64)), self._d.shape[1]
        return {"words": self._words_of(ids // width, ids % width)}

    @request("tokens")
    def _ask_tokens(self, call: Call) -> Answer:
        ids = self._checked(np.asarray([call.args.get("id", -1)], np.int64))
        self._show_tokens(int(ids[0]), self._asked_scene(call))
        return {}

    @request("neuron")
    def _ask_neuron(self, call: Call) -> Answer:
        """Return the pictures whose image tokens excite a neuron most, and where."""
        ids = self._checked(np.asarray([call.args.get("id", -1)], np.int64))
        found: list[dict[str, Any]] = []
        for scene in range(len(self._names)):
            one = self._maps(ids, scene)[0]
            row, col = np.unravel_index(int(np.nanargmax(one)), one.shape)
            patch = [int(row), int(col)]
            found.append({"scene": scene, "value": float(one[row, col]), "patch": patch})
        order = np.argsort([-item["value"] for item in found], kind="stable")
        best = [found[k] for k in order[:_PAGE_PICTURES]]
        return {"scenes": best, "concepts": [], "captions": 0, "neurons": 0}

    def _checked(self, ids: np.ndarray) -> np.ndarray:
        if ids.size and (ids.min() < 0 or ids.max() >= self._d.size):
            raise bad_argument("ids", int(ids.max()), f"flat ids from 0 to {self._d.size - 1}")
        if not ids.size:
            raise bad_argument("ids", "none", "at least one neuron")
        return ids

    def _asked_scene(self, call: Call) -> int:
        scene = int(call.args.get("scene", self.scene) or 0)
        if not 0 <= scene < len(self._names):
            raise bad_argument("scene", scene, f"0 to {len(self._names) - 1}")
        return scene

    # -- out of the widget -------------------------------------------------------------------

    def to_neurons(self) -> Any:
        """Return the checked survivors as a `NeuronSet`, best first."""
        from ..attribution import NeuronSet

        kept, width = self.kept, self._d.shape[1]
        place = np.asarray([self.rows[int(i) // width] for i in kept], int).reshape(-1, 2)
        provenance = {"method": "store", "axes": self.labels, "thresholds": self.thresholds}
        score = self._g.ravel()[kept]
        return NeuronSet(place[:, 0], kept % width, place[:, 1], score, provenance=provenance)


def _many(store: xr.Dataset) -> bool:
    return "image" in store.dims
