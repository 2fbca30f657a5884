"""An error belongs to what failed and goes when that succeeds; what is cancelled is no error."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from fake_study import FakeStudy

from conftest import Page
from mmkn_widgets.core import BadArgument, Cancelled
from mmkn_widgets.widgets import Explorer


def send(explorer: Explorer, origin: str, name: str, **args: Any) -> str:
    """Send a request as one of several pages that show the same widget."""
    key = f"{origin}-1"
    content = {"kind": "request", "id": key, "name": name, "args": args}
    explorer._receive(explorer, content, [])
    return key


def test_two_pages_of_one_explorer_do_not_cancel_each_other(page: Page, study: FakeStudy) -> None:
    gate = threading.Event()
    study.model.worker.submit(gate.wait)
    keys = [send(page.widget, origin, "tokens", id=1, scene=0) for origin in ("one", "two")]
    gate.set()
    page.widget.wait()
    assert [page.reply(key)[0]["ok"] for key in keys] == [True, True]


def test_what_is_cancelled_says_so_and_is_no_error(page: Page, study: FakeStudy) -> None:
    gate = threading.Event()
    study.model.worker.submit(gate.wait)
    key = page.send("compute", concept="dog")
    page.send("cancel")
    gate.set()
    page.widget.wait()
    assert page.reply(key)[0]["cancelled"] is True
    assert page.widget.status["state"] == "ready"
    assert page.ask("compute", concept="dog")[0]["cancelled"] is False


def test_work_that_ends_with_another_explorer_is_no_error(explorer: Explorer) -> None:
    def stop() -> None:
        raise Cancelled("cancelled")

    explorer._guarded(stop, "follow")()
    assert explorer.status["state"] == "ready"


def test_another_explorer_s_work_leaves_no_error_here(study: FakeStudy) -> None:
    one, two = Explorer(study), Explorer(study)
    first, second = Page(one), Page(two)
    one._view_count = two._view_count = 1
    for k in range(3):
        first.ask("tokens", id=k, scene=0)
        second.ask("ablate", mode="zero")
        first.ask("restore")
    messages = [message for message, _ in (*first.messages, *second.messages)]
    assert all(message["ok"] for message in messages if message["kind"] == "reply")
    assert one.status == two.status == one.status | {"state": "ready", "message": ""}
    one.close()
    two.close()


def test_a_scene_that_failed_says_so_until_one_is_shown(
    page: Page, study: FakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer = page.widget
    with monkeypatch.context() as broken:

        def pictures(scene: int) -> Any:
            raise BadArgument("picture: got a damaged file, expected a PNG")

        broken.setattr(study, "pictures", pictures)
        explorer.scene = 1
        explorer.wait()
    assert explorer.status["action"] == "scene"
    assert "a damaged file" in explorer.status["message"]
    page.ask("ablate", mode="zero")  # other work comes and goes
    assert explorer.status["state"] == "error"
    assert explorer.status["action"] == "scene"
    explorer.scene = 2
    explorer.wait()
    assert explorer.status["state"] == "ready"


def test_a_trait_that_was_refused_is_said_until_it_is_right(page: Page) -> None:
    explorer = page.widget
    explorer.set_state({"opacity": 7})
    assert (explorer.status["state"], explorer.status["action"]) == ("error", "opacity")
    explorer.set_state({"smooth": False})
    assert explorer.status["state"] == "error"
    explorer.set_state({"opacity": 0.7})
    assert explorer.status["state"] == "ready"
