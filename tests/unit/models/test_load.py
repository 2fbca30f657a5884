"""What can be loaded, and one line for everything that cannot."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText

import mmkn_widgets as mmkn
from mmkn_widgets.core.errors import BadArgument, MmknError, NotSupported


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(mmkn.pocket.path(), tmp_path / "model"))


def _message(error: pytest.ExceptionInfo[MmknError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_the_box_and_its_copy_are_the_same_model(folder: Path, pocket: Any, pictures: Any) -> None:
    copy = mmkn.load_model(folder)
    assert copy.weights_hash == pocket.weights_hash
    assert copy.caption(pictures[0]) == pocket.caption(pictures[0])
    assert (copy.n_layers, copy.n_neurons, copy.hidden_size) == (6, 512, 128)
    assert not any(p.requires_grad for p in copy.hf.parameters())
    assert copy.dtype is torch.float32  # on a CPU, whatever the file holds


def test_a_folder_without_a_config(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(BadArgument) as error:
        mmkn.load_model(tmp_path)
    assert "is not a model folder: it has no config.json" in _message(error)
    assert "model.safetensors" in _message(error)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("./nowhere", "there is no folder './nowhere'"),
        ("someone/unknown-model", "the Hugging Face hub has no such model or cannot be reached"),
    ],
)
def test_an_unknown_name(name: str, said: str) -> None:
    with pytest.raises(BadArgument) as error:
        mmkn.load_model(name)
    assert said in _message(error)


def test_a_file_instead_of_a_folder(folder: Path) -> None:
    with pytest.raises(BadArgument) as error:
        mmkn.load_model(folder / "config.json")
    assert "is a file; expected the folder" in _message(error)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{not json", "cannot be read"),
        ('{"a": 1}', "names no model_type"),
        ("[]", "names no model_type"),
        ('{"model_type": "llava9000"}', "does not know the model type"),
        ('{"model_type": "mplug_owl2", "auto_map": {}}', "describes 8,"),
        (
            '{"model_type": "mplug_owl2", "visual_config": {"visual_model": '
            '{"use_cls_token": false}}}',
            "visual_model.use_cls_token is False, a setting of mPLUG-Owl2.1",
        ),
    ],
)
def test_a_config_that_is_none(folder: Path, config: str, said: str) -> None:
    (folder / "config.json").write_text(config)
    with pytest.raises(MmknError) as error:
        mmkn.load_model(folder)
    assert said in _message(error)


def test_a_million_layers_are_refused_before_they_are_built(folder: Path) -> None:
    described = json.loads((folder / "config.json").read_text())
    described["text_config"]["num_hidden_layers"] = 1_000_000
    (folder / "config.json").write_text(json.dumps(described))
    begun = time.monotonic()
    with pytest.raises(BadArgument, match="num_hidden_layers = 1000000, expected at most 10000"):
        mmkn.load_model(folder)
    assert time.monotonic() - begun < 30  # building them takes minutes and gigabytes


def test_a_text_only_model(tmp_path: Path, llama: Any) -> None:
    llama().save_pretrained(tmp_path / "llama")
    with pytest.raises(BadArgument) as error:
        mmkn.load_model(tmp_path / "llama")
    assert "is a llama model, which reads no pictures" in _message(error)


@pytest.mark.parametrize("damage", ["cut", "garbage", "missing"])
def test_damaged_weights(folder: Path, damage: str) -> None:
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    if damage == "cut":
        weights.write_bytes(content[: len(content) // 2])
    elif damage == "garbage":
        weights.write_bytes(b"\xff" * 4096)
    else:
        weights.unlink()
    with pytest.raises(BadArgument) as error:
        mmkn.load_model(folder)
    text = _message(error)
    assert "safetensors" in text


def test_a_missing_tensor_is_not_made_up(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    lost = next(key for key in tensors if "layers.3.mlp.down_proj" in key)
    del tensors[lost]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadArgument) as error:
        mmkn.load_model(folder)
    assert "layers.3.mlp.down_proj" in _message(error)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({}, "hold 1,885,184; expected those of one model"), ({"hidden_size": 32}, "other shapes")],
)
def test_weights_of_another_model(folder: Path, settings: dict[str, int], said: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    if settings:
        config["text_config"] |= settings
    else:  # a Llama of 7 billion parameters would be made up
        del config["text_config"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadArgument) as error:
        mmkn.load_model(folder)
    assert said in _message(error)


def test_code_from_outside_is_run_only_by_name(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    trace = tmp_path / "it_ran"
    config["model_type"] = "mystery"
    config["auto_map"] = {
        "AutoConfig": "mystery.MysteryConfig",
        "AutoModelForImageTextToText": "mystery.MysteryModel",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mystery.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    with pytest.raises(NotSupported) as error:
        mmkn.load_model(folder)
    assert "trust_remote_code=True" in _message(error)
    assert not trace.exists()


def test_a_pickle_is_not_read(folder: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path(folder / "boom").touch, ())

    (folder / "model.safetensors").unlink()
    torch.save({"x": Bomb()}, folder / "pytorch_model.bin")
    with pytest.raises(BadArgument):
        mmkn.load_model(folder)
    assert not (folder / "boom").exists()


def test_a_model_object_is_wrapped_as_it_is(pocket: Any, pictures: Any) -> None:
    hf = AutoModelForImageTextToText.from_pretrained(mmkn.pocket.path(), dtype=torch.bfloat16)
    with_processor = mmkn.load_model(hf, pocket.processor)
    assert with_processor.hf is hf
    assert with_processor.dtype is torch.bfloat16
    assert isinstance(with_processor.caption(pictures[0]), str)


def test_without_a_processor_ready_made_inputs_work(
    folder: Path, pocket: Any, pictures: Any
) -> None:
    for file in ("processor_config.json", "tokenizer_config.json", "tokenizer.json"):
        (folder / file).unlink()
    bare = mmkn.load_model(folder)
    assert bare.processor is None
    with pytest.raises(NotSupported, match="without a processor"):
        bare.caption(pictures[0])
    ready = pocket.prepare(pictures[0])
    assert torch.equal(bare.forward(dict(ready.inputs)).logits, pocket.forward(ready).logits)
    written = bare.generate(bare.prepare(dict(ready.inputs)), max_new_tokens=5)
    assert written.token_ids == pocket.generate(ready, max_new_tokens=5).token_ids


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "float12"}, "dtype: got 'float12'"),
        ({"stack": "top"}, "stack: got 'top'"),
        ({"device": "cpu", "device_map": "auto"}, "give device or device_map"),
    ],
)
def test_bad_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadArgument, match=said):
        mmkn.load_model("pocket", **options)


def test_spread_over_devices_by_accelerate(pocket: Any, pictures: Any) -> None:
    spread = mmkn.load_model("pocket", device_map="auto", dtype="float32")
    assert spread.caption(pictures[0]) == pocket.caption(pictures[0])


def test_weights_on_disk_can_be_read(
    folder: Path, pocket: Any, pictures: Any, tmp_path: Path
) -> None:
    names = ("model.vision_tower", "model.multi_modal_projector", "lm_head")
    places: dict[str, Any] = {name: "cpu" for name in names}
    places |= {"model.language_model.embed_tokens": "cpu", "model.language_model.norm": "cpu"}
    places |= {"model.language_model.rotary_emb": "cpu"}
    places |= {f"model.language_model.layers.{i}": "disk" if i else "cpu" for i in range(6)}
    spread = mmkn.load_model(
        folder, device_map=places, dtype="float32", offload_folder=tmp_path / "off"
    )
    assert torch.equal(spread.w_out(3), pocket.w_out(3))
    assert len(spread.checks) == 6
    assert spread.caption(pictures[0]) == pocket.caption(pictures[0])


def test_small_weights_load_without_a_progress_bar(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.utils.logging._tqdm_active", True)
    mmkn.load_model("pocket")
    assert "Loading weights" not in capfd.readouterr().err
    monkeypatch.setattr("mmkn_widgets.models.load._SMALL", 0)
    mmkn.load_model("pocket")
    assert "Loading weights" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["poket", "Pocket", "pockets"])
def test_a_slip_in_the_name_of_the_box_is_said_at_once(name: str) -> None:
    with pytest.raises(BadArgument, match="did you mean 'pocket'") as error:
        mmkn.load_model(name)
    _message(error)


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadArgument, match="device: got 'cuda'") as error:
        mmkn.load_model("pocket", device="cuda")
    _message(error)
