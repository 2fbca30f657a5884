"""What a large run takes, on paper: hours, cards, storage, and where it breaks first.

    python scripts/scale.py                     prints the tables that docs/scale.md quotes
    python scripts/scale.py --write             puts them there
    python scripts/scale.py --bench bench.json  with the ratios that `make bench` measured on yours

Nothing of it was run at this size. `MEASURED` comes from `make bench` on one CPU thread, `ASSUMED`
from data sheets and from what people report; every number below follows from these two by the
arithmetic in this file.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ASSUMED", "MEASURED", "MODELS", "PLANS", "Model", "Plan", "report"]

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "scale.md"
BEGIN, END = "<!-- scripts/scale.py prints from here -->", "<!-- to here -->"

#: on one CPU thread: name -> (value, unit, the row of `make bench` it is, or how it was timed)
MEASURED: dict[str, tuple[float, str, str]] = {
    "capture over forward": (0.99, "x", "capture / forward, 100M parameters"),
    "activation x gradient over forward": (
        2.0, "x", "activation x gradient / forward, 100M parameters",
    ),
    "ablated over plain caption": (1.04, "x", "ablated / plain caption"),
    "writing a store, one process": (245.0, "MB/s", "writing the store"),
    "inpainting a picture": (0.04, "s", "timed: telea on 640 x 480, a sixth of it covered"),
    "opening a store, for each picture": (0.52, "ms", "timed: 900 pictures of reductions"),
    "committing a picture, without its values": (6.4, "ms", "timed: 900 pictures of reductions"),
}  # fmt: skip

#: not measured here: name -> (value, unit, where it is from)
ASSUMED: dict[str, tuple[float, str, str]] = {
    "card, peak": (989.0, "TFLOP/s", "data sheet of an H100 SXM, bfloat16 without sparsity"),
    "card, share of the peak reached": (0.4, "", "usual for a forward over hundreds of tokens"),
    "card, memory": (80.0, "GB", "data sheet"),
    "card, memory rate": (3.35, "TB/s", "data sheet"),
    "card, share of the memory rate reached": (0.6, "", "usual for writing token by token"),
    "card to main memory": (50.0, "GB/s", "PCIe 5, 16 lanes"),
    "disk of one machine": (8.0, "TB", "two ordinary NVMe drives"),
    "tokens of a picture and its prompt": (640.0, "", "576 of LLaVA-1.5's grid, 64 of text"),
    "tokens of a caption": (16.0, "", "a sentence"),
    "captions at once": (8.0, "", "the default for models of this size"),
    "categories of a COCO picture": (2.9, "", "average of val2017"),
    "random draws of the control": (20.0, "", "the default"),
    "patience": (168.0, "h", "a week"),
}


@dataclass(frozen=True)
class Model:
    """The shape of a model: its text model, and the vision tower's parameters, in billions."""

    name: str
    layers: int
    hidden: int
    neurons: int
    text: float
    vision: float

    @property
    def weights(self) -> float:
        """Bytes in bfloat16."""
        return 2e9 * (self.text + self.vision)


@dataclass(frozen=True)
class Plan:
    """What is to be done: pictures, concepts, pairs scored, and whether effects are measured."""

    name: str
    pictures: int
    concepts: int
    effects: bool

    @property
    def pairs(self) -> float:
        """Pairs of a picture and the same without the concept."""
        if self.concepts == 1:
            return float(self.pictures)
        return self.pictures * ASSUMED["categories of a COCO picture"][0]


#: shapes of LLaVA-1.5-7B, and of a LLaVA over Llama-2-70B
MODELS = (
    Model("7B", 32, 4096, 11008, 6.74, 0.30),
    Model("70B", 80, 8192, 28672, 68.98, 0.30),
)
PLANS = (
    Plan("COCO val2017, 80 concepts", 5_000, 80, True),
    Plan("one million pictures, one concept", 1_000_000, 1, False),
)


def _given(name: str) -> float:
    return (MEASURED[name] if name in MEASURED else ASSUMED[name])[0]


