"""What single architectures need beyond the rules of ``tiny.py``: settings whose parts must agree."""

from __future__ import annotations

from typing import Any

from tiny import HEAD_DIM, HIDDEN, IMAGE, LAYERS, PATCH, VOCABULARY

_ROPE = {"rope_theta": 10000.0, "rope_type": "default"}
_TILES = [[IMAGE, 2 * IMAGE], [2 * IMAGE, IMAGE], [2 * IMAGE, 2 * IMAGE]]
_HALF = HEAD_DIM // 2
#: codes of a VQ tokenizer, as the vocabulary names them
_CHAMELEON = {"<image>": 150, **{f"IMGIMG{'ABCDEFGHIJ'[i]}Z": 100 + i for i in range(10)}}
_EMU3 = {
    "<image>": 150,
    "<|extra_200|>": 151,
    **{f"<|visual token {i:06d}|>": 100 + i for i in range(16)},
}
_VQ = {
    "base_channels": 32,
    "channel_multiplier": [1, 1],
    "num_res_blocks": 1,
    "embed_dim": 16,
    "latent_channels": 16,
    "resolution": IMAGE,
}
_SAM = {"output_channels": 32, "downsample_channels": [32, HIDDEN], "global_attn_indexes": [1, 3]}

#: dotted setting -> value, by architecture; applied after the shrinking
SETTINGS: dict[str, dict[str, Any]] = {
    "chameleon": {
        "vocabulary_map": _CHAMELEON,
        "vq_config": {**_VQ, "num_embeddings": 10},
    },
    "cohere_compass": {
        "text_config.rope_parameters": {
            "full_attention": {**_ROPE, "mrope_section": [4, 2, 2]},
            "sliding_attention": {**_ROPE, "mrope_section": [4, 2, 2]},
        },
        "text_config.num_key_value_heads": 4,
        "vision_config.deepstack_visual_indexes": [0, 1, 2],
    },
    "deepseek_ocr2": {
        "text_config.mlp_layer_types": ["dense", "sparse", "sparse", "sparse"],
        "vision_config.sam_config": {**_SAM, "image_size": 256, "patch_size": 16},
    },
    "emu3": {
        "vocabulary_map": _EMU3,
        "vq_config": {**_VQ, "codebook_size": 16},
    },
    "ernie4_5_vl_moe": {
        "text_config.moe_intermediate_size": [48, 32],
        "text_config.rope_parameters": {**_ROPE, "mrope_section": [3, 3, 2]},
    },
    "florence2": {
        "vision_config.embed_dim": [16, 32],
        "vision_config.depths": [1, 1],
        "vision_config.patch_size": [7, 3],
        "vision_config.patch_stride": [4, 2],
        "vision_config.patch_padding": [3, 1],
        "vision_config.patch_prenorm": [False, True],
        "vision_config.num_heads": [2, 4],
        "vision_config.num_groups": [2, 4],
        "vision_config.window_size": 4,
    },
    "glm5_next": {"text_config.num_key_value_heads": 4},
    "granite4_vision": {
        "deepstack_layer_map": [[0, 0], [1, 1]],
        "downsample_rate": "1/2",
    },
    "hunyuan_vl": {"text_config.head_dim": HEAD_DIM},
    "molmo2": {
        "adapter_config.vision_feature_layer": [3, 1],
        "vision_config.image_size": [IMAGE, IMAGE],
        "vision_config.num_position_embeddings": 16,
    },
    "muse_spark": {
        "audio_config.hidden_sizes": [16, 16, 32, 32],
        "audio_config.depths": [1, 1, 1, 1],
    },
    "qwen4_exp": {
        "text_config.indexer_n_heads": 2,
        "text_config.indexer_kv_heads": 1,
        "text_config.indexer_head_dim": 16,
        "text_config.indexer_budget": 64,
        "text_config.indexer_compress_ratio": 4,
    },
    "dots3_note": {"text_config.num_key_value_heads": 4},
    "gemma4": {"text_config.vocab_size_per_layer_input": 200},
    "janus": {"vq_config": {**_VQ, "num_embeddings": 16}},
    "diffusion_gemma": {"text_config.moe_intermediate_size": 48, "text_config.num_experts": 4,
                        "text_config.top_k_experts": 2},
    "llava": {"image_token_index": 150},
}

#: shapes of pixels that the general rules of ``pixels.py`` cannot guess, by architecture
NOT_BUILT: dict[str, str] = {
    "evolla": "transformers' Auto class refuses its configuration (a protein model, no pictures)",
    "fast_vlm": "its vision tower needs timm, which needs torchvision",
    "gemma3n": "its vision tower needs timm, which needs torchvision",
    "perception_lm": "its vision tower needs timm, which needs torchvision",
}

__all__ = ["NOT_BUILT", "PATCH", "SETTINGS", "VOCABULARY"]
_ = (LAYERS, _TILES, _HALF)
