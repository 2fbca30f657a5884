"""The Explorer of a captured store: activations alone, without pairs and without a concept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets as t

from ..attribution import best_by_both
from ..core import BadArgument, NeuronIndex, NeuronSet, NotSupported, bad_argument
from ._base import Answer, Call, bundle, request
from .encode import encode_picture, int32_bytes
from .labelled import given_pictures, is_store, maps_of, tokens_of
from .look import (
    PREFETCHED,
    Beyond,
    grid_state,
    map_state,
    prefetched,
    scene_lines,
    thumbnail,
    token_state,
)
from .parts import Scored
from .saved import Pace, Saved, Several, named, save_tokens
from .traits import (
    NO_FACTS,
    NO_GRID,
    PictureTraits,
    SceneTraits,
    TokenTraits,
    WordTraits,
    facts_trait,
)

if TYPE_CHECKING:
    import xarray as xr
    from PIL.Image import Image

__all__ = ["StoreExplorer", "StoreLook"]

_WORDS_FIRST, _PAGE_PICTURES, _SAVED_PICTURES, _PICTURE = 64, 8, 12, 640
_PLATE = (236, 239, 244)


class StoreLook:
    """A captured store as the page sees it; read layer by layer, so it may lie on the disk.

    Parameters
    ----------
    store : xarray.Dataset
        From `mmkn_widgets.capture` or `mmkn_widgets.open_store`.
    index : NeuronIndex
        Of its rows.
    pictures : sequence of PIL.Image.Image, optional
        Those that were captured.
    """

    def __init__(
        self, store: xr.Dataset, index: NeuronIndex, pictures: list[Image] | None = None
    ) -> None:
        self.store = store
        self.index = index
        self.attrs = {**store.attrs, **next(iter(store.data_vars.values())).attrs}
        self.names = [str(name) for name in store["image"].values] if self._many else ["0"]
        self._pictures = pictures

    @property
    def _many(self) -> bool:
        return "image" in self.store.dims

    @property
    def n_scenes(self) -> int:
        """How many pictures there are."""
        return len(self.names)

    def _one(self, scene: int) -> xr.Dataset:
        return self.store.isel(image=scene) if self._many else self.store

    def _whole(self, scene: int) -> xr.Dataset:
        one = self._one(scene)
        if "activation" not in one:
            raise NotSupported("the store keeps only reductions: no maps and no tokens")
        return one

    def _layer(self, scene: int, row: int) -> xr.DataArray:
        """Return one layer of one picture, dims (token, neuron), in memory."""
        return self._whole(scene)["activation"].isel(layer=row).load()

    def geometry(self, scene: int) -> Any:
        """Return where the image tokens of a picture look."""
        return self._whole(scene).mmkn.geometry

    def picture(self, scene: int) -> Image:
        """Return a picture; an empty plate of its size where none was given."""
        from PIL import Image

        if self._pictures is not None:
            return self._pictures[scene]
        try:
            height, width = self.geometry(scene).picture_size
        except (NotSupported, BadArgument):
            height, width = 96, 96
        return Image.new("RGB", (int(width), int(height)), _PLATE)

    def maps(self, ids: np.ndarray, scene: int, *, signed: bool = False) -> np.ndarray:
        """Return float32 maps (neuron, row, column) of flat ids."""
        geometry = self.geometry(scene)
        out = np.zeros((len(ids), *geometry.shape), np.float32)
        rows, indices = self.index.split(ids)
        for row in np.unique(rows):
            at = np.flatnonzero(rows == row)
            out[at] = maps_of(self._layer(scene, int(row)).isel(neuron=indices[at]), geometry)
        return out * self.signs(ids, scene)[:, None, None] if signed else out

    def signs(self, ids: np.ndarray, scene: int) -> np.ndarray:
        """Return the sign of each neuron's activation where the answer begins; int8."""
        one = self._one(scene)
        if "activation" not in one:
            return np.ones(len(ids), np.int8)
        before = np.flatnonzero(np.asarray(one["step"].values) < 0)
        if "valid" in one.coords:
            before = before[np.asarray(one["valid"].values, bool)[before]]
        last = one["activation"].isel(token=int(before[-1])).values
        return np.where(last.ravel()[ids] < 0, -1, 1).astype(np.int8)

    def seen(self, scene: int, ids: np.ndarray) -> dict[str, Any]:
        """Return the traits of one picture, with the maps of neurons."""
        empty = {"maps": b"", "map_scale": b"", "map_offset": b"", "map_sign": b""}
        try:
            maps = self.maps(ids, scene)
            approximate = self.geometry(scene).approximate
            made = {
                **map_state(maps, self.signs(ids, scene)),
                "grid": grid_state(maps, approximate=approximate),
            }
        except (NotSupported, BadArgument) as error:
            made = {**empty, "grid": {**NO_GRID, "reason": str(error)}}
        return {**made, "picture": encode_picture(self.picture(scene), _PICTURE)}

    def words(self, ids: np.ndarray) -> list[list[str]]:
        """Return what neurons write, while the model that made the store is in memory."""
        from ..activations import decode, model_of

        try:
            model = model_of(self.attrs)
        except BadArgument:
            return [[] for _ in ids]
        out: list[list[str]] = [[] for _ in ids]
        rows, indices = self.index.split(ids)
        for row in np.unique(rows):
            at = np.flatnonzero(rows == row)
            layer, expert = self.index.rows[int(row)]
            found = decode(model, layer, indices[at].tolist(), expert=expert, k=6)
            for place, words in zip(at, found, strict=True):
                out[int(place)] = [str(word) for word in words]
        return out

    def tokens(self, flat: int, scene: int) -> tuple[list[tuple[str, str, int]], np.ndarray]:
        """Return (text, role, step) of each token, and one neuron's activation there."""
        (row,), (index,) = self.index.split([flat])
        return tokens_of(self._layer(scene, int(row)).isel(neuron=int(index)))

    def tokens_of(
        self, ids: np.ndarray, scene: int
    ) -> tuple[list[tuple[str, str, int]], np.ndarray]:
        """Return (text, role, step) of each token, and activations (neuron, token) there."""
        made = [self.tokens(int(flat), scene) for flat in ids]
        return made[0][0], np.stack([values for _, values in made])


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
    neurons : NeuronSet
        The checked survivors, by their layers in the model.
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
    owned: ClassVar[dict[str, type]] = {"beyond": Beyond}
    facts = facts_trait()

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
        self.beyond = Beyond(self)
        super().__init__(store, threshold_d, threshold_g, **traits)
        index = self.selection.index
        look = StoreLook(store, index)
        self.look = StoreLook(store, index, given_pictures(pictures, look.n_scenes))
        chosen = self.selection
        best = best_by_both(chosen.difference, chosen.gradcam, PREFETCHED)
        self.prefetched = prefetched(self.kept[:PREFETCHED], best)
        with self.hold_sync():
            self._show(
                {
                    "facts": {
                        **NO_FACTS,
                        "model": str(self.look.attrs.get("model", "")),
                        "layers": index.shape[0],
                        "neurons": index.shape[1],
                        "device": "stored activations",
                        "scenes": self.look.n_scenes,
                    },
                    "scenes": scene_lines(self.look.names),
                    "thumbnails": [thumbnail(self.look.picture(i)) for i in range(self._n())],
                    "map_ids": int32_bytes(self.prefetched),
                    "words": self.look.words(self.prefetched[:_WORDS_FIRST]),
                    **self.look.seen(0, self.prefetched),
                }
            )
            if len(self.prefetched):
                self.selected = int(self.prefetched[0])
                if "activation" in store:
                    self._show_tokens(self.selected, 0)

    def _n(self) -> int:
        return self.look.n_scenes

    @property
    def store(self) -> xr.Dataset:
        """The store."""
        return self.look.store

    @t.observe("scene")
    def _on_scene(self, change: Any) -> None:
        def seen() -> None:
            self._show(self.look.seen(change["new"], self.prefetched))

        self._guarded(seen, "scene")()

    def _show_tokens(self, flat: int, scene: int) -> None:
        tokens, values = self.look.tokens(flat, scene)
        self._show(token_state(tokens, values, f"activation of {self.selection.name(flat)}"))

    # -- requests ----------------------------------------------------------------------------

    def looked(self, call: Call) -> tuple[StoreLook, int]:
        """Return what a request for maps looks at."""
        return self.look, self._asked_scene(call)

    def words_of(self, ids: np.ndarray, _call: Call) -> list[list[str]]:
        """Return what neurons write."""
        return self.look.words(ids)

    def _asked_scene(self, call: Call) -> int:
        return call.whole("scene", self.scene, beyond=self._n())

    def _asked_neuron(self, call: Call) -> int:
        return call.whole("id", -1, beyond=len(self.look.index))

    @request("tokens")
    def _ask_tokens(self, call: Call) -> Answer:
        self._show_tokens(self._asked_neuron(call), self._asked_scene(call))
        return {}

    @request("neuron")
    def _ask_neuron(self, call: Call) -> Answer:
        """Return the pictures whose image tokens excite a neuron most, and where."""
        from ..studies import Strongest

        ids = np.asarray([self._asked_neuron(call)])
        grids = [self.look.maps(ids, scene)[0] for scene in range(self._n())]
        found = [Strongest.on(g, k) for k, g in enumerate(grids) if np.isfinite(g).any()]
        best = sorted(found, key=lambda one: -one.value)[:_PAGE_PICTURES]
        scenes = [{"scene": b.scene, "value": b.value, "patch": list(b.patch)} for b in best]
        return {"scenes": scenes, "concepts": [], "captions": 0, "neurons": 0}

    # -- out of the widget -------------------------------------------------------------------

    def to_neurons(self) -> NeuronSet:
        """Return `neurons`."""
        return self.neurons

    def saved_traits(self, pace: Pace) -> Saved:
        """Return what another picture and another neuron bring, for a page without a kernel."""
        scenes = range(min(max(_SAVED_PICTURES, self.scene + 1), self._n()))
        tokens = Several(("scene", "selected"))
        neurons = named(self) if "activation" in self.store else []
        found = {}
        for scene in pace.each(scenes):
            found[scene] = self.look.seen(scene, self.prefetched)
            save_tokens(found[scene], tokens, self.look, scene, neurons)
        return Saved({"scene": found}, [tokens])

    def account(self) -> Any:
        """Return what the static view says."""
        from .html import choosing_account, pictures_of, words_by_id

        return choosing_account(
            self.selection,
            self.labels,
            of=f" in {self.facts['model']}",
            pictures=pictures_of(self, self.kept),
            words=words_by_id(self.map_ids, self.words),
        )

    def close(self) -> None:
        """Let go of the store, and free the memory."""
        if self._closed or "look" not in vars(self):
            return
        super().close()
        del self.look, self.selection, self.beyond
