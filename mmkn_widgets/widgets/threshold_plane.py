"""Every neuron in the plane of both scores."""

from __future__ import annotations

from typing import Any, ClassVar

from ._base import bundle
from ._scored import Scored

__all__ = ["ThresholdPlane"]


class ThresholdPlane(Scored):
    """Every neuron in the plane of both scores, with a corner to drag.

    Parameters
    ----------
    scores : Study, store, xarray.Dataset, DataArray or pair of arrays (layer, neuron)
        ``difference`` and ``gradcam``; of a captured store its largest activations at image and
        at text tokens; one score DataArray serves both axes.
    threshold_d, threshold_g : float, optional
        Start values; traits afterwards.

    Examples
    --------
    >>> import numpy as np
    >>> plane = ThresholdPlane((np.eye(3), np.eye(3)), 0.5, 0.5)
    >>> plane.neurons
    [(0, 0), (1, 1), (2, 2)]
    """

    _esm: ClassVar[Any] = bundle("threshold_plane")
