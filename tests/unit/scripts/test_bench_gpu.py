"""The lines that ``make bench-gpu`` runs on a card run here on the CPU, with a small model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch

from tests.benchmarks import gpu


def test_the_same_code_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    what = "capture to main memory / forward"
    monkeypatch.setitem(gpu.GOALS, what, 0.0)  # missed, whatever this machine does
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main(["--tiny", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert (tmp_path / "gpu.md").read_text() == text
    held = json.loads((tmp_path / "gpu.json").read_text())
    assert held["machine"]["card"].startswith("none")
    assert "tiny: says nothing of a card" in text
    models = list(dict.fromkeys(row["model"] for row in held["rows"]))
    assert models[0] == "pocket"
    assert models[1].startswith("LLaVA-shaped")
    assert models[1].endswith("bfloat16")
    for model in models:
        rows = {row["what"]: row for row in held["rows"] if row["model"] == model}
        assert {*gpu.GOALS, "a study of 2 pairs"} <= set(rows)
        assert all(rows[name]["goal"] == goal for name, goal in gpu.GOALS.items())
        assert all(row["value"] > 0 for name, row in rows.items() if "CPU" not in name)
        assert all(row["met"] is None for row in rows.values()), "judged on a CPU"
        assert "outside operations" in rows[what]["why"]
        assert f"Why {what} misses its goal ({model}):" in text
    same = [row["value"] for row in held["rows"] if "CPU" in row["what"]]
    assert same == [0.0] * 4
    line = next(x for x in text.splitlines() if x.startswith(f"| pocket | {what}"))
    assert "| <= 0 x | not judged |" in line


def test_without_a_card_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    told = capsys.readouterr()
    assert "torch finds no CUDA here" in told.err
    assert not told.out


def test_the_table_of_a_card() -> None:
    figures = [
        gpu.Figure("7B", "a / b", 1.04, "x", 1.03, 1.06, 1.05, "note"),
        gpu.Figure("7B", "c / d", 1.2, "x", 1.1, 1.3, 1.05, "", "1 ms\n0.5 ms waiting"),
        gpu.Figure("7B", "e", 2.0, "min", 2.0, 2.0),
    ]
    machine = {
        "card": "NVIDIA H100", "memory_gb": 80.0, "torch": "2", "transformers": "5", "minutes": 8,
        "tiny": False,
    }  # fmt: skip
    lines = gpu.markdown(figures, machine).splitlines()
    assert lines[0].startswith("**NVIDIA H100**, 80.0 GB")
    assert lines[4] == "| 7B | a / b | 1.04 x | 1.03 to 1.06 | <= 1.05 x | met | note |"
    assert lines[5] == "| 7B | c / d | 1.2 x | 1.1 to 1.3 | <= 1.05 x | missed |  |"
    assert lines[6] == "| 7B | e | 2 min |  |  |  |  |"
    assert lines[-2:] == ["    1 ms", "    0.5 ms waiting"]


def test_the_large_model_is_of_the_shape_of_llava() -> None:
    """By the sizes alone: 7 billion parameters are not made here."""
    sizes = gpu._parser().parse_args([])
    assert (sizes.hidden, sizes.ffn, sizes.layers, sizes.vocabulary) == (4096, 11008, 32, 32064)
    assert (sizes.image // sizes.patch) ** 2 == 576
    assert sizes.dtype == "bfloat16"
    small = argparse.Namespace(**{**vars(sizes), **gpu._TINY})
    model = gpu.llava_shaped(small, torch.device("cpu"))
    assert model.dtype == torch.bfloat16
    assert (model.n_layers, model.n_neurons) == (small.layers, small.ffn)
    image = (small.image // small.patch) ** 2
    picture = gpu.mmkn.datasets.pocket_world("val", 1)[0].image
    tokens = model.token_maps(model.prepare(picture))[0]
    assert len(tokens.image_positions) == image
