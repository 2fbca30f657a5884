"""What architectures need beyond the rules of ``tiny.py``: settings whose parts must agree."""

from __future__ import annotations

from typing import Any

from tiny import HEAD_DIM, HIDDEN, IMAGE, PATCH

_ROPE = {"rope_theta": 10000.0, "rope_type": "default"}
#: codes of a VQ tokenizer, as the vocabulary names them
_CHAMELEON = {"<image>": 150, **{f"IMGIMG{'ABCDEFGHIJ'[i]}Z": 100 + i for i in range(10)}}
_EMU3 = {
    "<image>": 150,
    "<|extra_200|>": 151,
    **{f"<|visual token {i:06d}|>": 100 + i for i in range(16)},
}
_VQ = {
    "base_channels": 32,
    "channel_multiplier": [1, 1, 1, 1],
    "num_res_blocks": 1,
    "embed_dim": 16,
    "latent_channels": 16,
    "resolution": 2 * IMAGE,
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
        "text_config.num_experts_per_tok": 2,
        "vision_config.sam_config": {**_SAM, "image_size": 256, "patch_size": 16},
    },
    "emu3": {
        "vocabulary_map": _EMU3,
        "vq_config": {**_VQ, "codebook_size": 16, "hidden_size": 32},
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
        "spatial_target_layers": [0, 1, 2, 3],
    },
    "hunyuan_vl": {
        "text_config.head_dim": HEAD_DIM,
        "text_config.rope_parameters": {**_ROPE, "mrope_section": [2, 2, 2, 2]},
    },
    "molmo2": {
        "adapter_config.vision_feature_layer": [3, 1],
        "vision_config.image_size": [IMAGE, IMAGE],
        "vision_config.num_position_embeddings": 16,
    },
    "muse_spark": {
        "out_hidden_size": 4 * HIDDEN,
        "audio_config.hidden_sizes": [16, 16, 32, 32],
        "audio_config.depths": [1, 1, 1, 1],
    },
    "unlimited_ocr": {
        "vision_config.sam_config.downsample_channels": [32, HIDDEN],
        "vision_config.sam_config.output_channels": 32,
        "vision_config.sam_config.image_size": 256,
        "vision_config.sam_config.patch_size": 16,
        "vision_config.encoder_config.patch_size": 16,
    },
    "qwen4_exp": {
        "text_config.indexer_n_heads": 2,
        "text_config.indexer_kv_heads": 1,
        "text_config.indexer_head_dim": 16,
        "text_config.indexer_budget": 64,
        "text_config.indexer_compress_ratio": 4,
    },
    "aria": {
        "projector_patch_to_query_dict": {"16": 6},
        "max_value_projector_patch_to_query_dict": 6,
    },
    "dots3_note": {
        "vision_config.adapter_in_dim": HIDDEN,
        "audio_config.adapter_input_size": HIDDEN,
        "audio_config.adapter_in_dim": HIDDEN,
        "vision_config.adapter_out_dim": HIDDEN,
        "audio_config.adapter_out_dim": HIDDEN,
        "text_config.num_key_value_heads": 4,
        "text_config.head_dim": 32,
        "text_config.per_layer_config": {
            f"{layer:02d}": {"num_attention_heads": 4, "num_key_value_heads": 4} for layer in (2, 3)
        },
        "text_config.rope_parameters": {
            kind: {**_ROPE, "partial_rotary_factor": 0.5}
            for kind in ("indexed_attention", "sliding_attention")
        },
    },
    "gemma3": {"mm_tokens_per_image": 4},
    "shieldgemma2": {"mm_tokens_per_image": 4},
    "t5gemma2": {"encoder.mm_tokens_per_image": 4},
    "instructblipvideo": {"video_token_index": 150},
    "kosmos-2.5": {"vision_config.patch_embed_hidden_size": 3 * PATCH * PATCH},
    "pix2struct": {"vision_config.patch_embed_hidden_size": 3 * PATCH * PATCH},
    "llama4": {
        "vision_config.intermediate_size": 4 * HIDDEN,
        "vision_config.projector_input_dim": HIDDEN,
        "vision_config.projector_output_dim": HIDDEN,
        "vision_config.vision_output_dim": HIDDEN,
    },
    "mllama": {
        "vision_config.intermediate_layers_indices": [0, 1, 2],
        "vision_config.vision_output_dim": 4 * HIDDEN,
    },
    "muse_glimmer": {"out_hidden_size": 4 * HIDDEN},
    "udop": {"decoder_start_token_id": 0},
    "vision-encoder-decoder": {"decoder_start_token_id": 1, "pad_token_id": 0},
    "step3p7": {"text_config.sliding_window": 64, "vision_config.image_size": 64},
    "pp_chart2table": {"vision_config.image_size": 64},
    "got_ocr2": {"vision_config.image_size": 64},
    "deepseek_vl_hybrid": {"high_res_vision_config.image_size": 128},
    "qianfan_ocr": {"vision_config.image_size": [64, 64]},
    "vipllava": {"vision_feature_layers": [-1, -2, -3, -4, 1]},
    "internvl": {
        "vision_config.image_size": [IMAGE, IMAGE],
        "vision_config.patch_size": [PATCH, PATCH],
    },
    "inkling_mm_model": {"vision_config.patch_size": 40},
    "glm46v": {"text_config.rope_parameters": {**_ROPE, "mrope_section": [2, 3, 3]}},
    "glm4v": {"text_config.rope_parameters": {**_ROPE, "mrope_section": [2, 3, 3]}},
    "glm4v_moe": {"text_config.rope_parameters.mrope_section": [2, 1, 1]},
    "glm_ocr": {"text_config.rope_parameters": {**_ROPE, "mrope_section": [2, 3, 3]}},
    "glmga": {"text_config.rope_parameters": {**_ROPE, "mrope_section": [2, 3, 3]}},
    "paddleocr_vl": {"text_config.rope_parameters": {**_ROPE, "mrope_section": [2, 3, 3]}},
    "qwen2_vl": {"text_config.rope_parameters": {**_ROPE, "mrope_section": [2, 3, 3]}},
    "qwen2_5_vl": {"text_config.rope_parameters": {**_ROPE, "mrope_section": [2, 3, 3]}},
    "qwen2_5_omni_thinker": {
        "text_config.rope_parameters": {**_ROPE, "mrope_section": [2, 3, 3]},
        "vision_start_token_id": 170,
    },
    "qwen3_omni_moe_thinker": {"vision_start_token_id": 170},
    "mistral4": {"num_key_value_heads": 4, "head_dim": 32},
    "mistral_large4": {"text_config.num_key_value_heads": 4},
    "kimi_k25": {"text_config.num_key_value_heads": 4},
    "gemma4": {"text_config.vocab_size_per_layer_input": 200},
    "janus": {"vq_config": {**_VQ, "num_embeddings": 16}},
    "diffusion_gemma": {
        "text_config.moe_intermediate_size": 48,
        "text_config.num_experts": 4,
        "text_config.top_k_experts": 2,
    },
    "llava": {"image_token_index": 150},
}

SETTINGS |= {  # towers of timm, its small ones
    "fast_vlm": {
        "vision_config.architecture": "fastvit_t8",
        "vision_config.hidden_size": 768,
    },
    "gemma3n": {
        "vision_config.model_args": {"channel_multiplier": 0.1},
        "vision_config.hidden_size": 2048,
        "text_config.num_kv_shared_layers": 0,
        "text_config.vocab_size_per_layer_input": 200,
    },
    "perception_lm": {
        "vision_config.architecture": "vit_pe_core_tiny_patch16_384",
        "vision_config.hidden_size": HIDDEN,
        "vision_config.model_args": {
            "embed_dim": HIDDEN,
            "depth": 2,
            "num_heads": 4,
            "img_size": [64, 64],
            "ref_feat_shape": [4, 4],
            "global_pool": "",
            "use_post_transformer_norm": False,
            "init_values": 0.1,
        },
    },
}

#: architectures whose vision tower is timm's; timm is no dependency of the tests: it asks for
#: torchvision, whose builds fit one build of torch each
TIMM = ("fast_vlm", "gemma3n", "perception_lm")

__all__ = ["SETTINGS", "TIMM"]