def forward_seconds(model: Model) -> float:
    """Return one picture's forward: 2 FLOPs a parameter and token, and attention's products."""
    tokens = _given("tokens of a picture and its prompt")
    flops = 2e9 * (model.text * tokens + model.vision * 577)
    flops += 4 * model.layers * model.hidden * tokens**2
    return flops / (1e12 * _given("card, peak") * _given("card, share of the peak reached"))


def caption_seconds(model: Model) -> float:
    """Return one caption of a full batch: the prompt's forward, then the weights once a token."""
    rate = 1e12 * _given("card, memory rate") * _given("card, share of the memory rate reached")
    steps = _given("tokens of a caption") * model.weights / rate / _given("captions at once")
    return forward_seconds(model) + steps


def pair_seconds(model: Model) -> float:
    """Return one pair's scores: its caption, one pass with gradients, one without."""
    passes = _given("activation x gradient over forward") + _given("capture over forward")
    return caption_seconds(model) + passes * forward_seconds(model)


def store_bytes(model: Model) -> float:
    """Return every activation of one picture in bfloat16."""
    return 2 * model.layers * _given("tokens of a picture and its prompt") * model.neurons


def writing_seconds(model: Model) -> float:
    """Return what one picture of the full store takes to write and commit."""
    rate = 1e6 * _given("writing a store, one process")
    return store_bytes(model) / rate + _given("committing a picture, without its values") / 1000


def reduced_bytes(model: Model) -> float:
    """Return maximum and mean over each of four roles of tokens, float32."""
    return 4 * 2 * 4 * model.layers * model.neurons


def score_bytes(model: Model) -> float:
    """Return the five scores of a concept, float32."""
    return 5 * 4 * model.layers * model.neurons


def cards(model: Model) -> int:
    """Return the cards that hold the weights and one pair's graph (8 x its activations)."""
    return math.ceil((model.weights + 8 * store_bytes(model)) / (1e9 * _given("card, memory")))


def steps(model: Model, plan: Plan) -> dict[str, float]:
    """Return the seconds of each step, on the cards that hold the model once."""
    seen = _given("capture over forward") * forward_seconds(model)
    found = {
        "capturing every picture": plan.pictures * seen,
        "inpainting (CPU, telea)": plan.pairs * _given("inpainting a picture"),
        "scoring the pairs": plan.pairs * pair_seconds(model),
    }
    if plan.effects:
        off = _given("ablated over plain caption") * caption_seconds(model)
        draws = _given("random draws of the control")
        found["captions before"] = plan.pictures * caption_seconds(model)
        found["captions with the neurons off"] = 2 * plan.pairs * off
        found["random control, one forward each"] = draws * plan.pairs * forward_seconds(model)
    return found


def breaks(model: Model, plan: Plan) -> list[tuple[str, float]]:
    """Return how often each limit is exceeded when one keeps everything, the worst first."""
    whole = plan.pictures * store_bytes(model)
    write = plan.pictures * writing_seconds(model) / 3600
    compute = sum(steps(model, plan).values()) / 3600
    patience = _given("patience")
    found = [
        ("the disk, by the full store", whole / (1e12 * _given("disk of one machine"))),
        ("a week, by writing the full store in one process", write / patience),
        ("a week, by computing on one copy of the model", compute / patience),
        (
            "one card, by weights and one pair's graph",
            (model.weights + 8 * store_bytes(model)) / (1e9 * _given("card, memory")),
        ),
        (
            "the way off the card, over the forward it hides behind",
            store_bytes(model) / (1e9 * _given("card to main memory")) / forward_seconds(model),
        ),
    ]
    return sorted(found, key=lambda one: -one[1])


