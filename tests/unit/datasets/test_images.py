from __future__ import annotations

import io
import os
import tracemalloc
import warnings

import numpy as np
import pytest
from PIL import Image

from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.datasets import Scene, read_image
from mmkn_widgets.datasets.images import read_sizes


def content(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def gradient(width: int = 24, height: int = 16) -> Image.Image:
    rows, columns = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([rows * 15, columns * 10, rows * 0 + 90], -1).astype(np.uint8))


def test_path_bytes_file_image_array_and_scene_give_the_same(tmp_path):
    image = gradient()
    path = tmp_path / "a.png"
    image.save(path)
    data = path.read_bytes()
    sources = [str(path), path, data, bytearray(data), io.BytesIO(data), image, np.asarray(image)]
    for source in [*sources, Scene(1, image)]:
        read = read_image(source)
        assert read.mode == "RGB"
        assert np.array_equal(np.asarray(read), np.asarray(image))


def test_exif_orientation_is_applied_unless_asked_otherwise():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    data = content(gradient(), "PNG", exif=exif)
    turned = read_image(data)
    assert turned.size == (16, 24)
    expected = np.asarray(gradient().transpose(Image.Transpose.ROTATE_270))
    assert np.array_equal(np.asarray(turned), expected)
    assert read_image(data, orient=False).size == (24, 16)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_in_a_file_s_head_is_that_of_the_picture_as_it_is_read(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    gradient().save(tmp_path / "a.png", exif=exif)
    stored, shown = read_sizes(tmp_path / "a.png")
    assert stored == (24, 16) == read_image(tmp_path / "a.png", orient=False).size
    assert shown == read_image(tmp_path / "a.png").size


def test_palette_grey_bilevel_and_cmyk():
    image = gradient()
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE)
    assert np.array_equal(
        np.asarray(read_image(content(palette, "PNG"))), np.asarray(palette.convert("RGB"))
    )
    grey = image.convert("L")
    assert np.array_equal(np.asarray(read_image(grey))[..., 0], np.asarray(grey))
    assert set(np.unique(np.asarray(read_image(image.convert("1"))))) <= {0, 255}
    ink = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red = np.asarray(read_image(content(ink, "JPEG", quality=100)))[4, 4].astype(int)
    assert red[0] > 240
    assert red[1:].max() < 15


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_cut(kind):
    deep = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    read = np.asarray(read_image(content(Image.fromarray(deep), kind)))
    assert np.array_equal(read[..., 0], np.rint(deep / 257.0).astype(np.uint8))
    assert np.array_equal(np.asarray(read_image(deep)), read)


def test_float_tiff_with_values_from_0_to_1():
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    read = np.asarray(read_image(content(Image.fromarray(values), "TIFF")))
    assert np.array_equal(read[..., 1], np.rint(values * 255).astype(np.uint8))


def test_transparency_is_laid_on_white():
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert np.asarray(read_image(content(clear, "PNG"))).min() == 255
    half = np.asarray(read_image(Image.new("LA", (2, 2), (0, 128))))
    assert abs(int(half[0, 0, 0]) - 127) <= 1
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30, 200, 200, 200])
    assert np.asarray(read_image(content(palette, "PNG", transparency=0))).min() == 255


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation_with_a_note(kind):
    first, second = Image.new("RGB", (8, 8), (250, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 250))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = content(first, kind, save_all=True, append_images=[second], **options)
    with pytest.warns(UserWarning, match="2 frames; only the first one is used"):
        read = read_image(data)
    assert np.asarray(read)[0, 0, 0] > 240


def test_an_ordinary_picture_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(content(gradient(), "JPEG"))


@pytest.mark.parametrize(
    ("side", "given"), [(20_000, "400,000,000 pixels"), (10_000, "10,000 x 10,000 pixels")]
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_huge_picture_is_refused(side, given, tmp_path, huge_png):
    path = tmp_path / "huge.png"
    path.write_bytes(huge_png(side))
    with pytest.raises(BadArgument, match=rf"image: got a picture of {given}.*scale it"):
        read_image(path)


def test_a_huge_array_is_refused_without_a_copy():
    view = np.broadcast_to(np.zeros(3, np.uint8), (20_000, 20_000, 3))
    with pytest.raises(BadArgument, match="20,000 x 20,000 pixels"):
        read_image(view)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_truncated_files(kind):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    data = content(noise, kind)
    for share in (0.02, 0.5, 0.9):
        with pytest.raises(BadArgument, match=r"^image: got .*(truncated|none|cannot be read)"):
            read_image(data[: int(len(data) * share)])


def test_what_is_no_picture(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    postscript = tmp_path / "a.eps"
    postscript.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    for path in (text, postscript):
        with pytest.raises(BadArgument, match="expected a PNG, JPEG"):
            read_image(path)
    with pytest.raises(BadArgument, match="expected a PNG, JPEG"):
        read_image(b"")


def test_paths_that_are_no_file(tmp_path):
    with pytest.raises(BadArgument, match="existing file"):
        read_image(tmp_path / "absent.png")
    with pytest.raises(BadArgument, match="image_folder reads folders"):
        read_image(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadArgument, match="ordinary file"):
        read_image(tmp_path / "pipe")
    for name in ("a\0b.png", "x" * 5000):
        with pytest.raises(BadArgument, match=r"^image: got"):
            read_image(name)


@pytest.mark.parametrize(
    "address", ["https://example.org/a.png", "file:///tmp/a.png", "s3://a/b", "data:image/png,x"]
)
def test_addresses_are_refused_with_what_to_do(address):
    with pytest.raises(BadArgument, match="nothing is downloaded, save the picture"):
        read_image(address)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 8, 8), np.uint8), "move the channels last"),
        (np.zeros((8,), np.uint8), "height, width"),
        (np.full((4, 4), 3.0), "values between 0 and 1"),
        (np.full((4, 4), np.nan), "values between 0 and 1"),
        (np.zeros((4, 4), np.int64), "dtype int64"),
        (np.zeros((0, 4), np.uint8), "at least one pixel"),
        (12, "a path, bytes"),
        (None, "a path, bytes"),
    ],
)
def test_unusable_arrays_and_things(array, message):
    with pytest.raises(BadArgument, match=message):
        read_image(array)


def test_tensors_and_floats():
    import torch

    values = torch.linspace(0, 1, 48, requires_grad=True).reshape(4, 4, 3)
    read = np.asarray(read_image(values))
    assert np.array_equal(read, np.rint(values.detach().numpy() * 255.0).astype(np.uint8))


def test_a_file_is_not_read_before_its_head(tmp_path, huge_png):
    for name, head in (("a.png", b""), ("b.png", huge_png(20_000))):
        with open(tmp_path / name, "wb") as file:
            file.write(head)
            file.truncate(3 * 2**30)
        tracemalloc.start()
        with pytest.raises(BadArgument, match=r"scale it|this is none"):
            read_image(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 20e6
        tracemalloc.stop()


def test_a_frame_that_claims_more_than_its_animation(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 0, 250))]
    data = bytearray(content(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    at = data.rindex(b"\x21\xf9") + 8  # behind the second frame's extension: its place and size
    assert data[at : at + 1] == b"\x2c"
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    tracemalloc.start()
    with pytest.warns(UserWarning, match="2 frames"):
        assert read_image(bytes(data)).getpixel((4, 4))[0] > 200
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_a_name_that_begins_with_a_tilde(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gradient().save("~mine.png")
    assert read_image("~mine.png").size == (24, 16)
