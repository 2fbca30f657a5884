"""Edits of the pocket model: what they write, what they do, and the file they travel in."""

from __future__ import annotations

import json
import random
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save, save_file

import mmkn_widgets as mmkn
from mmkn_widgets.attribution import collect, two_stage
from mmkn_widgets.core.concept import as_concept
from mmkn_widgets.core.errors import BadArgument, Cancelled, NotSupported
from mmkn_widgets.core.jobs import CancelToken
from mmkn_widgets.evaluation import edit_report
from mmkn_widgets.interventions import EditReport, Goal, edit, load_edit
from mmkn_widgets.interventions.closed_form import word_direction
from tests.unit.interventions.helpers import n_hooks, same_bits, snapshot


@pytest.fixture(scope="module")
def pocket() -> Any:
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def val() -> Any:
    return mmkn.datasets.pocket_world("val")


@pytest.fixture(scope="module")
def evidence(pocket: Any, val: Any) -> Any:
    return collect(pocket, "dog", val.with_concept("dog", 24))


@pytest.fixture(scope="module")
def neurons(evidence: Any) -> Any:
    return two_stage(evidence, quantile_d=0.95, top=60)


@pytest.fixture(scope="module")
def scenes() -> list[Any]:
    test = mmkn.datasets.pocket_world("test")
    return [*test.with_concept("dog", 16), *test.without_concept("dog", 24)]


def test_the_closed_form_is_the_papers(pocket: Any, neurons: Any, evidence: Any) -> None:
    made = edit(pocket, neurons, "dog", "cat", top=5, alpha=0.7, activation=evidence)
    unembedding = pocket.unembedding
    ids = [pocket.tokenizer.convert_tokens_to_ids(word) for word in ("dog", "cat")]
    direction = unembedding[ids[1]] - unembedding[ids[0]]
    direction = direction / direction.norm()
    chosen = neurons.top(5)
    norms = [pocket.w_out(n.layer)[:, n.index].norm() for n in chosen]
    size = 0.7 * torch.stack(norms).mean()
    before = {(n.layer, n.index): pocket.w_out(n.layer)[:, n.index].clone() for n in chosen}
    with made:
        for n in chosen:
            sign = np.sign(float(evidence.activation[n.layer, n.index]))
            expected = before[n.layer, n.index] + size * sign * direction
            torch.testing.assert_close(pocket.w_out(n.layer)[:, n.index], expected)
    assert made.n_neurons == 5


def test_signs_are_captured_where_no_evidence_is_given(
    pocket: Any, neurons: Any, evidence: Any, val: Any
) -> None:
    known = edit(pocket, neurons, "dog", "cat", activation=evidence)
    found = edit(pocket, neurons, "dog", "cat", scenes=list(val.with_concept("dog", 24)))
    same = [torch.equal(known.deltas[row], found.deltas[row]) for row in known.deltas]
    assert all(same)


def test_a_swap_on_scenes_it_was_not_made_from(
    pocket: Any, neurons: Any, evidence: Any, val: Any, scenes: Any
) -> None:
    before = snapshot(pocket)
    shown = list(val.with_concept("dog", 16))
    made = edit(pocket, neurons, "dog", "cat", alpha=None, activation=evidence, scenes=shown)
    report = edit_report(made, "dog", "cat", scenes)
    assert report.success >= 0.8
    assert report.locality >= 0.8
    assert report.kept_scene >= 0.8
    assert report.leaked <= 0.1
    assert made.report is report
    assert "success" in repr(made)
    assert same_bits(pocket, before)
    random = mmkn.attribution.random_uniform(pocket, 10, seed=1)
    size = made.provenance["arguments"]["alpha"]
    other = edit(pocket, random, "dog", "cat", alpha=size, activation=evidence)
    assert edit_report(other, "dog", "cat", scenes).success <= 0.1


def test_muting_a_word(pocket: Any, neurons: Any, evidence: Any, val: Any, scenes: Any) -> None:
    shown = list(val.with_concept("dog", 16))
    made = edit(pocket, neurons, "dog", alpha=None, activation=evidence, scenes=shown)
    report = edit_report(made, "dog", None, scenes)
    assert report.target == ""
    assert report.success == report.gone >= 0.8
    assert report.locality >= 0.8
    assert report.kept_scene >= 0.9  # another word stands in its place, the rest goes on


def test_muting_lowers_one_logit_and_leaves_the_others(pocket: Any) -> None:
    direction = word_direction(pocket, as_concept("dog"), [])
    change = pocket.unembedding @ direction
    dog = pocket.tokenizer.convert_tokens_to_ids("dog")
    assert direction.norm().item() == pytest.approx(1)
    assert int(change.argmin()) == dog
    others = torch.cat([change[:dog], change[dog + 1 :]])
    assert others.abs().max() < 0.2 * change[dog].abs()


