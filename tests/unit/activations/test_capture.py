"""What a store holds, and that it is what the model computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import mmkn_widgets as mmkn
from mmkn_widgets import activations
from mmkn_widgets.activations import needed_bytes, record
from mmkn_widgets.core.errors import BadArgument, Cancelled
from mmkn_widgets.core.jobs import CancelToken
from mmkn_widgets.models import readable


def test_one_picture_has_no_image_dim_and_all_labels(pocket: Any, pictures: Any) -> None:
    store = mmkn.capture(pocket, pictures[0])
    tokens = pocket.token_maps(pocket.prepare(pictures[0]))[0]
    assert store.activation.dims == ("layer", "token", "neuron")
    assert store["role"].values.tolist() == tokens.role
    assert store["token_text"].values.tolist() == tokens.text
    assert store["patch_row"].values.tolist() == tokens.patch_row.tolist()
    assert store["layer"].values.tolist() == [site.layer for site in pocket.sites]
    assert store.attrs["weights"] == pocket.weights_hash
    assert store.attrs["prompt"] == pocket.prepare(pictures[0]).prompts[0]
    assert bool(store["valid"].all())


def test_values_are_the_models(pocket: Any, pictures: Any) -> None:
    store = mmkn.capture(pocket, pictures)
    for place, picture in enumerate(pictures):
        with record(pocket) as seen:
            pocket.forward(pocket.prepare(picture))
        for row, value in seen.values.items():
            assert np.array_equal(store.activation[place, row].values, value[0].numpy())


def test_pictures_of_other_lengths_are_padded_and_marked(pocket: Any, pictures: Any) -> None:
    short = mmkn.capture(pocket, pictures[:2], generate=True, max_new_tokens=2)
    lengths = short["valid"].sum("token").values.tolist()
    assert lengths == [pocket.prepare(pictures[0]).n_tokens + 1] * 2  # the last is never fed back
    from mmkn_widgets.activations.picture import Pile, pictures_of

    parts = [one for _, one in pictures_of(short)]
    longer = [one for _, one in pictures_of(mmkn.capture(pocket, pictures[:1], generate=True))]
    pile = Pile(3)
    for part in [*parts, *longer]:
        pile.add(part)
    joined = pile.dataset(["a", "b", "c"], {})
    assert joined["valid"].sum("token").values.tolist()[:2] == lengths
    assert joined.sizes["token"] == longer[0].n_tokens > lengths[0]
    assert not joined.activation.where(~joined["valid"], 0).any()
    assert set(joined["role"].values[0, lengths[0] :].tolist()) == {"special"}


def test_generation_equals_teacher_forcing_and_keeps_the_cache(pocket: Any, pictures: Any) -> None:
    store = mmkn.capture(pocket, pictures[0], generate=True)
    written = pocket.generate(pocket.prepare(pictures[0])).token_ids[0]
    assert store["step"].values.tolist()[-len(written) :] == list(range(len(written)))
    steps = store["role"] == "generated"
    assert store["token_id"].values[steps.values].tolist() == written
    forced = mmkn.capture(pocket, pictures[0], continuation=written)
    np.testing.assert_allclose(
        store.activation.values, forced.activation.values, rtol=1e-3, atol=1e-4
    )
    assert forced["role"].equals(store["role"])


def test_layers_and_roles_choose(pocket: Any, pictures: Any) -> None:
    whole = mmkn.capture(pocket, pictures[0])
    part = mmkn.capture(pocket, pictures[0], layers=[4, 1], roles=["image"])
    assert part["layer"].values.tolist() == [1, 4]
    assert set(part["role"].values.tolist()) == {"image"}
    image = whole["role"].values == "image"
    assert np.array_equal(part.activation.values, whole.activation.values[[1, 4]][:, image])
    with pytest.raises(BadArgument, match="layers"):
        mmkn.capture(pocket, pictures[0], layers=[99])
    with pytest.raises(BadArgument, match="roles"):
        mmkn.capture(pocket, pictures[0], roles=["picture"])


def test_the_other_definition_of_a_neuron(pocket: Any, pictures: Any) -> None:
    site = pocket.sites[2]
    seen = []
    handle = site.act_module.register_forward_hook(lambda _m, _a, out: seen.append(out.detach()))
    act = mmkn.capture(pocket, pictures[0], site="act", layers=[2])
    handle.remove()
    assert np.array_equal(act.activation.values[0], seen[0][0].numpy())
    assert act.attrs["site"] == "act"


def test_gradients_stand_beside_activations(pocket: Any, pictures: Any) -> None:
    written = pocket.generate(pocket.prepare(pictures[0])).token_ids[0]
    token = written[0]
    store = mmkn.capture(pocket, pictures[0], gradients=token)
    values = store.activation.values
    grads = store["gradient"].values
    prepared = pocket.prepare(pictures[0])

    def log_prob(row: int, moved: torch.Tensor) -> float:
        handle = pocket.sites[row].hook(lambda _x: moved)
        try:
            logits = pocket.forward(prepared).logits
        finally:
            handle.remove()
        return float(torch.log_softmax(logits[0, -1].double(), -1)[token])

    rng = np.random.default_rng(0)
    for row in (0, 3, 5):
        direction = rng.normal(size=values[row].shape).astype(np.float32) + np.sign(grads[row])
        step = 1e-2 * np.abs(values[row]).mean()
        up, down = (
            log_prob(row, torch.from_numpy((values[row] + s * step * direction)[None]))
            for s in (1, -1)
        )
        slope = float((grads[row] * direction).sum())
        assert (up - down) / (2 * step) == pytest.approx(slope, rel=0.05)


def test_gradients_of_a_concept_look_where_it_is_predicted(pocket: Any, pictures: Any) -> None:
    scene = mmkn.datasets.pocket_world("val", 40).with_concept("car", 1)[0]
    short = mmkn.capture(pocket, scene.image, gradients="car")
    whole = mmkn.capture(pocket, scene.image, gradients="car", generate=True)
    n = short.sizes["token"]
    assert whole.sizes["token"] > n
    np.testing.assert_allclose(
        whole["gradient"].values[:, :n], short["gradient"].values, rtol=1e-3, atol=1e-5
    )
    assert not whole["gradient"].values[:, n:].any()  # what comes later cannot matter
    function = mmkn.capture(
        pocket, scene.image, gradients=lambda logits: logits[-1].max(), target="logit"
    )
    assert function["gradient"].values.any()


def test_what_cannot_be_differentiated(pocket: Any, pictures: Any) -> None:
    with pytest.raises(BadArgument, match="does not name"):
        mmkn.capture(pocket, pictures[0], gradients="car", continuation="a red tree")
    with pytest.raises(BadArgument, match="token id"):
        mmkn.capture(pocket, pictures[0], gradients=10**6)
    with pytest.raises(BadArgument, match="gradients: got True"):
        mmkn.capture(pocket, pictures[0], gradients=True)
    with pytest.raises(BadArgument, match="one number"):
        mmkn.capture(pocket, pictures[0], gradients=lambda logits: logits)


def test_reduced_keeps_maxima_and_means_over_roles(pocket: Any, pictures: Any) -> None:
    whole = mmkn.capture(pocket, pictures[0])
    reduced = mmkn.capture(pocket, pictures[0], reduced=True)
    assert "activation" not in reduced
    for role in ("image", "text"):
        inside = whole.activation.values[:, whole["role"].values == role]
        held = reduced.sel(token_role=role)
        assert np.array_equal(held["activation_max"].values, inside.max(1))
        np.testing.assert_allclose(
            held["activation_mean"].values, inside.mean(1), rtol=1e-4, atol=1e-6
        )
    assert bool(reduced.sel(token_role="generated")["activation_max"].isnull().all())


def test_a_capture_that_does_not_fit_says_the_choices(
    pocket: Any, pictures: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(activations.memory, "free_memory", lambda: 2 * 10**6)
    with pytest.raises(BadArgument, match=r"fewer layers=.*out=FOLDER"):
        mmkn.capture(pocket, pictures)
    with pytest.raises(BadArgument, match=r"fewer layers="):
        mmkn.capture(pocket, pictures, roles=("image",))
    store = mmkn.capture(pocket, pictures, reduced=True)
    assert store.sizes["image"] == 3
    assert mmkn.capture(pocket, pictures, roles=("special",)).sizes["token"] == 1
    assert mmkn.capture(pocket, pictures, out=tmp_path / "s").sizes["image"] == 3


def test_the_need_is_told_and_is_right(
    pocket: Any, pictures: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mmkn_widgets.activations")
    said: list[tuple[str, int, int]] = []
    store = mmkn.capture(pocket, pictures[0], progress=lambda *a: said.append(a))
    n = pocket.prepare(pictures[0]).n_tokens
    assert store.activation.nbytes == needed_bytes(pocket, n)
    assert said[0][0].startswith("capturing, ")
    assert said[0][0].removeprefix("capturing, ") in caplog.messages[0]
    assert said[-1][1:] == (1, 1)


@pytest.mark.parametrize("gradients", [None, 7])
def test_the_need_of_reductions_is_their_bytes(
    pocket: Any, pictures: Any, tmp_path: Path, gradients: int | None
) -> None:
    said: list[str] = []
    store = mmkn.capture(
        pocket, pictures[:2], reduced=True, out=tmp_path / "s", gradients=gradients,
        progress=lambda stage, *_: said.append(stage),
    )  # fmt: skip
    held = sum(values.nbytes for values in store.data_vars.values())
    assert held == 2 * 2 * 4 * 6 * 512 * 4 * (2 if gradients else 1)
    assert said[0] == f"capturing, {readable(held)} in all"


def test_cancelling_and_bad_arguments(pocket: Any, pictures: Any) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        mmkn.capture(pocket, pictures, cancel=token)
    with pytest.raises(BadArgument, match="images"):
        mmkn.capture(pocket, [])
    with pytest.raises(BadArgument, match="image_ids"):
        mmkn.capture(pocket, pictures, image_ids=["a", "a", "b"])
    with pytest.raises(BadArgument, match="site"):
        mmkn.capture(pocket, pictures[0], site="output")


def test_a_capture_sees_what_an_intervention_leaves(pocket: Any, pictures: Any) -> None:
    with pocket.ablate({3: [5, 6]}):
        store = mmkn.capture(pocket, pictures[0])
    assert not store.activation.sel(layer=3, neuron=[5, 6]).values.any()
    again = mmkn.capture(pocket, pictures[0])
    assert again.activation.sel(layer=3, neuron=[5, 6]).values.any()


def test_other_threads_are_not_recorded(pocket: Any, pictures: Any) -> None:
    prepared = pocket.prepare(pictures[0])
    with record(pocket, layers=[2]) as seen:
        pocket.worker.submit(pocket.forward, pocket.prepare(pictures[1])).result()
        pocket.forward(prepared)
    assert seen.fired == {2: 1}
    assert isinstance(mmkn.capture(pocket, pictures[0]), xr.Dataset)


def test_packed_and_kept_are_the_same(pocket: Any, pictures: Any) -> None:
    prepared = pocket.prepare(pictures)
    with record(pocket) as kept:
        pocket.generate(prepared, max_new_tokens=3)
    with record(pocket, pack=0) as packed:  # grows
        pocket.generate(prepared, max_new_tokens=3)
    assert torch.equal(kept.stack(), packed.stack())
    assert torch.equal(kept.values[3], packed.values[3])


def test_a_store_never_passes_for_that_of_other_pictures(
    pocket: Any, pictures: Any, tmp_path: Path
) -> None:
    mmkn.capture(pocket, pictures[:2], out=tmp_path / "s")
    again = mmkn.capture(pocket, pictures[:2], out=tmp_path / "s")  # goes on: nothing to do
    assert again.sizes["image"] == 2
    with pytest.raises(BadArgument, match="picture '0' is another one"):
        mmkn.capture(pocket, pictures[1:], out=tmp_path / "s")
    with (
        pocket.ablate({5: [1, 2]}),
        pytest.raises(BadArgument, match="out: got 'a store with interventions"),
    ):
        mmkn.capture(pocket, pictures[:2], out=tmp_path / "s")


def test_layers_above_the_last_one_asked_for_are_not_run(pocket: Any, pictures: Any) -> None:
    whole = mmkn.capture(pocket, pictures[0])
    ran: list[int] = []
    watching = [
        block.register_forward_hook(lambda *_, layer=layer: ran.append(layer))
        for layer, block in enumerate(pocket.blocks)
    ]
    try:
        for layers in ([2, 0], [5], None):
            ran.clear()
            kept = sorted(range(6) if layers is None else layers)
            store = mmkn.capture(pocket, pictures[0], layers=layers)
            assert ran == list(range(kept[-1] + 1))
            expected = whole.activation.sel(layer=kept)
            assert np.array_equal(store.activation.values, expected.values)
        ran.clear()
        with pocket.ablate({0: [3]}):
            off = mmkn.capture(pocket, pictures[0], layers=[0, 1])
        assert ran == [0, 1] and not off.activation.values[0, :, 3].any()
        assert off.attrs["provenance"] != store.attrs["provenance"]
    finally:
        for one in watching:
            one.remove()
    assert not any(block._forward_pre_hooks for block in pocket.blocks)
    again = mmkn.capture(pocket, pictures[0])
    assert np.array_equal(again.activation.values, whole.activation.values)


def test_the_first_forward_of_a_model_is_whole_and_looks_at_it(pictures: Any) -> None:
    model = mmkn.load_model("pocket")
    model.checks = ()
    store = mmkn.capture(model, pictures[0], layers=[1])
    assert model.checks and store.activation.sizes["layer"] == 1
