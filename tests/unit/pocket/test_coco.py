"""What `write_coco` writes is read back by pycocotools and by this package's own reader."""

from __future__ import annotations

import contextlib
import io
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mmkn_widgets import datasets
from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.pocket.coco import run_lengths, write_coco
from mmkn_widgets.pocket.world import scenes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coco("val", 6, tmp_path_factory.mktemp("pocket"))


def test_pycocotools_reads_masks_boxes_and_captions(folder: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        instances = COCO(str(folder / "annotations" / "instances_val.json"))
        captions = COCO(str(folder / "annotations" / "captions_val.json"))
    for scene in islice(scenes("val"), 6):
        annotations = instances.loadAnns(instances.getAnnIds(imgIds=[scene.seed]))
        names = [instances.cats[a["category_id"]]["name"] for a in annotations]
        assert names == list(scene.categories)
        for a, o in zip(annotations, scene.objects, strict=True):
            mask = instances.annToMask(a).astype(bool)
            assert np.array_equal(mask, o.mask)
            assert a["area"] == mask.sum()
            assert tuple(a["bbox"]) == o.bbox
        said = [c["caption"] for c in captions.loadAnns(captions.getAnnIds(imgIds=[scene.seed]))]
        assert tuple(said) == scene.captions
        name = instances.imgs[scene.seed]["file_name"]
        with Image.open(folder / "images" / "val" / name) as image:
            assert np.array_equal(np.asarray(image), scene.image)


def test_our_reader_reads_it(folder: Path) -> None:
    data = datasets.coco(folder, "val")
    assert len(data) == 6
    for read, scene in zip(data, scenes("val"), strict=False):
        assert np.array_equal(np.asarray(read.image), scene.image)
        assert read.captions == scene.captions
        for a, o in zip(read.objects, scene.objects, strict=True):
            assert a.category == o.category
            assert np.array_equal(a.mask, o.mask)


def test_run_lengths_begin_with_zeros() -> None:
    assert run_lengths(np.ones((2, 2), bool)) == [0, 4]
    assert run_lengths(np.zeros((2, 2), bool)) == [4]


def test_ids_are_unique(folder: Path) -> None:
    record = json.loads((folder / "annotations" / "instances_val.json").read_text())
    ids = [a["id"] for a in record["annotations"]]
    assert len(ids) == len(set(ids))


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="n: got 0"):
        write_coco("val", 0, tmp_path)
    with pytest.raises(BadArgument, match="split"):
        write_coco("dev", 1, tmp_path)
    assert not list(tmp_path.iterdir())
