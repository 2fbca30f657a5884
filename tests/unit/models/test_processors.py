"""Processors whose part for clips needs torchvision read pictures without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

import mmkn_widgets as mmkn
from mmkn_widgets.core.errors import BadArgument
from mmkn_widgets.models.processors import NoClips, load_processor


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the files of a Qwen2-VL processor, with the box's tokenizer."""
    kind = transformers.models.qwen2_vl.image_processing_pil_qwen2_vl.Qwen2VLImageProcessorPil
    kind(patch_size=4).save_pretrained(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(mmkn.pocket.path())
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_vl"}))
    return tmp_path


def _refusing(message: str) -> Any:
    def from_pretrained(*_: Any, **__: Any) -> Any:
        raise ImportError(message)

    return staticmethod(from_pretrained)


def test_without_torchvision_pictures_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, pictures: list[Any]
) -> None:
    refusal = _refusing("Qwen2VLVideoProcessor requires the Torchvision library")
    monkeypatch.setattr(transformers.AutoProcessor, "from_pretrained", refusal)
    processor = load_processor(str(folder), transformers.Qwen2VLConfig(), None, False)
    assert isinstance(processor, transformers.Qwen2VLProcessor)
    assert isinstance(processor.video_processor, NoClips)
    assert "video" not in json.dumps(processor.to_dict())
    made = processor(images=[pictures[0]], text=["<image> a car"], return_tensors="pt")
    _, height, width = made["image_grid_thw"][0].tolist()
    image = processor.tokenizer.convert_tokens_to_ids("<image>")
    assert int((made["input_ids"] == image).sum()) == height * width // 4
    with pytest.raises(BadArgument, match="without its part for clips"):
        processor.video_processor(videos=[])


def test_what_needs_torchvision_for_pictures_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = _refusing("SomeImageProcessor requires the Torchvision library\nbut it was not found")
    monkeypatch.setattr(transformers.AutoProcessor, "from_pretrained", refusal)
    monkeypatch.setattr(transformers.AutoImageProcessor, "from_pretrained", refusal)
    with pytest.raises(BadArgument, match="pip install torchvision") as error:
        load_processor(str(folder), transformers.Qwen2VLConfig(), None, False)
    assert "\n" not in str(error.value)
