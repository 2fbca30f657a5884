"""What `make` decides before it installs anything."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from scripts import browser, check_tools, make_env, tested_versions


def _program(folder: Path, name: str, prints: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{prints}'\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_missing_node_is_said(tools: Path) -> None:
    assert "Node.js 20 or newer with npm is needed" in (check_tools.complaint() or "")


@pytest.mark.parametrize("version", ["v18.19.0", "v6.0.0", "nonsense"])
def test_old_node_is_said(tools: Path, version: str) -> None:
    _program(tools, "node", version)
    _program(tools, "npm", "11.0.0")
    assert "is needed to build the widgets" in (check_tools.complaint() or "")


@pytest.mark.parametrize("version", ["v20.0.0", "v24.1.0", "v100.0.0"])
def test_new_node_is_fine(tools: Path, version: str) -> None:
    _program(tools, "node", version)
    _program(tools, "npm", "11.0.0")
    assert check_tools.complaint() is None


def test_old_python_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_tools.sys, "version_info", (3, 10, 4))
    assert "Python 3.11 or newer is needed" in (check_tools.complaint() or "")


def _constraints(**given: object) -> list[str]:
    arguments = make_env.pip_arguments(**given)  # type: ignore[arg-type]
    pairs = zip(arguments[::2], arguments[1::2], strict=True)
    return [Path(name).name for flag, name in pairs if flag == "-c"]


def test_cpu_build_only_without_gpu_and_torch() -> None:
    wanted = {(False, False): True, (True, False): False, (False, True): False, (True, True): False}
    for (has_torch, gpu), pinned in wanted.items():
        names = _constraints(has_torch=has_torch, gpu=gpu, torch_index="")
        assert ("torch-cpu.txt" in names) is pinned


def test_an_installed_torch_needs_no_index() -> None:
    arguments = make_env.pip_arguments(has_torch=False, gpu=False, torch_index="file:///wheels")
    assert arguments[-2:] == ["--extra-index-url", "file:///wheels"]
    kept = make_env.pip_arguments(has_torch=True, gpu=False, torch_index="file:///wheels")
    assert "file:///wheels" not in kept


def test_a_gpu_is_one_that_answers(tools: Path) -> None:
    assert make_env.has_gpu() is False
    _program(tools, "nvidia-smi", "No devices were found")
    assert make_env.has_gpu() is False
    _program(tools, "nvidia-smi", "GPU 0: some card")
    assert make_env.has_gpu() is True


def test_modules_are_found_without_importing_them() -> None:
    assert make_env.has_module(None, "json")
    assert make_env.has_module(Path(sys.executable), "json")
    assert not make_env.has_module(Path(sys.executable), "no_such_module_at_all")


def test_the_constraints_leave_torch_to_the_machine(root: Path) -> None:
    lines = (root / "constraints" / "tested.txt").read_text().splitlines()
    names = {line.partition("==")[0] for line in lines if line and not line.startswith("#")}
    assert {"jupyterlab", "transformers", "pytest", "ruff"} <= names
    assert not any(name.startswith(tested_versions.LEFT_OUT) for name in names)
    assert not any("/" in line or "@" in line for line in lines if not line.startswith("#"))


def test_a_named_browser_must_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMKN_BROWSER", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="MMKN_BROWSER"):
        browser.find_browser()
    _program(tmp_path, "mine", "")
    monkeypatch.setenv("MMKN_BROWSER", str(tmp_path / "mine"))
    assert browser.find_browser() == str(tmp_path / "mine")


def test_the_path_is_looked_through(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMKN_BROWSER", raising=False)
    _program(tools, "google-chrome", "")
    assert browser.find_browser() == str(tools / "google-chrome")


def test_a_torch_of_the_parent_environment_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "child"
    python = folder / "bin" / "python"
    make_env.create(folder, python)
    assert make_env.has_module(python, "torch")
    assert make_env.has_module(python, "pip")
