"""AtP*: against plain autograd with one layer after the other cut out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import mmkn_widgets as mmkn
from mmkn_widgets.attribution import attribution_patching_star, score
from mmkn_widgets.core.errors import BadArgument, Cancelled, NotSupported
from mmkn_widgets.core.jobs import CancelToken
from mmkn_widgets.inpainting import get_inpainter


def _run(model: Any, inputs: Any, cut: int | None, grad: bool) -> tuple[Any, list[torch.Tensor]]:
    """The last logits and every activation; what layer `cut` adds has no gradient."""
    seen: list[torch.Tensor] = []

    def leave(_: Any, args: Any) -> Any:
        value = args[0].requires_grad_() if not args[0].requires_grad else args[0]
        seen.append(value)
        return (value,)

    def block(number: int) -> Any:
        def run(_: Any, args: Any, kwargs: Any, output: Any) -> Any:
            before = args[0] if args else kwargs["hidden_states"]
            return before + (output - before).detach() if number == cut else None

        return run

    handles = [site.module.register_forward_pre_hook(leave) for site in model.sites]
    handles += [
        one.register_forward_hook(block(n), with_kwargs=True) for n, one in enumerate(model.blocks)
    ]
    with torch.set_grad_enabled(grad):
        logits = model.hf(**inputs).logits[0, -1]
    for handle in handles:
        handle.remove()
    return logits, seen


@pytest.mark.parametrize("target", ["log_prob", "logit"])
def test_it_is_the_mean_size_over_gradients_without_each_layer(
    pocket: Any, cars: Any, target: str
) -> None:
    scene = cars[0]
    ids = pocket.generate(pocket.prepare(scene.image)).token_ids[0]
    place = [pocket.tokenizer.decode([i]) for i in ids].index("car")
    gone = get_inpainter("telea")(scene.image, scene.mask("car"), scene)
    prefix = [list(ids[:place])]
    inputs = pocket.prepare([scene.image], continuation=prefix).inputs
    _, other = _run(pocket, pocket.prepare([gone], continuation=prefix).inputs, None, False)
    wanted = np.zeros((len(pocket.sites), pocket.n_neurons))
    for cut in range(len(pocket.blocks)):
        logits, seen = _run(pocket, inputs, cut, True)
        y = (torch.log_softmax(logits, -1) if target == "log_prob" else logits)[ids[place]]
        slopes = torch.autograd.grad(y, seen, allow_unused=True)
        for row, slope in enumerate(slopes):
            if slope is not None:
                change = seen[row].detach() - other[row].detach()
                wanted[row] += (slope * change)[0].sum(0).abs().numpy()
    wanted /= len(pocket.blocks) - 1
    found = attribution_patching_star(pocket, "car", [scene], target=target)
    np.testing.assert_allclose(found.values, wanted, rtol=2e-3, atol=1e-5 * wanted.max())
    assert found.attrs["units"] == ("nats" if target == "log_prob" else "logit")


def test_a_curve_is_not_a_cancellation(pocket: Any, cars: Any) -> None:
    """Layer 2, neuron 31 of car: patching measures 4.67 logits; docs/methods.md names all three."""
    star = score(pocket, "attribution_patching_star", "car", cars, target="logit").values
    assert star[2, 31] == pytest.approx(0.23, abs=0.01)


def test_batches_add_up_and_nothing_stays_on_the_model(pocket: Any, cars: Any) -> None:
    together = attribution_patching_star(pocket, "car", cars)
    apart = attribution_patching_star(pocket, "car", cars, batch_size=1)
    np.testing.assert_allclose(apart, together, rtol=1e-3, atol=1e-6)
    assert not any(block._forward_hooks for block in pocket.blocks)
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        attribution_patching_star(pocket, "car", cars, cancel=cancel)
    assert not any(block._forward_hooks for block in pocket.blocks)


def test_a_pair_of_other_lengths_is_refused(
    pocket: Any, cars: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = type(pocket).prepare

    def uneven(self: Any, pictures: Any, *args: Any, **options: Any) -> Any:
        painted = pictures[0] is not cars[0].image
        if painted and options.get("continuation"):
            options["continuation"] = [one[:-1] for one in options["continuation"]]
        return prepare(self, pictures, *args, **options)

    monkeypatch.setattr(type(pocket), "prepare", uneven)
    with pytest.raises(BadArgument, match="inpainter: the inpainted picture gives .* keep the pic"):
        attribution_patching_star(pocket, "car", cars[:1], batch_size=1)


def test_what_it_cannot_do_is_said(pocket: Any, cars: Any) -> None:
    with pytest.raises(BadArgument, match="target: got 'odds'"):
        attribution_patching_star(pocket, "car", cars, target="odds")
    with pytest.raises(BadArgument, match="concept: got 'zebra'"):
        attribution_patching_star(pocket, "zebra", cars)
    with pytest.raises(BadArgument, match="scenes: got .*at least one scene that shows 'car'"):
        attribution_patching_star(pocket, "car", [])
    encoder = mmkn.load_model("pocket", stack="encoder")
    with pytest.raises(NotSupported, match="load the model with stack='decoder'"):
        attribution_patching_star(encoder, "car", cars)
