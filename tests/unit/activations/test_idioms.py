"""Every method of ``.mmkn`` after every idiom of xarray: numpy's answer, or a refusal in words.

The oracle knows nothing of xarray: it holds the capture's numbers as one array and which of them an
idiom leaves, by their labels.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import mmkn_widgets as mmkn
from mmkn_widgets.activations import decode, open_store, save
from mmkn_widgets.activations.places import geometry_to_text
from mmkn_widgets.core import BadArgument, NotSupported
from mmkn_widgets.models import Geometry

LAYERS = (1, 4, 5)
NEURON, LAYER, IMAGE = 33, 4, "b"
METHODS = ("reduce", "reduce_role", "top", "top_role", "patch_map", "words", "geometry", "tensor",
           "one", "explore")  # fmt: skip


@pytest.fixture(scope="module")
def store(pocket: Any, pictures: Any) -> xr.Dataset:
    made = mmkn.capture(pocket, pictures[:2], generate=True, layers=LAYERS, image_ids=["a", "b"])
    lengths = made["valid"].values.sum(1)
    assert lengths[0] != lengths[1]  # so that there is padding
    return made


@dataclass
class Idiom:
    """What one does with a store, what of it is left, and which methods can only say no."""

    make: Callable[[xr.Dataset], xr.Dataset]
    images: tuple[str, ...] = ("a", "b")
    layers: tuple[int, ...] = LAYERS
    neurons: Any = None
    tokens: Any = None  # labels along token, of those that are left
    values: Callable[[np.ndarray], np.ndarray] = lambda values: values
    refused: frozenset[str] = frozenset()
    names: Callable[[int], int] = lambda neuron: neuron


def no(*methods: str) -> frozenset[str]:
    assert set(methods) <= set(METHODS)
    return frozenset(methods)


def roll(store: xr.Dataset) -> xr.Dataset:
    return store.roll(token=7, layer=1, neuron=100, roll_coords=True)


def shuffled(*dims: str) -> Callable[[xr.Dataset], xr.Dataset]:
    def make(store: xr.Dataset) -> xr.Dataset:
        rng = np.random.default_rng(3)
        return store.isel({dim: rng.permutation(store.sizes[dim]) for dim in dims})

    return make


def without(name: str) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda store: store.drop_vars(name)


def concat(store: xr.Dataset) -> xr.Dataset:
    """Lay pictures that were captured apart, and cut to their own tokens, along image again."""
    parts = []
    for place in range(2):
        one = store.isel(image=place)
        parts.append(one.isel(token=np.flatnonzero(one["valid"].values)))
    return xr.concat(parts, "image", join="outer", coords="different", compat="equals")


def dropped_attrs(store: xr.Dataset) -> xr.Dataset:
    with xr.set_options(keep_attrs=False):
        return store * 2


def round_trip(store: xr.Dataset, how: str, folder: Path) -> xr.Dataset:
    if how == "zarr":
        store.to_zarr(folder / "mine.zarr")
        return xr.open_zarr(folder / "mine.zarr", chunks=None)
    store.to_netcdf(folder / "mine.nc", engine="scipy")
    return xr.open_dataset(folder / "mine.nc", engine="scipy")


BOTH = ("a", "b")
SOME = (7, 300, NEURON)
TOKENS = no("reduce", "reduce_role", "top", "top_role")
IDIOMS: dict[str, Idiom] = {
    "nothing": Idiom(lambda s: s),
    "sel layer": Idiom(lambda s: s.sel(layer=4), layers=(4,)),
    "sel layers": Idiom(lambda s: s.sel(layer=[5, 4]), layers=(4, 5)),
    "isel layers backwards": Idiom(lambda s: s.isel(layer=slice(None, None, -1))),
    "everything backwards": Idiom(
        lambda s: s.isel(
            layer=slice(None, None, -1), token=slice(None, None, -1), neuron=slice(None, None, -1)
        )
    ),
    "layers shuffled": Idiom(shuffled("layer")),
    "tokens shuffled": Idiom(shuffled("token")),
    "neurons shuffled": Idiom(shuffled("neuron")),
    "images shuffled": Idiom(shuffled("image", "token", "layer")),
    "rolled": Idiom(roll),
    "sorted backwards": Idiom(lambda s: s.sortby(["neuron", "layer"], ascending=False)),
    "sel image": Idiom(lambda s: s.sel(image="b"), images=("b",)),
    "isel images": Idiom(lambda s: s.isel(image=[1]), images=("b",)),
    "one of everything": Idiom(
        lambda s: s.sel(image="b", layer=4, neuron=33),
        ("b",), (4,), (33,), refused=no("explore"),
    ),
    "sel neuron": Idiom(lambda s: s.sel(neuron=33), neurons=(33,), refused=no("explore")),
    "sel neurons": Idiom(
        lambda s: s.sel(neuron=[7, 300, 33]), neurons=SOME, refused=no("explore")
    ),
    "slice of neurons": Idiom(
        lambda s: s.isel(neuron=slice(20, 60)), neurons=range(20, 60), refused=no("explore")
    ),
    "boolean neurons": Idiom(
        lambda s: s.isel(neuron=(np.arange(512) % 3 == 0)), neurons=range(0, 512, 3),
        refused=no("explore"),
    ),
    "where role": Idiom(lambda s: s.where(s.role == "image"), tokens="image"),
    "where role, dropped": Idiom(
        lambda s: s.sel(image="b").where(s.sel(image="b").role == "image", drop=True),
        images=("b",), tokens="image",
    ),
    "where positive": Idiom(
        lambda s: s.where(s.activation > 0), values=lambda v: np.where(v > 0, v, np.nan)
    ),
    "where layer": Idiom(lambda s: s.where(s.layer != 5), layers=(1, 4)),
    "sel tokens": Idiom(
        lambda s: s.isel(token=slice(0, 40)), tokens=range(40), refused=no("patch_map")
    ),
    "transposed": Idiom(lambda s: s.transpose("neuron", "token", "image", "layer", ...)),
    "stacked and back": Idiom(
        lambda s: s.drop_vars("expert").stack(place=("layer", "neuron")).unstack("place")
    ),
    "stacked places": Idiom(
        lambda s: s.drop_vars("expert").stack(place=("layer", "neuron")),
        refused=no("top", "top_role", "patch_map", "explore", "one"),
    ),
    "stacked samples": Idiom(
        lambda s: s.stack(sample=("image", "token")),
        refused=no(*METHODS) - no("words", "tensor", "one"),
    ),
    "concat": Idiom(concat),
    "merged": Idiom(lambda s: xr.merge([s, s.rename(activation="other")])),
    "mean over images": Idiom(
        lambda s: s.mean("image"),
        values=lambda v: np.broadcast_to(v.mean(0), v.shape),
        refused=no(*METHODS) - no("words", "tensor", "one"),
    ),
    "arithmetic": Idiom(lambda s: s * 2, values=lambda v: v * 2),
    "negated": Idiom(lambda s: -s, values=lambda v: -v),
    "arithmetic without attrs": Idiom(dropped_attrs, values=lambda v: v * 2),
    "renamed layer": Idiom(
        lambda s: s.rename(layer="block"),
        refused=no("top", "top_role", "patch_map", "explore", "one"),
    ),
    "renamed token": Idiom(
        lambda s: s.rename(token="position"),
        refused=no(*METHODS) - no("words", "geometry", "tensor", "one"),
    ),
    "renamed and back": Idiom(lambda s: s.rename(layer="block").rename(block="layer")),
    "other coords": Idiom(lambda s: s.assign_coords(note=("image", [1, 2]), kind="mine")),
    "neurons with other numbers": Idiom(
        lambda s: s.assign_coords(neuron=s.neuron + 1000),
        names=lambda n: n + 1000, refused=no("explore"),
    ),
    "layers by name": Idiom(
        lambda s: s.assign_coords(layer=["x", "y", "z"]),
        refused=no("top", "top_role", "patch_map", "explore", "one"),
    ),
    "layers as floats": Idiom(lambda s: s.assign_coords(layer=s.layer.astype(float))),
    "float64": Idiom(lambda s: s.astype("float64")),
    "float16": Idiom(lambda s: s.astype("float16"), values=lambda v: v.astype(np.float16)),
    "other byte order": Idiom(lambda s: s.astype(">f4")),
    "dask": Idiom(lambda s: s.chunk({"token": 16, "neuron": 100})),
    "squeezed layer": Idiom(lambda s: s.isel(layer=[1]).squeeze(), layers=(4,)),
    "squeezed away": Idiom(
        lambda s: s.isel(layer=[1]).squeeze(drop=True), layers=(4,),
        refused=no("top", "top_role", "patch_map", "explore", "one"),
    ),
    "squeezed image": Idiom(lambda s: s.isel(image=[1]).squeeze("image"), images=("b",)),
    "expanded": Idiom(
        lambda s: s.expand_dims(run=[1]), refused=no("top", "top_role", "patch_map", "explore")
    ),
    "without expert": Idiom(without("expert")),
    "without neuron": Idiom(
        without("neuron"), refused=no("top", "top_role", "patch_map", "explore", "one")
    ),
    "without layer": Idiom(
        without("layer"), refused=no("top", "top_role", "patch_map", "explore", "one")
    ),
    "without image": Idiom(without("image"), refused=no("patch_map", "one")),
    "without valid": Idiom(
        without("valid"), refused=TOKENS | no("explore")
    ),
    "without role": Idiom(
        without("role"), refused=no("reduce_role", "top_role", "patch_map", "explore")
    ),
    "without geometry": Idiom(without("geometry"), refused=no("patch_map", "geometry")),
    "without token": Idiom(without("token")),
    "without rows": Idiom(without("patch_row")),
    "tokens shuffled, without numbers": Idiom(
        lambda s: shuffled("token")(s).drop_vars("token"), refused=no("explore")
    ),
    "places of others": Idiom(
        lambda s: s.assign_coords(patch_row=s.patch_row + 1), refused=no("patch_map", "explore")
    ),
    "roles as bytes": Idiom(lambda s: s.assign_coords(role=s.role.astype("S9"))),
    "roles as objects": Idiom(lambda s: s.assign_coords(role=s.role.astype(object))),
    "copied": Idiom(lambda s: s.copy(deep=True)),
    "pickled": Idiom(lambda s: pickle.loads(pickle.dumps(s))),
    "valid as data": Idiom(
        lambda s: s.reset_coords("valid"), refused=TOKENS | no("explore")
    ),
}  # fmt: skip


class Oracle:
    """Plain numpy: values (image, layer, token, neuron), NaN where an idiom leaves nothing."""

    def __init__(self, store: xr.Dataset, idiom: Idiom) -> None:
        self.idiom = idiom
        self.neurons = np.arange(512) if idiom.neurons is None else np.asarray(idiom.neurons)
        self.role = store["role"].values
        valid = store["valid"].values
        left = valid.copy()
        if isinstance(idiom.tokens, str):
            left &= self.role == idiom.tokens
        elif idiom.tokens is not None:
            left &= np.isin(np.arange(valid.shape[1]), list(idiom.tokens))
        values = idiom.values(store["activation"].values).astype(np.float64)
        values = np.where(left[:, None, :, None], values, np.nan)
        images = np.isin(["a", "b"], idiom.images)
        layers = np.isin(LAYERS, idiom.layers)
        values[~images] = np.nan
        values[:, ~layers] = np.nan
        inside = np.zeros(512, bool)
        inside[self.neurons] = True
        values[..., ~inside] = np.nan
        self.values, self.row, self.col = (
            values,
            store["patch_row"].values,
            store["patch_col"].values,
        )

    def reduce(self, how: str, role: str | None) -> dict[tuple[str, int, int], float]:
        found = {}
        for i, image in enumerate(("a", "b")):
            at = np.ones(self.role.shape[1], bool) if role is None else self.role[i] == role
            for j, layer in enumerate(LAYERS):
                for n in self.neurons.tolist():
                    some = self.values[i, j, at, n]
                    some = some[~np.isnan(some)]
                    if len(some):
                        one = some.max() if how == "max" else some.mean()
                        found[image, layer, self.idiom.names(n)] = float(one)
        return found

    def top(self, n: int, role: str | None) -> list[tuple[int, int]]:
        each: dict[tuple[int, int], list[float]] = {}
        for (_, layer, neuron), value in self.reduce("max", role).items():
            each.setdefault((layer, neuron), []).append(value)
        return sorted(each, key=lambda key: -np.mean(each[key]))[:n]

    def grid(self) -> np.ndarray:
        i, j = 1, LAYERS.index(LAYER)
        grid = np.full((8, 8), np.nan)
        for token in np.flatnonzero(self.role[i] == "image"):
            grid[self.row[i, token], self.col[i, token]] = self.values[i, j, token, NEURON]
        return grid


def labelled(reduced: xr.DataArray) -> dict[Any, float]:
    """Return a reduction as numbers by their labels, whatever dims are left."""
    found = {}
    images = np.atleast_1d(reduced["image"].values) if "image" in reduced.coords else ["a", "b"]
    numbers = np.atleast_1d(reduced["layer"].values)
    neurons = np.atleast_1d(reduced["neuron"].values)
    dims = [dim for dim in ("image", "layer", "neuron") if dim in reduced.dims]
    values = reduced.transpose(*dims).values.reshape(len(images), len(numbers), len(neurons))
    for i, image in enumerate(images):
        for j, layer in enumerate(numbers):
            for k, neuron in enumerate(neurons):
                if not np.isnan(values[i, j, k]):
                    found[str(image), int(layer), int(neuron)] = float(values[i, j, k])
    return found


def picks(changed: xr.Dataset) -> dict[str, Any]:
    """Return what is still to be selected for one neuron's map."""
    image = {"image": IMAGE} if "image" in changed.dims else {}
    return {"layer": LAYER, **image}


