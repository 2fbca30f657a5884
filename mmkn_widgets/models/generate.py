"""Greedy decoding with streaming and cancellation; the KV cache stays on."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..core import CancelToken, ending, sure
from .families import end_ids, for_generate, placeholders
from .state import ordinary

if TYPE_CHECKING:
    from .parts import ModelParts
    from .prepared import Prepared

__all__ = ["DEFAULT_MAX_NEW_TOKENS", "Generation", "OnToken", "generate", "greedy_config"]

#: Length of a caption where neither the caller nor the model says one.
DEFAULT_MAX_NEW_TOKENS = 64

#: Called as ``on_token(piece of text, row)`` after every token.
OnToken = Callable[[str, int], None]

_KEPT = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


@dataclass(frozen=True)
class Generation:
    """What greedy decoding wrote.

    Attributes
    ----------
    token_ids : list of list of int
        The new tokens of each row, without the end token and what follows it.
    texts : list of str
        The same as text, special tokens left out, stripped.
    finished : list of bool
        Whether a row wrote its end token, or was cut at ``max_new_tokens``.
    left_padding : list of int
        Padding before each row's prompt while it was decoded.
    """

    token_ids: list[list[int]]
    texts: list[str]
    finished: list[bool]
    left_padding: list[int]

    def __len__(self) -> int:
        return len(self.token_ids)


class Pieces:
    """Turn a growing list of ids into pieces of text whose sum is the text of the whole."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._from, self._read = 0, 0

    def add(self, token: int) -> str:
        """Return the text that this token completes; "" inside a multi-byte character."""
        self._ids.append(token)
        if self._tokenizer is None:
            return f"{token} "
        before = self._decode(self._ids[self._from : self._read])
        now = self._decode(self._ids[self._from :])
        if len(now) <= len(before) or now.endswith("\ufffd"):
            return ""
        self._from, self._read = self._read, len(self._ids)
        return now[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True)) if ids else ""


class _Stream:
    """What transformers calls after every step: keeps the ids and passes pieces on."""

    def __init__(
        self,
        tokenizer: Any,
        ends: set[int],
        stops: Sequence[Sequence[int]],
        on_token: OnToken | None,
        n: int,
    ) -> None:
        self.rows: list[list[int]] = [[] for _ in range(n)]
        self.finished = [False] * n
        self._prompt = True
        self._ends = ends
        self._stops = [list(stop) for stop in stops if stop]
        self._on_token = on_token
        self._pieces = [Pieces(tokenizer) for _ in range(n)]

    def put(self, value: torch.Tensor) -> None:
        if self._prompt:
            self._prompt = False
            return
        for row, token in enumerate(value.reshape(-1).tolist()[: len(self.rows)]):
            if self.finished[row]:
                continue
            if token in self._ends:
                self.finished[row] = True
                continue
            self.rows[row].append(token)
            for stop in self._stops:
                if self.rows[row][-len(stop) :] == stop:
                    del self.rows[row][-len(stop) :]
                    self.finished[row] = True
                    break
            if self.finished[row]:
                continue
            if self._on_token is not None and (piece := self._pieces[row].add(token)):
                self._on_token(piece, row)

    def end(self) -> None:
        return


def greedy_config(hf: Any, max_new_tokens: int, own_start: bool = False) -> Any:
    """Return a generation config for greedy decoding that no default of the model can colour.

    Parameters
    ----------
    hf : transformers.PreTrainedModel
        Its token ids (start, end, padding) are kept, all else is neutral: no sampling, one beam,
        no penalties, nothing forced or suppressed.
    max_new_tokens : int
        Where to stop.
    own_start : bool
        What it writes begins with a start of its own (an encoder-decoder): the token that is forced
        to follow is a part of that, and kept.
    """
    from transformers import GenerationConfig

    own = getattr(hf, "generation_config", None) or GenerationConfig()
    neutral = dict(GenerationConfig._get_default_generation_params())
    kept = (*_KEPT, "forced_bos_token_id") if own_start else _KEPT
    neutral.update(
        {name: value for name in kept if (value := getattr(own, name, None)) is not None}
    )
    neutral.update(do_sample=False, num_beams=1, num_return_sequences=1, use_cache=True)
    neutral.pop("max_length", None)
    return GenerationConfig(**neutral, max_new_tokens=max_new_tokens)


