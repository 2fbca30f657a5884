"""One face for every multimodal language model: its neurons, weights, inputs and captions."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..core.errors import NotSupported, bad_argument
from ..core.jobs import CancelToken
from . import weights
from .batch import Prepared
from .generate import Generation, OnToken, generate
from .placement import same_draws
from .prepare import prepare
from .probe import SiteCheck, verify
from .sites import Refusal, Site, SiteSearch
from .worker import Worker

if TYPE_CHECKING:
    from ..interventions import InterventionStack
    from .tokens import TokenMap

__all__ = ["ModelParts", "MultimodalModel"]


class ModelParts:
    """The part of `MultimodalModel` that runs nothing.

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
        return int(weights.site_weight(self.sites[0]).shape[0])

    @property
    def device(self) -> torch.device:
        """Where inputs go: the device of the first parameter that is loaded."""
        for parameter in self.hf.parameters():
            if parameter.device.type != "meta":
                return parameter.device
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """The type the model computes in."""
        return self.hf.dtype

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

    # -- neurons and weights -----------------------------------------------------------------

    def site(self, layer: int, expert: int = -1) -> Site:
        """Return the site of a layer, or of one of its routed experts.

        Raises
        ------
        BadArgument
            If there is none; the message says what the layer has.
        """
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

        Neuron ``i`` writes ``activation * w_out(layer)[:, i]``. Of packed weights a copy in
        floating point is returned.

        Examples
        --------
        >>> model = mmkn.load_model("pocket")
        >>> model.w_out(0).shape == (model.hidden_size, model.n_neurons)
        True
        """
        return weights.site_weight(self.site(layer, expert))

    @cached_property
    def _head(self) -> nn.Module:
        found = weights.unembedding(self.hf)
        if found is None:
            raise NotSupported(f"unembedding: {type(self.hf).__name__} has no head over words")
        return found[1]

    @property
    def unembedding(self) -> torch.Tensor:
        """The head's weight, (vocabulary, hidden): live, detached; tied or not, padded or not."""
        return weights.dense_weight(self._head)

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


