"""Whatever a page sends, it gets one reply in words or is passed over; nothing breaks or leaks."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from fake_study import FakeStudy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import mmkn_widgets as mmkn
from conftest import Page
from mmkn_widgets.widgets import (
    AblationPanel,
    CaptionDiff,
    ConceptPair,
    Explorer,
    MaskPainter,
    NeuronTable,
    PatchHeatmap,
    StoreExplorer,
)

STUDY = FakeStudy(layers=2, neurons=40, scenes=2)


def _store() -> StoreExplorer:
    model = mmkn.load_model("pocket")
    return StoreExplorer(mmkn.capture(model, mmkn.datasets.pocket_world("val", 1)[0].image))


MAKE = {
    "Explorer": lambda: Explorer(STUDY),
    "ConceptPair": lambda: ConceptPair(STUDY, STUDY),
    "AblationPanel": lambda: AblationPanel(STUDY),
    "NeuronTable": lambda: NeuronTable(STUDY),
    "CaptionDiff": lambda: CaptionDiff("a red car", transplant=lambda *_: "a red bus"),
    "MaskPainter": lambda: MaskPainter(Image.new("RGB", (20, 10))),
    "PatchHeatmap": lambda: PatchHeatmap(
        Image.new("RGB", (8, 8)), np.ones((2, 3, 4)), maps_of=lambda _: np.ones((2, 3, 4))
    ),
    "StoreExplorer": _store,
}
NAMES = sorted({name for make in (Explorer, ConceptPair, StoreExplorer) for name in make._handlers})

NUMBERS = st.one_of(st.integers(-3, 3), st.integers(-(2**70), 2**70), st.floats(), st.booleans())
JSON = st.recursive(
    st.one_of(st.none(), NUMBERS, st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
ARGS = st.dictionaries(
    st.sampled_from(
        [
            "ids",
            "id",
            "scene",
            "signed",
            "mode",
            "scale",
            "part",
            "side",
            "shape",
            "name",
            "concept",
            "index",
            "object",
            "cells",
        ]
    ),
    JSON,
    max_size=5,
)
BUFFERS = st.lists(st.one_of(st.binary(max_size=12), st.integers(0, 9), st.none()), max_size=2)


def ask(page: Page, content: Any, buffers: Any = ()) -> list[dict[str, Any]]:
    page.messages.clear()
    page.widget._receive(page.widget, content, buffers)
    page.widget.wait()
    return [message for message, _ in page.messages if message["kind"] == "reply"]


@pytest.fixture(scope="module", params=sorted(MAKE))
def any_page(request: pytest.FixtureRequest) -> Any:
    page = Page(MAKE[request.param]())
    yield page
    page.widget.close()


@given(name=st.sampled_from(NAMES), args=st.one_of(ARGS, JSON), buffers=BUFFERS)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_request_gets_one_reply_that_json_can_carry(
    any_page: Page, name: str, args: Any, buffers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    (reply,) = ask(any_page, {"kind": "request", "id": "k", "name": name, "args": args}, buffers)
    json.dumps(reply, allow_nan=False)
    assert reply["id"] == "k"
    assert any_page.widget.status["state"] in ("ready", "error")
    if not reply["ok"]:
        assert len(reply["error"]) < 900
        assert "please report" not in reply["error"], caplog.text
        assert not re.search(r"Error\b|Traceback|object at 0x", reply["error"]), reply["error"]


@given(
    content=st.one_of(JSON, st.dictionaries(st.sampled_from(["kind", "id", "name", "args"]), JSON))
)
@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_messages_of_any_shape_are_answered_or_passed_over(any_page: Page, content: Any) -> None:
    replies = ask(any_page, content)
    asked = isinstance(content, dict) and content.get("kind") == "request"
    assert len(replies) == int(asked)


DEEP: Any = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"ids": DEEP}, "nested"),
        ({"x": {"y": DEEP}}, "nested"),
        ([1, 2], "an object"),
        ("ids", "an object"),
        ({"ids": list(range(300_000))}, "fewer"),
        ({"concept": "x" * 10**6}, "characters"),
        ({"ids": ["1"]}, "a list of whole numbers"),
        ({"ids": [float("nan")]}, "a list of whole numbers"),
        ({"ids": {"0": 1}}, "a list of whole numbers"),
        ({"ids": [1], "scene": "one"}, "a whole number, 0 to 1"),
        ({"ids": [1], "scene": None}, "a whole number, 0 to 1"),
        ({"ids": [1], "signed": "no"}, "true or false"),
    ],
)
def test_wrong_arguments_are_named(args: Any, said: str) -> None:
    page = Page(Explorer(STUDY))
    (reply,) = ask(page, {"kind": "request", "id": "k", "name": "maps", "args": args})
    assert not reply["ok"]
    assert said in reply["error"]
    assert len(reply["error"]) < 400
    page.widget.close()


def test_missing_buffers_and_odd_ids() -> None:
    page = Page(Explorer(STUDY))
    for name in ("mean_map", "patch_scores"):
        assert not page.ask(name)[0]["ok"]
    assert "painted mask" in page.ask("inpaint", shape=[2, 2])[0]["error"]
    assert "empty file" in page.ask("upload")[0]["error"]
    for key in (None, 3, ["a"], {"b": 1}, DEEP):
        (reply,) = ask(page, {"kind": "request", "id": key, "name": "hello"})
        assert reply["id"] == ""
    assert ask(page, {"kind": "request", "id": "x" * 9999, "name": "hello"})[0]["id"] == "x" * 200
    page.widget.close()


@pytest.mark.parametrize("state", [None, 3, [1], {"opacity": DEEP, "no_such": 1, "scene": None}])
def test_states_of_any_shape_change_nothing_wrong(state: Any) -> None:
    made = Explorer(STUDY)
    before = {name: getattr(made, name) for name in ("opacity", "scene", "unchecked")}
    made.set_state(state)
    assert {name: getattr(made, name) for name in before} == before
    made.close()


def test_no_number_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON knows neither NaN nor infinity, and a page that reads them is lost."""
    page = Page(Explorer(STUDY))
    word_shares = STUDY.word_shares
    monkeypatch.setattr(STUDY, "word_shares", lambda *a, **k: word_shares(*a, **k) * np.nan)
    shares = word_shares(progress=lambda *_: None)
    monkeypatch.setattr(
        STUDY, "word_shares", lambda *a, **k: (shares * np.nan).assign_attrs(shares.attrs)
    )
    (reply,) = ask(page, {"kind": "request", "id": "k", "name": "neuron", "args": {"id": 1}})
    json.dumps(reply, allow_nan=False)
    page.widget.close()
