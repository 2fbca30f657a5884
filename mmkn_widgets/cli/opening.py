"""``mmkn explore``: the Explorer on one picture, as a notebook in JupyterLab or as one page."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..core import NotSupported, bad_argument, check_file, write_whole

__all__ = ["open_lab", "page", "write_notebook"]

#: settings of a JupyterLab that is started here: it asks about news over the place one paints on
QUIET = Path(__file__).parent / "quiet"

#: what stands for scenes of the pocket world, instead of a picture's name
POCKET = "pocket"
#: how many of them: the neurons of one scene alone need not silence the word
N_SCENES = 8


def _checked(image: str, concept: str, mask: Path | None) -> None:
    """Raise for a picture or mask that cannot be used, before anything is loaded or written."""
    if not concept.strip():
        raise bad_argument("--concept", concept, "a word, such as dog")
    if image == POCKET:
        from ..pocket import CATEGORIES

        if mask is not None:
            raise bad_argument("--mask", str(mask), "none: a pocket scene has its own masks")
        if concept not in CATEGORIES:
            raise bad_argument("--concept", concept, "one of " + ", ".join(sorted(CATEGORIES)))
        return
    from ..datasets import read_image, single_scene

    if mask is None:
        read_image(image, name="IMAGE")
    else:
        single_scene(image, mask, concept)


def page(image: str, concept: str, mask: Path | None, out: Path, load: Callable[[], Any]) -> Path:
    """Compute a study, ablate its neurons, and write the Explorer on it as one offline page.

    Parameters
    ----------
    image : str
        A picture's name, or ``"pocket"``.
    concept : str
    mask : pathlib.Path or None
        White where the object is; needed, because a page without a kernel computes nothing.
    out : pathlib.Path
        The page.
    load : callable
        Returns the model; called when all else is known to be right.

    Returns
    -------
    pathlib.Path
        `out`.
    """
    if image != POCKET and mask is None:
        raise bad_argument(
            "--mask", None, f"a picture of the size of {image}, white on the {concept}: a page "
            "without a kernel cannot compute; or leave out --html and paint it in JupyterLab",
        )  # fmt: skip
    _checked(image, concept, mask)
    check_file(out, "--html")
    from ..widgets import Explorer

    if image == POCKET:
        from ..datasets import pocket_world
        from ..studies import study

        scenes = pocket_world("val").with_concept(concept, N_SCENES)
        explorer = Explorer(study(load(), concept, scenes))
    else:
        explorer = Explorer(load(), image, concept, mask)
    try:
        if len(explorer.neurons):  # a page without a kernel cannot: it shows the caption after too
            explorer.ablate()
            explorer.wait()  # for what it did to the log-probability
        return explorer.save_html(out)
    finally:
        explorer.close()


def write_notebook(
    image: str,
    concept: str,
    mask: Path | None,
    out: Path | None = None,
    *,
    model: str = "pocket",
    device: str | None = None,
    dtype: str | None = None,
) -> Path:
    """Write a notebook whose one cell shows the Explorer.

    Parameters
    ----------
    image : str
        A picture's name, or ``"pocket"``.
    concept : str
    mask : pathlib.Path or None
        Without it, the object is painted in the Explorer.
    out : pathlib.Path, optional
        Must not be there; by default a free name in the working folder.
    model, device, dtype : str
        As `load_model` takes them.

    Returns
    -------
    pathlib.Path
        Where the notebook is.
    """
    _checked(image, concept, mask)
    options = "".join(
        f", {name}={value!r}"
        for name, value in (("device", device), ("dtype", dtype))
        if value not in (None, "auto")
    )
    local = (
        os.path.abspath(os.path.expanduser(model)) if Path(model).expanduser().is_dir() else model
    )
    lines = ["import mmkn_widgets as mmkn", "", f"model = mmkn.load_model({local!r}{options})"]
    if image == POCKET:
        lines += [
            f'scenes = mmkn.datasets.pocket_world("val").with_concept({concept!r}, {N_SCENES})',
            f"mmkn.Explorer(mmkn.study(model, {concept!r}, scenes))",
        ]
    else:
        masked = "" if mask is None else f", mask={os.path.abspath(mask)!r}"
        lines.append(f"mmkn.Explorer(model, {os.path.abspath(image)!r}, {concept!r}{masked})")
    text = json.dumps(_notebook("\n".join(lines), image, concept, mask), indent=1) + "\n"
    if out is None:
        out = _free(re.sub(r"[^\w\-]+", "_", Path(image).stem)[:60] or "picture")
    elif out.exists():
        raise bad_argument("--notebook", str(out), "a name that is free; this file is there")
    elif out.suffix != ".ipynb":
        raise bad_argument("--notebook", str(out), "a name that ends in .ipynb")
    return write_whole(out, text, "--notebook")


def _free(stem: str) -> Path:
    path, n = Path(f"explore_{stem}.ipynb"), 1
    while path.exists():
        n += 1
        path = Path(f"explore_{stem}_{n}.ipynb")
    return path


def _notebook(code: str, image: str, concept: str, mask: Path | None) -> dict[str, Any]:
    paints = "" if image == POCKET or mask is not None else (
        f" Paint the *{concept}* with the brush and press *compute*."
    )  # fmt: skip
    said = f"Click into the cell below and press Shift+Enter.{paints}"
    return {
        "cells": [
            {"cell_type": "markdown", "id": "what-to-do", "metadata": {}, "source": said},
            {
                "cell_type": "code",
                "id": "explorer",
                "execution_count": None,
                "metadata": {},
                "outputs": [],
                "source": code,
            },
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def open_lab(notebook: Path, *, browser: bool = True) -> None:
    """Become JupyterLab on a notebook; returns only where there is none.

    Parameters
    ----------
    notebook : pathlib.Path
    browser : bool
        Whether a browser is opened.

    Raises
    ------
    NotSupported
        If JupyterLab is not installed here.
    """
    if find_spec("jupyterlab") is None:
        raise NotSupported(
            f"JupyterLab is not installed in this environment ({sys.prefix}); "
            f"pip install jupyterlab, or open {notebook} with the one you have"
        )
    place = notebook.resolve()
    command = [  # by address, so that the one that is printed leads to the notebook too
        *(sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={place.parent}"),
        f"--LabApp.default_url=/lab/tree/{quote(place.name)}",
    ]
    if not browser:
        command.append("--no-browser")
    if os.name == "posix" and os.geteuid() == 0:
        command.append("--allow-root")
    sys.stdout.flush()
    known = os.environ.get("JUPYTER_CONFIG_PATH", "")
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, (str(QUIET), known)))
    _become(command)


def _become(command: list[str]) -> None:
    """Run a program in this one's place (on Windows, below it), so that Ctrl-C reaches it alone."""
    if os.name == "nt":
        import subprocess

        raise SystemExit(subprocess.call(command))
    os.execv(command[0], command)
