"""The drawn world: exact, deterministic, and split without overlap."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from itertools import islice

import numpy as np
import pytest
from pocket_lab.lessons import encode

from mmkn_widgets.core import errors as _errors
from mmkn_widgets.pocket.words import (
    BACKGROUNDS,
    CATEGORIES,
    COLORS,
    COMPANIONS,
    captions,
    vocabulary,
)
from mmkn_widgets.pocket.world import SPLITS, _overlap, draw, scenes


def _digest(picture: np.ndarray) -> bytes:
    return hashlib.sha256(picture.tobytes()).digest()


def test_same_seed_same_scene() -> None:
    for seed in range(40):
        one, two = draw(seed), draw(seed)
        assert one == two
        assert np.array_equal(one.image, two.image)


def test_another_process_draws_the_same_pixels() -> None:
    code = (
        "import hashlib; from mmkn_widgets.pocket.world import draw\n"
        "print(hashlib.sha256(b''.join(draw(s).image.tobytes() for s in range(8))).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = hashlib.sha256(b"".join(draw(s).image.tobytes() for s in range(8))).hexdigest()
    assert other.stdout.strip() == here


def test_splits_share_no_scene() -> None:
    names = list(SPLITS)
    for i, one in enumerate(names):
        for two in names[i + 1 :]:
            assert not set(SPLITS[one][:: len(SPLITS[one]) - 1]) & set(SPLITS[two])
            assert SPLITS[one].stop <= SPLITS[two].start
    seen = {n: {_digest(s.image) for s in islice(scenes(n, subset=None), 300)} for n in names}
    assert all(len(digests) == 300 for digests in seen.values())
    assert not seen["train"] & (seen["val"] | seen["test"])
    assert not seen["val"] & seen["test"]


def test_redraw_changes_only_the_object() -> None:
    for seed in range(60):
        scene = draw(seed)
        for o in scene.objects:
            without = scene.without(o.category)
            changed = (without != scene.image).any(-1)
            inside = np.zeros_like(changed)
            inside[o.y : o.y + o.size, o.x : o.x + o.size] = True
            assert not (changed & ~inside).any()
            # nearly every pixel of the mask differs: the mask is where the object is
            assert changed[o.mask].mean() > 0.85
            # and where nothing of it is drawn nothing changes
            alpha = np.zeros(changed.shape)
            alpha[o.y : o.y + o.size, o.x : o.x + o.size] = o.sprite[..., 3]
            assert not changed[alpha == 0].any()


def test_redraw_without_everything_is_the_background() -> None:
    scene = draw(12)
    gone = scene.without(scene.categories)
    assert not np.array_equal(gone, scene.image)
    assert np.array_equal(scene.without(()), scene.image)
    with pytest.raises(_errors.BadArgument, match=scene.categories[0]):
        scene.without("zeppelin")


def test_objects_are_different_visible_and_apart() -> None:
    for seed in range(300):
        objects = draw(seed).objects
        assert len({o.category for o in objects}) == len(objects)
        assert [o.x + o.size / 2 for o in objects] == sorted(o.x + o.size / 2 for o in objects)
        for i, o in enumerate(objects):
            assert o.mask.sum() > 120
            x, y, w, h = map(int, o.bbox)
            box = np.zeros_like(o.mask)
            box[y : y + h, x : x + w] = True
            assert not (o.mask & ~box).any()
            assert o.mask[y].any() and o.mask[:, x].any()
            for p in objects[i + 1 :]:
                assert _overlap((o.x, o.y, o.size), (p.x, p.y, p.size)) < 0.06


def test_counts_follow_the_stated_probabilities() -> None:
    made = [draw(seed) for seed in range(4000)]
    counts = Counter(len(s.objects) for s in made)
    for n, share in ((1, 0.25), (2, 0.40), (3, 0.35)):
        assert abs(counts[n] / 4000 - share) < 0.03
    assert set(c for s in made for c in s.categories) == set(CATEGORIES)
    assert set(o.color for s in made for o in s.objects) == set(COLORS)
    assert set(s.background for s in made) == set(BACKGROUNDS)
    assert {len(draw(s, n_objects=1).objects) for s in range(50)} == {1}


def test_captions_name_every_object_with_its_color_from_left_to_right() -> None:
    for seed in range(100):
        scene = draw(seed)
        assert len(set(scene.captions)) == 5
        for caption in scene.captions:
            words = caption.replace(",", " ").split()
            assert [w for w in words if w in CATEGORIES] == list(scene.categories)
            for o in scene.objects:
                assert words[words.index(o.category) - 1] == o.color
            assert BACKGROUNDS[scene.background] in caption
            assert len(encode(caption)) == len(caption.replace(",", " ,").split())
    assert "an orange cat" in captions([("orange", "cat")], "sky")[0]
    assert len(vocabulary()) == len(set(vocabulary()))


def test_hallucination_subset_is_what_its_declaration_says() -> None:
    subset = list(islice(scenes("val", subset="hallucination"), 120))
    for scene in subset:
        triggers = [c for c in scene.categories if (scene.background, c) in COMPANIONS]
        assert triggers
        if scene.companion:
            assert scene.companion[1] not in scene.categories
            assert scene.companion in COMPANIONS.values()
    assert any(s.companion for s in subset)
    assert any(s.companion is None for s in subset)
    for scene in islice(scenes("val"), 300):
        assert scene.companion is None
        assert not any((scene.background, c) in COMPANIONS for c in scene.categories)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(_errors.BadArgument, match="seed"):
        draw(-1)
    with pytest.raises(_errors.BadArgument, match="n_objects"):
        draw(1, n_objects=4)
    with pytest.raises(_errors.BadArgument, match="'train', 'val', 'test'"):
        next(scenes("dev"))
    with pytest.raises(_errors.BadArgument, match="hallucination"):
        next(scenes("val", subset="odd"))


def test_the_world_needs_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; from mmkn_widgets.pocket.world import draw; draw(1).image\n"
        "print(sorted(set(sys.modules) & {'torch', 'transformers', 'xarray'}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
