"""Damaged files: a flipped bit, a file that ends early, one that is missing, one of another."""

from __future__ import annotations

import random
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import mmkn_widgets as mmkn
from mmkn_widgets.core import NeuronSet
from mmkn_widgets.datasets import coco, read_mask
from mmkn_widgets.interventions import edit, load_edit
from tests.unit.datasets.test_coco_as_tools_write_it import SQUARE, image, thing, write

from .tally import Tally, share_out

#: reads what lies in a folder, and returns it in a form that ``==`` compares
Read = Callable[[Path], Any]


def damage(file: Path, draw: random.Random) -> str:
    """Damage a file in one way; return which."""
    kind = draw.choice(["flip", "flip", "flip", "cut", "remove", "zeros", "longer"])
    raw = bytearray(file.read_bytes())
    place = draw.randrange(max(1, len(raw)))
    if kind == "remove":
        file.unlink()
    elif kind == "cut":
        file.write_bytes(raw[:place])
    elif kind == "longer":
        file.write_bytes(bytes(raw) + draw.randbytes(draw.randint(1, 99)))
    elif kind == "zeros":
        end = min(len(raw), place + draw.randint(1, 512))
        file.write_bytes(raw[:place] + bytes(end - place) + raw[end:])
    elif raw:
        raw[place] ^= 1 << draw.randrange(8)
        file.write_bytes(raw)
    return f"{kind} at {place} of {len(raw)}"


class Same:
    """A Dataset that equals another of the same values, labels and attributes."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and bool(self.held.identical(other.held))

    __hash__ = None  # type: ignore[assignment]


class Makers:
    """One whole example of each kind of file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = mmkn.load_model("pocket")
        self.scenes = mmkn.datasets.pocket_world("val", 60).with_concept("car", 2)

    def store(self) -> Read:
        images = [scene.image for scene in self.scenes]
        mmkn.capture(self.model, images, out=self.folder / "store" / "s", roles=["image"])

        def read(place: Path) -> Any:
            return Same(mmkn.open_store(place / "s").load())

        return read

    def study(self) -> Read:
        made = mmkn.study(self.model, "car", self.scenes)
        made.save(self.folder / "study" / "car.study")

        def read(place: Path) -> Any:
            held = mmkn.open_study(place / "car.study", self.model)
            pictures = [scene.image.tobytes() for scene in held.scenes]
            return Same(held.evidence), pictures, dict(held.options), held.neurons().places

        return read

    def patch(self) -> Read:
        signs = np.ones((6, 512))
        made = edit(self.model, {5: [1, 2], 3: [9]}, "car", "boat", activation=signs)
        (self.folder / "patch").mkdir()
        made.save(self.folder / "patch" / "a.safetensors")

        def read(place: Path) -> Any:
            held = load_edit(self.model, place / "a.safetensors")
            return held.name, {row: delta.numpy().tobytes() for row, delta in held.deltas.items()}

        return read

    def neuron_set(self) -> Read:
        (self.folder / "neuron_set").mkdir()
        made = NeuronSet([1, 2, 5], [3, 500, 7], score=[0.5, 0.25, 1e-9])
        made.save(self.folder / "neuron_set" / "car.mmkn.json")

        def read(place: Path) -> Any:
            held = NeuronSet.load(place / "car.mmkn.json")
            return held.places, held.score.tolist(), held.provenance

        return read

    def coco(self) -> Read:
        """Nothing seals a file of others: whatever it holds is read or listed, never a crash."""
        things = [
            thing(1, 1, segmentation=SQUARE, bbox=[2, 3, 10, 10], area=100),
            thing(2, 2, 3, segmentation={"size": [30, 40], "counts": [10, 5, 1185]}),
            thing(3, 3, segmentation=[]),
        ]
        write(self.folder / "coco", [image(1), image(2), image(3)], things)

        def read(place: Path) -> None:
            data = coco(place)
            for scene in data:
                try:
                    for category in scene.masked:
                        assert scene.mask(category).shape == scene.image.size[::-1]
                except mmkn.MmknError:
                    pass
            assert all(repr(problem) for problem in data.problems)

        return read

    def mask(self) -> Read:
        (self.folder / "mask").mkdir()
        pixels = np.zeros((30, 40), np.uint8)
        pixels[5:20, 9:33] = 255
        for name in ("a.png", "a.gif", "a.bmp", "a.tiff", "a.webp", "a.jpg"):
            Image.fromarray(pixels).save(self.folder / "mask" / name)

        def read(place: Path) -> None:
            for name in ("a.png", "a.gif", "a.bmp", "a.tiff", "a.webp", "a.jpg"):
                try:
                    found = read_mask(place / name, (40, 30))
                except mmkn.MmknError:
                    continue
                assert found.shape == (30, 40)
                assert found.dtype == bool

        return read


KINDS = ("store", "study", "patch", "neuron_set", "coco", "mask")


def run(tally: Tally, count: int, seed: int) -> None:
    """Damage a file; it is refused in words, or gives exactly what the whole one gave."""
    draw, refused = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        makers = Makers(Path(place))
        for kind, n in share_out(count, KINDS).items():
            read: Read = getattr(makers, kind)()
            whole, broken = Path(place) / kind, Path(place) / "broken"
            wanted = read(whole)
            for _ in range(n):
                shutil.rmtree(broken, ignore_errors=True)
                shutil.copytree(whole, broken)
                files = sorted(f for f in broken.rglob("*") if f.is_file() and f.stat().st_size)
                file = draw.choice(files)
                how = damage(file, draw)
                with tally.one(f"{file.relative_to(broken)} of a {kind}, {how}"):
                    try:
                        found = read(broken)
                    except mmkn.MmknError as error:
                        refused += bool(str(error).strip())  # in words
                    else:
                        assert found == wanted, "read without a word, and another"
    tally.note = f"{refused} refused in words"
