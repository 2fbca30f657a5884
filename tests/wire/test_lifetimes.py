"""Closed widgets let go, hidden ones cost nothing, and a script that ends does so in peace."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import traitlets
from fake_study import FakeStudy

import mmkn_widgets as mmkn
from conftest import Page
from mmkn_widgets.core import BadArgument
from mmkn_widgets.widgets import AblationPanel, ConceptPair, Explorer, NeuronTable, StoreExplorer


def make_explorer(study: FakeStudy) -> Any:
    made = Explorer(study, restudy=lambda *_, **__: study, test_scenes=(study.scenes, ()))
    page = Page(made)
    page.ask("neuron", id=3)
    page.ask("tokens", id=3)
    made.scene = 1
    made.ablate()
    made.transplant("tree", "car")
    return made


def make_pair(study: FakeStudy) -> Any:
    made = ConceptPair(study, study)
    made.a.threshold_d = 0.9
    made.ablate()
    made.b.scene = 1
    made.wait()
    return made


def make_panel(study: FakeStudy) -> Any:
    made = AblationPanel(study)
    Page(made).ask("ablate")
    return made


@pytest.mark.parametrize("make", [make_explorer, make_pair, make_panel, NeuronTable])
def test_a_closed_widget_holds_neither_study_nor_model(make: Callable[[FakeStudy], Any]) -> None:
    """Even where it is held itself, as IPython's Out does."""
    study = FakeStudy()
    made = make(study)
    stack = study.model.interventions
    held = [weakref.ref(one) for one in (study, study.model, study.evidence)]
    made.close()
    assert stack.entries == ()
    assert not stack.can_undo
    assert stack._observers._callbacks == ()
    worker = study.model.worker
    worker.submit(lambda: None).result()
    del study, stack
    for _ in range(3):
        gc.collect()
    assert [one() for one in held] == [None, None, None]
    assert made.comm is None
    worker.submit(lambda: None).result()  # its thread held nothing and is still there


def test_a_closed_explorer_says_so() -> None:
    made = Explorer(FakeStudy())
    made.close()
    with pytest.raises(BadArgument, match="closed Explorer"):
        made.study  # noqa: B018
    made._receive(made, {"kind": "request", "id": "1", "name": "hello"}, [])
    made.scene = 0
    made.wait()


def test_a_widget_that_failed_to_begin_leaves_nothing() -> None:
    study = FakeStudy()

    def refuse(*_: Any) -> Any:
        raise BadArgument("scene: no picture")

    study.pictures = refuse  # type: ignore[method-assign]
    with pytest.raises(BadArgument, match="no picture"):
        Explorer(study)
    assert study.model.interventions._observers._callbacks == ()


def test_one_click_costs_one_caption_however_many_are_left(study: FakeStudy) -> None:
    """The cell was run again and again: the old ones stand in the kernel, on any scene."""
    old = [Explorer(study) for _ in range(8)]
    for number, one in enumerate(old):
        one.scene = number % 6
        one.wait()
    page = Page(Explorer(study))
    page.ask("hello")
    assert len(study.model.interventions._observers._callbacks) == 1
    study.model.written = 0
    page.ask("ablate", [np.arange(7, dtype="<i4").tobytes()], mode="zero")
    for one in old:
        one.wait()
    assert study.model.written == 1
    one = old[3]
    assert one.caption_after == page.widget.caption_after  # asked from Python, it answers
    assert one.scenes[3]["after"] == one.caption_after
    assert one.ablation["measured"] == page.widget.ablation["measured"]
    assert study.model.written == 2
    assert one.caption_after and study.model.written == 2
    for each in (*old, page.widget):
        each.close()


def test_a_view_catches_up_when_it_is_shown(study: FakeStudy) -> None:
    """JupyterLab counts the views of a widget; elsewhere the page's first word says that it is."""
    counted, greeted, acting = Explorer(study), Explorer(study), Explorer(study)
    counted.set_state({"_view_count": 1})
    counted.set_state({"_view_count": 0})  # its output was cleared
    acting.ablate()
    for one in (counted, greeted):
        one.wait()
        assert one.get_state("caption_after")["caption_after"] == ""  # a page that only asks
    written = study.model.written
    counted.set_state({"_view_count": 1})
    Page(greeted).ask("hello")
    counted.wait()
    assert study.model.written == written + 2
    for one in (counted, greeted):
        assert one.get_state("caption_after")["caption_after"] == acting.caption_after
        assert one.ablation["active"][0]["own"] is False
    acting.restore()
    for one in (counted, greeted):
        one.wait()
        assert one.get_state("caption_after")["caption_after"] == ""
        one.close()
    acting.close()


def test_who_observes_a_caption_is_told(study: FakeStudy) -> None:
    one, two, seen = Explorer(study), Explorer(study), []
    label = Explorer(study)
    two.observe(lambda change: seen.append(change["new"]), "caption_after")
    traitlets.dlink((two, "caption_after"), (label, "concept"))
    one.ablate()
    two.wait()
    assert seen == [one.caption_after]
    assert label.concept == one.caption_after
    for each in (one, two, label):
        each.close()


def test_an_explorer_that_comes_later_shows_what_acts(study: FakeStudy) -> None:
    one = Explorer(study)
    one.ablate()
    two = Explorer(study)
    assert two.caption_after == one.caption_after
    assert two._repr_mimebundle_()[0]["text/html"].count("after: a red bus") == 1
    three, written = Explorer(study), study.model.written
    three._repr_mimebundle_()  # a cell that shows it does not wait for a caption
    assert study.model.written == written
    three.close()
    one.close()
    assert two.caption_after == ""
    two.close()


def test_a_store_s_explorer_closes(tmp_path: Any) -> None:
    model = mmkn.load_model("pocket")
    store = mmkn.capture(model, mmkn.datasets.pocket_world("val", 1)[0].image)
    made = StoreExplorer(store)
    held = weakref.ref(made.look)
    made.close()
    del store
    gc.collect()
    assert held() is None


SCRIPT = """
import mmkn_widgets as mmkn
model = mmkn.load_model("pocket")
scenes = mmkn.datasets.pocket_world("val", 60).with_concept("car", 3)
explorer = mmkn.Explorer(mmkn.study(model, "car", scenes))
for scene in (1, 2, 0, 1):
    explorer.scene = scene
    explorer._submit(lambda: model.caption(scenes[0].image))
print("the end")
"""


def test_a_script_that_ends_while_a_widget_works_exits_well() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "the end\n"), done.stderr
    assert done.stderr == ""
