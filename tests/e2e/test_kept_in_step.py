"""What the page shows is what Python has: copied code, two Explorers, a thousand events."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from .explorer import ExplorerOnPage
from .notebook import NotebookPage, wait_for

CELLS = [
    "import torch; torch.set_num_threads(1)\n"
    "import mmkn_widgets as mmkn\n"
    "model = mmkn.load_model('pocket')\n"
    "scenes = mmkn.datasets.pocket_world('val', 60).with_concept('car', 3)\n"
    "study = mmkn.study(model, 'car', scenes, positions='image', difference='signed')",
    "explorer = mmkn.Explorer(study)\nexplorer",
    "second = mmkn.Explorer(study)\nsecond",
]
PLACES = "sorted([n.layer, n.expert, n.index] for n in {})"


@pytest.fixture(scope="module")
def notebook(open_shared: Callable[..., NotebookPage]) -> NotebookPage:
    made = open_shared("step.ipynb", CELLS)
    made.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    return made


@pytest.fixture
def explorer(notebook: NotebookPage) -> ExplorerOnPage:
    notebook.scroll_to(1)
    return ExplorerOnPage(notebook.page, notebook.output(1))


def run_copied(notebook: NotebookPage, explorer: ExplorerOnPage) -> tuple[str, Any]:
    """Press the button, run the text in a fresh namespace; return it and the neurons' places."""
    notebook.page.evaluate("navigator.clipboard.writeText('')")
    explorer.button("copy as Python").click()
    read = "navigator.clipboard.readText()"
    code = wait_for("the copied text", lambda: notebook.page.evaluate(read))
    found = notebook.execute(
        f"fresh = {{}}; exec({code!r}, fresh)", PLACES.format("fresh['neurons']")
    )
    return code, found


def test_copied_python_gives_the_neurons_on_screen(
    notebook: NotebookPage, explorer: ExplorerOnPage
) -> None:
    explorer.drag_slider("difference", -0.07)
    for row in (3, 5):
        explorer.root.locator(f'.trow[aria-rowindex="{row}"] input').click()
    notebook.wait_for_python("len(explorer.unchecked) == 2")
    code, found = run_copied(notebook, explorer)
    assert found == notebook.python(PLACES.format("explorer.neurons"))
    assert len(found) == len(notebook.python("explorer.kept.tolist()"))
    for part in ("positions='image'", "difference='signed'", "exclude=[", "threshold_d="):
        assert part in code
    explorer.settings().get_by_role("radio", name="quantile", exact=True).click()
    explorer.drag_slider("GradCAM", 0.05)
    layer = explorer.root.locator(".layers button").nth(5)
    layer.click()
    notebook.wait_for_python("explorer.mode == 'quantile' and explorer.rows_off == [5]")
    code, again = run_copied(notebook, explorer)
    assert again == notebook.python(PLACES.format("explorer.neurons"))
    assert again != found
    assert "quantile_d=" in code
    assert "not in {5}" in code
    layer.click()
    notebook.execute("explorer.unchecked = []; explorer.mode = 'absolute'")
    assert notebook.errors == []


def test_copied_python_of_an_ablation_prints_its_caption(
    notebook: NotebookPage, explorer: ExplorerOnPage
) -> None:
    notebook.execute("explorer.threshold_d, explorer.threshold_g = 0.0, 0.0")
    expect(explorer.ablate).to_have_text(re.compile(r"Ablate [\d,]+ neurons"))
    explorer.ablate.click()
    notebook.wait_for_python("explorer.caption_after")
    expect(explorer.root.locator(".chip:not([hidden])").last).to_contain_text("ablated")
    code, _ = run_copied(notebook, explorer)
    explorer.button("restore all").click()
    notebook.wait_for_python("model.interventions.active == ()")
    notebook.execute(
        "import contextlib, io\nsaid = io.StringIO()\n"
        f"with contextlib.redirect_stdout(said):\n    exec({code!r}, {{}})"
    )
    lines = notebook.python("said.getvalue().split(chr(10))")
    assert lines[0] == notebook.python(
        "(lambda: [model.ablate(explorer.neurons).__enter__(), model.caption(scenes[0].image),"
        " model.interventions.clear()][1])()"
    )


