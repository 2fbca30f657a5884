"""Where in the sequence a forward stands: token indices, steps and roles, with or without cache."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..core import BadArgument, NotSupported, bad_argument, whole_number

if TYPE_CHECKING:
    from ..models import MultimodalModel

__all__ = ["ROLES", "Run", "RunTracker", "Selection", "Where"]

#: Roles of tokens, in the order of their codes.
ROLES = ("text", "image", "special", "generated")
_WORDS = (*ROLES, "prompt", "predicting")


@dataclass(frozen=True)
class Where:
    """The tokens of one forward.

    Attributes
    ----------
    index : Tensor of int64, shape (batch, token)
        Place of the token in its own sequence, padding not counted; -1 on padding.
    prompt_length : Tensor of int64, shape (batch,)
        Tokens of the prompt, padding not counted.
    roles : Tensor of int64, shape (batch, token), optional
        Index into `ROLES`; None where the token ids are not known.
    """

    index: Tensor
    prompt_length: Tensor
    roles: Tensor | None = None

    @property
    def batch(self) -> int:
        """Number of sequences."""
        return self.index.shape[0]

    @property
    def length(self) -> int:
        """Number of tokens of this forward, padding included."""
        return self.index.shape[1]

    @property
    def step(self) -> Tensor:
        """The generation step of each token, shape (batch, token): -1 in the prompt."""
        return (self.index - self.prompt_length[:, None]).clamp(min=-1)


class RunTracker:
    """Follow a generation from its prefill through its steps.

    A run begins where no token is cached. What a token's place is comes from the attention mask
    where there is a two-dimensional one (left and right padding), else from the cache's length.

    Parameters
    ----------
    image_mask : callable
        From the forward's arguments by name to where they hold image embeddings, an array of
        bool, shape (batch, token).
    special_ids : sequence of int
        The tokenizer's special tokens.
    stream : str
        ``"decoder_"`` where an encoder-decoder's decoder holds the neurons, else ``""``.
    """

    def __init__(
        self,
        image_mask: Callable[[Mapping[str, Any]], np.ndarray],
        special_ids: Sequence[int],
        stream: str = "",
    ) -> None:
        self._stream = stream
        self._image_mask = image_mask
        self._special = list(special_ids)
        self._prompt_length: Tensor | None = None
        self._padding: Tensor | None = None

    def forward(
        self, inputs: Mapping[str, Any], prompt_length: Sequence[int] | None = None
    ) -> Where:
        """Return where the tokens of a forward stand.

        Parameters
        ----------
        inputs : mapping
            The forward's arguments by name.
        prompt_length : sequence of int, optional
            The prompt's length where the first forward holds more (a teacher-forced caption).
        """
        ids = inputs.get(f"{self._stream}input_ids")
        given: Any = ids if ids is not None else inputs.get(f"{self._stream}inputs_embeds")
        if given is None:
            raise NotSupported(f"positions: the model was called without {self._stream}input_ids")
        batch, length = int(given.shape[0]), int(given.shape[1])
        past = _past_length(inputs)
        mask: Any = inputs.get(f"{self._stream}attention_mask")
        if not (isinstance(mask, Tensor) and mask.dim() == 2):
            mask = None
        if mask is not None and past == 0 and mask.shape[1] > length:
            past = mask.shape[1] - length  # a cache of its own kind, or one that tells nothing
        if mask is not None and mask.shape[1] == past + length:
            kept = mask.to(torch.bool)
            counted = kept.long().cumsum(1) - 1
            index = counted.masked_fill(~kept, -1)[:, past:]
            self._padding = (~kept).long().cumprod(1).sum(1)
        else:
            index = past + torch.arange(length, device=given.device).expand(batch, length)
            if past == 0:
                self._padding = None
            elif self._padding is not None and len(self._padding) == batch:
                index = index - self._padding[:, None]
        if prompt_length is not None and len(prompt_length) == batch:
            self._prompt_length = torch.as_tensor(list(prompt_length), device=index.device)
        elif past == 0 or self._prompt_length is None or len(self._prompt_length) != batch:
            self._prompt_length = index.amax(1) + 1
        return Where(index, self._prompt_length, self._roles(inputs, ids, index))

    def _roles(self, inputs: Mapping[str, Any], ids: Tensor | None, index: Tensor) -> Tensor | None:
        if ids is None or ids.shape != index.shape:
            return None
        roles = torch.zeros_like(index)
        if self._special:
            special = torch.tensor(self._special, device=ids.device)
            roles[torch.isin(ids, special)] = ROLES.index("special")
        assert self._prompt_length is not None
        roles[index >= self._prompt_length[:, None]] = ROLES.index("generated")
        if not self._stream:
            image = torch.as_tensor(self._image_mask(inputs), device=ids.device)
            roles[image & (index < self._prompt_length[:, None])] = ROLES.index("image")
        roles[index < 0] = ROLES.index("special")
        return roles


def _past_length(inputs: Mapping[str, Any]) -> int:
    """Return how many tokens the cache holds already."""
    position = inputs.get("cache_position")
    if isinstance(position, Tensor) and position.numel():
        return int(position.reshape(-1)[0])
    cache = inputs.get("past_key_values")
    if cache is None:
        return 0
    if hasattr(cache, "get_seq_length"):
        return int(cache.get_seq_length())
    try:
        return int(cache[0][0].shape[-2])
    except (TypeError, IndexError, AttributeError):
        raise NotSupported(
            f"positions: the cache {type(cache).__name__} does not tell its length"
        ) from None


@dataclass(frozen=True)
class Selection:
    """Which tokens an intervention acts on.

    Parameters
    ----------
    positions : str, int, sequence or None
        None for all; a role or several of ``"text"``, ``"image"``, ``"special"``, ``"generated"``,
        ``"prompt"`` (all that is not generated); ``"predicting"`` (the prompt's last token and
        every generated one: whose output chooses the next word); token indices, padding not
        counted, negative ones from the prompt's end (-1 predicts the first word).
    steps : int, sequence of int or None
        None for all; -1 for the prompt, 0, 1, … for the generated tokens in order.
    """

    positions: tuple[str | int, ...] | None = None
    steps: tuple[int, ...] | None = None

    @classmethod
    def of(cls, positions: Any = None, steps: Any = None) -> Selection:
        """Read the arguments `positions` and `steps`, or say what is wrong with them."""
        wanted = f"None, {', '.join(map(repr, _WORDS))} or token indices"
        chosen: tuple[str | int, ...] | None = None
        if positions is not None:
            chosen = _listed("positions", positions, wanted)
            for item in chosen:
                if isinstance(item, str) and item not in _WORDS:
                    raise bad_argument("positions", item, wanted)
        at: tuple[int, ...] | None = None
        if steps is not None:
            wanted_steps = "None, -1 for the prompt, or numbers of generated tokens from 0"
            listed = _listed("steps", steps, wanted_steps)
            at = tuple(item for item in listed if isinstance(item, int) and item >= -1)
            if len(at) != len(listed):
                raise bad_argument("steps", steps, wanted_steps)
        return cls(chosen, at)

    @property
    def everywhere(self) -> bool:
        """Whether all tokens are meant."""
        return self.positions is None and self.steps is None

    def mask(self, where: Where) -> Tensor | None:
        """Return the chosen tokens, a boolean Tensor of shape (batch, token); None for all.

        Raises
        ------
        NotSupported
            If a role is asked for and the token ids of this forward are not known.
        """
        if self.everywhere:
            return None
        index = where.index
        chosen = index >= 0
        if self.positions is not None:
            any_of = torch.zeros_like(chosen)
            for item in self.positions:
                any_of |= self._at(item, where)
            chosen &= any_of
        if self.steps is not None:
            chosen &= torch.isin(where.step, torch.tensor(self.steps, device=index.device))
        return chosen

    def _at(self, item: str | int, where: Where) -> Tensor:
        index, prompt = where.index, where.prompt_length[:, None]
        if isinstance(item, int):
            return index == (item if item >= 0 else prompt + item)
        if item == "generated":
            return index >= prompt
        if item == "prompt":
            return index < prompt
        if item == "predicting":
            return index >= prompt - 1
        if where.roles is None:
            raise NotSupported(
                f"positions: got {item!r}, but this model is not called with token ids; "
                "give token indices instead"
            )
        return where.roles == ROLES.index(item)

    def __str__(self) -> str:
        parts = []
        if self.positions is not None:
            parts.append("at " + ", ".join(map(str, self.positions)))
        if self.steps is not None:
            parts.append("in steps " + ", ".join(map(str, self.steps)))
        return " ".join(parts)


def _listed(argument: str, value: Any, wanted: str) -> tuple[str | int, ...]:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, str) or not isinstance(value, Iterable):
        value = (value,)
    items: list[str | int] = []
    for item in value:
        try:
            items.append(item if isinstance(item, str) else whole_number(argument, item))
        except BadArgument:
            raise bad_argument(argument, item, wanted) from None
    return tuple(items)


class Run(threading.local):
    """The state of the current thread's run; other threads have their own.

    Forwards are noted as they come and read only when somebody asks where their tokens stand:
    most interventions act on every token, and finding the places costs more than they do.

    Parameters
    ----------
    model : MultimodalModel
        Tells which token ids are image tokens and which are special.
    """

    def __init__(self, model: MultimodalModel) -> None:
        self._model = model
        self._tracker: RunTracker | None = None
        self._unread: list[_Noted] = []
        self._now: Where | None = None
        self._within = False
        self.prompt_length: Sequence[int] | None = None

    def begin(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note a forward of the whole model with these arguments."""
        names = inspect.signature(module.forward).parameters if args else ()
        noted = _Noted({**dict(zip(names, args, strict=False)), **kwargs}, self.prompt_length)
        if noted.first or len(self._unread) >= _UNREAD:
            if not noted.first:
                self._read()
            self._unread.clear()
        self._unread.append(noted)
        self._within = True

    def end(self) -> None:
        """Note that the forward is over: what runs next on its own is not part of it."""
        self._within = False
        self._now = None

    def forget(self) -> None:
        """Note that the run is over: hold none of its inputs."""
        self.end()
        self._unread = []

    def where(self) -> Where | None:
        """Return where the tokens of the forward under way stand; None where that is not known."""
        if not self._within:
            return None
        if self._unread:
            self._read()
        return self._now

    def _read(self) -> None:
        if self._tracker is None:
            self._tracker = _tracker(self._model)
        for noted in self._unread:
            try:
                self._now = self._tracker.forward(noted.inputs, noted.prompt_length)
            except NotSupported:
                self._now = None  # whoever needs it says so
        self._unread = []


