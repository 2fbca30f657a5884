"""A study before its scores: one picture, on which the concept is still to be marked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from .._provenance import provenance
from ..attribution import as_concept
from ..inpainting import get_inpainter
from .pairs import PairCache
from .study import Study

if TYPE_CHECKING:
    from ..attribution import Concept
    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = ["blank_study"]

#: what `collect` computes for every neuron, here not computed yet
_SCORES = ("difference", "gradcam", "gradient_sum", "contribution", "activation")


def blank_study(
    model: MultimodalModel, concept: str | Concept, scene: Scene, *, inpainter: Any = "telea"
) -> Study:
    """Return a study that has a picture and no scores; every neuron's are 0, and none is kept.

    The Explorer starts from it when nobody has said yet where on the picture the object is: the
    picture is captioned and painted on, then the real study takes its place.

    Parameters
    ----------
    model : MultimodalModel
    concept : str or Concept
    scene : Scene
        Any picture; needs no mask.
    inpainter : str or Inpainter
        What will paint the object away.

    Returns
    -------
    Study
        ``scored`` is empty.

    Raises
    ------
    BadArgument
        If the tokenizer does not know the concept.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> from mmkn_widgets.datasets import Scene
    >>> picture = mmkn.datasets.pocket_world("val", 1)[0].image
    >>> study = blank_study(mmkn.load_model("pocket"), "car", Scene("mine", picture))
    >>> len(study.scored), len(study.neurons())
    (0, 0)
    """
    import xarray as xr

    wanted = as_concept(concept)
    if model.tokenizer is not None:
        wanted.token_ids(model.tokenizer)
    nothing = np.zeros((len(model.sites), model.n_neurons), np.float32)
    evidence = xr.Dataset(
        {name: (("layer", "neuron"), nothing.copy()) for name in _SCORES},
        coords={
            "layer": [site.layer for site in model.sites],
            "expert": ("layer", [site.expert for site in model.sites]),
            "neuron": np.arange(model.n_neurons),
        },
        attrs={
            "concept": wanted.word,
            "model": model.name,
            "provenance": json.dumps(
                provenance("blank", model=model.name, weights=model.weights_hash)
            ),
        },
    )
    options = {
        "positions": "predicting",
        "reduce": "max",
        "difference": "absolute",
        "target": "log_prob",
        "caption": "greedy",
        "prompt": None,
    }
    pairs = PairCache(get_inpainter(inpainter))
    return Study(model, wanted, [scene], evidence, pairs=pairs, options=options, n_scored=0)