class MultimodalModel(ModelParts):
    """A Hugging Face model with its FFN neurons made reachable; made by `load_model`.

    Parameters
    ----------
    hf : transformers.PreTrainedModel
        The model; it is put in evaluation mode and its parameters are frozen.
    processor : transformers.ProcessorMixin or None
        Reads pictures and texts; without one only ready-made inputs work.
    search : SiteSearch
        Its neurons.
    name, revision : str
        Where it came from.
    stack : str
        ``"decoder"`` or ``"encoder"``: where the neurons are.
    check : bool
        Prove the sites with one small forward.

    Attributes
    ----------
    hf, processor, tokenizer
        What was loaded.
    sites : tuple of Site
        The neurons, one row per layer (and per routed expert).
    refused : tuple of Refusal
        FFNs that cannot be reached, with the reason.
    draws : bool
        Whether the model draws random numbers in its forward; they are then always the same.
    checks : tuple of SiteCheck
        What the check measured at each site; empty until it could be made.
    lock : threading.RLock
        Held for one forward or one generation.
    worker : Worker
        The model's one thread for long work.
    """

    def __init__(
        self,
        hf: Any,
        processor: Any,
        search: SiteSearch,
        *,
        name: str,
        revision: str = "",
        stack: str = "decoder",
        check: bool = True,
    ) -> None:
        super().__init__(hf, processor, search, name, revision, stack)
        self.lock = threading.RLock()
        self._making_stack = threading.Lock()
        self._stack: InterventionStack | None = None
        self.worker = Worker(f"mmkn {name}")
        self.draws = False
        self.check = check
        self.checks: tuple[SiteCheck, ...] = verify(self) if check else ()

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 of the parameters without any intervention, as they were when first asked."""
        with self.lock, self.interventions.suspended():
            return weights.hash_weights(self.hf)

    # -- running -----------------------------------------------------------------------------

    def prepare(
        self,
        images: Any,
        prompt: str | Sequence[str] | None = None,
        *,
        continuation: Sequence[str] | Sequence[Sequence[int]] | None = None,
    ) -> Prepared:
        """Turn pictures and a prompt into a batch of inputs.

        Parameters
        ----------
        images : picture, list of pictures, or dict of tensors
            Whatever `mmkn_widgets.datasets.read_image` reads. A list is a batch, one prompt each;
            a list in it is several pictures of one prompt: ``[[before, after]]``. A dict of the
            model's own input tensors is taken as it is.
        prompt : str or list of str, optional
            A question, or a whole prompt that holds the model's image placeholder; by default
            the model's own captioning prompt.
        continuation : list of str or list of list of int, optional
            Text that each row is made to have written (teacher forcing).

        Returns
        -------
        Prepared
            Right-padded.
        """
        return prepare(self, images, prompt, continuation=continuation)

    @cached_property
    def _forward_names(self) -> frozenset[str]:
        return frozenset(inspect.signature(self.hf.forward).parameters)

    def forward(
        self,
        prepared: Prepared | Mapping[str, torch.Tensor],
        *,
        logits_to_keep: int | None = None,
        grad: bool = False,
    ) -> Any:
        """Run the model once, without a KV cache.

        Parameters
        ----------
        prepared : Prepared
            From `prepare`.
        logits_to_keep : int, optional
            Compute the logits of the last positions only, where the model can; elsewhere the
            others are cut off.
        grad : bool
            Record a graph; parameters stay frozen, so that something in the forward (a hook) has
            to ask for gradients.

        Returns
        -------
        transformers.utils.ModelOutput
        """
        inputs = prepared.inputs if isinstance(prepared, Prepared) else prepared
        if not self.checks and self.check:
            self.checks = verify(self, inputs)
        with self.lock, self.running(prepared):
            return self.run(inputs, logits_to_keep=logits_to_keep, grad=grad)

    def run(
        self,
        inputs: Mapping[str, torch.Tensor],
        *,
        logits_to_keep: int | None = None,
        grad: bool = False,
    ) -> Any:
        """Run the model once on its own inputs, without checking anything; see `forward`."""
        arguments: dict[str, Any] = dict(inputs)
        if "use_cache" in self._forward_names:
            arguments["use_cache"] = False
        keep = logits_to_keep is not None and "logits_to_keep" in self._forward_names
        if keep:
            arguments["logits_to_keep"] = logits_to_keep
        draws = same_draws(self.device) if self.draws else nullcontext()
        with self.lock, torch.set_grad_enabled(grad), draws:
            output = self.hf(**arguments)
            # inside: a view that is taken without gradients would have none
            if logits_to_keep and not keep and getattr(output, "logits", None) is not None:
                output["logits"] = output.logits[:, -logits_to_keep:]
        return output

    def generate(
        self,
        prepared: Any,
        prompt: str | Sequence[str] | None = None,
        *,
        max_new_tokens: int | None = None,
        on_token: OnToken | None = None,
        cancel: CancelToken | None = None,
    ) -> Generation:
        """Decode greedily, with the KV cache.

        Parameters
        ----------
        prepared : Prepared, or what `prepare` takes
            From `prepare`; or a picture, several, or a dict of tensors, as in `caption`.
        prompt : str or list of str, optional
            As in `prepare`, for pictures that are not prepared yet.
        max_new_tokens : int, optional
            By default what the model's generation config says, else 64.
        on_token : callable, optional
            ``on_token(piece of text, row)`` after every token, in the thread that generates.
        cancel : CancelToken, optional
            Looked at after every token.

        Returns
        -------
        Generation

        Raises
        ------
        BadArgument
            If it is neither prepared inputs nor a picture.
        Cancelled
            If the token was cancelled.
        NotSupported
            If the model does not write token by token.

        Notes
        -----
        Ids that stand for a picture in a prompt are never written.
        """
        if reason := self.cannot_write:
            raise NotSupported(f"generate: {reason}")
        if max_new_tokens is not None and max_new_tokens < 1:
            raise bad_argument("max_new_tokens", max_new_tokens, "a whole number from 1")
        if not isinstance(prepared, Prepared):
            prepared = self.prepare(prepared, prompt)
        elif prompt is not None:
            raise bad_argument(
                "prompt", prompt, "none beside prepared inputs, which hold theirs; or "
                "model.generate(image, prompt)"
            )  # fmt: skip
        return generate(
            self, prepared, max_new_tokens=max_new_tokens, on_token=on_token, cancel=cancel
        )

    def caption(
        self,
        images: Any,
        prompt: str | Sequence[str] | None = None,
        *,
        max_new_tokens: int | None = None,
        on_token: OnToken | None = None,
        cancel: CancelToken | None = None,
    ) -> str | list[str]:
        """Describe a picture, or answer a question about it.

        Parameters
        ----------
        images, prompt
            As in `prepare`.
        max_new_tokens, on_token, cancel
            As in `generate`.

        Returns
        -------
        str or list of str
            A list for a list of pictures.

        Examples
        --------
        >>> model = mmkn.load_model("pocket")
        >>> scene = mmkn.datasets.pocket_world("val")[7]
        >>> isinstance(model.caption(scene.image), str)
        True
        """
        written = self.generate(
            self.prepare(images, prompt),
            max_new_tokens=max_new_tokens,
            on_token=on_token,
            cancel=cancel,
        )
        if isinstance(images, list | tuple) or len(written) > 1:
            return written.texts
        return written.texts[0]

    def token_maps(
        self, prepared: Prepared, generated: Sequence[Sequence[int]] | None = None
    ) -> list[TokenMap]:
        """Return what every position is: id, text, role, step and place, one map per row."""
        from .tokens import token_maps

        return token_maps(self, prepared, generated)

    # -- interventions -----------------------------------------------------------------------

    @property
    def interventions(self) -> InterventionStack:
        """What changes the model's computation now; the only owner of such changes."""
        from ..interventions import InterventionStack

        with self._making_stack:
            if self._stack is None:
                self._stack = InterventionStack(self)
            return self._stack

    def running(self, prepared: Prepared | Mapping[str, Any]) -> AbstractContextManager[Any]:
        """Return the context of one forward or generate, which tells the prompts' lengths."""
        if self._stack is None or not isinstance(prepared, Prepared):
            return nullcontext()
        return self._stack.running(prepared.prompt_lengths)

    def ablate(
        self, neurons: Any, mode: str = "zero", **options: Any
    ) -> AbstractContextManager[Any]:
        """Switch neurons off inside a ``with`` block; see `mmkn_widgets.interventions.ablate`."""
        from ..interventions import ablate

        return ablate(self, neurons, mode=mode, **options)
