"""What is kept of a study on disk: damage is found, refusals come before the work."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mmkn_widgets as mmkn
from mmkn_widgets import cli
from mmkn_widgets.core import BadArgument, seal, unseal
from mmkn_widgets.inpainting.cache import PictureCache
from mmkn_widgets.studies import open_atlas, run_study
from mmkn_widgets.studies.jobs import part_path

FAULTS = int(os.environ.get("MMKN_FAULTS", "1"))


@pytest.fixture(scope="module")
def model() -> Any:
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def made(model: Any) -> Any:
    return mmkn.study(model, "car", mmkn.datasets.pocket_world("val", 60).with_concept("car", 2))


def _damage(file: Path, draw: random.Random) -> str:
    """Flip a bit of a file, cut it, or remove it; say which."""
    kind = draw.choice(["flip", "flip", "cut", "remove"])
    if kind == "remove":
        file.unlink()
        return kind
    raw = bytearray(file.read_bytes())
    place = draw.randrange(len(raw))
    if kind == "cut":
        file.write_bytes(raw[:place])
    else:
        raw[place] ^= 1 << draw.randrange(8)
        file.write_bytes(raw)
    return f"{kind} at {place}"


def test_a_damaged_study_is_refused(made: Any, model: Any, tmp_path: Path) -> None:
    whole = made.save(tmp_path / "car.study", {"more.json": "{}"})
    assert (whole / "more.json").read_text() == "{}"
    draw = random.Random(0)
    for turn in range(40 * FAULTS):
        broken = tmp_path / "broken"
        shutil.rmtree(broken, ignore_errors=True)
        shutil.copytree(whole, broken)
        file = draw.choice(sorted(broken.iterdir()))
        how = _damage(file, draw)
        with pytest.raises(mmkn.MmknError, match="path: "):
            pytest.fail(f"{turn}: {file.name}, {how}: {mmkn.open_study(broken, model)}")
    made.save(broken)
    assert mmkn.open_study(broken, model).evidence.identical(mmkn.open_study(whole, model).evidence)


def test_a_study_of_an_earlier_release_opens(made: Any, model: Any, tmp_path: Path) -> None:
    old = made.save(tmp_path / "old")
    described = unseal((old / "study.json").read_bytes())
    (old / "study.json").write_text(json.dumps({**described, "version": 1}))
    with pytest.raises(BadArgument, match="damaged"):  # one of today that says it is older
        mmkn.open_study(old, model)
    del described["files"]
    (old / "study.json").write_text(json.dumps({**described, "version": 1}))
    assert mmkn.open_study(old, model).neurons() == made.neurons()
    (old / "evidence.npz").write_bytes(b"PK")
    with pytest.raises(BadArgument, match="damaged"):
        mmkn.open_study(old, model)
    (old / "study.json").write_text(seal({**described, "files": {"../x": "0"}}))
    with pytest.raises(BadArgument, match="leads out of"):
        mmkn.open_study(old, model)


def test_a_study_replaces_only_a_study(made: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("mine")
    with pytest.raises(BadArgument, match="path: "):
        made.save(tmp_path / "thesis")
    assert os.listdir(tmp_path / "thesis") == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    for _ in range(2):
        made.save(tmp_path / "empty")
    assert sorted(os.listdir(tmp_path)) == ["empty", "thesis"]


def test_a_damaged_part_is_measured_again(model: Any, tmp_path: Path) -> None:
    options: Any = {"concepts": ["cup"], "methods": ["random"], "n_scenes": 2, "n_random": 1}
    first = run_study(model, **options, out=tmp_path)
    part = part_path(tmp_path, "cup", "random")
    whole = part.read_bytes()
    for broken in (whole[:100], whole.replace(b"0", b"1", 1), b""):
        part.write_bytes(broken)
        assert run_study(model, **options, out=tmp_path) == first
        assert part.read_bytes() == whole
    (tmp_path / "provenance.json").write_text("{")
    with pytest.raises(BadArgument, match="out: .*damaged"):
        run_study(model, **options, out=tmp_path)


def test_a_damaged_picture_of_the_cache_is_as_good_as_none(tmp_path: Path) -> None:
    cache, draw = PictureCache(tmp_path), random.Random(0)
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    cache.put("a", Image.fromarray(pixels))
    raw = (tmp_path / "a.png").read_bytes()
    for _ in range(300):
        _damage(tmp_path / "a.png", draw)
        found = cache.get("a")
        assert found is None or np.array_equal(np.asarray(found), pixels)
        (tmp_path / "a.png").write_bytes(raw)
    assert np.array_equal(np.asarray(cache.get("a")), pixels)
    (tmp_path / "file").touch()
    with pytest.raises(BadArgument, match="cache: .*cache=False"):
        PictureCache(tmp_path / "file").put("a", Image.fromarray(pixels))


def test_a_damaged_atlas_is_refused(tmp_path: Path) -> None:
    raw = (mmkn.pocket.path().parent / "atlas.npz").read_bytes()
    for broken in (raw[:100], raw[: len(raw) // 2], b"", b"PK" + raw[2:50]):
        (tmp_path / "atlas.npz").write_bytes(broken)
        with pytest.raises(BadArgument, match="path: .*atlas") as told:
            open_atlas(tmp_path / "atlas.npz")
        held = [one.resolve() for one in Path("/proc/self/fd").glob("*")]
        assert (tmp_path / "atlas.npz").resolve() not in held, told  # nor by the error's frames


def test_found_files_stay_when_the_disk_is_full(
    made: Any, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmkn_widgets.studies import find

    test = list(mmkn.datasets.pocket_world("test", 40).with_concept("car", 2))
    found = find(model, "car", list(made.scenes), test=test, n_random=1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    found.save(tmp_path / "out")
    before = {f.name: f.read_bytes() for f in (tmp_path / "out").iterdir()}
    assert {"find.json", "car.mmkn.json", "car-00.png", "thesis.txt"} <= before.keys()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadArgument, match="directory: .*No space left"):
        found.save(tmp_path / "out")
    assert {f.name: f.read_bytes() for f in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["find", "--concept", "car", "--out", "FILE"], "--out: .*file of this name"),
        (["find", "--concept", "car", "--out", "FILE/x"], "--out: .*Not a directory"),
        (["find", "--concept", "car", "--out", "x" * 300], "--out: .*shorter name"),
        (["find", "--concept", "car", "--seed", "-1"], "--seed: got -1"),
        (["find", "--concept", "car", "--seed", str(2**40)], "--seed: got"),
        (["find", "--concept", "car", "--device", "toaster"], "--device: got 'toaster'"),
        (["find", "--concept", "car", "--device", "cuda:77"], "--device: got 'cuda:77'"),
        (["find", "--concept", "car", "--device", "meta"], "--device: got 'meta'"),
        (["study", "--out", "FILE"], "--out: .*file of this name"),
        (["study", "--out", "new", "--seed", "-1"], "--seed: got -1"),
        (["study", "--out", "new", "--device", "toaster"], "--device: got 'toaster'"),
    ],
)
def test_the_command_line_refuses_before_the_model_is_loaded(
    given: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text("mine")
    monkeypatch.setattr(cli, "_load", lambda *_: pytest.fail("the model was loaded"))
    assert cli.main(given) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert re.search(says, said)
    assert os.listdir() == ["FILE"]
