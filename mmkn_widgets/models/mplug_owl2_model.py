"""mPLUG-Owl2 as a transformers model: a Llama with norms, keys and values of its own for pictures.

Ye et al. 2023, arXiv 2311.04257, the third model of Pan et al. 2024. Names and shapes are those of
the published weights, as its code reads them (github.com/X-PLUG/mPLUG-Owl,
``mPLUG-Owl2/mplug_owl2/model``). That code replaces parts of the Llama of transformers 4.31; here
the layer is written anew over today's.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import CLIPVisionConfig, GenerationMixin, LlamaConfig, LlamaModel
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaDecoderLayer,
    LlamaPreTrainedModel,
    LlamaRMSNorm,
    apply_rotary_pos_emb,
    eager_attention_forward,
)

from .mplug_owl2_eyes import Abstractor, CrossAttention, VisionTower, position_tables

__all__ = ["MplugOwl2Config", "MplugOwl2ForConditionalGeneration", "Multiway"]

#: What the published configuration says, where a folder's leaves it out.
_TOWER = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 448,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-6,
}
_ABSTRACTOR = {
    "num_learnable_queries": 64,
    "hidden_size": 1024,
    "encoder_hidden_size": 1024,
    "num_hidden_layers": 6,
    "num_attention_heads": 16,
    "intermediate_size": 2816,
    "layer_norm_eps": 1e-6,
    "grid_size": 32,
}


class MplugOwl2Config(LlamaConfig):
    """A Llama's configuration with that of the eyes, as published.

    Parameters
    ----------
    visual_config : dict, optional
        ``"visual_model"`` and ``"visual_abstractor"``: the sizes of both; the published ones where
        an entry is left out.
    image_token_index : int, optional
        The id that holds a query's place in a prompt; by default the first behind the vocabulary.
    image_end_token_index : int, optional
        The id that holds the place of the vector that ends a picture; the next by default.
    **kwargs
        Of `transformers.LlamaConfig`.
    """

    model_type = "mplug_owl2"

    def __init__(
        self,
        visual_config: dict[str, Any] | None = None,
        image_token_index: int | None = None,
        image_end_token_index: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        given = visual_config or {}
        self.visual_config = {
            "visual_model": {**_TOWER, **_known(given.get("visual_model"))},
            "visual_abstractor": {**_ABSTRACTOR, **_known(given.get("visual_abstractor"))},
        }
        first = self.vocab_size
        end = image_end_token_index
        self.image_token_index = first if image_token_index is None else image_token_index
        self.image_end_token_index = first + 1 if end is None else end

    @property
    def vision_config(self) -> CLIPVisionConfig:
        """The tower's sizes."""
        tower = self.visual_config["visual_model"]
        return CLIPVisionConfig(**{name: tower[name] for name in _TOWER})

    @property
    def abstractor(self) -> SimpleNamespace:
        """The abstractor's sizes."""
        return SimpleNamespace(**self.visual_config["visual_abstractor"])

    @property
    def num_query_tokens(self) -> int:
        """Queries of one picture; the vector that ends it does not count."""
        return int(self.visual_config["visual_abstractor"]["num_learnable_queries"])


def _known(entries: dict[str, Any] | None) -> dict[str, Any]:
    """Leave out what a configuration says to be None: the published default holds."""
    return {name: value for name, value in (entries or {}).items() if value is not None}


