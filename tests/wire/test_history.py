"""One history, the model's own: whatever the order in which page, Python and others change it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fake_model import off
from fake_study import FakeStudy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mmkn_widgets as mmkn
from conftest import Page
from mmkn_widgets.core import BadArgument
from mmkn_widgets.widgets import AblationPanel, Explorer


def ids(n: int) -> list[bytes]:
    return [np.arange(n, dtype="<i4").tobytes()]


def counts(study: FakeStudy) -> list[int]:
    return [item.n_neurons for item in study.model.interventions.active]


def test_page_and_python_undo_the_same_steps(page: Page, study: FakeStudy) -> None:
    """Undone here, undone there, done again: once on the model, and gone after the end."""
    explorer, stack = page.widget, study.model.interventions
    page.ask("ablate", ids(7), mode="zero")
    page.ask("undo")
    assert not stack.undo()
    page.ask("redo")
    assert counts(study) == [7]
    stack.undo()
    assert explorer.ablation["active"] == []
    assert explorer.ablation["can_redo"]
    assert explorer.caption_after == ""
    stack.redo()
    assert explorer.ablation["active"][0]["own"] is True
    explorer.close()
    assert counts(study) == []
    assert not stack.undo()
    assert not stack.redo()


def test_a_view_undoes_what_another_did_last(study: FakeStudy) -> None:
    one, two = Explorer(study), Explorer(study)
    one.ablate()
    two.threshold_d = 1.0
    two.ablate()
    mine, theirs = len(one.kept), len(two.kept)
    assert counts(study) == [mine, theirs]
    one.undo()
    assert counts(study) == [mine]
    one.redo()
    two.close()
    assert counts(study) == [mine]
    assert one.ablation["can_undo"]
    one.undo()
    assert counts(study) == []
    one.close()


def test_the_user_s_own_interventions_are_nobody_else_s(study: FakeStudy) -> None:
    stack = study.model.interventions
    user = stack.push(study.model.ablate({0: [1, 2]}))
    explorer = Explorer(study)
    assert explorer.ablation["active"] == [
        {"label": "zero", "count": 2, "mode": "ablation", "own": False}
    ]
    explorer.ablate()
    explorer.close()
    assert stack.active == (user,)
    stack.undo()
    assert stack.active == ()


def test_restore_is_one_step(page: Page, study: FakeStudy) -> None:
    stack = study.model.interventions
    user = stack.push(study.model.ablate({0: [1, 2]}))
    page.ask("ablate", ids(7), mode="zero")
    page.ask("restore")
    assert counts(study) == []
    page.ask("undo")
    assert counts(study) == [2, 7]
    assert stack.active[0] is user


def test_another_view_s_transplant_is_not_shown_but_undone(study: FakeStudy) -> None:
    one, two = Explorer(study), Explorer(study)
    one.transplant("tree", "car")
    assert one.ablation["active"][0]["mode"] == "transplant"
    assert two.ablation["active"] == []
    assert two.ablation["can_undo"]
    assert two.caption_after == ""
    two.undo()
    assert one.transplanted is None
    one.close()
    two.close()


def test_a_panel_refuses_an_empty_choice_and_undoes_nothing(study: FakeStudy) -> None:
    panel = AblationPanel(study)
    page = Page(panel)
    assert "lower a threshold" in page.ask("ablate", [b""], mode="zero")[0]["error"]
    panel.threshold_d = 1e6
    assert "lower a threshold" in page.ask("ablate", mode="zero")[0]["error"]
    assert not panel.ablation["can_undo"]
    panel.close()


def test_an_ablation_that_fails_leaves_the_last_one(page: Page, study: FakeStudy) -> None:
    page.ask("ablate", ids(7), mode="zero")
    for mode, scale in (("no such", 0), ("scale", "x"), ("scale", 1e400)):
        assert not page.ask("ablate", ids(3), mode=mode, scale=scale)[0]["ok"]
        assert counts(study) == [7]
    del study.evidence["activation"]
    assert "activation" in page.ask("ablate", ids(3), mode="mean")[0]["error"]
    assert not page.widget.ablation["can_redo"]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["ablate", "transplant", "undo", "redo", "restore", "stack", "python", "push"]
        ),
        st.integers(0, 2),
    ),
    max_size=12,
)


@given(steps=STEPS, order=st.permutations(range(3)))
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_closing_removes_what_each_made_whatever_came_before(steps: Any, order: Any) -> None:
    car, bus = FakeStudy("car", scenes=1), FakeStudy("bus", seed=2, scenes=1)
    bus.model = car.model
    stack = car.model.interventions
    views = [Explorer(car), mmkn.compare(car, bus), AblationPanel(car)]
    pages = [Page(view) for view in views]
    user: list[Any] = []
    for what, which in steps:
        page = pages[which]
        if what == "stack":
            stack.undo()
        elif what == "python":
            stack.redo()
        elif what == "push":
            user.append(stack.push(car.model.ablate({0: [len(user)]}, name="user")))
        elif what == "transplant":
            pages[0].ask("transplant", index=2, object="car")
        else:
            page.ask(what, ids(6 + which) if what == "ablate" else ())
        own = [sum(owner is view.changes.owner for _, owner in stack.entries) for view in views]
        assert max(own) <= 1
        for view in views:
            shown = [
                item["label"] for item in view.ablation["active"] if item["mode"] != "transplant"
            ]
            assert shown == [item.name for item in stack.active]
            assert view.ablation["can_undo"] == stack.can_undo
    for which in order:
        views[which].close()
    assert all(item.name == "user" for item in stack.active)
    while stack.undo():
        assert all(item.name == "user" for item in stack.active)
    while stack.redo():
        assert all(item.name == "user" for item in stack.active)
    assert all(item in user for item in stack.active)
    assert stack._observers._callbacks == ()


def test_neurons_beyond_the_model_are_refused(page: Page, study: FakeStudy) -> None:
    wrong = [np.asarray([5, 10**6], "<i4").tobytes()]
    assert "flat ids from 0 to 3071" in page.ask("ablate", wrong)[0]["error"]
    assert counts(study) == []
    page.ask("ablate", [np.asarray([700, 3], "<i4").tobytes()])
    assert off(study.model.interventions.active[0]) == [3, 700]
    page.widget.threshold_d = 1e6
    with pytest.raises(BadArgument, match="lower a threshold"):
        page.widget.ablate()


def test_a_view_says_how_far_the_stack_goes_and_a_proposal_is_one_message(
    page: Page, study: FakeStudy
) -> None:
    stack = study.model.interventions
    assert page.widget.ablation["steps"] == [0, 0, 0]
    page.ask("ablate", ids(7), mode="zero")
    page.ask("undo")
    assert page.widget.ablation["steps"] == list(stack.steps)
    assert page.widget.ablation["steps"][:2] == [0, 1]
    held: list[set[str]] = []
    send_state = page.widget.send_state

    def heard(key: object = None) -> None:
        held.append(set(key) if isinstance(key, list | set | tuple) else {str(key)})
        send_state(key)

    page.widget.send_state = heard
    page.widget.mode = "quantile"
    page.ask("propose")
    assert any({"mode", "threshold_d", "threshold_g"} <= names for names in held), held
