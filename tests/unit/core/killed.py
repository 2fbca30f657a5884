"""Kill savers at every step and at random moments; run as a script: KIND... prints what is wrong.

A child is forked for every kill, so that the model is loaded once. Each kind has three functions:
save a version, say which version a reader gets (None for none), and what may lie beside.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

#: A store's picture is many files: not every step of it in every run.
STRIDES = {"store": 9}

#: What a saver calls on its way; a kill falls before each of these calls.
_STEPS = ("fsync", "replace", "mkdir", "unlink", "rmdir")

Save = Callable[[Path, int], Any]
Read = Callable[[Path], int | None]


def neuron_set() -> tuple[Save, Read]:
    from mmkn_widgets.core import NeuronSet

    def save(folder: Path, version: int) -> None:
        index = range(version, version + 400)
        NeuronSet([version % 6] * 400, list(index)).save(folder / "car.mmkn.json")

    def read(folder: Path) -> int | None:
        if not (folder / "car.mmkn.json").exists():
            return None
        held = NeuronSet.load(folder / "car.mmkn.json")
        version = int(held.index.min())
        assert sorted(held.index.tolist()) == list(range(version, version + 400))
        return version

    return save, read


def study() -> tuple[Save, Read]:
    import mmkn_widgets as mmkn

    model = mmkn.load_model("pocket")
    made = mmkn.study(model, "car", mmkn.datasets.pocket_world("val", 60).with_concept("car", 2))

    def save(folder: Path, version: int) -> None:
        made.evidence["difference"][:] = version
        made.options["reduce"] = str(version)
        made.save(folder / "car.study")

    def read(folder: Path) -> int | None:
        if not (folder / "car.study").exists() and not list(folder.glob(".older-*")):
            return None
        held = mmkn.open_study(folder / "car.study", model)
        version = int(held.options["reduce"])
        assert (held.evidence["difference"].values == version).all()
        return version

    return save, read


def several() -> tuple[Save, Read]:
    from mmkn_widgets.core import write_all

    def save(folder: Path, version: int) -> None:
        write_all(folder / "out", {f"{n}.txt": f"{version} " * 5000 for n in range(4)})

    def read(folder: Path) -> int | None:
        last = folder / "out" / "3.txt"
        for file in (folder / "out").glob("[0-9].txt"):
            assert len(set(file.read_text().split())) == 1, file
        return int(last.read_text().split()[0]) if last.exists() else None

    return save, read


def part() -> tuple[Save, Read]:
    from mmkn_widgets.studies.jobs import read_part, write_part

    def save(folder: Path, version: int) -> None:
        content = {"suppression": version, "neurons": 1, "more": ["x"] * 5000}
        write_part(folder / "parts" / "car" / "random.json", content, {"random.mmkn.json": "{}"})

    def read(folder: Path) -> int | None:
        path = folder / "parts" / "car" / "random.json"
        held = read_part(path)
        assert held is not None or not path.exists()
        return None if held is None else held["suppression"]

    return save, read


def cached() -> tuple[Save, Read]:
    from PIL import Image

    from mmkn_widgets.inpainting.cache import PictureCache

    def save(folder: Path, version: int) -> None:
        PictureCache(folder).put("a", Image.new("RGB", (90, 80), (version, 1, 2)))

    def read(folder: Path) -> int | None:
        held = PictureCache(folder).get("a")
        assert held is not None or not (folder / "a.png").exists()
        return None if held is None else held.getpixel((5, 5))[0]

    return save, read


def patch() -> tuple[Save, Read]:
    import mmkn_widgets as mmkn
    from mmkn_widgets.interventions import edit, load_edit

    model = mmkn.load_model("pocket")
    signs = np.ones((6, 512))

    def save(folder: Path, version: int) -> None:
        made = edit(model, {5: [1, 2, 3]}, "car", "boat", activation=signs, name=str(version))
        for row in made.deltas:
            made.deltas[row][:] = version
        made.save(folder / "a.safetensors")

    def read(folder: Path) -> int | None:
        if not (folder / "a.safetensors").exists():
            return None
        held = load_edit(model, folder / "a.safetensors")
        assert all((delta == int(held.name)).all() for delta in held.deltas.values())
        return int(held.name)

    return save, read


def store() -> tuple[Save, Read]:
    import xarray as xr

    from mmkn_widgets.activations import open_store
    from mmkn_widgets.activations.picture import FILLS, Picture
    from mmkn_widgets.activations.zarr_store import StoreWriter

    def save(folder: Path, version: int) -> None:
        with StoreWriter(folder / "s", {}) as writer:
            tokens = {name: np.full(70, fill) for name, fill in FILLS.items()}
            values = np.full((3, 70, 50), version, np.float32)
            picture = Picture({"activation": values}, tokens, [0, 1, 2], [-1] * 3)
            writer.add(str(len(writer.finished)), picture)

    def read(folder: Path) -> int | None:
        path = folder / "s"
        if not (path / "zarr.json").exists():
            return None
        for opened in (xr.open_zarr(path), _ours(path)):
            if opened is None or "activation" not in opened:
                return None
            values = opened["activation"].values
            assert (values == values[:, :1, :1, :1]).all()
            assert (values > 0).all()
            assert opened["image"].values.tolist() == [str(n) for n in range(len(values))]
        return int(values[-1, 0, 0, 0])

    def _ours(path: Path) -> Any:
        with suppress(ValueError):  # as long as there is no picture
            return open_store(path)
        assert xr.open_zarr(path).sizes.get("image", 0) == 0
        return None

    return save, read


KINDS = {
    "neuron_set": neuron_set, "study": study, "several": several, "part": part, "cached": cached,
    "patch": patch, "store": store,
}  # fmt: skip


def _child(work: Callable[[], Any], stop: int) -> int:
    """Do some work in a child that is killed before its step number `stop`; return its status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    left = [stop]

    def counted(name: str) -> Any:
        held = getattr(os, name)

        def step(*given: Any, **named: Any) -> Any:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return held(*given, **named)

        return step

    for name in _STEPS:
        setattr(os, name, counted(name))
    work()
    os._exit(0)


