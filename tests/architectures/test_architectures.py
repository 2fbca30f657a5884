"""Every image-text-to-text architecture goes through the round trip of ``roundtrip.py``.

``results.json`` beside this file is what the table in docs/models.md is made from. A test fails
when an architecture does less than is written there: the table cannot promise what is not so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from roundtrip import examine
from table import BEGIN, END, markdown
from tiny_models import ARCHITECTURES, without_timm

WRITTEN: dict[str, dict[str, Any]] = {
    row["architecture"]: row
    for row in json.loads(Path(__file__).with_name("results.json").read_text())
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_does_what_the_table_says(architecture: str) -> None:
    written = WRITTEN[architecture]
    found = examine(architecture).to_dict()
    if without_timm(architecture):
        assert found["reason"].startswith("model: its folder needs timm; pip install timm")
        return
    assert found["works"] >= written["works"], found["reason"] or found["checks"]
    assert found["paints"] >= written["paints"], found["paint_reason"]
    assert found["generates"] >= written["generates"], found["refused"]
    for key in ("sites", "routed", "geometry", "shape", "approximate"):
        assert found[key] == written[key]
    if not found["works"]:
        assert found["reason"] or not all(found["checks"].values())
    if not found["paints"]:
        assert found["paint_reason"]


def test_most_architectures_work() -> None:
    rows = [WRITTEN[name] for name in ARCHITECTURES]
    assert len(rows) == len(ARCHITECTURES)
    assert sum(row["works"] for row in rows) >= 88
    assert sum(row["paints"] and not row["approximate"] for row in rows) >= 65


def test_the_documentation_shows_this_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    shown = page.partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == markdown([WRITTEN[name] for name in ARCHITECTURES])


def test_the_table_has_a_line_for_each() -> None:
    text = markdown([WRITTEN[name] for name in ARCHITECTURES])
    for name in ARCHITECTURES:
        assert f"\n| {name} | " in text
