"""One pass over original and inpainted pictures: every score of every neuron."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..activations import Prediction, predictions
from ..core import (
    CancelToken,
    Concept,
    Progress,
    as_concept,
    bad_argument,
    neuron_coords,
    provenance,
)
from ..inpainting import get_inpainter
from ..models import BatchSize
from .controls import exists
from .direct import unaccounted
from .scoring import (
    Options,
    Sums,
    batches,
    fitting_batch,
    in_encoder,
    pairs_described,
    run_batch,
)

if TYPE_CHECKING:
    import xarray as xr

    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = ["collect", "has_scene_mask", "predicted_from_sum", "scene_mask"]


def has_scene_mask(scene: Scene, concept: Concept) -> bool:
    """Return whether every object that a concept names has a mask, and there is one.

    A scene may show the concept without: its data set then knows a box, or a name only.
    """
    named = [c for c in scene.categories if concept.named_in(c)]
    return bool(named) and set(named) <= set(scene.masked)


def scene_mask(scene: Scene, concept: Concept) -> np.ndarray:
    """Return the union of the masks of every object that a concept names, bool (height, width).

    Raises
    ------
    BadArgument
        If no object of the scene carries the concept's name, one that does has no mask, the mask
        is empty, or it has another size than the picture.
    """
    named = [c for c in scene.categories if concept.named_in(c)]
    if not named:
        here = ", ".join(scene.categories) or "no annotated object"
        raise bad_argument("concept", concept.word, f"an object of scene {scene.id!r}: {here}")
    mask: np.ndarray = np.logical_or.reduce([scene.mask(category) for category in named])
    if not mask.any():
        raise bad_argument("mask", f"an empty mask of scene {scene.id!r}", "some marked pixels")
    if mask.shape != scene.image.size[::-1]:
        raise bad_argument(
            "mask",
            f"{mask.shape[1]} x {mask.shape[0]} pixels",
            f"the picture's size, {scene.image.width} x {scene.image.height}",
        )
    return mask


def collect(
    model: MultimodalModel,
    concept: str | Concept,
    scenes: Sequence[Scene],
    *,
    inpainter: Any = "telea",
    positions: str = "predicting",
    reduce: str = "max",
    difference: str = "absolute",
    target: str = "log_prob",
    tokens: str = "first",
    caption: str = "greedy",
    prompt: str | None = None,
    batch_size: int | None = None,
    keep_pairs: bool = False,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> xr.Dataset:
    """Score every neuron for a concept.

    Parameters
    ----------
    model : MultimodalModel
    concept : str or Concept
    scenes : sequence of Scene
        That show the concept.
    inpainter : str or callable
        See `mmkn_widgets.inpainting.get_inpainter`.
    positions : {"predicting", "image", "all"}
        Positions p over which both stages look for activations.
    reduce : {"max", "mean"}
        Over positions, within each pair; then the mean over pairs.
    difference : {"absolute", "signed"}
    target : {"log_prob", "logit"}
        y, the score of the concept at the predicting position.
    tokens : {"first", "all"}
        A concept of several tokens: y is the score of the first, or the sum over all of them, each
        at the position that predicts it (which are then the predicting positions).
    caption : {"greedy", "reference"}
        See `predictions`.
    prompt : str, optional
    batch_size : int, optional
        Pairs per pass; by default as many as fit, at most 16.
    keep_pairs : bool
        Also keep ``pair_difference`` and ``pair_gradcam`` (scene, layer, neuron), which the
        permutation test needs.
    progress, cancel : optional

    Returns
    -------
    xarray.Dataset
        float32 variables of dims (layer, neuron), NaN where a layer is narrower: ``difference``
        (stage 1), ``gradcam`` (stage 2, reduced activation x gradient), ``gradient_sum`` (sum over
        all positions of activation x gradient), ``attribution_patching`` (sum over all positions
        of (original - inpainted activation) x gradient: the drop of y to first order when the
        neuron alone has the inpainted picture's activation), ``contribution`` (equation of Pan et
        al., see Notes), ``activation`` and ``activation_std`` (mean at the predicting position, and
        its standard deviation over pairs, n - 1; NaN of a single one). Per ``scene`` that was used:
        ``log_prob`` and ``log_prob_inpainted`` of the concept, ``caption``, ``token``,
        ``token_text``.
        Attributes: concept, tokens, skipped scenes, inpainter, provenance.

    Raises
    ------
    BadArgument
        If a scene lacks the concept or its mask, or no caption names it.

    Notes
    -----
    ``contribution`` is what a neuron adds along the word's row of the unembedding where the word is
    predicted: in logits before the final norm, whose gains and scale are left out, as in the paper.
    Behind a norm that follows the FFN (Gemma's ``post_feedforward_layernorm``) or a constant scale
    it is counted as that leaves it, with the norm's scale at this token held: the scores of a layer
    sum to what its FFN adds to the residual stream along the word, less the biases, as the stream
    arrives at the final norm (Gemma 4 scales it layer by layer). What else lies
    there (a router, a gate, a norm over the whole stream) is not counted; the variable's attribute
    ``leaves_out`` names it by layer, as JSON.

    References
    ----------
    .. [1] Sato and Takagi 2025, arXiv 2503.22941, section 3.
    .. [2] Pan et al. 2024, arXiv 2311.07470, equation 4.
    .. [3] Kramar et al. 2024, "AtP*", arXiv 2403.00745, equation 4 (attribution patching).

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> scenes = mmkn.datasets.pocket_world("val").with_concept("car", 2)
    >>> evidence = collect(model, "car", scenes)
    >>> evidence["gradcam"].dims, evidence["token_text"].values.tolist()
    (('layer', 'neuron'), ['car', 'car'])
    """
    options = Options(positions, reduce, difference, target, tokens, prompt)
    if positions == "predicting" and in_encoder(model):
        raise bad_argument(
            "positions",
            positions,
            "'image' or 'all' for an encoder, which predicts no word; or a model loaded with "
            "stack='decoder'",
        )
    wanted = as_concept(concept)
    chosen = list(scenes)
    if not chosen:
        raise bad_argument("scenes", [], f"at least one scene that shows {wanted.word!r}")
    if model.tokenizer is not None:
        wanted.token_ids(model.tokenizer)
    for scene in chosen:  # what is wrong with a mask is said before the work; none is kept
        scene_mask(scene, wanted)
    painter = get_inpainter(inpainter)
    sums = Sums(model, keep_pairs)
    with model.interventions.suspended():
        if batch_size is None:
            first = model.prepare([chosen[0].image], prompt)
            batch_size = fitting_batch(model, first.n_tokens + 16)
        found, skipped = predictions(
            model, wanted, chosen,
            caption=caption, prompt=prompt, batch_size=batch_size, cancel=cancel,
        )  # fmt: skip

        def run(pairs: Sequence[tuple[Prediction, Any]]) -> None:
            batch = [one for one, _ in pairs]
            originals = [chosen[one.scene].image for one in batch]
            run_batch(model, batch, originals, [gone for _, gone in pairs], options, sums)

        fitting = BatchSize(batch_size, "pairs")
        for batch in batches(found, batch_size):
            if cancel is not None:
                cancel.raise_if_cancelled()
            here = [chosen[p.scene] for p in batch]
            shown = [scene.image for scene in here]
            gone = painter.batch(shown, [scene_mask(scene, wanted) for scene in here], here)
            for _ in fitting.over(list(zip(batch, gone, strict=True)), run):
                if cancel is not None:
                    cancel.raise_if_cancelled()
                if progress is not None:
                    progress(f"scoring neurons for {wanted.word}", len(sums.order), len(found))
    made = _labelled(model, chosen, found, sums)
    made["contribution"].attrs["leaves_out"] = json.dumps(unaccounted(model))
    made.attrs.update(
        concept=wanted.word,
        model=model.name,
        tokens=json.dumps(wanted.tokenisation(model.tokenizer) if model.tokenizer else {}),
        skipped=json.dumps(skipped),
        inpainter=str(painter.name),
        target=target,
        units="nats" if target == "log_prob" else "logit",
        provenance=json.dumps(
            provenance(
                "collect",
                **pairs_described(model, wanted, chosen, painter),
                positions=positions,
                reduce=reduce,
                difference=difference,
                target=target,
                tokens=tokens,
                caption=caption,
                prompt=prompt,
            )
        ),
    )
    return made


def _labelled(
    model: MultimodalModel,
    scenes: Sequence[Scene],
    found: Sequence[Prediction],
    sums: Sums,
) -> xr.Dataset:
    import xarray as xr

    data, pairs = sums.means(), sums.each()
    outside = ~exists(model)
    for values in (*data.values(), *pairs.values()):
        values[..., outside] = np.nan
    order = np.argsort(sums.order)
    written = [model.decode([one.token]) for one in found]
    return xr.Dataset(
        {
            **{name: (("layer", "neuron"), values) for name, values in data.items()},
            **{name: (("scene", "layer", "neuron"), values) for name, values in pairs.items()},
            "log_prob": ("scene", np.asarray(sums.log_prob, np.float32)[order]),
            "log_prob_inpainted": ("scene", np.asarray(sums.log_prob_inpainted, np.float32)[order]),
        },
        coords={
            **neuron_coords(model),
            "scene": [str(scenes[one.scene].id) for one in found],
            "caption": ("scene", np.asarray([one.caption for one in found], dtype=str)),
            "token": ("scene", np.asarray([one.token for one in found], np.int64)),
            "token_text": ("scene", np.asarray(written, dtype=str)),
        },
    )


def predicted_from_sum(gradient_sum: np.ndarray, chosen: np.ndarray, scale: float = 0.0) -> float:
    """Return the first-order change of y when chosen neurons are scaled at all positions.

    Parameters
    ----------
    gradient_sum : numpy.ndarray, shape (layer, neuron)
        ``sum_p O * dy/dO``: activation times gradient, summed over positions.
    chosen : numpy.ndarray of bool, shape (layer, neuron)
        The neurons.
    scale : float
        The factor; 0 is zeroing, for which the change is ``-sum_p g``.

    Returns
    -------
    float
        ``(scale - 1) * sum g``, in the units of y.

    Examples
    --------
    >>> predicted_from_sum(np.array([[0.5, 2.0]]), np.array([[True, False]]))
    -0.5
    """
    sums, mask = np.asarray(gradient_sum, np.float64), np.asarray(chosen)
    if mask.dtype != np.bool_ or mask.shape != sums.shape:
        raise bad_argument(
            "chosen", f"{mask.dtype} of shape {mask.shape}", f"bool of shape {sums.shape}"
        )
    return float((scale - 1.0) * sums[mask].sum())
