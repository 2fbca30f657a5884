"""The truth to compare with: the measured effect of every single pocket neuron on every concept.

It ships with the pocket model, made by ``make atlas`` (see `make_atlas`); `judge` holds methods
against it.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core import bad_argument

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SCALE", "open_atlas"]

#: single effects are stored in half precision, in thousandths, where its steps are fine enough
SCALE = 1000.0


def open_atlas(path: str | Path | None = None) -> xr.Dataset:
    """Open the atlas that ships with the pocket model.

    Parameters
    ----------
    path : str or pathlib.Path, optional
        Another ``atlas.npz``.

    Returns
    -------
    xarray.Dataset
        ``single`` (concept, layer, neuron): fall of the log-probability in nats when that neuron
        alone is zeroed; ``error``: the standard error of that mean over scenes, to 3%.
        ``joint`` (concept, rank, place): layer and neuron in the order of greedy
        selection. ``course`` (concept, rank, figure): with these off, the mean log-probability and
        the share of scenes that still say the word. ``scenes`` (concept).

    Raises
    ------
    BadArgument
        If there is no atlas file; ``make atlas`` measures one.

    Examples
    --------
    >>> from mmkn_widgets.studies import open_atlas
    >>> open_atlas()["single"].sel(concept="car").dims
    ('layer', 'neuron')
    """
    from ..pocket import path as pocket_path

    source = Path(path) if path is not None else Path(pocket_path()).parent / "atlas.npz"
    if not source.is_file():
        raise bad_argument("path", str(source), "an atlas.npz; `make atlas` measures one")
    try:
        return _read(source)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise bad_argument(
            "path", str(source), f"a whole atlas.npz, not a damaged one ({error}); `make atlas`"
        ) from error


def _read(source: Path) -> xr.Dataset:
    import xarray as xr

    # opened here: of a damaged archive np.load leaves its own file open
    with source.open("rb") as file, np.load(file, allow_pickle=False) as held:
        return xr.Dataset(
            {
                "single": (("concept", "layer", "neuron"), held["single"] / np.float32(SCALE)),
                "error": (("concept", "layer", "neuron"), held["error"] / np.float32(SCALE)),
                "joint": (("concept", "rank", "place"), held["joint"].astype(np.int64)),
                "course": (("concept", "rank", "figure"), held["course"]),
                "scenes": ("concept", held["scenes"]),
            },
            coords={
                "concept": held["concept"],
                "place": ["layer", "neuron"],
                "figure": ["log_prob", "said"],
            },
            attrs=json.loads(str(held["about"])),
        )
