"""Find, show, test and edit the neurons of multimodal language models that hold a concept."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

#: public name -> room, imported at the name's first use: ``import mmkn_widgets`` stays light
_ROOM_OF = {
    "load_model": "models",
    "load_minigpt4": "models",
    "MultimodalModel": "models",
    "capture": "activations",
    "open_store": "activations",
    "BadArgument": "core",
    "CancelToken": "core",
    "Cancelled": "core",
    "Concept": "core",
    "MmknError": "core",
    "Neuron": "core",
    "NeuronSet": "core",
    "NotSupported": "core",
    "study": "studies",
    "open_study": "studies",
    "Study": "studies",
    "Explorer": "widgets",
    "compare": "widgets",
    "open_explorer": "widgets",
}
_ROOMS = (
    "core",
    "pocket",
    "datasets",
    "inpainting",
    "models",
    "activations",
    "attribution",
    "interventions",
    "evaluation",
    "studies",
    "widgets",
)

__all__ = ["__version__", *_ROOM_OF, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _ROOM_OF:
        value = getattr(importlib.import_module(f".{_ROOM_OF[name]}", __name__), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
