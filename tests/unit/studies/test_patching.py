"""Activation patching: against plain hooks, its own bounds, and attribution patching."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

import mmkn_widgets as mmkn
from mmkn_widgets.attribution import NeuronSet, collect
from mmkn_widgets.core.errors import BadArgument, Cancelled
from mmkn_widgets.studies import measure_patching
from mmkn_widgets.studies.on_scene import Place


@pytest.fixture(scope="module")
def pocket() -> Any:
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def study(pocket: Any) -> Any:
    val = mmkn.datasets.pocket_world("val")
    return mmkn.study(pocket, "car", val.with_concept("car", 4), target="logit")


@pytest.fixture(scope="module")
def held() -> Any:
    return mmkn.datasets.pocket_world("test").with_concept("car", 4)


def _hooked(model: Any, inputs: Any, token: int, put: dict[int, Any] | None = None) -> Any:
    """The score and every activation, with nothing of ours."""
    seen, handles = {}, []

    def hook(row: int) -> Any:
        def run(_: Any, args: Any) -> Any:
            value = args[0].clone()
            if put is not None and row in put:
                index, other = put[row]
                value[:, :, index] = other[:, :, index]
            seen[row] = value
            return (value,)

        return run

    for site in model.sites:
        handles.append(site.module.register_forward_pre_hook(hook(site.row)))
    with torch.no_grad():
        logits = model.hf(**inputs).logits[0, -1]
    for handle in handles:
        handle.remove()
    return float(logits[token]), seen


def test_both_directions_are_those_of_plain_hooks(pocket: Any, study: Any, held: Any) -> None:
    chosen = study.neurons().top(12)
    found = measure_patching(study, held, neurons=chosen, n_random=2)
    rows: dict[int, list[int]] = {}
    for layer, _, index in chosen.places:
        rows.setdefault(layer, []).append(index)
    for at, scene in enumerate(held):
        ids = pocket.generate(pocket.prepare(scene.image)).token_ids[0]
        before = [pocket.tokenizer.decode([i]) for i in ids].index("car")
        gone = study.pairs.inpainted(scene, study.concept)
        prefix = [list(ids[:before])]
        one = pocket.prepare([scene.image], continuation=prefix).inputs
        other = pocket.prepare([gone], continuation=prefix).inputs
        y, seen = _hooked(pocket, one, ids[before])
        y_gone, unseen = _hooked(pocket, other, ids[before])
        noise = {row: (index, unseen[row]) for row, index in rows.items()}
        clean = {row: (index, seen[row]) for row, index in rows.items()}
        wanted = {
            "original": y,
            "inpainted": y_gone,
            "noised": _hooked(pocket, one, ids[before], noise)[0],
            "denoised": _hooked(pocket, other, ids[before], clean)[0],
        }
        for name, value in wanted.items():
            got = found[name].values[..., at]
            assert (got if got.ndim == 0 else got[0]) == pytest.approx(value, rel=1e-4, abs=1e-4)
    gap = (found["original"] - found["inpainted"]).sum()
    lost = (found["original"] - found["noised"].isel(set=0)).sum()
    assert float(found["noising"][0]) == pytest.approx(float(lost / gap))


def test_found_neurons_carry_the_word_and_random_ones_do_not(study: Any, held: Any) -> None:
    found = study.patching(held, n_random=3)
    assert found["set"].values.tolist() == ["neurons", "random 1", "random 2", "random 3"]
    for name in ("noising", "denoising"):
        shares = found[name].values
        assert shares[0] > 0.3
        assert np.abs(shares[1:]).max() < 0.1
    assert found.attrs["units"] == "logits"
    assert json.loads(found.attrs["provenance"])["method"] == "measure_patching"


def test_attribution_patching_holds_where_the_model_is_near_linear(pocket: Any, study: Any) -> None:
    """And fails where it is not: docs/methods.md names the neuron and both figures."""
    scenes = list(study.scored)
    guessed = collect(pocket, "car", scenes, target="logit")["attribution_patching"].values
    order = np.argsort(-np.abs(guessed), axis=None)
    some = [np.unravel_index(k, guessed.shape) for k in (*order[:10], *order[400:2000:400])]
    measured = {}
    for layer, index in some:
        one = NeuronSet([int(layer)], [int(index)])
        found = measure_patching(study, scenes, neurons=one, n_random=0)
        measured[layer, index] = float((found["original"] - found["noised"][0]).mean())
    steep = (2, 31)
    assert guessed[steep] == pytest.approx(0.31, abs=0.01)
    assert measured.pop(steep) == pytest.approx(4.67, abs=0.02)
    rest = list(measured)
    expected = [guessed[place] for place in rest]
    assert np.corrcoef([measured[place] for place in rest], expected)[0, 1] > 0.95


def test_without_a_gap_there_is_no_share(pocket: Any, held: Any) -> None:
    same = mmkn.study(pocket, "car", list(held), inpainter=lambda image, _mask: image)
    found = measure_patching(same, held, neurons=NeuronSet([4], [1]), n_random=0)
    assert np.isnan(found["noising"].values).all()
    np.testing.assert_array_equal(found["original"], found["inpainted"])


def test_a_pair_of_other_lengths_is_refused(
    study: Any, held: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def uneven(self: Any, model: Any, image: Any) -> Any:
        own = list(self.prediction.prefix)
        more = own if image is held[0].image else own[:-1]
        return model.prepare([image], self.prompt, continuation=[more])

    monkeypatch.setattr(Place, "prepared", uneven)
    with pytest.raises(BadArgument, match="a pair of 7[0-9] and [67][0-9] tokens.*keep the pict"):
        measure_patching(study, list(held)[:1], neurons=NeuronSet([4], [1]), n_random=0)


def test_what_cannot_be_patched_is_said_and_nothing_stays(
    pocket: Any, study: Any, held: Any
) -> None:
    with pytest.raises(BadArgument, match="neurons: got .* expected at least one neuron"):
        measure_patching(study, held, neurons=NeuronSet([], []))
    with pytest.raises(BadArgument, match="with_concept"):
        measure_patching(study, [])
    with pytest.raises(BadArgument, match="n_random: got -1"):
        measure_patching(study, held, n_random=-1)
    cancel = mmkn.core.CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        measure_patching(study, held, cancel=cancel)
    assert not any(site.module._forward_pre_hooks for site in pocket.sites)
