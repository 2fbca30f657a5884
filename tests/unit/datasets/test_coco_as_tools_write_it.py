"""COCO files as CVAT, Label Studio, Roboflow, FiftyOne and LVIS write them, whole and damaged."""

from __future__ import annotations

import copy
import json
import tracemalloc
import unicodedata
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

import mmkn_widgets as mmkn
from mmkn_widgets.core.errors import BadArgument, MmknError
from mmkn_widgets.datasets import ObjectInstance, Scene, coco, open_dataset

SIZE = (40, 30)
SQUARE = [[2, 3, 12, 3, 12, 13, 2, 13]]
CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}]


def image(number, **changes):
    return {"id": number, "file_name": f"{number}.png", "width": 40, "height": 30} | changes


def thing(number, picture=1, category=18, **changes):
    return {"id": number, "image_id": picture, "category_id": category} | changes


def write(root, images, annotations, categories=CATEGORIES, *, place="val2017", files=None,
          to="annotations/instances_val2017.json"):  # fmt: skip
    (root / place).mkdir(parents=True, exist_ok=True)
    names = [i["file_name"] for i in images] if files is None else files
    for name in names:
        (root / place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE, (9, 8, 7)).save(root / place / name)
    (root / to).parent.mkdir(parents=True, exist_ok=True)
    record = {"images": images, "annotations": annotations, "categories": categories}
    (root / to).write_text(json.dumps(record))
    return root


