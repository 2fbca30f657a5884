from __future__ import annotations

import gc
import json
import weakref

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.datasets import coco


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def write(root, *, images=None, annotations=None, captions=None, split="val2017", place="val2017"):
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / place).mkdir(parents=True, exist_ok=True)
    if images is None:
        images = [
            {"id": i, "file_name": f"{i:03}.png", "width": 40, "height": 30} for i in (1, 2, 3)
        ]
        for entry in images:
            Image.new("RGB", (40, 30), (entry["id"] * 20, 0, 0)).save(
                root / place / entry["file_name"]
            )
    if annotations is None:
        crowd = coco_mask.encode(np.asfortranarray(np.eye(30, 40, dtype=np.uint8)))
        crowd["counts"] = crowd["counts"].decode()
        annotations = [
            {"id": 1, "image_id": 1, "category_id": 18, "segmentation": square(2, 3, 10)},
            {"id": 2, "image_id": 1, "category_id": 3, "segmentation": square(20, 3, 4)},
            {"id": 3, "image_id": 2, "category_id": 18, "segmentation": crowd, "iscrowd": 1},
            {"id": 4, "image_id": 1, "category_id": 18, "segmentation": square(25, 15, 5)},
        ]
    record = {
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": 18, "name": "dog", "supercategory": "animal"},
            {"id": 3, "name": "car", "supercategory": "vehicle"},
        ],
    }
    path = root / "annotations" / f"instances_{split}.json"
    path.write_text(json.dumps(record))
    if captions is not None:
        (root / "annotations" / f"captions_{split}.json").write_text(
            json.dumps({"annotations": captions})
        )
    return path


@pytest.mark.parametrize("place", ["val2017", "images/val2017", "images", "."])
def test_usual_folders(tmp_path, place):
    write(tmp_path, place=place, captions=[{"id": 1, "image_id": 1, "caption": "a  dog\n"}])
    scenes = coco(tmp_path)
    assert [s.id for s in scenes] == [1, 2, 3]
    assert scenes[0].captions == ("a dog",)
    assert scenes[0].categories == ("dog", "car")
    assert scenes[0].image.getpixel((0, 0)) == (20, 0, 0)
    assert scenes.categories == ("dog", "car")
    assert [len(scenes.with_concept("dog")), len(scenes.without_concept("dog"))] == [2, 1]


def test_masks_are_those_of_pycocotools(tmp_path, capsys):
    oracle = COCO(str(write(tmp_path)))
    capsys.readouterr()
    scenes = coco(tmp_path)
    assert capsys.readouterr().out == ""
    count = 0
    for scene in scenes:
        for one in scene.objects:
            count += 1
            assert np.array_equal(one.mask, oracle.annToMask(oracle.anns[one.id]).astype(bool))
    assert count == 4
    union = oracle.annToMask(oracle.anns[1]) | oracle.annToMask(oracle.anns[4])
    assert np.array_equal(scenes[0].mask("dog"), union.astype(bool))
    assert scenes[0].objects[0].attributes["supercategory"] == "animal"
    assert scenes[1].objects[0].attributes["iscrowd"] is True


def test_filters_choose_scenes_and_keep_their_objects(tmp_path):
    write(tmp_path)
    assert [s.id for s in coco(tmp_path, concept="dog")] == [1, 2]
    assert [s.id for s in coco(tmp_path, concept="dog", instances=(1, 1))] == [2]
    assert [s.id for s in coco(tmp_path, concept="dog", area=(90, 200))] == [1]
    assert len(coco(tmp_path, concept="dog", area=(90, 200))[0].objects) == 3
    assert [s.id for s in coco(tmp_path, instances=(0, 0))] == [3]
    with pytest.raises(BadArgument, match="concept: got 'fox', expected a category: dog, car"):
        coco(tmp_path, concept="fox")


BROKEN = [
    ({"id": 10, "image_id": 99, "category_id": 18, "segmentation": square(1, 1, 5)}, "image 99"),
    ({"id": 11, "image_id": 1, "category_id": 77, "segmentation": square(1, 1, 5)}, "category 77"),
    ({"id": 12, "image_id": 1, "category_id": 18, "segmentation": "x"}, "no segmentation"),
    ({"id": 13, "image_id": 1, "category_id": 18, "segmentation": [[1, 2]]}, "three points"),
    ({"id": 14, "image_id": 1, "category_id": [], "segmentation": square(1, 1, 5)}, "category"),
    ({"id": 1, "image_id": 1, "category_id": 18, "segmentation": square(1, 1, 5)}, "a second"),
    ({"image_id": 1}, "category None is unknown"),
    ("text", "no object"),
    (
        {
            "id": 15,
            "image_id": 1,
            "category_id": 18,
            "segmentation": {"size": [30, 40], "counts": [9999999]},
        },
        "do not sum",
    ),
]


