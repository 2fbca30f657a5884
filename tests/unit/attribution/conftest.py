"""The shipped model, and scenes whose caption names a car."""

from __future__ import annotations

from typing import Any

import pytest

import mmkn_widgets as mmkn


@pytest.fixture(scope="session")
def pocket() -> Any:
    return mmkn.load_model("pocket")


@pytest.fixture(scope="session")
def cars(pocket: Any) -> list[Any]:
    scenes = mmkn.datasets.pocket_world("val", 120).with_concept("car", 6)
    texts = pocket.caption([scene.image for scene in scenes])
    return [scene for scene, text in zip(scenes, texts, strict=True) if "car" in text.split()][:4]