def quietly(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return coco(*arguments, **options)


# -- an object without mask ----------------------------------------------------------------------

NO_MASK = {
    "empty list": {"segmentation": []},
    "empty polygon": {"segmentation": [[]]},
    "null": {"segmentation": None},
    "missing": {},
}
BROKEN = {
    "run lengths that do not sum": {"segmentation": {"size": [30, 40], "counts": [7]}},
    "run lengths of another size": {"segmentation": {"size": [40, 30], "counts": [1200]}},
    "run lengths no text": {"segmentation": {"size": [30, 40], "counts": "\u00e9"}},
    "run lengths of halves": {"segmentation": {"size": [30, 40], "counts": [0.5, 1199.5]}},
    "an odd count": {"segmentation": [[1, 2, 3, 4, 5, 6, 7]]},
    "two points": {"segmentation": [[1, 2, 3, 4]]},
    "texts": {"segmentation": [["1", "2", "3", "4", "5", "6"]]},
    "a very long text": {"segmentation": [[1] * 5000 + ["x" * 1_000_000]]},
    "truths": {"segmentation": [[True, 2, 3, 4, 5, 6]]},
    "nulls": {"segmentation": [[None, 2, 3, 4, 5, 6]]},
    "400 digits": {"segmentation": [[10**400, 2, 3, 4, 5, 6]]},
    "not a number": {"segmentation": [[float("nan"), 2, 3, 4, 5, 6]]},
    "infinite": {"segmentation": [[float("inf"), 2, 3, 4, 5, 6]]},
    "far outside": {"segmentation": [[1e12, 2, 3, 4, 5, 6]]},
    "points in pairs": {"segmentation": [[[1, 2], [3, 4], [5, 6]]]},
    "back and forth": {"segmentation": [[-30, 0, 70, 0] * 12_000]},
    "a number": {"segmentation": 7},
}


@pytest.mark.parametrize("how", [*NO_MASK, *BROKEN])
def test_an_object_without_a_usable_mask_is_present_all_the_same(tmp_path, how):
    given = (NO_MASK | BROKEN)[how]
    write(tmp_path, [image(1), image(2), image(3)], [
        thing(1, 1, bbox=[1, 1, 5, 5], area=25, **given),
        thing(2, 3, segmentation=SQUARE),
    ])  # fmt: skip
    data = quietly(tmp_path)
    assert [s.id for s in data.without_concept("dog")] == [2]
    assert [s.id for s in data.with_concept("dog")] == [3]
    assert [s.id for s in data.with_concept("dog", masks=False)] == [1, 3]
    assert data[0].categories == ("dog",)
    assert data[0].masked == ()
    (only,) = data[0].objects
    assert (only.mask, only.has_mask, only.bbox) == (None, False, (1.0, 1.0, 5.0, 5.0))
    assert only.attributes["area"] == 25
    with pytest.raises(BadArgument, match=r"mask: scene 1 shows 'dog'.*no mask.*with_concept"):
        data[0].mask("dog")
    assert [p.id for p in data.problems] == ([1] if how in BROKEN else [])
    assert all("kept without a mask" in p.reason and len(p.reason) < 301 for p in data.problems)


def test_one_of_two_without_a_mask_makes_no_pair(tmp_path):
    both = [thing(1, segmentation=SQUARE), thing(2, bbox=[20, 3, 4, 4]),
            thing(3, category=3, segmentation=SQUARE)]  # fmt: skip
    data = coco(write(tmp_path, [image(1)], both))
    assert data[0].categories == ("dog", "car")
    assert data[0].masked == ("car",)
    assert len(data.with_concept("dog")) == 0
    with pytest.raises(BadArgument, match="1 of its 2 objects"):
        data[0].mask("dog")
    assert data[0].mask("car").sum() == 100


def test_what_a_file_says_of_areas_boxes_and_crowds(tmp_path):
    packed = coco_mask.encode(np.asfortranarray(np.eye(30, 40, dtype=np.uint8)))
    packed["counts"] = packed["counts"].decode()
    annotations = [
        thing(1, bbox=["1", 2.0, 3, 4], area="x"),
        thing(2, bbox=[10**400, 2, 3, 4], segmentation=SQUARE),
        thing(3, segmentation=[packed, packed], iscrowd="0"),
        thing(4, segmentation=SQUARE[0], iscrowd=1.0),
        thing(5, segmentation={"size": [30.0, 40.0], "counts": packed["counts"]}, iscrowd=True),
    ]
    data = coco(write(tmp_path, [image(1)], annotations))
    objects = data[0].objects
    assert [o.bbox for o in objects[:2]] == [(1.0, 2.0, 3.0, 4.0), (2.0, 3.0, 10.0, 10.0)]
    assert [o.attributes["area"] for o in objects] == [12, 100, 30, 100, 30]
    assert [o.attributes["iscrowd"] for o in objects] == [False, False, False, True, True]
    assert data.problems == ()
    assert [s.id for s in coco(tmp_path, concept="dog", area=(11, 13))] == [1]
    assert len(coco(tmp_path, concept="dog", area=(31, 99))) == 0


# -- ids, sizes, names ---------------------------------------------------------------------------


def test_ids_and_sizes_as_text_and_as_floats(tmp_path):
    write(tmp_path, [image("1", file_name="1.png", width=40.0, height="30"),
                     image("b", file_name="b.png")],
          [thing("7", 1.0, "18", segmentation=SQUARE), thing("x", "b", 3, bbox=[1, 1, 2, 2]),
           {"image_id": "b", "category_id": 18.0}],
          [{"id": "18", "name": "dog"}, {"id": 3.0, "name": "car"}])  # fmt: skip
    (tmp_path / "annotations/captions_val2017.json").write_text(
        json.dumps({"annotations": [{"id": 1, "image_id": "1", "caption": "a dog"}]})
    )
    data = coco(tmp_path)
    assert [s.id for s in data] == [1, "b"]
    assert [s.categories for s in data] == [("dog",), ("car", "dog")]
    assert [o.id for s in data for o in s.objects] == [7, "x", 0]
    assert data[0].captions == ("a dog",)
    assert data[0].mask("dog").shape == (30, 40)
    assert data.problems == ()


def test_lvis_gives_addresses_and_says_what_it_looked_for(tmp_path):
    def at(number, split, **changes):
        address = f"http://images.cocodataset.org/{split}/{number:03}.jpg"
        return {"id": number, "coco_url": address, "width": 40, "height": 30} | changes

    images = [at(1, "val2017", neg_category_ids=[3]), at(2, "train2017", neg_category_ids=[18]),
              at(3, "val2017", neg_category_ids=[])]  # fmt: skip
    write(tmp_path, images, [thing(1, 1, segmentation=SQUARE)], files=["001.jpg", "003.jpg"],
          to="annotations/lvis_v1_val.json")  # fmt: skip
    (tmp_path / "train2017").mkdir()
    Image.new("RGB", SIZE).save(tmp_path / "train2017" / "002.jpg")
    for data in (coco(tmp_path / "annotations/lvis_v1_val.json"), coco(tmp_path, "lvis_v1_val")):
        assert [s.id for s in data] == [1, 2, 3]
        assert [s.image.size for s in data] == [SIZE] * 3
        assert [s.id for s in data.without_concept("dog")] == [2]
        assert [s.id for s in data.without_concept("car")] == [1]
    address = f"coco:{tmp_path / 'annotations' / 'lvis_v1_val.json'}"
    assert [s.id for s in open_dataset(address)] == [1, 2, 3]


@pytest.mark.parametrize("address", ["http://[::1/x.jpg", "http://a/..%2F..%2Fsecret.png", "", 7])
def test_addresses_that_name_no_file_inside(tmp_path, address):
    Image.new("RGB", SIZE).save(tmp_path / "secret.png")
    one = {"id": 1, "coco_url": address, "width": 40, "height": 30}
    data = quietly(write(tmp_path / "root", [one, image(2)], [], files=["2.png"]))
    assert [p.id for p in data.problems] == [1]


@pytest.mark.parametrize(
    ("place", "to", "root", "split"),
    [
        ("train", "train/_annotations.coco.json", ".", "train"),  # Roboflow
        ("data", "labels.json", "labels.json", "val2017"),  # FiftyOne
        ("images", "result.json", "result.json", "val2017"),  # Label Studio
        ("images/default", "annotations/instances_default.json", ".", "default"),  # CVAT
        ("images", "annotations/instances_default.json", ".", "default"),
    ],
)
def test_folders_as_tools_make_them(tmp_path, place, to, root, split):
    write(tmp_path, [image(1)], [thing(1, segmentation=SQUARE)], place=place, to=to)
    data = coco(tmp_path / root, split)
    assert data[0].image.size == SIZE
    assert data[0].mask("dog").sum() == 100
    if root.endswith(".json"):
        with pytest.raises(BadArgument, match=f"the annotation file itself, such as '.*{root}"):
            coco(tmp_path)


def test_the_names_of_files_made_on_another_system(tmp_path):
    accented = unicodedata.normalize("NFD", "caf\u00e9 \u72d7.png")
    files = ["a.JPG", accented, "sub/b.png", "C.png", "c.png"]
    names = ["a.jpg", unicodedata.normalize("NFC", accented), "sub\\b.png", "C.png", "c.png"]
    images = [image(n, file_name=name) for n, name in enumerate(names, 1)]
    write(tmp_path, images, [], files=files)
    assert [s.image.size for s in coco(tmp_path)] == [SIZE] * 5
    # another record's picture is never taken
    (tmp_path / "val2017" / "C.png").unlink()
    assert [p.id for p in quietly(tmp_path).problems] == [4]


def test_links_are_the_users_own(tmp_path):
    elsewhere = tmp_path / "disk"
    write(elsewhere, [image(1)], [thing(1, segmentation=SQUARE)])
    root = tmp_path / "root"
    (root / "annotations").mkdir(parents=True)
    (root / "val2017").symlink_to(elsewhere / "val2017")
    (elsewhere / "val2017" / "2.png").symlink_to(tmp_path / "gone.png")
    record = json.loads((elsewhere / "annotations/instances_val2017.json").read_text())
    record["images"].append(image(2))
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(record))
    data = coco(root)
    assert data[0].image.size == SIZE
    with pytest.raises(BadArgument, match="existing file"):
        _ = data[1].image
    with pytest.warns(UserWarning, match="1 broken"):
        assert [s.id for s in data.verify()] == [1]


