"""What reads a picture and a prompt for mPLUG-Owl2, as the published code does."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

from ..core import BadArgument, NotSupported
from .source import one_line

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MplugOwl2Processor", "load_processor"]

IMAGE, IMAGE_END = "<|image|>", "<|image_end|>"


class MplugOwl2Processor:
    """Reads one picture and the prompt around it, each part of the text tokenised apart.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
        Llama's; ``<|image|>`` and ``<|image_end|>`` are added to it as special tokens.
    image_processor : transformers.BaseImageProcessor
        CLIP's: 448 x 448. The picture is stretched to a square first, as the published code does.
    n_queries : int
        Image tokens of one picture, without the one that ends it.
    """

    image_token = IMAGE
    chat_template = None

    def __init__(self, tokenizer: Any, image_processor: Any, n_queries: int) -> None:
        tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE, IMAGE_END]})
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.n_queries = n_queries
        ids = tokenizer.convert_tokens_to_ids([IMAGE, IMAGE_END])
        self.image_token_id, self.image_end_token_id = (int(i) for i in ids)

    def __call__(self, images: Any, text: Any, **_: Any) -> dict[str, torch.Tensor]:
        """Return input_ids, attention_mask and pixel_values of one picture and its prompt."""
        segments = text[0].split(IMAGE)
        if len(segments) != 2:
            raise ValueError(f"expected {IMAGE} once in the prompt, found {len(segments) - 1}")
        before = self.tokenizer(segments[0])["input_ids"]
        after = self.tokenizer(segments[1], add_special_tokens=False)["input_ids"]
        places = [self.image_token_id] * self.n_queries + [self.image_end_token_id]
        ids = torch.tensor([[*before, *places, *after]])
        squares = [_square(image) for image in images]
        pixels = self.image_processor(images=squares, return_tensors="pt")["pixel_values"]
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "pixel_values": torch.as_tensor(pixels),
        }


def _square(image: Image) -> Image:
    side = max(image.size)
    return image if image.size == (side, side) else image.resize((side, side))


def load_processor(source: str, hf: Any, revision: str) -> MplugOwl2Processor:
    """Return what reads prompts, and tell the model which ids hold the places of image tokens.

    Parameters
    ----------
    source : str
        A folder or hub name.
    hf : MplugOwl2ForConditionalGeneration
        The model; the two ids are written into its configuration.
    revision : str
        The hub's branch, tag or commit.

    Raises
    ------
    BadArgument
        If tokenizer or image processor cannot be read.
    NotSupported
        If the package is missing that reads the tokenizer.
    """
    from transformers import AutoTokenizer, CLIPImageProcessorPil

    try:
        tokenizer = AutoTokenizer.from_pretrained(source, config=hf.config, revision=revision)
        image_processor = CLIPImageProcessorPil.from_pretrained(source, revision=revision)
    except (OSError, ValueError, KeyError, ImportError, TypeError, AttributeError) as error:
        if "tiktoken" in str(error) and find_spec("sentencepiece") is None:  # tried in its place
            raise NotSupported(
                f"processor: the tokenizer of {source} is a SentencePiece model; "
                "pip install sentencepiece"
            ) from error
        raise BadArgument(
            f"processor: tokenizer or image processor of {source} cannot be read "
            f"({one_line(error)}); expected those of the published folder, or load_model(model "
            "object, processor)"
        ) from error
    processor = MplugOwl2Processor(tokenizer, image_processor, hf.config.num_query_tokens)
    hf.config.image_token_index = processor.image_token_id
    hf.config.image_end_token_index = processor.image_end_token_id
    return processor
