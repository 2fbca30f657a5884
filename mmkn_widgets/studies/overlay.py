"""The paper's heatmap figure: the neurons' mean activation laid over the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..attribution import NeuronSet
    from .study import Study

__all__ = ["colorize", "overlay"]

_SIDE = 384


def colorize(values: np.ndarray, cmap: str = "inferno") -> np.ndarray:
    """Map values to colours, minimum to maximum.

    Parameters
    ----------
    values : numpy.ndarray, shape (height, width)
    cmap : str
        A matplotlib colour map; the default is perceptually uniform.

    Returns
    -------
    numpy.ndarray of uint8, shape (height, width, 3)
    """
    from matplotlib import colormaps

    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return (colormaps[cmap](scaled)[..., :3] * 255).round().astype(np.uint8)


def overlay(
    study: Study,
    neurons: NeuronSet,
    scene: int = 0,
    *,
    signed: bool = True,
    opacity: float = 0.5,
    cmap: str = "inferno",
) -> Image:
    """Draw the picture, the picture without the concept, and the heatmap, side by side.

    Parameters
    ----------
    study : Study
    neurons : NeuronSet
        Their mean activation is painted; at least one.
    scene : int
        Which of the study's scenes.
    signed : bool
        Weight each neuron by the sign of its activation at the predicting position.
    opacity : float
        Of the heatmap, 0 to 1; the paper uses 0.5.
    cmap : str

    Returns
    -------
    PIL.Image.Image
        Three panels, each at least 384 pixels wide.

    References
    ----------
    .. [1] Pan et al. 2024, arXiv 2311.07470, figure 1 (bilinear, minimum to maximum, 50 % alpha).
    """
    from PIL import Image as Images

    original, inpainted = study.pictures(scene)
    scale = max(1.0, _SIDE / original.width)
    size = (round(original.width * scale), round(original.height * scale))
    mean = study.maps(neurons.rows(study.model), neurons.index, scene=scene, signed=signed).mean(0)
    smooth = Images.fromarray(mean.astype(np.float32), mode="F").resize(
        size, Images.Resampling.BILINEAR
    )
    heat = Images.fromarray(colorize(np.asarray(smooth), cmap))
    shown = original.convert("RGB").resize(size, Images.Resampling.LANCZOS)
    gone = inpainted.convert("RGB").resize(size, Images.Resampling.LANCZOS)
    sheet = Images.new("RGB", (size[0] * 3 + 16, size[1]), "white")
    for place, panel in enumerate((shown, gone, Images.blend(shown, heat, opacity))):
        sheet.paste(panel, (place * (size[0] + 8), 0))
    return sheet
