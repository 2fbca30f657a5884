"""A picture of one's own, and masks painted by hand, on the pocket model."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mmkn_widgets as mmkn
from conftest import Page
from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.widgets import Explorer, PatchHeatmap
from mmkn_widgets.widgets.look import MOST_BYTES


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def pocket() -> Any:
    model = mmkn.load_model("pocket")
    scenes = mmkn.datasets.pocket_world("val", 60).with_concept("car", 3)
    return mmkn.study(model, "car", scenes)


@pytest.fixture
def real(pocket: Any) -> Iterator[Page]:
    explorer = Explorer(pocket)
    yield Page(explorer)
    explorer.close()


def test_an_uploaded_picture_is_captioned_painted_and_used(real: Page, pocket: Any) -> None:
    explorer = real.widget
    image, mask = pocket.scenes[1].image, pocket.scenes[1].mask("car")
    message, _ = real.ask("upload", [png(image)], name="C:\\me\\<b>mine</b>.png")
    assert message["ok"]
    explorer.wait()
    assert (explorer.scene, message["result"]["scene"]) == (3, 3)
    assert explorer.scenes[3]["name"] == "b>.png"
    assert explorer.caption_before == pocket.caption(1)
    assert len(explorer.thumbnails) == 4
    assert explorer.inpainted == b""
    assert explorer.objects == []
    assert len(pocket.scenes) == 3  # the study that was given stays as it is

    rows, cols = explorer.mask_shape
    small = np.asarray(Image.fromarray(mask).resize((cols, rows)), np.uint8) * 255
    message, _ = real.ask("inpaint", [small.tobytes()], shape=[rows, cols], scene=3)
    assert message["ok"]
    assert [item["name"] for item in explorer.objects] == ["car"]
    assert explorer.inpainted
    assert explorer.stale == [3]
    assert explorer.facts["scenes"] == 3
    message, _ = real.ask("compute", concept="car")
    assert message["ok"]
    assert explorer.stale == []
    assert explorer.facts["scenes"] == 4
    assert [str(s.id) for s in explorer.study.scored][3] == "b>.png"
    assert str(explorer.study.evidence["scene"].values[3]) == "b>.png"


def test_one_s_own_picture_stays_when_another_concept_is_computed(real: Page, pocket: Any) -> None:
    explorer = real.widget
    explorer.add_picture(pocket.scenes[0].image, "mine")
    explorer.add_picture(pocket.scenes[0].image, "mine")
    assert [line["name"] for line in explorer.scenes[3:]] == ["mine", "mine (2)"]
    message, _ = real.ask("compute", concept="tree")
    assert message["ok"]
    assert explorer.concept == "tree"
    assert explorer.scenes[-1]["name"] == "mine (2)"
    assert len(explorer.study.scored) == 3
    message, _ = real.ask("evaluate")
    assert message["ok"]
    assert explorer.study.concept.word == "tree"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "an empty file"),
        (b"no picture at all", "this is none"),
        (bytes(MOST_BYTES + 1), "at most 8 MB: save it smaller"),
        (png(Image.new("RGB", (40, 40)))[:60], "picture"),
    ],
    ids=["empty", "text", "large", "truncated"],
)
def test_what_is_no_picture_is_refused_in_words(real: Page, data: bytes, said: str) -> None:
    message, _ = real.ask("upload", [data], name="x.png")
    assert said in message["error"]
    assert len(real.widget.scenes) == 3
    assert real.widget.status["state"] == "ready"


def test_a_large_picture_is_scaled_and_says_so(real: Page) -> None:
    message, _ = real.ask("upload", [png(Image.new("L", (4096, 1024), 90))], name="wide.png")
    assert "scaled from 4096 × 1024 to 2048 × 512" in message["result"]["note"]
    assert real.widget.study.scenes[3].image.size == (2048, 512)


def test_no_mask_yet_is_said_where_one_is_needed(real: Page, pocket: Any) -> None:
    explorer = real.widget
    explorer.add_picture(pocket.scenes[0].image)
    ids = [np.asarray(explorer.kept[:3], "<i4").tobytes()]
    message, _ = real.ask("patch_scores", ids, scene=3)
    assert message["ok"]
    assert message["result"] == {
        "count": 0,
        "why": "paint a mask of the car first, then inpaint",
    }
    message, _ = real.ask("ablate", ids, mode="from_inpainted")
    assert "paint it first" in message["error"]


def paint(page: Page, mask: np.ndarray) -> None:
    rows, cols = page.widget.mask_shape
    small = np.asarray(Image.fromarray(mask).resize((cols, rows)), np.uint8) * 255
    shown = page.widget.scene
    assert page.ask("inpaint", [small.tobytes()], shape=[rows, cols], scene=shown)[0]["ok"]


def test_it_stays_the_scene_whatever_is_done_with_it(real: Page, pocket: Any) -> None:
    """Masked, computed with, ablated, another word clicked, painted anew: and no scene more."""
    explorer = real.widget
    other = mmkn.datasets.pocket_world("test", 60).with_concept("car", 1)[0]
    explorer.add_picture(other.image, "mine.png")

    def shown() -> str:
        explorer.wait()
        return str(explorer.scenes[explorer.scene]["name"])

    def count() -> tuple[int, int]:
        return explorer.facts["scenes"], explorer.facts["own"]

    caption = explorer.caption_before
    paint(real, other.mask("car"))
    assert (shown(), count()) == ("mine.png", (3, 0))
    for _ in range(2):  # as often as one likes
        message, _ = real.ask("compute", concept="car")
        assert message["result"]["note"] == ""
        assert (shown(), count()) == ("mine.png", (4, 1))
        assert explorer.inpainted
        explorer.ablate()
        assert shown() == "mine.png"
        assert explorer.caption_before == caption
        word = next(w for w in other.categories if w != "car")
        message, _ = real.ask("compute", concept=word)
        assert message["result"]["note"] == ""
        assert (shown(), count()) == ("mine.png", (3, 0))
        assert explorer.inpainted == b""
        assert [line["name"] for line in explorer.scenes if line["own"]] == ["mine.png"]
    real.ask("compute", concept="car")
    moved = np.roll(other.mask("car"), 6, 1)
    paint(real, moved)
    assert explorer.stale == [explorer.scene]
    real.ask("compute", concept="car")
    assert (shown(), explorer.stale) == ("mine.png", [])
    assert (explorer.study.scored[3].mask("car") == moved).mean() > 0.98


def test_fewer_scenes_than_before_is_said(pocket: Any) -> None:
    """Pictures of which no data set knows more: some show the other word, some do not."""
    few = [
        mmkn.datasets.Scene(s.id, s.image, s.captions, s.objects, source="folder:x")
        for s in pocket.scenes
    ]
    explorer = Explorer(mmkn.study(pocket.model, "car", few))
    word = next(
        w
        for w in few[0].categories
        if w != "car" and sum(w in scene.categories for scene in few) == 1
    )
    message, _ = Page(explorer).ask("compute", concept=word)
    assert message["ok"], message
    assert message["result"]["note"] == f"1 scene here, 3 before: no more show {word!r}"
    explorer.close()


def test_a_word_that_nothing_is_painted_of_has_no_scores_yet(pocket: Any) -> None:
    explorer = Explorer(pocket.model, pocket.scenes[0].image, "car")
    page = Page(explorer)
    explorer.add_picture(pocket.scenes[1].image, "second")
    assert page.ask("compute", concept="ball")[0]["ok"]
    explorer.wait()
    assert (explorer.concept, explorer.facts["scenes"], explorer.scene) == ("ball", 0, 1)
    assert len(explorer.neurons) == 0
    paint(page, pocket.scenes[1].mask("car"))
    assert page.ask("compute", concept="car")[0]["ok"]
    assert explorer.facts["scenes"] == 0  # that was painted as a ball
    assert "tokenizer does not know" in page.ask("compute", concept="zebra")[0]["error"]
    explorer.close()


def test_what_a_model_of_drawings_knows_is_said(real: Page) -> None:
    assert real.widget.facts["knows"].startswith("drawn scenes of 96 x 96 pixels")


def test_a_caption_without_the_word_is_no_failure_of_the_map(real: Page, pocket: Any) -> None:
    explorer = real.widget
    blank = Image.new("RGB", (96, 96), "teal")
    explorer.add_picture(blank, "teal")
    paint(real, np.eye(96, dtype=bool))
    ids = [np.asarray(explorer.kept[:3], "<i4").tobytes()]
    message, _ = real.ask("patch_scores", ids, scene=explorer.scene)
    assert "the caption does not name “car”" in message["result"]["why"]


def test_a_mask_painted_by_hand_is_marked_until_it_is_computed(real: Page, pocket: Any) -> None:
    explorer = real.widget
    before = explorer.study.evidence["difference"].values
    rows, cols = explorer.mask_shape
    half = np.zeros((rows, cols), np.uint8)
    half[:, : cols // 2] = 255
    message, _ = real.ask("inpaint", [half.tobytes()], shape=[rows, cols], scene=0)
    assert message["ok"]
    assert explorer.stale == [0]
    np.testing.assert_array_equal(explorer.study.evidence["difference"].values, before)
    real.ask("compute", concept="car")
    assert explorer.stale == []
    after = explorer.study.evidence["difference"].values
    assert np.nanmax(np.abs(after - before)) > 1e-3  # what was painted by hand is in the scores


def test_a_heatmap_alone_takes_a_picture() -> None:
    seen: list[Image.Image] = []

    def maps_of(image: Image.Image) -> np.ndarray:
        seen.append(image)
        return np.ones((2, 3, 5), np.float32)

    heat = PatchHeatmap(Image.new("RGB", (8, 8)), np.ones((1, 2, 2)), maps_of=maps_of)
    message, _ = Page(heat).ask("upload", [png(Image.new("RGB", (30, 20)))], name="a.png")
    assert message["ok"]
    assert seen[0].size == heat.picture_uploaded.size == (30, 20)
    assert (heat.grid["rows"], heat.grid["cols"]) == (3, 5)
    assert heat.kept.tolist() == [0, 1]
    closed = PatchHeatmap(Image.new("RGB", (8, 8)), np.ones((1, 2, 2)))
    assert not closed.uploads
    message, _ = Page(closed).ask("upload", [b"x"], name="a.png")
    assert "maps_of" in message["error"]


def test_a_model_and_a_picture_start_without_scores(pocket: Any) -> None:
    scene = pocket.scenes[0]
    explorer = Explorer(pocket.model, scene.image, "car")
    page = Page(explorer)
    assert explorer.facts["scenes"] == 0
    assert len(explorer.neurons) == 0
    assert explorer.caption_before == pocket.caption(0)
    for kind in ("evaluate", "propose", "ablate"):
        assert "then “compute”" in page.ask(kind)[0]["error"]
    rows, cols = explorer.mask_shape
    small = np.asarray(Image.fromarray(scene.mask("car")).resize((cols, rows)), np.uint8) * 255
    assert page.ask("inpaint", [small.tobytes()], shape=[rows, cols], scene=0)[0]["ok"]
    assert page.ask("compute", concept="car")[0]["ok"]
    assert explorer.facts["scenes"] == 1
    assert 50 < len(explorer.neurons) <= 60  # less what takes from the word
    assert explorer.stale == []
    explorer.close()


def test_with_a_mask_the_scores_are_there_at_once(pocket: Any) -> None:
    scene = pocket.scenes[0]
    explorer = Explorer(pocket.model, scene.image, "car", scene.mask("car"))
    alone = mmkn.study(pocket.model, "car", scene)
    assert list(explorer.neurons) == list(Explorer(alone).neurons)
    with pytest.raises(BadArgument, match="no mask beside a Scene"):
        Explorer(pocket.model, scene, "car", scene.mask("car"))
    with pytest.raises(BadArgument, match="tokenizer does not know"):
        Explorer(pocket.model, scene.image, "carr")
