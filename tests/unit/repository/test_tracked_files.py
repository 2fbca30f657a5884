"""What must not be in the repository: addresses of registries, large files, build output."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def tracked(root: Path) -> list[Path]:
    if not (root / ".git").exists():
        return [path for path in (root / "mmkn_widgets").rglob("*.py")]
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True
    )
    return [path for name in listed.stdout.split("\0") if name and (path := root / name).is_file()]


def test_no_registry_is_named(tracked: list[Path]) -> None:
    hosts = [b"registry." + b"npmjs", b"pypi." + b"org", b"pythonhosted." + b"org"]
    hosts += [b"download." + b"pytorch", b"deb." + b"debian"]
    found = [(path, host) for path in tracked for host in hosts if host in path.read_bytes()]
    assert found == []


def test_no_large_file(tracked: list[Path]) -> None:
    assert [path for path in tracked if path.stat().st_size > 20e6] == []


def test_no_build_output(root: Path, tracked: list[Path]) -> None:
    built = ("mmkn_widgets/static", "mmkn_widgets/labextension", "js/lib", "js/node_modules")
    names = [path.relative_to(root).as_posix() for path in tracked]
    assert [name for name in names if name.startswith(built)] == []


def test_the_package_and_its_widgets_have_one_version(root: Path) -> None:
    import mmkn_widgets

    described = json.loads((root / "js" / "package.json").read_text())
    assert described["version"] == mmkn_widgets.__version__


def test_every_make_target_of_the_readme_exists(root: Path) -> None:
    makefile = (root / "Makefile").read_text()
    named = set(re.findall(r"`make ([a-z-]+)", (root / "README.md").read_text()))
    assert len(named) > 8
    assert [name for name in sorted(named) if f"\n{name}:" not in makefile] == []


def test_every_core_dependency_is_named(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    names = {requirement.partition(">")[0] for requirement in project["dependencies"]}
    wanted = (
        "ipywidgets jupyterlab torch transformers diffusers bqplot xarray pillow rouge-score nltk"
    )
    assert {"rouge-score", *wanted.split()} <= names