def _size(n_bytes: float) -> str:
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes / 1e6:.3g} MB"


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    if seconds < 3600 * 100:
        return f"{seconds / 3600:.3g} h" if seconds >= 3600 else f"{seconds / 60:.3g} min"
    return f"{seconds / 86400:,.0f} days"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def report() -> str:
    """Return every table, in Markdown."""
    lines = ["### Rates", ""]
    given = [
        (name, f"{value:,g} {unit}".strip(), f"measured, one CPU thread: {row}")
        for name, (value, unit, row) in MEASURED.items()
    ]
    given += [
        (name, f"{value:,g} {unit}".strip(), f"assumed: {why}")
        for name, (value, unit, why) in ASSUMED.items()
    ]
    lines += _table(("rate", "value", "from"), given)
    lines += ["", "### One picture", ""]
    each = [
        ("weights in bfloat16", *(_size(model.weights) for model in MODELS)),
        ("cards that hold it and one pair", *(str(cards(model)) for model in MODELS)),
        ("forward", *(_time(forward_seconds(model)) for model in MODELS)),
        ("caption", *(_time(caption_seconds(model)) for model in MODELS)),
        ("scores of a pair", *(_time(pair_seconds(model)) for model in MODELS)),
        ("every activation", *(_size(store_bytes(model)) for model in MODELS)),
        ("reductions alone", *(_size(reduced_bytes(model)) for model in MODELS)),
        ("scores of a concept", *(_size(score_bytes(model)) for model in MODELS)),
    ]
    lines += _table(("", *(model.name for model in MODELS)), each)
    for plan in PLANS:
        lines += ["", f"### {plan.name[0].upper()}{plan.name[1:]}", ""]
        lines += [f"{plan.pictures:,} pictures, {plan.pairs:,.0f} pairs.", ""]
        lines += _plan(plan)
    return "\n".join(lines)


def _plan(plan: Plan) -> list[str]:
    took = [steps(model, plan) for model in MODELS]
    whole = [sum(one.values()) for one in took]
    week = 3600 * _given("patience")
    rows = [(name, *(_time(one[name]) for one in took)) for name in took[0]]
    rows += [
        ("**together, one copy of the model**", *(f"**{_time(seconds)}**" for seconds in whole)),
        (
            "cards for a week (copies x cards of one)",
            *(
                f"{math.ceil(seconds / week) * cards(model)}"
                for seconds, model in zip(whole, MODELS, strict=True)
            ),
        ),
        ("full store", *(_size(plan.pictures * store_bytes(model)) for model in MODELS)),
        (
            "writing it, one process",
            *(
                _time(plan.pictures * writing_seconds(model))
                for model in MODELS
            ),
        ),
        (
            "opening it",
            *(_time(plan.pictures * _given("opening a store, for each picture") / 1000),) * 2,
        ),
        ("reductions alone", *(_size(plan.pictures * reduced_bytes(model)) for model in MODELS)),
        ("scores alone", *(_size(plan.concepts * score_bytes(model)) for model in MODELS)),
    ]  # fmt: skip
    lines = _table(("", *(model.name for model in MODELS)), rows)
    lines += ["", "Where it breaks first, when everything is kept (1 is the limit):", ""]
    orders = [breaks(model, plan) for model in MODELS]
    both = [
        (str(place + 1), *(f"{name}: {times:.3g} x" for name, times in at))
        for place, at in enumerate(zip(*orders, strict=True))
    ]
    return lines + _table(("", *(model.name for model in MODELS)), both)


def _take(bench: Path) -> None:
    """Take the measured ratios from a bench.json."""
    rows = json.loads(bench.read_text(encoding="utf-8"))["rows"]
    found = {row["name"]: row["value"] for row in rows}
    for name, (_, unit, row) in MEASURED.items():
        if row.startswith("timed: "):
            continue
        if row not in found:
            raise SystemExit(f"--bench: {bench} has no row {row!r}; run all of make bench")
        MEASURED[name] = (round(found[row], 2), unit, row)


def main(arguments: list[str] | None = None) -> int:
    """Print the tables, or write them into the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    parser.add_argument("--bench", type=Path, help="a bench.json to take measured rates from")
    given = parser.parse_args(arguments)
    if given.bench is not None:
        _take(given.bench)
    if not given.write:
        print(report())
        return 0
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n\n{report()}\n\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
