"""``.mmkn`` of a store: maps, reductions, words, top neurons, widgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import mmkn_widgets as mmkn
from mmkn_widgets.activations import (
    decode,
    image_activations,
    logit_lens,
    open_store,
    patch_hidden,
    patch_lens,
)
from mmkn_widgets.activations.places import geometry_from_text, geometry_to_text
from mmkn_widgets.core.errors import BadArgument, NotSupported
from mmkn_widgets.models.geometry.geometry import Geometry


@pytest.fixture(scope="module")
def store(pocket: Any, pictures: Any) -> Any:
    return mmkn.capture(pocket, pictures, image_ids=["a", "b", "c"])


def test_a_map_is_the_geometrys_painting(pocket: Any, pictures: Any, store: Any) -> None:
    values, tokens = image_activations(pocket, pictures[1])
    wanted = tokens.geometry.paint(values[4, :, 33])
    for found in (
        store.mmkn.patch_map(33, 4, image="b"),
        store.activation.mmkn.patch_map(neuron=33, layer=4, image="b"),
        store.activation.sel(image="b", layer=4, neuron=33).mmkn.patch_map(),
    ):
        assert found.dims == ("y", "x")
        np.testing.assert_array_equal(found.values, wanted)
    assert found["x"].values[[0, -1]].tolist() == [0.5, pictures[1].width - 0.5]
    assert found["y"].values[[0, -1]].tolist() == [0.5, pictures[1].height - 0.5]
    assert int(found["layer"]) == 4
    grid = store.mmkn.patch_map(33, 4, image="b", size=tokens.geometry.shape, smooth=False)
    np.testing.assert_allclose(grid.values.ravel(), values[4, :, 33], rtol=1e-6)


def test_a_map_from_disk_needs_no_model(pictures: Any, pocket: Any, tmp_path: Path) -> None:
    direct = mmkn.capture(pocket, pictures[0])
    held = mmkn.capture(pocket, pictures[0], out=tmp_path / "s")
    np.testing.assert_array_equal(
        held.mmkn.patch_map(7, 3).values, direct.mmkn.patch_map(7, 3).values
    )


def test_what_is_left_to_select_is_named(store: Any) -> None:
    with pytest.raises(BadArgument, match="'image'"):
        store.mmkn.patch_map(7, 3)
    with pytest.raises(BadArgument, match="'layer'"):
        store.mmkn.patch_map(7, image="a")
    with pytest.raises(BadArgument, match="layer: got 77"):
        store.mmkn.patch_map(7, 77, image="a")
    with pytest.raises(BadArgument, match="neuron: got 7777"):
        store.mmkn.patch_map(7777, 3, image="a")
    with pytest.raises(BadArgument, match="variable"):
        store.mmkn.patch_map(7, 3, image="a", variable="gradient")
    with pytest.raises(BadArgument, match="no token geometry"):
        _ = xr.DataArray(np.zeros(3), dims="token").mmkn.geometry


def test_without_image_tokens_or_places_it_says_why(pocket: Any, pictures: Any) -> None:
    text = mmkn.capture(pocket, pictures[0], roles=["text"])
    with pytest.raises(NotSupported, match="image tokens"):
        text.mmkn.patch_map(7, 3)
    whole = mmkn.capture(pocket, pictures[0])
    n = int((whole["role"] == "image").sum())
    nowhere = geometry_to_text(Geometry.none(n, (96, 96), "cross-attention"))
    with pytest.raises(NotSupported, match="cross-attention"):
        whole.assign_coords(geometry=nowhere).mmkn.patch_map(7, 3)


def test_geometries_survive_as_text() -> None:
    panels = (np.array([[0, 1], [2, -1]]),)
    boxes = np.array([[0, 0, 2, 2.5], [2, 0, 4, 2.5], [np.nan] * 4, [0, 0, 4, 4]])
    weights = np.random.default_rng(0).random((4, 3, 3))
    made = Geometry(
        "queries", (2, 2), boxes, (4, 5), panels, True, "learned queries",
        lambda: (weights, (0.0, 0.0, 5.0, 4.0)),
    )  # fmt: skip
    back = geometry_from_text(geometry_to_text(made))
    np.testing.assert_array_equal(back.boxes, boxes)
    values = [1.0, 2.0, 0.5, 3.0]
    np.testing.assert_allclose(back.paint(values), made.paint(values))
    assert (back.kind, back.approximate, back.reason) == ("queries", True, "learned queries")
    with pytest.raises(BadArgument, match="geometry"):
        geometry_from_text("{}")


@pytest.mark.parametrize("role", [None, "image", "text"])
def test_reductions_are_xarrays(store: Any, role: str | None) -> None:
    inside = store["valid"] if role is None else store["role"] == role
    masked = store.activation.where(inside)
    found = store.mmkn.reduce("max", role)
    xr.testing.assert_allclose(found, masked.max("token").astype("f4"))
    mean = store.mmkn.reduce("mean", role)
    np.testing.assert_allclose(mean.values, masked.mean("token").values, rtol=1e-4, atol=1e-6)
    one = store.activation.sel(image="a", layer=2, neuron=9).mmkn.reduce("max", role)
    assert float(one) == float(found.sel(image="a", layer=2, neuron=9))
    with pytest.raises(BadArgument, match="how"):
        store.mmkn.reduce("median")
    with pytest.raises(BadArgument, match="role"):
        store.mmkn.reduce("max", "picture")


def test_top_neurons_are_the_largest(store: Any) -> None:
    reduced = store.mmkn.reduce("max", "image").mean("image").values
    order = np.argsort(-reduced, axis=None)[:5]
    best = store.mmkn.top(5, role="image")
    assert [(n.layer, n.index) for n in best] == [tuple(divmod(int(i), 512)) for i in order]
    assert best.score[0] == pytest.approx(reduced.max())


def test_words_are_the_unembedding_of_the_column(pocket: Any, store: Any) -> None:
    written = pocket.unembedding.float() @ pocket.w_out(4)[:, 33].float()
    wanted = [pocket.tokenizer.decode([i]) for i in written.topk(3).indices.tolist()]
    assert decode(pocket, 4, [33], k=3) == [wanted]
    assert store.mmkn.words(33, 4, k=3) == wanted
    assert store.activation.sel(layer=4).mmkn.words([33], k=3) == [wanted]
    other = [pocket.tokenizer.decode([i]) for i in (-written).topk(3).indices.tolist()]
    assert decode(pocket, 4, [33], k=3, signs=[-1]) == [other]
    normed = pocket.final_norm(pocket.w_out(4)[:, 33]) @ pocket.unembedding.T
    assert decode(pocket, 4, [33], k=1, norm=True) == [
        [pocket.tokenizer.decode([int(normed.argmax())])]
    ]


def test_a_store_without_its_model_asks_for_it(store: Any) -> None:
    lost = store.assign_attrs(weights="of another model").copy()
    lost.activation.attrs.clear()
    with pytest.raises(BadArgument, match="model: got None"):
        lost.mmkn.words(33, 4)


def test_the_logit_lens_behind_the_last_layer_is_the_output(pocket: Any, pictures: Any) -> None:
    prepared = pocket.prepare(pictures[0])
    with torch.no_grad():
        output = pocket.hf(**prepared.inputs, output_hidden_states=True)
    seen = []
    handle = pocket.blocks[-1].register_forward_hook(
        lambda _m, _a, out: seen.append(out[0] if isinstance(out, tuple) else out)
    )
    pocket.forward(prepared)
    handle.remove()
    hidden = seen[0].reshape(-1, pocket.hidden_size)
    wanted = output.logits[0].argmax(-1).tolist()
    found = [words[0] for words in logit_lens(pocket, hidden)]
    assert found == [words[0] for words in _spelt(pocket, wanted)]


def _spelt(model: Any, ids: list[int]) -> list[list[str]]:
    from mmkn_widgets.models.decode import _word

    return [[_word(model, i)] for i in ids]


def test_a_store_opens_in_a_widget(store: Any, pictures: Any, tmp_path: Path) -> None:
    shown = store.mmkn.explore(pictures)
    assert len(shown.tokens) == int(store["valid"].isel(image=0).sum())
    assert shown.grid["rows"] == store.isel(image=0).mmkn.geometry.shape[0]
    held = open_store(mmkn.activations.save(store, tmp_path / "s"))
    assert held.mmkn.explore(pictures).maps == shown.maps


def test_the_lens_reads_the_object_in_its_patches(pocket: Any) -> None:
    scene = mmkn.datasets.pocket_world("val", 40).with_concept("car", 1)[0]
    words, tokens = patch_lens(pocket, scene.image, k=2)
    mask = scene.mask("car")
    covered = [
        mask[int(y0) : int(y1), int(x0) : int(x1)].mean() > 0.4
        for x0, y0, x1, y1 in tokens.geometry.boxes
    ]
    inside = [first for (first, _), yes in zip(words, covered, strict=True) if yes]
    assert np.mean([word == "car" for word in inside]) > 0.5
    early, _ = patch_hidden(pocket, scene.image, layer=0)
    late, _ = patch_hidden(pocket, scene.image, layer=-1)
    assert early.shape == late.shape == (len(words), pocket.hidden_size)
    assert not torch.equal(early, late)
    for wrong in (6, -7):
        with pytest.raises(BadArgument, match="layer"):
            patch_hidden(pocket, scene.image, layer=wrong)
    with pytest.raises(BadArgument, match="k: got 0"):
        patch_lens(pocket, scene.image, k=0)
