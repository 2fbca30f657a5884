"""Find, show, test and edit the neurons of multimodal language models that hold a concept."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors: what __getattr__ below gives
    from . import activations as activations
    from . import attribution as attribution
    from . import core as core
    from . import datasets as datasets
    from . import evaluation as evaluation
    from . import inpainting as inpainting
    from . import interventions as interventions
    from . import models as models
    from . import pocket as pocket
    from . import studies as studies
    from . import widgets as widgets
    from .activations import capture as capture
    from .activations import open_store as open_store
    from .core import BadArgument as BadArgument
    from .core import Cancelled as Cancelled
    from .core import CancelToken as CancelToken
    from .core import Concept as Concept
    from .core import MmknError as MmknError
    from .core import Neuron as Neuron
    from .core import NeuronSet as NeuronSet
    from .core import NotSupported as NotSupported
    from .core import set_progress as set_progress
    from .core import set_verbosity as set_verbosity
    from .models import MultimodalModel as MultimodalModel
    from .models import load_minigpt4 as load_minigpt4
    from .models import load_model as load_model
    from .studies import Study as Study
    from .studies import open_study as open_study
    from .studies import study as study
    from .widgets import Explorer as Explorer
    from .widgets import compare as compare
    from .widgets import open_explorer as open_explorer

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
    "set_progress": "core",
    "set_verbosity": "core",
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


if not TYPE_CHECKING:  # a type checker that saw this would take every name for there

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