#: forwards that are noted before the oldest are read
_UNREAD = 1024


class _Noted:
    """The arguments of a forward that has not been read yet, and whether it begins a run."""

    __slots__ = ("first", "inputs", "prompt_length")

    def __init__(self, inputs: dict[str, Any], prompt_length: Sequence[int] | None) -> None:
        cache: Any = inputs.get("past_key_values")
        self.inputs, self.prompt_length = inputs, prompt_length
        self.first = cache is None
        if hasattr(cache, "get_seq_length"):  # it grows: what it holds now is what counts
            held = _Held(int(cache.get_seq_length()))
            self.first = held.n == 0
            self.inputs = {**inputs, "past_key_values": held}


@dataclass(frozen=True)
class _Held:
    """How many tokens a cache held when a forward began."""

    n: int

    def get_seq_length(self) -> int:
        """Return the number of tokens."""
        return self.n


def _tracker(model: MultimodalModel) -> RunTracker:
    from ..models import image_mask, image_token_ids

    image_ids = image_token_ids(model)

    def images(inputs: Mapping[str, Any]) -> np.ndarray:
        # generate may have turned the pixels into embeddings already: the ids tell as well
        by_id = np.isin(inputs["input_ids"].detach().cpu().numpy(), image_ids)
        return np.logical_or(by_id, image_mask(model, inputs))

    special = getattr(model.tokenizer, "all_special_ids", None)
    stream = "decoder_" if model.is_encoder_decoder and model.stack == "decoder" else ""
    return RunTracker(images, list(special or ()), stream)
