"""The logit lens at the image tokens: which word the model reads in each patch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ..core import Handles, NotSupported, bad_argument
from ..models import logit_lens, plain_torch

if TYPE_CHECKING:
    from ..models import MultimodalModel, TokenMap

__all__ = ["patch_hidden", "patch_lens"]


@plain_torch(False)
def patch_hidden(
    model: MultimodalModel, image: Any, prompt: str | None = None, *, layer: int = -1
) -> tuple[torch.Tensor, TokenMap]:
    """Return the residual stream behind a layer at the image tokens.

    Parameters
    ----------
    model : MultimodalModel
    image : picture
    prompt : str, optional
    layer : int
        Negative ones count from the last.

    Returns
    -------
    torch.Tensor, shape (image token, hidden)
    TokenMap

    Raises
    ------
    NotSupported
        If the sequence holds no image tokens.
    """
    if not -model.n_layers <= layer < model.n_layers:
        raise bad_argument("layer", layer, f"{-model.n_layers} to {model.n_layers - 1}")
    prepared = model.prepare(image, prompt)
    tokens = model.token_maps(prepared)[0]
    if not len(tokens.image_positions):
        raise NotSupported(f"image: {model.name} has no image tokens in the sequence of this stack")
    seen: list[torch.Tensor] = []

    def keep(_module: Any, _args: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    with Handles(block.register_forward_hook(keep) for block in [model.blocks[layer]]):
        model.forward(prepared, logits_to_keep=1)
    hidden = seen[0].detach().reshape(-1, seen[0].shape[-1])
    return hidden[torch.from_numpy(tokens.image_positions).to(hidden.device)], tokens


def patch_lens(
    model: MultimodalModel,
    image: Any,
    prompt: str | None = None,
    *,
    layer: int = -1,
    k: int = 1,
) -> tuple[list[list[str]], TokenMap]:
    """Return the words that the unembedding reads in every image token.

    Parameters
    ----------
    model : MultimodalModel
    image : picture
    prompt : str, optional
    layer : int
        Behind which layer; the last by default.
    k : int
        Words per image token, over the whole vocabulary.

    Returns
    -------
    list of list of str
        Likeliest first, in the order of the image tokens.
    TokenMap
        With their places on the picture.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> words, tokens = patch_lens(model, mmkn.datasets.pocket_world("val", 1)[0].image)
    >>> len(words) == len(tokens.image_positions)
    True
    """
    hidden, tokens = patch_hidden(model, image, prompt, layer=layer)
    return logit_lens(model, hidden, k), tokens
