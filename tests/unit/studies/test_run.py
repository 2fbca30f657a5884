"""`mmkn study`: its figures, tables and keys; resuming; several processes; bad arguments."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

import mmkn_widgets as mmkn
from mmkn_widgets import cli
from mmkn_widgets.core.errors import BadArgument, MmknError
from mmkn_widgets.studies import run as run_module
from mmkn_widgets.studies.jobs import part_path, run_jobs, turns
from mmkn_widgets.studies.run import run_study, select_neurons
from mmkn_widgets.studies.text import progress_line

SMALL = {"n_scenes": 6, "n_random": 2}
KEYS = {
    "suppression", "retention", "identical", "substitution", "random_control", "bleu", "rougeL",
    "bertscore", "neurons",
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return mmkn.load_model("pocket")


@pytest.fixture(scope="module")
def done(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "out"
    result = run_study(
        model, concepts=["star", "cup"], methods=["two_stage", "random"], out=out, **SMALL
    )
    return out, result


def test_the_result_and_its_files(done) -> None:
    out, result = done
    assert result["concepts"] == ["star", "cup"]
    assert result["n_scenes"] == 6
    rows = result["methods"]
    assert set(rows) == {"two_stage", "random"}
    assert all(set(row) == KEYS for row in rows.values())
    assert {"mean", "low", "high"} <= set(rows["two_stage"]["retention"])
    assert rows["two_stage"]["suppression"]["mean"] > 0.5 > rows["random"]["suppression"]["mean"]
    by_word = result["per_concept"]["two_stage"]
    mean = sum(by_word[word]["suppression"] for word in by_word) / 2
    assert rows["two_stage"]["suppression"]["mean"] == pytest.approx(mean)
    with (out / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["method"] for line in lines] == ["unchanged model", "two_stage", "random"]
    assert float(lines[1]["suppression"]) == rows["two_stage"]["suppression"]["mean"]
    assert "| two_stage |" in (out / "table.md").read_text()
    assert (out / "methods.png").read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in (out / "methods.svg").read_text()
    assert json.loads((out / "provenance.json").read_text())["arguments"]["weights"]


def test_what_is_there_is_not_measured_again(done, model, monkeypatch) -> None:
    out, result = done
    monkeypatch.setattr(run_module, "study", None)  # would be called for any missing part
    options = {"concepts": ["star", "cup"], "methods": ["two_stage", "random"], "out": out}
    assert run_study(model, **options, **SMALL) == result
    with pytest.raises(BadArgument, match="another configuration"):
        run_study(model, **options, n_scenes=7)


def test_a_missing_part_is_made_by_a_process_that_shares_the_folder(done, model) -> None:
    out, result = done
    part = part_path(out, "cup", "random")
    held = json.loads(part.read_text())
    part.unlink()
    told: list = []
    again = run_study(
        model, concepts=["star", "cup"], methods=["two_stage", "random"], out=out,
        progress=lambda *step: told.append(step), **SMALL,
    )  # fmt: skip
    assert again == result
    assert json.loads(part.read_text())["suppression"] == held["suppression"]
    assert told == [("study", 0, 1), ("study", 1, 1)]


def test_the_command_prints_the_promised_keys(tmp_path, capsys) -> None:
    out = str(tmp_path / "out")
    given = ["study", "--concepts", "star", "--methods", "two_stage,random_like", "--scenes", "4"]
    assert cli.main([*given, "--n-random", "1", "--out", out, "--json"]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert set(result) == {"concepts", "n_scenes", "methods"}
    assert all(set(row) == KEYS for row in result["methods"].values())
    bertscore = result["methods"]["two_stage"]["bertscore"]["without"]["after"]
    assert 0.5 < bertscore["mean"] <= 1  # the packaged encoder is installed with the tests
    lines = [line for line in printed.err.splitlines() if line.startswith("study")]
    assert [lines[0], lines[-1]] == ["study 0/2", "study 2/2"]  # no terminal: plain lines


def test_two_processes_share_the_work(tmp_path, capsys) -> None:
    out = tmp_path / "out"
    given = ["study", "--concepts", "star", "cup", "--methods", "random", "--scenes", "3"]
    given += ["--n-random", "1", "--bertscore", "none", "--out", str(out), "--jobs", "2", "--json"]
    assert cli.main(given) == 0
    assert json.loads(capsys.readouterr().out)["concepts"] == ["star", "cup"]
    assert len(list(out.glob("parts/*/random.json"))) == 2


def test_a_process_that_fails_says_why(tmp_path) -> None:
    with pytest.raises(MmknError, match="methods: got 'magic'"):
        run_jobs(["study", "--methods", "magic", "--out", str(tmp_path)], 2, tmp_path, 4)


def test_nobody_takes_a_word_that_another_has_begun(tmp_path) -> None:
    words = ["a", "b", "c"]
    folders = [tmp_path / word for word in words]
    mine, yours = turns(words, folders), turns(words, folders)
    assert [next(mine), next(yours), next(mine)] == [("a", False), ("b", False), ("c", False)]
    assert list(yours) == [("a", True), ("c", True)]
    assert list(mine) == [("b", True)]


def test_no_word_leaves_the_folder(tmp_path) -> None:
    path = part_path(tmp_path, "../../etc/passwd", "random")
    assert path.parent.parent == tmp_path / "parts"
    assert part_path(tmp_path, "dining table", "random").parent.name == "dining table"


def test_a_word_that_no_caption_names_is_left_out_and_said(model, tmp_path, monkeypatch) -> None:
    def study(model, word, scenes, **options):
        if word == "cup":
            raise BadArgument("concept: got 'cup', which no caption names")
        return mmkn.study(model, word, scenes, **options)

    monkeypatch.setattr(run_module, "study", study)
    options = {"methods": ["random"], "out": tmp_path / "out", **SMALL}
    result = run_study(model, concepts=["star", "cup"], **options)
    assert result["concepts"] == ["star"]
    assert result["skipped"] == {"cup": "concept: got 'cup', which no caption names"}
    assert "Left out: cup (concept: got 'cup'" in (tmp_path / "out" / "table.md").read_text()
    with pytest.raises(BadArgument, match="which no caption names"):
        run_study(model, concepts=["cup"], **options)


def test_without_thresholds_nothing_is_chosen(model) -> None:
    scenes = mmkn.datasets.pocket_world("val", 160).with_concept("star", 3)
    made = mmkn.study(model, "star", scenes)
    made.evidence["gradcam"][:] = -1.0
    assert len(select_neurons(made, "two_stage_auto")) == 0


def test_unknown_methods_and_concepts(model, tmp_path) -> None:
    with pytest.raises(BadArgument, match="methods: got 'magic'"):
        run_study(model, methods=["magic"], out=tmp_path / "a")
    with pytest.raises(BadArgument, match="concepts: got 'zeppelin'"):
        run_study(model, concepts=["zeppelin"], out=tmp_path / "b")
    for name, value in (("top", 0), ("top", 3073), ("n_scenes", 0), ("n_random", -1)):
        with pytest.raises(BadArgument, match=name):
            run_study(model, concepts=["cup"], out=tmp_path / "b", **{name: value})
    assert not (tmp_path / "b").exists()
    assert cli.main(["study", "--jobs", "0", "--out", str(tmp_path / "b")]) == 2


def test_progress_on_a_terminal_is_one_line() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    show = progress_line(stream)
    show("study", 0, 2)
    show("study", 2, 2)
    said = stream.getvalue()
    assert said.count("\n") == 1 and said.endswith("\n")
    assert re.search(r"\rstudy .*0/2.*\rstudy .*2/2", said)


def test_progress_elsewhere_is_a_line_now_and_then() -> None:
    stream = io.StringIO()
    show = progress_line(stream, every=1000)
    for done in range(5):
        show("study", done, 4)
    assert stream.getvalue() == "study 0/4\nstudy 4/4\n"
    patient = io.StringIO()
    show = progress_line(patient, every=0)
    show("study", 0, 4)
    show("study", 1, 4)
    assert patient.getvalue().splitlines()[1].endswith("left")
