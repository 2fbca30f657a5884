"""What a model is asked: its chat template, else the prompt its family was trained with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..core import NotSupported, bad_argument
from .families import placeholders

if TYPE_CHECKING:
    from .parts import ModelParts

__all__ = [
    "DEFAULT_QUESTION",
    "FAMILY_PROMPTS",
    "all_continuation_ids",
    "continuation_ids",
    "image_token",
    "prompt_text",
    "with_one_placeholder",
]

#: The question where the caller gives none and the model brings none of its own.
DEFAULT_QUESTION = "Describe the image in a few words."

#: ``model_type`` -> (prompt without a question, prompt with one). ``{image}`` is the model's own
#: image placeholder, ``{question}`` the question; None stands for `DEFAULT_QUESTION` in the second.
FAMILY_PROMPTS: dict[str, tuple[str | None, str]] = {
    "llava": (None, "USER: {image}\n{question} ASSISTANT:"),
    "vipllava": (
        None,
        "A chat between a curious human and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the human's questions."
        "###Human: {image}\n{question}###Assistant:",
    ),
    "video_llava": (None, "USER: {image}\n{question} ASSISTANT:"),
    "llava_next": (None, "[INST] {image}\n{question} [/INST]"),
    "llava_next_video": (None, "USER: {image}\n{question} ASSISTANT:"),
    "blip": ("", "{question}"),
    "blip-2": ("", "Question: {question} Answer:"),
    "instructblip": (None, "{question}"),
    "instructblipvideo": (None, "{question}"),
    "git": ("", "{question}"),
    "paligemma": ("{image}caption en", "{image}answer en {question}"),
    "pi0": ("{image}caption en", "{image}{question}"),
    "kosmos-2": ("<grounding>An image of", "<grounding> Question: {question} Answer:"),
    "kosmos-2.5": ("<ocr>", "{question}"),
    "florence2": ("<CAPTION>", "{question}"),
    "fuyu": ("Generate a coco-style caption.\n", "{question}\n"),
    "chameleon": (None, "{image}{question}"),
    "pix2struct": ("", "{question}"),
    "vision-encoder-decoder": ("", "{question}"),
    "pp_formulanet": ("", "{question}"),
    "udop": ("Question answering. What is shown?", "Question answering. {question}"),
    "idefics": (None, "User: {question}\nAssistant:"),
    "mplug_owl2": (
        "USER: {image}Provide a one-sentence caption for the provided image. ASSISTANT: ",
        "USER: {image}{question} ASSISTANT:",
    ),
    "minigpt4": (None, "{image}{question}"),
    "molmo2": (None, "User: {image}{question} Assistant:"),
    "emu3": (None, "USER: {image}{question} ASSISTANT:"),
}

_PLACEHOLDERS = ("image_token", "boi_token", "full_image_sequence", "image_placeholder")


def image_token(processor: Any) -> str:
    """Return the text that stands for a picture in a processor's prompts; "" if there is none."""
    for holder in (processor, getattr(processor, "tokenizer", None)):
        for name in _PLACEHOLDERS[:2]:
            token = getattr(holder, name, None)
            if token is not None and str(token):
                return str(token)
    return ""


def with_one_placeholder(processor: Any, text: str) -> str:
    """Return a prompt for several pictures as one for a single picture."""
    token = image_token(processor)
    return text.replace(token, "", max(text.count(token) - 1, 0)) if token else text


def own_prompt(generation_config: Any) -> str | None:
    """Return the captioning prompt that a model brings in its generation config, if any.

    The entry's name is ``caption_prompt``; the prompt holds the model's image placeholder.
    """
    prompt = getattr(generation_config, "caption_prompt", None)
    return prompt if isinstance(prompt, str) else None


def chat_template(processor: Any) -> bool:
    """Return whether a processor (or its tokenizer) has a chat template."""
    return getattr(processor, "chat_template", None) is not None


