"""What an intervention should do to a score, to first order, beside what it did."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import bad_argument

__all__ = ["predicted_change", "predicted_change_of", "predicted_from_sum"]


def predicted_change(original: np.ndarray, changed: np.ndarray, gradient: np.ndarray) -> float:
    """Return the first-order change of y when activations go from O to O'.

    Parameters
    ----------
    original, changed : numpy.ndarray
        Activations O and O', same shape, such as (layer, token, neuron).
    gradient : numpy.ndarray
        dy/dO at the original, same shape.

    Returns
    -------
    float
        ``sum (O' - O) * dy/dO``, in the units of y.

    Examples
    --------
    >>> predicted_change(np.array([2.0, 1.0]), np.array([0.0, 1.0]), np.array([0.5, 9.0]))
    -1.0
    """
    shapes = {np.shape(original), np.shape(changed), np.shape(gradient)}
    if len(shapes) != 1:
        raise bad_argument("changed", sorted(shapes), "three arrays of one shape")
    difference = np.asarray(changed, np.float64) - np.asarray(original, np.float64)
    return float((difference * np.asarray(gradient, np.float64)).sum())


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


def predicted_change_of(model: Any, evidence: Any, neurons: Any, scale: float = 0.0) -> float:
    """Return what scaling a neuron set should do to the concept's score.

    Parameters
    ----------
    model : MultimodalModel
        Its sites give the array's rows.
    evidence : xarray.Dataset
        With the variable ``gradient_sum`` over (layer, neuron), as `collect` makes it.
    neurons : NeuronSet, boolean array, mapping or pairs
        The neurons.
    scale : float
        The factor; 0 silences.

    Returns
    -------
    float
        In the units of the evidence's target (log-probability or logit), per pair.
    """
    from ..core.neurons import array_over_neurons, neuron_rows

    if "gradient_sum" not in evidence:
        raise bad_argument("evidence", list(evidence), "evidence with the variable 'gradient_sum'")
    sums = array_over_neurons(model, evidence["gradient_sum"], "evidence")
    chosen = np.zeros(sums.shape, dtype=bool)
    for row, index in neuron_rows(model, neurons).items():
        chosen[row, index] = True
    return predicted_from_sum(sums, chosen, scale)
