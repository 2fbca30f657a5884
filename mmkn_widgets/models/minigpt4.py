"""Assemble MiniGPT-4 from BLIP-2, a Llama and the published projection."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..core import BadArgument, bad_argument
from .load import wrap
from .model import MultimodalModel
from .placement import best_device, choose_dtype
from .source import one_line
from .state import loading

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["TEMPLATES", "MiniGPT4Processor", "load_minigpt4"]

IMAGE = "<ImageHere>"
_SYSTEM = (
    "Give the following image: <Img>ImageContent</Img>. You will be able to see the image once I "
    "provide it to you. Please answer my questions."
)
#: version -> prompt, as the published demo writes it.
TEMPLATES = {
    "vicuna0": _SYSTEM + "###Human: <Img>" + IMAGE + "</Img> {question}###Assistant: ",
    "llama2": _SYSTEM + "<s>[INST] <Img>" + IMAGE + "</Img> {question} [/INST] ",
}
_STOPS = {"vicuna0": ("###", " ###"), "llama2": ()}
#: Buffers that the published trainer leaves in its checkpoints; they are not weights.
_BUFFERS = re.compile(r"position_ids$|inv_freq$|rotary_emb\.|relative_position_index$|masked_bias$")
_KEYS = ("llama_proj.weight", "llama_proj.bias")


class MiniGPT4Processor:
    """Reads one picture and the prompt around it, each part of the text tokenised apart.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
        The language model's; ``<ImageHere>`` is added to it as a special token.
    image_processor : transformers.BaseImageProcessor
        BLIP-2's: 224 x 224, bicubic, CLIP's mean and deviation.
    n_image_tokens : int
        Image tokens of one picture.
    version : {"vicuna0", "llama2"}
        Whose prompt template.
    """

    image_token = IMAGE

    def __init__(
        self, tokenizer: Any, image_processor: Any, n_image_tokens: int, version: str
    ) -> None:
        tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.n_image_tokens = n_image_tokens
        self.image_token_id = int(tokenizer.convert_tokens_to_ids(IMAGE))
        self.chat_template = TEMPLATES[version]

    def apply_chat_template(self, conversation: Any, **_: Any) -> str:
        """Return the prompt of a one-turn conversation."""
        parts = conversation[-1]["content"]
        text = " ".join(part["text"] for part in parts if part["type"] == "text")
        return self.chat_template.replace("{question}", text)

    def __call__(self, images: Any, text: Any, **_: Any) -> dict[str, torch.Tensor]:
        """Return input_ids, attention_mask and pixel_values of one picture and its prompt."""
        segments = text[0].split(IMAGE)
        if len(segments) != 2:
            raise ValueError(f"expected {IMAGE} once in the prompt, found {len(segments) - 1}")
        before = self.tokenizer(segments[0])["input_ids"]
        after = self.tokenizer(segments[1], add_special_tokens=False)["input_ids"]
        ids = torch.tensor([[*before, *[self.image_token_id] * self.n_image_tokens, *after]])
        pixels = self.image_processor(images=images, return_tensors="pt")["pixel_values"]
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "pixel_values": torch.as_tensor(pixels),
        }


def load_minigpt4(
    *,
    blip2: str | PathLike[str],
    llm: str | PathLike[str],
    checkpoint: str | PathLike[str],
    version: str,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> MultimodalModel:
    """Assemble MiniGPT-4 (the first paper's model) on today's transformers.

    Parameters
    ----------
    blip2 : str or path
        Folder or hub name of the BLIP-2 whose eyes are used: the published versions were trained
        behind ``"Salesforce/blip2-flan-t5-xxl"``. Of its weights only the vision tower and, for
        ``vicuna0``, the Q-Former are read.
    llm : str or path
        The language model: Vicuna v0 for ``vicuna0``, Llama-2-chat for ``llama2``.
    checkpoint : str or path
        The published ``.pth`` with the projection; read with ``weights_only=True``.
    version : {"vicuna0", "llama2"}
        ``vicuna0``: 32 Q-Former tokens; ``llama2``: no Q-Former, four neighbouring patches of a row
        make one of 64 tokens (16 rows of 4).
    device, dtype
        As in `load_model`.

    Returns
    -------
    MultimodalModel
        With the version's prompt template; decoding is greedy and stops at ``###`` for vicuna0.

    Raises
    ------
    BadArgument
        If a part cannot be read, or the checkpoint is not this version's; the keys are named.

    Examples
    --------
    >>> load_minigpt4(  # with the published parts in place: a model like any other
    ...     blip2="Salesforce/blip2-flan-t5-xxl", llm="vicuna-7b-v0",
    ...     checkpoint="pretrained_minigpt4_7b.pth", version="vicuna0",
    ... )
    Traceback (most recent call last):
    ...
    mmkn_widgets.core.errors.BadArgument: checkpoint: there is no file '...pth'; ...
    """
    if version not in TEMPLATES:
        raise bad_argument("version", version, "'vicuna0' or 'llama2'")
    target = torch.device(device) if device is not None else best_device()
    projection = read_checkpoint(checkpoint)
    eyes = _eyes(str(blip2), version)
    language, tokenizer = _language(str(llm), target, dtype)
    hf = _assemble(eyes, language, projection, version, str(checkpoint))
    processor = MiniGPT4Processor(tokenizer, _image_processor(str(blip2)), eyes.n_tokens, version)
    hf.config.image_token_id = processor.image_token_id
    hf.stop_sequences = tuple(
        tuple(tokenizer(stop, add_special_tokens=False)["input_ids"]) for stop in _STOPS[version]
    )
    hf.to(device=target, dtype=language.dtype).eval().requires_grad_(False)
    return wrap(hf, processor, name=f"minigpt4-{version}")


def read_checkpoint(path: str | PathLike[str]) -> dict[str, torch.Tensor]:
    """Return the projection of a published checkpoint.

    Parameters
    ----------
    path : str or path
        The ``.pth``; a dict whose ``"model"`` holds ``llama_proj.weight`` and ``llama_proj.bias``.

    Returns
    -------
    dict of str to torch.Tensor
        Those two.

    Raises
    ------
    BadArgument
        If the file cannot be read without running code, or keys are missing or not understood.
    """
    file = Path(path)
    if not file.is_file():
        raise BadArgument(f"checkpoint: there is no file {str(path)!r}; expected MiniGPT-4's .pth")
    try:
        read = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise BadArgument(
            f"checkpoint: {file.name} cannot be read as plain tensors, and nothing else is run "
            f"({one_line(error, 160)})"
        ) from error
    weights = read.get("model", read) if isinstance(read, Mapping) else None
    if not isinstance(weights, Mapping):
        raise BadArgument(f"checkpoint: {file.name} holds no weights; expected a dict with 'model'")
    missing = [key for key in _KEYS if not isinstance(weights.get(key), torch.Tensor)]
    unknown = [key for key in weights if key not in _KEYS and not _BUFFERS.search(str(key))]
    if missing:
        there = ", ".join(map(str, list(weights)[:4])) or "nothing"
        raise BadArgument(
            f"checkpoint: {file.name} lacks {', '.join(missing)}; it holds {there}"
            + (" ..." if len(weights) > 4 else "")
        )
    if unknown:
        shown = ", ".join(unknown[:4]) + (f" and {len(unknown) - 4} more" if unknown[4:] else "")
        raise BadArgument(
            f"checkpoint: {file.name} also holds {shown}, which MiniGPT-4 does not have; expected "
            f"{' and '.join(_KEYS)} alone"
        )
    return {key: weights[key] for key in _KEYS}


def _eyes(source: str, version: str) -> Any:
    from transformers import Blip2Config

    from .minigpt4_model import Eyes

    try:
        config = Blip2Config.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise BadArgument(f"blip2: {source} cannot be read ({one_line(error)})") from error
    if config.model_type != "blip-2":
        raise bad_argument("blip2", source, "a BLIP-2 model's folder or hub name")
    config = copy.deepcopy(config)
    if version == "llama2":
        config.num_query_tokens = 0
    try:
        with loading():
            eyes, info = Eyes.from_pretrained(
                source, config=config, dtype=torch.float32, output_loading_info=True
            )
    except Exception as error:
        raise BadArgument(f"blip2: {source} cannot be loaded ({one_line(error)})") from error
    if missing := sorted(info["missing_keys"]):
        raise BadArgument(
            f"blip2: {source} lacks {', '.join(missing[:4])}"
            + (f" and {len(missing) - 4} more" if missing[4:] else "")
        )
    return eyes


def _language(source: str, device: torch.device, dtype: Any) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(source)
        kind = choose_dtype(dtype, device, config)
        with loading():
            model = AutoModelForCausalLM.from_pretrained(source, dtype=kind)
        return model, AutoTokenizer.from_pretrained(source)
    except Exception as error:
        raise BadArgument(f"llm: {source} cannot be loaded ({one_line(error)})") from error


def _image_processor(source: str) -> Any:
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(source, use_fast=False)
    except (OSError, ValueError, ImportError) as error:
        raise BadArgument(
            f"blip2: the image processor of {source} cannot be read ({one_line(error)})"
        ) from error


def _assemble(
    eyes: Any, language: Any, projection: dict[str, torch.Tensor], version: str, source: str
) -> Any:
    from .minigpt4_model import NEIGHBOURS, MiniGPT4Config, MiniGPT4ForConditionalGeneration

    side = eyes.config.vision_config.image_size // eyes.config.vision_config.patch_size
    config = MiniGPT4Config(
        vision_config=eyes.config.vision_config,
        text_config=language.config,
        qformer_config=eyes.config.qformer_config if version == "vicuna0" else None,
        num_query_tokens=eyes.n_tokens if version == "vicuna0" else None,
        image_token_grid=None if version == "vicuna0" else [side, side // NEIGHBOURS],
    )
    hf = MiniGPT4ForConditionalGeneration(config, eyes, language)
    for key, tensor in projection.items():
        own = hf.get_parameter(key)
        if own.shape != tensor.shape:
            other = "llama2" if version == "vicuna0" else "vicuna0"
            raise BadArgument(
                f"checkpoint: {Path(source).name}: {key} is {tuple(tensor.shape)}, expected "
                f"{tuple(own.shape)} for version={version!r} with this blip2 and llm; is it the "
                f"checkpoint of {other!r} or of another llm size?"
            )
        own.data.copy_(tensor)
    return hf
