"""``array.mmkn`` and ``store.mmkn``: maps on the picture, reductions, words and top neurons."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from ..core import (
    BadArgument,
    NeuronSet,
    NotSupported,
    bad_argument,
    described_numbers,
    top_neurons,
    whole_number,
    whole_numbers,
)
from ..models import one_picture
from .labels import (
    FILLS,
    image_tokens,
    is_unread,
    numbers_of,
    pick_image,
    roles_of,
    text_of,
    valid_of,
    with_dims,
    words_of,
)
from .picture import ROLES, reductions
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

    Available as ``.mmkn`` on the variables of a store, and on what is selected from them. Layers,
    neurons and tokens are known by their coordinates, never by their position; values that are NaN
    (as ``.where`` leaves them) are left out of every reduction.
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
        text = text_of(self._array["geometry"].values)
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
        """Select by label: an image, a layer (of an expert), a neuron.

        Raises
        ------
        BadArgument
            If none, or more than one, has that label, also where it was selected already and is
            another one; the message says which there are.
        """
        found = self._array
        if image is not None:
            found = pick_image(found, image)
        if layer is not None or expert is not None:
            found = _pick_layer(found, layer, expert)
        if neuron is not None:
            wanted, known = whole_number("neuron", neuron), numbers_of(found, "neuron")
            places = np.flatnonzero(known == wanted)
            if len(places) != 1:
                kept = described_numbers("a neuron", known)
                raise bad_argument("neuron", neuron, f"{kept}, each once" if len(places) else kept)
            found = found.isel(neuron=int(places[0])) if "neuron" in found.dims else found
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
            What to select first, by label, where it is not selected yet. An image by its name.
        picture : int, optional
            Which picture of the prompt, where it holds several.
        size : tuple of int, optional
            (height, width) of the map; the original picture's by default.
        smooth : bool
            Bilinear between the cells' centres, or each pixel its cell's value.

        Returns
        -------
        xarray.DataArray
            Dims (y, x): pixel centres of the original picture, (0, 0) at its top left. Each token
            is painted at its own place, in whatever order they stand; where its value is NaN the
            map is.

        Raises
        ------
        BadArgument
            If more than one image, layer or neuron is left, or the coordinates that place the
            tokens are gone.
        NotSupported
            If the model's image tokens have no place on the picture; the message says why.
        """
        values = self.one(layer, neuron, expert, image)
        if values.dims != ("token",):
            left = [dim for dim in values.dims if dim != "token"]
            raise BadArgument(f"patch_map: {left or ['token']} are left; select one of each")
        geometries = values.mmkn.geometries
        if picture is not None:
            picture = whole_number("picture", picture)
        geometry, own = one_picture(geometries, picture)
        if not geometry.paintable:
            raise NotSupported(geometry.reason or "these image tokens have no place on a picture")
        if size is not None:
            size = _size(size)
        at_image = values.values[image_tokens(values, geometries)[own]]
        painted = _paint(geometry, np.asarray(at_image, np.float64), size, smooth)
        height, width = geometry.picture_size
        y = (np.arange(painted.shape[0]) + 0.5) * height / painted.shape[0]
        x = (np.arange(painted.shape[1]) + 0.5) * width / painted.shape[1]
        kept = {k: v for k, v in values.coords.items() if not v.ndim and k != "geometry"}
        note = {"approximate": geometry.approximate, "geometry": geometry.kind}
        return xr.DataArray(
            painted, {"y": y, "x": x, **kept}, ("y", "x"), name=values.name, attrs=note
        )

    def reduce(self, how: str = "max", role: str | None = None) -> xr.DataArray:
        """Reduce over tokens, padding and NaN left out.

        Parameters
        ----------
        how : {"max", "mean"}
        role : {"text", "image", "special", "generated"}, optional
            Only its tokens; all by default.

        Returns
        -------
        xarray.DataArray
            float32, the same dims without ``token``; NaN where no token has the role and a value.

        Raises
        ------
        BadArgument
            If there is no dim ``token``, or the coordinates ``valid`` and ``role`` are gone.
        """
        _check(how, role)
        array = with_dims(self._array, "token")
        if not array.size:
            raise bad_argument("reduce", f"sizes {dict(array.sizes)}", "at least one value")
        inside = valid_of(array)
        if role is not None:
            inside = inside & (roles_of(array) == role)
        dims = set(array.dims)
        if {"layer", "neuron"} <= dims <= {"image", *_STORED} and set(inside.dims) <= _TOKENS:
            return _by_layer(array, inside, how)
        values = array.astype(np.float32).where(inside)
        over = values.max if how == "max" else values.mean
        found: xr.DataArray = over("token", skipna=True, keep_attrs=True)
        return found.drop_vars(FILLS, errors="ignore")

    def tensor(self, dtype: str | None = None) -> torch.Tensor:
        """Return the values as a torch tensor in the dtype the model computed in, bit for bit.

        Parameters
        ----------
        dtype : str, optional
            Such as ``"bfloat16"``; by default the store's.

        Raises
        ------
        BadArgument
            If the dtype is none, or the values are no longer the model's (a mean, a product) and
            its dtype cannot hold them exactly; then say which to round to.
        """
        wanted = dtype or self._array.attrs.get("dtype")
        values = np.array(self._array.values, order="C")
        found = torch.from_numpy(values.astype(values.dtype.newbyteorder("="), copy=False))
        if wanted is None:
            return found
        kind = vars(torch).get(str(wanted))
        if not isinstance(kind, torch.dtype):
            raise bad_argument("dtype", wanted, "the name of a torch dtype, such as 'bfloat16'")
        made = found.to(kind)
        if dtype is None and not torch.equal(made.to(found.dtype).nan_to_num(), found.nan_to_num()):
            raise bad_argument(
                "dtype", None, f"a dtype: the values are no longer the model's, and {wanted} does "
                "not hold them exactly; 'float32' does, or name one to round to"
            )  # fmt: skip
        return made

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

        Raises
        ------
        BadArgument
            If the model is gone (or arithmetic dropped the attributes that name it), or several
            layers or experts are left.
        """
        from ..models import decode

        layer, expert = self._row(layer, expert)
        found = model if model is not None else model_of(self._array.attrs)
        several = isinstance(neuron, Iterable) and np.ndim(neuron) > 0
        indices = whole_numbers("neuron", neuron, lowest=0).tolist()
        words = decode(found, layer, indices, expert=expert, k=k, norm=norm)
        return words if several else words[0]

    def _row(self, layer: int | None, expert: int | None) -> tuple[int, int]:
        """Return the layer and the expert that are meant, from what is left where not given."""
        array = self._array
        if layer is None:
            known = np.unique(numbers_of(array, "layer"))
            if len(known) != 1:
                raise bad_argument("layer", None, f"one of {known.tolist()}")
            layer = int(known[0])
        layer = whole_number("layer", layer, lowest=0)
        if expert is None:
            experts = [-1]
            if "expert" in array.coords and "layer" in array.coords:
                rows = np.atleast_1d(array["layer"].values) == layer
                experts = np.unique(np.atleast_1d(array["expert"].values)[rows]).tolist() or [-1]
            if len(experts) > 1:
                raise bad_argument("expert", None, f"one of {experts} in layer {layer}")
            expert = experts[0]
        return layer, whole_number("expert", expert, lowest=-1)

    def top(self, n: int = 20, *, how: str = "max", role: str | None = None) -> NeuronSet:
        """Return the neurons with the largest reduced activation, mean over images.

        Parameters
        ----------
        n : int
            From 1; fewer come where fewer have a value at these tokens.
        how, role
            See `reduce`. Of what is reduced already only the layers, neurons and images are left.

        Returns
        -------
        NeuronSet
            Named by the coordinates ``layer``, ``expert`` and ``neuron``.

        Raises
        ------
        BadArgument
            If these are gone, or dims are left over which nothing says how to reduce.
        """
        _check(how, role)
        array = self._array
        if "token_role" in array.dims or "token_role" in array.coords:
            array = _of_role(array, role, how)
        elif "token" in array.dims or "token" in array.coords:
            array = self.reduce(how, role)
        elif role is not None:
            raise bad_argument(
                "role", role, "None: no tokens are left to choose from; give role= to reduce"
            )
        return _best(array, n, f"{how}_{role or 'all'}")


#: Dims of an array as it is captured, of one image; and what a mask of tokens may have.
_STORED, _TOKENS = ("layer", "token", "neuron"), {"image", "token"}


def _check(how: str, role: str | None) -> None:
    if how not in ("max", "mean"):
        raise bad_argument("how", how, "'max' or 'mean'")
    if role is not None and role not in ROLES:
        raise bad_argument("role", role, "one of " + ", ".join(ROLES))


def _pick_layer(array: xr.DataArray, layer: int | None, expert: int | None) -> xr.DataArray:
    known = numbers_of(array, "layer")
    rows = np.ones(len(known), bool)
    if layer is not None:
        rows &= known == whole_number("layer", layer)
    there = np.full(len(known), -1)
    if "expert" in array.coords:
        there = np.broadcast_to(array["expert"].values, (len(known),))
    if expert is not None and rows.any():
        mine = rows & (there == whole_number("expert", expert))
        if not mine.any():
            raise bad_argument("expert", expert, f"one of {np.unique(there[rows]).tolist()}")
        rows = mine
    places = np.flatnonzero(rows)
    if len(places) > 1:
        several = len(np.unique(there[places])) == len(places) and layer is not None
        wanted = "expert= too, it has several" if several else f"one of {known.tolist()}, each once"
        raise bad_argument("layer", layer, wanted)
    if not len(places):
        raise bad_argument("layer", layer, f"one of {np.unique(known).tolist()}")
    return array.isel(layer=int(places[0])) if "layer" in array.dims else array


def _size(size: Any) -> tuple[int, int]:
    found = whole_numbers("size", size, lowest=1)
    if len(found) != 2:
        raise bad_argument("size", size, "(height, width)")
    return int(found[0]), int(found[1])


def _paint(
    geometry: Geometry, values: np.ndarray, size: tuple[int, int] | None, smooth: bool
) -> np.ndarray:
    """Paint values of which some may be NaN: between those that are known, else NaN."""
    known = ~np.isnan(values)
    if known.all():
        return geometry.paint(values, size, smooth=smooth)
    total = geometry.paint(np.where(known, values, 0.0), size, smooth=smooth)
    share = geometry.paint(known.astype(np.float64), size, smooth=smooth)
    looked = geometry.paint(np.ones(len(values)), size, smooth=smooth)
    found = np.divide(total, share, out=np.full(total.shape, np.nan), where=share > 1e-9)
    return np.where(looked > 0, found, total)


def _by_layer(array: xr.DataArray, inside: xr.DataArray, how: str) -> xr.DataArray:
    """Reduce without a second copy of the store: picture by picture, layer by layer."""
    many = "image" in array.dims
    ordered = array.transpose(*(["image"] if many else []), *_STORED)
    along = ("image", "token") if many else ("token",)
    mask = inside.transpose(*[dim for dim in along if dim in inside.dims]).values
    shape = [array.sizes[dim] if dim in inside.dims else 1 for dim in along]
    masks = np.broadcast_to(mask.reshape(shape), [array.sizes[dim] for dim in along])
    parts = []
    for place in range(array.sizes["image"] if many else 1):
        one = ordered.isel(image=place) if many else ordered
        kept = masks[place] if many else masks
        rows = range(one.sizes["layer"])
        parts.append(np.stack([_reduced(one.isel(layer=row), kept, how) for row in rows]))
    like = ordered.isel(token=0, drop=True).drop_vars(FILLS, errors="ignore")
    values = np.stack(parts) if many else parts[0]
    return xr.DataArray(values, like.coords, like.dims, name=array.name, attrs=array.attrs)


def _reduced(layer: xr.DataArray, kept: np.ndarray, how: str) -> np.ndarray:
    """Reduce one layer's (token, neuron) over the tokens kept; float32, shape (neuron,)."""
    values = layer.values
    found: np.ndarray = reductions(values[None], np.where(kept, ROLES[0], ""))[how][0, 0]
    gaps = np.isnan(found)
    if gaps.any() and kept.any():  # some are NaN: over the others
        some = values[kept][:, gaps].astype(np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of neurons without any value
            over = np.nanmax(some, 0) if how == "max" else np.nanmean(some, 0, dtype=np.float64)
        found[gaps] = over
    return found


def _of_role(array: xr.DataArray, role: str | None, how: str) -> xr.DataArray:
    """Select one role of a reduction over roles, or all of them where that can be said."""
    known = np.atleast_1d(words_of(array["token_role"].values)).tolist()
    if role is None and how == "max" and set(known) == set(ROLES):
        return array.max("token_role", skipna=True, keep_attrs=True)
    if role not in known:
        raise bad_argument("role", role, "one of " + ", ".join(known))
    if "token_role" not in array.dims:
        return array.drop_vars("token_role")
    return array.isel(token_role=known.index(str(role)), drop=True)


def _best(reduced: xr.DataArray, n: int, name: str) -> NeuronSet:
    reduced = with_dims(reduced, "layer", "neuron")
    for dim in ("layer", "neuron"):
        numbers_of(reduced, dim)
    left = [dim for dim in reduced.dims if dim not in ("image", "layer", "neuron")]
    if left:
        raise bad_argument("top", f"dims {reduced.dims}", f"no {left}: select one, or reduce first")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of neurons without any value
        others = ["image"] if "image" in reduced.dims else []
        chosen = reduced.mean(others, skipna=True, keep_attrs=True).rename(name)
    return top_neurons(chosen, n)


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
        """See `ArrayAccessor.reduce`; read from disk where the store keeps it.

        What was written beside the activations is taken only while they are as they were captured;
        of a store of reductions alone (``capture(..., reduced=True)``) it is all there is.
        """
        _check(how, role)
        kept = self._store.get(f"{variable}_{how}")
        if kept is not None and variable not in self._store:
            return _of_role(kept, role, how).rename(variable)
        if kept is not None and role is not None and is_unread(self._store[variable]):
            return _of_role(kept, role, how).rename(variable)
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
        if "activation" in self._store and "token" not in self._store["activation"].coords:
            return self._array().top(n, how=how, role=role)  # may be reduced, or say what is gone
        return _best(self.reduce(how, role), n, f"{how}_{role or 'all'}")

    def words(self, neuron: int | Sequence[int], layer: int | None = None, **options: Any) -> Any:
        """See `ArrayAccessor.words`."""
        names = [str(name) for name in self._store.data_vars]
        if not names:
            raise bad_argument("store", "a Dataset without variables", "one that capture made")
        return self._array(names[0]).words(neuron, layer, **options)

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

        return StoreExplorer(_explorable(self._store), pictures, **options)


def _explorable(store: xr.Dataset) -> xr.Dataset:
    """Return a store with the dims and the order that the Explorer goes by, or say why not."""
    if not {"activation", "activation_max"} & set(store.data_vars):
        return store  # the Explorer says what it wants
    whole = "activation" in store
    store = with_dims(store, "layer", "neuron", *(["token"] if whole else []))
    store = store.assign_coords(layer=numbers_of(store, "layer"))
    neurons = numbers_of(store, "neuron")
    order = np.argsort(neurons)
    if (neurons[order] != np.arange(len(neurons))).any():
        raise NotSupported(
            f"explore: the store keeps only {len(neurons)} neurons, "
            f"{described_numbers('those', neurons)}, and the Explorer numbers them from 0; select "
            "images, layers or tokens instead, and look at some neurons with patch_map"
        )
    if (np.diff(order) != 1).any():
        store = store.isel(neuron=order)
    if whole:
        store = _explorable_tokens(store)
    dims = ("image", "token_role", "layer", "token", "neuron")
    left = [dim for dim in store.dims if dim not in dims]
    if left:
        raise bad_argument("store", f"dims {tuple(store.sizes)}", f"no {left}: select one of each")
    return store.transpose(*dims, missing_dims="ignore")


def _explorable_tokens(store: xr.Dataset) -> xr.Dataset:
    array = store["activation"]
    role, valid = roles_of(array), valid_of(array)
    for name in ("step", "token_text"):
        if name not in array.coords:
            raise BadArgument(f"{name}: the coordinate was dropped; the Explorer shows it, keep it")
    if "token" in store.coords and (np.diff(store["token"].values) < 0).any():
        store = store.sortby("token")
        role, valid = role.sortby("token"), valid.sortby("token")
    text = store["token_text"].copy(data=words_of(store["token_text"].values))
    store = store.assign_coords(role=role, valid=valid, token_text=text)
    array = store["activation"]
    for place in range(array.sizes.get("image", 1)):
        one = array.isel(image=place) if "image" in array.dims else array
        if "geometry" not in one.coords or not text_of(one["geometry"].values):
            continue
        try:
            ordered = (np.diff(image_tokens(one, one.mmkn.geometries)) > 0).all()
        except NotSupported:
            continue  # the Explorer says why there is no map
        if not ordered:
            raise NotSupported(
                "explore: the tokens stand in another order than in the prompt; .sortby('token')"
            )
    return store