class Multiway(nn.Module):
    """One module for text and one for pictures; a token goes through that of its kind.

    Parameters
    ----------
    make : callable
        Makes one of the two, alike in their shapes.

    Examples
    --------
    >>> ways = Multiway(lambda: nn.Linear(2, 3))
    >>> x, kinds = torch.ones(1, 2, 2), torch.tensor([[0, 1]])
    >>> bool((ways(x, kinds)[0, 1] == ways.multiway[1](x[0, 1])).all())
    True
    """

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.multiway = nn.ModuleList([make(), make()])

    def forward(self, x: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        """Return (batch, token, out) of x (batch, token, in); `kinds`: 0 text, 1 image."""
        rows = [kinds == kind for kind in range(len(self.multiway))]
        parts = [
            (of_kind, way(x[of_kind]))
            for of_kind, way in zip(rows, self.multiway, strict=True)
            if bool(of_kind.any())
        ]
        _, first = parts[0]
        made: torch.Tensor = first.new_empty(*kinds.shape, first.shape[-1])
        for of_kind, part in parts:
            made[of_kind] = part
        return made


class MultiwayAttention(LlamaAttention):
    """Llama's attention; keys and values are made by the way of each token's kind."""

    def __init__(self, config: MplugOwl2Config, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        width = config.num_key_value_heads * self.head_dim

        def project() -> nn.Module:
            return nn.Linear(config.hidden_size, width, bias=config.attention_bias)

        self.k_proj, self.v_proj = Multiway(project), Multiway(project)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None,
        kinds: torch.Tensor,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return what each token gathers, (batch, token, hidden), and the weights if they exist."""
        query, key, value = (
            made.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for made in (
                self.q_proj(hidden_states),
                self.k_proj(hidden_states, kinds),
                self.v_proj(hidden_states, kinds),
            )
        )
        query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        found, weights = attend(
            self, query, key, value, attention_mask, dropout=0.0, scaling=self.scaling, **kwargs
        )
        return self.o_proj(found.flatten(2)), weights


class MultiwayLayer(LlamaDecoderLayer):
    """Llama's layer; its norms, keys and values have a way for text and one for pictures."""

    def __init__(self, config: MplugOwl2Config, layer_idx: int) -> None:
        super().__init__(config, layer_idx)

        def norm() -> nn.Module:
            made: nn.Module = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
            return made

        self.self_attn = MultiwayAttention(config, layer_idx)
        self.input_layernorm, self.post_attention_layernorm = Multiway(norm), Multiway(norm)

    def forward(
        self, hidden_states: torch.Tensor, *, kinds: torch.Tensor, **kwargs: Any
    ) -> torch.Tensor:
        """Return the residual stream behind this layer."""
        normed = self.input_layernorm(hidden_states, kinds)
        found, _ = self.self_attn(normed, kinds=kinds, **kwargs)
        hidden_states = hidden_states + found
        normed = self.post_attention_layernorm(hidden_states, kinds)
        made: torch.Tensor = hidden_states + self.mlp(normed)
        return made


class _Pretrained(LlamaPreTrainedModel):
    """What both models below share: how parameters start that no checkpoint holds."""

    config_class = MplugOwl2Config
    config: MplugOwl2Config
    _no_split_modules: ClassVar[list[str]] = ["MultiwayLayer", "_TowerLayer"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Start what a checkpoint does not hold; the tables of places are the same in all."""
        from transformers import initialization as init

        super()._init_weights(module)
        if isinstance(module, CrossAttention):
            sizes = self.config.abstractor
            tables = position_tables(
                sizes.num_learnable_queries, sizes.grid_size, sizes.hidden_size
            )
            init.copy_(module.q_pos_embed, tables[0])
            init.copy_(module.k_pos_embed, tables[1])
        for parameter in module.parameters(recurse=False):
            if parameter.dim() == 3:  # class token, places, queries, end
                init.normal_(parameter, std=self.config.initializer_range)


class MplugOwl2Model(_Pretrained, LlamaModel):
    """The language model, and the eyes under the names that the weights give them."""

    def __init__(self, config: MplugOwl2Config) -> None:
        super().__init__(config)
        self.layers = nn.ModuleList(
            MultiwayLayer(config, layer) for layer in range(config.num_hidden_layers)
        )
        self.vision_model = VisionTower(config.vision_config)
        self.visual_abstractor = Abstractor(config.abstractor, config.hidden_size)
        self.post_init()

    def look(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return image tokens, (batch, query + 1, hidden), of pixels (batch, 3, height, width)."""
        seen: torch.Tensor = self.visual_abstractor(self.vision_model(pixel_values))
        return seen


class MplugOwl2ForConditionalGeneration(_Pretrained, GenerationMixin):
    """Image tokens over their places in the prompt, each token through the modules of its kind.

    Parameters
    ----------
    config : MplugOwl2Config
        Sizes, and the ids that hold the places of image tokens. Of a picture these are its queries
        and a vector that ends it, which shows no place of it; both go the pictures' way.
    """

    main_input_name = "input_ids"
    _keys_to_ignore_on_load_missing: ClassVar[list[str]] = [r"attention\.[qk]_pos_embed$"]
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [r"rotary_emb\.inv_freq$"]

    def __init__(self, config: MplugOwl2Config) -> None:
        super().__init__(config)
        self.model = MplugOwl2Model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @classmethod
    def from_config(cls, config: MplugOwl2Config) -> MplugOwl2ForConditionalGeneration:
        """Return one with random weights, as transformers' Auto classes do."""
        made: MplugOwl2ForConditionalGeneration = cls._from_config(config)
        return made

    def embed(
        self, input_ids: torch.Tensor, pixel_values: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return embeddings (batch, token, hidden) and kinds (batch, token): 1 is a picture's."""
        config = self.config
        places = (input_ids == config.image_token_index) | (
            input_ids == config.image_end_token_index
        )
        embeds: torch.Tensor = self.get_input_embeddings()(input_ids.masked_fill(places, 0))
        each = config.num_query_tokens + 1
        n_pictures = 0 if pixel_values is None else len(pixel_values)
        if int(places.sum()) != n_pictures * each:
            raise ValueError(
                f"{int(places.sum())} image places in the prompt, {n_pictures} x {each} image "
                "tokens"
            )
        if pixel_values is not None:
            image = self.model.look(pixel_values).to(embeds)
            embeds = embeds.masked_scatter(places.unsqueeze(-1), image)
        return embeds, places.long()

    def forward(
        self,
        input_ids: torch.Tensor,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Run the language model over a prompt with pictures."""
        embeds, kinds = self.embed(input_ids, pixel_values)
        done = self.model(
            inputs_embeds=embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            kinds=kinds,
            **kwargs,
        )
        last = done.last_hidden_state[:, -logits_to_keep if logits_to_keep else 0 :]
        return CausalLMOutputWithPast(
            logits=self.lm_head(last),
            past_key_values=done.past_key_values,
            hidden_states=done.hidden_states,
            attentions=done.attentions,
        )

    def prepare_inputs_for_generation(
        self, input_ids: torch.Tensor, pixel_values: torch.Tensor | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Return one step's inputs; the picture goes with the step that reads its places."""
        ready: dict[str, Any] = super().prepare_inputs_for_generation(input_ids, **kwargs)
        if bool((ready["input_ids"] == self.config.image_token_index).any()):
            ready["pixel_values"] = pixel_values
        return ready
