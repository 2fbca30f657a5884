"""Two concepts side by side in a real JupyterLab: sliders, one click on a part, the keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from .explorer import ExplorerOnPage
from .notebook import NotebookPage, wait_for

CELLS = [
    "import torch; torch.set_num_threads(1)\n"
    "import mmkn_widgets as mmkn\n"
    "model = mmkn.load_model('pocket')\n"
    "world = mmkn.datasets.pocket_world('val', 60)\n"
    "car, bus = (mmkn.study(model, w, world.with_concept(w, 3)) for w in ('car', 'bus'))",
    "pair = mmkn.compare(car, bus)\npair",
]
CAPTION = ".p-{} .captions dd >> nth={}"


@pytest.fixture(scope="module")
def notebook(open_shared: Callable[..., NotebookPage]) -> NotebookPage:
    made = open_shared("pair.ipynb", CELLS)
    made.scroll_to(1)
    return made


@pytest.fixture
def pair(notebook: NotebookPage) -> Locator:
    return ExplorerOnPage(notebook.page, name="two concepts side by side").root


def counts(pair: Locator) -> list[int]:
    return [int(re.sub(r"\D", "", text)) for text in pair.locator(".choose b").all_text_contents()]


PARTS = "[len(pair.own_a), len(pair.shared), len(pair.own_b)]"


def test_a_slider_moves_the_parts_and_tells_the_kernel_at_its_end(
    notebook: NotebookPage, pair: Locator
) -> None:
    before = counts(pair)
    assert before == notebook.python(PARTS)
    notebook.execute("seen = []; pair.observe(lambda c: seen.append(c['name']), list(pair.keys))")
    slider = pair.get_by_role("slider", name="bus: difference threshold", exact=True)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    page, y = notebook.page, box["y"] + box["height"] / 2
    share = float(slider.input_value()) / 1000
    x = box["x"] + 8 + share * (box["width"] - 16)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 0.15 * box["width"], y, steps=10)
    page.wait_for_timeout(300)
    during = counts(pair)
    assert during != before
    assert during[0] + during[1] == before[0] + before[1]  # the car's set stays
    assert notebook.python("seen") == []
    page.mouse.up()
    notebook.wait_for_python("seen == ['b_threshold_d']", 10)
    assert counts(pair) == notebook.python(PARTS)


def test_one_click_ablates_a_part_beside_its_control(notebook: NotebookPage, pair: Locator) -> None:
    own = counts(pair)[0]
    pair.get_by_role("button", name=f"ablate {own} neurons, own of car").click()
    after = pair.locator(CAPTION.format("a", 1))
    expect(after.locator("del")).to_have_text("car")
    expect(pair.locator(CAPTION.format("b", 1))).to_contain_text("(unchanged)")
    expect(pair.locator(CAPTION.format("a", 2))).to_contain_text("(unchanged)")
    expect(pair.locator(".chip")).to_have_text(f"{own} neurons ablated: own of car")
    assert notebook.python("model.interventions.active[0].n_neurons") == own
    written = notebook.python("model.caption(car.scenes[0].image)")
    assert written == notebook.python("pair.a_caption_after")
    clean = "car.caption(0) == pair.a_caption_before and 'car' in pair.a_caption_random.split()"
    assert notebook.python(clean)
    pair.get_by_role("button", name="undo").click()
    notebook.wait_for_python("model.interventions.active == ()")
    pair.get_by_role("button", name="redo").click()
    notebook.wait_for_python("len(model.interventions.active) == 1")
    pair.get_by_role("button", name="restore all").click()
    expect(pair.locator(".chip")).to_have_count(0)
    assert notebook.errors == []


def test_everything_by_keyboard(notebook: NotebookPage, pair: Locator) -> None:
    page = notebook.page
    picture = pair.locator(".p-b .stage canvas")
    pair.locator(".choose").nth(2).focus()
    page.keyboard.press("Enter")
    notebook.wait_for_python("pair.part == 'b'")
    expect(picture).to_have_attribute("aria-label", re.compile("own of bus; largest"))
    table = pair.get_by_role("rowgroup")
    table.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    best = notebook.wait_for_python("pair.selected >= 0 and [int(i) for i in pair.ids_of('b')[:2]]")
    notebook.wait_for_python(f"pair.selected == {best[1]}")
    expect(picture).to_have_attribute("aria-label", re.compile(r"L\d·\d+; largest"))
    page.keyboard.press("Escape")
    notebook.wait_for_python("pair.selected == -1")
    strip = pair.locator(".p-b .strip")
    strip.locator("[aria-selected=true]").focus()
    page.keyboard.press("ArrowRight")
    notebook.wait_for_python("pair.b_scene == 1")
    notebook.wait_for_python("pair.b_caption_before == bus.caption(1)")
    cut = notebook.python("pair.a_threshold_g")
    corner = pair.get_by_role("slider", name="car: GradCAM threshold", exact=True)
    corner.focus()
    page.keyboard.press("ArrowRight")
    notebook.wait_for_python(f"pair.a_threshold_g != {cut}", 10)
    wait_for("the counts", lambda: counts(pair) == notebook.python(PARTS))
    assert notebook.errors == []


def test_each_part_is_measured_beside_random(notebook: NotebookPage, pair: Locator) -> None:
    pair.get_by_role("button", name="measure").click()
    table = pair.locator(".effects tbody tr")
    expect(table).to_have_count(3, timeout=60_000)
    shown = table.first.locator("td b").all_text_contents()
    effects = notebook.python("pair.part_effects")
    assert shown == [f"{effects[0][side]['value']:.2f}" for side in ("a", "b")]
    assert effects[0]["a"]["value"] > effects[0]["a"]["random"]
    assert notebook.python("model.interventions.active == ()")


def test_the_copied_python_gives_the_three_sets(notebook: NotebookPage, pair: Locator) -> None:
    notebook.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    pair.get_by_role("button", name="copy as Python").click()
    code = notebook.page.evaluate("navigator.clipboard.readText()")
    sets = "[[(n.layer, n.index) for n in pair.{}] for part in ('own_a', 'shared', 'own_b')]"
    wanted = notebook.python(sets.replace("pair.{}", "getattr(pair, part)"))
    run = f"fresh = {{}}; exec({code!r}, fresh)"
    found = notebook.execute(run, sets.replace("pair.{}", "fresh[part]"))
    assert [sorted(one) for one in found] == [sorted(one) for one in wanted]
