"""MiniGPT-4 as a transformers model: BLIP-2's eyes, one linear layer, a Llama.

Zhu et al. 2023, arXiv 2304.10592. Read in the published code (github.com/Vision-CAIR/MiniGPT-4,
``minigpt4/models/minigpt4.py``): the picture goes through BLIP-2's vision tower and, for the Vicuna
version, through its Q-Former; the Llama-2 version drops the class token and lays four neighbouring
patches of a row side by side instead; ``llama_proj`` maps the result to the language model.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn
from transformers import (
    Blip2Config,
    GenerationMixin,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.blip_2.modeling_blip_2 import Blip2QFormerModel, Blip2VisionModel

__all__ = ["NEIGHBOURS", "Eyes", "MiniGPT4Config", "MiniGPT4ForConditionalGeneration"]

#: Patches that the Llama-2 version lays side by side.
NEIGHBOURS = 4


class Eyes(PreTrainedModel):
    """The part of a BLIP-2 checkpoint that MiniGPT-4 uses, under BLIP-2's own names.

    Parameters
    ----------
    config : transformers.Blip2Config
        ``num_query_tokens = 0`` leaves the Q-Former out.
    """

    config_class = Blip2Config
    config: Blip2Config
    base_model_prefix = ""
    main_input_name = "pixel_values"
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [
        r"^language_",
        r"^vision_projection",
        r"^itm_head",
    ]

    def __init__(self, config: Blip2Config) -> None:
        super().__init__(config)
        self.vision_model = Blip2VisionModel._from_config(config.vision_config)
        if config.num_query_tokens:
            width = config.qformer_config.hidden_size
            self.query_tokens = nn.Parameter(torch.zeros(1, config.num_query_tokens, width))
            self.qformer = Blip2QFormerModel._from_config(config.qformer_config)
        self.post_init()

    @property
    def width(self) -> int:
        """Length of one image token before the projection."""
        if self.config.num_query_tokens:
            return int(self.config.qformer_config.hidden_size)
        return NEIGHBOURS * int(self.config.vision_config.hidden_size)

    @property
    def n_tokens(self) -> int:
        """Image tokens of one picture."""
        if self.config.num_query_tokens:
            return int(self.config.num_query_tokens)
        vision = self.config.vision_config
        return int((vision.image_size // vision.patch_size) ** 2 // NEIGHBOURS)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return image tokens, (batch, token, width), of pixels (batch, 3, height, width)."""
        seen = self.vision_model(pixel_values=pixel_values).last_hidden_state
        if not self.config.num_query_tokens:
            patches: torch.Tensor = seen[:, 1:]
            return patches.reshape(len(patches), patches.shape[1] // NEIGHBOURS, -1)
        queries = self.query_tokens.expand(len(seen), -1, -1).to(seen.dtype)
        read = self.qformer(query_embeds=queries, encoder_hidden_states=seen)
        made: torch.Tensor = read.last_hidden_state
        return made


class MiniGPT4Config(PreTrainedConfig):
    """Configuration of an assembled MiniGPT-4.

    Parameters
    ----------
    vision_config, text_config : transformers.PreTrainedConfig
        Those of the vision tower and of the language model.
    num_query_tokens : int or None
        Queries of the Q-Former; None without one.
    image_token_id : int
        The id that holds an image token's place.
    image_token_grid : list of int or None
        (rows, columns) of the raster strips of the version without Q-Former.
    """

    model_type = "minigpt4"

    def __init__(
        self,
        vision_config: Any = None,
        text_config: Any = None,
        qformer_config: Any = None,
        num_query_tokens: int | None = None,
        image_token_id: int = -1,
        image_token_grid: list[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vision_config = vision_config
        self.text_config = text_config
        self.qformer_config = qformer_config
        self.num_query_tokens = num_query_tokens
        self.image_token_id = image_token_id
        self.image_token_grid = image_token_grid

    def get_text_config(self, *_: Any, **__: Any) -> Any:
        """Return the language model's configuration."""
        inner = self.__dict__.get("text_config")
        return self if inner is None else inner


class MiniGPT4ForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """Image tokens written over their places in the prompt, then a language model.

    Parameters
    ----------
    config : MiniGPT4Config
        Its configuration.
    eyes : Eyes
        Vision tower, with or without Q-Former.
    language_model : transformers.PreTrainedModel
        A causal language model (Llama).

    Attributes
    ----------
    stop_sequences : tuple of tuple of int
        Ids that end an answer beside the end token (``###`` of Vicuna's template).
    """

    config_class = MiniGPT4Config
    base_model_prefix = "language_model"
    main_input_name = "input_ids"
    _supports_sdpa = True

    def __init__(self, config: MiniGPT4Config, eyes: Eyes, language_model: Any) -> None:
        super().__init__(config)
        self.eyes = eyes
        self.language_model = language_model
        hidden = language_model.config.hidden_size
        self.llama_proj = nn.Linear(eyes.width, hidden, dtype=language_model.dtype)
        self.generation_config = language_model.generation_config
        self.stop_sequences: tuple[tuple[int, ...], ...] = ()

    def _init_weights(self, _module: nn.Module) -> None:
        return  # every part comes with weights of its own

    def get_decoder(self) -> Any:
        """Return the language model."""
        return self.language_model

    def get_input_embeddings(self) -> nn.Module:
        """Return the language model's token embedding."""
        words: nn.Module = self.language_model.get_input_embeddings()
        return words

    def get_output_embeddings(self) -> nn.Module:
        """Return the language model's head."""
        head: nn.Module = self.language_model.get_output_embeddings()
        return head

    def embed(self, input_ids: torch.Tensor, pixel_values: torch.Tensor | None) -> torch.Tensor:
        """Return the prompt's embeddings with the image tokens in their places."""
        places = input_ids == self.config.image_token_id
        embeds: torch.Tensor = self.get_input_embeddings()(input_ids.masked_fill(places, 0))
        if pixel_values is None:
            return embeds
        image = self.llama_proj(self.eyes(pixel_values).to(self.llama_proj.weight.dtype))
        if int(places.sum()) != image.shape[0] * image.shape[1]:
            raise ValueError(
                f"{int(places.sum())} image places in the prompt, {image.shape[0]} x "
                f"{image.shape[1]} image tokens"
            )
        return embeds.masked_scatter(places.unsqueeze(-1), image.to(embeds.dtype))

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
    ) -> Any:
        """Run the language model over a prompt with pictures."""
        if inputs_embeds is None:
            if input_ids is None:
                raise ValueError("give input_ids or inputs_embeds")
            inputs_embeds = self.embed(input_ids, pixel_values)
        return self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
        )

    @torch.no_grad()
    def generate(
        self,
        input_ids: torch.Tensor,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **options: Any,
    ) -> torch.Tensor:
        """Continue a prompt; returns the new ids alone, (batch, token)."""
        ids: torch.Tensor = self.language_model.generate(
            inputs_embeds=self.embed(input_ids, pixel_values),
            attention_mask=attention_mask,
            **options,
        )
        return ids
