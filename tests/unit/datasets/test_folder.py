from __future__ import annotations

import tracemalloc
import unicodedata

import numpy as np
import pytest
from PIL import Image

from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.datasets import image_folder, open_dataset


def mask(columns: slice) -> Image.Image:
    values = np.zeros((10, 12), np.uint8)
    values[:, columns] = 255
    return Image.fromarray(values)


def test_pictures_masks_and_captions(tmp_path):
    for name in ("b.png", "a.jpg", "v1.2.png"):
        Image.new("RGB", (12, 10)).save(tmp_path / name)
    mask(slice(0, 3)).save(tmp_path / "a.mask.png")
    mask(slice(0, 2)).save(tmp_path / "b.dog.1.mask.png")
    mask(slice(5, 7)).save(tmp_path / "b.dog.2.mask.png")
    mask(slice(8, 9)).save(tmp_path / "b.hot dog.mask.png")
    mask(slice(8, 9)).save(tmp_path / "v1.2.mask.png")
    mask(slice(8, 9)).save(tmp_path / "lost.mask.png")
    lines = [
        "image,caption",
        "a.jpg\ta plain, grey wall",
        "b.png#0\tone",
        "b.png#1\ttwo",
        "z.png\tx",
    ]
    (tmp_path / "captions.txt").write_text("\n".join([*lines, "b.png", ""]))
    with pytest.warns(UserWarning, match="3 broken"):
        scenes = image_folder(tmp_path, concept="wall")
    assert [s.id for s in scenes] == ["a.jpg", "b.png", "v1.2.png"]
    assert [s.categories for s in scenes] == [("wall",), ("dog", "hot dog"), ("wall",)]
    assert scenes[0].captions == ("a plain, grey wall",)
    assert scenes[1].captions == ("one", "two")
    assert scenes[1].mask("dog").sum() == 40
    assert scenes[1].objects[1].bbox == (5.0, 0.0, 2.0, 10.0)
    assert [str(p) for p in scenes.problems] == [
        "lost.mask.png: there is no picture that this mask is of",
        "captions.txt, id line 5: no picture is named 'z.png'",
        "captions.txt, id line 6: no caption",
    ]
    assert len(scenes.with_concept("dog")) == 1


def test_a_mask_of_another_size_is_named(tmp_path):
    Image.new("RGB", (5, 5)).save(tmp_path / "a.png")
    mask(slice(0, 3)).save(tmp_path / "a.mask.png")
    scenes = open_dataset(f"folder:{tmp_path}")
    with pytest.raises(BadArgument, match=r"mask a\.mask\.png: .*12 x 10 pixels.*5 x 5"):
        _ = scenes[0].objects
    with pytest.warns(UserWarning, match="1 broken"):
        assert len(scenes.verify()) == 0


def test_no_folder_and_no_picture(tmp_path):
    with pytest.raises(BadArgument, match="existing folder"):
        image_folder(tmp_path / "none")
    with pytest.raises(BadArgument, match="a folder with pictures"):
        image_folder(tmp_path)


def test_names_of_other_systems(tmp_path):
    composed = "caf\u00e9"
    Image.new("RGB", (12, 10)).save(
        tmp_path / f"{unicodedata.normalize('NFD', composed)}.JPG", "JPEG"
    )
    mask(slice(0, 3)).save(tmp_path / f"{composed}.Dog.MASK.PNG")
    (tmp_path / "captions.txt").write_text(f"{composed}.JPG\ta dog")
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    (scene,) = image_folder(tmp_path)
    assert scene.categories == ("Dog",)
    assert scene.captions == ("a dog",)
    assert scene.mask("Dog").sum() == 30


def test_a_mask_lies_on_the_picture_as_it_is_shown(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (12, 10)).save(tmp_path / "a.jpg", exif=exif)
    mask(slice(0, 3)).rotate(-90, expand=True).save(tmp_path / "a.mask.png")
    (scene,) = image_folder(tmp_path)
    assert scene.image.size == (10, 12)
    assert scene.mask("object")[:3].all()
    assert not scene.mask("object")[3:].any()
    mask(slice(0, 3)).save(tmp_path / "a.mask.png")
    with pytest.raises(BadArgument, match="12 x 10.*10 x 12; one of the two is turned.*EXIF"):
        scene.mask("object")
    mask(slice(0, 3)).save(tmp_path / "a.mask.png", exif=exif)  # turned like its picture
    assert scene.mask("object")[:3].all()


def test_what_a_mask_only_claims_is_not_read(tmp_path):
    Image.new("RGB", (5, 5)).save(tmp_path / "a.png")
    Image.new("1", (9000, 9000)).save(tmp_path / "a.mask.png")
    (scene,) = image_folder(tmp_path)
    tracemalloc.start()
    with pytest.raises(BadArgument, match="9000 x 9000 pixels"):
        _ = scene.objects
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