def _check(kind: str, read: Read, folder: Path, wanted: tuple[int | None, ...], when: str) -> None:
    found = read(folder)
    assert found in wanted, f"{kind}, {when}: got version {found}, expected one of {wanted}"


def at_every_step(kind: str, save: Save, read: Read, stride: int = 1) -> int:
    """Kill a save, over an older one and over nothing, before each of its steps."""
    kills = 0
    for older in (None, 1):
        stop = 0
        while True:
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place)
                if older is not None:
                    save(folder, older)
                status = _child(lambda: save(folder, 2), stop)  # noqa: B023
                _check(kind, read, folder, (older, 2), f"killed at step {stop}")
                if os.WIFEXITED(status):
                    assert os.WEXITSTATUS(status) == 0
                    break
                kills += 1
                save(folder, 3)
                _check(kind, read, folder, (3,), f"saved after a kill at step {stop}")
                left = [p for p in folder.rglob("*") if p.name.startswith((".part-", ".older-"))]
                assert not left, f"{kind}, step {stop}: {left} are left"
            stop += stride
    return kills


def at_random(kind: str, save: Save, read: Read, kills: int, seed: str = "") -> None:
    """Kill a child that saves one version after the other."""
    draw = random.Random(kind + seed)
    with tempfile.TemporaryDirectory() as place:
        folder, said = Path(place), os.pipe()
        save(folder, 1)
        last = 1
        for _ in range(kills):
            child = os.fork()
            if not child:
                for version in range(last + 1, 250):
                    save(folder, version)
                    os.write(said[1], bytes([version]))
                os._exit(0)
            time.sleep(draw.uniform(0.001, 0.08))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.set_blocking(said[0], False)
            with suppress(BlockingIOError):
                last = max(last, *os.read(said[0], 1000))
            # killed before it could say so
            _check(kind, read, folder, (last, last + 1), "killed at random")
            last = read(folder) or last
            if last > 200:
                save(folder, 1)
                last = 1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="+", choices=KINDS)
    parser.add_argument("--kills", type=int, default=20, help="of each kind at random moments")
    parser.add_argument("--stride", type=int, help="between the steps at which a kill falls")
    parser.add_argument("--seed", default="")
    asked = parser.parse_args()
    for kind in asked.kinds:
        save, read = KINDS[kind]()
        n = at_every_step(kind, save, read, asked.stride or STRIDES.get(kind, 1))
        at_random(kind, save, read, asked.kills, asked.seed)
        print(f"{kind}: {n} kills at steps, {asked.kills} at random", flush=True)


if __name__ == "__main__":
    main()
