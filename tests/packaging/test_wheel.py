"""What is in the wheel, and that it works where there is no Node.js and no repository."""

from __future__ import annotations

import json
import tarfile
import zipfile
from pathlib import Path

import pytest

LABEXTENSION = "data/share/jupyter/labextensions/mmkn-widgets"


@pytest.fixture(scope="module")
def names(distributions) -> list[str]:
    with zipfile.ZipFile(distributions["wheel"]) as wheel:
        return wheel.namelist()


def test_every_built_widget_is_in(root: Path, names: list[str]) -> None:
    sources = sorted((root / "js" / "src" / "widgets").glob("*.ts"))
    assert sources
    missing = [
        source.stem for source in sources if f"mmkn_widgets/static/{source.stem}.js" not in names
    ]
    assert missing == []


def test_the_labextension_is_whole(names: list[str], distributions) -> None:
    inside = {name.split(LABEXTENSION + "/")[1]: name for name in names if LABEXTENSION in name}
    assert {"package.json", "install.json", "static/style.js"} <= set(inside)
    with zipfile.ZipFile(distributions["wheel"]) as wheel:
        described = json.loads(wheel.read(inside["package.json"]))
    assert described["jupyterlab"]["_build"]["load"] in inside


def test_every_file_that_the_package_reads_is_in(root: Path, names: list[str]) -> None:
    package = root / "mmkn_widgets"
    wanted = [
        path.relative_to(root).as_posix()
        for pattern in (
            "**/*.py",
            "**/py.typed",
            "**/*.schema.json",
            "pocket/model/*",
            "pocket/plain/*",
            "pocket/smollm2/*",
            "pocket/study/*",
            "**/*.npz",
        )
        for path in package.glob(pattern)
        if path.is_file()
    ]
    wanted += [f"mmkn_widgets/notebooks/{one.name}" for one in (root / "notebooks").glob("*.ipynb")]
    assert "mmkn_widgets/py.typed" in wanted
    assert "mmkn_widgets/pocket/model/model.safetensors" in wanted
    assert "mmkn_widgets/pocket/smollm2/tower.safetensors" in wanted
    assert sorted(set(wanted) - set(names)) == []


def test_nothing_strange_is_in(names: list[str], distributions) -> None:
    strange = [
        name
        for name in names
        if "node_modules" in name or "__pycache__" in name or name.endswith((".ts", ".map"))
    ]
    assert strange == []
    assert distributions["wheel"].stat().st_size < 40e6


def test_the_sdist_can_be_built_without_git(distributions) -> None:
    with tarfile.open(distributions["sdist"]) as sdist:
        inside = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"pyproject.toml", "js/package-lock.json", "js/build.mjs", "install.json"} <= inside
    assert not any("node_modules" in name for name in inside)


def test_find_without_node(without_node) -> None:
    done = without_node("mmkn", "find", "--concept", "car", "--json", timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["concept"] == "car"
    assert found["neurons"]
    assert {"layer", "index", "score", "words"} <= set(found["neurons"][0])
    assert found["held_out"] is True
    assert found["suppression"] > found["random_control"]["max"]
    assert {"scene", "other"} <= set(found["retention"])


def test_tutorials_and_a_page_without_node(without_node, tmp_path: Path) -> None:
    done = without_node("mmkn", "tutorials", str(tmp_path / "lessons"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((tmp_path / "lessons").glob("*.ipynb"))) >= 5
    page = tmp_path / "car.html"
    done = without_node("mmkn", "explore", "pocket", "--concept", "car", "--html", str(page))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "mmkn-state" in page.read_text(encoding="utf-8")


def test_the_doctor_finds_a_fresh_environment_fine(without_node) -> None:
    done = without_node("mmkn", "doctor", "--json")
    states = {check["name"]: check["state"] for check in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    for name in (
        "packages",
        "widgets",
        "JupyterLab",
        "ipywidgets manager",
        "lab extension",
        "kernel",
    ):
        assert states[name] == "fine", done.stdout


def test_jupyterlab_knows_the_extension(without_node) -> None:
    done = without_node("jupyter-labextension", "list")
    listed = done.stdout + done.stderr
    line = next((line for line in listed.splitlines() if "mmkn-widgets" in line), listed)
    assert "enabled" in line
    assert "OK" in line


def test_the_explorer_is_found_in_the_installed_package(without_node) -> None:
    code = (
        "import pathlib, mmkn_widgets, mmkn_widgets.widgets as w;"
        "assert 'site-packages' in mmkn_widgets.__file__, mmkn_widgets.__file__;"
        "print(len(str(w.Explorer._esm)))"
    )
    done = without_node("python", "-c", code)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 1000
