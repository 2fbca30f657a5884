"""A synthetic study of a 7B model's size, 32 x 11,008: opened, dragged, sorted, exported."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from .explorer import ExplorerOnPage
from .notebook import NotebookPage, wait_for

WIRE = Path(__file__).resolve().parents[1] / "wire"
CELLS = [
    f"import sys; sys.path.insert(0, {str(WIRE)!r})\n"
    "from fake_study import FakeStudy\n"
    "from mmkn_widgets.widgets import Explorer, NeuronTable\n"
    "study = FakeStudy(layers=32, neurons=11008, scenes=3)\n"
    "d, g = (study.evidence[name].values for name in ('difference', 'gradcam'))",
    "explorer = Explorer(study)\nexplorer",
]


@pytest.fixture(scope="module")
def notebook(open_shared: Callable[..., NotebookPage]) -> NotebookPage:
    made = open_shared("large.ipynb", CELLS)
    made.scroll_to(1)
    return made


@pytest.fixture
def explorer(notebook: NotebookPage) -> ExplorerOnPage:
    return ExplorerOnPage(notebook.page)


def shown(explorer: ExplorerOnPage) -> int:
    return int(re.sub(r"\D", "", explorer.ablate.text_content() or "") or 0)


def place(explorer: ExplorerOnPage, row: int) -> str:
    """Return the neuron in a row of the table, from 1."""
    found = explorer.root.locator(f'.trow[aria-rowindex="{row + 1}"]:not([hidden]) [role=gridcell]')
    return found.nth(1).text_content() or ""


def test_a_drag_counts_what_numpy_counts(notebook: NotebookPage, explorer: ExplorerOnPage) -> None:
    assert notebook.python("explorer.shape") == [32, 11008]
    expect(explorer.ablate).to_have_text("Ablate 60 neurons")
    notebook.execute("seen = []; explorer.observe(lambda c: seen.append(1), 'threshold_d')")
    explorer.drag_slider("difference", -0.25)
    explorer.drag_slider("GradCAM", -0.3)
    notebook.wait_for_python("seen == [1]")
    inside = "((d > np.float32(explorer.threshold_d)) & (g > np.float32(explorer.threshold_g)))"
    count = notebook.execute("import numpy as np", f"int({inside}.sum())")
    assert count > 1000
    expect(explorer.ablate).to_have_text(f"Ablate {count:,} neurons")
    assert notebook.python("[len(explorer.kept), len(explorer.neurons)]") == [count, count]
    bars = explorer.root.locator(".layers button .hold").all_text_contents()
    rows = [int(re.sub(r"\D", "", text.split("kept")[0]) or 0) for text in bars]
    by_layer = notebook.python(f"{inside}.sum(1).tolist()")
    assert rows == by_layer


def test_every_order_is_numpy_s_to_the_last_row(
    notebook: NotebookPage, explorer: ExplorerOnPage
) -> None:
    notebook.execute("explorer.threshold_d, explorer.threshold_g = 0.3, 0.001")
    count = notebook.python("len(explorer.kept)")
    assert count > 20_000
    expect(explorer.ablate).to_have_text(f"Ablate {count:,} neurons")
    names = (
        "[f'L{i // 11008}·{i % 11008}' for i in explorer.kept["
        "np.argsort(-{}.ravel()[explorer.kept], kind='stable')][[0, 1, 2, -1]]]"
    )
    scroll = explorer.root.get_by_role("rowgroup")
    for head, score in (("cam", "g"), ("diff", "d")):
        if head == "diff":
            explorer.root.locator(".thead").get_by_role("button", name=head).click()
        wanted = notebook.python(names.replace("{}", score, 1))
        scroll.evaluate("el => { el.scrollTop = 0; }")
        expect(explorer.root.locator('.trow[aria-rowindex="2"]')).to_contain_text(wanted[0])
        assert [place(explorer, row) for row in (1, 2, 3)] == wanted[:3]
        scroll.evaluate("el => { el.scrollTop = el.scrollHeight; }")
        last = explorer.root.locator(f'.trow[aria-rowindex="{count + 1}"]:not([hidden])')
        expect(last).to_contain_text(wanted[3])
    explorer.root.locator(".thead").get_by_role("button", name="cam").click()
    scroll.evaluate("el => { el.scrollTop = 0; }")


def test_exports_hold_every_kept_neuron(notebook: NotebookPage, explorer: ExplorerOnPage) -> None:
    notebook.execute("explorer.threshold_d, explorer.threshold_g = 0.6, 0.01")
    count = notebook.python("len(explorer.kept)")
    expect(explorer.ablate).to_have_text(f"Ablate {count:,} neurons")
    explorer.root.locator("summary", has_text="export").click()
    with notebook.page.expect_download() as waiting:
        explorer.root.get_by_role("button", name="neurons as CSV").click()
    text = Path(waiting.value.path()).read_text(encoding="utf-8")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert len(lines) == count
    ids = [int(line["row"]) * 11008 + int(line["index"]) for line in lines]
    assert ids == notebook.python("explorer.kept.tolist()")
    scores = np.float32([float(line["gradcam"]) for line in lines])
    assert scores.tolist() == notebook.python("g.ravel()[explorer.kept].tolist()")
    frame = notebook.python("explorer.neurons.to_dataframe()[['layer', 'index']].values.tolist()")
    assert frame == [[i // 11008, i % 11008] for i in ids]
    table = "NeuronTable(study, explorer.threshold_d, explorer.threshold_g).to_dataframe()"
    notebook.execute(f"frame = {table}")
    assert notebook.python("[len(frame), frame['gradcam'].is_monotonic_decreasing]") == [
        count,
        True,
    ]


def test_quantiles_and_an_ablation_at_this_size(
    notebook: NotebookPage, explorer: ExplorerOnPage
) -> None:
    explorer.settings().get_by_role("radio", name="quantile", exact=True).click()
    notebook.wait_for_python("explorer.mode == 'quantile'")
    explorer.drag_slider("difference", 0.05)

    def where_the_drag_ended() -> int:
        """How many the page keeps, once Python has heard of it; 0 before."""
        shown = explorer.ablate.inner_text().split()[1].replace(",", "")
        return int(shown) if notebook.python(f"len(explorer.kept) == {shown}") else 0

    wait_for("the page and Python to agree", where_the_drag_ended)
    notebook.wait_for_python("len(explorer.neurons) == len(explorer.kept)")
    cut = notebook.python("float(np.float32(np.quantile(d.astype(float), explorer.quantile_d)))")
    assert notebook.python("explorer.thresholds[0]") == cut
    kept = notebook.python("len(explorer.kept)")
    expect(explorer.ablate).to_have_text(f"Ablate {kept:,} neurons")
    explorer.ablate.click()
    notebook.wait_for_python(
        "len(study.model.interventions.active) == 1"
        f" and study.model.interventions.active[0].n_neurons == {kept}"
    )
    expect(explorer.caption_after.locator("ins")).to_have_text("bus")
    assert notebook.errors == []
