"""What JupyterLab's side panel asks the kernel: the models and studies that the notebook holds."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core import bad_argument

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["overview", "overview_json", "restore_all"]


def _notebook() -> Mapping[str, Any]:
    from IPython import get_ipython

    shell = get_ipython()
    return {} if shell is None else shell.user_ns


def _holds(namespace: Mapping[str, Any], room: str, name: str) -> dict[str, Any]:
    """Return the namespace's values of one of our types, without importing its room."""
    face = sys.modules.get(f"mmkn_widgets.{room}")
    if face is None:
        return {}
    wanted = getattr(face, name)
    return {
        variable: value
        for variable, value in namespace.items()
        if not variable.startswith("_") and isinstance(value, wanted)
    }


def _model(variable: str, model: MultimodalModel) -> dict[str, Any]:
    return {
        "variable": variable,
        "name": model.name,
        "layers": model.n_layers,
        "neurons": model.n_neurons,
        "device": str(model.device),
        "active": [
            {"name": str(item.name), "kind": item.kind, "neurons": item.n_neurons}
            for item in model.interventions.active
        ],
    }


def overview(namespace: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what a notebook holds of ours, as JSON can carry it.

    Parameters
    ----------
    namespace : mapping, optional
        Variables by name; by default those of the running notebook.

    Returns
    -------
    dict
        ``models``: variable, name, layers, neurons, device and the active interventions of each
        model; ``studies``: variable, concept, model and number of scenes of each study. A model
        that only a study holds is listed under the study's variable.

    Examples
    --------
    >>> overview({"x": 1})
    {'models': [], 'studies': []}
    """
    names = dict(_notebook() if namespace is None else namespace)
    models: dict[int, dict[str, Any]] = {}
    for variable, model in _holds(names, "models", "MultimodalModel").items():
        models.setdefault(id(model), _model(variable, model))
    studies = []
    for variable, study in _holds(names, "studies", "Study").items():
        models.setdefault(id(study.model), _model(f"{variable}.model", study.model))
        studies.append(
            {
                "variable": variable,
                "concept": study.concept.word,
                "model": study.model.name,
                "scenes": len(study.scenes),
            }
        )
    return {"models": list(models.values()), "studies": studies}


def overview_json() -> str:
    """Return `overview` of the running notebook as JSON text."""
    return json.dumps(overview())


def restore_all(variable: str, namespace: Mapping[str, Any] | None = None) -> None:
    """Take back every intervention of the model that a variable holds.

    Parameters
    ----------
    variable : str
        As `overview` lists it.
    namespace : mapping, optional
        Variables by name; by default those of the running notebook.

    Raises
    ------
    BadArgument
        If the variable holds no model.
    """
    names = dict(_notebook() if namespace is None else namespace)
    models = _holds(names, "models", "MultimodalModel")
    studies = _holds(names, "studies", "Study").items()
    models |= {f"{name}.model": study.model for name, study in studies}
    if variable not in models:
        raise bad_argument("variable", variable, "the name of a variable that holds a model")
    models[variable].interventions.clear()