# -- what is wrong is listed ---------------------------------------------------------------------


def test_records_that_clash(tmp_path):
    images = [image(1), image("1", file_name="2.png"), image(3), image(4, file_name="3.png")]
    annotations = [thing(1, 3, segmentation=SQUARE), thing(1, 4, 3, segmentation=SQUARE),
                   thing(5, 99), thing(6, 1, 99)]  # fmt: skip
    categories = [*CATEGORIES, {"id": 4, "name": "dog"}, {"id": 5}]
    write(tmp_path, images, [*annotations, thing(7, 3, 4, bbox=[1, 1, 2, 2])], categories)
    data = quietly(tmp_path)
    assert [s.id for s in data] == [1, 3]
    assert data.categories == ("dog", "car")
    assert data[1].categories == ("dog", "car")  # what image 4 shows, which is the same file
    assert data[1].masked == ("car",)  # the second category of that name has the box
    reasons = [(p.id, p.reason.split(";")[0]) for p in data.problems]
    assert reasons == [
        (5, "the category has no name"),
        (1, "a second image with this id"),
        (4, "the picture '3.png' is that of image 3 already, whose objects its own become"),
        (1, "a second annotation with this id"),
        (5, "image 99 is unknown or was skipped"),
        (6, "category 99 is unknown"),
    ]


