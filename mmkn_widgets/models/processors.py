"""The processor that lies beside a model's weights; without its part for clips where that fails.

transformers' video processors need torchvision. Pictures do not: a processor whose only obstacle is
its video part is loaded without it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..core import BadArgument
from .source import one_line

__all__ = ["load_processor"]

_FILES = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")


class NoClips:
    """Stands where a processor keeps its video processor; answers every setting with None."""

    model_input_names: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Refuse a clip."""
        raise BadArgument("videos: this processor was loaded without its part for clips")


def load_processor(source: str, config: Any, revision: str | None, trust: bool) -> Any:
    """Return the processor that lies beside the weights, or None where there is none.

    Parameters
    ----------
    source : str
        A folder or hub name.
    config : transformers.PreTrainedConfig
        The model's.
    revision : str or None
        The hub's branch, tag or commit.
    trust : bool
        Whether code that comes with the checkpoint may run.

    Raises
    ------
    BadArgument
        If there is one that cannot be read; the message says what is missing.
    """
    from transformers import AutoProcessor

    if Path(source).is_dir() and not any((Path(source) / file).is_file() for file in _FILES):
        return None
    options = {"revision": revision or "main", "trust_remote_code": trust}
    try:
        return AutoProcessor.from_pretrained(source, **options)
    except (OSError, ValueError, KeyError, ImportError, TypeError, AttributeError) as error:
        kind = _kind(config)
        if _wants_torchvision(error) and kind is not None and _has_clips(kind):
            try:
                return stills_only(kind).from_pretrained(source, **options)
            except (OSError, ValueError, KeyError, ImportError, TypeError, AttributeError) as other:
                error = other
        raise _error(source, error) from error


def _wants_torchvision(error: Exception) -> bool:
    text = str(error)
    return "orchvision" in text or "_extra_content" in text


def _has_clips(kind: Any) -> bool:
    try:
        return any("video" in name for name in kind.get_attributes())
    except ImportError:  # the whole class needs torchvision (Pixtral)
        return False


def _kind(config: Any) -> Any:
    from transformers.models.auto.processing_auto import (
        PROCESSOR_MAPPING_NAMES,
        processor_class_from_name,
    )

    kind = str(getattr(config, "model_type", ""))
    name = PROCESSOR_MAPPING_NAMES.get(kind) or PROCESSOR_MAPPING_NAMES.get(kind.replace("-", "_"))
    return None if name is None else processor_class_from_name(name)


@lru_cache(maxsize=32)
def stills_only(kind: Any) -> Any:
    """Return a processor class that differs from `kind` in having no part for clips."""

    class Stills(kind):  # type: ignore[misc]  # made of whatever class it is
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            if isinstance(argument, NoClips):
                return NoClips
            return super().check_argument_for_proper_class(argument_name, argument)

        def to_dict(self) -> dict[str, Any]:
            described = super().to_dict()
            return {k: v for k, v in described.items() if not isinstance(v, NoClips)}

        @classmethod
        def _get_arguments_from_pretrained(cls, *args: Any, **kwargs: Any) -> list[Any]:
            names = kind.get_attributes()
            rest = _rest(kind)
            found = iter(rest._get_arguments_from_pretrained(*args, **kwargs))
            return [NoClips() if "video" in name else next(found) for name in names]

    Stills.__name__ = Stills.__qualname__ = kind.__name__
    return Stills


def _rest(kind: Any) -> Any:
    """Return a class like `kind` that does not name its video part."""

    class Rest(kind):  # type: ignore[misc]  # made of whatever class it is
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in kind.get_attributes() if "video" not in name]

    Rest.__name__ = kind.__name__
    return Rest


def _error(source: str, error: Exception) -> BadArgument:
    text = one_line(error)
    package = "torchvision" if "orchvision" in text else ""
    if not package and (said := re.search(r"pip install (\w+)", text)):
        package = said[1]
    if package:
        fits = " (of the release that fits your torch)" * (package == "torchvision")
        return BadArgument(
            f"processor: the processor of {source} needs {package}; pip install {package}{fits}, "
            "or pass load_model(model object, processor)"
        )
    return BadArgument(
        f"processor: the processor of {source} cannot be read ({text}); pass load_model(model "
        "object, processor) to go on without it"
    )
