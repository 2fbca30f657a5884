"""The contract between kernel and page, written from Python's side and checked on both."""

from __future__ import annotations

import json
import sys
from typing import Any

from .traits import flag_of

__all__ = ["contract", "contract_json"]

_WIDGETS = (
    "Explorer",
    "AblationPanel",
    "CaptionDiff",
    "ConceptPair",
    "MaskPainter",
    "NeuronTable",
    "PatchHeatmap",
    "StoreExplorer",
    "ThresholdPlane",
    "TokenStrip",
)


def contract() -> dict[str, Any]:
    """Return the traits (with their encodings) and requests of every widget.

    Returns
    -------
    dict
        ``widgets``: trait kinds by widget and name; ``requests``: names that the kernel answers;
        ``messages``: kinds of messages in both directions.

    Examples
    --------
    >>> contract()["widgets"]["Explorer"]["threshold_d"]
    'float'
    """
    from .. import widgets

    classes = [getattr(widgets, name) for name in _WIDGETS]
    requests = {name for cls in classes for name in cls._handlers}
    return {
        "widgets": {
            cls.__name__: {
                name: kind
                for name, trait in sorted(cls.class_traits().items())
                if (kind := flag_of(trait))
            }
            for cls in classes
        },
        "requests": sorted(requests),
        "messages": {"received": ["request"], "sent": ["reply", "token"]},
    }


def contract_json() -> str:
    """Return the contract as the text of js/src/core/contract.json."""
    return json.dumps(contract(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(contract_json())
