"""The challenge as a class plays it: tries by real clicks, the answers, and the next task."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, expect

from .explorer import ExplorerOnPage
from .notebook import NotebookPage

CELLS = [
    "import torch; torch.set_num_threads(1)\n"
    "import mmkn_widgets as mmkn\n"
    "from mmkn_widgets.studies import Challenge\n"
    "from mmkn_widgets.widgets import ChallengeBox\n"
    "model = mmkn.load_model('pocket')\n"
    "game = Challenge(model, seed=4, n_looked=6, n_judged=6, n_random=1, progress=False)",
    "box = ChallengeBox(game)\nbox",
]


@pytest.fixture(scope="module")
def notebook(open_shared: Callable[..., NotebookPage]) -> Iterator[NotebookPage]:
    made = open_shared("game.ipynb", CELLS)
    made.scroll_to(1)
    yield made
    assert made.errors == []


@pytest.fixture
def box(notebook: NotebookPage) -> Locator:
    return notebook.page.locator(".mmkn-challenge")


def submit(notebook: NotebookPage, box: Locator) -> None:
    """Click as a person does, and wait until the judge is done."""
    tries = notebook.python("len(box.challenge.tries)")
    button = box.get_by_role("button", name="Submit", exact=True)
    expect(button).to_be_enabled()
    button.click()
    notebook.wait_for_python(f"len(box.challenge.tries) == {tries + 1}")
    expect(button).to_be_enabled()


def test_the_task_and_its_buttons_are_seen_before_the_explorer(
    notebook: NotebookPage, box: Locator
) -> None:
    expect(box.get_by_text("Silence “ball” with at most 8 neurons")).to_be_visible()
    top = box.get_by_role("button", name="Submit", exact=True).bounding_box()
    below = ExplorerOnPage(notebook.page, box).root.bounding_box()
    assert top is not None
    assert below is not None
    assert top["y"] + top["height"] <= below["y"]


def test_tries_are_scored_and_the_table_grows(notebook: NotebookPage, box: Locator) -> None:
    rows = box.locator("tbody tr")
    expect(box.get_by_text("neurons kept, 8 allowed: nothing is left of the score")).to_be_visible()
    submit(notebook, box)
    assert notebook.python("box.challenge._tries[0].score") == 0.0  # far over the budget
    expect(rows).to_have_count(1)

    explorer = ExplorerOnPage(notebook.page, box)
    cut = notebook.python("float(sorted(game.study.evidence.gradcam.values.ravel())[-9])")
    shown = explorer.root.get_by_role("spinbutton", name=re.compile("GradCAM"))
    shown.fill(str(cut))
    shown.press("Enter")
    notebook.wait_for_python("len(box.neurons) <= 8")
    explorer.root.locator(".trow input[type=checkbox]").first.click()
    notebook.wait_for_python("len(box.explorer.unchecked) == 1")
    kept = notebook.python("len(box.neurons)")
    expect(box.get_by_text(f"{kept} neurons kept, 8 allowed", exact=True)).to_be_visible()
    submit(notebook, box)
    score, size = notebook.python("[box.challenge.best.score, box.challenge.best.size]")
    assert 0 < score <= 1
    assert size == kept
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("2 · best")
    expect(rows.first).to_contain_text(f"{score:.3f}")
    expect(box.get_by_text(f"Try 2: score {score:.3f}")).to_be_visible()


def test_the_answers_end_the_task_and_the_next_one_is_another(
    notebook: NotebookPage, box: Locator
) -> None:
    expect(box.get_by_text("brute force")).to_have_count(0)
    box.get_by_role("button", name="Reveal answers").click()
    notebook.wait_for_python("box.challenge.revealed", 180)
    expect(box.get_by_text("brute force")).to_be_visible()
    expect(box.get_by_role("button", name="Submit", exact=True)).to_be_disabled()

    box.get_by_role("button", name="Next task").click()
    word = notebook.wait_for_python("box.challenge.seed == 5 and box.challenge.concept.word")
    expect(box.get_by_text(f"Silence “{word}” with at most")).to_be_visible()
    expect(box.locator("tbody tr")).to_have_count(0)
    looked = "[[str(s.id) for s in one.study.scenes] for one in (game, box.challenge)]"
    before, now = notebook.python(looked)
    assert not set(before) & set(now)
    assert notebook.python("box.explorer.concept") == word
    submit(notebook, box)
    expect(box.locator("tbody tr")).to_have_count(1)
    assert notebook.python("game.revealed and not box.challenge.revealed")
