"""What may go wrong with a store: a killed or a second writer, a full disk, damage."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import mmkn_widgets as mmkn
from mmkn_widgets.activations import open_store, save
from mmkn_widgets.activations.layout import Layout
from mmkn_widgets.activations.picture import FILLS, Picture, pictures_of
from mmkn_widgets.activations.zarr_store import StoreWriter
from mmkn_widgets.core import seal, unseal
from mmkn_widgets.core.errors import BadArgument

#: MMKN_FAULTS=10 does everything ten times
FAULTS = int(os.environ.get("MMKN_FAULTS", "1"))

_WRITER = """
    import sys, time
    import numpy as np
    from pathlib import Path
    from mmkn_widgets.activations.picture import FILLS, Picture
    from mmkn_widgets.activations.zarr_store import StoreWriter

    def picture(number, layers=4, tokens=40, neurons=2000):
        values = np.full((layers, tokens, neurons), number, np.float32)
        held = {name: np.full(tokens, fill) for name, fill in FILLS.items()}
        held["valid"] = np.ones(tokens, bool)
        return Picture({"activation": values}, held, list(range(layers)), [-1] * layers)

    def write(path, n):
        attrs = {"format": "mmkn-activations", "version": 1, "weights": "w"}
        with StoreWriter(Path(path), attrs) as writer:
            for number in range(len(writer.finished), n):
                writer.add(str(number), picture(number))
                print(number, flush=True)
