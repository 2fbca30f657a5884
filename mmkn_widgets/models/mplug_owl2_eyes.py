"""mPLUG-Owl2's eyes: a vision tower, and learned queries that read what it sees.

Ye et al. 2023, arXiv 2311.04257. Names and shapes are those of the published weights, as its code
reads them (github.com/X-PLUG/mPLUG-Owl, ``mPLUG-Owl2/mplug_owl2/model/visual_encoder.py``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional
from transformers.models.clip.modeling_clip import CLIPMLP

if TYPE_CHECKING:
    from transformers import CLIPVisionConfig

__all__ = ["Abstractor", "CrossAttention", "VisionTower", "position_tables"]


def _sines(places: torch.Tensor, width: int) -> torch.Tensor:
    """Return sines, then cosines, of places (n,) in `width` / 2 frequencies: (n, width)."""
    steps = torch.arange(width // 2, dtype=torch.float32, device=places.device)
    angles = places.float()[:, None] * 10000 ** (-steps / (width / 2))
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def position_tables(queries: int, grid: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what is added to the queries, and to class token and patches, before they are matched.

    Parameters
    ----------
    queries, grid : int
        How many queries; patches along one side of the picture.
    width : int
        Of both, a multiple of 4.

    Returns
    -------
    torch.Tensor, shape (query, width)
        Sines of the query's number.
    torch.Tensor, shape (1 + patch, width)
        Zeros for the class token; of a patch sines of its column, then of its row.

    Examples
    --------
    >>> of_queries, of_patches = position_tables(2, 3, 8)
    >>> of_queries.shape, of_patches.shape, float(of_patches[0].abs().max())
    (torch.Size([2, 8]), torch.Size([10, 8]), 0.0)
    """
    side = torch.arange(grid)
    columns, rows = (
        _sines(side.repeat(grid), width // 2),
        _sines(side.repeat_interleave(grid), width // 2),
    )
    patches = torch.cat([columns, rows], dim=1)
    return _sines(torch.arange(queries), width), torch.cat([torch.zeros(1, width), patches])


class _Stack(nn.Module):
    """Layers under the name that the weights give them."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


class _Embeddings(nn.Module):
    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        n_patches = (config.image_size // patch) ** 2
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embedding = nn.Parameter(torch.zeros(1, n_patches + 1, width))
        self.patch_embed = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.pre_layernorm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        patches = self.patch_embed(pixels).flatten(2).mT
        seen = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        made: torch.Tensor = self.pre_layernorm(seen + self.position_embedding)
        return made


class _SelfAttention(nn.Module):
    """Attention whose one projection holds query, key and value of a head side by side."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.query_key_value(x).unflatten(-1, (self.heads, 3, -1))
        query, key, value = parts.permute(3, 0, 2, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value)
        made: torch.Tensor = self.dense(seen.transpose(1, 2).flatten(2))
        return made


class _TowerLayer(nn.Module):
    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.self_attn = _SelfAttention(config)
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = CLIPMLP(config)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.self_attn(self.input_layernorm(x))
        made: torch.Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return made


class VisionTower(nn.Module):
    """A ViT with a class token: pixels to one vector per patch.

    Parameters
    ----------
    config : transformers.CLIPVisionConfig
        Sizes; the published one: 24 layers, width 1024, 14-pixel patches of 448 x 448 pixels.
    """

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.encoder = _Stack(_TowerLayer(config) for _ in range(config.num_hidden_layers))
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return (batch, 1 + patch, width) of pixels (batch, 3, height, width)."""
        seen = self.embeddings(pixels)
        for layer in self.encoder.layers:
            seen = layer(seen)
        made: torch.Tensor = self.post_layernorm(seen)
        return made


class CrossAttention(nn.Module):
    """Queries look at the picture and at each other.

    The keys are class token, patches, then the queries, which is how a resampler's are read when
    its tokens are painted; the order of keys changes nothing else.
    """

    q_pos_embed: torch.Tensor
    k_pos_embed: torch.Tensor

    def __init__(self, config: Any) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(config.encoder_hidden_size, width)
        self.value = nn.Linear(config.encoder_hidden_size, width)
        tables = position_tables(config.num_learnable_queries, config.grid_size, width)
        self.register_buffer("q_pos_embed", tables[0])
        self.register_buffer("k_pos_embed", tables[1])

    def forward(
        self, queries: torch.Tensor, picture: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the queries (batch, query, width) found, and weights (..., query, key)."""
        of_queries = self.q_pos_embed.to(queries.dtype)
        seen = torch.cat([picture, queries], dim=1)
        places = torch.cat([self.k_pos_embed.to(queries.dtype), of_queries])
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (
                self.query(queries + of_queries),
                self.key(seen + places),
                self.value(seen),
            )
        )
        weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(dim=-1)
        return (weights @ value).transpose(1, 2).flatten(2), weights


class _GatedFFN(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.w1, self.w3 = nn.Linear(width, inner), nn.Linear(width, inner)
        self.ffn_ln = nn.LayerNorm(inner, eps=config.layer_norm_eps)
        self.w2 = nn.Linear(inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.w2(self.ffn_ln(functional.silu(self.w1(x)) * self.w3(x)))
        return made


class _Output(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm2 = nn.LayerNorm(config.hidden_size)
        self.mlp = _GatedFFN(config)

    def forward(self, found: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        queries = queries + self.out_proj(found)
        made: torch.Tensor = queries + self.mlp(self.norm2(queries))
        return made


class _Reading(nn.Module):
    """One look; the normed queries, not those that came in, are carried on."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.attention = CrossAttention(config)
        self.output = _Output(config)
        self.norm1 = nn.LayerNorm(config.hidden_size)
        self.normk = nn.LayerNorm(config.encoder_hidden_size)

    def forward(self, queries: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
        queries = self.norm1(queries)
        found, _ = self.attention(queries, self.normk(picture))
        made: torch.Tensor = self.output(found, queries)
        return made


class _Look(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.crossattention = _Reading(config)

    def forward(self, queries: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.crossattention(queries, picture)
        return made


class Abstractor(nn.Module):
    """Learned queries read the tower's patches; a learned vector ends what they found.

    Parameters
    ----------
    config : object
        With the entries of the published ``visual_abstractor``: num_learnable_queries, grid_size
        (patches along one side), hidden_size, encoder_hidden_size, num_hidden_layers,
        num_attention_heads, intermediate_size, layer_norm_eps.
    language_width : int
        Of the language model.
    """

    def __init__(self, config: Any, language_width: int) -> None:
        super().__init__()
        self.encoder = _Stack(_Look(config) for _ in range(config.num_hidden_layers))
        self.query_embeds = nn.Parameter(
            torch.zeros(1, config.num_learnable_queries, config.hidden_size)
        )
        self.visual_fc = nn.Linear(config.hidden_size, language_width)
        self.vit_eos = nn.Parameter(torch.zeros(1, 1, language_width))

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """Return (batch, query + 1, language width) of patches (batch, 1 + patch, width)."""
        found = self.query_embeds.expand(len(picture), -1, -1)
        for layer in self.encoder.layers:
            found = layer(found, picture)
        end = self.vit_eos.expand(len(picture), -1, -1)
        return torch.cat([self.visual_fc(found), end], dim=1)
