"""One face for every multimodal language model: its neurons, weights, inputs and captions."""

from __future__ import annotations

import copy
import inspect
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import torch

from ..core import CancelToken, NotSupported, bad_argument
from . import weights
from .generate import Generation, OnToken, generate
from .parts import ModelParts
from .placement import same_draws
from .prepare import prepare
from .prepared import Prepared
from .probe import SiteCheck, verify
from .sites import SiteSearch, find_sites
from .state import ordinary, plain_torch
from .worker import Worker

if TYPE_CHECKING:
    import numpy as np

    from ..interventions import InterventionStack
    from .tokens import TokenMap

__all__ = ["MultimodalModel"]


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

    Examples
    --------
    >>> model = mmkn.load_model("pocket")
    >>> picture = mmkn.datasets.pocket_world("val")[0].image
    >>> before = model.caption(picture)
    >>> with model.ablate({4: range(512), 5: range(512)}):
    ...     changed = model.caption(picture)
    >>> changed == before, model.caption(picture) == before
    (False, True)
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
        self._making_stack = threading.Lock()
        self._stack: InterventionStack | None = None
        self._hashed: tuple[Any, str] | None = None
        self.worker = Worker(f"mmkn {name}")
        self.check = check
        self.checks: tuple[SiteCheck, ...] = verify(self) if check else ()

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the parameters without any intervention.

        Computed at the first call, and again when the model was cast, or a look at a few values of
        each parameter shows that it was trained or loaded anew.
        """
        with self.lock:
            now = weights.sample(self.hf, {site.module for site in self.sites})
            if self._hashed is None or self._hashed[0] != now:
                with self.interventions.suspended():
                    self._hashed = now, weights.hash_weights(self.hf)
            return self._hashed[1]

    # -- copies ------------------------------------------------------------------------------

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a second, independent model with the same weights and nothing active.

        Raises
        ------
        NotSupported
            While an intervention changes weights: which of the two the copy should have is not
            known; or where the modules cannot be copied.
        """
        with self.interventions.lifted():
            hf = copy.deepcopy(self.hf, memo)
        processor = copy.deepcopy(self.processor, memo)
        try:
            made = type(self)(
                hf,
                processor,
                find_sites(hf, self.stack),
                name=self.name,
                revision=self.revision,
                stack=self.stack,
                check=self.check,
            )
        except NotSupported as error:
            raise NotSupported(
                f"copy: the copy of {self.name} does not run like the original ({error}); load the "
                "model a second time"
            ) from error
        made.draws = self.draws
        memo[id(self)] = made
        return made

    def __copy__(self) -> Self:
        raise NotSupported(
            "copy: two models over the same weights would undo each other's changes; "
            "copy.deepcopy(model) gives an independent one"
        )

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise NotSupported(
            f"pickle: {self.name} is not pickled (it holds a lock, a thread and hooks); in another "
            "process load it again by its name or folder (model.hf.save_pretrained(folder) and "
            "model.processor.save_pretrained(folder) write one), here copy.deepcopy(model) gives a "
            "second one; a study is written with study.save"
        )

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
        with plain_torch(torch.is_grad_enabled()):
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
            Record a graph, also where the caller has gradients switched off; parameters stay
            frozen, so that something in the forward (a hook) has to ask for gradients.

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
        arguments = ordinary(inputs)
        if "use_cache" in self._forward_names:
            arguments["use_cache"] = False
        keep = logits_to_keep is not None and "logits_to_keep" in self._forward_names
        if keep:
            arguments["logits_to_keep"] = logits_to_keep
        draws = same_draws(self.device) if self.draws else nullcontext()
        with self.measuring(grad=grad), draws:
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

        Greedy is the most probable token by the model's own logits, one after the other. Of the
        generation config that a model ships the token ids of start, end and padding hold and the
        length; sampling, beams, contrastive or assisted search, penalties on repetition or length,
        forced or suppressed tokens, biases, watermarks, stop strings and kinds of cache in it do
        not (a token that stands for a picture is never written).

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

    def neuron_words(
        self,
        rows: Sequence[int] | np.ndarray,
        indices: Sequence[int] | np.ndarray,
        *,
        k: int = 10,
        norm: bool = False,
        signs: np.ndarray | None = None,
    ) -> list[list[str]]:
        """Return the `k` words that each neuron writes most; see `decode_rows`."""
        from .decode import decode_rows

        return decode_rows(self, rows, indices, k=k, norm=norm, signs=signs)

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
