"""Where a neuron's activation lies while the model is about to say a word."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..core import bad_argument, provenance, real_number

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["activation_ranges"]


def activation_ranges(evidence: xr.Dataset, *, spread: float = 2.5) -> xr.Dataset:
    """Return every neuron's range of activation where a word is predicted.

    Parameters
    ----------
    evidence : xarray.Dataset
        From `collect`, of two or more scenes: its ``activation`` and ``activation_std``.
    spread : float
        Standard deviations on either side of the mean.

    Returns
    -------
    xarray.Dataset
        float32 over (layer, neuron): ``low`` and ``high``, NaN where a layer is narrower. What
        ``model.ablate(neurons, "range", reference=...)`` takes.

    Raises
    ------
    BadArgument
        If the evidence is of fewer than two scenes, or of a study saved before this was there.

    References
    ----------
    .. [1] Haider et al. 2025, "Neurons speak in ranges", arXiv 2502.06809.

    Examples
    --------
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val")
    >>> study = mmkn.study(model, "car", val.with_concept("car", 4))
    >>> found = activation_ranges(study.evidence)
    >>> found["low"].dims, bool((found["low"] <= found["high"]).all())
    (('layer', 'neuron'), True)
    """
    import xarray as xr

    spread = real_number("spread", spread, lowest=0)
    if "activation_std" not in evidence:
        raise bad_argument("evidence", "a study without activation_std", "one made anew")
    n = evidence.sizes["scene"]
    if n < 2:
        raise bad_argument("evidence", f"{n} scenes", "two or more whose caption names the concept")
    mean, wide = evidence["activation"], spread * evidence["activation_std"]
    made = provenance("activation_ranges", spread=spread, evidence=evidence.attrs["provenance"])
    return xr.Dataset(
        {"low": mean - wide, "high": mean + wide},
        attrs={"concept": evidence.attrs["concept"], "provenance": json.dumps(made)},
    )
