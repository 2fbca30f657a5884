"""Learned queries have no place of their own: they are painted through their cross-attention."""

from __future__ import annotations

from .geometry import Geometry
from .geometry_scene import Scene

__all__ = ["queries"]

_COUNTS = ("num_query_tokens", "latent_query_num", "num_latents", "resampler_n_latents")


def query_count(scene: Scene) -> int | None:
    """Return how many learned queries stand for one picture, by the config; None: no queries."""
    config = scene.hf.config
    holders = [
        config,
        getattr(config, "perceiver_config", None),
        getattr(config, "qformer_config", None),
    ]
    for holder in holders:
        for name in _COUNTS:
            value = getattr(holder, name, None)
            if isinstance(value, int):
                return value
    table = getattr(config, "projector_patch_to_query_dict", None)
    if isinstance(table, dict):
        return scene.n_tokens if scene.n_tokens in table.values() else None
    return None


def queries(scene: Scene) -> Geometry | None:
    """Q-Former and resampler tokens (BLIP-2, InstructBLIP, Kosmos-2, Idefics2, Aria)."""
    count = query_count(scene)
    if count is None or scene.n_tokens % count:
        return None
    return Geometry.none(
        scene.n_tokens,
        scene.origins.picture_size if scene.origins is not None else (1, 1),
        f"{count} learned queries have no place of their own",
    )