"""


def _script(body: str) -> str:
    return textwrap.dedent(_WRITER) + textwrap.dedent(body)


def _start(root: Path, body: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _script(body), *arguments],
        cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_a_killed_writer_loses_no_committed_picture(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    committed = -1
    for turn in range(3):
        writer = _start(root, "write(sys.argv[1], 10_000)", str(path))
        assert writer.stdout is not None
        for _ in range(4):
            committed = int(writer.stdout.readline())
        time.sleep(0.003 * turn)
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.wait()
        committed = int(rest[-1]) if rest else committed
        held = open_store(path)
        assert held.sizes["image"] in (committed + 1, committed + 2)  # killed before it said so
        for place, name in enumerate(held["image"].values.tolist()):
            values = held.activation[place].values
            assert (values == int(name)).all()
        assert held["image"].values.tolist() == [str(n) for n in range(held.sizes["image"])]


def test_two_writers_are_refused_and_the_second_harms_nothing(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    body = "write(sys.argv[1], 2)\nprint('done', flush=True)\n"
    hold = """
        with StoreWriter(Path(sys.argv[1]), {"format": "mmkn-activations", "version": 1}) as w:
            w.add("0", picture(0))
            print("held", flush=True)
            sys.stdin.readline()
    """
    first = subprocess.Popen(
        [sys.executable, "-c", _script(hold), str(path)],
        cwd=root, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert first.stdout is not None
    assert first.stdin is not None
    assert first.stdout.readline().strip() == "held"
    second = _start(root, body, str(path))
    _, said = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "a store that no one else writes" in said
    with pytest.raises(BadArgument, match="no one else writes"), StoreWriter(path, {}):
        pass
    assert open_store(path).sizes["image"] == 1  # reading is never refused
    first.stdin.write("\n")
    first.stdin.close()
    assert first.wait(timeout=60) == 0
    first.stdout.close()


def test_a_full_disk_is_one_line_and_keeps_what_was_committed(root: Path, tmp_path: Path) -> None:
    body = """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        from mmkn_widgets.core import BadArgument
        attrs = {"format": "mmkn-activations", "version": 1}
        with StoreWriter(Path(sys.argv[1]), attrs) as writer:
            for number in range(int(sys.argv[2])):
                writer.add(str(number), picture(number))
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            try:
                writer.add("x", picture(7))
            except BadArgument as error:
                print(error)
    """
    for n in (2, 0):
        path = tmp_path / f"s{n}"
        said = _start(root, body, str(path), str(n)).communicate(timeout=60)[0]
        assert said.startswith("out: ")
        assert len(said.splitlines()) == 1
        if n:
            assert "took 2 pictures, then: File too large" in said
            assert open_store(path).sizes["image"] == 2
            assert not list(path.glob("*/c/2"))
        else:
            assert not path.exists()


def test_a_place_that_cannot_be_written(pocket: Any, pictures: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nowhere = [Path("/proc/nothing/store")] if Path("/proc").is_dir() else []
    for place in (*nowhere, tmp_path / "file" / "store"):
        with pytest.raises(BadArgument, match="out: ") as error:
            mmkn.capture(pocket, pictures[0], out=place)
        assert "\n" not in str(error.value)
    with pytest.raises(BadArgument, match="expected a folder"):
        mmkn.capture(pocket, pictures[0], out=tmp_path / "file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(BadArgument, match="a new folder"):
        mmkn.capture(pocket, pictures[0], out=tmp_path / "full")
    assert os.listdir(tmp_path / "full") == ["thesis.txt"]


def test_an_interrupted_first_picture_leaves_no_store(
    pocket: Any, pictures: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(StoreWriter, "add", interrupted)
    (tmp_path / "mine").mkdir()
    for name in ("new", "mine"):
        with pytest.raises(KeyboardInterrupt):
            mmkn.capture(pocket, pictures, out=tmp_path / name)
    assert not (tmp_path / "new").exists()
    assert [f.name for f in (tmp_path / "mine").iterdir()] == [".writer.lock"]


def test_other_versions_and_no_stores(pocket: Any, pictures: Any, tmp_path: Path) -> None:
    path = tmp_path / "s"
    mmkn.capture(pocket, pictures[0], out=path)
    mark = path / "zarr.json"
    described = json.loads(mark.read_text())
    described["attributes"]["version"] = 99
    mark.write_text(json.dumps(described))
    with pytest.raises(BadArgument, match="version 99"):
        open_store(path)
    with pytest.raises(BadArgument, match="version 99"):
        mmkn.capture(pocket, pictures, out=path)
    assert (path / "pictures" / "00000000.json").is_file()
    described["attributes"]["format"] = "other"
    mark.write_text(json.dumps(described))
    with pytest.raises(BadArgument, match="an activation store"):
        open_store(path)
    for wrong in (tmp_path, tmp_path / "absent"):
        with pytest.raises(BadArgument, match="path: "):
            open_store(wrong)
    mark.write_text("{")
    with pytest.raises(BadArgument, match="path: "):
        open_store(path)


def _flip(file: Path, place: int) -> None:
    raw = bytearray(file.read_bytes())
    raw[place] ^= 1
    file.write_bytes(raw)


def test_damage_is_found_when_it_is_read(pocket: Any, pictures: Any, tmp_path: Path) -> None:
    path = tmp_path / "s"
    mmkn.capture(pocket, pictures[:2], out=path, image_ids=["a", "b"])
    shard = path / "activation" / "c" / "1" / "0" / "0" / "0"
    rows = (shard.stat().st_size - 300) // 6
    _flip(shard, 3 * rows + 1000)
    held = open_store(path)
    assert held.activation.sel(image="a").values.any()
    assert held.activation.sel(image="b", layer=2).values.any()
    with pytest.raises(BadArgument, match=r"picture 'b' is damaged: activation/c/1/0/0/0 \(row 3"):
        _ = held.activation.sel(image="b", layer=3).values
    (path / "activation_mean" / "c" / "1" / "0" / "0" / "0").unlink()
    held = open_store(path)
    assert held.activation.sel(image="a").values.any()
    with pytest.raises(BadArgument, match=r"picture 'b' is damaged: activation_mean/c/1"):
        _ = held.activation.sel(image="b", layer=2).values
    (path / "pictures" / "00000001.json").write_text("{}")
    with pytest.raises(BadArgument, match=r"damaged: pictures/00000001.json"):
        open_store(path)


def _all_files(path: Path) -> list[Path]:
    return sorted(f for f in path.rglob("*") if f.is_file() and f.name != ".writer.lock")


def test_nothing_damaged_passes_and_a_capture_repairs_it(
    pocket: Any, pictures: Any, tmp_path: Path
) -> None:
    whole, path = tmp_path / "whole", tmp_path / "s"
    direct = mmkn.capture(pocket, pictures[:2], out=whole, roles=["image"]).load()
    draw = random.Random(0)
    files = [f.relative_to(whole) for f in _all_files(whole)]
    chosen = draw.sample(files, 16) if FAULTS == 1 else files * FAULTS
    refused = 0
    for turn, file in enumerate(chosen):
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(whole, path)
        size = (path / file).stat().st_size
        kind = draw.choice(["flip", "cut", "remove"])
        if kind == "flip":
            _flip(path / file, draw.randrange(size))
        elif kind == "cut":
            os.truncate(path / file, draw.randrange(size))
        else:
            (path / file).unlink()
        try:
            found = open_store(path).load()
        except mmkn.MmknError as error:
            refused += 1
            named = str(error)
        else:
            assert found.identical(direct), (kind, file)
            named = file.parts[0]
        assert file.parts[0] in named, (kind, file)
        again = mmkn.capture(pocket, pictures[:2], out=path, roles=["image"])
        assert again.load().identical(direct), (turn, kind, file)
        for alone, held in zip(_all_files(path), _all_files(whole), strict=True):
            assert alone.read_bytes() == held.read_bytes(), (kind, file, alone)
    assert refused > len(chosen) // 3


def test_what_does_not_belong_to_the_store(pocket: Any, pictures: Any, tmp_path: Path) -> None:
    path, other = tmp_path / "s", tmp_path / "other"
    options: Any = {"roles": ["image"], "image_ids": ["a", "b"]}
    direct = mmkn.capture(pocket, pictures[:2], out=path, **options).load()
    mmkn.capture(pocket, pictures[1:3], out=other, prompt="what is it?", **options)

    def refused(match: str) -> None:
        with pytest.raises(BadArgument, match=match):
            open_store(path).load()
        assert mmkn.capture(pocket, pictures[:2], out=path, **options).load().identical(direct)

    shard = path / "activation" / "c" / "1" / "0" / "0" / "0"
    shutil.copy(other / shard.relative_to(path), shard)  # of another store
    refused(r"picture 'b' is damaged: activation/c/1/0/0/0")
    record = path / "pictures" / "00000001.json"
    shutil.copy(other / record.relative_to(path), record)
    refused(r"picture 'b' is damaged: pictures/00000001.json \(it is of another store: prompt")
    held = unseal(record.read_bytes())
    record.write_text(seal({**held, "id": "a"}))
    refused(r"the same picture is in pictures/00000000.json")
    held["layout"]["layers"] = [0, 1, 2, 3, 4, 9]
    record.write_text(seal(held))
    refused("its layers or types are those of another store")
    shutil.move(shard, tmp_path / "elsewhere")
    shard.symlink_to(tmp_path / "elsewhere")
    refused("a link leads to another place")
    shutil.move(path / "activation" / "c", tmp_path / "c")
    (path / "activation" / "c").symlink_to(tmp_path / "c")
    with pytest.raises(BadArgument, match="a link leads to another place"):
        open_store(path).load()


def _places(held: Any, path: tuple[Any, ...] = ()) -> Any:
    """Return the way to every value of a JSON document."""
    yield path
    for key in (
        held if isinstance(held, dict) else range(len(held) if isinstance(held, list) else 0)
    ):
        yield from _places(held[key], (*path, key))


def test_a_record_that_another_program_sealed_is_damaged_or_right(
    pocket: Any, pictures: Any, tmp_path: Path
) -> None:
    mmkn.capture(pocket, pictures[:1], layers=[4], out=tmp_path / "store")
    (file,) = (tmp_path / "store" / "pictures").glob("*.json")
    whole = file.read_bytes()
    refused = 0
    for way in _places(unseal(whole)):
        for wrong in (None, [], {}, -1, True, "x", [None]):
            held: Any = {"": unseal(whole)}
            inside = held
            for key in ("", *way)[:-1]:
                inside = inside[key]
            inside[("", *way)[-1]] = wrong
            file.write_text(seal(held[""]) if isinstance(held[""], dict) else "[]")
            try:
                open_store(tmp_path / "store").load()
            except BadArgument:
                refused += 1
    assert refused > 100


def test_no_array_is_named_by_a_path() -> None:
    described = {
        "single": False, "layers": [0], "experts": [-1], "neurons": 3, "reduced": [], "tokens": [],
        "step": 2, "per_file": 2,
    }  # fmt: skip
    for name in ("../../etc/passwd", "/etc/passwd", "a/b", ".."):
        with pytest.raises(ValueError, match="it has an array"):
            Layout.from_dict({**described, "arrays": {name: "float32"}})


def _old_store(path: Path, store: Any) -> None:
    """Write a store as layout 1 was: a group for each picture."""
    attrs = {**store.attrs, "version": 1}

    def group(folder: Path, attributes: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        described = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        (folder / "zarr.json").write_text(json.dumps(described))

    group(path, attrs)
    group(path / "images", {})
    for number, (name, picture) in enumerate(pictures_of(store)):
        folder = path / "images" / f"{number:08d}"
        shapes = {}
        for key, values in picture.arrays.items():
            array = zarr.create_array(
                str(folder / key), shape=values.shape, chunks=(1, *values.shape[1:]),
                dtype=values.dtype, compressors=[zarr.codecs.Crc32cCodec()],
            )  # fmt: skip
            array[:] = values
            dims = ["layer", "token", "neuron"]
            shapes[key] = {"shape": values.shape, "dtype": str(values.dtype), "dims": dims}
        tokens = {key: np.asarray(values).tolist() for key, values in picture.tokens.items()}
        described = {
            "id": name, "layer": picture.layers, "expert": picture.experts, "tokens": tokens,
            "geometry": picture.geometry, "arrays": shapes,
        }  # fmt: skip
        group(folder, {"mmkn": described})


def test_a_store_of_an_earlier_release_opens(pocket: Any, pictures: Any, tmp_path: Path) -> None:
    direct = mmkn.capture(pocket, pictures)
    path = tmp_path / "old"
    _old_store(path, direct)
    held = open_store(path)
    for name in direct.variables:
        assert np.array_equal(held[name].values, direct[name].values), name
    with pytest.raises(BadArgument, match=r"earlier release'?.*save\(open_store\(OLD\), NEW\)"):
        mmkn.capture(pocket, pictures, out=path)
    new = open_store(save(held, tmp_path / "new"))
    assert np.array_equal(new.activation.values, direct.activation.values)
    chunk = path / "images" / "00000001" / "activation" / "c" / "3" / "0" / "0"
    chunk.unlink()
    assert held.activation.isel(image=0).values.any()
    with pytest.raises(BadArgument, match="layer row 3 is damaged"):
        _ = held.activation.isel(image=1).values
    mark = path / "images" / "00000002" / "zarr.json"
    described = json.loads(mark.read_text())
    described["attributes"]["mmkn"]["id"] = "1"
    mark.write_text(json.dumps(described))
    with pytest.raises(BadArgument, match="one picture '1'"):
        open_store(path)
    mark.write_text("{}")
    with pytest.raises(BadArgument, match="a whole picture"):
        open_store(path)


def test_what_a_killed_writer_left_is_not_seen(tmp_path: Path) -> None:
    values = np.ones((2, 3, 4), np.float32)
    tokens = {name: np.full(3, fill) for name, fill in FILLS.items()}
    tokens["valid"] = np.ones(3, bool)
    path = tmp_path / "s"

    def add(name: str, value: float) -> None:
        with StoreWriter(path, {}) as writer:
            writer.add(name, Picture({"activation": values * value}, tokens, [0, 1], [-1, -1]))

    add("a", 1)
    shutil.copytree(path / "activation" / "c" / "0", path / "activation" / "c" / "1")
    shutil.copytree(path / "activation" / "c" / "0" / "0" / "0", path / "token_id" / "c" / "1")
    for alone in (open_store(path), xr.open_zarr(path)):
        assert alone["image"].values.tolist() == ["a"]
    add("b", 2)
    for alone in (open_store(path), xr.open_zarr(path)):
        assert alone["image"].values.tolist() == ["a", "b"]
        assert (alone.activation[1].values == 2).all()
        assert (alone["token_id"].values == -1).all()


def test_a_picture_is_on_the_disk_before_it_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[tuple[int, int]] = set()
    seen: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted(handle: int) -> None:
        fsync(handle)
        held = os.fstat(handle)
        synced.add((held.st_dev, held.st_ino))

    def checked(part: Any, place: Any) -> None:
        if Path(place).name == "zarr.json" and Path(place).parent == tmp_path / "s":
            for file in [Path(part), *(tmp_path / "s").rglob("*")]:
                held = file.stat()
                if file.name not in (".writer.lock", "zarr.json"):
                    assert (held.st_dev, held.st_ino) in synced, file
            seen.append(str(place))
        replace(part, place)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "replace", checked)
    made = xr.Dataset(
        {"activation": (("image", "layer", "token", "neuron"), np.ones((2, 2, 3, 4)))}
    )
    save(made.assign_coords(image=["a", "b"]), tmp_path / "s")
    assert len(seen) == 3  # begun, and each picture


def test_the_memory_of_a_sweep_does_not_grow_with_its_pictures(root: Path, tmp_path: Path) -> None:
    body = """
        import resource
        def sweep(folder, first, n):
            with StoreWriter(Path(folder), {"format": "mmkn-activations", "version": 1}) as writer:
                for number in range(first, n):
                    writer.add(str(number), picture(number, 8, 100, 2500))  # 8 MB each
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        few = sweep(sys.argv[1], 0, 4)
        print(sweep(sys.argv[1], 4, 24) - few)
    """
    said, problem = _start(root, body, str(tmp_path / "s")).communicate(timeout=120)
    assert not problem
    assert float(said) < 24  # MB, of 160 written
