"""The shipped model, and two of its pictures."""

from __future__ import annotations

from typing import Any

import pytest

import mmkn_widgets as mmkn


@pytest.fixture(scope="session")
def pocket() -> Any:
    return mmkn.load_model("pocket")


@pytest.fixture(scope="session")
def pictures() -> list[Any]:
    return [scene.image for scene in mmkn.datasets.pocket_world("val", 3)]
