"""What is public: an example for every name, no argument unexplained, one vocabulary."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import mmkn_widgets

FACES = ("mmkn_widgets", *(f"mmkn_widgets.{room}" for room in mmkn_widgets._ROOMS))


def public() -> Iterator[tuple[str, Any]]:
    """Yield every public function and class once, by the room that it is shown in."""
    seen: set[int] = set()
    for face in FACES[1:]:
        module = importlib.import_module(face)
        for name in module.__all__:
            thing = getattr(module, name)
            if (inspect.isfunction(thing) or inspect.isclass(thing)) and id(thing) not in seen:
                seen.add(id(thing))
                yield f"{face.removeprefix('mmkn_widgets.')}.{name}", thing


PUBLIC = dict(public())
#: widgets whose docstrings are still to be written
DESCRIBED = list(PUBLIC)


def arguments(thing: Any) -> list[str]:
    """Return the names that a caller may give; a protocol or an error has none."""
    if inspect.isclass(thing) and (
        issubclass(thing, BaseException) or getattr(thing, "_is_protocol", False)
    ):
        return []
    found = inspect.signature(thing).parameters.values()
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [one.name for one in found if one.kind not in variadic and one.name != "self"]


def said_of(thing: Any) -> str:
    """Return the docstring; of a class with that of its ``__init__``."""
    own = inspect.getdoc(thing) or ""
    return own + (inspect.getdoc(thing.__init__) or "" if inspect.isclass(thing) else "")


def test_every_name_on_a_face_is_there_once() -> None:
    for face in FACES:
        module = importlib.import_module(face)
        assert len(set(module.__all__)) == len(module.__all__)
        assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert len(PUBLIC) > 100


def test_core_s_words_are_found_where_they_are_looked_for() -> None:
    from mmkn_widgets import attribution, core, evaluation

    for name in ("Concept", "Neuron", "NeuronSet", "as_concept"):
        assert getattr(attribution, name) is getattr(core, name)
    assert evaluation.as_vocabulary is core.as_vocabulary


@pytest.mark.parametrize("name", DESCRIBED)
def test_every_public_name_has_an_example(name: str) -> None:
    text = said_of(PUBLIC[name])
    assert ">>> " in text, f"{name} shows no example"
    assert "+SKIP" not in text, f"the example of {name} does not run"


@pytest.mark.parametrize("name", DESCRIBED)
def test_every_argument_is_explained(name: str) -> None:
    text, thing = said_of(PUBLIC[name]), PUBLIC[name]
    text = re.sub(r"(?m)^\s*(>>>|\.\.\.).*$", "", text)  # an example explains nothing
    missing = [one for one in arguments(thing) if not re.search(rf"\b{one}\b", text)]
    assert missing == [], f"{name} does not say what these are"


def callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield public functions, and the public methods of public classes."""
    for name, thing in PUBLIC.items():
        if inspect.isfunction(thing):
            yield name, thing
        else:
            for method, code in inspect.getmembers(thing, inspect.isfunction):
                if not method.startswith("_") and code.__module__.startswith("mmkn_widgets"):
                    yield f"{name}.{method}", code


CALLABLES = dict(callables())
#: how scenes are called: one, those that choose or teach, those that measure, and the data set of
#: which the latter are taken; that of which an object is transplanted
SCENES = {"scene", "donor", "scenes", "with_concept", "without_concept", "test"}
#: words that this vocabulary has replaced, and what says the same now
REPLACED = {
    **dict.fromkeys(("n_neurons", "sizes", "n_top", "top_k", "topk"), "top"),
    **dict.fromkeys(("choose", "choosing", "learn", "lessons"), "scenes"),
    **dict.fromkeys(("present", "with_scenes", "present_scenes"), "with_concept"),
    **dict.fromkeys(("absent", "without_scenes", "absent_scenes"), "without_concept"),
    "dataset": "test, or scenes",
}
#: `k` counts words, or is that of overlap@k
COUNTS_WORDS = r"words|decode|lens|overlap_at_k|invariance"
#: here `present` are the categories of each picture
CATEGORIES = ("evaluation.chair", "evaluation.substitution")


#: `name, name : sequence of Scene` in a docstring
DOCUMENTED = re.compile(
    r"(?m)^ *(\w+(?:, \w+)*) : (?:sequence of )?Scene(?:Dataset)?(?: or sequence.*|, optional)?$"
)


def wrong(name: str, code: Callable[..., Any]) -> list[str]:
    """Return what a function's arguments are called or ordered otherwise than elsewhere."""
    found = [one for one in inspect.signature(code).parameters.values()]
    found = [one for one in found if one.name not in ("self", "cls")]
    order = [one.name for one in found]
    said = [f"{one}: say {REPLACED[one]}" for one in order if one in REPLACED]
    if name in CATEGORIES:
        said = [one for one in said if not one.startswith("present:")]
    if "k" in order and not re.search(COUNTS_WORDS, name):
        said.append("k: how many neurons is top")
    scenes = {one.name for one in found if re.search(r"\bScene(Dataset)?\b", str(one.annotation))}
    scenes |= {
        one for names in DOCUMENTED.findall(code.__doc__ or "") for one in names.split(", ")
    } & set(order)
    said += [f"{one}: scenes are one of {sorted(SCENES)}" for one in sorted(scenes - SCENES)]
    if "model" in order[1:] and found[order.index("model")].default is inspect.Parameter.empty:
        said.append("model: comes first")
    for first, then in (("with_concept", "without_concept"), ("progress", "cancel")):
        if {first, then} <= set(order) and order.index(then) != order.index(first) + 1:
            said.append(f"{first}, then {then}")
    return said


@pytest.mark.parametrize("name", CALLABLES)
def test_arguments_have_one_name_and_one_order(name: str) -> None:
    assert wrong(name, CALLABLES[name]) == []


def test_another_word_for_the_same_is_found() -> None:
    def measure(method: str, model: Any, without_concept: Any, n_neurons: int, with_concept: Any,
                others: Any, k: int) -> None:  # fmt: skip
        """Measure.

        Parameters
        ----------
        others : sequence of Scene
        """

    found = wrong("evaluation.measure", measure)
    assert [one.partition(":")[0] for one in found] == [
        "n_neurons", "k", "others", "model", "with_concept, then without_concept",
    ]  # fmt: skip
