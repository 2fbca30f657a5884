"""Parts take what xarray holds: stores, scores, values along tokens."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import xarray as xr
from PIL import Image

import mmkn_widgets as mmkn
from conftest import Page
from mmkn_widgets.activations import image_activations
from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.widgets import (
    NeuronTable,
    PatchHeatmap,
    StoreExplorer,
    ThresholdPlane,
    TokenStrip,
)


@pytest.fixture(scope="module")
def model() -> Any:
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def pictures() -> list[Any]:
    return [scene.image for scene in mmkn.datasets.pocket_world("val", 3)]


@pytest.fixture(scope="module")
def store(model: Any, pictures: list[Any]) -> xr.Dataset:
    return mmkn.capture(model, pictures, generate=True)


@pytest.fixture(scope="module")
def explorer(store: xr.Dataset, pictures: list[Any]) -> StoreExplorer:
    made = store.mmkn.explore(pictures)
    assert isinstance(made, StoreExplorer)
    return made


def test_the_axes_are_the_largest_activations(
    explorer: StoreExplorer, model: Any, pictures: list[Any]
) -> None:
    wanted = np.mean([image_activations(model, one)[0].max(1) for one in pictures], axis=0)
    found = np.frombuffer(explorer.difference, "<f4").reshape(explorer.shape)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert explorer.labels["difference"] == "largest activation at image tokens"
    d, g = explorer.thresholds
    scores = explorer.selection
    kept = np.argwhere((scores.difference > d) & (scores.gradcam > g)).tolist()
    assert sorted((n.layer, n.index) for n in explorer.neurons) == [tuple(place) for place in kept]
    assert explorer.to_neurons() == explorer.neurons


def test_maps_tokens_and_words_are_the_store_s(
    explorer: StoreExplorer, store: xr.Dataset, model: Any
) -> None:
    page = Page(explorer)
    flat = explorer.kept[5]
    row, index = int(flat) // explorer.shape[1], int(flat) % explorer.shape[1]
    layer = explorer.rows[row][0]
    for scene in (0, 2):
        _, (data,) = page.ask("maps", ids=[int(flat)], scene=scene)
        geometry = store.isel(image=scene).mmkn.geometry
        wanted = store.mmkn.patch_map(
            index, layer, image=str(scene), size=geometry.shape, smooth=False
        )
        found = np.frombuffer(data, "<f4").reshape(geometry.shape)
        np.testing.assert_allclose(found, wanted.values, rtol=1e-5, atol=1e-6)
    page.ask("tokens", id=int(flat), scene=1)
    along = store["activation"].isel(image=1, layer=row, neuron=index)
    inside = along["valid"].values
    assert [token["text"] for token in explorer.tokens] == along["token_text"].values[
        inside
    ].tolist()
    np.testing.assert_array_equal(np.frombuffer(explorer.token_values, "<f4"), along.values[inside])
    words = page.ask("words", ids=[int(flat)])[0]["result"]["words"]
    assert words == [mmkn.activations.decode(model, layer, [index], k=6)[0]]
    best = page.ask("neuron", id=int(flat))[0]["result"]["scenes"]
    assert [item["value"] for item in best] == sorted(
        (item["value"] for item in best), reverse=True
    )


def test_another_picture_brings_its_own_maps(explorer: StoreExplorer) -> None:
    before, picture = explorer.maps, explorer.picture
    explorer.scene = 1
    assert explorer.maps != before
    assert explorer.picture != picture
    explorer.scene = 0
    assert explorer.maps == before


def test_gradients_give_the_second_axis(model: Any, pictures: list[Any]) -> None:
    held = mmkn.capture(model, pictures[0], continuation="a", gradients=lambda logits: logits.max())
    made = held.mmkn.explore()
    product = (held.activation * held.gradient).transpose("layer", "token", "neuron").values
    np.testing.assert_allclose(made.selection.gradcam, product.max(1), rtol=1e-5, atol=1e-8)
    assert made.labels["short_gradcam"] == "cam"


def test_a_store_alone_is_shown_on_a_plate(store: xr.Dataset) -> None:
    lost = store.copy()
    for name in lost.data_vars:
        lost[name].attrs["weights"] = "of another model"
    lost.attrs["weights"] = "of another model"
    made = lost.mmkn.explore()
    assert made.grid["rows"] > 0
    assert made.words[0] == []
    assert made._repr_mimebundle_()[0]["text/html"].startswith("<div")


def test_the_plate_is_as_wide_as_the_picture(model: Any) -> None:
    store = mmkn.capture(model, Image.new("RGB", (160, 80), "red"))
    made = store.mmkn.explore()
    assert Image.open(io.BytesIO(made.picture)).size == (160, 80)
    assert Image.open(io.BytesIO(made.thumbnails[0])).size == (96, 48)


def test_neurons_of_parts_are_the_store_s_layers(model: Any, pictures: list[Any]) -> None:
    """Given to ablate they silence those layers, in whatever part they were chosen."""
    some = mmkn.capture(model, pictures, layers=[4, 5])
    parts = [ThresholdPlane(some), NeuronTable(some), some.mmkn.explore(pictures)]
    for part in parts:
        assert isinstance(part.neurons, mmkn.NeuronSet)
        assert set(part.neurons.layer.tolist()) == {4, 5}
        assert model.ablate(part.neurons).layers == (4, 5)
        assert part.neurons.provenance["method"] == "store"
        np.testing.assert_array_equal(part.neurons.score, part.selection.gradcam.ravel()[part.kept])
        assert part.selection.index.ids(part.neurons).tolist() == part.kept.tolist()
        assert part.selection.name(int(part.kept[0])).startswith(("L4·", "L5·"))
        part.rows_off = [0]
        assert set(part.neurons.layer.tolist()) == {5}
        assert part.neurons.provenance["arguments"]["rows_off"] == [[4, -1]]


def test_reductions_alone_say_why_there_are_no_maps(model: Any, pictures: list[Any]) -> None:
    made = mmkn.capture(model, pictures, reduced=True).mmkn.explore()
    assert len(made.neurons) > 0
    assert made.grid["rows"] == 0
    assert "reductions" in made.grid["reason"]


def test_parts_take_scores_as_they_are(store: xr.Dataset) -> None:
    score = store.mmkn.reduce("max", "image").mean("image").rename("brightness")
    for turned in (score, score.transpose("neuron", "layer")):
        plane = ThresholdPlane(turned, 1.0, 1.0)
        assert len(plane.neurons) == int((score > 1.0).sum())
        assert plane.labels["difference"] == "brightness"
    later = score.isel(layer=[2, 4])
    assert NeuronTable(later, 0.0, 0.0).rows == [[2, -1], [4, -1]]
    assert len(ThresholdPlane(store).neurons) == 60
    pair = ThresholdPlane((score, score.transpose("neuron", "layer")))
    np.testing.assert_array_equal(pair.selection.difference, pair.selection.gradcam)
    with pytest.raises(BadArgument, match="dims"):
        ThresholdPlane(store.activation)


def test_parts_take_values_along_tokens(store: xr.Dataset, pictures: list[Any]) -> None:
    one = store.activation.isel(image=0)
    strip = TokenStrip(one.isel(layer=4, neuron=7))
    assert len(strip.tokens) == int(one["valid"].sum())
    heat = PatchHeatmap(pictures[0], one.isel(layer=4, neuron=[7, 9]))
    assert [(n.layer, n.index) for n in heat.neurons] == [(4, 7), (4, 9)]
    assert heat.rows == [[4, -1]]
    assert heat.grid["rows"] == one.mmkn.geometry.shape[0]
    with pytest.raises(BadArgument, match="select"):
        TokenStrip(one.isel(layer=4))


def test_wrong_pictures_and_stores_are_named(store: xr.Dataset, pictures: list[Any]) -> None:
    with pytest.raises(BadArgument, match="3, as many"):
        store.mmkn.explore(pictures[:2])
    with pytest.raises(BadArgument, match="store"):
        StoreExplorer(xr.Dataset({"difference": ("x", [1.0])}))


def test_a_map_follows_the_tokens_places_and_not_their_order() -> None:
    import mmkn_widgets as mmkn
    from mmkn_widgets.widgets.labelled import maps_of

    model = mmkn.load_model("pocket")
    store = mmkn.capture(model, mmkn.datasets.pocket_world("val", 1)[0].image)
    chosen = store["activation"].sel(layer=4).isel(neuron=slice(3))
    turned = chosen.isel(token=np.random.default_rng(0).permutation(chosen.sizes["token"]))
    assert not np.array_equal(turned.values, chosen.values)
    np.testing.assert_array_equal(maps_of(turned), maps_of(chosen))
