"""The ground that the other browser tests stand on: an anywidget of ten lines, both ways."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

WIDGET = '''
import anywidget, traitlets

class Counter(anywidget.AnyWidget):
    _esm = """
    export default { render({ model, el }) {
      const button = document.createElement("button");
      const show = () => { button.textContent = `count ${model.get("value")}`; };
      button.addEventListener("click", () => {
        model.set("value", model.get("value") + 1);
        model.save_changes();
      });
      model.on("change:value", show);
      show();
      el.append(button);
    } };
    """
    value = traitlets.Int(3).tag(sync=True)

counter = Counter()
counter
'''


def test_click_reaches_python_and_python_reaches_the_page(open_notebook) -> None:
    notebook = open_notebook("ground.ipynb", [WIDGET])
    notebook.run_all()
    button = notebook.page.get_by_role("button", name="count 3")
    button.click()
    notebook.wait_for_python("counter.value == 4")
    notebook.execute("counter.value = 40")
    expect(notebook.page.get_by_role("button", name="count 40")).to_be_visible()


def test_an_error_in_a_cell_fails_the_run(open_notebook) -> None:
    notebook = open_notebook("broken.ipynb", ["1 / 0"])
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        notebook.run_all()