def check(method: str, changed: xr.Dataset, oracle: Oracle, pocket: Any, pictures: Any) -> None:
    idiom, accessor = oracle.idiom, changed.mmkn
    neuron = idiom.names(NEURON)
    if method in ("reduce", "reduce_role"):
        role = "image" if method == "reduce_role" else None
        for how in ("max", "mean"):
            found = accessor.reduce(how, role)
            assert "token" not in found.dims
            assert found.dtype == np.float32
            if not {"layer", "neuron"} <= set(found.coords):
                continue  # nothing names what is reduced
            if found["layer"].dims == ("place",):
                found = found.unstack("place")
            if found["layer"].dtype.kind not in "if" or "run" in found.dims:
                continue
            wanted, held = oracle.reduce(how, role), labelled(found)
            assert set(held) == set(wanted)
            names = list(wanted)
            np.testing.assert_allclose(
                [held[name] for name in names],
                [wanted[name] for name in names],
                rtol=2e-3,
                atol=1e-4,
            )
            if how == "max":
                assert [held[x] for x in names] == [np.float32(wanted[x]) for x in names]
    elif method in ("top", "top_role"):
        role = "image" if method == "top_role" else None
        wanted = oracle.top(7, role)
        for found in (accessor.top(7, role=role), changed["activation"].mmkn.top(7, role=role)):
            assert [(n.layer, n.index) for n in found] == wanted
            assert not np.isnan(found.score).any()
    elif method == "patch_map":
        grid = oracle.grid()
        for found in (
            accessor.patch_map(neuron, size=(8, 8), smooth=False, **picks(changed)),
            changed["activation"].mmkn.patch_map(
                neuron, size=(8, 8), smooth=False, **picks(changed)
            ),
        ):
            np.testing.assert_array_equal(found.values, grid)
        assert accessor.patch_map(neuron, **picks(changed)).shape == (96, 96)
    elif method == "words":
        wanted = decode(pocket, LAYER, [NEURON], k=3)
        assert accessor.words([NEURON], LAYER, k=3) == wanted
        assert accessor.words(np.int64(NEURON), LAYER, k=3) == wanted[0]
    elif method == "geometry":
        one = changed.isel(image=-1) if "image" in changed.dims else changed
        assert one.mmkn.geometry.shape == (8, 8)
    elif method == "tensor":
        found = accessor.tensor()
        np.testing.assert_array_equal(found.numpy(), changed["activation"].values.astype("f4"))
    elif method == "one":
        found = changed["activation"].mmkn.one(neuron=neuron, **picks(changed))
        line = found.squeeze()
        if "token" in line.dims and "token" in line.coords:
            wanted = oracle.values[1, LAYERS.index(LAYER), line["token"].values, NEURON]
            inside = ~np.isnan(wanted)
            np.testing.assert_array_equal(line.values.astype(float)[inside], wanted[inside])
    else:
        names = ["a", "b"] if "image" in changed.dims else list(idiom.images)
        if "image" in changed.coords:
            names = [str(name) for name in np.atleast_1d(changed["image"].values)]
        made = accessor.explore([pictures["ab".index(name)] for name in names])
        wanted = oracle.reduce("max", "image")
        for row, (layer, expert) in enumerate(made.rows):
            assert expert == -1
            for n in (NEURON, 0, 511):
                each = [wanted[name, layer, n] for name in ("a", "b") if (name, layer, n) in wanted]
                if each:
                    assert made.selection.difference[row, n] == pytest.approx(
                        np.mean(each), rel=1e-3, abs=1e-5
                    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", IDIOMS)
def test_an_idiom_is_followed_or_refused_in_words(
    store: xr.Dataset, pocket: Any, pictures: Any, name: str, method: str
) -> None:
    idiom = IDIOMS[name]
    changed = idiom.make(store)
    oracle = Oracle(store, idiom)
    if method in idiom.refused:
        with pytest.raises((BadArgument, NotSupported)) as refusal:
            check(method, changed, oracle, pocket, pictures)
        assert len(str(refusal.value)) > 30
    else:
        check(method, changed, oracle, pocket, pictures)


# -- what came back from a file, and what was written beside the values ---------------------------


@pytest.mark.parametrize("how", ["zarr", "netcdf"])
@pytest.mark.parametrize(
    "name",
    ["nothing", "sel layer", "sel image", "slice of neurons", "tokens shuffled", "where role"],
)
@pytest.mark.filterwarnings("ignore:The data type")
def test_a_dataset_that_xarray_wrote_and_read_is_still_a_store(
    store: xr.Dataset, pocket: Any, pictures: Any, tmp_path: Path, how: str, name: str
) -> None:
    idiom = IDIOMS[name]
    changed = round_trip(idiom.make(store), how, tmp_path)
    oracle = Oracle(store, idiom)
    for method in set(METHODS) - idiom.refused - {"geometry"}:
        if not (method == "patch_map" and NEURON not in oracle.neurons):
            check(method, changed, oracle, pocket, pictures)
    assert changed.attrs["weights"] == store.attrs["weights"]
    one = changed.isel(image=-1) if "image" in changed.dims else changed
    assert one.mmkn.geometry.boxes.shape == (64, 4)


@pytest.mark.parametrize("name", IDIOMS)
def test_kept_reductions_count_only_while_the_values_are_those_written(
    store: xr.Dataset, pocket: Any, pictures: Any, tmp_path: Path, name: str
) -> None:
    held = open_store(save(store, tmp_path / "s"))
    assert {"activation_max", "activation_mean"} <= set(held)
    idiom = IDIOMS[name]
    for method in ("reduce_role", "top_role"):
        if method not in idiom.refused:
            check(method, idiom.make(held), Oracle(store, idiom), pocket, pictures)


def test_kept_reductions_are_read_where_they_may_be(store: xr.Dataset, tmp_path: Path) -> None:
    held = open_store(save(store, tmp_path / "s"))
    marked = held.assign(activation_max=held["activation_max"] * 0 + 7)
    for made in (marked, marked.sel(layer=[5, 1]), marked.isel(image=0), marked.sel(neuron=[3, 9])):
        assert (made.mmkn.reduce("max", "image") == 7).all()
    for made in (marked.isel(token=slice(None, None, -1)), marked.isel(token=[4]), marked.load()):
        assert (made.mmkn.reduce("max", "image").fillna(0) != 7).all()


def test_reductions_alone_are_reduced_by_role(
    pocket: Any, pictures: Any, store: xr.Dataset
) -> None:
    alone = mmkn.capture(pocket, pictures[:2], generate=True, layers=LAYERS, reduced=True)
    for role in ("image", None):
        wanted = store.mmkn.reduce("max", role)
        np.testing.assert_array_equal(alone.mmkn.reduce("max", role).values, wanted.values)
        assert alone.mmkn.top(9, role=role).places == store.mmkn.top(9, role=role).places
    assert alone.sel(layer=5).mmkn.top(3, role="image") == store.sel(layer=5).mmkn.top(
        3, role="image"
    )
    array = alone["activation_max"]
    assert array.mmkn.top(9, role="image").places == store.mmkn.top(9, role="image").places
    with pytest.raises(BadArgument, match="role: got None"):
        alone.mmkn.reduce("mean")
    with pytest.raises(BadArgument, match="role: got 'text', expected one of image"):
        alone.sel(token_role=["image"]).mmkn.reduce("max", "text")


def test_saving_a_selection_keeps_its_labels_or_says_no(store: xr.Dataset, tmp_path: Path) -> None:
    turned = IDIOMS["everything backwards"].make(store)
    held = open_store(save(turned, tmp_path / "turned"))
    assert held.mmkn.top(9, role="image") == store.mmkn.top(9, role="image")
    for image in ("a", "b"):
        np.testing.assert_array_equal(
            held.mmkn.patch_map(NEURON, LAYER, image=image).values,
            store.mmkn.patch_map(NEURON, LAYER, image=image).values,
        )
    one = open_store(save(store.sel(layer=5, image="b"), tmp_path / "one"))
    assert one.mmkn.top(3).places == store.sel(layer=[5], image="b").mmkn.top(3).places
    with pytest.raises(NotSupported, match="open_zarr"):
        save(store.isel(neuron=slice(100, 200)), tmp_path / "some")
    with pytest.raises(BadArgument, match="no dim but"):
        save(store.expand_dims(run=[1]), tmp_path / "runs")


# -- the words of a refusal ------------------------------------------------------------------------


def test_what_was_selected_is_not_another(store: xr.Dataset) -> None:
    some = store.isel(neuron=slice(100, 200))
    assert {n.index for n in some.mmkn.top(3)} <= set(range(100, 200))
    with pytest.raises(BadArgument, match="neuron: got 33, expected a neuron from 100 to 199"):
        some.mmkn.patch_map(33, 4, image="a")
    assert some.mmkn.patch_map(199, 4, image="a").shape == (96, 96)
    with pytest.raises(BadArgument, match="neuron: got 200"):
        some.mmkn.patch_map(200, 4, image="a")
    one = store.sel(neuron=33, layer=4, image="b")
    np.testing.assert_array_equal(
        one.mmkn.patch_map(33, 4, image="b"), store.mmkn.patch_map(33, 4, image="b")
    )
    for options, named in (
        ({"neuron": 34}, "neuron: got 34"),
        ({"layer": 5}, "layer: got 5"),
        ({"image": "a"}, "image: got 'a'"),
        ({"expert": 2}, "expert: got 2"),
        ({"neuron": 33.5}, "neuron: got 33.5"),
        ({"neuron": True}, "neuron: got True"),
        ({"picture": 1}, "picture: got 1"),
        ({"picture": 0.5}, "picture: got 0.5"),
        ({"size": (8,)}, "size: got"),
        ({"size": (8.5, 8)}, "size: got 8.5"),
    ):
        with pytest.raises(BadArgument, match=named):
            one.mmkn.patch_map(**options)
    with pytest.raises(BadArgument, match="image: got True"):
        store.mmkn.patch_map(33, 4, image=True)
    twice = xr.concat([store, store], "image", coords="different", compat="equals")
    with pytest.raises(BadArgument, match="2 have it"):
        twice.mmkn.patch_map(33, 4, image="a")
    with pytest.raises(BadArgument, match="each once"):
        store.isel(neuron=[5, 5]).mmkn.patch_map(5, 4, image="a")
    with pytest.raises(BadArgument, match="same neuron twice"):
        store.isel(neuron=[5, 5]).mmkn.top(2)


def test_refusals_say_what_to_do(store: xr.Dataset) -> None:
    for make, say in (
        (lambda: store.drop_vars("neuron").mmkn.top(3), "assign_coords"),
        (lambda: store.rename(token="position").mmkn.reduce(), "rename"),
        (lambda: store.drop_vars("expert").stack(p=("layer", "neuron")).mmkn.top(3), "unstack"),
        (lambda: store.mean("image").mmkn.top(3), "reduce over the tokens first"),
        (lambda: store.expand_dims(run=[1]).mmkn.top(3), "no .'run'."),
        (lambda: store.mmkn.reduce("max", "image").mmkn.top(3, role="text"), "role= to reduce"),
        (lambda: store.isel(neuron=[]).mmkn.top(3), "at least one value"),
        (lambda: store.mmkn.words(33), "layer: got None, expected one of .1, 4, 5."),
        (lambda: store.mmkn.words(512, 4), "indices: got 512"),
        (lambda: store.mmkn.words(33, 2.5), "layer: got 2.5"),
        (lambda: store.mmkn.top(0), "top: got 0"),
        (lambda: store.mmkn.top(2.5), "top: got 2.5"),
        (lambda: store.mmkn.top(float("nan")), "top: got nan"),
        (lambda: (store.activation * 1.1).assign_attrs(dtype="bfloat16").mmkn.tensor(), "round"),
        (lambda: store.activation.mmkn.tensor("float99"), "torch dtype"),
        (lambda: store[[]].mmkn.words(3, 4), "without variables"),
    ):
        with pytest.raises((BadArgument, NotSupported), match=say):
            make()


def test_words_without_attrs_ask_for_the_model(store: xr.Dataset, pocket: Any) -> None:
    with xr.set_options(keep_attrs=False):
        bare = store["activation"] * 2
    with pytest.raises(BadArgument, match="model: got None"):
        bare.mmkn.words(33, 4)
    assert bare.mmkn.words(33, 4, k=2, model=pocket) == decode(pocket, 4, [33], k=2)[0]
    assert store.sel(layer=4).mmkn.words(33, k=2) == decode(pocket, 4, [33], k=2)[0]


def test_a_gap_in_a_map_stays_a_gap(store: xr.Dataset) -> None:
    whole = store.mmkn.patch_map(33, 4, image="b")
    left = store.where((store.patch_row != 3) | (store.role != "image"))
    found = left.mmkn.patch_map(33, 4, image="b", smooth=False)
    gap = np.zeros((96, 96), bool)
    gap[36:48] = True
    assert np.isnan(found.values[gap]).all()
    np.testing.assert_array_equal(
        found.values[~gap], store.mmkn.patch_map(33, 4, image="b", smooth=False).values[~gap]
    )
    smooth = left.mmkn.patch_map(33, 4, image="b")
    far = np.ones((96, 96), bool)
    far[24:60] = False  # cells beside the gap are drawn from what is known of them
    np.testing.assert_allclose(smooth.values[far], whole.values[far], rtol=1e-6)
    assert np.isfinite(smooth.values[~gap]).all()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_selection_names_its_own_neurons(store: xr.Dataset, data: st.DataObject) -> None:
    picks: dict[str, Any] = {}
    for dim, n in (("layer", 3), ("neuron", 512), ("image", 2), ("token", store.sizes["token"])):
        some = st.lists(st.integers(0, n - 1), min_size=1, max_size=min(n, 40), unique=True)
        picks[dim] = data.draw(
            st.one_of(st.just(slice(None)), some, st.integers(0, n - 1)) if dim != "token" else some
        )
    order = data.draw(st.permutations(list(picks)))
    made = store
    for dim in order:
        made = made.isel({dim: picks[dim]})
    chosen = [np.atleast_1d(np.arange(store.sizes[dim])[picks[dim]])
              for dim in ("image", "layer", "token", "neuron")]  # fmt: skip
    values = store["activation"].values[np.ix_(*chosen)].astype(float)
    valid = store["valid"].values[np.ix_(chosen[0], chosen[2])]
    values = np.where(valid[:, None, :, None], values, -np.inf).max(2)
    values[np.isinf(values)] = np.nan
    known = [i for i in range(len(values)) if not np.isnan(values[i]).any()]
    if not known:
        assert len(made.mmkn.top(1)) == 0
        return
    mean = values[known].astype(np.float32).mean(0)
    best = np.argmax(mean)
    row, column = divmod(int(best), mean.shape[1])
    (found,) = made.mmkn.top(1)
    assert found.score == pytest.approx(float(mean.max()), rel=1e-6)
    if np.sum(mean == mean.max()) == 1:
        assert (found.layer, found.index) == (LAYERS[chosen[1][row]], int(chosen[3][column]))


def tiles(values: np.ndarray) -> tuple[Geometry, xr.DataArray]:
    """Return an overview of 1 x 2 tokens in front of a mosaic of 2 x 2: cells that both have."""
    boxes = np.array([[0, 0, 4, 8], [4, 0, 8, 8],
                      [0, 0, 4, 4], [4, 0, 8, 4], [0, 4, 4, 8], [4, 4, 8, 8]], float)  # fmt: skip
    panels = (np.array([[2, 3], [4, 5]]), np.array([[0, 1]]))
    geometry = Geometry("tiles", (2, 2), boxes, (8, 8), panels)
    coords = {
        "token": np.arange(6),
        "role": ("token", ["image"] * 6),
        "patch_row": ("token", geometry.rows),
        "patch_col": ("token", geometry.cols),
        "geometry": geometry_to_text(geometry),
    }
    return geometry, xr.DataArray(values, coords, ("token",))


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(6)))
def test_tokens_of_several_panels_keep_theirs(order: list[int]) -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    geometry, array = tiles(values)
    wanted = geometry.paint(values)
    np.testing.assert_array_equal(array.isel(token=order).mmkn.patch_map().values, wanted)
    with pytest.raises(BadArgument, match="token: the coordinate was dropped"):
        array.isel(token=order).drop_vars("token").mmkn.patch_map()


