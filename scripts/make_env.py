"""Create the environment that `make` works in; run with the Python it shall be made from.

An installed torch is kept: the environment then sees that Python's own packages. Where there is
none, and no NVIDIA GPU either, the constraints file asks for the CPU build.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def has_gpu() -> bool:
    """Return whether an NVIDIA GPU answers."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return False
    listed = subprocess.run([smi, "-L"], capture_output=True, text=True)
    return listed.returncode == 0 and "GPU" in listed.stdout


def has_module(python: Path | None, name: str) -> bool:
    """Return whether `python`, or this interpreter, finds the module."""
    if python is None:
        return importlib.util.find_spec(name) is not None
    asked = f"import importlib.util as u, sys; sys.exit(u.find_spec({name!r}) is None)"
    return subprocess.run([str(python), "-c", asked]).returncode == 0


def pip_arguments(has_torch: bool, gpu: bool, torch_index: str) -> list[str]:
    """Return what pip is told beside the packages.

    Parameters
    ----------
    has_torch : bool
        A torch is installed and stays.
    gpu : bool
        An NVIDIA GPU is there: pip takes the build that PyPI has for it.
    torch_index : str
        Address of a package index that has the wanted torch builds, or "".
    """
    arguments = ["-c", str(ROOT / "constraints" / "tested.txt")]
    if not has_torch and not gpu:
        arguments += ["-c", str(ROOT / "constraints" / "torch-cpu.txt")]
    if not has_torch and torch_index:
        arguments += ["--extra-index-url", torch_index]
    return arguments


def create(folder: Path, python: Path) -> None:
    """Create the environment, in sight of this interpreter's packages if torch is among them."""
    inherit = has_module(None, "torch")
    venv.create(folder, with_pip=True, symlinks=os.name != "nt", system_site_packages=inherit)
    if not inherit:
        return
    print(f"torch of {sys.executable} is kept: {folder} sees its packages")
    if sys.prefix != sys.base_prefix:
        # Made from a virtual environment: "system" means the Python below it, not itself.
        ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
        said = subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=True)
        lines = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
        target = Path(said.stdout.strip()) / "packages_of_the_parent.pth"
        target.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--extras", default="dev")
    parser.add_argument("--torch-index", default="")
    chosen = parser.parse_args()

    bin_folder = chosen.folder / ("Scripts" if os.name == "nt" else "bin")
    python = bin_folder / ("python.exe" if os.name == "nt" else "python")
    if not python.exists():
        create(chosen.folder, python)
    has_torch = has_module(python, "torch")
    # The hook that builds the JavaScript stays out: make builds it, and only when it changed.
    environment = os.environ | {"SKIP_JUPYTER_BUILDER": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    command = [str(python), "-m", "pip", "install", "-qq", "--no-input"]
    command += pip_arguments(has_torch, has_gpu(), chosen.torch_index)
    command += ["-e", f"{ROOT}[{chosen.extras}]"]
    (ROOT / "mmkn_widgets" / "labextension").mkdir(exist_ok=True)
    subprocess.run(command, check=True, env=environment, cwd=ROOT)


if __name__ == "__main__":
    main()
