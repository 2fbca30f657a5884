"""One neuron's values over all tokens, read from a store of the size of one 7B image."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

from mmkn_widgets.activations import open_store, save

from .profile import of_python
from .report import Row, milliseconds

LAYERS, TOKENS, NEURONS = 32, 600, 11008


def measure() -> list[Row]:
    values = np.random.default_rng(0).random((LAYERS, TOKENS, NEURONS), np.float32)
    store = xr.Dataset(
        {"activation": (("layer", "token", "neuron"), values.astype(np.float16))},
        coords={"layer": np.arange(LAYERS)},
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.zarr"
        written = milliseconds(lambda: save(store, path), 1, 0)
        opened = open_store(path)
        neurons = iter(range(0, NEURONS, 97))

        def read() -> np.ndarray:
            return opened.activation.sel(layer=4).isel(neuron=next(neurons)).values

        warm = milliseconds(read, 15)
        why = of_python(read)  # now: the store is gone when the row is judged
    size = store.nbytes / 1e6
    note = f"store of {size:.0f} MB"
    return [
        Row("one neuron over tokens from disk, warm", warm, "ms", 10.0, note, lambda: why),
        Row("writing the store", size / written * 1000, "MB/s"),
    ]
