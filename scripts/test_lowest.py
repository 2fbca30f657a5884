"""Install the lowest versions that pyproject.toml allows, in a folder of its own, and try them.

``python scripts/test_lowest.py`` makes a wheel, a fresh environment without anything of this one,
resolves every direct dependency to its lowest declared version (uv, ``--resolution lowest-direct``)
and runs ``scripts/smoke.py`` there. ``--highest`` takes the newest versions instead, ``--python``
another Python: so a release is tried on each that it names.

torch from a general index brings some gigabytes of CUDA. Where there is an index of CPU builds,
name it in TORCH_INDEX.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(command: list[str], **options: object) -> None:
    print("+", " ".join(command), flush=True)
    if subprocess.run(command, **options).returncode:  # type: ignore[call-overload]
        sys.exit(f"failed: {' '.join(command[:4])} ...")


def uv_of(folder: Path) -> str:
    """Return the uv of the PATH, else one that is installed into `folder` for this run."""
    found = shutil.which("uv")
    if found is None:
        run([sys.executable, "-m", "venv", str(folder)])
        inside = folder / ("Scripts" if os.name == "nt" else "bin")
        run([str(inside / "python"), "-m", "pip", "install", "-qq", "uv"])
        found = str(inside / "uv")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default="3.11", help="version or path (default: the oldest)")
    parser.add_argument("--highest", action="store_true", help="the newest versions instead")
    parser.add_argument("--keep", type=Path, help="a folder to keep the environment in")
    chosen = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="mmkn-lowest-") as made:
        folder = Path(made)
        uv = uv_of(folder / "uv")
        place = chosen.keep or folder / "environment"
        python = str(place / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
        built = os.environ | {"SKIP_JUPYTER_BUILDER": "1"}  # make has built the widgets
        run([uv, "build", "--wheel", "-q", "-o", str(folder), str(ROOT)], env=built)
        wheel = str(next(folder.glob("*.whl")))
        resolution = "highest" if chosen.highest else "lowest-direct"
        versions = str(folder / "versions.txt")
        index = os.environ.get("TORCH_INDEX")
        more = ["--extra-index-url", index] if index else []
        run([uv, "venv", "-q", "--clear", "--python", chosen.python, str(place)])
        run([uv, "pip", "compile", "-q", "--resolution", resolution, "--python", python, *more,
             str(ROOT / "pyproject.toml"), "-o", versions])  # fmt: skip
        run([uv, "pip", "install", "-q", "--python", python, *more, "-r", versions])
        run([uv, "pip", "install", "-q", "--python", python, "--no-deps", wheel])
        away = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        run([python, str(ROOT / "scripts" / "smoke.py")], cwd=folder, env=away)


if __name__ == "__main__":
    main()
