"""Names that the examples in docstrings may use."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict[str, Any]) -> None:
    """Let docstrings say `mmkn` as the README does."""
    import mmkn_widgets

    doctest_namespace["mmkn"] = mmkn_widgets
