"""The page about large runs quotes what the script prints; its arithmetic by other ways."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from scripts import scale

SEVEN, SEVENTY = scale.MODELS


def test_the_page_quotes_what_the_script_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert scale.main([]) == 0
    printed = capsys.readouterr().out.strip()
    page = scale.PAGE.read_text(encoding="utf-8")
    quoted = page.partition(scale.BEGIN)[2].partition(scale.END)[0].strip()
    assert quoted == printed, "python scripts/scale.py --write"


def test_every_rate_says_where_it_is_from() -> None:
    text = scale.report()
    for name in (*scale.MEASURED, *scale.ASSUMED):
        (line,) = [x for x in text.splitlines() if x.startswith(f"| {name} |")]
        said = "measured, one CPU thread: " if name in scale.MEASURED else "assumed: "
        assert said in line
    rows = [row for _, _, row in scale.MEASURED.values() if not row.startswith("timed: ")]
    code = "".join(p.read_text() for p in (scale.ROOT / "tests/benchmarks").glob("bench_*.py"))
    for row in rows:  # each is a row of make bench
        assert re.sub(r", \d+M parameters", "", row) in code


def test_sizes_are_those_that_the_package_counts() -> None:
    """Against needed_bytes, and against a model's own parameters without its weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from mmkn_widgets.models import needed_bytes

    for model, heads, vocabulary in ((SEVEN, 32, 32064), (SEVENTY, 8, 32064)):
        config = LlamaConfig(
            hidden_size=model.hidden, intermediate_size=model.neurons,
            num_hidden_layers=model.layers, num_attention_heads=model.hidden // 128,
            num_key_value_heads=heads, vocab_size=vocabulary,
        )  # fmt: skip
        with torch.device("meta"):
            parameters = sum(p.numel() for p in LlamaForCausalLM(config).parameters())
        assert parameters / 1e9 == pytest.approx(model.text, rel=0.003)

        class Shape:
            dtype, n_neurons, sites = torch.bfloat16, model.neurons, range(model.layers)

        whole = needed_bytes(Shape(), 640, on_disk=True)  # type: ignore[arg-type]
        assert scale.store_bytes(model) == whole


def test_the_arithmetic_by_hand() -> None:
    """One row with a pencil: 6.74e9 parameters, 640 tokens, 40 % of 989 TFLOP/s."""
    flops = 2 * 6.74e9 * 640 + 2 * 0.30e9 * 577 + 4 * 32 * 4096 * 640**2
    assert scale.forward_seconds(SEVEN) == pytest.approx(flops / 395.6e12)
    step = 14.08e9 / (3.35e12 * 0.6)
    assert scale.caption_seconds(SEVEN) == pytest.approx(flops / 395.6e12 + 16 * step / 8)
    coco, million = scale.PLANS
    assert coco.pairs == pytest.approx(14_500)
    took = scale.steps(SEVEN, coco)
    assert took["random control, one forward each"] == pytest.approx(20 * 14_500 * flops / 395.6e12)
    assert set(scale.steps(SEVEN, million)) < set(took)
    assert [scale.cards(model) for model in scale.MODELS] == [1, 3]


def test_what_breaks_first_is_sorted_and_follows_the_rates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    coco, million = scale.PLANS
    first = [scale.breaks(m, plan)[0][0] for plan in (coco, million) for m in scale.MODELS]
    assert first[1].startswith("one card")
    assert all(name == "the disk, by the full store" for name in first[2:])
    assert scale.breaks(SEVEN, coco)[0][1] < 1, "the page says that nothing breaks"
    value, unit, why = scale.ASSUMED["disk of one machine"]
    before = dict(scale.breaks(SEVENTY, million))["the disk, by the full store"]
    monkeypatch.setitem(scale.ASSUMED, "disk of one machine", (2 * value, unit, why))
    after = dict(scale.breaks(SEVENTY, million))["the disk, by the full store"]
    assert after == pytest.approx(before / 2)
    found = [times for _, times in scale.breaks(SEVENTY, million)]
    assert found == sorted(found, reverse=True)


def test_ratios_of_your_own_bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scale, "MEASURED", dict(scale.MEASURED))
    rows = [
        {"name": row, "value": 3.456}
        for _, _, row in scale.MEASURED.values()
        if not row.startswith("timed: ")
    ]
    bench = tmp_path / "bench.json"
    bench.write_text(json.dumps({"rows": rows}))
    scale.main(["--bench", str(bench)])
    assert "| capture over forward | 3.46 x |" in capsys.readouterr().out
    bench.write_text(json.dumps({"rows": rows[1:]}))
    with pytest.raises(SystemExit, match="has no row 'capture / forward"):
        scale.main(["--bench", str(bench)])


def test_write_puts_it_into_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "scale.md"
    page.write_text(f"before\n\n{scale.BEGIN}\nwhat was there\n{scale.END}\nafter\n")
    monkeypatch.setattr(scale, "PAGE", page)
    scale.main(["--write"])
    text = page.read_text()
    assert text.startswith("before\n\n")
    assert text.endswith("\nafter\n")
    assert scale.report() in text
    assert "what was there" not in text
