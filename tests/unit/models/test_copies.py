"""A second model beside the first, and what happens where there cannot be one."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import mmkn_widgets as mmkn
from mmkn_widgets.core import NotSupported
from mmkn_widgets.interventions import perturb

NEURONS = {2: list(range(200)), 4: list(range(512))}


def test_a_copy_shares_nothing(pocket: Any, pictures: list[Any]) -> None:
    plain = pocket.caption(pictures[0])
    with pocket.ablate(NEURONS):
        changed = pocket.caption(pictures[0])
        twin = copy.deepcopy(pocket)
        assert pocket.interventions.active
        assert pocket.caption(pictures[0]) == changed  # its own hooks are back
    assert not twin.interventions.active
    assert twin.caption(pictures[0]) == plain != changed
    assert twin.weights_hash == pocket.weights_hash
    assert twin.lock is not pocket.lock
    assert twin.worker is not pocket.worker
    assert not {p.data_ptr() for p in twin.hf.parameters()} & {
        p.data_ptr() for p in pocket.hf.parameters()
    }
    assert [site.module_name for site in twin.sites] == [s.module_name for s in pocket.sites]
    assert not any(a.module is b.module for a, b in zip(twin.sites, pocket.sites, strict=True))
    with perturb(twin, NEURONS, 5):
        assert pocket.caption(pictures[0]) == plain
    assert twin.worker.submit(twin.caption, pictures[0]).result() == plain
    assert len(twin.checks) == len(pocket.checks)


def test_experts_have_copies_of_their_own(llama: Callable[..., Any]) -> None:
    model = mmkn.load_model(
        llama(
            "Qwen3Moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, head_dim=8
        )
    )
    inputs = {"input_ids": torch.tensor([[5, 6, 7]])}
    plain = model.forward(inputs).logits
    neurons = [(site.layer, site.expert, n) for site in model.sites for n in range(16)]
    with model.ablate(neurons):
        twin = copy.deepcopy(model)
        assert not torch.equal(model.forward(inputs).logits, plain)
        assert torch.equal(twin.forward(inputs).logits, plain)
    assert torch.equal(model.forward(inputs).logits, plain)


def test_no_copy_while_weights_are_changed(pocket: Any) -> None:
    with perturb(pocket, {4: [1]}), pytest.raises(NotSupported, match=r"copy: weights .*clear"):
        copy.deepcopy(pocket)
    copy.deepcopy(pocket)


def test_a_shallow_copy_and_a_pickle_say_how_to_get_a_second_one(
    pocket: Any, tmp_path: Path
) -> None:
    with pytest.raises(NotSupported, match="deepcopy"):
        copy.copy(pocket)
    with pytest.raises(NotSupported, match=r"save_pretrained.*deepcopy"):
        pickle.dumps(pocket)
    with pytest.raises(NotSupported, match="pickle"):
        pickle.dumps(pocket.ablate({4: [1]}))
    pocket.hf.save_pretrained(tmp_path)
    pocket.processor.save_pretrained(tmp_path)
    again = mmkn.load_model(tmp_path)
    assert again.weights_hash == pocket.weights_hash


def test_a_study_is_copied_with_its_model(pocket: Any) -> None:
    scenes = mmkn.datasets.pocket_world("val").with_concept("car", 1)
    study = mmkn.study(pocket, "car", scenes)
    painted: Any = study.pairs
    first = {key: image.copy() for key, image in painted._painted.items()}
    for n in range(70):  # more than stay in memory: the first lie in files
        painted._put(f"{n:032x}", Image.new("RGB", (8, 8), (n, 0, 0)))
    twin: Any = copy.deepcopy(study)
    for key, image in first.items():
        assert twin.pairs._get(key).tobytes() == image.tobytes()
    assert twin.pairs._get(f"{3:032x}").getpixel((0, 0)) == (3, 0, 0)
    assert twin.model is not pocket
    assert twin.caption(0) == study.caption(0)
    with pytest.raises(NotSupported, match=r"study\.save"):
        pickle.dumps(study)


def test_a_model_whose_copy_would_run_the_original_is_refused(pocket: Any) -> None:
    twin = copy.deepcopy(pocket)
    block = twin.blocks[1]
    mlp, forward = block.mlp, block.mlp.forward
    mlp.forward = lambda hidden: forward(hidden)  # a closure: a copy of it holds the same module
    with pytest.raises(NotSupported, match="copy: .*second time"):
        copy.deepcopy(twin)
