"""`Explorer.open(path)`, beside the method of the same name that ipywidgets calls on instances."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import ipywidgets

__all__ = ["OpenSaved"]


class OpenSaved:
    """On the class: open what `save` wrote. On an instance: ipywidgets' own `open`."""

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is not None:
            return functools.partial(ipywidgets.Widget.open, instance)
        return functools.partial(_open_saved, owner)


def _open_saved(owner: type, path: str | Path, model: Any = None) -> Any:
    """Open what `Explorer.save` wrote.

    Parameters
    ----------
    path : str or pathlib.Path
        The folder.
    model : MultimodalModel, optional
        The study's model; by default it is loaded by its name.

    Returns
    -------
    Explorer
    """
    from ..studies import open_study

    study = open_study(path, model)
    file = Path(path) / "explorer.json"
    state = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    return owner(study, state=state)
