"""What one sees of a study: pictures, maps, words, tokens, masks, as the page takes them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..core import CancelToken, NeuronIndex, NotSupported, bad_argument
from ._base import Answer, Call, request
from .encode import encode_grids, encode_picture, float32_bytes, int32_array, int32_bytes
from .traits import NO_GRID

if TYPE_CHECKING:
    from PIL.Image import Image

    from .protocols import ModelLike, StudyLike

__all__ = [
    "MOST_BYTES",
    "PREFETCHED",
    "Beyond",
    "Look",
    "Looking",
    "as_masks",
    "facts_of",
    "grid_state",
    "map_state",
    "painting_shape",
    "prefetched",
    "read_upload",
    "scene_lines",
    "shrink",
    "thumbnail",
    "token_state",
]

#: maps and words of so many neurons travel at once; the rest on request
PREFETCHED = 2000
#: a message from the page to the kernel holds no more (Jupyter's limit is 10 MiB)
MOST_BYTES = 8 * 2**20
_PICTURE, _THUMBNAIL, _MASK, _UPLOAD, _NAME = 640, 96, 160, 2048, 60
_WORDS_FIRST, _WORDS_SECONDS = 64, 0.4
_AT_ONCE = 4096


class Looking(Protocol):
    """What a page can ask of the neurons that it shows; a `Look`, or a store's."""

    @property
    def index(self) -> NeuronIndex:
        """Of the rows."""

    @property
    def n_scenes(self) -> int:
        """Of pictures."""

    def maps(self, ids: np.ndarray, scene: int, *, signed: bool = False) -> np.ndarray:
        """Return float32 maps (neuron, row, column)."""


