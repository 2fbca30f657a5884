"""Do the processor and the model count the same image tokens? What is missing is filled in."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

from torch import nn

from ..core import NotSupported
from .source import one_line

__all__ = ["fill_in", "mismatch"]

#: What transformers and the models themselves say when the two numbers differ.
_DIFFERS = re.compile(
    r"(features?|placeholder).*tokens?.*do(es)? not match|tokens?.*features?.*do(es)? not match|"
    r"image places in the prompt|masked_scatter|"
    r"number of elements of source < number of ones in mask",
    re.IGNORECASE | re.DOTALL,
)
#: Settings of processors that decide how many image tokens a prompt gets.
_SETTINGS = (
    "patch_size",
    "vision_feature_select_strategy",
    "num_additional_image_tokens",
    "num_query_tokens",
    "image_seq_length",
    "num_image_tokens",
    "spatial_merge_size",
)


def _of_model(hf: Any) -> dict[str, Any]:
    """Return the model's own values of the settings, where its configuration has them."""
    config = hf.config
    vision = getattr(config, "vision_config", None)
    found: dict[str, Any] = {}
    for name in ("patch_size", "spatial_merge_size"):
        value = getattr(vision, name, None)
        found[name] = getattr(config, name, None) if value is None else value
    for name in ("vision_feature_select_strategy", "num_query_tokens", "image_seq_length"):
        found[name] = getattr(config, name, None)
    if getattr(config, "mm_tokens_per_image", None) is not None:
        found["image_seq_length"] = config.mm_tokens_per_image
    return {name: value for name, value in found.items() if isinstance(value, int | str)}


def fill_in(processor: Any, hf: Any) -> None:
    """Give a processor the settings that it lacks, from the model's configuration, with a warning.

    Processors saved before transformers counted image tokens itself know neither the patch size
    nor which features are used.

    Parameters
    ----------
    processor : transformers.ProcessorMixin or None
        Changed in place.
    hf : transformers.PreTrainedModel
        The model.
    """
    own = _of_model(hf)
    names = ["patch_size", "vision_feature_select_strategy"]
    if getattr(hf.config, "image_token_id", None) is not None:
        names.append("num_query_tokens")
    lacking = [n for n in names if n in own and getattr(processor, n, "known") is None]
    if not lacking:
        return
    filled = {name: own[name] for name in lacking}
    if "patch_size" in filled and getattr(processor, "num_additional_image_tokens", None) == 0:
        filled["num_additional_image_tokens"] = int(_has_class_token(hf))
    for name, value in filled.items():
        setattr(processor, name, value)
    warnings.warn(
        "processor: it does not say how many image tokens a picture has; filled in from the "
        "model's configuration: " + ", ".join(f"{n}={v!r}" for n, v in filled.items()),
        UserWarning,
        stacklevel=2,
    )


def _has_class_token(hf: nn.Module) -> bool:
    ends = ("class_embedding", "cls_token")
    return any(name.endswith(ends) for name, _ in hf.named_parameters())


def mismatch(error: Exception, hf: Any, processor: Any) -> NotSupported | None:
    """Return the error to raise where a prompt's image tokens do not fit the picture's features.

    Parameters
    ----------
    error : Exception
        What the model raised.
    hf, processor
        The model and what reads pictures for it, or None.

    Returns
    -------
    NotSupported or None
        With both numbers and the settings that may be wrong; None if this is another error.
    """
    text = str(error)
    if not _DIFFERS.search(text):
        return None
    numbers = [int(n) for n in re.findall(r"\d+", text)]
    if "image places" in text and len(numbers) == 3:
        numbers = [numbers[0], numbers[1] * numbers[2]]
    tokens, features = numbers[:2] if len(numbers) > 1 else (0, 0)
    if not features:
        said = f"the prompt's image tokens do not fit the tower's features ({one_line(error)})"
    else:
        features = _rows(hf, features)
        said = f"the prompt has {tokens} image tokens, the vision tower makes {features} features"
    if processor is None:
        return NotSupported(
            f"images: {said}; give input_ids with as many image tokens as these pixel_values make "
            "features"
        )
    return NotSupported(f"images: {said}; {'; '.join(_causes(hf, processor, features - tokens))}")


def _rows(hf: Any, features: int) -> int:
    """Return how many features there are; LLaVA (transformers 5.23) tells their entries instead."""
    hidden = getattr(hf.config.get_text_config(), "hidden_size", None)
    if not isinstance(hidden, int) or features % hidden or features < 4 * hidden:
        return features
    return features // hidden


def _causes(hf: Any, processor: Any, lacking: int) -> Iterator[str]:
    own, differs = _of_model(hf), False
    for name, value in own.items():
        given = getattr(processor, name, None)
        if isinstance(given, int | str) and given != value:
            differs = True
            yield f"processor.{name} is {given!r}, the model's {value!r}"
    extra = getattr(processor, "num_additional_image_tokens", None)
    if differs or extra is None or not lacking:
        settings = [n for n in _SETTINGS if getattr(processor, n, None) is not None]
        if not differs:
            shown = ", ".join(f"{n}={getattr(processor, n)!r}" for n in settings) or "it shows none"
            yield f"the processor is another model's, or one of its settings is wrong: {shown}"
        return
    yield (
        f"processor.num_additional_image_tokens is {extra}, which is probably too "
        f"{'small' if lacking > 0 else 'large'} (a tower with a class token has 1, others 0)"
    )
