"""The offline page and the static fallback: whole, and text stays text."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
from fake_study import FakeStudy

from mmkn_widgets.widgets import Explorer
from mmkn_widgets.widgets._html import offline_page


def embedded(page: str, name: str) -> object:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found.group(1))


def test_offline_page_holds_the_state(explorer: Explorer, tmp_path: Path) -> None:
    explorer.ablate()
    page = explorer.save_html(tmp_path / "x.html").read_text(encoding="utf-8")
    state = embedded(page, "mmkn-state")
    assert isinstance(state, dict)
    assert state["read_only"] is True
    assert state["caption_after"] == explorer.caption_after
    raw = base64.b64decode(state["difference"]["$bytes"])
    np.testing.assert_array_equal(np.frombuffer(raw, "<f4"), explorer._d.ravel())
    assert "render" in str(embedded(page, "mmkn-module"))
    assert not re.search(r"""(src|href)=["']?https?:""", page)


def test_every_scene_is_in_the_offline_page(explorer: Explorer) -> None:
    scenes = embedded(offline_page(explorer), "mmkn-scenes")
    assert isinstance(scenes, dict)
    assert sorted(map(int, scenes["scene"])) == list(range(6))
    for number, state in scenes["scene"].items():
        ids = np.frombuffer(base64.b64decode(state["map_ids"]["$bytes"]), "<i4")
        assert set(explorer.kept.tolist()) <= set(ids.tolist())
        truth = explorer.study.maps(ids // 512, ids % 512, scene=int(number))
        grids = np.frombuffer(base64.b64decode(state["maps"]["$bytes"]), np.uint8)
        scale = np.frombuffer(base64.b64decode(state["map_scale"]["$bytes"]), "<f4")
        offset = np.frombuffer(base64.b64decode(state["map_offset"]["$bytes"]), "<f4")
        shown = offset[:, None] + scale[:, None] * grids.reshape(len(ids), -1)
        np.testing.assert_allclose(shown, truth.reshape(len(ids), -1), atol=0.02)


def test_nothing_from_data_is_html(tmp_path: Path) -> None:
    study = FakeStudy()
    evil = "</script><img src=x onerror=alert(1)>"
    study.caption = lambda scene: evil  # type: ignore[method-assign]
    made = Explorer(study)
    made.concept = evil
    page = made.save_html(tmp_path / "x.html").read_text(encoding="utf-8")
    assert evil not in page
    assert "<img src=x" not in page
    data, _ = made._repr_mimebundle_()
    assert "<img src=x" not in data["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in data
    made.close()