class Look:
    """A study as the page sees it.

    Parameters
    ----------
    study : StudyLike

    Attributes
    ----------
    index : NeuronIndex
        Of the model's neurons.
    """

    def __init__(self, study: StudyLike) -> None:
        self.study = study
        self.index = NeuronIndex.of(study.model)

    @property
    def n_scenes(self) -> int:
        """How many scenes there are to look at."""
        return len(self.study.scenes)

    # -- neurons -----------------------------------------------------------------------------

    def maps(self, ids: np.ndarray, scene: int, *, signed: bool = False) -> np.ndarray:
        """Return float32 maps (neuron, row, column) of flat ids on a scene's picture."""
        rows, indices = self.index.split(ids)
        return self.study.maps(rows, indices, scene=scene, signed=signed)

    def words(self, ids: np.ndarray) -> list[list[str]]:
        """Return the words that neurons write."""
        rows, indices = self.index.split(ids)
        return [[str(word) for word in line] for line in self.study.words(rows, indices)]

    def first_words(self, ids: np.ndarray) -> list[list[str]]:
        """Return the words of the best neurons, of as many as half a second allows."""
        started, words = time.monotonic(), []
        for begin in range(0, len(ids), _WORDS_FIRST):
            words += self.words(ids[begin : begin + _WORDS_FIRST])
            if time.monotonic() - started > _WORDS_SECONDS:
                break
        return words

    def tokens(self, flat: int, scene: int) -> tuple[list[tuple[str, str, int]], np.ndarray]:
        """Return (text, role, step) of each token, and one neuron's activation there."""
        (row,), (index,) = self.index.split([flat])
        return self.study.tokens(scene, int(row), int(index))

    def tokens_of(
        self, ids: np.ndarray, scene: int
    ) -> tuple[list[tuple[str, str, int]], np.ndarray]:
        """Return (text, role, step) of each token, and activations (neuron, token) there."""
        return self.study.tokens(scene, *self.index.split(ids))

    # -- the study ---------------------------------------------------------------------------

    def evidence(self) -> dict[str, Any]:
        """Return the traits of the scores, which all scenes share."""
        study = self.study
        evidence, options = study.evidence, study.options
        score = "logit" if options["target"] == "logit" else "log-probability"
        where = {"predicting": "the predicting position", "image": "image tokens"}
        place = where.get(options["positions"], "all tokens")
        signed = options["difference"] == "signed"
        return {
            "shape": list(self.index.shape),
            "rows": [list(pair) for pair in self.index.rows],
            "difference": float32_bytes(evidence["difference"].values),
            "gradcam": float32_bytes(evidence["gradcam"].values),
            "gradient_sum": float32_bytes(evidence["gradient_sum"].values)
            if "gradient_sum" in evidence
            else b"",
            "activation": float32_bytes(evidence["activation"].values)
            if "activation" in evidence
            else b"",
            "labels": {
                "difference": f"{'signed ' if signed else ''}activation difference ({place})",
                "gradcam": f"GradCAM of the {score}",
                "activation": "activation",
                "score": score,
                "difference_map": f"activation, {'signed' if signed else 'absolute'} change",
                "gradcam_map": f"{'logits' if score == 'logit' else 'nats'} of the {score}",
            },
        }

    def concept(self) -> dict[str, Any]:
        """Return the traits of the concept, and of what else the scenes show."""
        study = self.study
        concept, tokenizer, data = study.concept, study.model.tokenizer, study.dataset
        tokens: list[str] = []
        if tokenizer is not None and hasattr(tokenizer, "tokenize"):
            tokens = [str(piece) for piece in tokenizer.tokenize(" " + concept.word)]
        shown = {name for scene in study.scenes for name in scene.categories}
        offered = data.categories if data is not None else sorted(shown)
        return {
            "concept": str(concept.word),
            "concept_forms": [str(f) for f in dict.fromkeys((concept.word, *concept.forms))],
            "concept_tokens": tokens,
            "concepts": [str(name) for name in offered],
        }

    def scene(self, scene: int, ids: np.ndarray) -> dict[str, Any]:
        """Return the traits of one scene.

        Parameters
        ----------
        scene : int
        ids : numpy.ndarray of int
            Flat ids of the neurons whose maps are wanted.
        """
        study = self.study
        original, inpainted = study.pictures(scene)
        return {
            "picture": encode_picture(original, _PICTURE),
            "inpainted": encode_picture(inpainted, _PICTURE) if study.has_pair(scene) else b"",
            "caption_before": study.caption(scene),
            "references": [str(line) for line in study.references(scene)],
            "difference_map": b"",
            "gradcam_map": b"",
            "patch_words": [],
            "map_ids": int32_bytes(ids),
            **self._maps_state(scene, ids),
            **self.mask(scene),
        }

    def _maps_state(self, scene: int, ids: np.ndarray) -> dict[str, Any]:
        """Return the traits of the prefetched maps; without a token geometry the reason instead."""
        empty = {"maps": b"", "map_scale": b"", "map_offset": b"", "map_sign": b""}
        if not len(ids):
            return {**empty, "grid": NO_GRID}
        try:
            maps = np.asarray(self.maps(ids, scene), np.float32)
        except NotSupported as error:
            return {**empty, "grid": {**NO_GRID, "reason": str(error)}}
        signs = np.ones(len(ids), np.int8)
        if "activation" in self.study.evidence:
            activation = np.asarray(self.study.evidence["activation"].values).ravel()[ids]
            signs = np.where(activation < 0, -1, 1).astype(np.int8)
        place = self.study.geometry(scene)
        return {
            **map_state(maps, signs),
            "grid": grid_state(maps, approximate=place.approximate, reason=place.reason),
        }

    def mask(self, scene: int) -> dict[str, Any]:
        """Return the traits of the mask painter: the data set's masks at painting resolution."""
        chosen = self.study.scenes[scene]
        width, height = chosen.image.size
        shape = painting_shape((width, height))
        names: dict[str, np.ndarray] = {}
        for item in chosen.objects:
            if item.mask is None:  # known to be there, and not where: nothing to fill in for it
                continue
            mask = np.asarray(item.mask, bool)
            names[item.category] = names.get(item.category, np.zeros_like(mask)) | mask
        wanted = np.zeros((height, width), bool)
        for name, mask in names.items():
            if self.study.concept.named_in(name):
                wanted |= mask
        return {"mask": shrink(wanted, shape).tobytes(), **as_masks(names, chosen.image.size)}

    def thumbnails(self) -> list[bytes]:
        """Return a small picture of every scene."""
        return [thumbnail(scene.image) for scene in self.study.scenes]


