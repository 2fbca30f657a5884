"""Plain ipywidgets controls, for `interact` and for dashboards of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import bad_argument

__all__ = ["threshold_controls"]


def threshold_controls(study: Any, *, steps: int = 200) -> dict[str, Any]:
    """Return two sliders over a study's score ranges, by the names of their arguments.

    Parameters
    ----------
    study : Study or xarray.Dataset
        With ``difference`` and ``gradcam`` of dims (layer, neuron).
    steps : int
        Positions of each slider.

    Returns
    -------
    dict of str to ipywidgets.FloatSlider
        ``threshold_d`` and ``threshold_g``, to unpack into ``ipywidgets.interact`` (or
        ``interactive_output``); they start at the 95th percentiles.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> scores = np.linspace(0, 1, 12, dtype="float32").reshape(2, 6)
    >>> evidence = xr.Dataset({n: (("layer", "neuron"), scores) for n in ("difference", "gradcam")})
    >>> sorted(threshold_controls(evidence))
    ['threshold_d', 'threshold_g']
    """
    import ipywidgets

    if steps < 2:
        raise bad_argument("steps", steps, "at least 2")
    evidence = getattr(study, "evidence", study)
    sliders = {}
    for name, variable, label in (
        ("threshold_d", "difference", "difference"),
        ("threshold_g", "gradcam", "GradCAM"),
    ):
        values = np.asarray(evidence[variable].values, float)
        values = values[np.isfinite(values)]
        low, high = min(0.0, float(values.min())), float(values.max())
        sliders[name] = ipywidgets.FloatSlider(
            value=float(np.quantile(values, 0.95)),
            min=low,
            max=high if high > low else low + 1.0,
            step=(high - low) / steps or 1.0 / steps,
            description=label,
            readout_format=".3g",
            continuous_update=True,
        )
    return sliders
