"""What may be given where scenes are wanted: by everyone who asks for scenes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import mmkn_widgets as mmkn
from mmkn_widgets.cli import main
from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.datasets import Scene, as_scenes, hugging_face, open_dataset, pocket_world
from mmkn_widgets.evaluation import measure_effect
from mmkn_widgets.studies import find

URL = "https://example.org/car.jpg"


# -- Hugging Face's interface, in small: what `datasets` gives without being imported ------------


class Feature:
    def __init__(self, **given):
        vars(self).update(given)


def feature(kind, **given):
    return type(kind, (Feature,), {})(**given)


def several(inner):
    return feature("Sequence", feature=inner)


class Table:
    """`datasets.Dataset`."""

    split = "train"

    def __init__(self, rows, features):
        self._rows, self.features = rows, features
        self.decoded = 0

    @property
    def column_names(self):
        return list(self.features)

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, at):
        if isinstance(at, str):
            return [self[i][at] for i in range(len(self))]
        if isinstance(at, slice):
            rows = [self[i] for i in range(*at.indices(len(self)))]
            return {name: [row[name] for row in rows] for name in self.features}
        assert isinstance(at, int)
        self.decoded += "image" in self.features
        return dict(self._rows[at])

    def select_columns(self, names):
        rows = [{name: row[name] for name in names} for row in self._rows]
        return Table(rows, {name: self.features[name] for name in names})


class Stream:
    """`datasets.IterableDataset`."""

    def __init__(self, features):
        self.features, self.column_names = features, list(features)

    def __iter__(self):
        raise AssertionError("nothing is streamed")

    def take(self, n):
        return self


IMAGE = feature("Image", decode=True)
NAMES = feature("ClassLabel", names=["cat", "car", "dog"])
BOXES = several({"bbox": several(feature("Value")), "category": NAMES})


@pytest.fixture(scope="module")
def model():
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def shown(model):
    """A scene on which the model sees the car."""
    return next(
        scene
        for scene in pocket_world("val").with_concept("car")
        if "car" in model.caption(scene.image)
    )


@pytest.fixture
def own(shown, tmp_path):
    """The same as two files."""
    shown.image.save(tmp_path / "beach.png")
    Image.fromarray(shown.mask("car")).save(tmp_path / "beach-mask.png")
    return {"image": tmp_path / "beach.png", "mask": tmp_path / "beach-mask.png"}


def same(left, right):
    return np.array_equal(np.asarray(left.image), np.asarray(right.image))


# -- pictures of one's own -----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["one", "list", "arrays", "named"])
def test_a_picture_with_its_mask(model, shown, own, how):
    row = {
        "one": own,
        "list": [own],
        "arrays": [{"image": np.asarray(shown.image), "mask": shown.mask("car")}],
        "named": [{**own, "id": "mine", "captions": ["a car"], "extra": 3}],
    }[how]
    made = mmkn.study(model, "car", row)
    expected = mmkn.study(model, "car", [shown])
    assert np.allclose(made.evidence["difference"], expected.evidence["difference"])
    scene = made.scenes[0]
    assert scene.categories == scene.masked == ("car",)
    assert scene.id == {"named": "mine", "arrays": scene.id}.get(how, "beach.png")
    assert scene.captions == (("a car",) if how == "named" else ())


def test_pictures_without_a_name_are_told_apart(model, shown):
    other = next(s for s in pocket_world("val").without_concept("car", 9) if s.id != shown.id)
    mask = shown.mask("car")
    rows = [{"image": s.image, "mask": mask} for s in (shown, other, shown)]
    scenes = as_scenes(rows, "car")
    assert len({scene.id for scene in scenes[:2]}) == 2
    singles = [mmkn.datasets.single_scene(s.image, mask, "car") for s in (shown, other)]
    assert len({scene.id for scene in singles}) == 2
    assert singles[0].id == scenes[0].id
    effect = measure_effect(model, [], [shown.image, other.image], concept="car", n_random=0)
    assert effect.captions_before == (model.caption(shown.image), model.caption(other.image))


def test_files_of_one_name_in_two_folders(tmp_path):
    for folder, value in (("a", 10), ("b", 200)):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8), (value, 0, 0)).save(tmp_path / folder / "1.png")
    scenes = as_scenes([tmp_path / "a" / "1.png", str(tmp_path / "b" / "1.png")], masks=False)
    assert scenes[0].id == "1.png"
    assert scenes[1].id.startswith("1.png ")


def bad(shown, own, tmp_path):
    picture, path = shown.image, str(own["image"])
    where = r"where 'car' is on it: mmkn\.study\(model, 'car', \[\{'image': picture, 'mask': mask"
    return [
        (picture, where),
        ([picture], where),
        (path, where),
        ([own["image"]], where),
        ([np.asarray(picture)], where),
        ([{"image": picture}], where),
        ([{"image": picture, "mask": None}], where),
        (URL, r"nothing is downloaded.*urlretrieve\('https://example"),
        ([URL], r"scenes\[0\].*nothing is downloaded"),
        ([shown, URL], r"scenes\[1\].*nothing is downloaded"),
        ("data:image/png;base64,AAAA", "b64decode"),
        (f"file://{path}", "is the path"),
        (str(tmp_path), r"'folder:.*'coco:"),
        ("car", "a data set or its name such as 'pocket:val'"),
        ("absent.png", "existing file"),
        (["pocket:val"], "alone"),
        ({"picturess": 1}, "a mapping with 'picturess'"),
        ({}, "a mapping with nothing"),
        (7, "scenes: got 7, expected scenes: Scene objects"),
        (None, "got None"),
        ([7], r"scenes\[0\]: got 7"),
        ("pocket:nope", "split: got 'nope'"),
        ("coco:no/such", "existing folder"),
        (Stream({"image": IMAGE}), r"streamed.*take\(48\)"),
        ({"train": Table([], {"image": IMAGE})}, r"the splits train.*given\['train'\]"),
        (Table([], {"x": IMAGE, "y": IMAGE}), "a column 'image'"),
        (Table([{"image": picture}], {"image": IMAGE}), "does not annotate"),
        (pocket_world("val", 20).without_concept("car"), "no scene that shows it"),
    ]


def test_what_is_none_says_which_call_is_right(model, shown, own, tmp_path):
    for given, message in bad(shown, own, tmp_path):
        for ask in (mmkn.study, find):
            with pytest.raises(BadArgument, match=message):
                ask(model, "car", given)


# -- data sets -----------------------------------------------------------------------------------


def test_a_data_set_by_name_or_whole(model):
    named = mmkn.study(model, "Car", "pocket:val")
    val = pocket_world("val")
    assert [s.id for s in named.scenes] == [s.id for s in val.with_concept("car", 48)]
    few = pocket_world("val", 40)
    whole = mmkn.study(model, "car", few)
    assert [s.id for s in whole.scenes] == [s.id for s in few.with_concept("car")]
    assert 0 < len(whole.scenes) < 40


def test_figures_are_measured_on_names_pictures_and_data_sets(model, shown):
    made = mmkn.study(model, "car", shown)
    neurons = made.neurons(top=5)
    test = pocket_world("test")
    whole = made.evaluate(
        neurons, test.with_concept("car", 100), test.without_concept("car", 100), n_random=0
    )
    assert made.evaluate(neurons, "pocket:test", "pocket:test", n_random=0).to_dict(
        captions=True
    ) == whole.to_dict(captions=True)
    assert made.evaluate(neurons, shown.image, n_random=0).captions_before == (
        model.caption(shown.image),
    )
    assert made.with_scene(shown.image).scenes[1].categories == ()
    with pytest.raises(BadArgument, match="with_concept: got 7"):
        made.evaluate(neurons, 7)
    search = made.propose_thresholds(without_concept=[shown.image], n_random=0, kept=(5,))
    assert np.isfinite(search.points["suppression"]).all()


def test_captured_data_sets(model):
    val = pocket_world("val", 3)
    by_scene = mmkn.capture(model, list(val), reduced=True)
    assert mmkn.capture(model, val, reduced=True).identical(by_scene)
    table = Table([{"image": scene.image} for scene in val], {"image": IMAGE})
    captured = mmkn.capture(model, table, reduced=True)
    assert captured["activation_max"].equals(by_scene["activation_max"])
    with pytest.raises(BadArgument, match="splits"):
        mmkn.capture(model, {"train": table})


# -- Hugging Face --------------------------------------------------------------------------------


def test_a_column_of_masks(model, shown):
    features = {"image": IMAGE, "mask": feature("Image", decode=True), "label": NAMES}
    rows = [{"image": shown.image, "mask": Image.fromarray(shown.mask("car")), "label": 1}]
    made = mmkn.study(model, "car", Table(rows, features))
    expected = mmkn.study(model, "car", [shown])
    assert np.allclose(made.evidence["difference"], expected.evidence["difference"])
    assert made.scenes[0].source == "rows:train"
    # the same rows in a list, and undecoded
    path = {"bytes": None, "path": "x"}
    assert len(as_scenes([Table(rows, features)[0]], "car")) == 1
    import io

    file = io.BytesIO()
    shown.image.save(file, "PNG")
    undecoded = [{**rows[0], "image": {"bytes": file.getvalue(), "path": None}}]
    assert same(hugging_face(Table(undecoded, features), "car")[0], shown)
    with pytest.raises(BadArgument, match="row 0"):
        _ = hugging_face(Table([{**rows[0], "image": path}], features))[0].image


@pytest.mark.parametrize("shape", ["lists", "mappings", "columns", "texts"])
def test_columns_of_objects(shown, shape):
    size = shown.image.size
    boxes, kinds = [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]], [1, 0]
    each = [{"bbox": b, "category": k} for b, k in zip(boxes, kinds, strict=True)]
    features = {"image_id": feature("Value"), "image": IMAGE, "objects": BOXES}
    rows = [{"image_id": 7, "image": shown.image, "objects": {"bbox": boxes, "category": kinds}},
            {"image_id": 8, "image": shown.image,
             "objects": {"bbox": [], "category": []}}]  # fmt: skip
    if shape == "mappings":
        features["objects"] = [{"bbox": several(feature("Value")), "category": NAMES}]
        rows = [{**rows[0], "objects": each}, {**rows[1], "objects": None}]
    if shape == "columns":
        features = {"image_id": 0, "image": IMAGE, "bbox": several(several(0)),
                    "label": several(NAMES)}  # fmt: skip
        rows = [{"image_id": 7, "image": shown.image, "bbox": boxes, "label": kinds},
                {"image_id": 8, "image": shown.image, "bbox": [], "label": []}]  # fmt: skip
    if shape == "texts":
        features["objects"] = several({"bbox": several(0), "name": feature("Value")})
        rows = [{**rows[0], "objects": {"bbox": boxes, "name": ["car", "cat"]}}, rows[1]]
    table = Table(rows, features)
    data = hugging_face(table)
    assert set(data.categories) == ({"car", "cat"} if shape == "texts" else {"cat", "car", "dog"})
    assert [s.id for s in data.with_concept("car", masks=False)] == [7]
    assert [s.id for s in data.without_concept("car")] == [8]
    assert len(data.with_concept("car")) == 0
    assert table.decoded == 0  # no picture is read to know what is on it
    assert [(o.category, o.bbox, o.mask) for o in data[0].objects] == [
        ("car", (1.0, 2.0, 3.0, 4.0), None), ("cat", (5.0, 6.0, 7.0, 8.0), None),
    ]  # fmt: skip
    assert data[0].image.size == size
    with pytest.raises(BadArgument, match="1 scenes that show it without a mask"):
        as_scenes(table, "car")
    assert [s.id for s in as_scenes(table, "car", masks=False)] == [7]
    assert [s.id for s in as_scenes(table, "car", masks=False, shows=False)] == [8]


def test_objects_with_polygons_and_numbers_without_names(shown):
    polygon = [[1.0, 1.0, 9.0, 1.0, 9.0, 9.0, 1.0, 9.0]]
    inner = {"segmentation": 0, "category": NAMES}
    rows = [{"image": shown.image, "objects": {"segmentation": [polygon, []], "category": [1, 2]}}]
    data = hugging_face(Table(rows, {"image": IMAGE, "objects": several(inner)}))
    assert data[0].masked == ("car",)
    assert data[0].mask("car").sum() == 64
    assert data[0].categories == ("car", "dog")
    with pytest.raises(BadArgument, match="is a number, and no column's features name it"):
        hugging_face(Table(rows, {"image": IMAGE, "objects": several({"category": 0})}))


# -- generate, caption, and the command line ------------------------------------------------------


def test_generate_takes_what_caption_takes(model, shown, own):
    text = model.caption(shown.image)
    prepared = model.prepare(shown.image)
    for given in (shown, shown.image, np.asarray(shown.image), own["image"], str(own["image"]),
                  [shown.image], dict(prepared.inputs), prepared):  # fmt: skip
        assert model.generate(given).texts == [text]
    question = "What color is the car?"
    assert model.generate(shown, question).texts == [model.caption(shown, question)]
    for given, message in (
        (URL, r"nothing is downloaded.*urllib\.request\.urlretrieve"),
        (None, "a path, bytes"),
        (7, "a path, bytes"),
        ([], "at least one picture"),
        ("absent.png", "existing file"),
    ):
        with pytest.raises(BadArgument, match=message):
            model.generate(given)
    with pytest.raises(BadArgument, match=r"prompt.*model\.generate\(image, prompt\)"):
        model.generate(prepared, question)


def test_names_of_data_sets(tmp_path, own):
    with pytest.raises(BadArgument, match="dataset: got None"):
        open_dataset(None)
    with pytest.raises(BadArgument, match="for this folder 'folder:"):
        open_dataset(str(tmp_path))
    with pytest.raises(BadArgument, match="nothing is downloaded"):
        open_dataset("https://example.org/coco.zip")
    for n in (0, -3, True, 1.5):
        with pytest.raises(BadArgument, match="n: got"):
            open_dataset("pocket:val", n)
    with pytest.raises(BadArgument, match="'D:"):
        open_dataset("coco:D:\\coco")
    folder = tmp_path / "a:b"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "x.png")
    Image.new("L", (8, 8), 255).save(folder / "x.mask.PNG")
    assert open_dataset(f"folder:{folder}", concept="car")[0].categories == ("car",)
    assert [s.id for s in as_scenes(f"folder:{folder}", "car")] == ["x.png"]
    with pytest.raises(BadArgument, match=r"annotations/instances_SPLIT\.json"):
        open_dataset(f"coco:{folder}")


@pytest.mark.parametrize("given", [URL, "beach.png", "no-such-thing", "pocket:nope", "coco:none"])
def test_the_command_line_says_it_in_one_line(given, capsys, own, monkeypatch):
    monkeypatch.chdir(own["image"].parent)
    assert main(["find", "--concept", "car", "--dataset", given]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("mmkn: ")
    assert "\n" not in said


def test_any_class_that_has_what_a_scene_has():
    class Other:
        image, categories = Image.new("RGB", (8, 8)), ("car",)

    other = Other()
    assert as_scenes([other], "car") == [other]
    assert as_scenes(Scene(1, other.image), "car")[0].id == 1
    assert as_scenes((s for s in (other, other)), "car") == [other, other]


def test_a_category_may_be_given_in_the_plural() -> None:
    data = pocket_world("val", 40)
    for given, known in (("cars", "car"), ("Dogs", "dog"), ("buses", "bus")):
        for method in ("with_concept", "without_concept"):
            found, wanted = (getattr(data, method)(name) for name in (given, known))
            assert [scene.id for scene in found] == [scene.id for scene in wanted]
            assert 0 < len(found) < len(data)
    names = ["dog", "dogs", "hot dog"]
    pictures = [Scene(name, Image.new("RGB", (8, 8)), categories=[name]) for name in names]
    mine = mmkn.datasets.SceneDataset(pictures, "mine", names)
    assert [scene.id for scene in mine.with_concept("dogs", masks=False)] == ["dogs"]
    for wrong in ("dogz", "", "hot", None, 3):
        with pytest.raises(BadArgument, match="category: got"):
            mine.with_concept(wrong)
