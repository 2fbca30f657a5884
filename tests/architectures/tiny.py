"""Tiny configs of every architecture: the class's own defaults, every size made small by its name.

The rules know names of settings (``hidden_size``, ``num_experts``, ``patch_size``), not models;
what one architecture needs beyond them stands in ``special.py``.
"""

from __future__ import annotations

import re
from typing import Any

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, LAYERS = 64, 4, 2, 16, 4
VOCABULARY = 200
#: side of a vision patch and of the processed image, in pixels: a grid of 4 x 4 patches
PATCH, IMAGE = 8, 32
FIRST_SPECIAL = 150

_SIZES: tuple[tuple[str, int], ...] = (
    (r"(shared_expert|shared|moe|expert|dense).*intermediate_size|share_expert_dim", 48),
    (r"intermediate_size|ffn_dim|^d_ff$|mlp_dim|ff_dim", 96),
    (r"q_lora_rank", 32),
    (r"kv_lora_rank", 16),
    (r"qk_nope_head_dim|v_head_dim", 16),
    (r"qk_rope_head_dim", 16),
    (r"qk_head_dim", 32),
    (r"linear_num_(key|value)_heads|linear_num_heads|mamba_num_heads|index_n_heads", 4),
    (r"index_head_dim", 32),
    (r"key_head_dim|value_head_dim|linear_head_dim|mamba_head_dim", 16),
    (r"swa_head_dim|head_dim|^d_kv$|resampler_dim_head", HEAD_DIM),
    (r"num_key_value_heads", KV_HEADS),
    (r"attention_heads|num_heads|n_heads|resampler_heads", HEADS),
    (r"num_hidden_layers|(encoder|decoder)_layers|^num_layers$|^n_layers$|^layers$|depth", LAYERS),
    (r"num_decoder_layers", LAYERS),
    (r"num_experts_per_tok|moe_topk|moe_k$", 2),
    (r"n_shared_experts|moe_num_shared_experts", 1),
    (r"num_experts$|num_local_experts|n_routed_experts|moe_num_experts", 4),
    (r"first_k_dense_replace", 1),
    (r"n_group$|topk_group|n_groups", 1),
    (r"vocab_size$|unpadded_vocab_size", VOCABULARY),
    (r"num_query_tokens|latent_query_num|resampler_n_latents|resampler_num_latents", 6),
    (r"max_position_embeddings|max_source_positions", 512),
    (
        r"hidden_size|d_model|embed_dim|hidden_dim|projection_dim|text_hidden|vision_output_dim",
        HIDDEN,
    ),
    (r"projector_(in|out)put_dim|projector_hidden|out_hidden|output_dim|proj_dim", HIDDEN),
    (r"temporal_patch_size", 2),
    (r"patch_size$|encoder_stride", PATCH),
    (r"image_size$|max_img_size|^resolution$", IMAGE),
    (r"insert_layer_id", 1),
    (r"ssm_state_size", 16),
    (r"sliding_window", 64),
)
_RULES = tuple((re.compile(pattern), value) for pattern, value in _SIZES)
_TOKEN = re.compile(r"(token_(id|index)|_token_ids|^im_\w+_id|image_patch_id)$")
_KEEP = re.compile(r"bos|eos|pad_token|decoder_start|forced|sep_token|mask_token")
_NOT_SIZES = re.compile(r"model_type|_name_or_path|architectures|transformers_version|dtype|label")


def tiny_dict(settings: dict[str, Any]) -> dict[str, Any]:
    """Return a config's dict with every size made small, token ids moved into the vocabulary."""
    counter = [FIRST_SPECIAL]
    ids: dict[int, int] = {}
    return _shrink(settings, ids, counter)


def _shrink(settings: dict[str, Any], ids: dict[int, int], counter: list[int]) -> dict[str, Any]:
    layers = next(
        (settings[k] for k in ("num_hidden_layers", "depth", "num_layers") if k in settings), None
    )
    out: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            out[key] = _rope(value) if key.startswith("rope") else _shrink(value, ids, counter)
        elif isinstance(key, str) and not _NOT_SIZES.search(key):
            out[key] = _value(key, value, layers, ids, counter)
        else:
            out[key] = value
    return out


def _value(key: str, value: Any, layers: Any, ids: dict[int, int], counter: list[int]) -> Any:
    if _TOKEN.search(key):
        return _token(key, value, ids, counter)
    if isinstance(value, list) and isinstance(layers, int) and len(value) == layers > LAYERS:
        return value[:LAYERS]
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    for pattern, small in _RULES:
        if pattern.search(key):
            return min(value, small) if value > 0 else value
    return value


def _token(key: str, value: Any, ids: dict[int, int], counter: list[int]) -> Any:
    if isinstance(value, list):
        return [_token(key, item, ids, counter) for item in value]
    if not isinstance(value, int) or value < 0:
        return value
    if _KEEP.search(key):
        return value if value < 4 else {"bos": 1, "pad": 0}.get(key[:3], 2)
    if value not in ids:
        ids[value] = counter[0]
        counter[0] += 1
    return ids[value]


def _rope(settings: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            out[key] = _rope(value)
        elif key == "mrope_section" and isinstance(value, list):
            whole = sum(value)
            cut = [max(1, round(v * (HEAD_DIM // 2) / whole)) for v in value]
            cut[0] += HEAD_DIM // 2 - sum(cut)
            out[key] = cut
        else:
            out[key] = value
    return out
