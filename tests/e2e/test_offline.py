"""The offline pages in a browser without a network: they work, and data stays text in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from .pages import EVIL, WIDGETS, evil_study, opened


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Any, Path]]]:
    """Return the three composed widgets and the page of each."""
    folder = tmp_path_factory.mktemp("offline")
    made = {name: WIDGETS[name]() for name in ("Explorer", "ConceptPair", "StoreExplorer")}
    yield {name: (w, w.save_html(folder / f"{name}.html")) for name, w in made.items()}
    for widget in made.values():
        widget.close()


def pixels(page: Page, selector: str) -> str:
    return str(page.evaluate("(q) => document.querySelector(q).toDataURL()", selector))


def wait_for_pixels(page: Page, selector: str, old: str) -> None:
    page.wait_for_function(
        "([q, old]) => document.querySelector(q).toDataURL() !== old", arg=[selector, old]
    )


def row(page: Page, place: int) -> Locator:
    """Return a row of the table by its place, from 1."""
    return page.locator(f'.trow[aria-rowindex="{place + 1}"]:not([hidden])')


def test_explorer_thresholds_scenes_overlays_and_table(
    page: Page, saved: dict[str, tuple[Any, Path]]
) -> None:
    explorer, path = saved["Explorer"]
    trouble = opened(page, path)
    button = page.locator("button.primary")
    expect(button).to_be_disabled()
    expect(button).to_have_text("Ablate 60 neurons")
    expect(page.locator(".alert")).to_contain_text("read-only")
    corner = page.locator(".plane .corner")
    for _ in range(8):
        corner.press("Shift+ArrowRight")
    expect(button).not_to_have_text("Ablate 60 neurons")
    page.wait_for_timeout(100)
    cut = page.evaluate("mmkn.model.get('threshold_d')")
    explorer.threshold_d = cut
    expect(button).to_have_text(f"Ablate {len(explorer.kept)} neurons")
    expect(page.locator(".captions ins")).to_have_text("bus")
    canvas = ".a-picture canvas"
    first = pixels(page, canvas)
    page.locator(".strip button").nth(3).click()
    wait_for_pixels(page, canvas, first)
    expect(page.locator(".a-picture .reads .note").first).to_have_text(re.compile("kept"))
    second = pixels(page, canvas)
    third = row(page, 3)
    third.click()
    wait_for_pixels(page, canvas, second)
    name = third.locator("[role=gridcell]").nth(1).text_content()
    expect(page.locator(".a-picture .reads .note").first).to_have_text(name or "-")
    chosen = explorer.selection
    by_difference = max(chosen.kept.tolist(), key=lambda i: float(chosen.difference.ravel()[i]))
    page.get_by_role("button", name="diff", exact=True).click()
    best = chosen.name(by_difference)
    expect(row(page, 1).locator("[role=gridcell]").nth(1)).to_have_text(best)
    page.get_by_role("button", name="copy as Python").click()
    assert trouble == []


def test_pair_thresholds_scenes_parts_and_captions(
    page: Page, saved: dict[str, tuple[Any, Path]]
) -> None:
    pair, path = saved["ConceptPair"]
    trouble = opened(page, path)
    counts = page.locator(".choose b")
    wanted = [str(len(pair.ids_of(part))) for part in ("a", "shared", "b")]
    expect(counts).to_have_text(wanted)
    expect(page.locator(".p-a .captions ins").first).to_have_text("bus")
    page.get_by_role("slider", name="car: difference threshold", exact=True).press("PageUp")
    expect(counts).not_to_have_text(wanted)
    pair.a_threshold_d = page.evaluate("mmkn.model.get('a_threshold_d')")
    expect(counts).to_have_text([str(len(pair.ids_of(part))) for part in ("a", "shared", "b")])
    canvas = ".p-b .stage canvas"
    first = pixels(page, canvas)
    page.locator(".choose").nth(2).click()
    wait_for_pixels(page, canvas, first)
    second = pixels(page, canvas)
    page.locator(".p-b .strip button").nth(2).click()
    wait_for_pixels(page, canvas, second)
    assert page.evaluate("mmkn.model.get('b_caption_before')") == pair.study_b.caption(2)
    expect(page.locator(".effects tbody tr")).to_have_count(3)
    assert trouble == []


def test_store_pictures_and_rows(page: Page, saved: dict[str, tuple[Any, Path]]) -> None:
    explorer, path = saved["StoreExplorer"]
    trouble = opened(page, path)
    canvas = ".w-picture canvas"
    first = pixels(page, canvas)
    page.locator(".strip button").nth(2).click()
    wait_for_pixels(page, canvas, first)
    second = pixels(page, canvas)
    row(page, 2).click()
    wait_for_pixels(page, canvas, second)
    assert page.evaluate("mmkn.model.get('selected')") == int(explorer.kept[1])
    assert trouble == []


def told_apart(word: str = "car", seed: int = 0) -> Any:
    """Return a study in which every scene says and shows something else."""
    from fake_study import FakeStudy

    study = FakeStudy(word, seed=seed)
    pictures = [scene.image for scene in study.scenes]

    def after(image: Any, prompt: Any = None, **told: Any) -> str:
        return f"a green bus, number {next(k for k, one in enumerate(pictures) if one is image)}"

    def measured(scene: int, *neurons: Any) -> Any:
        return SimpleNamespace(measured=-2.5 - scene, predicted=-1.5 - scene, unit="nats")

    study.caption = lambda scene: f"a red {word}, number {scene}"  # type: ignore[method-assign]
    study.references = lambda scene: (f"one of number {scene}",)  # type: ignore
    study.model.caption = after
    study.measured_change = measured  # type: ignore[method-assign]
    return study


def test_another_scene_changes_every_part_of_the_explorer(page: Page, tmp_path: Path) -> None:
    from mmkn_widgets.widgets import Explorer

    explorer = Explorer(told_apart())
    explorer.ablate()
    explorer.wait()
    trouble = opened(page, explorer.save_html(tmp_path / "parts.html"))
    root = page.locator(".mmkn")
    drawn = [".a-picture canvas", ".a-without canvas", ".tokens canvas"]
    before = {canvas: pixels(page, canvas) for canvas in drawn}
    note = root.locator(".a-picture .note").first.text_content()
    names = [explorer.selection.name(int(flat)) for flat in explorer.kept[:3]]
    for k in (1, 4, 0):
        root.locator(".strip button").nth(k).click()
        for canvas in drawn:
            wait_for_pixels(page, canvas, before[canvas])
        before = {canvas: pixels(page, canvas) for canvas in drawn}
        captions = root.locator(".captions dd")
        expect(captions.nth(0)).to_have_text(f"a red car, number {k}", use_inner_text=True)
        expect(captions.nth(1).locator("ins").first).to_have_text("green")
        expect(captions.nth(1)).to_contain_text(f"number {k}")
        expect(captions.last).to_contain_text(f"one of number {k}")
        effect = root.locator(".effect")
        expect(effect).to_contain_text(f"measured −{2.5 + k:.2f}")
        expect(effect).to_contain_text(f"predicted −{1.5 + k:.2f}")
        tokens = root.locator(".tokens")
        expect(tokens).to_contain_text(f"{k}")
        expect(tokens).to_contain_text("number")
        values = page.evaluate(
            "(() => { const v = mmkn.model.get('token_values');"
            " return Array.from(new Float32Array(v.buffer)); })()"
        )
        row, index = explorer.look.index.split([int(explorer.kept[0])])
        truth = explorer.study.tokens(k, int(row[0]), int(index[0]))[1]
        assert values == pytest.approx(truth.tolist(), abs=1e-6)
        assert root.locator(".a-picture .note").first.text_content() == note  # the same kept
        assert f"study.scenes[{k}]" in page.evaluate("mmkn.model.get('ablation').code")
        expect(root.locator(".strip button").nth(k)).to_have_attribute("aria-selected", "true")
    for name in names[1:]:
        strip = pixels(page, ".tokens canvas")
        row_of = page.locator(".trow:not([hidden])").filter(has_text=name)
        row_of.click()
        wait_for_pixels(page, ".tokens canvas", strip)
        expect(root).to_contain_text(f"activation of {name}")
    last = explorer.selection.name(int(explorer.kept[-1]))
    page.get_by_role("button", name=re.compile("^cam")).click()  # the worst first
    page.locator(".trow:not([hidden])").filter(has_text=last).click()
    expect(root).to_contain_text(f"activation of {last}")
    for canvas, move in (
        (".plane canvas", lambda: page.locator(".plane .corner").press("Shift+ArrowLeft")),
        (".a-picture canvas", lambda: page.get_by_role("radio", name="off").click()),
    ):
        was = pixels(page, canvas)
        move()
        wait_for_pixels(page, canvas, was)
    count = page.locator("button.primary").text_content() or ""
    page.locator(".layers button").last.click()
    expect(page.locator("button.primary")).not_to_have_text(count)
    page.locator(".layers button").last.press("Control+z")
    expect(page.locator("button.primary")).to_have_text(count)
    check = page.get_by_role("checkbox", name="keep L").first
    check.click()
    expect(page.locator("button.primary")).not_to_have_text(count)
    page.get_by_role("searchbox").fill("L5")
    expect(page.locator(".trow:not([hidden])").first).to_contain_text("L5·")
    with page.expect_download() as got:
        page.locator("summary").filter(has_text="export").click()
        page.get_by_role("button", name="neurons as CSV").click()
    assert Path(got.value.path()).read_text().startswith("row,layer")
    assert trouble == []
    explorer.close()


def test_another_scene_changes_every_part_of_a_side(page: Page, tmp_path: Path) -> None:
    from mmkn_widgets.widgets import compare

    one, two = told_apart("car"), told_apart("bus", seed=2)
    two.model = one.model
    pictures = [*one.scenes, *two.scenes]

    def after(image: Any, prompt: Any = None, **told: Any) -> str:
        n = next(k for k, scene in enumerate(pictures) if scene.image is image)
        return f"a green house, number {n % 6}"

    one.model.caption = after
    pair = compare(one, two)
    pair.ablate("a")
    pair.wait()
    trouble = opened(page, pair.save_html(tmp_path / "pair.html"))
    for side, other, word in (("a", "b", "car"), ("b", "a", "bus")):
        canvas = f".p-{side} .stage canvas"
        was = pixels(page, canvas)
        page.locator(f".p-{side} .strip button").nth(3).click()
        wait_for_pixels(page, canvas, was)
        captions = page.locator(f".p-{side} .captions dd")
        expect(captions.nth(0)).to_contain_text(f"a red {word}, number 3")
        expect(captions.nth(1)).to_contain_text("number 3")
        expect(captions.nth(1).locator("ins").first).to_have_text("green")
        expect(captions.nth(2)).to_contain_text("number 3")
        expect(page.locator(f".p-{side} .head .note").first).to_have_text("scene 4 of 6")
        expect(page.locator(f".p-{other} .captions dd").nth(0)).not_to_contain_text(
            "number 3" if other == "b" else "number 4"
        )
    assert trouble == []
    pair.close()


def test_another_picture_changes_every_part_of_the_store(
    page: Page, saved: dict[str, tuple[Any, Path]]
) -> None:
    explorer, path = saved["StoreExplorer"]
    trouble = opened(page, path)
    drawn = [".w-picture canvas", ".tokens canvas"]
    read = (
        "Array.from(new Float32Array(mmkn.model.get('token_values').buffer.slice("
        "mmkn.model.get('token_values').byteOffset)))"
    )
    flat = int(explorer.selected)
    for k in (2, 1):
        before = {canvas: pixels(page, canvas) for canvas in drawn}
        page.locator(".strip button").nth(k).click()
        for canvas in drawn:
            wait_for_pixels(page, canvas, before[canvas])
        tokens, truth = explorer.look.tokens(flat, k)
        assert page.evaluate(read) == pytest.approx(truth.tolist(), rel=1e-6)
        said = [text for text, role, _ in tokens if role == "generated"]
        expect(page.locator(".tokens")).to_contain_text(said[-2].strip())
    second = int(explorer.kept[1])
    page.locator(".trow:not([hidden])").nth(1).click()
    page.wait_for_timeout(100)
    assert page.evaluate("mmkn.model.get('selected')") == second
    assert page.evaluate(read) == pytest.approx(
        explorer.look.tokens(second, 1)[1].tolist(), rel=1e-6
    )
    count = page.locator(".w-plane .note").first.text_content() or ""
    page.locator(".corner").press("Shift+ArrowRight")
    expect(page.locator(".w-plane .note").first).not_to_have_text(count)
    page.locator(".layers button").first.click()
    expect(page.locator(".layers button").first).to_contain_text("off")
    assert trouble == []


def test_every_other_widget_is_used_without_a_kernel(page: Page, tmp_path: Path) -> None:
    def open_one(name: str) -> list[str]:
        widget = WIDGETS[name]()
        found = opened(page, widget.save_html(tmp_path / f"{name}.html"))
        widget.close()
        return found

    trouble = open_one("ThresholdPlane")
    was = pixels(page, ".plane canvas")
    page.get_by_role("slider", name="GradCAM threshold", exact=True).press("PageUp")
    wait_for_pixels(page, ".plane canvas", was)
    trouble += open_one("NeuronTable")
    first = row(page, 1).text_content()
    page.get_by_role("button", name="neuron", exact=True).click()
    expect(row(page, 1)).not_to_have_text(first or "")
    page.locator(".scroll").press("End")
    expect(page.locator(".trow[aria-selected=true]")).to_be_visible()
    trouble += open_one("PatchHeatmap")
    was = pixels(page, ".stage canvas")
    page.get_by_role("slider", name="swipe").press("Home")
    wait_for_pixels(page, ".stage canvas", was)
    was = pixels(page, ".stage canvas")
    page.get_by_role("radio", name="off").click()
    page.get_by_role("slider", name="swipe").press("End")
    wait_for_pixels(page, ".stage canvas", was)
    trouble += open_one("TokenStrip")
    page.locator(".tokens canvas").hover()
    expect(page.locator(".hover")).to_contain_text("image token")
    trouble += open_one("CaptionDiff")
    expect(page.locator("ins")).to_have_text("bus")
    trouble += open_one("MaskPainter")
    page.get_by_role("button", name="car").click()
    expect(page.locator(".head .note")).to_contain_text("mask")
    trouble += open_one("AblationPanel")
    expect(page.locator("button.primary")).to_be_disabled()
    expect(page.locator(".effect")).to_contain_text("predicted")
    assert trouble == []


@pytest.mark.parametrize("which", ["Explorer", "ConceptPair"])
def test_tags_and_scripts_in_data_are_letters(page: Page, tmp_path: Path, which: str) -> None:
    from mmkn_widgets.widgets import Explorer, compare

    one = evil_study(EVIL)
    if which == "Explorer":
        widget: Any = Explorer(one)
        widget._receive(widget, {"kind": "request", "id": "1", "name": "lens"}, [])
        widget._receive(
            widget, {"kind": "request", "id": "2", "name": "tokens", "args": {"id": 3}}, []
        )
    else:
        two = evil_study("bus", seed=2)
        two.model = one.model
        widget = compare(one, two)
    widget.ablate()
    widget.wait()
    trouble = opened(page, widget.save_html(tmp_path / f"{EVIL[:4]}.html"))
    page.locator(".trow:not([hidden])").first.click()
    page.locator(".strip button").nth(1).click()
    page.wait_for_timeout(300)
    assert page.evaluate("window.hit === undefined")
    assert page.locator(".mmkn :is(script, img[src='x'])").count() == 0
    text = page.locator(".mmkn").text_content() or ""
    assert text.count("<img src=x") > (10 if which == "Explorer" else 5)
    expect(page.locator(".captions dd").first).to_contain_text("<script>window.hit=2</script>")
    html = widget._repr_mimebundle_()[0]["text/html"]
    page.set_content(html)
    assert page.evaluate("window.hit === undefined")
    assert page.locator("img[src=x], script").count() == 0
    expect(page.locator(".mmkn-static")).to_contain_text("<img src=x")
    assert trouble == []
    widget.close()
