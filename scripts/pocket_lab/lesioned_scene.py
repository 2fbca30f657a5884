"""One scene under thousands of lesions, without repeating what a lesion does not touch.

Zeroing one neuron of layer L changes nothing before that layer's output, and there exactly one
rank-one term. So the layers up to L run once, each lesion starts behind it, and in the last layer
only the predicting position is computed. For plain Llama decoders such as the pocket model's; the
general way is `TeacherForced.log_prob`, against which a test holds this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mmkn_widgets.core.errors import NotSupported

if TYPE_CHECKING:
    from mmkn_widgets.models import MultimodalModel

__all__ = ["LesionedScene"]

_ROWS = 16  # more fall out of the cache


class LesionedScene:
    """A picture and the caption up to the concept, ready to be lesioned at every neuron.

    Parameters
    ----------
    model : MultimodalModel
        With a Llama decoder.
    image : PIL.Image.Image
    prefix : sequence of int
        The caption's token ids before the concept.
    token : int
        The concept's first token.

    Raises
    ------
    NotSupported
        If the decoder is built otherwise.
    """

    def __init__(
        self, model: MultimodalModel, image: Any, prefix: Sequence[int], token: int
    ) -> None:
        decoder = _llama(model)
        self._layers = list(decoder.layers)
        self._norm, self._unembedding = decoder.norm, model.hf.lm_head
        self._token = token
        seen: dict[str, Any] = {}

        def keep(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            seen["hidden"] = given[0] if given else named["hidden_states"]
            seen["places"] = named["position_embeddings"]

        handle = self._layers[0].register_forward_pre_hook(keep, with_kwargs=True)
        try:
            prepared = model.prepare([image], continuation=[list(prefix)])
            with model.interventions.suspended():
                model.forward(prepared, logits_to_keep=1)
        finally:
            handle.remove()
        self._first: Tensor = seen["hidden"].detach()
        self._places = seen["places"]
        self._out: list[Tensor] = []
        self._act: list[Tensor] = []
        self.lesion(None)

    def lesion(self, off: np.ndarray | None) -> tuple[float, bool]:
        """Zero neurons for good, on top of which `effect_of` zeroes single ones.

        Parameters
        ----------
        off : numpy.ndarray of bool, shape (layer, neuron), or None

        Returns
        -------
        (float, bool)
            The concept's log-probability in nats, and whether it is still the first word.
        """
        self._off = None if off is None else torch.from_numpy(~off).to(self._first)
        with torch.no_grad():
            hidden = self._first
            self._out, self._act = [], []
            for number, layer in enumerate(self._layers):
                hidden = hidden + self._attend(layer, hidden)
                act = self._activate(number, layer, hidden)
                hidden = hidden + layer.mlp.down_proj(act)
                self._out.append(hidden[0])
                self._act.append(act[0])
            log_p = torch.log_softmax(self._unembedding(self._norm(hidden[0, -1])).float(), -1)
        return float(log_p[self._token]), int(log_p.argmax()) == self._token

    def effect_of(self, layer: int, neurons: np.ndarray) -> np.ndarray:
        """Return the log-probability with each single neuron of a layer zeroed as well.

        Parameters
        ----------
        layer : int
        neurons : numpy.ndarray of int, shape (n,)

        Returns
        -------
        numpy.ndarray of float32, shape (n,)
        """
        last = len(self._layers) - 1
        found = []
        with torch.no_grad():
            for start in range(0, len(neurons), _ROWS):
                chosen = torch.as_tensor(neurons[start : start + _ROWS], device=self._first.device)
                columns = self._layers[layer].mlp.down_proj.weight[:, chosen].T
                if layer == last:
                    hidden = self._out[layer][-1] - self._act[layer][-1, chosen, None] * columns
                else:
                    taken = self._act[layer][:, chosen].T[..., None] * columns[:, None, :]
                    hidden = self._behind(layer + 1, self._out[layer] - taken)
                logits = self._unembedding(self._norm(hidden)).float()
                found.append(torch.log_softmax(logits, -1)[:, self._token])
        return torch.cat(found).cpu().numpy() if found else np.zeros(0, np.float32)

    def _behind(self, start: int, hidden: Tensor) -> Tensor:
        """Run the layers from `start`; the last one at the last position only: (row, hidden)."""
        last = len(self._layers) - 1
        for number in range(start, last):
            layer = self._layers[number]
            hidden = hidden + self._attend(layer, hidden)
            hidden = hidden + layer.mlp.down_proj(self._activate(number, layer, hidden))
        layer = self._layers[last]
        end = hidden[:, -1:] + self._attend_last(layer, hidden)
        return (end + layer.mlp.down_proj(self._activate(last, layer, end)))[:, 0]

    def _activate(self, number: int, layer: Any, hidden: Tensor) -> Tensor:
        x = layer.post_attention_layernorm(hidden)
        act = layer.mlp.act_fn(layer.mlp.gate_proj(x)) * layer.mlp.up_proj(x)
        return act if self._off is None else act * self._off[number]

    def _attend(self, layer: Any, hidden: Tensor) -> Tensor:
        given = layer.input_layernorm(hidden)
        made: Tensor = layer.self_attn(
            hidden_states=given, position_embeddings=self._places, attention_mask=None
        )[0]
        return made

    def _attend_last(self, layer: Any, hidden: Tensor) -> Tensor:
        """Attention from the last position alone; it sees all of them."""
        from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

        attention = layer.self_attn
        x = layer.input_layernorm(hidden)
        rows = len(x)
        shape = (rows, -1, attention.config.num_attention_heads, attention.head_dim)
        query = attention.q_proj(x[:, -1:]).view(shape).transpose(1, 2)
        shared = attention.num_key_value_groups  # query heads of one key head
        key, value = (
            made(x).view(rows, x.shape[1], -1, attention.head_dim).transpose(1, 2)
            for made in (attention.k_proj, attention.v_proj)
        )
        cos, sin = self._places
        query, _ = apply_rotary_pos_emb(query, query, cos[:, -1:], sin[:, -1:])
        _, key = apply_rotary_pos_emb(key, key, cos, sin)
        key, value = (one.repeat_interleave(shared, 1) for one in (key, value))
        weights = torch.softmax(query @ key.transpose(2, 3) * attention.scaling, -1)
        made: Tensor = attention.o_proj((weights @ value).transpose(1, 2).reshape(rows, 1, -1))
        return made


def _llama(model: MultimodalModel) -> Any:
    """Return the decoder, if it is a plain Llama in float32."""
    decoder = getattr(getattr(model.hf, "model", None), "language_model", None)
    config = getattr(decoder, "config", None)
    if config is None or type(decoder).__name__ != "LlamaModel" or model.dtype is not torch.float32:
        raise NotSupported(
            f"model: {model.name} is no LLaVA with a plain Llama decoder in float32; measure its "
            "lesions with TeacherForced.log_prob"
        )
    return decoder