def prompt_text(hf: Any, processor: Any, question: str | None, n_pictures: int = 1) -> str:
    """Return the text to give the processor together with one picture, or several.

    Parameters
    ----------
    hf : transformers.PreTrainedModel
        The model; its configurations are read.
    processor : transformers.ProcessorMixin
        The model's processor.
    question : str or None
        What to ask. A text that holds the model's image placeholder is taken as the whole prompt.
        None, or an empty text, asks for a caption, in the model's own words where it has some.
    n_pictures : int
        Pictures of this one prompt, all in front of the question.

    Returns
    -------
    str
        By preference: the model's own captioning prompt, its chat template, the prompt of its
        family, or placeholder, line break, question.
    """
    token = image_token(processor)
    question = question or None
    if question is None and (own := own_prompt(getattr(hf, "generation_config", None))) is not None:
        return own.replace(token, token * n_pictures) if token else own
    if question is not None and token and token in question:
        return question
    asked = DEFAULT_QUESTION if question is None else question
    if chat_template(processor) and (text := _chat(processor, asked, n_pictures)) is not None:
        return text
    family = FAMILY_PROMPTS.get(getattr(hf.config, "model_type", ""))
    if family is not None:
        bare, asking = family
        text = bare if question is None and bare is not None else asking
        return text.replace("{image}", token * n_pictures).replace("{question}", asked)
    return f"{token * n_pictures}\n{asked}" if token else asked


def _chat(processor: Any, question: str, n_pictures: int) -> str | None:
    """Return the question in the chat template; None where that fails.

    A template that knows no pictures (a language model's own) gets the placeholder as text.
    """
    pictures = [{"type": "image"}] * n_pictures
    words = [{"type": "text", "text": question}]
    token = image_token(processor)
    text = _rendered(processor, [*pictures, *words])
    if text is not None and (
        not token or token in text or text != _rendered(processor, words)
    ):  # some write another mark, which their processor turns into the placeholder
        return text
    written = f"{token * n_pictures}\n{question}" if token else question
    return _rendered(processor, written)


def _rendered(processor: Any, content: Any) -> str | None:
    message = {"role": "user", "content": content}
    try:
        return str(
            processor.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
        )
    except Exception:  # noqa: BLE001  whatever a template from outside raises: another way is tried
        return None


def all_continuation_ids(
    model: ModelParts, continuation: Any, texts: Sequence[str | None], n: int
) -> tuple[tuple[int, ...], ...]:
    """Return the ids of each row's continuation, given as texts or as ids."""
    if isinstance(continuation, str):
        continuation = [continuation]
    given = list(continuation)
    if given and isinstance(given[0], int):
        given = [given]
    if len(given) != n:
        raise bad_argument("continuation", f"{len(given)} rows", f"one for each of {n} images")
    ids = []
    for row, text in zip(given, texts, strict=True):
        if isinstance(row, str):
            ids.append(tuple(continuation_ids(model, text or "", row)))
        else:
            ids.append(tuple(int(i) for i in row))
        _refuse_placeholders(model, ids[-1])
    return tuple(ids)


def _refuse_placeholders(model: ModelParts, ids: Sequence[int]) -> None:
    """Say so where a caption holds the id that stands for a picture: no picture belongs to it."""
    if found := placeholders(model) & set(ids):
        raise bad_argument(
            "continuation", list(ids), f"text without {min(found)}, which stands for a picture"
        )


def continuation_ids(model: ModelParts, prompt: str, text: str) -> list[int]:
    """Return the ids of a text as the model would write it behind its prompt.

    Byte-level and SentencePiece vocabularies fold the space before a word into its token, so the
    text is read together with the prompt's last character and that character's ids are taken off.
    """
    if model.tokenizer is None:
        raise NotSupported(
            f"continuation: {model.name} has no tokenizer; give token ids instead of text"
        )
    anchor = prompt[-1:] or "\n"
    joint = anchor + text if anchor.isspace() else f"{anchor} {text.lstrip()}"
    head = model.tokenizer(anchor, add_special_tokens=False)["input_ids"]
    ids = model.tokenizer(joint, add_special_tokens=False)["input_ids"]
    if ids[: len(head)] == head:
        return list(ids[len(head) :])
    return list(model.tokenizer(text, add_special_tokens=False)["input_ids"])
