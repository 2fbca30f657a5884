"""What `mmkn inspect` prints, with and without a processor."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mmkn_widgets as mmkn
from mmkn_widgets.models import inspect_model

KEYS = {
    "model", "architecture", "layers", "neurons", "site", "gated", "moe", "dtype",
    "image_geometry", "bytes_per_image", "supported", "refused",
}  # fmt: skip


def test_the_pocket_model(pocket: Any, pictures: Any) -> None:
    found = inspect_model(pocket)
    assert json.loads(json.dumps(found)) == found
    assert set(found) >= KEYS
    assert found["architecture"] == "LlavaForConditionalGeneration"
    assert (found["layers"], found["neurons"], found["dtype"]) == (6, 512, "float32")
    assert found["site"] == ["model.language_model.layers.*.mlp.down_proj"]
    assert (found["image_geometry"]["rows"], found["image_geometry"]["columns"]) == (8, 8)
    store = sum(value.numel() * value.element_size() for value in _captured(pocket, pictures[0]))
    assert found["bytes_per_image"] == store
    assert found["supported"] == [
        "caption", "capture", "gradients", "ablate", "decode", "edit", "paint",
    ]  # fmt: skip
    assert found["refused"] == []


def _captured(model: Any, picture: Any) -> list[Any]:
    seen: list[Any] = []
    handles = [site.hook(lambda value: seen.append(value)) for site in model.sites]
    model.forward(model.prepare(picture))
    for handle in handles:
        handle.remove()
    return seen


def test_without_a_processor(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in ("config.json", "model.safetensors", "generation_config.json"):
        shutil.copy(mmkn.pocket.path() / file, folder)
    found = inspect_model(folder)
    assert found["layers"] == 6
    geometry = found["image_geometry"]
    assert (geometry["kind"], geometry["rows"], geometry["columns"]) == ("grid", 8, 8)
    assert geometry["assumed"].startswith("pixel_values of shape (1, 3, 96, 96)")
    assert found["bytes_per_image"] == (64 + 8) * 6 * 512 * 4
    assert found["supported"] == ["capture", "gradients", "ablate", "edit"]
    assert {entry["what"] for entry in found["refused"]} == {"caption", "decode", "paint"}
    assert all("no processor" in e["reason"] or "no tokenizer" in e["reason"]
               for e in found["refused"])  # fmt: skip


def test_experts_are_counted(llama: Any) -> None:
    settings = {"moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2}
    hf = llama("Qwen3Moe", **settings, head_dim=8, mlp_only_layers=[0])
    found = inspect_model(mmkn.load_model(hf))
    assert found["bytes_per_image"] is None
    assert found["moe"] == {
        "experts": 4,
        "layers": [1, 2],
        "neurons": 24,
        "shared": False,
        "reached": [1, 2],
    }
    assert found["neurons"] == 48
    assert found["behind"] == []