@sure
def _shipped_config_aside(model: ModelParts, config: Any) -> Iterator[None]:
    """Have the model and the language model inside it know no other way to write than `config`.

    transformers fills what a configuration leaves open (contrastive search, prompt lookup, stop
    strings, biases, a kind of cache) from the one that the model ships.
    """
    holders = [
        (module, module.generation_config)
        for module in model.modules.now()
        if module.__dict__.get("generation_config") is not None
    ]

    def again() -> None:
        for module, own in holders:
            module.generation_config = own

    with ending(again):
        for module, own in holders:
            aside = copy.copy(own)  # with entries that only this family knows
            for name, value in vars(config).items():
                if not name.startswith("_"):
                    setattr(aside, name, value)
            module.generation_config = aside
        yield


def _default_length(hf: Any) -> int:
    own = getattr(hf, "generation_config", None)
    length = getattr(own, "max_new_tokens", None)
    return int(length) if length else DEFAULT_MAX_NEW_TOKENS


def _ends(model: ModelParts, config: Any) -> set[int]:
    found: set[int] = set()
    for value in (config.eos_token_id, model.config_value("eos_token_id")):
        if value is not None:
            found |= set(value) if isinstance(value, list | tuple) else {int(value)}
    return found


def generate(
    model: ModelParts,
    prepared: Prepared,
    *,
    max_new_tokens: int | None = None,
    on_token: OnToken | None = None,
    cancel: CancelToken | None = None,
) -> Generation:
    """Decode greedily; see `MultimodalModel.generate`."""
    from transformers import StoppingCriteria, StoppingCriteriaList

    class Cancelling(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, _scores: Any, **_: Any) -> Any:
            stop = cancel is not None and cancel.cancelled
            rows = [stop or done for done in stream.finished]
            return torch.tensor(rows[: input_ids.shape[0]], device=input_ids.device)

    length = _default_length(model.hf) if max_new_tokens is None else max_new_tokens
    config = greedy_config(model.hf, length, model.is_encoder_decoder)
    config.suppress_tokens = sorted(placeholders(model)) or None  # a picture cannot be written
    if config.pad_token_id is None:
        config.pad_token_id = model.pad_id
    if config.decoder_start_token_id is None and model.is_encoder_decoder:
        config.decoder_start_token_id = model.decoder_start
    batch = prepared.left_padded()
    ends = _ends(model, config) | end_ids(model)
    stops = getattr(model.hf, "stop_sequences", ())
    stream = _Stream(model.tokenizer, ends, stops, on_token, len(prepared))
    with (
        model.measuring(),
        model.running(prepared),
        _shipped_config_aside(model, config),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", category=UserWarning, module="transformers")
        if cancel is not None:
            cancel.raise_if_cancelled()
        output = type(model.hf).generate(  # not one that a checkpoint's code put on the object
            model.hf,
            **for_generate(model, ordinary(batch.inputs)),
            generation_config=config,
            streamer=stream,
            stopping_criteria=StoppingCriteriaList([Cancelling()]),
        )
    if cancel is not None:
        cancel.raise_if_cancelled()
    rows, finished = stream.rows, stream.finished
    if not any(rows) and not any(finished):
        rows, finished = _from_output(output, batch, ends)
    texts = [model.decode(ids) for ids in rows]
    padding = [prepared.n_tokens - length for length in prepared.lengths]
    return Generation(rows, texts, finished, padding)


def _from_output(
    output: Any, batch: Prepared, ends: set[int]
) -> tuple[list[list[int]], list[bool]]:
    """Read new tokens from what `generate` returned, where the model streams none."""
    ids = output if isinstance(output, torch.Tensor) else output.sequences
    prompt = batch.inputs.get("decoder_input_ids", batch.inputs.get("input_ids"))
    if prompt is not None:
        length = prompt.shape[1]
        if ids.shape[1] >= length and torch.equal(ids[:, :length].cpu(), prompt.cpu()):
            ids = ids[:, length:]
    rows, finished = [], []
    for row in ids.tolist():
        end = next((i for i, token in enumerate(row) if token in ends), None)
        rows.append(row if end is None else row[:end])
        finished.append(end is not None)
    return rows, finished
