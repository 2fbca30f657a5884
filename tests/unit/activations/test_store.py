"""The store on disk: exact, lazy, labelled, plain zarr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import mmkn_widgets as mmkn
from mmkn_widgets.activations import lazy, open_store, save
from mmkn_widgets.core import Handles
from mmkn_widgets.core.errors import BadArgument


@pytest.fixture(scope="module")
def store(pocket: Any, pictures: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("stores") / "three"
    mmkn.capture(pocket, pictures, out=path, image_ids=["a", "b", "c"], gradients=7)
    return path


def test_it_comes_back_as_it_was(pocket: Any, pictures: Any, store: Path) -> None:
    held = open_store(store)
    direct = mmkn.capture(pocket, pictures, image_ids=["a", "b", "c"], gradients=7)
    for name in ("activation", "gradient"):
        assert np.array_equal(held[name].values, direct[name].values)
        assert held[name].dtype == np.float32
    for name in direct.coords:
        assert np.array_equal(held[name].values, direct[name].values), name
    for key in ("model", "weights", "prompt", "site", "dtype", "version"):
        assert held.attrs[key] == direct.attrs[key]


def test_a_single_picture_comes_back_single(pocket: Any, pictures: Any, tmp_path: Path) -> None:
    direct = mmkn.capture(pocket, pictures[0])
    held = mmkn.capture(pocket, pictures[0], out=tmp_path / "a")
    saved = open_store(save(direct, tmp_path / "b"))
    for one in (held, saved):
        assert one.activation.dims == ("layer", "token", "neuron")
        assert np.array_equal(one.activation.values, direct.activation.values)
        assert one["token_text"].values.tolist() == direct["token_text"].values.tolist()


def test_selecting_reads_only_the_chunks_it_needs(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[int, int]] = []
    chunk = lazy.ImageStack._chunk

    def counted(self: Any, number: int, row: int) -> np.ndarray:
        read.append((number, row))
        return chunk(self, number, row)

    monkeypatch.setattr(lazy.ImageStack, "_chunk", counted)
    held = open_store(store)
    chosen = held.sel(layer=4, neuron=233)
    assert read == []
    values = chosen.activation.values
    assert read == [(0, 4), (1, 4), (2, 4)]
    read.clear()
    one = held.activation.sel(image="b", layer=[5, 0], neuron=slice(3, 6)).isel(token=[9, 2])
    assert one.shape == (2, 2, 4)  # slices of labels hold their ends
    assert np.array_equal(one.values, held.activation.values[1][[5, 0]][:, [9, 2]][..., 3:7])
    assert sorted(read[:2]) == [(1, 0), (1, 5)]
    assert values.shape == (3, held.sizes["token"])


def test_any_outer_indexing_is_numpys(store: Path) -> None:
    held = open_store(store).activation
    whole = held.values
    for key in (
        (1, 2, 3, 4),
        (slice(None), -1, slice(5, None, 7), [1, 500, 20]),
        ([2, 0], slice(None), 0, slice(None, None, -1)),
        (slice(0, 0), slice(None), slice(None), slice(None)),
    ):
        expected = whole
        for axis in range(3, -1, -1):  # numpy's outer indexing, an axis at a time
            expected = expected[(slice(None),) * axis + (key[axis],)]
        assert np.array_equal(held[key].values, expected)


def test_xarray_alone_sees_the_dataset(pocket: Any, pictures: Any, tmp_path: Path) -> None:
    for name, shown, options in (
        ("many", pictures, {"image_ids": ["a", "b", "c"]}),
        ("longer", pictures, {"generate": True}),
        ("one", pictures[0], {}),
        ("reduced", pictures, {"reduced": True}),
    ):
        held = mmkn.capture(pocket, shown, out=tmp_path / name, **options)
        direct = mmkn.capture(pocket, shown, **options)
        dask, plain = xr.open_zarr(tmp_path / name), xr.open_dataset(tmp_path / name, engine="zarr")
        for alone in (dask, plain):
            assert alone.sizes == held.sizes
            assert set(alone.data_vars) == set(held.data_vars)
            assert set(alone.coords) == set(held.coords)
            assert {k: v for k, v in alone.attrs.items() if k != "mmkn"} == direct.attrs
            for variable in direct.variables:
                assert alone[variable].dims == held[variable].dims
                np.testing.assert_array_equal(alone[variable].values, direct[variable].values)
        assert alone.equals(plain)


def test_a_picture_is_one_shard_of_plain_zarr(store: Path) -> None:
    group = zarr.open_group(str(store), mode="r")
    array = group["activation"]
    assert array.metadata.dimension_names == ("image", "layer", "token", "neuron")
    assert array.chunks[:2] == (1, 1)
    assert array.shards[:2] == (1, array.shape[1])
    assert group.attrs["version"] == 2
    assert np.array_equal(array[1], open_store(store).activation[1].values)
    assert len([f for f in store.glob("activation/c/**/*") if f.is_file()]) == 3
    # an array opened by itself reads its own zarr.json
    assert zarr.open_array(str(store / "activation"), mode="r").shape == array.shape


def test_what_xarray_wrote_of_a_store_says_how_to_open_it(store: Path, tmp_path: Path) -> None:
    held = open_store(store)
    for name, kept in (("whole", held), ("some", held.isel(layer=[4, 5], image=[1]))):
        kept.to_zarr(tmp_path / name)
        assert np.array_equal(
            xr.open_zarr(tmp_path / name).activation.values, kept.activation.values
        )
        with pytest.raises(BadArgument, match="open_zarr"):
            open_store(tmp_path / name)
        again = open_store(save(xr.open_zarr(tmp_path / name), tmp_path / f"{name}-ours"))
        assert np.array_equal(again.activation.values, kept.activation.values)


def test_reductions_lie_beside_it(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = open_store(store)
    inside = held.activation.values[:, :, held["role"].values[0] == "image"]
    assert np.array_equal(held["activation_max"].sel(token_role="image").values, inside.max(2))
    np.testing.assert_allclose(
        held["activation_mean"].sel(token_role="image").values, inside.mean(2), rtol=1e-4, atol=1e-6
    )
    monkeypatch.setattr(lazy.ImageStack, "_chunk", _only_reductions(lazy.ImageStack._chunk))
    assert held.mmkn.reduce("max", role="image").shape == (3, 6, 512)


def _only_reductions(chunk: Any) -> Any:
    def guarded(self: Any, number: int, row: int) -> np.ndarray:
        assert self._paths[number].endswith(("_max", "_mean"))
        return chunk(self, number, row)

    return guarded


def test_bfloat16_comes_back_bit_for_bit(pictures: Any, tmp_path: Path) -> None:
    model = mmkn.load_model("pocket", dtype="bfloat16")
    held = mmkn.capture(model, pictures[0], out=tmp_path / "b16")
    with mmkn.activations.record(model) as seen:
        model.forward(model.prepare(pictures[0]))
    tensor = held.mmkn.tensor()
    assert tensor.dtype == torch.bfloat16
    assert torch.equal(tensor.view(torch.int16), seen.stack()[0].view(torch.int16))
    stored = zarr.open_array(str(tmp_path / "b16" / "activation"))
    assert stored.dtype == np.uint16
    assert stored.attrs["mmkn_dtype"] == "bfloat16"


def test_every_value_that_bfloat16_has_survives_a_capture(pictures: Any, tmp_path: Path) -> None:
    """The smallest, the largest, both zeros and infinities, and what is no number."""
    model = mmkn.load_model("pocket", dtype="bfloat16")
    every = torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.bfloat16)
    n_tokens, n_neurons = model.prepare(pictures[0]).n_tokens, model.n_neurons
    fill = -len(every) % (n_tokens * n_neurons)
    given = torch.cat([every, every[:fill]]).reshape(-1, 1, n_tokens, n_neurons)

    def instead(row: int) -> Any:
        return lambda _module, args: (given[row % len(given)], *args[1:])

    handles = [
        site.module.register_forward_pre_hook(instead(row)) for row, site in enumerate(model.sites)
    ]
    with Handles(iter(handles)):
        held = mmkn.capture(model, pictures[0], out=tmp_path / "every")
        in_memory = mmkn.capture(model, pictures[0])
    for store in (held, in_memory):
        values = np.ascontiguousarray(store["activation"].values[: len(given)], np.float32)
        bits = torch.from_numpy(lazy.to_bits(values).view(np.int16))
        assert torch.equal(bits, given[:, 0].view(torch.int16))
        back = store.mmkn.tensor()[: len(given)]
        assert torch.equal(back.isnan(), given[:, 0].isnan())
        numbers = ~back.isnan()
        assert torch.equal(back[numbers].view(torch.int16), given[:, 0][numbers].view(torch.int16))
    on_disk = zarr.open_array(str(tmp_path / "every" / "activation"))
    assert on_disk.dtype == np.uint16


@given(arrays(np.uint16, st.integers(0, 30)))
def test_bits_survive_whatever_they_mean(bits: np.ndarray) -> None:
    values = lazy.from_bits(bits)
    with np.errstate(invalid="ignore"):
        back = lazy.to_bits(values)
    assert back is not None
    assert np.array_equal(back, bits)


def test_float32_that_is_no_bfloat16_is_kept_whole() -> None:
    assert lazy.to_bits(np.array([1.0, 1e-3], np.float32)) is None


def test_dask_takes_it_where_it_is_installed(store: Path) -> None:
    held = open_store(store)
    lazily = held.chunk({"image": 1, "layer": 1})
    mean = lazily.activation.mean("image")
    assert mean.chunks is not None
    np.testing.assert_allclose(mean.values, held.activation.values.mean(0), rtol=1e-5, atol=1e-7)


def test_it_is_an_ordinary_dataset(store: Path) -> None:
    held = open_store(store)
    assert "<xarray.Dataset" in repr(held)
    assert "activation" in held._repr_html_()
    merged = xr.merge(
        [held[["activation"]].isel(layer=[0]), held[["gradient"]].isel(layer=[0])],
        compat="override",
    )
    assert set(merged.data_vars) == {"activation", "gradient"}


def test_resuming_captures_only_what_is_missing(pocket: Any, pictures: Any, tmp_path: Path) -> None:
    path = tmp_path / "s"
    mmkn.capture(pocket, pictures[:2], out=path)
    before = {f: f.stat().st_mtime_ns for f in path.glob("*/c/**/*") if f.is_file()}
    forwards = []
    handle = pocket.hf.register_forward_hook(lambda *_: forwards.append(1))
    try:
        held = mmkn.capture(pocket, pictures, out=path)
    finally:
        handle.remove()
    assert len(forwards) == 1
    assert held["image"].values.tolist() == ["0", "1", "2"]
    assert {f: f.stat().st_mtime_ns for f in before} == before


def test_a_store_is_continued_with_its_own_options_only(
    pocket: Any, pictures: Any, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    mmkn.capture(pocket, pictures[:1], out=path, layers=[1, 2])
    kept = open_store(path).activation.values
    for options in ({"layers": [1]}, {"layers": [1, 2], "site": "act"}, {"prompt": "what is it?"}):
        with pytest.raises(BadArgument, match=r"out: .*or a new folder"):
            mmkn.capture(pocket, pictures, out=path, **{"layers": [1, 2], **options})
    assert np.array_equal(open_store(path).activation.values, kept)


def test_a_store_made_by_hand(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
    made = xr.Dataset({"activation": (("layer", "token", "neuron"), values)})
    held = open_store(save(made, tmp_path / "s"))
    assert held.activation.dtype == np.float16
    assert np.array_equal(held.activation.values, values)
    with pytest.raises(BadArgument, match="activation"):
        save(made.rename(activation="x"), tmp_path / "t")
    described = json.loads((tmp_path / "s" / "zarr.json").read_text())
    assert described["zarr_format"] == 3