class Beyond:
    """What lies beyond the prefetched: the requests for maps and words of any neurons.

    Parameters
    ----------
    view : widget
        ``view.looked(call)`` gives the `Looking` and the scene that a request means,
        ``view.words_of(ids, call)`` the words.
    """

    def __init__(self, view: Any) -> None:
        self.view = view

    def ids(self, looking: Looking, given: Any) -> np.ndarray:
        """Return the flat ids of a request, at least one."""
        ids = looking.index.checked(np.asarray(given, np.int64))
        if not ids.size:
            raise bad_argument("ids", "none", "at least one neuron")
        return ids

    @request("maps")
    def ask_maps(self, call: Call) -> Answer:
        """Return one map a neuron."""
        looking, scene = self.view.looked(call)
        ids = self.ids(looking, call.wholes("ids"))
        maps = looking.maps(ids, scene, signed=call.flag("signed"))
        return {"count": len(ids)}, [float32_bytes(maps)]

    @request("mean_map")
    def ask_mean_map(self, call: Call) -> Answer:
        """Return the mean over neurons, which come as a buffer of int32."""
        looking, scene = self.view.looked(call)
        ids = self.ids(looking, int32_array(call.data))
        mean = mean_map(looking, ids, scene, signed=call.flag("signed"), cancel=call.cancel)
        return {"count": len(ids)}, [float32_bytes(mean)]

    @request("words")
    def ask_words(self, call: Call) -> Answer:
        """Return the words of neurons."""
        return {"words": self.view.words_of(np.asarray(call.wholes("ids"), np.int64), call)}


def mean_map(
    looking: Looking, ids: np.ndarray, scene: int, *, signed: bool, cancel: CancelToken
) -> np.ndarray:
    """Return the mean map of any number of neurons, part by part."""
    total = np.zeros(())
    for begin in range(0, len(ids), _AT_ONCE):
        cancel.raise_if_cancelled()
        maps = looking.maps(ids[begin : begin + _AT_ONCE], scene, signed=signed)
        total = total + np.asarray(maps, np.float64).sum(0)
    return total / len(ids)


# -- traits from arrays and pictures ---------------------------------------------------------------


def prefetched(best: np.ndarray, rest: np.ndarray, n: int = PREFETCHED) -> np.ndarray:
    """Return ids, each once, those of `best` first; int32."""
    return np.concatenate([best, rest[~np.isin(rest, best)]])[:n].astype(np.int32)


def map_state(maps: np.ndarray, signs: np.ndarray) -> dict[str, Any]:
    """Return the traits of maps (neuron, row, column) and of their neurons' signs."""
    made = encode_grids(maps)
    return {
        "maps": made.grids,
        "map_scale": made.scale,
        "map_offset": made.offset,
        "map_sign": np.asarray(signs, np.int8).tobytes(),
    }


def grid_state(maps: np.ndarray, *, approximate: bool = False, reason: str = "") -> dict[str, Any]:
    """Return the trait of the token grid under maps (neuron, row, column)."""
    rows, cols = (int(n) for n in maps.shape[1:])
    return {
        **NO_GRID,
        "rows": rows,
        "cols": cols,
        "approximate": bool(approximate),
        "reason": str(reason),
    }


def token_state(
    tokens: Sequence[tuple[str, str, int]], values: np.ndarray, label: str
) -> dict[str, Any]:
    """Return the traits of one value per token."""
    return {
        "tokens": [{"text": str(x), "role": str(r), "step": int(s)} for x, r, s in tokens],
        "token_values": float32_bytes(values),
        "token_label": label,
    }


def facts_of(
    model: ModelLike, scenes: int, inpainter: str, seconds: float | None, own: int = 0
) -> dict[str, Any]:
    """Return the facts in the widget's head; `own` of the scenes are pictures of one's own."""
    return {
        "model": str(model.name),
        "layers": int(model.n_layers),
        "neurons": int(model.n_neurons),
        "device": str(model.device),
        "scenes": scenes,
        "own": own,
        "seconds": seconds,
        "inpainter": inpainter,
        "knows": str(model.knows),
    }


