"""Name an inpainter; use it in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..core import bad_argument
from ..datasets import Scene
from .base import Inpainter
from .simple import ExactInpainter, FunctionInpainter, OpenCVInpainter

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["get_inpainter", "inpaint"]

_WANTED = "'telea', 'ns', 'exact', 'diffusers:NAME_OR_FOLDER', an inpainter or a function"


def get_inpainter(which: str | Inpainter | Callable[..., Any], **options: Any) -> Inpainter:
    """Return an inpainter by name.

    Parameters
    ----------
    which : str, Inpainter or callable
        ``"telea"`` or ``"ns"`` (OpenCV), ``"exact"`` (the pocket world's redraw),
        ``"diffusers:NAME_OR_FOLDER"`` (any inpainting pipeline), an inpainter (returned as it
        is), or a function of image, mask and, if it takes three arguments, scene.
    **options
        Passed to the inpainter's class: `OpenCVInpainter`, `DiffusersInpainter`.

    Returns
    -------
    Inpainter

    Raises
    ------
    BadArgument
        If there is none of that name, or it has no such option.

    Examples
    --------
    >>> get_inpainter("ns", radius=5.0).parameters["radius"]
    5.0
    """
    kind, _, rest = which.partition(":") if isinstance(which, str) else ("", "", "")
    try:
        if kind in ("telea", "ns") and not rest:
            return OpenCVInpainter("ns" if kind == "ns" else "telea", **options)
        if kind == "exact" and not rest:
            return ExactInpainter(**options)
        if kind == "diffusers" and rest:
            from .diffusion import DiffusersInpainter

            return DiffusersInpainter(rest, **options)
        if isinstance(which, Inpainter) and not options:
            return which
        if callable(which) and not isinstance(which, type) and not options:
            return FunctionInpainter(which)
    except TypeError as error:
        raise bad_argument("options", options, f"what {which!r} takes ({error})") from error
    if options and not isinstance(which, str):
        raise bad_argument("options", options, "none: they go with an inpainter's name")
    raise bad_argument("inpainter", which, _WANTED)


def inpaint(
    image: Any,
    mask: Any = None,
    inpainter: str | Inpainter | Callable[..., Any] = "telea",
    *,
    concept: str | None = None,
    **options: Any,
) -> Image:
    """Return a picture without an object.

    Parameters
    ----------
    image : Scene or anything `mmkn_widgets.datasets.read_image` reads
    mask : anything `mmkn_widgets.datasets.read_mask` reads, optional
        Left out when `image` is a scene and `concept` is given: then the masks of all instances
        of that category are removed together.
    inpainter : str, Inpainter or callable
        See `get_inpainter`.
    concept : str, optional
        A category of the scene.
    **options
        See `get_inpainter`.

    Returns
    -------
    PIL.Image.Image

    Raises
    ------
    BadArgument
        If there is no mask, or it is empty, of another size, or of the whole picture.

    Examples
    --------
    >>> from mmkn_widgets.datasets import pocket_world
    >>> scene = pocket_world("val", 1)[0]
    >>> inpaint(scene, concept=scene.categories[0]).size
    (96, 96)
    """
    scene = image if isinstance(image, Scene) else None
    if mask is None and concept is not None:
        if scene is None:
            raise bad_argument("concept", concept, "a scene to look it up in; give a mask instead")
        mask = scene.mask(concept)
    return get_inpainter(inpainter, **options)(image, mask, scene)
