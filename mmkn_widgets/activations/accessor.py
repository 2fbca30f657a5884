"""``array.mmkn`` and ``store.mmkn``: maps on the picture, reductions, words and top neurons."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from ..core import BadArgument, NeuronSet, NotSupported, bad_argument, top_neurons
from ..models import one_picture
from .picture import FILLS, ROLES, reductions
from .places import geometries_from_text, geometry_from_text

if TYPE_CHECKING:
    from ..models import Geometry, MultimodalModel

__all__ = ["ArrayAccessor", "StoreAccessor", "model_of", "remember"]

#: Models that captured something and are still alive, by the hash of their weights.
_MODELS: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


def remember(model: MultimodalModel) -> None:
    """Let stores of this model find it for `words`, as long as it lives."""
    _MODELS[model.weights_hash] = model


@xr.register_dataarray_accessor("mmkn")
class ArrayAccessor:
    """What a DataArray of activations (or scores over tokens) can be asked.

    Available as ``.mmkn`` on the variables of a store, and on what is selected from them.
    """

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    def _places(self) -> str:
        if "geometry" not in self._array.coords or self._array["geometry"].ndim:
            raise BadArgument(
                "image: this array holds "
                + ("several images" if "geometry" in self._array.coords else "no token geometry")
                + "; select one image of a store that capture made, such as .isel(image=0)"
            )
        text = str(self._array["geometry"].item())
        if not text:
            raise BadArgument("geometry: the store was made by hand and knows no places of tokens")
        return text

    @property
    def geometry(self) -> Geometry:
        """The places of the image tokens on the picture; select one image first.

        Raises
        ------
        BadArgument
            If there are several images, or none is known.
        """
        return geometry_from_text(self._places())

    @property
    def geometries(self) -> tuple[Geometry, ...]:
        """One geometry for each picture of the prompt; select one image first."""
        return geometries_from_text(self._places())

    def one(
        self,
        layer: int | None = None,
        neuron: int | None = None,
        expert: int | None = None,
        image: Any = None,
    ) -> xr.DataArray:
        """Select by label: an image, a layer (of an expert), a neuron."""
        found = self._array
        if image is not None:
            found = found.sel(image=image)
        if layer is not None and "layer" in found.dims:
            rows = np.asarray(found["layer"].values) == layer
            if expert is not None and "expert" in found.coords:
                rows &= np.asarray(found["expert"].values) == expert
            places = np.flatnonzero(rows)
            if len(places) != 1:
                layers = sorted(set(np.asarray(found["layer"].values).tolist()))
                wanted = "expert= too, it has several" if len(places) else f"one of {layers}"
                raise bad_argument("layer", layer, wanted)
            found = found.isel(layer=int(places[0]))
        if neuron is not None and "neuron" in found.dims:
            if neuron not in found.indexes["neuron"]:
                raise bad_argument("neuron", neuron, f"0 to {int(found['neuron'][-1])}")
            found = found.sel(neuron=neuron)
        return found

    def patch_map(
        self,
        neuron: int | None = None,
        layer: int | None = None,
        *,
        expert: int | None = None,
        image: Any = None,
        picture: int | None = None,
        size: tuple[int, int] | None = None,
        smooth: bool = True,
    ) -> xr.DataArray:
        """Paint one neuron's activations at the image tokens onto the picture.

        Parameters
        ----------
        neuron, layer, expert, image
            What to select first, by label, where it is not selected yet.
        picture : int, optional
            Which picture of the prompt, where it holds several.
        size : tuple of int, optional
            (height, width) of the map; the original picture's by default.
        smooth : bool
            Bilinear between the cells' centres, or each pixel its cell's value.

        Returns
        -------
        xarray.DataArray
            Dims (y, x): pixel centres of the original picture, (0, 0) at its top left.

        Raises
        ------
        NotSupported
            If the model's image tokens have no place on the picture; the message says why.
        """
        values = self.one(layer, neuron, expert, image)
        if values.dims != ("token",):
            left = [dim for dim in values.dims if dim != "token"]
            raise BadArgument(f"patch_map: {left or ['token']} are left; select one of each")
        geometries = values.mmkn.geometries
        geometry, own = one_picture(geometries, picture)
        n_tokens = sum(one.n_tokens for one in geometries)
        at_image = values.values[np.asarray(values["role"].values) == "image"]
        if len(at_image) != n_tokens:
            raise NotSupported(
                f"patch_map: the store keeps {len(at_image)} of {n_tokens} image tokens; "
                "capture with roles=('image',) or all roles"
            )
        painted = geometry.paint(np.asarray(at_image[own], np.float64), size, smooth=smooth)
        height, width = geometry.picture_size
        y = (np.arange(painted.shape[0]) + 0.5) * height / painted.shape[0]
        x = (np.arange(painted.shape[1]) + 0.5) * width / painted.shape[1]
        kept = {k: v for k, v in values.coords.items() if not v.ndim and k != "geometry"}
        note = {"approximate": geometry.approximate, "geometry": geometry.kind}
        return xr.DataArray(
            painted, {"y": y, "x": x, **kept}, ("y", "x"), name=values.name, attrs=note
        )

    def reduce(self, how: str = "max", role: str | None = None) -> xr.DataArray:
        """Reduce over tokens, padding left out.

        Parameters
        ----------
        how : {"max", "mean"}
        role : {"text", "image", "special", "generated"}, optional
            Only its tokens; all by default.

        Returns
        -------
        xarray.DataArray
            float32, the same dims without ``token``; NaN where no token has the role.
        """
        if how not in ("max", "mean"):
            raise bad_argument("how", how, "'max' or 'mean'")
        if role is not None and role not in ROLES:
            raise bad_argument("role", role, "one of " + ", ".join(ROLES))
        array = self._array
        inside = array["valid"] if "valid" in array.coords else xr.ones_like(array["token"], bool)
        if role is not None:
            inside = inside & (array["role"] == role)
        if {"layer", "neuron"} <= set(array.dims) and array.ndim <= 4:
            return self._by_layer(inside, how)
        values = array.astype(np.float32).where(inside)
        return values.max("token") if how == "max" else values.mean("token")

    def _by_layer(self, inside: xr.DataArray, how: str) -> xr.DataArray:
        """Reduce without a second copy of the store: picture by picture, layer by layer."""
        many = "image" in self._array.dims
        dims = ("image", "layer", "token", "neuron") if many else ("layer", "token", "neuron")
        ordered = self._array.transpose(*dims)
        masks = inside.transpose("image", "token") if "image" in inside.dims else inside
        pictures = range(ordered.sizes["image"]) if many else range(1)
        parts = []
        for place in pictures:
            mask = masks.isel(image=place).values if "image" in masks.dims else masks.values
            role = np.where(mask, ROLES[0], "")
            one = ordered.isel(image=place) if many else ordered
            rows = [one.isel(layer=slice(r, r + 1)).values for r in range(one.sizes["layer"])]
            parts.append(np.concatenate([reductions(row, role)[how][0] for row in rows]))
        like = ordered.isel(token=0, drop=True)
        kept = {k: v for k, v in like.coords.items() if set(v.dims) <= {"image", "layer", "neuron"}}
        values = np.stack(parts) if many else parts[0]
        dropped = set(FILLS)
        coords = {k: v for k, v in kept.items() if k not in dropped}
        return xr.DataArray(values, coords, like.dims, name=ordered.name, attrs=ordered.attrs)

    def tensor(self, dtype: str | None = None) -> torch.Tensor:
        """Return the values as a torch tensor in the dtype the model computed in, bit for bit.

        Parameters
        ----------
        dtype : str, optional
            Such as ``"bfloat16"``; by default the store's.
        """
        wanted = dtype or self._array.attrs.get("dtype")
        found = torch.from_numpy(np.array(self._array.values))
        return found if wanted is None else found.to(getattr(torch, wanted))

    def words(
        self,
        neuron: int | Sequence[int],
        layer: int | None = None,
        *,
        expert: int | None = None,
        k: int = 10,
        norm: bool = False,
        model: MultimodalModel | None = None,
    ) -> list[str] | list[list[str]]:
        """Return the words that a neuron writes; see `mmkn_widgets.models.decode`.

        Parameters
        ----------
        neuron : int or sequence of int
        layer : int, optional
            Where it is not selected yet.
        expert, k, norm
        model : MultimodalModel, optional
            By default the one that made the store, while it is in memory.
        """
        from ..models import decode

        if layer is None:
            layer = int(self._array["layer"].item())
        if expert is None:
            row = self._array["expert"] if "expert" in self._array.coords else None
            expert = int(row.item()) if row is not None and not row.ndim else -1
        found = model if model is not None else model_of(self._array.attrs)
        indices = [neuron] if isinstance(neuron, int | np.integer) else list(neuron)
        words = decode(found, layer, indices, expert=expert, k=k, norm=norm)
        return words[0] if isinstance(neuron, int | np.integer) else words

    def top(self, n: int = 20, *, how: str = "max", role: str | None = None) -> NeuronSet:
        """Return the neurons with the largest reduced activation, mean over images.

        Parameters
        ----------
        n : int
        how, role
            See `reduce`.
        """
        array = self._array
        reduced = self.reduce(how, role) if "token" in array.dims else array
        others = [dim for dim in reduced.dims if dim not in ("layer", "neuron")]
        chosen = reduced.mean(others, skipna=True).rename(f"{how}_{role or 'all'}")
        return top_neurons(chosen.transpose("layer", "neuron"), n)


def model_of(attrs: Mapping[str, Any]) -> Any:
    """Return the model that made a store, by the attributes of the store.

    Raises
    ------
    BadArgument
        If it is not in memory any more.
    """
    found = _MODELS.get(str(attrs.get("weights", "")))
    if found is None:
        raise bad_argument(
            "model", None, f"the model that made the store, {attrs.get('model', 'unknown')!r}"
        )
    return found


def _over_images(reduced: xr.DataArray) -> xr.DataArray:
    """Return the mean over all but layer and neuron, as float32, with their labels alone."""
    others = [dim for dim in reduced.dims if dim not in ("layer", "neuron")]
    values = reduced.mean(others, skipna=True) if others else reduced
    kept = [name for name in ("layer", "expert", "neuron") if name in values.coords]
    alone = values.transpose("layer", "neuron").astype(np.float32).reset_coords(drop=True)
    labels = {name: values.coords[name] for name in kept}
    return alone.drop_attrs().assign_coords(labels)


@xr.register_dataset_accessor("mmkn")
class StoreAccessor:
    """What a store can be asked; passes on to its ``activation``.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> store = mmkn.capture(model, mmkn.datasets.pocket_world("val", 1)[0].image)
    >>> store.mmkn.reduce("max", role="image").dims, len(store.mmkn.top(5, role="image"))
    (('layer', 'neuron'), 5)
    >>> len(store.mmkn.words(7, layer=4, k=3))
    3
    """

    def __init__(self, store: xr.Dataset) -> None:
        self._store = store

    def _array(self, variable: str = "activation") -> ArrayAccessor:
        if variable not in self._store:
            raise bad_argument("variable", variable, f"one of {list(self._store.data_vars)}")
        array = self._store[variable]
        return ArrayAccessor(array.assign_attrs({**self._store.attrs, **array.attrs}))

    @property
    def geometry(self) -> Geometry:
        """See `ArrayAccessor.geometry`."""
        return self._array().geometry

    def patch_map(
        self,
        neuron: int | None = None,
        layer: int | None = None,
        *,
        variable: str = "activation",
        **options: Any,
    ) -> xr.DataArray:
        """See `ArrayAccessor.patch_map`."""
        return self._array(variable).patch_map(neuron, layer, **options)

    def reduce(
        self, how: str = "max", role: str | None = None, *, variable: str = "activation"
    ) -> xr.DataArray:
        """See `ArrayAccessor.reduce`; read from disk where the store keeps it."""
        kept = self._store.get(f"{variable}_{how}")
        if kept is not None and role in ROLES:
            return kept.sel(token_role=role, drop=True).rename(variable)
        return self._array(variable).reduce(how, role)

    def scores(self) -> xr.Dataset:
        """Return two scores of every neuron: what it does at the picture, and what elsewhere.

        Returns
        -------
        xarray.Dataset
            float32 variables of dims (layer, neuron), means over the images; attributes
            ``long_name`` and ``short_name``. ``first``: the largest activation at image tokens (at
            all where there is none). ``second``: the largest activation times gradient over all
            tokens where the store keeps gradients, else the largest activation at text and
            generated tokens.

        Examples
        --------
        >>> import mmkn_widgets as mmkn
        >>> model = mmkn.load_model("pocket")
        >>> store = mmkn.capture(model, mmkn.datasets.pocket_world("val", 1)[0].image)
        >>> store.mmkn.scores()["first"].attrs["long_name"]
        'largest activation at image tokens'
        """
        store = self._store
        names = store["role"] if "role" in store.coords else store["token_role"]
        roles = {str(role) for role in np.unique(names.values)}
        where = "image" if "image" in roles else None
        first = _over_images(self.reduce("max", where))
        place = "image tokens" if where else "all tokens"
        if {"activation", "gradient"} <= set(store.data_vars):
            product = store["activation"] * store["gradient"]
            array = ArrayAccessor(product.assign_attrs(store["activation"].attrs))
            second, more = _over_images(array.reduce()), ("largest activation × gradient", "cam")
        elif parts := [
            _over_images(self.reduce("max", role))
            for role in ("text", "generated")
            if role in roles
        ]:
            second = parts[0].copy(data=np.fmax.reduce([part.values for part in parts]))
            more = ("largest activation at text tokens", "text")
        else:
            second, more = first, ("the same", "same")
        said = ((f"largest activation at {place}", where or "all"), more)
        return xr.Dataset(
            {
                name: values.assign_attrs(long_name=long, short_name=short)
                for name, values, (long, short) in zip(
                    ("first", "second"), (first, second), said, strict=True
                )
            }
        )

    def top(self, n: int = 20, *, how: str = "max", role: str | None = None) -> NeuronSet:
        """See `ArrayAccessor.top`."""
        return ArrayAccessor(self.reduce(how, role)).top(n, how=how, role=role)

    def words(self, neuron: int | Sequence[int], layer: int | None = None, **options: Any) -> Any:
        """See `ArrayAccessor.words`."""
        name = next(iter(self._store.data_vars))
        return self._array(str(name)).words(neuron, layer, **options)

    def tensor(self, variable: str = "activation") -> torch.Tensor:
        """See `ArrayAccessor.tensor`."""
        return self._array(variable).tensor()

    def explore(self, pictures: Any = None, **options: Any) -> Any:
        """Open the Explorer on this store: activations alone, no pairs, no concept.

        Parameters
        ----------
        pictures : picture or sequence of pictures, optional
            Those that were captured, in their order; without them the maps lie on an empty plate.
        **options
            Of `mmkn_widgets.widgets.StoreExplorer`: ``threshold_d``, ``threshold_g``.

        Returns
        -------
        StoreExplorer
            Sliders over the neurons' largest activations, maps on the picture, words, the chosen
            neuron along the tokens. `mmkn_widgets.Explorer` needs a study.

        Examples
        --------
        >>> import mmkn_widgets as mmkn
        >>> model = mmkn.load_model("pocket")
        >>> picture = mmkn.datasets.pocket_world("val", 1)[0].image
        >>> explorer = mmkn.capture(model, picture).mmkn.explore(picture)
        >>> explorer.threshold_d = 2.0
        >>> explorer.neurons == explorer.neurons.top(len(explorer.kept))
        True
        """
        from ..widgets import StoreExplorer

        return StoreExplorer(self._store, pictures, **options)
