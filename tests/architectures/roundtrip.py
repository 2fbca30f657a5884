"""Asked of every architecture: load, capture, differentiate, silence, restore, write, paint."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from checks import captured_equal, forced_equal, gradient_agrees, restored, silenced
from occlusion import occlusion
from PIL import Image
from pixels import pixel_maker
from prompts import Reader
from safetensors.torch import save_file
from special import TIMM
from tiny_models import tiny_model, without_timm

import mmkn_widgets as mmkn
from mmkn_widgets.core.errors import BadArgument, NotSupported

__all__ = ["Result", "examine"]


@dataclass
class Result:
    """What one architecture can do; every reason is one sentence."""

    architecture: str
    pictures: str = ""
    needs: str = ""
    sites: int = 0
    routed: int = 0
    refused: list[str] = field(default_factory=list)
    behind: list[str] = field(default_factory=list)
    checks: dict[str, bool] = field(default_factory=dict)
    generates: bool = False
    geometry: str = ""
    shape: list[int] = field(default_factory=list)
    approximate: bool = False
    paints: bool = False
    paint_reason: str = ""
    reason: str = ""

    @property
    def works(self) -> bool:
        """Whether the whole round trip went well."""
        return not self.reason and bool(self.checks) and all(self.checks.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-able data."""
        return {**asdict(self), "works": self.works}


def picture(seed: int = 0) -> Image.Image:
    """Return a picture of noise that is wider than high."""
    noise = np.random.default_rng(seed).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def load(architecture: str) -> tuple[Any, str, str]:
    """Build, save, load through `load_model`.

    Returns
    -------
    tuple
        The model, what reads its pictures, and why its folder could not be loaded (the model
        object is taken then), or an empty string.
    """
    hf = tiny_model(architecture)
    problem = ""
    with tempfile.TemporaryDirectory() as folder:
        hf.save_pretrained(Path(folder))
        try:
            loaded = mmkn.load_model(folder)
        except BadArgument as error:
            problem = str(error).replace(folder, "its own folder")
            loaded = mmkn.load_model(hf)
    try:
        how, maker = pixel_maker(architecture, loaded.hf)
    except ValueError:
        how, maker = "text only", lambda _: {}
    reader = Reader(architecture, loaded.hf, maker)
    return mmkn.load_model(loaded.hf, reader), how, problem


def refusal(architecture: str) -> str:
    """Return what `load_model` says of a folder whose vision tower needs timm, without timm."""
    with tempfile.TemporaryDirectory() as folder:
        described = {"model_type": architecture, "vision_config": {"model_type": "timm_wrapper"}}
        (Path(folder) / "config.json").write_text(json.dumps(described))
        save_file({"a": torch.zeros(1)}, Path(folder) / "model.safetensors", {"format": "pt"})
        try:
            mmkn.load_model(folder)
        except (BadArgument, NotSupported) as error:
            return str(error).replace(folder, "its folder")
    return ""


def examine(architecture: str) -> Result:
    """Run the round trip on one architecture."""
    result = Result(architecture, needs="timm" if architecture in TIMM else "")
    if without_timm(architecture):
        result.reason = result.paint_reason = refusal(architecture)
        return result
    try:
        model, result.pictures, result.reason = load(architecture)
    except Exception as error:
        result.reason = f"load: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        result.paint_reason = result.reason
        return result
    result.sites = len(model.sites)
    result.routed = sum(site.expert >= 0 for site in model.sites)
    result.refused = [str(refusal) for refusal in model.refused]
    result.behind = sorted({what for check in model.checks for what in check.behind})
    prepared = model.prepare(picture())
    steps: tuple[tuple[str, Callable[[Any, Any], bool]], ...] = (
        ("captured values equal an independent hook's", captured_equal),
        ("finite difference agrees with the gradient", gradient_agrees),
        ("zeroing all neurons leaves what the bias writes", silenced),
        ("restore is bit-exact", restored),
    )
    for name, step in steps:
        try:
            result.checks[name] = step(model, prepared)
        except Exception as error:
            result.checks[name] = False
            result.reason += (
                f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}; "
            )
    generation(model, prepared, result)
    painting(model, result)
    return result


def generation(model: Any, prepared: Any, result: Result) -> None:
    """Write three tokens before, during and after an ablation, where the model writes at all."""
    try:
        before = model.generate(prepared, max_new_tokens=3).token_ids
        with model.ablate(None):
            model.generate(prepared, max_new_tokens=3)
        after = model.generate(prepared, max_new_tokens=3).token_ids
    except Exception as error:
        text = " ".join(str(error).split())[:160]
        result.refused.append(f"caption: {type(error).__name__}: {text}")
        return
    result.generates = True
    if model.stack == "decoder":
        name = "captured while generating equals the forced caption's"
        result.checks[name] = forced_equal(model, prepared)
    result.checks["captions before and after are the same"] = before == after


def painting(model: Any, result: Result) -> None:
    """Map the tokens, and look where marks on the picture land."""
    try:
        prepared = model.prepare(picture())
        tokens = model.token_maps(prepared)[0]
    except Exception as error:
        result.paint_reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return
    geometry = tokens.geometry
    result.geometry, result.shape = geometry.kind, list(geometry.shape)
    result.approximate = geometry.approximate
    result.paint_reason = geometry.reason
    if not geometry.paintable:
        return
    if geometry.attention is not None:  # no place of its own to mark: what is painted is checked
        weights, _ = geometry.attention()
        flat = geometry.paint(np.ones(geometry.n_tokens))
        result.paints = bool(
            np.allclose(flat[flat != 0], 1.0) and (weights >= 0).all() and weights.sum() > 0
        )
        return
    agreeing, tested = occlusion(model, picture())
    result.paints = tested > 0 and agreeing >= 0.75 * tested
    if not result.paints:
        result.paint_reason = f"marks landed on the right token in {agreeing} of {tested} cells"
