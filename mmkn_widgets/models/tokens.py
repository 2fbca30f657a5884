"""What every position of the language model's sequence is: its id, text, role, step and place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .geometry.find import find_geometries
from .geometry.geometry import Geometry, one_picture, several
from .image_positions import image_mask, inserted

if TYPE_CHECKING:
    from .parts import ModelParts
    from .prepared import Prepared

__all__ = ["TokenMap", "token_maps", "token_texts"]


@dataclass(frozen=True, eq=False)
class TokenMap:
    """The positions of one prompt and picture, in the order the language model sees them.

    Parameters
    ----------
    ids : int array, (token,)
        Token ids; -1 where the model inserts an embedding without an id.
    text : list of str
        Readable text of each token, its leading space kept.
    role : list of str
        ``"text"``, ``"image"``, ``"special"`` (padding included) or ``"generated"``.
    step : int array, (token,)
        Which generated token it is, from 0; -1 in the prompt.
    patch_row, patch_col : int array, (token,)
        Place in the token grid of `geometry`; -1 for what has no place.
    geometry : Geometry
        The image tokens' places on the original picture. Of a prompt with several pictures one
        that refuses: take one of `geometries`.
    valid : bool array, (token,)
        False on padding.
    picture : int array, (token,)
        Which of the prompt's pictures an image token belongs to, from 0; -1 for other tokens.
    geometries : tuple of Geometry
        One for each picture of the prompt.

    Examples
    --------
    >>> import numpy as np
    >>> from mmkn_widgets.models.geometry import Geometry
    >>> from mmkn_widgets.models.tokens import TokenMap
    >>> tokens = TokenMap.build(
    ...     ids=[7, 7, 3],
    ...     text=["<image>", "<image>", " a"],
    ...     is_image=[True, True, False],
    ...     is_special=[False, False, False],
    ...     n_prompt=2,
    ...     geometry=Geometry.grid(1, 2, picture_size=(8, 16)),
    ... )
    >>> tokens.role, tokens.step.tolist(), tokens.patch_col.tolist()
    (['image', 'image', 'generated'], [-1, -1, 0], [0, 1, -1])
    """

    ids: NDArray[np.int64]
    text: list[str]
    role: list[str]
    step: NDArray[np.int64]
    patch_row: NDArray[np.int64]
    patch_col: NDArray[np.int64]
    geometry: Geometry
    valid: NDArray[np.bool_] = field(repr=False)
    picture: NDArray[np.int64] = field(repr=False)
    geometries: tuple[Geometry, ...] = field(repr=False)

    @classmethod
    def build(
        cls,
        ids: Sequence[int],
        text: Sequence[str],
        is_image: Sequence[bool],
        is_special: Sequence[bool],
        n_prompt: int,
        geometry: Geometry | Sequence[Geometry],
        valid: Sequence[bool] | None = None,
    ) -> TokenMap:
        """Lay one sequence out; what is valid and comes after `n_prompt` tokens is generated.

        `geometry` is that of the picture, or one for each picture in the order of their tokens.
        """
        geometries = (geometry,) if isinstance(geometry, Geometry) else tuple(geometry)
        n = len(ids)
        known = np.ones(n, bool) if valid is None else np.asarray(valid, bool)
        image = np.asarray(is_image, bool)
        after = np.arange(n) >= n_prompt
        made = after & known & ~image
        roles = np.where(np.asarray(is_special, bool) | ~known, "special", "text").astype(object)
        roles[made] = "generated"
        roles[image] = "image"
        step = np.where(made, np.cumsum(made) - 1, -1)
        row, col = np.full(n, -1), np.full(n, -1)
        row[image] = np.concatenate([one.rows for one in geometries])
        col[image] = np.concatenate([one.cols for one in geometries])
        picture = np.full(n, -1)
        picture[image] = np.repeat(np.arange(len(geometries)), [g.n_tokens for g in geometries])
        whole = geometries[0] if len(geometries) == 1 else several(geometries)
        return cls(
            np.asarray(ids, np.int64), list(text), roles.tolist(), step, row, col, whole, known,
            picture, geometries,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        counts = {role: self.role.count(role) for role in dict.fromkeys(self.role)}
        shown = ", ".join(f"{count} {role}" for role, count in counts.items())
        places = ", ".join(repr(geometry) for geometry in self.geometries)
        return f"<TokenMap {len(self)} tokens ({shown}), {places}>"

    @property
    def image_positions(self) -> NDArray[np.int64]:
        """Positions of the image tokens, in the order of the geometry's boxes."""
        return np.flatnonzero(np.asarray(self.role) == "image")

    def paint(
        self,
        values: Any,
        size: tuple[int, int] | None = None,
        *,
        picture: int | None = None,
        **options: Any,
    ) -> NDArray[np.float64]:
        """Paint one value per position (or per image token) onto the picture.

        Parameters
        ----------
        values : array-like
            (token,) of the whole prompt, or (image token,) of all its pictures.
        size : tuple of int, optional
            (height, width); the picture's own by default.
        picture : int, optional
            Which picture, where the prompt holds several.
        **options
            Of `Geometry.paint`.
        """
        flat = np.asarray(values, dtype=np.float64)
        if flat.shape == (len(self),) and len(self) != self.geometry.n_tokens:
            flat = flat[self.image_positions]
        geometry, own = one_picture(self.geometries, picture)
        if flat.shape == (self.geometry.n_tokens,):
            flat = flat[own]
        return geometry.paint(flat, size, **options)


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Return each token as a person reads it: decoded alone, its leading space kept.

    Bytes that are no text by themselves show as the vocabulary writes them; without a tokenizer an
    id is shown as ``#id``; -1 (an embedding without an id) is ``<image>``.
    """
    out: dict[int, str] = {-1: "<image>"}
    for token in {int(i) for i in ids} - {-1}:
        if tokenizer is None:
            out[token] = f"#{token}"
            continue
        try:
            raw = tokenizer.convert_ids_to_tokens(token)
            text = tokenizer.decode([token])
        except (IndexError, OverflowError, TypeError, KeyError):
            raw, text = None, ""
        raw = f"#{token}" if raw is None else str(raw)
        if not text or "�" in text:
            text = raw
        if raw[:1] in ("▁", "Ġ") and not text[:1].isspace():
            text = " " + text.lstrip("▁Ġ")
        out[token] = text
    return [out[int(i)] for i in ids]


def _special_ids(model: ModelParts) -> set[int]:
    found = set(getattr(model.tokenizer, "all_special_ids", None) or ())
    config = model.hf.config
    for holder in (config, config.get_text_config()):
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            value = getattr(holder, name, None)
            values = value if isinstance(value, list | tuple) else [value]
            found |= {int(item) for item in values if isinstance(item, int)}
    for added in (getattr(model.tokenizer, "added_tokens_decoder", None) or {}).items():
        if getattr(added[1], "special", False):
            found.add(int(added[0]))
    return found


def token_maps(
    model: ModelParts,
    prepared: Prepared,
    generated: Sequence[Sequence[int]] | None = None,
) -> list[TokenMap]:
    """Return one `TokenMap` per row of a prepared batch.

    Parameters
    ----------
    model : ModelParts
        Its tokenizer, processor and config say what ids mean and how pictures are cut.
    prepared : Prepared
        What `MultimodalModel.prepare` returned.
    generated : sequence of sequences of int, optional
        Ids that greedy decoding appended, one list per row (``Generation.token_ids``).
    """
    inputs = prepared.inputs
    stream = token_stream(model, inputs)
    ids = np.asarray(inputs[stream].detach().cpu())
    decoder = stream == "decoder_input_ids"
    images = np.zeros(ids.shape, bool) if decoder else image_mask(model, inputs)
    before, patches = (0, np.zeros((len(ids), 0), bool)) if decoder else inserted(model, inputs)
    behind = patches.shape[1]
    valid = _valid(prepared, stream, ids.shape)
    special = _special_ids(model)
    written = not decoder and model.is_encoder_decoder
    maps = []
    for row in range(len(ids)):
        extra = list(generated[row]) if generated is not None and not written else []
        row_ids = [-1] * before + ids[row].tolist() + [-1] * behind + extra
        own = patches[row].tolist()
        is_image = [True] * before + (images & valid)[row].tolist() + own
        ok = [True] * before + valid[row].tolist() + own + [True] * len(extra)
        n_prompt = before + behind + (ids.shape[1] if written else _n_prompt(prepared, row, valid))
        maps.append(
            TokenMap.build(
                ids=row_ids,
                text=token_texts(model.tokenizer, row_ids),
                is_image=is_image + [False] * len(extra),
                is_special=[i in special for i in row_ids],
                n_prompt=n_prompt,
                geometry=find_geometries(model, prepared, row, np.asarray(is_image, bool)),
                valid=ok,
            )
        )
    return maps


def token_stream(model: ModelParts, inputs: Mapping[str, Any]) -> str:
    """Return which input holds the ids of the stack whose neurons are read."""
    if model.is_encoder_decoder and model.stack == "decoder" and "decoder_input_ids" in inputs:
        return "decoder_input_ids"
    return "input_ids" if "input_ids" in inputs else "decoder_input_ids"


def _valid(prepared: Prepared, stream: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = prepared.inputs.get(stream.replace("input_ids", "attention_mask"))
    if mask is not None and tuple(mask.shape) == shape:
        return np.asarray(mask.detach().cpu()) > 0
    valid = np.ones(shape, bool)
    if stream == "decoder_input_ids":
        valid = np.arange(shape[1])[None, :] < np.asarray(prepared.lengths)[:, None]
    return valid


def _n_prompt(prepared: Prepared, row: int, valid: NDArray[np.bool_]) -> int:
    """Return where the continuation starts: behind the prompt, left padding included."""
    first = int(np.argmax(valid[row])) if valid[row].any() else 0
    if not prepared.continuation:
        return int(valid.shape[1])
    return first + int(prepared.prompt_lengths[row])
