"""The offline page and the static fallback: whole, and text stays text."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_study import FakeStudy
from ipywidgets.embed import embed_minimal_html
from PIL import Image

from mmkn_widgets.core import Cancelled, CancelToken
from mmkn_widgets.widgets import Explorer, PatchHeatmap
from mmkn_widgets.widgets.html import offline_page, wire_state
from mmkn_widgets.widgets.saved import Pace


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
    np.testing.assert_array_equal(np.frombuffer(raw, "<f4"), explorer.selection.difference.ravel())
    assert "render" in str(embedded(page, "mmkn-module"))
    assert not re.search(r"""(src|href)=["']?https?:""", page)


def test_every_scene_is_in_the_offline_page(explorer: Explorer) -> None:
    scenes = embedded(offline_page(explorer), "mmkn-scenes")
    assert isinstance(scenes, dict)
    assert sorted(map(int, scenes["single"]["scene"])) == list(range(6))
    for number, state in scenes["single"]["scene"].items():
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


def test_a_name_of_bytes_that_are_no_text_is_shown_all_the_same(tmp_path: Path) -> None:
    """Linux takes any bytes for a file name; Python reads them as halves of surrogate pairs."""
    study = FakeStudy()
    study.caption = lambda scene: "a \udcff.png \U0001f600"  # type: ignore[method-assign]
    made = Explorer(study)
    page = made.save_html(tmp_path / "x.html").read_text(encoding="utf-8")
    assert "\ufffd.png \U0001f600" in page
    made._repr_mimebundle_()[0]["text/html"].encode()
    made.close()


def test_the_static_picture_wears_the_mean_map_of_the_kept() -> None:
    maps = np.zeros((2, 4, 4), np.float32)
    maps[:, 1, 2] = (2.0, 4.0)
    heat = PatchHeatmap(Image.new("RGB", (40, 40)), maps)
    data = heat._repr_mimebundle_()[0]["text/html"]
    ((alt, code),) = re.findall(r'alt="([^"]+)"[^>]*base64,([^"]+)"', data)
    assert alt == "picture with the mean map of the kept neurons"
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(code))).convert("RGB"), float)
    side = len(shown) // 4
    hot = shown[side + side // 2, 2 * side + side // 2]
    np.testing.assert_allclose(hot, 0.6 * np.array([0xFC, 0xFF, 0xA4]), atol=14)
    assert shown[-1, 0].max() < 8
    heat.threshold_d = 99.0
    assert 'alt="picture"' in heat._repr_mimebundle_()[0]["text/html"]


def test_embed_minimal_html_holds_every_trait(explorer: Explorer, tmp_path: Path) -> None:
    """It needs its CDN to be seen, so only what it carries is looked at here."""
    explorer.ablate()
    explorer.wait()  # the change is measured after the caption
    path = tmp_path / "embed.html"
    embed_minimal_html(path, views=[explorer], drop_defaults=False)
    kind = "application/vnd.jupyter.widget-state+json"
    found = re.search(rf'<script type="{re.escape(kind)}">(.*?)</script>', path.read_text(), re.S)
    assert found is not None
    made = json.loads(found.group(1))["state"][explorer.model_id]
    raw = {tuple(b["path"]): base64.b64decode(b["data"]) for b in made["buffers"]}
    for name, value in wire_state(explorer).items():
        if isinstance(value, bytes):
            assert raw.get((name,), b"") == value, name
        elif name not in ("thumbnails", "object_masks"):  # lists of bytes
            assert made["state"][name] == json.loads(json.dumps(value)), name
    assert raw[("thumbnails", 1)] == explorer.thumbnails[1]
    assert "render" in made["state"]["_esm"]


def differing(before: dict[str, object], after: dict[str, object]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


#: of the shown scene, and not of what it brings: too many maps for a page
PREFETCHED_MAPS = {"maps", "map_scale", "map_offset", "map_sign", "map_ids", "words"}


def test_another_scene_brings_all_that_it_brings_with_a_kernel(explorer: Explorer) -> None:
    """Whatever differs between two scenes of a live view is in the page, and the same there."""
    explorer.study.caption = lambda scene: f"a red car, number {scene}"  # type: ignore
    explorer.ablate()
    explorer.wait()

    def ask(flat: int) -> None:
        args = {"id": flat, "scene": explorer.scene}
        message = {"kind": "request", "id": "t", "name": "tokens", "args": args}
        explorer._receive(explorer, message, [])
        explorer.wait()

    first, second = (int(flat) for flat in explorer.kept[:2])
    explorer.selected = second
    ask(second)
    saved = explorer.saved_traits(Pace())
    before = wire_state(explorer)
    explorer.scene = 2
    explorer.wait()
    ask(second)
    after = wire_state(explorer)
    changed = differing(before, after) - PREFETCHED_MAPS - {"scene", "scenes", "status"}
    assert {"picture", "caption_before", "token_values", "ablation", "mask"} <= changed
    brought = {**saved.single["scene"][2], **saved.several[0].known[2, second]}
    assert {name: brought[name] for name in changed} == {name: after[name] for name in changed}
    page = embedded(offline_page(explorer), "mmkn-state")
    assert isinstance(page, dict)
    assert all(line["after"] for line in page["scenes"])
    values = page["token_values"]["$bytes"]
    assert base64.b64decode(values) == after["token_values"]
    explorer.selected = first
    other = embedded(offline_page(explorer), "mmkn-state")
    assert isinstance(other, dict)
    assert other["token_values"]["$bytes"] != values


def test_the_page_says_which_neurons_tokens_it_has(explorer: Explorer) -> None:
    explorer.threshold_d = explorer.threshold_g = 0.0
    assert len(explorer.kept) > 64
    explorer.selected = int(explorer.kept[-1])
    saved = explorer.saved_traits(Pace())
    (several,) = saved.several
    assert len({flat for _, flat in several.known}) == 64
    assert (0, explorer.selected) in several.known
    assert "only those of the 64 best" in several.otherwise["token_label"]


def test_saving_says_how_far_it_is_and_can_be_cancelled(explorer: Explorer) -> None:
    told: list[tuple[str, int, int]] = []
    cancel = CancelToken()

    def progress(*step: Any) -> None:
        told.append(step)
        if step[1] == 2:
            cancel.cancel()

    with pytest.raises(Cancelled):
        offline_page(explorer, Pace(progress, cancel))
    assert told == [("writing the page", k, 6) for k in range(3)]
