"""A wheel built from this tree, and an environment that knows nothing but that wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.make_env import has_gpu, pip_arguments

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def distributions(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the built ``wheel`` and ``sdist``; the wheel is made from the unpacked sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return {"wheel": next(folder.glob("*.whl")), "sdist": next(folder.glob("*.tar.gz"))}


@pytest.fixture(scope="session")
def without_node(distributions: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a function that runs a program of a fresh environment, with no Node.js in reach."""
    home = tmp_path_factory.mktemp("fresh")
    environment = home / "venv"
    venv.create(environment, with_pip=True)
    folder = environment / "bin"
    keep = {"HOME", "LANG", "TMPDIR", "OMP_NUM_THREADS", "SSL_CERT_FILE"}
    variables = {
        name: value
        for name, value in os.environ.items()
        if name in keep or name.startswith(("PIP_", "HF_"))
    }
    variables |= {"PATH": f"{folder}:/usr/sbin:/sbin", "IPYTHONDIR": str(home / "ipython")}

    def run(program: str, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(folder / program), *arguments],
            capture_output=True,
            text=True,
            env=variables,
            cwd=home,
            timeout=timeout,
        )

    pinned = pip_arguments(has_torch=False, gpu=has_gpu(), torch_index="")
    wheel = str(distributions["wheel"])
    done = run("python", "-m", "pip", "install", "-qq", *pinned, wheel, timeout=1500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return run
