"""Trust in a learned mask: the same again, elsewhere, and without its negative neurons."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

import mmkn_widgets as mmkn
from mmkn_widgets.interventions import MaskGoal
from mmkn_widgets.studies import MaskTrust, mask_trust

WORD = "dog"


@pytest.fixture(scope="module")
def study() -> Any:
    val = mmkn.datasets.pocket_world("val")
    return mmkn.study(mmkn.load_model("pocket"), WORD, val.with_concept(WORD, 12))


@pytest.fixture(scope="module")
def scenes() -> tuple[Any, Any]:
    test = mmkn.datasets.pocket_world("test", 160)
    return test.with_concept(WORD, 6), test.without_concept(WORD, 6)


@pytest.fixture(scope="module")
def found(study: Any, scenes: Any) -> MaskTrust:
    return mask_trust(study, *scenes, size=15, seeds=2, goal=MaskGoal(steps=20))


def test_masks_learned_apart_share_more_than_chance(found: MaskTrust) -> None:
    assert len(found.overlaps) == 4  # every seed of one half with every seed of the other
    for one in found.overlaps:
        assert 0 < one["a"] <= 15 and 0 < one["b"] <= 15
        assert one["chance"] == pytest.approx(one["a"] * one["b"] / 500)
        assert one["shared"] > 3 * one["chance"]


def test_the_word_falls_and_others_do_not_where_it_was_learned(found: MaskTrust) -> None:
    learned, text = found.shifts
    assert text["where"] == "plain text" and learned["n_word"] == 6
    assert learned["word"] < -1 and abs(learned["others"]) < 0.3 and abs(learned["random"]) < 0.3
    assert learned["n_others"] >= 6 and text["n_word"] >= 5


def test_parts_by_the_sign_of_their_contribution(study: Any, scenes: Any, found: MaskTrust) -> None:
    values = study.evidence["contribution"].values
    signs = [values[n.layer, n.index] for n in found.mask]
    assert found.negative == sum(value < 0 for value in signs)
    whole, rest, against = found.parts
    assert [whole["neurons"], rest["neurons"] + against["neurons"]] == [len(found.mask)] * 2
    effect = study.evaluate(found.mask, *scenes, n_random=0, metrics=())
    assert whole["suppression"] == effect.suppression
    assert whole["substitution"] == effect.substitution


def test_it_shows_itself(found: MaskTrust) -> None:
    page = found._repr_html_()
    assert "by chance" in page and "without negative" in page and "plain text" in page
    axes = found.plot()
    assert [tick.get_text() for tick in axes.get_yticklabels()][-1] == "plain text"
    (word,) = [one for one in axes.lines if one.get_label() == "the word"]
    np.testing.assert_allclose(word.get_xdata(), [shift["word"] for shift in found.shifts])
    plt.close("all")


def test_one_scene_is_too_few(study: Any, scenes: Any) -> None:
    val = mmkn.datasets.pocket_world("val")
    few = mmkn.study(study.model, WORD, val.with_concept(WORD, 1))
    with pytest.raises(mmkn.BadArgument, match="halves"):
        mask_trust(few, *scenes)
