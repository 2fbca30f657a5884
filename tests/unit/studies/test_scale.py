"""Thousands of pictures: nothing is repeated after a kill, nothing but text is held of each."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mmkn_widgets as mmkn
from mmkn_widgets.attribution import collect
from mmkn_widgets.datasets import Scene
from mmkn_widgets.evaluation import Captioner
from mmkn_widgets.inpainting import FunctionInpainter, get_inpainter
from mmkn_widgets.studies import run_study
from mmkn_widgets.studies.ledger import Ledger
from mmkn_widgets.studies.study import PairCache

study_module = import_module("mmkn_widgets.studies.study")  # its face has a function of that name

SMALL: dict[str, Any] = {
    "concepts": ["cup"],
    "methods": ["two_stage", "random"],
    "n_scenes": 24,
    "n_random": 2,
}


@pytest.fixture(scope="module")
def model() -> mmkn.MultimodalModel:
    return mmkn.load_model("pocket")


def _rows(monkeypatch: Any, stop_after: int | None = None) -> list[int]:
    """Have captions written 16 at a time and counted; stop as a kill would, between two batches."""
    written: list[int] = []
    made, generate = Captioner.__init__, Captioner._generate

    def sixteen(self: Captioner, *given: Any, **named: Any) -> None:
        made(self, *given, **{**named, "batch_size": 16})

    def counted(self: Captioner, prepared: Any) -> list[str]:
        if stop_after is not None and sum(written) >= stop_after:
            raise KeyboardInterrupt
        texts = generate(self, prepared)
        written.append(len(prepared))
        return texts

    monkeypatch.setattr(Captioner, "__init__", sixteen)
    monkeypatch.setattr(Captioner, "_generate", counted)
    return written


@pytest.mark.parametrize("stop_after", [16, 64, 112])
def test_a_run_stopped_inside_a_part_writes_no_caption_twice(
    model: Any, tmp_path: Path, stop_after: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        whole = _rows(patch)
        expected = run_study(model, out=tmp_path / "whole", **SMALL)
    with pytest.MonkeyPatch.context() as patch:
        first = _rows(patch, stop_after)
        with pytest.raises(KeyboardInterrupt):
            run_study(model, out=tmp_path / "out", **SMALL)
    assert not list((tmp_path / "out").glob("parts/*/two_stage.json")) or stop_after > 100
    with pytest.MonkeyPatch.context() as patch:
        second = _rows(patch)
        assert run_study(model, out=tmp_path / "out", **SMALL) == expected
    assert sum(first) + sum(second) == sum(whole) and sum(first) >= stop_after
    left = [path.name for path in (tmp_path / "out").rglob("*.jsonl")]
    assert left == ["captions.jsonl"]  # what stands in the parts is kept there only


def test_a_killed_writer_leaves_all_lines_but_the_last(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "known.jsonl"
    code = f"""
        import os, signal
        from mmkn_widgets.studies.ledger import Ledger
        known = Ledger({str(place)!r})
        for n in range(100):
            known["coco", n] = f"caption {{n}} \\u00fc"
        os.kill(os.getpid(), signal.SIGKILL)
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=env, check=False)
    assert done.returncode == -9
    whole = place.read_bytes()
    place.write_bytes(whole[:-20])  # the last was cut off
    with Ledger(place) as known:
        assert len(known) == 99 and known["coco", 98] == "caption 98 ü"
        assert ("coco", 99) not in known and ("coco", "98") not in known
        known["coco", 99] = "again"
    with Ledger(place) as known:
        assert len(known) == 100 and known["coco", 99] == "again"
    damaged = place.read_bytes().replace(b"caption 7 ", b"caption 8 ")
    place.write_bytes(damaged + b"\xff\n[1]\n{}\n")
    assert len(Ledger(place)) == 99
    with pytest.raises(mmkn.NotSupported, match="only grows"):
        del known["coco", 1]
    with pytest.raises(mmkn.BadArgument, match="out: "):
        Ledger(place / "below.jsonl")["a"] = "b"


def test_what_was_painted_waits_in_files_and_is_the_same(monkeypatch: Any) -> None:
    monkeypatch.setattr(study_module, "_PAINTED_KEPT", 3)
    painted: list[int] = []

    def paint(image: Any, _mask: Any) -> Any:
        painted.append(1)
        return Image.fromarray(255 - np.asarray(image))

    cache = PairCache(FunctionInpainter(paint))
    draw = np.random.default_rng(0)
    scenes = [
        Scene(n, Image.fromarray(draw.integers(0, 256, (9, 7, 3), np.uint8))) for n in range(8)
    ]
    mask = np.zeros((9, 7), bool)
    mask[2:4, 2:4] = True
    images, masks = [scene.image for scene in scenes], [mask] * 8
    for _ in range(2):
        for found in (
            cache.batch(images, masks, scenes),
            [cache(image, mask, scene) for image, scene in zip(images, scenes, strict=True)],
        ):
            for image, one in zip(images, found, strict=True):
                assert np.array_equal(np.asarray(one), 255 - np.asarray(image))
    assert len(painted) == 8 and len(cache._painted) == 3
    folder = cache._folder
    assert folder is not None and len(list(folder.iterdir())) >= 5
    cache.keep(scenes[0], mask, images[1])  # by hand, over what lies in a file
    for scene in scenes[1:]:
        cache(scene.image, mask, scene)
    assert np.array_equal(np.asarray(cache(images[0], mask, scenes[0])), np.asarray(images[1]))
    del cache
    assert not folder.exists()


def test_evidence_over_more_pictures_than_are_kept_is_the_same(
    model: Any, monkeypatch: Any
) -> None:
    scenes = mmkn.datasets.pocket_world("val").with_concept("cup", 24)
    plain = collect(model, "cup", scenes)
    monkeypatch.setattr(study_module, "_PAINTED_KEPT", 2)
    pairs = PairCache(get_inpainter("telea"))
    for _ in range(2):
        again = collect(model, "cup", scenes, inpainter=pairs)
        assert all(np.array_equal(again[name], plain[name], equal_nan=True) for name in (
            "difference", "gradcam", "gradient_sum", "attribution_patching", "contribution",
            "activation", "activation_std", "log_prob",
        ))  # fmt: skip
