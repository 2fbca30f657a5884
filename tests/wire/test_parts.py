"""Each part alone: what it takes, and what its page can ask."""

from __future__ import annotations

import numpy as np
import pytest
import traitlets
from fake_study import FakeStudy
from PIL import Image

from conftest import Page
from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.widgets import (
    AblationPanel,
    CaptionDiff,
    MaskPainter,
    NeuronTable,
    PatchHeatmap,
    ThresholdPlane,
    TokenStrip,
)


def test_plane_takes_xarray_and_links_to_the_table(study: FakeStudy) -> None:
    plane, table = ThresholdPlane(study.evidence), NeuronTable(study)
    traitlets.link((plane, "threshold_d"), (table, "threshold_d"))
    plane.threshold_d = 1.0
    d, g = (study.evidence[n].values for n in ("difference", "gradcam"))
    wanted = (d > np.float32(1)) & (g > np.float32(table.threshold_g))
    assert len(table.neurons) == wanted.sum()
    frame = table.to_dataframe()
    assert (frame["difference"] > 1).all()
    assert frame["gradcam"].is_monotonic_decreasing
    with pytest.raises(BadArgument, match="difference"):
        ThresholdPlane(3)


def test_table_decodes_words_on_request(study: FakeStudy) -> None:
    message, _ = Page(NeuronTable(study)).ask("words", ids=[7, 600])
    assert message["result"]["words"] == study.words([0, 1], [7, 88])


def test_heatmap_takes_any_maps() -> None:
    maps = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    heat = PatchHeatmap(Image.new("RGB", (40, 30)), maps)
    assert (heat.grid["rows"], heat.grid["cols"]) == (3, 4)
    assert heat.kept.tolist() == [0, 1]
    with pytest.raises(BadArgument, match="row, column"):
        PatchHeatmap(Image.new("RGB", (4, 4)), np.zeros(3))


def test_token_strip_checks_its_lengths() -> None:
    strip = TokenStrip([("a", "text", -1), ("car", "generated", 0)], [0.5, -1])
    assert np.frombuffer(strip.token_values, "<f4").tolist() == [0.5, -1.0]
    with pytest.raises(BadArgument, match="one per token"):
        TokenStrip([("a", "text", -1)], [1, 2])


def test_caption_click_is_a_trait() -> None:
    diff = CaptionDiff("a red car", "a red bus", concept="car")
    Page(diff).ask("compute", concept="red")
    assert diff.clicked == "red"


def test_mask_painter_hands_over_a_full_size_mask() -> None:
    seen: list[np.ndarray] = []

    def paint(image: Image.Image, mask: np.ndarray) -> Image.Image:
        seen.append(mask)
        return image

    painter = MaskPainter(Image.new("RGB", (320, 160)), {"car": np.ones((160, 320))}, paint)
    assert painter.mask_shape == [80, 160]
    assert painter.objects == [{"name": "car", "area": 1.0}]
    mask = np.zeros((80, 160), np.uint8)
    mask[10:20, 30:50] = 255
    message, _ = Page(painter).ask("inpaint", [mask.tobytes()], shape=[80, 160])
    assert message["ok"]
    assert seen[0].shape == (160, 320)
    assert seen[0].sum() == 4 * 200
    message, _ = Page(painter).ask("inpaint", [bytes(80 * 160)], shape=[80, 160])
    assert "painted mask" in message["error"]


def test_ablation_panel_owns_what_it_pushes(study: FakeStudy) -> None:
    panel = AblationPanel(study)
    page = Page(panel)
    page.ask("ablate", [np.asarray(panel.kept, "<i4").tobytes()], mode="zero")
    assert panel.ablation["active"][0]["count"] == len(panel.kept)
    page.ask("undo")
    assert panel.ablation["active"] == []
    page.ask("redo")
    panel.close()
    assert study.model.interventions.active == ()
