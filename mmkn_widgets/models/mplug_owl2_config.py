"""Which folders are mPLUG-Owl2's, and what they describe; transformers does not know this model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core import NotSupported

__all__ = ["MODEL_TYPE", "config", "is_one", "model_class"]

#: What the published configuration calls it.
MODEL_TYPE = "mplug_owl2"
#: Settings of the eyes that later releases brought (mPLUG-Owl2.1), with what this one does.
_SETTLED = {"use_cls_token": True, "use_post_layernorm": True, "add_v2t_pos_emb": False}


def is_one(written: Mapping[str, Any]) -> bool:
    """Return whether a config.json is an mPLUG-Owl2's."""
    return written.get("model_type") == MODEL_TYPE


def config(written: Mapping[str, Any]) -> Any:
    """Return the configuration that a config.json describes.

    Raises
    ------
    NotSupported
        If its eyes have a setting of a later release.
    """
    from .mplug_owl2_model import MplugOwl2Config

    for part, entries in (written.get("visual_config") or {}).items():
        for name, value in _SETTLED.items():
            if entries.get(name, value) != value:
                raise NotSupported(
                    f"model: {part}.{name} is {entries[name]!r}, a setting of mPLUG-Owl2.1; "
                    f"mPLUG-Owl2 has {value!r}"
                )
    kept = {name: value for name, value in written.items() if value is not None}
    return MplugOwl2Config.from_dict(kept)


def model_class() -> Any:
    """Return the model's class; transformers is imported at its first use."""
    from .mplug_owl2_model import MplugOwl2ForConditionalGeneration

    return MplugOwl2ForConditionalGeneration