@pytest.mark.parametrize("mode", ["mean", "scale", "from_inpainted"])
def test_copied_python_does_what_acts_and_not_what_the_next_click_would(
    notebook: NotebookPage, explorer: ExplorerOnPage, mode: str
) -> None:
    notebook.execute(
        "explorer.threshold_d, explorer.threshold_g = 0.2, 0.0\n"
        f"explorer.ablate_mode, explorer.ablate_scale = {mode!r}, -1.5"
    )
    count = notebook.python("len(explorer.kept)")
    expect(explorer.ablate).to_have_text(f"Ablate {count:,} neurons")
    explorer.ablate.click()
    notebook.wait_for_python("explorer.caption_after and explorer.ablation['active']")
    shown = notebook.python("explorer.caption_after")
    touched = notebook.python("model.interventions.active[0].n_neurons")
    notebook.execute("explorer.threshold_d, explorer.ablate_mode = 0.4, 'zero'")
    code, found = run_copied(notebook, explorer)
    assert found == notebook.python(PLACES.format("explorer.neurons"))
    explorer.button("restore all").click()
    notebook.wait_for_python("model.interventions.active == ()")
    notebook.execute(
        "import contextlib, io\nsaid, fresh = io.StringIO(), {}\n"
        f"with contextlib.redirect_stdout(said):\n    exec({code!r}, fresh)"
    )
    assert notebook.python("said.getvalue().split(chr(10))[0]") == shown
    assert notebook.python("len(fresh['acting'])") == touched > len(found)


def test_two_explorers_of_one_model_show_one_truth(
    notebook: NotebookPage, explorer: ExplorerOnPage
) -> None:
    before = notebook.python("study.caption(0)")
    explorer.ablate.click()
    notebook.wait_for_python("second.caption_after == explorer.caption_after != ''")
    notebook.scroll_to(2)
    other = ExplorerOnPage(notebook.page, notebook.output(2))
    chip = other.root.locator(".a-foot .chip, .a-ablation .chip, .chip").filter(has_text="ablated")
    expect(chip.first).to_have_attribute("title", re.compile("made elsewhere"))
    assert notebook.python("second.caption_before") == before
    assert notebook.python("[item['own'] for item in second.ablation['active']]") == [False]
    notebook.execute("clean = study.evaluate(explorer.neurons, scenes[:1], (), n_random=2)")
    assert len(notebook.python("[i.name for i in model.interventions.active]")) == 1
    other.button("restore all").click()
    notebook.wait_for_python("model.interventions.active == ()")
    notebook.wait_for_python("explorer.caption_after == second.caption_after == ''")
    assert notebook.python("explorer.caption_before == second.caption_before == study.caption(0)")
    assert notebook.errors == []


def test_a_thousand_events_in_five_seconds_end_at_the_last(
    notebook: NotebookPage, explorer: ExplorerOnPage
) -> None:
    notebook.execute(
        "calls = []; explorer.observe(lambda c: calls.append(c['new']), 'threshold_g')"
    )
    explorer.slider("GradCAM").evaluate(
        """async (el) => {
            const started = performance.now();
            for (let k = 0; k < 1000; k++) {
                el.value = String(k === 999 ? 437 : (k * 61) % 1000);
                el.dispatchEvent(new Event("input", { bubbles: true }));
                el.dispatchEvent(new Event("change", { bubbles: true }));
                const early = started + (k + 1) * 4.5 - performance.now();  // a thousand in 5 s
                if (early > 0) await new Promise((go) => setTimeout(go, early));
            }
        }"""
    )
    value = explorer.root.get_by_role("spinbutton", name="GradCAM threshold, number")
    notebook.page.wait_for_timeout(300)
    shown = float(value.input_value())
    last = f"abs(explorer.threshold_g / {shown} - 1) < 1e-3"
    notebook.wait_for_python(last)
    notebook.page.wait_for_timeout(1000)
    assert notebook.python(last), "a late message changed it again"
    kept = int(re.sub(r"\D", "", explorer.ablate.text_content() or ""))
    assert notebook.python("[len(explorer.kept), len(explorer.neurons)]") == [kept, kept]
    assert notebook.python("abs(calls[-1] - explorer.threshold_g)") == 0