def test_tokens_of_several_pictures_keep_theirs() -> None:
    one, two = (Geometry.grid(1, 2, (4, 8)), Geometry.grid(2, 2, (4, 4)))
    coords = {
        "token": np.arange(6),
        "role": ("token", ["image"] * 6),
        "picture": ("token", [0, 0, 1, 1, 1, 1]),
        "patch_row": ("token", [0, 0, 0, 0, 1, 1]),
        "patch_col": ("token", [0, 1, 0, 1, 0, 1]),
        "geometry": geometry_to_text([one, two]),
    }
    values = np.arange(6.0)
    array = xr.DataArray(values, coords, ("token",)).isel(token=[5, 0, 3, 1, 4, 2])
    for made in (array, array.drop_vars("token")):
        for picture, geometry, own in ((0, one, values[:2]), (1, two, values[2:])):
            found = made.mmkn.patch_map(picture=picture)
            np.testing.assert_array_equal(found.values, geometry.paint(own))
    with pytest.raises(BadArgument, match="picture"):
        array.mmkn.patch_map()


def test_experts_of_one_layer_are_kept_apart() -> None:
    values = np.arange(12.0).reshape(3, 4)
    coords = {"layer": [2, 2, 3], "expert": ("layer", [0, 1, -1]), "neuron": [9, 8, 7, 6]}
    array = xr.DataArray(values, coords, ("layer", "neuron"))
    assert array.mmkn.top(12).places == [
        (layer, expert, neuron)
        for layer, expert in ((3, -1), (2, 1), (2, 0))
        for neuron in (6, 7, 8, 9)
    ]
    for made in (array.isel(layer=1), array.sel(layer=2).isel(layer=1), array.isel(layer=[1])):
        assert made.mmkn.top(1).places == [(2, 1, 6)]
    assert float(array.mmkn.one(2, 8, 1)) == 5
    assert float(array.mmkn.one(3, 8)) == 9
    for options, named in (
        ({"layer": 2}, "expert= too"),
        ({"layer": 2, "expert": 5}, "expert: got 5, expected one of .0, 1."),
        ({"layer": 3, "expert": 1}, "expert: got 1, expected one of .-1."),
        ({"layer": 4}, "layer: got 4, expected one of .2, 3."),
        ({"expert": 1.5}, "expert: got 1.5"),
    ):
        with pytest.raises(BadArgument, match=named):
            array.mmkn.one(**options)
    with pytest.raises(BadArgument, match="expert: got None, expected one of .0, 1. in layer 2"):
        array.mmkn.words(1, 2)
    with pytest.raises(BadArgument, match="same row twice"):
        array.drop_vars("expert").mmkn.top(2)
