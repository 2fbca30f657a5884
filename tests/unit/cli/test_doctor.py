"""`mmkn doctor` finds what is missing, in whichever environment it is, and says what to do."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from mmkn_widgets import __version__, cli
from mmkn_widgets.cli import health
from mmkn_widgets.cli.health import Server, examine, find_server


def states(checks: list[health.Check]) -> dict[str, str]:
    return {check.name: check.state for check in checks}


def test_this_environment_is_fine(capsys) -> None:
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    for name in ("packages", "widgets", "JupyterLab", "ipywidgets manager", "kernel", "device",
                 "pocket model", "ordinary model", "BERTScore", "browser", "cache"):  # fmt: skip
        assert f"  {name}" in said
    assert "0 to repair" in said or "all is well" in said


def test_as_json_every_check_has_its_remedy(capsys) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)
    assert all(set(one) == {"name", "state", "found", "remedy"} for one in checks)
    assert {one["state"] for one in checks} <= {"fine", "note"}


def test_a_missing_and_an_old_package_are_named_with_the_command(monkeypatch) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "zarr":
            raise importlib.metadata.PackageNotFoundError(name)
        return "4.9.0" if name == "transformers" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = {check.name: check for check in health._packages()}
    assert found["zarr"].state == found["transformers"].state == "broken"
    assert "is not installed" in found["zarr"].found
    assert "is 4.9.0" in found["transformers"].found
    assert "pip install 'transformers>=" in found["transformers"].remedy


def test_what_is_broken_is_the_exit_code(monkeypatch, capsys) -> None:
    def look() -> Any:
        yield health.Check("kernel", "broken", "none", "make one")

    monkeypatch.setattr(health, "_jupyter", look)
    assert cli.main(["doctor"]) == 1
    assert "> make one" in capsys.readouterr().out


def test_a_check_that_fails_is_told_and_the_others_go_on(monkeypatch) -> None:
    def ill() -> Any:
        raise OSError("no disk")
        yield

    monkeypatch.setattr(health, "_bertscore", ill)
    found = states(examine())
    assert "broken" in found.values() and found["cache"] == "fine"


# -- the server's environment and the kernel's ---------------------------------------------------


def lay(folder: Path, name: str, version: str) -> None:
    place = folder / "labextensions" / name
    place.mkdir(parents=True)
    (place / "package.json").write_text(json.dumps({"version": version}))


@pytest.fixture
def told(tmp_path: Path) -> dict[str, Any]:
    """What another, whole environment answers."""
    lay(tmp_path / "data", "mmkn-widgets", __version__)
    lay(tmp_path / "data", "@jupyter-widgets/jupyterlab-manager", "5.0.0")
    return {
        "prefix": str(tmp_path / "server"),
        "data": [str(tmp_path / "empty"), str(tmp_path / "data")],
        "config": [str(tmp_path / "config")],
        "jupyterlab": "4.5.0",
        "kernels": {"mine": [sys.executable], "other": ["/opt/python"]},
    }


@pytest.fixture
def look(told, monkeypatch) -> Any:
    def look() -> dict[str, health.Check]:
        server = Server("/srv/python", "the server of this kernel")
        monkeypatch.setattr(health, "find_server", lambda: server)
        monkeypatch.setattr(health, "_asked", lambda python: told)
        return {check.name: check for check in health._jupyter()}

    return look


def test_a_server_apart_is_fine_when_it_has_extension_and_kernel(look) -> None:
    found = look()
    assert {check.state for check in found.values()} == {"fine"}
    assert "another environment" in found["kernel"].found


def test_an_extension_that_only_the_kernel_has_is_told_of_the_server(look, told) -> None:
    told["data"] = told["data"][:1]
    found = look()
    assert found["lab extension"].state == "note"
    assert found["ipywidgets manager"].state == "broken"
    assert found["ipywidgets manager"].remedy == "/srv/python -m pip install jupyterlab_widgets"


def test_a_disabled_extension_names_the_file_that_says_so(look, told) -> None:
    file = Path(told["config"][0]) / "labconfig" / "page_config.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"disabledExtensions": {"mmkn-widgets:plugin": True}}))
    found = look()["lab extension"]
    assert found.state == "broken" and str(file) in found.found
    assert "labextension enable mmkn-widgets" in found.remedy
    file.write_text(json.dumps({"disabledExtensions": {"mmkn-widgets": False}}))
    assert look()["lab extension"].state == "fine"


def test_no_kernel_of_this_environment_is_the_hub_s_classic(look, told) -> None:
    told["kernels"] = {"python3": ["python"], "other": ["/opt/env/bin/python"]}
    found = look()["kernel"]
    assert found.state == "broken"
    assert "python3" in found.found
    assert "-m ipykernel install --user" in found.remedy
    told["prefix"] = sys.prefix  # the same environment: its "python" is this one
    assert look()["kernel"].state == "fine"


@pytest.mark.parametrize(("version", "state"), [("4.3.9", "broken"), ("3.6", "broken"),
                                                ("4.4.0", "fine"), (None, "note")])  # fmt: skip
def test_jupyterlab_s_version(version: str | None, state: str, look, told) -> None:
    told["jupyterlab"] = version
    assert look()["JupyterLab"].state == state


def test_another_version_of_the_extension_is_noted(look, told) -> None:
    lay(Path(told["data"][0]), "mmkn-widgets", "0.0.1")
    assert look()["lab extension"].state == "note"


def test_the_server_of_a_kernel_is_its_parent() -> None:
    found = find_server({"JPY_PARENT_PID": str(os.getpid()), "PATH": ""})
    assert found is not None
    assert found.how == "the server of this kernel"
    assert Path(found.python).resolve() == Path(sys.executable).resolve()


def test_a_server_on_the_path_is_asked_through_its_own_python(tmp_path: Path) -> None:
    program = tmp_path / "jupyter-lab"
    program.write_text(f"#!{sys.executable}\nimport jupyterlab\n")
    program.chmod(0o755)
    found = find_server({"PATH": str(tmp_path)})
    assert found == Server(sys.executable, f"{program} on the PATH")
    program.write_text("#!/bin/sh\n")  # a wrapper: the Python beside it counts
    (tmp_path / "python").symlink_to(sys.executable)
    assert find_server({"PATH": str(tmp_path)}).python == str(tmp_path / "python")


def test_the_cache_follows_its_variable(tmp_path: Path, monkeypatch) -> None:
    from mmkn_widgets.inpainting import default_folder

    monkeypatch.setenv("MMKN_CACHE_DIR", str(tmp_path))
    assert default_folder() == tmp_path / "inpainting"
    monkeypatch.delenv("MMKN_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert default_folder() == tmp_path / "mmkn_widgets" / "inpainting"
