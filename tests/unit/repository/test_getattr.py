"""A getattr with a default asks foreign objects only: of ours, every attribute is there.

Where one of ours may lack something, a protocol or `isinstance` says so, and mypy reads along.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

#: file -> the attributes that it may ask for with a default, of objects that are not ours: configs,
#: processors, tokenizers, outputs and modules of transformers, PEFT, accelerate and bitsandbytes;
#: pipelines of diffusers; what quacks like an array; functions of the user; what a platform lacks.
#: A variable stands for itself: `name` goes over spellings that differ between architectures.
FOREIGN = {
    "mmkn_widgets/activations/job.py": "__qualname__ logits",
    "mmkn_widgets/attribution/integrated.py": "keys layers values",
    "mmkn_widgets/attribution/scoring.py": "logits",
    "mmkn_widgets/core/concept.py": "unk_token_id",
    "mmkn_widgets/core/files.py": "O_BINARY",
    "mmkn_widgets/core/provenance.py": "size",
    "mmkn_widgets/core/whole.py": "ndim",
    "mmkn_widgets/datasets/images.py": "n_frames",
    "mmkn_widgets/datasets/table.py": "split",
    "mmkn_widgets/datasets/values.py": "item shape",
    "mmkn_widgets/evaluation/statistics.py": "dtype",
    "mmkn_widgets/evaluation/text.py": "max_position_embeddings",
    "mmkn_widgets/inpainting/diffusion.py": (
        "config max_position_embeddings model_max_length nsfw_content_detected sample_size "
        "text_encoder{suffix} tokenizer{suffix} transformer unet vae_scale_factor"
    ),
    "mmkn_widgets/inpainting/simple.py": "__module__ __name__",
    "mmkn_widgets/interventions/weights.py": "weight",
    "mmkn_widgets/interventions/where.py": "all_special_ids",
    "mmkn_widgets/models/experts.py": "_is_expert_parallel has_bias has_gate has_post_expert_norm",
    "mmkn_widgets/models/families.py": "eos_token_id model_type name sep_token_id",
    "mmkn_widgets/models/fit.py": (
        "hidden_size image_token_id mm_tokens_per_image n name num_additional_image_tokens "
        "vision_config"
    ),
    "mmkn_widgets/models/generate.py": "generation_config max_new_tokens name stop_sequences",
    "mmkn_widgets/models/geometry/clues.py": "name vision_config vlm_config",
    "mmkn_widgets/models/geometry/layouts.py": (
        "image_grid_pinpoints image_token_grid vision_aspect_ratio"
    ),
    "mmkn_widgets/models/geometry/queries.py": (
        "_attn_implementation name perceiver_config projector_patch_to_query_dict"
    ),
    "mmkn_widgets/models/image_positions.py": (
        "content get_vocab image_token model_type name vlm_config"
    ),
    "mmkn_widgets/models/inspect.py": "image_grid_pinpoints pooler_output",
    "mmkn_widgets/models/load.py": "_commit_hash _name_or_path auto_map config",
    "mmkn_widgets/models/model.py": "logits",
    "mmkn_widgets/models/parts.py": (
        "generation_config is_encoder_decoder name pad_token_id prepare_inputs_for_generation "
        "tokenizer use_decoder_only_language_model"
    ),
    "mmkn_widgets/models/placement.py": "dtype",
    "mmkn_widgets/models/prepare.py": "bos_token_id tokenizer",
    "mmkn_widgets/models/probe.py": "all_special_ids has_post_expert_norm vocab_size",
    "mmkn_widgets/models/processors.py": "model_type",
    "mmkn_widgets/models/prompts.py": (
        "caption_prompt chat_template generation_config model_type name tokenizer"
    ),
    "mmkn_widgets/models/sites.py": "config name",
    "mmkn_widgets/models/tokens.py": "added_tokens_decoder all_special_ids name special",
    "mmkn_widgets/models/weights.py": (
        "CB SCB _hf_hook bias execution_device quant_state vocab_size weight weights_map"
    ),
    "mmkn_widgets/models/wrappers.py": "config is_prompt_learning value weight",
    "mmkn_widgets/widgets/changes.py": "__self__",
    "scripts/pocket_lab/lesioned_scene.py": "config language_model model",
    "scripts/pocket_lab/train.py": "_is_avx512_bf16_supported",
}


def asked(text: str) -> Iterator[str]:
    """Yield the attribute of every getattr with a default."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr":
            if len(node.args) < 3:
                continue
            name = ast.unparse(node.args[1])
            yield name if isinstance(node.args[1], ast.Name) else name.removeprefix("f")[1:-1]


def found_in(root: Path) -> set[tuple[str, str]]:
    """Return (file, attribute) of what the package and the scripts ask for with a default."""
    files = [
        path for folder in ("mmkn_widgets", "scripts") for path in (root / folder).rglob("*.py")
    ]
    return {
        (path.relative_to(root).as_posix(), name)
        for path in files
        for name in asked(path.read_text(encoding="utf-8"))
    }


def test_only_foreign_objects_are_asked_with_a_default(root: Path) -> None:
    allowed = {(file, name) for file, names in FOREIGN.items() for name in names.split()}
    found = found_in(root)
    assert found - allowed == set(), "of ours, ask directly; foreign ones belong into FOREIGN"
    assert allowed - found == set(), "nobody asks for these any more"


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("getattr(scene, 'masked', ())", ["masked"]),
        ("f(getattr(getattr(a, 'b', 1), form, 2))", ["form", "b"]),
        ("getattr(pipeline, f'tokenizer{suffix}', None)", ["tokenizer{suffix}"]),
        ("getattr(scene, 'masked')", []),
        ("scene.getattr(1, 2, 3)", []),
    ],
)
def test_the_rule_sees_them(code: str, names: list[str]) -> None:
    assert list(asked(code)) == names
