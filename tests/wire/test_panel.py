"""What the side panel asks the kernel, without a browser: answers, keys, switches, code, comms."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import xarray as xr

import mmkn_widgets as mmkn
from mmkn_widgets.interventions import Intervention, ablate, perturb
from mmkn_widgets.widgets import panel


class Comm:
    """A comm that keeps what is said on it."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.closed: Any = None
        self.hung_up: Callable[[Any], None] | None = None

    def on_close(self, callback: Callable[[Any], None]) -> None:
        self.hung_up = callback

    def send(self, data: Any) -> None:
        self.sent.append(data)

    def close(self, data: Any) -> None:
        self.closed = data


@pytest.fixture
def model() -> Iterator[mmkn.MultimodalModel]:
    model = mmkn.load_model("pocket")
    yield model
    model.interventions.clear()


@pytest.fixture
def notebook(model: mmkn.MultimodalModel, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the names of a notebook that holds a model, and make it the running one."""
    names: dict[str, Any] = {"model": model, "x": 1}
    monkeypatch.setattr(panel, "_notebook", lambda: names)
    return names


def ask(**request: Any) -> dict[str, Any]:
    answered = json.loads(panel.answer_json(json.dumps(request)))
    assert isinstance(answered, dict)
    return answered


def entry(answered: dict[str, Any]) -> dict[str, Any]:
    (found,) = answered["overview"]["models"]
    return dict(found)


def push(model: mmkn.MultimodalModel, neurons: Any, name: str) -> Intervention:
    return model.interventions.push(ablate(model, neurons, name=name))


def test_everything_of_ours_is_listed_and_nothing_else(notebook: dict[str, Any]) -> None:
    model = notebook["model"]
    scenes = mmkn.datasets.pocket_world("val").with_concept("car", 2)
    study = mmkn.study(model, "car", scenes)
    notebook |= {
        "again": model,
        "mine": study,
        "few": mmkn.NeuronSet([4, 4, 5], [1, 2, 7]),
        "store": mmkn.capture(model, scenes[0].image),
        "other": xr.Dataset({"x": ("a", np.zeros(3))}),
        "_hidden": mmkn.NeuronSet([4], [1]),
    }
    found = ask(do="overview")["overview"]
    assert [m["variable"] for m in found["models"]] == ["model"]
    assert [(s["variable"], s["concept"], s["scenes"]) for s in found["studies"]] == [
        ("mine", "car", 2)
    ]
    assert found["sets"] == [{"variable": "few", "neurons": 3, "layers": {"4": 2, "5": 1}}]
    (store,) = found["stores"]
    assert store["variable"] == "store"
    assert store["sizes"]["neuron"] == 512
    del notebook["model"], notebook["again"]
    assert entry(ask(do="overview"))["variable"] == "mine.model"


def test_each_neuron_is_counted_once(notebook: dict[str, Any]) -> None:
    push(notebook["model"], {4: [1, 2], 5: [9]}, "first")
    push(notebook["model"], {4: [2, 3]}, "second")
    found = entry(ask(do="overview"))
    assert found["touched"] == 4
    assert [(c["name"], c["neurons"], c["on"]) for c in found["changes"]] == [
        ("first", 3, True),
        ("second", 2, True),
    ]


def test_switching_off_and_on_is_popping_and_pushing_back(notebook: dict[str, Any]) -> None:
    model = notebook["model"]
    first, second = push(model, {4: [1]}, "first"), push(model, {4: [2]}, "second")
    found = entry(ask(do="overview"))
    key = found["changes"][0]["key"]
    off = entry(ask(do="switch", model=found["key"], change=key, on=False))
    assert model.interventions.active == (second,)
    assert [(c["name"], c["on"]) for c in off["changes"]] == [("second", True), ("first", False)]
    assert off["changes"][1]["key"] == key
    assert off["touched"] == 1
    ask(do="switch", model=found["key"], change=key, on=False)  # again is harmless
    on = entry(ask(do="switch", model=found["key"], change=key, on=True))
    assert model.interventions.active == (second, first)
    assert all(c["on"] for c in on["changes"])


def test_what_python_switches_on_again_is_listed_once(notebook: dict[str, Any]) -> None:
    model = notebook["model"]
    change = push(model, {4: [1]}, "mine")
    found = entry(ask(do="overview"))
    key = found["changes"][0]["key"]
    ask(do="switch", model=found["key"], change=key, on=False)
    model.interventions.push(change)
    assert [c["on"] for c in entry(ask(do="overview"))["changes"]] == [True]


def test_restoring_takes_back_everything_and_forgets_what_was_off(
    notebook: dict[str, Any],
) -> None:
    model = notebook["model"]
    push(model, {4: [1]}, "first")
    push(model, {4: [2]}, "second")
    found = entry(ask(do="overview"))
    ask(do="switch", model=found["key"], change=found["changes"][0]["key"], on=False)
    assert entry(ask(do="restore", model=found["key"]))["changes"] == []
    assert model.interventions.active == ()


def test_a_key_names_one_object_whatever_its_variable_holds_by_then(
    notebook: dict[str, Any],
) -> None:
    old = notebook["model"]
    push(old, {4: [1]}, "old")
    key = entry(ask(do="overview"))["key"]
    new = mmkn.load_model("pocket")
    push(new, {4: [1]}, "new")
    notebook["model"] = new
    assert entry(ask(do="restore", model=key))["changes"][0]["name"] == "new"
    assert old.interventions.active == ()
    assert len(new.interventions.active) == 1


def test_a_key_of_another_kernel_does_nothing(notebook: dict[str, Any]) -> None:
    push(notebook["model"], {4: [1]}, "mine")
    ask(do="overview")
    for wrong in ("deadbeef-1", "", "model"):
        assert "gone" in ask(do="restore", model=wrong)["error"]
    assert len(notebook["model"].interventions.active) == 1


def test_a_neuron_set_is_ablated_by_its_variable(notebook: dict[str, Any]) -> None:
    notebook["few"] = mmkn.NeuronSet([4, 5], [1, 7])
    key = entry(ask(do="overview"))["key"]
    (change,) = entry(ask(do="ablate", model=key, neurons="few"))["changes"]
    assert (change["name"], change["kind"], change["neurons"]) == ("few", "ablation", 2)
    assert "NeuronSet" in ask(do="ablate", model=key, neurons="x")["error"]
    assert "NeuronSet" in ask(do="ablate", model=key, neurons="nowhere")["error"]


def test_the_code_makes_the_same_changes(notebook: dict[str, Any]) -> None:
    model = notebook["model"]
    push(model, {4: [1, 2], 5: [9]}, 'it\'s "mine"')
    made = ablate(model, {3: [7]}, "scale", scale=-0.5, positions="generated", steps=[0, 1])
    model.interventions.push(made)
    model.interventions.push(perturb(model, {4: [3]}))
    was = model.interventions.active
    code = ask(do="python", model=entry(ask(do="overview"))["key"])["python"]
    assert "only the code that made it makes it again" in code
    model.interventions.clear()
    exec(code, {"model": model})
    again = model.interventions.active
    assert [repr(item) for item in again] == [repr(item) for item in was[:2]]
    for one, other in zip(again, was, strict=False):
        assert {r: i.tolist() for r, i in one.rows.items()} == {
            r: i.tolist() for r, i in other.rows.items()
        }


def test_what_is_not_known_is_said_in_words(notebook: dict[str, Any]) -> None:
    assert "overview, restore" in ask(do="explode")["error"]
    assert "change" in ask(do="switch", model=entry(ask(do="overview"))["key"])["error"]


def test_a_comm_is_answered_as_it_opens(notebook: dict[str, Any]) -> None:
    comm = Comm()
    panel.on_comm(comm, {"content": {"data": {"do": "overview"}}})
    assert comm.closed["answer"]["overview"]["models"][0]["variable"] == "model"
    json.dumps(comm.closed)


def test_a_listener_hears_of_a_change_once_until_it_asks(notebook: dict[str, Any]) -> None:
    model, comm = notebook["model"], Comm()
    panel.on_comm(comm, {"content": {"data": {"do": "listen"}}})
    changing = threading.Thread(target=push, args=(model, {4: [1]}, "from a thread"))
    changing.start()
    changing.join()
    for _ in range(5):
        with model.ablate({4: [2]}):
            pass
    assert comm.sent == [{"changed": True}]
    ask(do="overview")
    model.interventions.clear()
    assert len(comm.sent) == 2
    assert comm.hung_up is not None
    comm.hung_up({})
    ask(do="overview")
    push(model, {4: [1]}, "unheard")
    assert len(comm.sent) == 2