def test_a_missing_folder_of_pictures_is_an_error_that_says_where_was_looked(tmp_path):
    write(tmp_path, [image(1), image(2)], [], files=[])
    (tmp_path / "val2017").rmdir()
    with pytest.raises(BadArgument) as caught:
        coco(tmp_path)
    assert f"looked in {tmp_path / 'val2017'} (no such folder)" in str(caught.value)
    assert str(tmp_path / "images" / "val2017") in str(caught.value)
    assert "the first is '1.png'" in str(caught.value)
    for words in ("no/such", "x" * 5000, "a\0b"):
        with pytest.raises(BadArgument, match="existing folder"):
            coco(words)
    for thing_given in (None, 7):
        with pytest.raises(BadArgument, match="root"):
            coco(thing_given)
    (tmp_path / "annotations" / "instances_val2017.json").write_text("[]")
    with pytest.raises(BadArgument, match="export as COCO"):
        coco(tmp_path)


def test_one_number_of_thousands_of_digits_is_one_problem(tmp_path):
    write(tmp_path, [image(1), image(2)], [thing(1, segmentation=SQUARE)])
    path = tmp_path / "annotations" / "instances_val2017.json"
    long = f'{{"id": 2, "image_id": 2, "category_id": 18, "segmentation": [[{"9" * 5000}, 1, 2]]}}'
    path.write_text(path.read_text().replace('"annotations": [', f'"annotations": [{long}, '))
    data = quietly(tmp_path)
    assert [p.id for p in data.problems] == [2]
    assert [s.categories for s in data] == [("dog",), ("dog",)]


# -- nothing is allocated for what a file only claims --------------------------------------------


