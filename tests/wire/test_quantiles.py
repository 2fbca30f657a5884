"""Quantile thresholds: the page and the library cut at the same float32, ties included.

`python tests/wire/test_quantiles.py` writes the cases that the page's unit test reads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from mmkn_widgets.attribution import quantile_threshold as quantile
from mmkn_widgets.attribution import two_stage

COMMITTED = Path(__file__).resolve().parents[2] / "js" / "tests" / "quantiles.json"


def cases() -> list[dict[str, Any]]:
    """Return values, quantiles and the cuts that the library makes there."""
    rng = np.random.default_rng(5)
    smooth = rng.normal(0, 1, 211).astype(np.float32)
    tied = np.round(rng.normal(0, 1, 180), 1).astype(np.float32)
    tiny = (np.abs(rng.normal(0, 1, 97)) ** 3 * 1e-6).astype(np.float32)
    close = np.nextafter(np.float32(1), np.float32(2)) * np.ones(40, np.float32)
    close[::3] = 1
    points = [0.0, 1.0, 0.95, 0.5, *rng.random(40), *(1 - rng.random(10) * 1e-2)]
    return [
        {
            "values": values.tolist(),
            "quantiles": [float(q) for q in points],
            "cuts": [quantile(values, float(q)) for q in points],
        }
        for values in (smooth, tied, tiny, close, np.float32([2.5]))
    ]


def test_committed_cases_are_the_library_s() -> None:
    assert json.loads(COMMITTED.read_text(encoding="utf-8")) == cases()


def test_cuts_are_numpy_s() -> None:
    for case in cases():
        wide = np.float64(case["values"])
        wanted = np.float32(np.quantile(wide, case["quantiles"]))
        np.testing.assert_array_equal(np.float32(case["cuts"]), wanted)


def test_the_widget_and_the_library_keep_the_same_neurons() -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        d = np.round(rng.normal(0, 1, (3, 70)), 1).astype(np.float32)
        g = rng.normal(0, 1, (3, 70)).astype(np.float32)
        d[2, 60:] = g[2, 60:] = np.nan  # a narrower layer
        dims = ("layer", "neuron")
        evidence = xr.Dataset({"difference": (dims, d), "gradcam": (dims, g)}, {"layer": range(3)})
        one, two = rng.random(2)
        found = two_stage(evidence, quantile_d=one, quantile_g=two)
        inside = (d > np.float32(quantile(d, one))) & (g > np.float32(quantile(g, two)))
        assert {(n.layer, n.index) for n in found} == set(map(tuple, np.argwhere(inside).tolist()))


if __name__ == "__main__":
    COMMITTED.write_text(json.dumps(cases()) + "\n", encoding="utf-8")
