"""The command line: help, usage, lists of words, completion, exit codes, speed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmkn_widgets import __version__, cli
from mmkn_widgets.cli import complete
from mmkn_widgets.pocket import CATEGORIES
from mmkn_widgets.studies import METHODS

COMMANDS = ("find", "study", "inspect", "explore", "tutorials", "doctor")


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide terminal without colours, so that no word is broken."""
    for name, value in {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)


def options_of(command: str) -> list[object]:
    group = cli.typer.main.get_command(cli.app)
    return list(group.commands[command].params)


def test_help_names_every_command_in_its_order_with_examples(plain, capsys) -> None:
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr().out
    at = [said.index(f" {name} ") for name in COMMANDS]
    assert at == sorted(at)
    assert "mmkn find --concept car" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_does_and_every_command_has_examples(
    command: str, plain, capsys
) -> None:
    for option in options_of(command):
        assert option.hidden or len(option.help or "") > 12, option.name  # type: ignore[attr-defined]
    for word in ("-h", "--help"):
        assert cli.main([command, word]) == 0
        said = capsys.readouterr().out
        assert f"mmkn {command}" in said.split("Examples:")[1]


def test_every_example_is_a_command_that_is_understood() -> None:
    group = cli.typer.main.get_command(cli.app)
    for name, command in group.commands.items():
        lines = [line for line in (command.epilog or "").split("\n\n") if line.startswith("mmkn ")]
        assert lines, name
        for line in lines:
            words = re.sub(r" > .*", "", line).split()
            assert words[1] == name
            command.make_context(name, words[2:]).close()  # raises where an option is unknown


def test_the_version(capsys) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"mmkn_widgets {__version__}\n"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["find"], "--concept"),
        (["brew"], "brew"),
        (["find", "--concept", "car", "--toast"], "--toast"),
        (["find", "--concept", "car", "--top", "many"], "--top"),
        (["find", "my car.png", "--concept", "car"], "expected --image 'my car.png' --mask FILE"),
        (["find", "--concept", "car", "--image", "a.png"], "mmkn explore a.png --concept car"),
        (["study"], "--out"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_named(given: list[str], says: str, plain, capsys) -> None:
    assert cli.main(given) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "concepts", "methods"),
    [
        (["--concepts", "car", "dog", "--methods", "gradcam"], ["car", "dog"], ["gradcam"]),
        (["--concepts", "car,dog", "--seed", "3"], ["car", "dog"], None),
        (["--concepts", "car", "--concepts", "hot dog"], ["car", "hot dog"], None),
        (["--methods", "gradcam", "random,", "random_like"], None,
         ["gradcam", "random", "random_like"]),
        ([], None, None),
    ],
)  # fmt: skip
def test_lists_of_words_with_blanks_or_commas(
    given, concepts, methods, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmkn_widgets import studies

    seen: dict[str, object] = {}

    def run_study(model: object, dataset: str, **options: object) -> dict[str, object]:
        seen.update(options)
        (tmp_path / "table.md").write_text("a table")
        return {}

    monkeypatch.setattr(cli, "_load", lambda *_: None)
    monkeypatch.setattr(studies, "run_study", run_study)
    assert cli.main(["study", "--out", str(tmp_path), *given]) == 0
    assert (seen["concepts"], seen["methods"]) == (concepts, methods)


def test_ctrl_c_is_130_and_one_line(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_load", stop)
    assert cli.main(["find", "--concept", "car"]) == 130
    assert capsys.readouterr().err == "mmkn: interrupted; what was finished is kept\n"


def test_what_completion_proposes_is_what_there_is() -> None:
    assert complete.METHODS == METHODS
    assert complete.concepts("") == sorted(CATEGORIES)
    assert complete.one_of(*complete.INPAINTERS)("t") == ["telea"]


def test_completion_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models" / "llava").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    monkeypatch.chdir(tmp_path)
    assert complete.models("") == ["pocket", "models/"]
    assert complete.models("models/l") == ["models/llava/"]
    assert complete.models(f"{tmp_path}/mo") == [f"{tmp_path}/models/"]
    assert complete.models("nowhere/x") == []


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [("mmkn fi", "find"), ("mmkn find --con", "--concept"),
     ("mmkn find --positions p", "predicting"),
     ("mmkn study --methods grad", "gradcam"), ("mmkn find --concept um", "umbrella")],
)  # fmt: skip
def test_a_shell_gets_proposals(typed: str, wanted: str) -> None:
    words = {"_MMKN_COMPLETE": "complete_bash", "COMP_WORDS": typed,
             "COMP_CWORD": str(len(typed.split()) - 1)}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "mmkn_widgets.cli"], env=os.environ | words, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert wanted in done.stdout.split(), done.stdout + done.stderr


def test_help_imports_nothing_heavy_and_is_fast() -> None:
    code = (
        "import sys; from mmkn_widgets import cli; cli.main(['find', '--help']);"
        "print([m for m in ('torch', 'transformers', 'numpy', 'xarray', 'PIL', 'psutil') "
        "if m in sys.modules], file=sys.stderr)"
    )
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        seconds.append(time.perf_counter() - start)
        assert done.stderr.strip() == "[]"
    assert min(seconds) < 3  # .3 s on an idle machine
