"""The two scores of a store, against reductions done by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mmkn_widgets as mmkn


@pytest.fixture(scope="module")
def model() -> Any:
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def pictures() -> list[Any]:
    return [scene.image for scene in mmkn.datasets.pocket_world("val", 3)]


def by_hand(store: Any, roles: tuple[str, ...]) -> np.ndarray:
    """Return the largest activation at tokens of some roles, mean over the pictures."""
    means = []
    for image in range(store.sizes["image"]):
        one = store.isel(image=image)
        inside = np.isin(one["role"].values, roles) & one["valid"].values
        values = one["activation"].transpose("layer", "token", "neuron").values
        means.append(values[:, inside].max(1))
    return np.mean(means, axis=0)


def test_image_against_text(model: Any, pictures: list[Any]) -> None:
    store = mmkn.capture(model, pictures, generate=True, layers=[1, 4])
    found = store.mmkn.scores()
    assert found["layer"].values.tolist() == [1, 4]
    np.testing.assert_allclose(found["first"], by_hand(store, ("image",)), rtol=1e-5)
    text = np.maximum(by_hand(store, ("text",)), by_hand(store, ("generated",)))
    np.testing.assert_allclose(found["second"], text, rtol=1e-5)
    assert [found[n].attrs["short_name"] for n in ("first", "second")] == ["image", "text"]
    assert {str(values.dtype) for values in found.data_vars.values()} == {"float32"}


def test_gradients_give_the_second(model: Any, pictures: list[Any]) -> None:
    held = mmkn.capture(model, pictures[0], continuation="a", gradients=lambda logits: logits.max())
    product = (held["activation"] * held["gradient"]).transpose("layer", "token", "neuron").values
    found = held.mmkn.scores()["second"]
    np.testing.assert_allclose(found, product.max(1), rtol=1e-5, atol=1e-8)
    assert found.attrs == {"long_name": "largest activation × gradient", "short_name": "cam"}


def test_reductions_alone_give_the_same(model: Any, pictures: list[Any]) -> None:
    whole = mmkn.capture(model, pictures).mmkn.scores()
    reduced = mmkn.capture(model, pictures, reduced=True).mmkn.scores()
    for name in ("first", "second"):
        np.testing.assert_allclose(reduced[name], whole[name], rtol=1e-6)
