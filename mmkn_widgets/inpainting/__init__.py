"""Paint an object away: OpenCV, any diffusers pipeline, the pocket world's exact redraw."""

from .base import Inpainter
from .cache import default_folder as default_folder
from .choose import get_inpainter, inpaint
from .diffusion import DiffusersInpainter
from .figure import pair_figure
from .simple import ExactInpainter, FunctionInpainter, OpenCVInpainter

__all__ = [
    "DiffusersInpainter",
    "ExactInpainter",
    "FunctionInpainter",
    "Inpainter",
    "OpenCVInpainter",
    "get_inpainter",
    "inpaint",
    "pair_figure",
]