@pytest.mark.parametrize("target", ["cat", None])
def test_a_learned_edit(
    pocket: Any, neurons: Any, val: Any, scenes: Any, target: str | None
) -> None:
    before = snapshot(pocket)
    told: list[int] = []
    lessons = [*val.with_concept("dog", 16), *val.without_concept("dog", 24)]
    options = dict(method="optimised", scenes=lessons, goal=Goal(steps=60), seed=3)
    made = edit(pocket, neurons, "dog", target, **options, progress=lambda *a: told.append(a[1]))
    assert same_bits(pocket, before)
    assert n_hooks(pocket) == 0
    assert told
    if target is not None:  # muting has no answer of its own: the runner-up of each scene
        assert made.provenance["arguments"]["probability"] > 0.7
    report = edit_report(made, "dog", target, scenes)
    assert report.success >= 0.8
    assert report.locality >= 0.8
    again = edit(pocket, neurons, "dog", target, **options)
    assert all(torch.equal(made.deltas[row], again.deltas[row]) for row in made.deltas)


def test_learning_can_be_cancelled(pocket: Any, neurons: Any, val: Any) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        edit(pocket, neurons, "dog", "cat", method="optimised",
             scenes=list(val.with_concept("dog", 4)), cancel=token)  # fmt: skip
    assert pocket.interventions.active == ()


def test_layers_and_numbers_can_be_left_out(pocket: Any, neurons: Any, evidence: Any) -> None:
    last = max(neurons.layer)
    made = edit(pocket, neurons, "dog", "cat", activation=evidence,
                leave_out_last=int(pocket.n_layers - last), top=None)  # fmt: skip
    assert max(made.rows) < last
    assert made.n_neurons == sum(neurons.layer < last)


def test_undo_and_redo_restore_bits(pocket: Any, neurons: Any, evidence: Any) -> None:
    stack, before = pocket.interventions, snapshot(pocket)
    first = edit(pocket, neurons, "dog", "cat", activation=evidence)
    second = edit(pocket, neurons, "dog", "bird", top=20, activation=evidence)
    stack.push(first)
    one = snapshot(pocket)
    stack.push(second)
    two = snapshot(pocket)
    assert stack.undo()
    assert same_bits(pocket, one)
    assert stack.redo()
    assert same_bits(pocket, two)
    stack.pop(first)
    stack.undo()
    assert same_bits(pocket, two)
    stack.clear()
    assert same_bits(pocket, before)


@pytest.fixture
def saved(pocket: Any, neurons: Any, evidence: Any, scenes: Any, tmp_path: Path) -> Path:
    made = edit(pocket, neurons, "dog", "cat", activation=evidence, name="no dogs")
    edit_report(made, "dog", "cat", scenes[:4])
    return made.save(tmp_path / "no-dogs")


def test_a_patch_is_small_and_comes_back(
    pocket: Any, neurons: Any, evidence: Any, saved: Path
) -> None:
    assert saved.name == "no-dogs.safetensors"
    assert saved.stat().st_size < 30_000
    made = edit(pocket, neurons, "dog", "cat", activation=evidence)
    again = load_edit(pocket, saved)
    assert again.name == "no dogs"
    assert again.report is not None
    assert again.provenance["arguments"]["target"] == [{"word": "cat", "synonyms": []}]
    with made:
        wanted = snapshot(pocket)
    with again:
        assert same_bits(pocket, wanted)
    with safe_open(saved, "pt") as file:
        assert file.metadata()["weights_hash"] == pocket.weights_hash


def test_a_patch_can_be_read_while_it_is_active(pocket: Any, saved: Path) -> None:
    before = snapshot(pocket)
    with load_edit(pocket, saved), load_edit(pocket, saved):
        pass
    assert same_bits(pocket, before)


def test_a_patch_of_another_model_is_refused(model: Any, pocket: Any, saved: Path) -> None:
    with pytest.raises(NotSupported, match="was made for pocket"):
        load_edit(model, saved)
    twin = mmkn.load_model("pocket", dtype="float16")
    with pytest.raises(NotSupported, match="same dtype"):
        load_edit(twin, saved)


def test_columns_that_were_changed_otherwise_are_refused(neurons: Any, saved: Path) -> None:
    other = mmkn.load_model("pocket")
    assert other.weights_hash
    first = neurons.top(1)
    other.w_out(int(first.layer[0]))[:, int(first.index[0])] *= 2
    with pytest.raises(NotSupported, match="not those it was made for"):
        load_edit(other, saved)


def _rewrite(saved: Path, **changes: Any) -> Path:
    with safe_open(saved, "pt") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, value in changes.items():
        if name in tensors:
            tensors[name] = value
        elif value is None:
            del metadata[name]
        else:
            metadata[name] = value
    place = saved.with_name("broken.safetensors")
    raw = save(tensors, metadata={**metadata, "checksum": "0" * 64})
    blank = b'"checksum":"' + b"0" * 64 + b'"'  # what it says is wrong, its checksum is right
    place.write_bytes(raw.replace(blank, b'"checksum":"%s"' % sha256(raw).hexdigest().encode()))
    return place


