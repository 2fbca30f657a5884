"""`mmkn tutorials` writes over nothing; `mmkn explore` opens a notebook or writes a page."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

import mmkn_widgets as mmkn
from mmkn_widgets import cli
from mmkn_widgets.cli import opening
from mmkn_widgets.cli.lessons import list_tutorials, shipped


def test_all_that_ships_is_copied_once(tmp_path: Path, capsys) -> None:
    place = tmp_path / "deep" / "lessons"
    assert cli.main(["tutorials", str(place)]) == 0
    said = capsys.readouterr().out
    for path in shipped().rglob("*"):
        if path.is_file() and ".ipynb_checkpoints" not in path.parts:
            copy = place / path.relative_to(shipped())
            assert copy.read_bytes() == path.read_bytes()
            assert f"copied  {copy}" in said
    assert "kept" not in said


def test_what_is_there_is_kept_and_nothing_is_called_copied(tmp_path: Path, capsys) -> None:
    name = list_tutorials()[0][0]
    (tmp_path / name).write_text("my own work")
    assert cli.main(["tutorials", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert (tmp_path / name).read_text() == "my own work"
    assert f"kept    {tmp_path / name}" in said
    assert f"copied  {tmp_path / name}" not in said
    assert cli.main(["tutorials", str(tmp_path)]) == 0
    assert "copied" not in capsys.readouterr().out


def test_a_link_that_leads_nowhere_is_not_followed(tmp_path: Path, capsys) -> None:
    name = list_tutorials()[0][0]
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons" / name).symlink_to(tmp_path / "elsewhere.ipynb")
    assert cli.main(["tutorials", str(tmp_path / "lessons")]) == 0
    assert not (tmp_path / "elsewhere.ipynb").exists()


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_no_folder_is_said_in_one_line(where: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("mine")
    assert cli.main(["tutorials", str(tmp_path / where)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("mmkn: DIR: ") and said.count("\n") == 1
    assert cli.main(["tutorials"]) == 2


def test_the_list_has_titles(capsys) -> None:
    assert cli.main(["tutorials", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(list(shipped().glob("*.ipynb"))) >= 5
    assert all(len(line.split(maxsplit=1)[1]) > 10 for line in lines)


# -- explore -------------------------------------------------------------------------------------


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scene of the pocket world as a file in the working folder, and its mask beside it."""
    scene = mmkn.datasets.pocket_world("val").with_concept("car", 1)[0]
    scene.image.save(tmp_path / "my picture.png")
    Image.fromarray(scene.mask("car").astype(np.uint8) * 255).save(tmp_path / "mask.png")
    monkeypatch.chdir(tmp_path)
    return Path("my picture.png")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    commands: list[list[str]] = []
    monkeypatch.setattr(opening, "_become", commands.append)
    return commands


def run_cell(path: str) -> mmkn.Explorer:
    """Run a notebook's cell and return its last expression."""
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    *lines, last = notebook.cells[1].source.splitlines()
    names: dict[str, object] = {}
    exec("\n".join(lines), names)
    shown = eval(last, names)
    assert isinstance(shown, mmkn.Explorer)
    return shown


def test_a_picture_opens_in_jupyterlab_under_a_free_name(picture, started, capsys) -> None:
    for name in ("explore_my_picture.ipynb", "explore_my_picture_2.ipynb"):
        given = ["explore", str(picture), "--concept", "car", "--no-browser"]
        assert cli.main(given) == 0
        assert f"written to {name}" in capsys.readouterr().out
        command = started.pop()
        assert command[:3] == [sys.executable, "-m", "jupyterlab"]
        assert f"--ServerApp.root_dir={Path.cwd()}" in command
        assert f"--LabApp.default_url=/lab/tree/{name}" in command
        assert "--no-browser" in command
    shown = run_cell("explore_my_picture.ipynb")
    assert len(shown.neurons) == 0  # nobody has said where the car is
    shown.close()


def test_with_a_mask_the_cell_shows_its_neurons(picture, started, tmp_path) -> None:
    given = ["explore", str(picture), "--concept", "car", "--mask", "mask.png", "--device", "cpu"]
    assert cli.main([*given, "--notebook", "here.ipynb"]) == 0
    assert "device='cpu'" in Path("here.ipynb").read_text()
    os.chdir("/")  # the notebook's kernel may start anywhere
    shown = run_cell(str(tmp_path / "here.ipynb"))
    assert len(shown.neurons) > 10
    shown.close()


def test_a_pocket_scene_as_a_page_without_a_kernel(tmp_path: Path, capsys) -> None:
    page = tmp_path / "car.html"
    assert cli.main(["explore", "pocket", "--concept", "car", "--html", str(page)]) == 0
    assert "written to" in capsys.readouterr().out
    text = page.read_text()
    state = json.loads(text.split('id="mmkn-state">')[1].split("</script>")[0])
    assert "car" in state["caption_before"]
    assert state["caption_after"]  # a page cannot ablate: it comes with the caption after
    assert "car" not in state["caption_after"]


def test_a_picture_with_a_mask_as_a_page(picture, capsys) -> None:
    given = ["explore", str(picture), "--concept", "car", "--mask", "mask.png"]
    assert cli.main([*given, "--html", "car.html"]) == 0
    assert "mmkn-state" in Path("car.html").read_text()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["my picture.png", "--html", "x.html"], "--mask: "),
        (["my picture.png", "--mask", "none.png"], "mask"),
        (["none.png"], "IMAGE"),
        (["pocket", "--mask", "mask.png"], "--mask: "),
        (["my picture.png", "--concept", " "], "--concept: "),
        (["pocket", "--concept", "zeppelin"], "--concept: "),
        (["my picture.png", "--notebook", "mine.ipynb"], "--notebook: "),
        (["my picture.png", "--notebook", "mine.txt"], "--notebook: "),
        (["pocket", "--html", "x.html", "--notebook", "x.ipynb"], "--notebook: "),
        (["pocket", "--html", "none/x.html"], "--html: "),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_done(
    given, says, picture, started, monkeypatch, capsys
) -> None:
    Path("mine.ipynb").write_text("mine")
    before = sorted(os.listdir())
    monkeypatch.setattr(cli, "_load", lambda *_: pytest.fail("the model was loaded"))
    assert cli.main(["explore", "--concept", "car", *given]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1
    assert started == [] and sorted(os.listdir()) == before
    assert Path("mine.ipynb").read_text() == "mine"


def test_without_jupyterlab_it_says_so(picture, started, monkeypatch, capsys) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda name: None)
    assert cli.main(["explore", "pocket", "--concept", "car"]) == 2
    assert "JupyterLab is not installed" in capsys.readouterr().err
    assert started == []
