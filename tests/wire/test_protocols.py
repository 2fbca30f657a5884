"""The study of these tests and the real one answer the same questions, argument by argument."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from fake_model import FakeModel
from fake_study import FakeStudy

import mmkn_widgets as mmkn
from mmkn_widgets.models import MultimodalModel
from mmkn_widgets.studies import Study
from mmkn_widgets.widgets.protocols import ConceptLike, ModelLike, StudyLike


@pytest.fixture(scope="module")
def real() -> Study:
    model = mmkn.load_model("pocket")
    scenes = mmkn.datasets.pocket_world("val", 60).with_concept("car", 1)
    return mmkn.study(model, "car", scenes)


def test_both_studies_models_and_concepts_are_what_widgets_ask_for(real: Study) -> None:
    fake = FakeStudy()
    for study in (real, fake):
        assert isinstance(study, StudyLike)
        assert isinstance(study.model, ModelLike)
        assert isinstance(study.concept, ConceptLike)
        for scene in study.scenes:
            assert {"id", "image", "source", "categories", "objects", "mask"} <= set(dir(scene))
        assert {"shape", "approximate", "reason"} <= set(dir(study.geometry(0)))
        assert set(fake.options) == set(real.options)
        assert isinstance(study.pairs.name, str)


def _asked(protocol: type) -> list[str]:
    names = {n for base in protocol.__mro__[:-2] for n in vars(base) if not n.startswith("_")}
    return sorted(name for name in names if inspect.isfunction(getattr(protocol, name, None)))


@pytest.mark.parametrize(
    ("protocol", "cls"),
    [
        (StudyLike, Study),
        (StudyLike, FakeStudy),
        (ModelLike, MultimodalModel),
        (ModelLike, FakeModel),
    ],
)
def test_every_method_takes_the_arguments_that_widgets_give(protocol: Any, cls: Any) -> None:
    """Same names, same order, same kinds; what one has more has a default."""
    for name in _asked(protocol):
        wanted = list(inspect.signature(getattr(protocol, name)).parameters.values())[1:]
        given = dict(list(inspect.signature(getattr(cls, name)).parameters.items())[1:])
        takes_more = any(p.kind is p.VAR_KEYWORD for p in given.values())
        for place, one in enumerate(wanted):
            if one.kind is one.VAR_KEYWORD:
                continue
            where = f"{cls.__name__}.{name}({one.name})"
            if one.name not in given:
                assert takes_more and one.kind is one.KEYWORD_ONLY, where
                continue
            assert given[one.name].kind is one.kind, where
            assert (given[one.name].default is one.empty) == (one.default is one.empty), where
            if one.kind is one.POSITIONAL_OR_KEYWORD:
                assert list(given)[place] == one.name, where
        more = [p for n, p in given.items() if n not in {one.name for one in wanted}]
        assert all(p.default is not p.empty or p.kind is p.VAR_KEYWORD for p in more), name