def scene_lines(
    names: Sequence[str], before: Sequence[str] | None = None, own: Sequence[bool] | None = None
) -> list[dict[str, Any]]:
    """Return the trait `scenes`: a line for each, its captions where they are known."""
    known, mine = before or [""] * len(names), own or [False] * len(names)
    return [
        {"name": str(name), "before": text, "after": "", "own": bool(one)}
        for name, text, one in zip(names, known, mine, strict=True)
    ]


def thumbnail(image: Image) -> bytes:
    """Return a small picture for the strip."""
    return encode_picture(image, _THUMBNAIL)


def as_masks(objects: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """Return the traits of objects: their masks (height, width) at painting resolution."""
    shape = painting_shape(size)
    masks = {str(name): np.asarray(mask, bool) for name, mask in objects.items()}
    return {
        "mask_shape": list(shape),
        "objects": [{"name": name, "area": float(m.mean())} for name, m in masks.items()],
        "object_masks": [shrink(m, shape).tobytes() for m in masks.values()],
    }


def painting_shape(size: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of the mask that is painted on a picture of (width, height)."""
    width, height = size
    scale = min(1.0, _MASK / max(width, height))
    return max(1, round(height * scale)), max(1, round(width * scale))


def shrink(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a mask as uint8 (0 or 255) of another shape; a cell is on when half of it is."""
    from PIL import Image

    picture = Image.fromarray(np.asarray(mask, np.uint8) * 255)
    small = picture.resize((shape[1], shape[0]), Image.Resampling.BOX)
    return np.where(np.asarray(small) >= 128, 255, 0).astype(np.uint8)


def enlarge(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a painted mask as bool in the pixels of a picture of (width, height)."""
    from PIL import Image

    small = Image.fromarray(np.where(mask > 0, 255, 0).astype(np.uint8))
    return np.asarray(small.resize(size, Image.Resampling.NEAREST)) > 127


def painted(call: Call, wanted: Sequence[int] | None = None) -> np.ndarray:
    """Return the mask that a page sends: uint8 of a shape that it names.

    Raises
    ------
    BadArgument
        If it is none, nothing is painted, or its shape is not the wanted one.
    """
    shape = call.wholes("shape")
    mask = np.frombuffer(call.data, np.uint8)
    right = len(shape) == 2 and min(shape) > 0 and mask.size == shape[0] * shape[1]
    if not right or not mask.any() or (wanted is not None and shape != list(wanted)):
        of = "the shown picture" if wanted is None else f"{list(wanted)}"
        raise bad_argument("mask", f"{mask.size} bytes", f"a painted mask of {of}")
    return mask.reshape(shape)


def read_upload(data: bytes, name: str) -> tuple[Image, str, str]:
    """Read a picture that came from the page.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        Its name; only the last part is kept.

    Returns
    -------
    PIL.Image.Image
        RGB, at most 2,048 pixels on its longest side.
    str
        The name to show.
    str
        What was changed, empty when nothing.

    Raises
    ------
    BadArgument
        If the file is larger than 8 MB or no picture.
    """
    from ..datasets import read_image

    if not data:
        raise bad_argument(
            "picture", "an empty file", "a PNG, JPEG, WebP, GIF, BMP or TIFF picture"
        )
    if len(data) > MOST_BYTES:
        size = f"{len(data) / 2**20:.1f} MB"
        raise bad_argument("picture", size, "at most 8 MB: save it smaller, or as a JPEG")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        image = read_image(data, name="picture")
    notes = [str(one.message) for one in said]
    if max(image.size) > _UPLOAD:
        width, height = image.size
        image.thumbnail((_UPLOAD, _UPLOAD))
        notes.append(f"scaled from {width} × {height} to {image.width} × {image.height} pixels")
    return image, shown_name(name), "; ".join(notes)


def shown_name(name: str) -> str:
    """Return the last part of a file's name, as the page shows it."""
    return PurePosixPath(name.replace("\\", "/")).name.strip()[:_NAME] or "own picture"