def test_broken_annotations_are_listed_and_their_objects_stay_present(tmp_path):
    path = write(tmp_path)
    record = json.loads(path.read_text())
    record["annotations"] += [entry for entry, _ in BROKEN]
    path.write_text(json.dumps(record))
    with pytest.warns(UserWarning, match=r"9 broken records were skipped.*\.problems"):
        scenes = coco(tmp_path)
    assert scenes.n_skipped == len(BROKEN)
    for problem, (entry, reason) in zip(scenes.problems, BROKEN, strict=True):
        assert problem.file == "instances_val2017.json"
        assert problem.id == (entry.get("id") if isinstance(entry, dict) else None)
        assert reason in problem.reason
    assert [len(s.objects) for s in scenes] == [7, 1, 0]
    found = {o.id: o.has_mask for o in scenes[0].objects}
    assert found == {1: True, 2: True, 4: True, 12: False, 13: False, 15: False}


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "/etc/passwd", "a/../../secret.png", "C:\\x.png", "..\\x.png", "", None],
)
def test_file_names_may_not_leave_their_folder(tmp_path, name):
    Image.new("RGB", (40, 30)).save(tmp_path / "secret.png")
    root = tmp_path / "root"
    images = [{"id": 1, "file_name": name, "width": 40, "height": 30}]
    write(root, images=images, annotations=[])
    with pytest.warns(UserWarning, match="leaves its folder"):
        scenes = coco(root)
    assert len(scenes) == 0
    assert scenes.problems[0].id == 1


def test_missing_pictures_and_sizes_are_skipped(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "there.png")
    images = [
        {"id": 9, "file_name": "there.png", "width": 40, "height": 30},
        {"id": 1, "file_name": "absent.png", "width": 40, "height": 30},
        {"id": 2, "file_name": "absent.png", "width": 0, "height": 30},
    ]
    write(tmp_path, images=images, annotations=[])
    with pytest.warns(UserWarning, match="2 broken records"):
        scenes = coco(tmp_path)
    assert [p.reason for p in scenes.problems] == [
        "the picture 'absent.png' is missing",
        "the image has no width",
    ]


def test_broken_captions_never_stop_it(tmp_path):
    captions = [{"id": 5, "image_id": 1}, {"id": 6, "image_id": 50, "caption": "x"}, 3]
    write(tmp_path, captions=captions)
    with pytest.warns(UserWarning, match="3 broken"):
        assert [p.id for p in coco(tmp_path).problems] == [5, 6, None]
    (tmp_path / "annotations" / "captions_val2017.json").write_text("{")
    with pytest.warns(UserWarning, match="no whole JSON file"):
        assert len(coco(tmp_path)) == 3


def test_damaged_pictures_are_found_by_verify(tmp_path):
    write(tmp_path)
    picture = tmp_path / "val2017" / "002.png"
    picture.write_bytes(picture.read_bytes()[:40])
    Image.new("RGB", (10, 10)).save(tmp_path / "val2017" / "003.png")
    scenes = coco(tmp_path)
    with pytest.raises(BadArgument, match=r"instances_val2017\.json, image 2: .*damaged|read"):
        _ = scenes[1].image
    seen = []
    with pytest.warns(UserWarning, match="2 broken"):
        good = scenes.verify(progress=lambda *a: seen.append(a))
    assert [s.id for s in good] == [1]
    assert [p.id for p in good.problems] == [2, 3]
    assert "10 x 10" in good.problems[1].reason
    assert seen[-1] == ("reading pictures", 3, 3)


def test_folders_and_files_that_are_no_coco(tmp_path):
    with pytest.raises(BadArgument, match="existing folder"):
        coco(tmp_path / "none")
    with pytest.raises(BadArgument, match="annotations/instances_SPLIT"):
        coco(tmp_path)
    path = write(tmp_path)
    with pytest.raises(BadArgument, match="split: got 'train2017', expected one of 'val2017'"):
        coco(tmp_path, "train2017")
    with pytest.raises(BadArgument, match="split"):
        coco(tmp_path, "../x")
    for text, message in (("[", "no whole JSON"), ("[]", "no COCO file"), ("{}", "no list")):
        path.write_text(text)
        with pytest.raises(BadArgument, match=message):
            coco(tmp_path)


def test_pictures_are_read_in_the_frame_of_their_masks(tmp_path):
    write(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.new("RGB", (40, 30), (1, 2, 3))
    turned.save(tmp_path / "val2017" / "001.png", exif=exif)
    assert coco(tmp_path)[0].image.size == (40, 30)


def test_nothing_is_kept_while_walking_through(tmp_path):
    write(tmp_path)
    chosen = coco(tmp_path).with_concept("dog")
    image = chosen[0].image
    assert chosen[0].image is image
    gone = weakref.ref(image)
    del image
    gc.collect()
    assert gone() is None
