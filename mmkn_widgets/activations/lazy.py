"""Many pictures' zarr arrays seen as one array that reads only what is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from .._errors import BadArgument

__all__ = ["ImageStack"]


class ImageStack(BackendArray):
    """An array (image, layer, token, neuron) over one zarr array per picture.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        Arrays of dims (layer, token, neuron); tokens may differ and are padded with 0.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        import zarr

        self._arrays = [zarr.open_array(str(path), mode="r") for path in paths]
        self.shapes = [tuple(array.shape) for array in self._arrays]
        layers, _, neurons = self.shapes[0]
        longest = max(shape[1] for shape in self.shapes)
        self.shape = (len(paths), layers, longest, neurons)
        self.dtype = np.dtype(self._arrays[0].dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        image, layer, token, neuron = (
            np.asarray([k]) if np.ndim(k) == 0 and not isinstance(k, slice) else k for k in key
        )
        images = np.arange(self.shape[0])[image]
        layers = np.arange(self.shape[1])[layer]
        tokens = np.arange(self.shape[2])[token]
        neurons = np.arange(self.shape[3])[neuron]
        found = np.zeros((len(images), len(layers), len(tokens), len(neurons)), self.dtype)
        for place, number in enumerate(images):
            there = tokens < self.shapes[number][1]
            for row, one in enumerate(layers):
                try:
                    values = np.asarray(self._arrays[number][int(one)])
                except (ValueError, RuntimeError, OSError) as error:
                    raise BadArgument(
                        f"path: picture {number}, layer {int(one)} is damaged ({error}); capture "
                        "it again"
                    ) from error
                found[place, row, there] = values[tokens[there]][:, neurons]
        squeeze = tuple(
            axis for axis, k in enumerate(key) if not isinstance(k, slice) and np.ndim(k) == 0
        )
        return found.squeeze(squeeze) if squeeze else found
