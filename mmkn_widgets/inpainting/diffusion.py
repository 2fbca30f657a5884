"""Any diffusers inpainting pipeline as an inpainter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import BadArgument, CancelToken, NotSupported, Progress, bad_argument
from ..datasets import Scene
from .base import blend, check_lengths, coverage, prepare
from .cache import PictureCache, default_folder, folder_hash

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["DiffusersInpainter"]


class DiffusersInpainter:
    """Fill the hole with a diffusion model; pixels outside of it stay bit for bit.

    Parameters
    ----------
    model : str, path or diffusers pipeline
        What ``AutoPipelineForInpainting.from_pretrained`` takes (a name on the hub or a folder;
        safetensors only), or a pipeline that is built already. Loaded at the first use.
    prompt, negative_prompt : str
        What the fill should (not) show; empty for the surroundings alone.
    steps : int
        Denoising steps.
    guidance_scale : float, optional
        The pipeline's own by default.
    strength : float
        1 starts from pure noise and forgets the object entirely.
    seed : int
        Each picture has its own generator with this seed, so a result does not depend on what
        else is in its batch.
    size : int, optional
        Longest side, in pixels, at which the model works; its training size by default. The
        result is scaled back and only its masked part is used.
    dilate, feather : int
        As for `OpenCVInpainter`, but 0 by default: what the mask leaves out stays bit for bit.
    batch_size : int
        Pictures in one run of the model.
    cache : bool, str or path
        Where finished pictures are kept, by the content of picture, mask, model and parameters:
        a folder, True for the user's cache folder, False for nowhere. A pipeline that is built
        already has no name to go by, so it is never cached.
    device : str, optional
        A GPU if there is one.
    dtype : torch.dtype or str, optional
        float16 on a GPU, else float32.
    revision : str, optional
        Of the model on the hub.

    Raises
    ------
    NotSupported
        If diffusers finds no inpainting pipeline there.

    Examples
    --------
    >>> inpainter = DiffusersInpainter("stable-diffusion-inpainting", steps=20, cache=False)
    >>> inpainter.name, inpainter.parameters["steps"]  # nothing is read before the first picture
    ('diffusers:stable-diffusion-inpainting', 20)
    """

    def __init__(
        self,
        model: Any,
        *,
        prompt: str = "",
        negative_prompt: str = "",
        steps: int = 30,
        guidance_scale: float | None = None,
        strength: float = 1.0,
        seed: int = 0,
        size: int | None = None,
        dilate: int = 0,
        feather: int = 0,
        batch_size: int = 4,
        cache: bool | str | Path = True,
        device: str | None = None,
        dtype: Any = None,
        revision: str | None = None,
    ) -> None:
        if steps < 1 or batch_size < 1:
            raise bad_argument("steps, batch_size", (steps, batch_size), "at least 1")
        if not 0 < strength <= 1:
            raise bad_argument("strength", strength, "more than 0, at most 1")
        given = isinstance(model, str | Path)
        folder = Path(model).expanduser() if given else None
        self._model = model
        self._pipeline: Any = None if given else model
        self._device, self._dtype, self._revision = device, dtype, revision
        self._size, self._batch_size = size, batch_size
        self._dilate, self._feather = dilate, feather
        shown = str(model) if given else type(model).__name__
        self.name = f"diffusers:{shown}"
        self.parameters: Mapping[str, Any] = {
            "model": folder_hash(folder) if folder and folder.is_dir() else shown,
            "revision": revision,
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "steps": steps,
            "guidance_scale": guidance_scale,
            "strength": strength,
            "seed": seed,
            "size": size or "auto",
            "dilate": dilate,
            "feather": feather,
            "dtype": str(dtype or "auto"),
        }
        self.cache = None
        if cache and given:
            self.cache = PictureCache(default_folder() if cache is True else cache)

    @property
    def pipeline(self) -> Any:
        """The diffusers pipeline, loaded at the first use."""
        if self._pipeline is None:
            self._pipeline = self._load()
        return self._pipeline

    def _load(self) -> Any:
        import torch
        from diffusers import AutoPipelineForInpainting, __version__
        from packaging.version import Version

        device = self._device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = self._dtype or (torch.float32 if device == "cpu" else torch.float16)
        if isinstance(dtype, str):
            dtype = getattr(torch, dtype)
        try:
            pipeline = AutoPipelineForInpainting.from_pretrained(
                str(Path(self._model).expanduser() if Path(self._model).exists() else self._model),
                **{"dtype" if Version(__version__) >= Version("0.42") else "torch_dtype": dtype},
                use_safetensors=True,
                revision=self._revision,
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise NotSupported(
                f"inpainter: diffusers cannot load an inpainting pipeline from {self._model!r}:"
                f" {reason[0]}"
            ) from error
        pipeline.set_progress_bar_config(disable=True)
        _limit_prompts(pipeline)
        return pipeline.to(device)

    def __call__(
        self, image: Any, mask: Any, scene: Scene | None = None  # noqa: ARG002  Inpainter's
    ) -> Image:  # fmt: skip
        """Return the picture without what the mask covers; `scene` is not looked at."""
        return self.batch([image], [mask])[0]

    def batch(
        self,
        images: Sequence[Any],
        masks: Sequence[Any],
        scenes: Sequence[Scene] | None = None,
        *,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> list[Image]:
        """Return the pictures without what their masks cover.

        Pictures of one size run together, `batch_size` at a time; what the cache holds is not
        run. Cancelling keeps what is finished in the cache.
        """
        check_lengths(images, masks, scenes)
        pairs = [prepare(image, mask) for image, mask in zip(images, masks, strict=True)]
        keys = [self.cache.key(*pair, self.parameters) if self.cache else "" for pair in pairs]
        done: dict[int, Image] = {}
        waiting: dict[tuple[int, int], list[int]] = {}
        for at, key in enumerate(keys):
            kept = self.cache.get(key) if self.cache else None
            if kept is not None and kept.size == pairs[at][0].size:
                done[at] = kept
            else:
                waiting.setdefault(pairs[at][0].size, []).append(at)
        for numbers in waiting.values():
            for start in range(0, len(numbers), self._batch_size):
                if cancel is not None:
                    cancel.raise_if_cancelled()
                part = numbers[start : start + self._batch_size]
                for at, result in zip(part, self._run([pairs[i] for i in part]), strict=True):
                    done[at] = result
                    if self.cache:
                        self.cache.put(keys[at], result)
                if progress is not None:
                    progress("inpainting", len(done), len(images))
        return [done[at] for at in range(len(pairs))]

    def _run(self, pairs: Sequence[tuple[Image, np.ndarray]]) -> list[Image]:
        import torch
        from PIL import Image

        size = pairs[0][0].size
        shares = [coverage(mask, self._dilate, self._feather) for _, mask in pairs]
        width, height = self._working_size(size)
        scaled = [image.resize((width, height), Image.Resampling.LANCZOS) for image, _ in pairs]
        holes = [
            Image.fromarray((share > 0).astype(np.uint8) * 255).resize(
                (width, height), Image.Resampling.NEAREST
            )
            for share in shares
        ]
        chosen = self.parameters
        arguments: dict[str, Any] = {
            "prompt": [chosen["prompt"]] * len(pairs),
            "image": scaled,
            "mask_image": holes,
            "width": width,
            "height": height,
            "num_inference_steps": chosen["steps"],
            "strength": chosen["strength"],
            "generator": [torch.Generator("cpu").manual_seed(chosen["seed"]) for _ in pairs],
            "output_type": "pil",
        }
        if chosen["negative_prompt"]:
            arguments["negative_prompt"] = [chosen["negative_prompt"]] * len(pairs)
        if chosen["guidance_scale"] is not None:
            arguments["guidance_scale"] = chosen["guidance_scale"]
        result = self.pipeline(**self._accepted(arguments))
        blocked = getattr(result, "nsfw_content_detected", None) or [False] * len(pairs)
        if any(blocked):
            raise BadArgument(
                "inpainter: the pipeline's safety checker blacked out a picture; load the pipeline"
                " yourself and pass it, or use 'telea'"
            )
        filled = [
            one.convert("RGB").resize(size, Image.Resampling.LANCZOS) for one in result.images
        ]
        return [
            blend(pair[0], fill, share)
            for pair, fill, share in zip(pairs, filled, shares, strict=True)
        ]

    def _accepted(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Leave out what this pipeline's call does not know."""
        import inspect

        known = inspect.signature(self.pipeline.__call__).parameters
        return {name: value for name, value in arguments.items() if name in known}

    def _working_size(self, size: tuple[int, int]) -> tuple[int, int]:
        pipeline = self.pipeline
        step = int(getattr(pipeline, "vae_scale_factor", 8))
        core = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
        trained = getattr(getattr(core, "config", None), "sample_size", None)
        trained = trained if isinstance(trained, int) else 64
        step *= 2 if getattr(pipeline, "unet", None) is None else 1  # transformers take 2x2 patches
        longest = self._size or trained * int(getattr(pipeline, "vae_scale_factor", 8))
        scale = longest / max(size)
        width, height = (max(step, round(side * scale / step) * step) for side in size)
        return width, height

    def __repr__(self) -> str:
        return f"DiffusersInpainter({self.name.removeprefix('diffusers:')!r})"


def _limit_prompts(pipeline: Any) -> None:
    """Give a tokenizer without a limit (it says 1e30, which overflows) its encoder's."""
    for suffix in ("", "_2", "_3"):
        tokenizer: Any = getattr(pipeline, f"tokenizer{suffix}", None)
        config = getattr(getattr(pipeline, f"text_encoder{suffix}", None), "config", None)
        limit = getattr(config, "max_position_embeddings", None)
        if isinstance(limit, int) and getattr(tokenizer, "model_max_length", 0) > 1_000_000:
            tokenizer.model_max_length = limit
