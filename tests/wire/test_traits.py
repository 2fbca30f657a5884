"""What a trait cannot hold is refused in words, whoever sends it; what it can hold stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import traitlets
from fake_study import FakeStudy

import mmkn_widgets as mmkn
from conftest import Page
from mmkn_widgets.core import BadArgument
from mmkn_widgets.widgets import AblationPanel, ConceptPair, Explorer
from mmkn_widgets.widgets.traits import WrongTrait, flag_of

NAN = float("nan")
#: 6 rows of 512 neurons, 6 scenes
WRONG: list[tuple[str, Any, str]] = [
    ("mode", "quantil", "'absolute', 'quantile'"),
    ("colormap", "jet", "'inferno'"),
    ("overlay", "gradcm", "'gradcam'"),
    ("ablate_mode", "zeros", "'zero'"),
    ("axis", "lg", "'log'"),
    ("preset", "tiny", "'teaching'"),
    ("opacity", 7.0, "from 0 to 1"),
    ("opacity", True, "from 0 to 1"),
    ("quantile_d", 95.0, "from 0 to 1"),
    ("quantile_g", -0.1, "from 0 to 1"),
    ("threshold_d", NAN, "a finite number"),
    ("threshold_g", float("inf"), "a finite number"),
    ("threshold_d", "0.5", "a finite number"),
    ("threshold_d", None, "a finite number"),
    ("threshold_d", 10**400, "a finite number"),
    ("ablate_scale", NAN, "a finite number"),
    ("scene", 6, "0 to 5"),
    ("scene", -1, "0 to 5"),
    ("scene", 1.5, "0 to 5"),
    ("scene", True, "0 to 5"),
    ("selected", 3072, "-1 to 3071"),
    ("selected", -2, "-1 to 3071"),
    ("rows_off", [6], "from 0 to 5"),
    ("rows_off", [1.0], "from 0 to 5"),
    ("rows_off", 3, "from 0 to 5"),
    ("unchecked", [3072], "from 0 to 3071"),
    ("unchecked", ["a"], "from 0 to 3071"),
    ("unchecked", "12", "from 0 to 3071"),
    ("stale", [6], "from 0 to 5"),
    ("signed", 1, "True or False"),
    ("smooth", "yes", "True or False"),
    ("concept", 3, "a text"),
    ("picture", "x", "bytes"),
    ("words", [["a"], "b"], "a list of"),
    ("marks", [{"count": 3}], "threshold_d"),
    ("status", {"state": "odd"}, "state"),
    ("effect", {"measures": {"s": {"value": NAN, "random": None}}}, "measures"),
    ("grid", {"rows": 1}, "rows, cols"),
    ("ablation", [], "active"),
    ("scenes", [{"name": "x"}], "name, before, after"),
]


@pytest.mark.parametrize(
    ("name", "value", "said"), WRONG, ids=[f"{n}={v!r:.20}" for n, v, _ in WRONG]
)
def test_a_wrong_value_is_refused_with_the_right_ones(
    explorer: Explorer, name: str, value: Any, said: str
) -> None:
    before = getattr(explorer, name)
    with pytest.raises(WrongTrait) as caught:
        setattr(explorer, name, value)
    assert str(caught.value).startswith(f"Explorer.{name}: got ")
    assert said in str(caught.value)
    assert isinstance(caught.value, BadArgument)
    assert isinstance(caught.value, traitlets.TraitError)
    assert getattr(explorer, name) == before


def test_what_numpy_gives_is_taken(explorer: Explorer) -> None:
    explorer.threshold_d = np.float32(0.75)
    explorer.scene = np.int64(2)
    explorer.rows_off = np.array([1, 2])
    explorer.unchecked = (7, np.int32(9))
    explorer.signed = np.bool_(False)
    values = (explorer.threshold_d, explorer.scene, explorer.rows_off, explorer.unchecked)
    assert values == (0.75, 2, [1, 2], [7, 9])
    assert [type(v) for v in values] == [float, int, list, list]
    explorer.wait()


def test_the_page_s_values_are_checked_and_sent_back(page: Page) -> None:
    explorer, sent = page.widget, []
    explorer._send = lambda message, buffers=None: sent.append(message)
    explorer.set_state({"opacity": 3, "threshold_d": 0.9, "rows_off": [99], "colormap": "viridis"})
    assert (explorer.opacity, explorer.threshold_d) == (0.6, 0.9)
    assert (explorer.rows_off, explorer.colormap) == ([], "viridis")
    assert explorer.status["state"] == "error"
    assert "rows_off" in explorer.status["message"]
    (back,) = [m["state"] for m in sent if "opacity" in m.get("state", {})]
    assert back == {"opacity": 0.6, "rows_off": []}


def test_a_pair_refuses_by_the_limits_of_each_side() -> None:
    car, bus = FakeStudy("car"), FakeStudy("bus", seed=2, scenes=4)
    bus.model = car.model
    pair = mmkn.compare(car, bus)
    for name, value, said in [
        ("b_scene", 4, "0 to 3"),
        ("a_scene", 6, "0 to 5"),
        ("a_mode", "x", "'quantile'"),
        ("b_threshold_d", NAN, "a finite number"),
        ("part", "both", "'shared'"),
        ("opacity", 2, "from 0 to 1"),
        ("selected", 10**6, "-1 to 3071"),
    ]:
        with pytest.raises(WrongTrait, match=rf"ConceptPair\.{name}: .*{said}"):
            setattr(pair, name, value)
    with pytest.raises(WrongTrait, match=r"Side\.scene"):
        pair.b.scene = 4
    pair.b.threshold_d = 0.5  # a side and the wire are one
    assert pair.b_threshold_d == 0.5
    pair.a_quantile_g = 0.25
    assert pair.a.quantile_g == 0.25
    with pytest.raises(BadArgument, match="a trait of ConceptPair"):
        ConceptPair(car, bus, a_treshold_d=1.0)
    pair.close()


def test_parts_refuse_too(study: FakeStudy) -> None:
    with pytest.raises(WrongTrait, match=r"AblationPanel\.threshold_d"):
        AblationPanel(study, NAN)
    with pytest.raises(WrongTrait, match=r"Explorer\.threshold_g"):
        Explorer(study, threshold_g=NAN)
    with pytest.raises(WrongTrait, match="compact, teaching, full"):
        Explorer(study, preset="tiny")


def test_no_default_is_shared_between_two_widgets(study: FakeStudy) -> None:
    one, two = Explorer(study), Explorer(study)
    for name, trait in one.traits().items():
        if flag_of(trait) == "json" and getattr(one, name) in ([], {}):
            assert getattr(one, name) is not getattr(two, name), name
    one.close()
    two.close()
