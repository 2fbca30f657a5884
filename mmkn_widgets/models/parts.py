"""What a loaded model consists of: its sites, devices, special ids and weights."""

from __future__ import annotations

import inspect
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..core import NotSupported, bad_argument, html_card, whole_number
from . import weights
from .sites import Refusal, Site, SiteSearch
from .state import Modules, measuring

if TYPE_CHECKING:
    from .prepared import Prepared

__all__ = ["ModelParts"]


class ModelParts(ABC):
    """What a loaded model consists of, and how the rest of this room makes it run.

    `MultimodalModel` is the one that runs; the functions that it calls know it as this.

    Parameters
    ----------
    hf, processor, search, name, revision, stack
        As in `MultimodalModel`.
    """

    def __init__(
        self, hf: Any, processor: Any, search: SiteSearch, name: str, revision: str, stack: str
    ) -> None:
        self.hf = hf
        self.processor = processor
        self.tokenizer = getattr(processor, "tokenizer", None)
        if self.tokenizer is None and hasattr(processor, "convert_ids_to_tokens"):
            self.tokenizer = processor
        self.name = name
        self.revision = revision
        self.stack = stack
        self.sites: tuple[Site, ...] = search.sites
        self.refused: tuple[Refusal, ...] = search.refused
        self.blocks: nn.ModuleList = search.blocks
        self.blocks_name = search.blocks_name
        self._rows = {(site.layer, site.expert): site.row for site in self.sites}
        self.lock = threading.RLock()
        self.draws = False
        self.modules = Modules(hf, self._refuse_replaced)

    @abstractmethod
    def prepare(
        self,
        images: Any,
        prompt: str | Sequence[str] | None = None,
        *,
        continuation: Sequence[str] | Sequence[Sequence[int]] | None = None,
    ) -> Prepared:
        """Turn pictures and a prompt into a batch of inputs."""

    @abstractmethod
    def run(self, inputs: Mapping[str, Any]) -> Any:
        """Run one forward on tensors, with nothing active."""

    @abstractmethod
    def running(self, prepared: Prepared | Mapping[str, Any]) -> AbstractContextManager[Any]:
        """Return the context of one forward or generate, which tells the prompts' lengths."""

    def measuring(self, *, grad: bool = False) -> AbstractContextManager[None]:
        """Return the context in which the model runs to be measured, whatever the caller's state.

        Inside, the model is in evaluation mode, in its own type and uncompiled, and tensors are
        ordinary ones; at the end gradient mode, inference mode, autocast and every module's
        training flag are as they were. `forward`, `run` and `generate` enter it themselves.

        Parameters
        ----------
        grad : bool
            Record a graph.

        Examples
        --------
        >>> model = mmkn.load_model("pocket")
        >>> with torch.inference_mode(), model.measuring(grad=True):
        ...     torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        (True, False)
        """
        return measuring(self, grad=grad)

    def _refuse_replaced(self) -> None:
        """Say so where a module with neurons is no longer the one that was found at loading."""
        for site in self.sites:
            try:
                now = self.hf.get_submodule(site.module_name)
            except AttributeError:
                now = None
            if now is not site.module:
                kind = "gone" if now is None else f"a {type(now).__name__}"
                raise NotSupported(
                    f"model: {site.module_name}, which held the neurons of layer {site.layer}, is "
                    f"{kind} since the model was loaded; load_model(model.hf, model.processor) "
                    "finds the neurons of the model as it is now"
                )

    # -- shape and place ---------------------------------------------------------------------

    @property
    def n_layers(self) -> int:
        """Layers of the stack that holds the neurons."""
        return len(self.blocks)

    @cached_property
    def n_neurons(self) -> int:
        """Neurons of the widest site; arrays over neurons are (len(sites), n_neurons)."""
        return max(site.width for site in self.sites)

    @cached_property
    def hidden_size(self) -> int:
        """Size of the residual stream."""
        return weights.hidden_size(self.sites[0])

    @property
    def device(self) -> torch.device:
        """Where inputs go: the device of the first parameter that is loaded."""
        for parameter in self.hf.parameters():
            device: torch.device = parameter.device
            if device.type != "meta":
                return device
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """The type the model computes in."""
        dtype: torch.dtype = self.hf.dtype
        return dtype

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """Every device that holds parameters."""
        return tuple(dict.fromkeys(str(p.device) for p in self.hf.parameters()))

    @cached_property
    def quantised(self) -> bool:
        """Whether W_out is packed (8-bit, 4-bit): its columns can be read, not edited."""
        return any(weights.is_quantised(s.module) for s in self.sites if s.kind != "routed")

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether text is written by a decoder beside an encoder that reads the prompt."""
        config = self.hf.config
        return bool(getattr(config, "is_encoder_decoder", False)) or not getattr(
            config, "use_decoder_only_language_model", True
        )

    @cached_property
    def input_names(self) -> frozenset[str] | None:
        """Names of the inputs the model takes; None if it takes any."""
        names: set[str] = set()
        functions = [
            self.hf.forward,
            getattr(self.hf, "prepare_inputs_for_generation", self.hf.forward),
        ]
        if self.stack == "encoder":  # some models hand its inputs on without naming them
            functions.append(self.hf.get_encoder().forward)
        for function in functions:
            parameters = inspect.signature(function).parameters.values()
            names |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        return frozenset(names) if "input_ids" in names or "pixel_values" in names else None

    def config_value(self, name: str) -> Any:
        """Return a value of the config, of its text part, or of the generation config, or None."""
        config = self.hf.config
        own = getattr(self.hf, "generation_config", None)
        for holder in (own, config, config.get_text_config()):
            value = getattr(holder, name, None)
            if value is not None:
                return value
        return None

    @property
    def knows(self) -> str:
        """The only pictures that the model was trained on, where its config says so; else empty.

        A model of one small world writes something of any picture. Its config names that world as
        ``mmkn_knows``, so that nobody trusts what it writes of another picture.
        """
        said = self.hf.config.to_dict().get("mmkn_knows", "")
        return said if isinstance(said, str) else ""

    @property
    def pad_id(self) -> int:
        """The token that fills short rows."""
        for value in (
            getattr(self.tokenizer, "pad_token_id", None),
            self.config_value("pad_token_id"),
            self.config_value("eos_token_id"),
        ):
            if value is not None:
                return int(value[0] if isinstance(value, list | tuple) else value)
        return 0

    @property
    def decoder_start(self) -> int:
        """The first decoder token of an encoder-decoder."""
        for name in ("decoder_start_token_id", "bos_token_id", "pad_token_id"):
            value = self.config_value(name)
            if value is not None:
                return int(value[0] if isinstance(value, list | tuple) else value)
        return 0

    def __repr__(self) -> str:
        experts = sum(site.expert >= 0 for site in self.sites)
        more = f", {experts} routed experts" if experts else ""
        return (
            f"<MultimodalModel {self.name}: {type(self.hf).__name__}, {self.n_layers} layers x "
            f"{self.n_neurons} neurons{more}, {str(self.dtype).removeprefix('torch.')} on "
            f"{', '.join(self.devices)}>"
        )

    def _repr_html_(self) -> str:
        size = sum(parameter.numel() for parameter in self.hf.parameters())
        experts = sum(site.expert >= 0 for site in self.sites)
        facts = [
            ("class", type(self.hf).__name__),
            ("FFN neurons", f"{self.n_layers} layers × {self.n_neurons:,}"),
            ("routed experts", f"{experts:,}" if experts else None),
            ("hidden size", f"{self.hidden_size:,}"),
            ("parameters", f"{size / 1e9:.2f} billion" if size >= 1e9 else f"{size / 1e6:.1f} M"),
            ("numbers", f"{str(self.dtype).removeprefix('torch.')} on {', '.join(self.devices)}"),
            ("captions", self.cannot_write or None),
            ("out of reach", "; ".join(map(str, self.refused)) or None),
        ]
        return html_card("MultimodalModel", facts, about=self.name)

    # -- neurons and weights -----------------------------------------------------------------

    def site(self, layer: int, expert: int = -1) -> Site:
        """Return the site of a layer, or of one of its routed experts.

        Raises
        ------
        BadArgument
            If there is none; the message says what the layer has.
        """
        layer, expert = whole_number("layer", layer), whole_number("expert", expert)
        row = self._rows.get((layer, expert))
        if row is None:
            if refused := [str(r) for r in self.refused if r.layer == layer]:
                raise NotSupported(f"layer: {refused[0]}")
            if not 0 <= layer < self.n_layers:
                raise bad_argument("layer", layer, f"0 to {self.n_layers - 1}")
            here = [site.expert for site in self.sites if site.layer == layer]
            if not here:
                raise bad_argument("layer", layer, "a layer with an FFN; this one has none")
            known = ", ".join(map(str, here[:8])) + (", ..." if len(here) > 8 else "")
            raise bad_argument("expert", expert, f"one of {known} in layer {layer}")
        return self.sites[row]

    def w_out(self, layer: int, expert: int = -1) -> torch.Tensor:
        """Return W_out of a layer: the live weights, (hidden, neuron), detached.

        Neuron ``i`` writes ``activation * w_out(layer)[:, i]``. Of packed weights, and where an
        adapter (LoRA) is round the projection, a copy in floating point is returned: what the
        neuron writes with the adapters that are active now.

        Examples
        --------
        >>> model = mmkn.load_model("pocket")
        >>> model.w_out(0).shape == (model.hidden_size, model.n_neurons)
        True
        """
        return weights.site_weight(self.site(layer, expert))

    @cached_property
    def head(self) -> nn.Module:
        """The module that makes logits of hidden states; `NotSupported` without one."""
        found = weights.unembedding(self.hf)
        if found is None:
            raise NotSupported(f"unembedding: {type(self.hf).__name__} has no head over words")
        return found[1]

    @property
    def unembedding(self) -> torch.Tensor:
        """The head's weight, (vocabulary, hidden): live, detached; tied or not, padded or not."""
        return weights.dense_weight(self.head)

    @cached_property
    def final_norm(self) -> nn.Module | None:
        """The norm between the last block and the head; None where there is none."""
        return weights.final_norm(self.hf, self.blocks)

    @property
    def cannot_write(self) -> str:
        """Why the model writes no captions; empty when it does."""
        kind = type(self.hf).__name__
        if not hasattr(self.hf, "prepare_inputs_for_generation"):
            return f"{kind} does not write text token by token (no greedy decoding in transformers)"
        if weights.unembedding(self.hf) is None:
            return f"{kind} has no head over words"
        return ""

    def decode(self, ids: Sequence[int]) -> str:
        """Return ids as text, special tokens left out."""
        if self.tokenizer is None:
            return " ".join(map(str, ids))
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()