def peak_of(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_sizes_that_are_only_claimed_cost_nothing(tmp_path):
    side = 9000  # within what is read, but not what the picture is
    runs = {"size": [side, side], "counts": [side * side - 1, 1]}
    images = [image(1, width=100_000, height=100_000), image(2, width=side, height=side), image(3)]
    write(tmp_path, images, [thing(1, 2, segmentation=runs)])

    def look():
        data = quietly(tmp_path)
        assert [s.id for s in data] == [2, 3]
        assert "10,000,000,000" in data.problems[0].reason or "100,000" in data.problems[0].reason
        with pytest.raises(BadArgument, match="2.png of 40 x 30 pixels'?, expected 9000 x 9000"):
            _ = data[0].objects
        with pytest.raises(BadArgument, match="40 x 30"):
            quietly(tmp_path, area=(1, 9))

    assert peak_of(look) < 20e6


def test_a_picture_that_would_take_gigabytes(tmp_path, huge_png):
    write(tmp_path, [image(1), image(2)], [thing(1, segmentation=SQUARE)])
    (tmp_path / "val2017" / "1.png").write_bytes(huge_png(30_000))
    data = coco(tmp_path)

    def look():
        for ask in (lambda: data[0].image, lambda: data[0].objects):
            with pytest.raises(BadArgument, match="image 1: got a picture of 900,000,000 pixels"):
                ask()

    assert peak_of(look) < 20e6
    with pytest.warns(UserWarning, match="1 broken"):
        assert [s.id for s in data.verify()] == [2]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=8)
    | st.sampled_from([10**400, 89_000_000, -1, 0, "1", "18", 1.0, "../x", "\ud800", "x" * 300]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["id", "size", "counts", "name", "x"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
FIELDS = {
    "images": ["id", "file_name", "coco_url", "width", "height", "neg_category_ids", None],
    "annotations": ["id", "image_id", "category_id", "segmentation", "bbox", "area", "iscrowd",
                    "attributes", None],
    "categories": ["id", "name", "supercategory", None],
}  # fmt: skip
CHANGES = st.lists(
    st.sampled_from([(part, field) for part in FIELDS for field in FIELDS[part]]).flatmap(
        lambda at: st.tuples(st.just(at), st.integers(0, 2), JSON)
    )
    | st.tuples(st.tuples(st.sampled_from([*FIELDS, None]), st.just("whole")), st.just(0), JSON),
    max_size=4,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=CHANGES, cut=st.one_of([st.none()] * 5 + [st.integers(0, 900)]), area=st.booleans())
def test_any_file_either_loads_or_says_what_is_wrong(tmp_path, changes, cut, area):
    packed = {"size": [30, 40], "counts": [10, 5, 1185]}
    images = [image(n) for n in (1, 2, 3)]
    annotations = [thing(1, segmentation=SQUARE, bbox=[1, 1, 5, 5]), thing(2, 2, 3),
                   thing(3, 3, segmentation=packed, iscrowd=1)]  # fmt: skip
    record = {"images": images, "annotations": annotations, "categories": copy.copy(CATEGORIES)}
    path = tmp_path / "annotations" / "instances_val2017.json"
    if not path.exists():
        write(tmp_path, images, annotations)
    for (part, field), place, value in changes:
        if field == "whole" and part is None:
            record = value if isinstance(value, dict) else {**record, "x": value}
        elif field == "whole":
            record[part] = value
        elif isinstance(record.get(part), list) and place < len(record[part]):
            if field is None or not isinstance(record[part][place], dict):
                record[part][place] = value
            else:
                record[part][place] = {**record[part][place], field: value}
    path.write_text(json.dumps(record)[:cut])

    def walk():
        try:
            data = quietly(tmp_path, **({"area": (0, 100)} if area else {}))
        except MmknError:
            return
        for problem in data.problems:
            assert repr(problem)
            assert problem.id is None or isinstance(problem.id, int | str)
        for category in data.categories:
            shown, lacking = data.with_concept(category), data.without_concept(category)
            assert not {s.id for s in shown} & {s.id for s in lacking}
        for scene in data:
            try:
                assert len(scene.objects) >= len(scene.categories) >= len(scene.masked)
                for category in scene.masked:
                    assert scene.mask(category).shape == scene.image.size[::-1]
            except MmknError:
                pass

    assert peak_of(walk) < 200e6


# -- those who use an object's mask --------------------------------------------------------------


def without_mask(scene, word):
    objects = [
        ObjectInstance(o.category, None if o.category == word else o.mask, o.bbox, o.attributes)
        for o in scene.objects
    ]
    return Scene(scene.id, scene.image, scene.captions, objects, source=scene.source)


def test_every_user_of_masks_knows_objects_without(tmp_path):
    model = mmkn.load_model("pocket")
    whole = next(
        s
        for s in mmkn.datasets.pocket_world("val").with_concept("car")
        if len(s.categories) > 1 and "car" in model.caption(s.image)
    )
    bare = without_mask(whole, "car")
    assert set(bare.categories) == set(whole.categories)
    with pytest.raises(BadArgument, match="shows 'car', but its data set has no mask of it"):
        mmkn.study(model, "car", [bare])
    with pytest.raises(BadArgument, match="no mask"):
        mmkn.datasets.read_mask(bare.objects[0] if bare.objects[0].mask is None
                                else bare.objects[-1], whole.image.size)  # fmt: skip
    made = mmkn.study(model, "car", [whole]).with_scene(bare)
    assert [made.has_pair(0), made.has_pair(1)] == [True, False]
    assert made.pictures(1)[0] is made.pictures(1)[1]
    again = mmkn.open_study(made.save(tmp_path / "study"), model)
    assert again.scenes[1].categories == bare.categories
    assert [o.has_mask for o in again.scenes[1].objects] == [o.has_mask for o in bare.objects]
    assert not again.has_pair(1)
    explorer = mmkn.Explorer(model, bare, "car")
    others = [name for name in whole.categories if name != "car"]
    assert [item["name"] for item in explorer.objects] == others
    assert explorer.concept == "car"
    assert len(explorer.study.scored) == 0  # the page asks for the mask
    explorer.close()
