"""Show the built JupyterLab extension to the JupyterLab of this environment, by a link."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILT = ROOT / "mmkn_widgets" / "labextension"


def main() -> None:
    if not (BUILT / "package.json").exists():
        sys.exit(f"{BUILT} holds no built extension: run `npm run build` in js/")
    link = Path(sys.prefix) / "share" / "jupyter" / "labextensions" / "mmkn-widgets"
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        shutil.rmtree(link)
    os.symlink(BUILT, link, target_is_directory=True)


if __name__ == "__main__":
    main()
