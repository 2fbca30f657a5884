"""Evidence: against captum, plain hooks, closed forms and finite differences."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import LayerGradientXActivation
from PIL import Image

import mmkn_widgets as mmkn
from mmkn_widgets.attribution import Concept, activation_ranges, collect, integrated_gradients
from mmkn_widgets.core.errors import BadArgument, Cancelled, NotSupported
from mmkn_widgets.core.jobs import CancelToken
from mmkn_widgets.datasets import ObjectInstance, Scene
from mmkn_widgets.inpainting import get_inpainter


@pytest.fixture(scope="module")
def evidence(pocket: Any, cars: Any) -> Any:
    return collect(pocket, "car", cars, keep_pairs=True)


class Plain:
    """One pair of pictures, recomputed with nothing of ours but the inputs."""

    def __init__(self, model: Any, scene: Any, forced_tokens: int = 1) -> None:
        ids = model.generate(model.prepare(scene.image)).token_ids[0]
        words = [model.tokenizer.decode([i]) for i in ids]
        self.place = words.index("car")
        self.token = ids[self.place]
        self.model = model
        gone = get_inpainter("telea")(scene.image, scene.mask("car"), scene)
        prefix = [ids[: self.place]]
        self.original = model.prepare([scene.image], continuation=prefix).inputs
        self.inpainted = model.prepare([gone], continuation=prefix).inputs

    def values(self, inputs: Any) -> list[torch.Tensor]:
        seen: list[torch.Tensor] = []
        handles = [
            site.module.register_forward_pre_hook(lambda _m, args: seen.append(args[0].detach()[0]))
            for site in self.model.sites
        ]
        with torch.no_grad():
            self.model.hf(**inputs)
        for handle in handles:
            handle.remove()
        return seen

    def gradient_x_activation(
        self, target: str = "log_prob", *, gradient_alone: bool = False
    ) -> list[torch.Tensor]:
        def y(ids: torch.Tensor) -> torch.Tensor:
            logits = self.model.hf(**{**self.original, "input_ids": ids}).logits[:, -1]
            at = torch.log_softmax(logits, -1) if target == "log_prob" else logits
            return at[:, self.token]

        modules = [site.module for site in self.model.sites]
        oracle = LayerGradientXActivation(y, modules, multiply_by_inputs=not gradient_alone)
        found = oracle.attribute(self.original["input_ids"], attribute_to_layer_input=True)
        return [(f[0] if isinstance(f, tuple) else f)[0].detach() for f in found]


@pytest.fixture(scope="module")
def plain(pocket: Any, cars: Any) -> list[Plain]:
    return [Plain(pocket, scene) for scene in cars]


def _close(found: Any, wanted: list[torch.Tensor]) -> None:
    mean = torch.stack(wanted).double().mean(0).numpy()
    scale = np.abs(mean).max()
    np.testing.assert_allclose(found.values, mean, rtol=1e-3, atol=1e-5 * scale)


def test_stage_1_is_the_difference_where_the_word_is_predicted(evidence: Any, plain: Any) -> None:
    pairs = [(one.values(one.original), one.values(one.inpainted)) for one in plain]
    wanted = [torch.stack([(a[-1] - b[-1]).abs() for a, b in zip(*p, strict=True)]) for p in pairs]
    _close(evidence["difference"], wanted)
    np.testing.assert_allclose(
        evidence["pair_difference"].values[2], wanted[2].numpy(), rtol=1e-3, atol=1e-4
    )


def test_stage_2_is_captums_gradient_x_activation(evidence: Any, plain: Any) -> None:
    found = [one.gradient_x_activation() for one in plain]
    _close(evidence["gradcam"], [torch.stack([g[-1] for g in one]) for one in found])
    _close(evidence["gradient_sum"], [torch.stack([g.sum(0) for g in one]) for one in found])


def test_attribution_patching_is_captums_gradient_times_what_the_object_changes(
    evidence: Any, plain: Any
) -> None:
    wanted = []
    for one in plain:
        before, after = one.values(one.original), one.values(one.inpainted)
        slopes = one.gradient_x_activation(gradient_alone=True)
        rows = zip(slopes, before, after, strict=True)
        wanted.append(torch.stack([(g * (a - b)).sum(0) for g, a, b in rows]))
    _close(evidence["attribution_patching"], wanted)


def test_attribution_patching_says_what_a_small_step_to_the_inpainted_picture_does(
    pocket: Any, cars: Any
) -> None:
    scene = cars[0]
    found = collect(pocket, "car", [scene], target="logit")["attribution_patching"].values
    one = Plain(pocket, scene)
    gone, step = one.values(one.inpainted), 1e-2

    def logit(row: int | None = None, index: int = 0) -> float:
        def hook(_: Any, args: Any) -> Any:
            moved = args[0].clone()
            moved[0, :, index] += step * (gone[row][:, index] - moved[0, :, index])
            return (moved,)

        handle = None if row is None else pocket.sites[row].module.register_forward_pre_hook(hook)
        with torch.no_grad():
            logits = pocket.hf(**one.original).logits[0, -1].double()
        if handle:
            handle.remove()
        return float(logits[one.token])

    for flat in np.argsort(-np.abs(found), axis=None)[:5]:
        row, index = np.unravel_index(flat, found.shape)
        drop = (logit() - logit(int(row), int(index))) / step
        assert drop == pytest.approx(found[row, index], rel=0.05, abs=2e-3)


def test_contribution_is_the_papers_formula(evidence: Any, plain: Any, pocket: Any) -> None:
    wanted = []
    head = pocket.hf.lm_head.weight.detach()
    for one in plain:
        values = one.values(one.original)
        rows = [
            value[-1] * (head[one.token] @ site.module.weight.detach())
            for value, site in zip(values, pocket.sites, strict=True)
        ]
        wanted.append(torch.stack(rows))
    _close(evidence["contribution"], wanted)
    _close(
        evidence["activation"],
        [torch.stack([v[-1] for v in one.values(one.original)]) for one in plain],
    )


def test_ranges_are_mean_and_deviation_where_the_word_is_predicted(
    pocket: Any, cars: Any, plain: Any, evidence: Any
) -> None:
    last = np.stack([[v[-1].numpy() for v in one.values(one.original)] for one in plain])
    mean, std = last.mean(0), last.std(0, ddof=1)
    np.testing.assert_allclose(evidence["activation_std"].values, std, rtol=1e-3, atol=1e-4)
    found = activation_ranges(evidence, spread=2.0)
    for name, values in (("low", mean - 2 * std), ("high", mean + 2 * std)):
        np.testing.assert_allclose(found[name].values, values, rtol=1e-3, atol=1e-4)
    alone = collect(pocket, "car", cars[:1])
    assert alone["activation_std"].isnull().all()
    with pytest.raises(BadArgument, match="evidence: got '1 scenes', expected two or more"):
        activation_ranges(alone)
    with pytest.raises(BadArgument, match="a study without activation_std"):
        activation_ranges(evidence.drop_vars("activation_std"))
    with pytest.raises(BadArgument, match="spread: got -1"):
        activation_ranges(evidence, spread=-1)


@pytest.mark.parametrize("positions", ["image", "all"])
@pytest.mark.parametrize(("reduce", "difference"), [("max", "signed"), ("mean", "absolute")])
def test_positions_and_reductions(
    pocket: Any, cars: Any, plain: Any, positions: str, reduce: str, difference: str
) -> None:
    found = collect(
        pocket, "car", cars, positions=positions, reduce=reduce, difference=difference,
        target="logit",
    )  # fmt: skip

    def over(value: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        image = ids == pocket.hf.config.image_token_index
        chosen = value[image] if positions == "image" else value
        return chosen.amax(0) if reduce == "max" else chosen.mean(0)

    stage_1, stage_2 = [], []
    for one in plain:
        ids = one.original["input_ids"][0]
        pairs = zip(one.values(one.original), one.values(one.inpainted), strict=True)
        d = [a - b for a, b in pairs]
        d = [value.abs() for value in d] if difference == "absolute" else d
        stage_1.append(torch.stack([over(value, ids) for value in d]))
        g = one.gradient_x_activation("logit")
        stage_2.append(torch.stack([over(value, ids) for value in g]))
    _close(found["difference"], stage_1)
    _close(found["gradcam"], stage_2)
    assert found.attrs["units"] == "logit"


def test_the_gradient_sum_predicts_what_scaling_does(
    pocket: Any, evidence: Any, plain: Any
) -> None:
    row, index = np.unravel_index(
        np.argmax(np.abs(evidence["gradient_sum"].values)), evidence["gradient_sum"].shape
    )

    def log_prob(one: Plain, factor: float) -> float:
        def scale(activation: torch.Tensor) -> torch.Tensor:
            changed = activation.clone()
            changed[..., index] *= factor
            return changed

        handle = pocket.sites[row].hook(scale)
        with torch.no_grad():
            logits = pocket.hf(**one.original).logits[0, -1].double()
        handle.remove()
        return float(torch.log_softmax(logits, -1)[one.token])

    step = 0.02
    slopes = [(log_prob(o, 1 + step) - log_prob(o, 1 - step)) / (2 * step) for o in plain]
    assert float(evidence["gradient_sum"][row, index]) == pytest.approx(np.mean(slopes), rel=0.05)


def test_the_batch_does_not_matter_nor_what_is_ablated(
    pocket: Any, cars: Any, evidence: Any
) -> None:
    with pocket.ablate({4: range(512)}):
        alone = collect(pocket, "car", cars, batch_size=1)
    for name in ("difference", "gradcam", "gradient_sum"):
        scale = float(np.abs(evidence[name]).max())
        np.testing.assert_allclose(alone[name], evidence[name], rtol=1e-3, atol=1e-5 * scale)


def test_each_scene_says_what_was_predicted(
    pocket: Any, cars: Any, evidence: Any, plain: Any
) -> None:
    assert evidence["scene"].values.tolist() == [str(scene.id) for scene in cars]
    assert evidence["caption"].values.tolist() == pocket.caption([s.image for s in cars])
    assert set(evidence["token_text"].values.tolist()) == {"car"}
    for place, one in enumerate(plain):
        for name, inputs in (("log_prob", one.original), ("log_prob_inpainted", one.inpainted)):
            with torch.no_grad():
                wanted = torch.log_softmax(pocket.hf(**inputs).logits[0, -1], -1)[one.token]
            assert float(evidence[name][place]) == pytest.approx(float(wanted), rel=1e-3, abs=1e-5)
    made = json.loads(evidence.attrs["provenance"])
    assert made["arguments"]["positions"] == "predicting"
    assert made["arguments"]["weights"] == pocket.weights_hash
    assert json.loads(evidence.attrs["tokens"]) == {"car": ["car"]}


def _relabelled(scene: Any, name: str) -> Scene:
    mask = scene.mask("car")
    return Scene(
        scene.id, scene.image, scene.captions, [ObjectInstance(name, mask, (0, 0, 1, 1))]
    )  # fmt: skip


def test_a_concept_of_several_tokens(pocket: Any, cars: Any, plain: Any) -> None:
    scene = cars[0]
    ids = pocket.generate(pocket.prepare(scene.image)).token_ids[0]
    words = [pocket.decode([i]) for i in ids]
    place = words.index("car")
    name = f"{words[place - 1]} car"
    marked = _relabelled(scene, name)
    first = collect(pocket, name, [marked])
    both = collect(pocket, name, [marked], tokens="all")
    prepared = pocket.prepare([scene.image], continuation=[ids[:place]])
    with torch.no_grad():
        logits = torch.log_softmax(pocket.hf(**prepared.inputs).logits[0, -2:], -1)
    each = [float(logits[n, ids[place - 1 + n]]) for n in range(2)]
    assert first["token_text"].values.tolist() == [words[place - 1]]
    assert float(first["log_prob"][0]) == pytest.approx(each[0], rel=1e-3, abs=1e-5)
    assert float(both["log_prob"][0]) == pytest.approx(sum(each), rel=1e-3, abs=1e-5)
    assert not np.allclose(first["gradcam"], both["gradcam"])
    head = pocket.hf.lm_head.weight.detach()
    values = zip(plain[0].values(prepared.inputs), pocket.sites, strict=True)
    by_hand = [  # each token with the activations at the position that predicts it
        sum(
            value[n - 2] * (head[ids[place - 1 + n]] @ site.module.weight.detach())
            for n in range(2)
        )
        for value, site in values
    ]
    _close(both["contribution"], [torch.stack(by_hand)])


def test_reference_captions_are_forced_where_asked(pocket: Any, cars: Any) -> None:
    caption = next(c for c in cars[0].captions if c != pocket.caption(cars[0].image))
    scene = Scene(cars[0].id, cars[0].image, [caption], cars[0].objects)
    found = collect(pocket, "car", [scene], caption="reference")
    assert found["caption"].values.tolist() == [pocket.decode(pocket.tokenizer(caption).input_ids)]


def test_scenes_whose_caption_lacks_the_word_are_told_and_left_out(pocket: Any, cars: Any) -> None:
    mask = np.zeros((96, 96), bool)
    mask[40:60, 40:60] = True
    blank = Scene(
        "blank",
        Image.new("RGB", (96, 96), (90, 160, 90)),
        [],
        [ObjectInstance("car", mask, (0,) * 4)],
    )
    found = collect(pocket, "car", [cars[0], blank])
    assert found["scene"].values.tolist() == [str(cars[0].id)]
    assert "does not name it" in json.loads(found.attrs["skipped"])["blank"]
    with pytest.raises(BadArgument, match=r"concept: got 'car'.*nearest words.*reference"):
        collect(pocket, "car", [blank])


def test_what_is_wrong_is_said_before_anything_runs(pocket: Any, cars: Any) -> None:
    for argument in ("positions", "reduce", "difference", "target", "tokens"):
        with pytest.raises(BadArgument, match=f"{argument}: got 'x'"):
            collect(pocket, "car", cars, **{argument: "x"})
    with pytest.raises(BadArgument, match="scenes"):
        collect(pocket, "car", [])
    with pytest.raises(BadArgument, match="nearest of its words"):
        collect(pocket, "carr", cars)
    with pytest.raises(BadArgument, match="an object of scene"):
        collect(pocket, "bus", [Scene("x", cars[0].image, [], cars[0].objects[:0])])
    other = ObjectInstance("car", np.ones((5, 5), bool), (0,) * 4)
    with pytest.raises(BadArgument, match="mask: got '5 x 5 pixels'"):
        collect(pocket, "car", [Scene("x", cars[0].image, [], [other])])
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        collect(pocket, "car", cars, cancel=token)


def test_progress_ends_at_the_number_of_scenes(pocket: Any, cars: Any) -> None:
    said: list[tuple[str, int, int]] = []
    collect(pocket, Concept("car"), cars, progress=lambda *a: said.append(a), batch_size=2)
    assert said[-1][1:] == (len(cars), len(cars))
    assert [done for _, done, _ in said] == sorted(done for _, done, _ in said)


def test_the_signed_study_matches_the_paper_where_all_look_alike(pocket: Any, cars: Any) -> None:
    signed = collect(pocket, "car", cars, difference="signed")
    absolute = collect(pocket, "car", cars)
    assert bool((np.abs(signed["difference"]) <= absolute["difference"] + 1e-5).all())
    assert mmkn.attribution.two_stage(signed, threshold_d=0.0).provenance["method"] == "two_stage"


def test_an_encoder_predicts_no_word(cars: Any) -> None:
    encoder = SimpleNamespace(is_encoder_decoder=True, stack="encoder")
    with pytest.raises(BadArgument, match="positions: got 'predicting'.*stack='decoder'"):
        collect(encoder, "car", cars)
    with pytest.raises(NotSupported, match="stack='decoder'"):
        integrated_gradients(encoder, "car", cars)