@pytest.mark.parametrize(
    "changes",
    [
        dict(version="99"),
        dict(format="other"),
        dict(columns_hash=None),
        dict(neuron=torch.full((10,), 4000)),
        dict(neuron=torch.zeros(10, dtype=torch.int64), layer=torch.full((10,), 5)),
        dict(neuron=torch.zeros(10)),
        dict(layer=torch.zeros(3, dtype=torch.int64)),
        dict(delta=torch.zeros(10, 3)),
        dict(delta=torch.full((10, 128), float("nan"))),
    ],
)
def test_a_broken_patch_is_a_clear_error(pocket: Any, saved: Path, changes: Any) -> None:
    with pytest.raises(BadArgument):
        load_edit(pocket, _rewrite(saved, **changes))
    assert pocket.interventions.active == ()


def test_no_flipped_bit_passes(pocket: Any, saved: Path, tmp_path: Path) -> None:
    raw = saved.read_bytes()
    size = 8 + int.from_bytes(raw[:8], "little")
    draw = random.Random(0)
    flips = [(place, bit) for place in range(8) for bit in range(8)]
    flips += [(draw.randrange(8, size), draw.randrange(8)) for _ in range(120)]
    flips += [(draw.randrange(size, len(raw)), draw.randrange(8)) for _ in range(80)]
    flips += [(raw.index(word) + n, bit) for word in (b"version", b"checksum") for n in range(20)
              for bit in (0, 5)]  # fmt: skip
    broken = tmp_path / "flipped.safetensors"
    for place, bit in flips:
        changed = bytearray(raw)
        changed[place] ^= 1 << bit
        broken.write_bytes(changed)
        with pytest.raises(mmkn.MmknError):
            load_edit(pocket, broken)
    for n in (0, 7, 8, 100, size, len(raw) - 1):
        broken.write_bytes(raw[:n])
        with pytest.raises(BadArgument, match="cannot be read"):
            load_edit(pocket, broken)
    broken.write_bytes(raw)
    assert load_edit(pocket, broken).name == "no dogs"


def test_a_patch_of_an_earlier_release_is_read(pocket: Any, saved: Path, tmp_path: Path) -> None:
    with safe_open(saved, "pt") as file:
        metadata = {**file.metadata(), "version": "1"}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    old = tmp_path / "old.safetensors"
    save_file(tensors, old, metadata=metadata)
    with pytest.raises(BadArgument, match="checksum"):  # one of today that says it is older
        load_edit(pocket, old)
    del metadata["checksum"]
    save_file(tensors, old, metadata=metadata)
    assert load_edit(pocket, old).name == "no dogs"


def test_a_patch_that_cannot_be_written_leaves_the_older(
    pocket: Any, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, made = saved.read_bytes(), load_edit(pocket, saved)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BadArgument, match="path: .*No space left.*make room"):
        made.save(saved)
    assert saved.read_bytes() == before
    assert [one.name for one in saved.parent.iterdir()] == [saved.name]


def test_what_is_no_patch(pocket: Any, saved: Path, tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="cannot be read"):
        load_edit(pocket, tmp_path / "missing.safetensors")
    half = tmp_path / "half.safetensors"
    half.write_bytes(saved.read_bytes()[:2000])
    with pytest.raises(BadArgument, match="cannot be read"):
        load_edit(pocket, half)
    with pytest.raises(BadArgument, match="written by Edit"):
        load_edit(pocket, mmkn.pocket.path() / "model.safetensors")
    pickled = tmp_path / "evil.safetensors"
    torch.save({"delta": torch.zeros(1)}, pickled)
    with pytest.raises(BadArgument, match="cannot be read"):
        load_edit(pocket, pickled)
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (dict(method="rome"), "'closed_form' or 'optimised'"),
        (dict(method="optimised"), "scenes"),
        (dict(alpha=float("nan")), "alpha"),
        (dict(alpha=None), "scenes to find"),
        (dict(top=0), "top"),
        (dict(leave_out_last=6), "leave_out_last"),
        (dict(target="dog"), "target"),
        (dict(target="zebrafish"), "zebrafish"),
        (dict(activation=None), "activation"),
        (dict(neurons=[]), "at least one neuron"),
    ],
)
def test_bad_arguments(pocket: Any, options: dict[str, Any], says: str) -> None:
    given: dict[str, Any] = dict(
        neurons={4: [1]}, source="dog", target="cat", activation=np.ones((6, 512))
    )
    with pytest.raises(BadArgument, match=says):
        edit(pocket, **{**given, **options})


def test_a_report_is_json(pocket: Any, scenes: Any) -> None:
    made = edit(pocket, {4: [1]}, "dog", "cat", activation=np.zeros((6, 512)))
    report = edit_report(made, "dog", "cat", scenes[::8])
    described = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert described["success"] == 0  # a delta of sign 0
    assert described["repeated"] is None
    assert EditReport.from_dict(described).to_dict() == report.to_dict()
    assert report.locality == 1
    with pytest.raises(BadArgument, match="scenes to measure on"):
        edit_report(made, "dog", "cat", [])
