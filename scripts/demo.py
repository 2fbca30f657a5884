"""Open JupyterLab on a notebook; what follows the notebook's name goes to JupyterLab."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _keep_newer(source: str, target: str) -> str:
    """Copy the file unless the copy was changed since, by whoever tries things out in it."""
    if not os.path.exists(target) or os.path.getmtime(target) <= os.path.getmtime(source):
        shutil.copy2(source, target)
    return target


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit("usage: demo.py NOTEBOOK [JUPYTERLAB OPTIONS]")
    notebook = Path(sys.argv[1])
    if not (ROOT / notebook).exists():
        sys.exit(f"{notebook} is not there; the notebooks are in notebooks/")
    # A copy, so that looking around leaves the repository clean; pictures and data go along.
    folder = ROOT / ".jupyter-demo"
    shutil.copytree(ROOT / notebook.parent, folder, copy_function=_keep_newer, dirs_exist_ok=True)
    options = [
        f"--ServerApp.root_dir={folder}",
        f"--LabApp.default_url=/lab/tree/{notebook.name}",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    if os.name == "posix" and os.geteuid() == 0:
        options.append("--allow-root")
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) and (
        sys.platform.startswith("linux")
    ):
        print("no screen here: open the address that JupyterLab prints")
        options.append("--no-browser")
    # JupyterLab's question about news would lie over what one wants to see
    quiet = str(ROOT / "mmkn_widgets" / "cli" / "quiet")
    known = os.environ.get("JUPYTER_CONFIG_PATH", "")
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, (quiet, known)))
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *options, *sys.argv[2:]])


if __name__ == "__main__":
    main()
