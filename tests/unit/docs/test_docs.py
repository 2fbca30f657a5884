"""The documentation: its code runs, links and pictures are there, every public name is in it."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import mmkn_widgets
from mmkn_widgets import cli
from mmkn_widgets.studies.plot import StudyPlots
from scripts import docs_pictures
from scripts.check_docs import faults

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
NAMES = [path.relative_to(DOCS).as_posix() for path in PAGES]


def blocks(path: Path, language: str) -> list[str]:
    """Return a page's code blocks, those in tabs too."""
    found = re.findall(
        rf"(?m)^( *)```{language}\n((?:.*\n)*?)\1```", path.read_text(encoding="utf-8")
    )
    return [re.sub(rf"(?m)^{indent}", "", code) for indent, code in found]


WITH_CODE = [name for name in NAMES if blocks(DOCS / name, "python")]


@pytest.mark.parametrize("name", WITH_CODE)
def test_the_code_of_a_page_runs_from_top_to_bottom(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks(DOCS / name, "python"):
        exec(compile(block, name, "exec"), names)
    for thing in names.values():
        if isinstance(thing, mmkn_widgets.Explorer):
            thing.close()


def test_most_pages_show_code() -> None:
    assert len(WITH_CODE) >= 8


@pytest.mark.parametrize("name", NAMES)
def test_code_that_cannot_run_here_says_what_it_needs(name: str) -> None:
    for block in blocks(DOCS / name, "py"):
        ast.parse(block)
        assert re.match(r"# needs ", block), block


@pytest.mark.parametrize("name", [*NAMES, "../README.md"])
def test_every_command_is_one_that_is_understood(name: str) -> None:
    group = cli.typer.main.get_command(cli.app)
    text = (DOCS / name).read_text(encoding="utf-8")
    shell = [line for block in blocks(DOCS / name, "sh") for line in block.splitlines()]
    quoted = re.findall(r"`!?(mmkn [^`\n]+)`", text)
    for line in [*shell, *quoted]:
        words = shlex.split(line, comments=True)
        if words[:1] != ["mmkn"] or len(words) < 2 or words[1].isupper() or words[1][:2] == "--":
            continue
        command = group.commands[words[1]]
        if len(words) > 2:  # `mmkn find` alone is a name
            command.make_context(words[1], words[2:]).close()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)", text):
        assert f"\n{target}:" in makefile, target


@pytest.mark.parametrize("room", mmkn_widgets._ROOMS)
def test_every_public_name_has_its_entry_and_no_other(room: str) -> None:
    page = (DOCS / "api" / f"{room}.md").read_text(encoding="utf-8")
    shown = re.findall(rf"(?m)^::: mmkn_widgets\.{room}\.(?:\w+\.)?(\w+)$", page)
    public = importlib.import_module(f"mmkn_widgets.{room}").__all__
    assert sorted(shown) == sorted(public)
    # a name that a file beside it has too stands for the file, unless it is said whole
    for name in public:
        whole = f"::: mmkn_widgets.{room}.{name}.{name}\n"
        assert ((ROOT / "mmkn_widgets" / room / f"{name}.py").exists()) is (whole in f"{page}\n")
    assert f": api/{room}.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def test_every_short_name_is_in_the_index() -> None:
    page = (DOCS / "api" / "index.md").read_text(encoding="utf-8")
    for name, room in mmkn_widgets._ROOM_OF.items():
        assert f"[`mmkn.{name}`][mmkn_widgets.{room}.{name}]" in page


def test_every_reference_to_the_api_is_to_a_public_name() -> None:
    for path in PAGES:
        for found in re.findall(r"\]\[mmkn_widgets\.(\w+)\.(\w+)\]", path.read_text("utf-8")):
            room, name = found
            assert name in importlib.import_module(f"mmkn_widgets.{room}").__all__, found


def test_pictures_are_small_and_shown() -> None:
    pictures = [path for path in (DOCS / "images").iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in pictures) < 3e6
    text = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    assert [path.name for path in pictures if f"images/{path.name}" not in text] == []


def test_every_plot_has_its_picture_which_the_script_draws() -> None:
    page = (DOCS / "howto" / "plots.md").read_text(encoding="utf-8")
    below = dict(docs_pictures.drawn_by(page))
    assert [code for code, name in below.items() if ("plot" in code) is (name is None)] == []
    plots = [f"study.plot.{name}(" for name in vars(StudyPlots) if not name.startswith("_")]
    for call in (*plots, "effect.plot()", "compare(study, bus).plot()", "frontier.plot()"):
        assert sum(call in code for code in below) == 1, call
    drawn = docs_pictures.pictures()
    there = {path.name for path in (DOCS / "images").iterdir()}
    assert drawn <= there
    assert {name for name in there if name.endswith(".png")} <= drawn


def test_a_block_and_the_picture_below_it() -> None:
    page = "```python\na = 1\n```\n\nWords.\n\n```python\nplot()\n```\n\n![It](../images/it.png)\n"
    assert list(docs_pictures.drawn_by(page)) == [("a = 1\n", None), ("plot()\n", "it.png")]
    assert list(docs_pictures.drawn_by("```python\nlast()\n```")) == [("last()\n", None)]


def test_every_page_is_in_the_navigation() -> None:
    shown = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [name for name in NAMES if name not in shown] == []


def test_the_versions_that_are_named_are_those_of_the_metadata() -> None:
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    said = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    named = re.findall(r'pip install -U "([\w-]+>=[\d.]+)"', said)
    assert len(named) >= 2
    assert [one for one in named if f'"{one}"' not in declared] == []
    version = mmkn_widgets.__version__
    for path in (ROOT / "CITATION.cff", DOCS / "cite.md", DOCS / "comparison.md"):
        assert version in path.read_text(encoding="utf-8")


def test_the_site_is_built_without_a_warning_and_needs_no_other_host(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "WARNING -" not in done.stderr
    assert faults(tmp_path) == []
    assert "<math" in (tmp_path / "methods.html").read_text(encoding="utf-8")


def test_a_broken_site_is_found(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<script src="https://cdn.example/x.js"></script><a href="gone.html">x</a>'
        '<a href="#nowhere">y</a><h1 id="here">$$x$$</h1><a href="#here">z</a>'
    )
    said = "\n".join(faults(tmp_path))
    for wrong in ("loads https://cdn.example", "links gone.html", "links #nowhere", "shows '$$'",
                  "mmkn_widgets.core.Concept has no entry"):  # fmt: skip
        assert wrong in said
    assert "links #here" not in said
