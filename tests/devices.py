"""Devices that are pretended: their tensors hold CPU memory and refuse each other, as cards do.

``lazy:0``, ``lazy:1`` and so on stand for cards where there are none. A tensor on one of them is a
tensor in main memory that says it is there; an operation on tensors of two devices is refused with
the words that CUDA has for it, what a card does not offer (``numpy()``) is not offered, and every
operation that runs is the CPU's own. accelerate spreads a model over them as over any others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch.utils._pytree import tree_map, tree_map_only

__all__ = ["Pretended", "Stream"]

#: A kind that the CPU build knows, that nothing here uses, and whose backward needs no stream.
_KIND = "lazy"
_ATEN = torch.ops.aten
_MOVES = (_ATEN.copy_.default, _ATEN._to_copy.default)
#: Operations that take indices from main memory, as CUDA's do.
_INDEXED = tuple(
    getattr(_ATEN, name).default if "put" in name else getattr(_ATEN, name).Tensor
    for name in ("index", "_unsafe_index", "index_put", "index_put_", "_index_put_impl_")
)


class Pretended(torch.Tensor):
    """A tensor that says it is on another device.

    Parameters
    ----------
    held : torch.Tensor
        Its values, in main memory.
    device : torch.device, optional
        Where it says it is; by default where `held` says so.
    """

    held: torch.Tensor

    @staticmethod
    def __new__(
        cls: type[Pretended],
        held: torch.Tensor,
        device: torch.device | None = None,
        requires_grad: bool = False,
    ) -> Pretended:
        where = held.device if device is None else device
        held = _bare(held)
        made: Any = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=where, requires_grad=requires_grad,
        )  # fmt: skip
        made.held = held
        return made  # type: ignore[no-any-return]

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def tolist(self) -> Any:
        """Return the values, as a card's tensor does; torch refuses it to subclasses."""
        return self.held.tolist()

    def record_stream(self, stream: Any) -> None:
        """Have the memory kept until the stream is through with it."""
        stream.kept.append(self)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"{self.held!r} on {self.device}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = type(self)(self.held.clone(), self.device)
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        memo[id(self)] = copied
        return copied

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation on the CPU, if its tensors are on one device."""
        return _run(func, args, dict(kwargs or {}))


class Stream:
    """What CUDA calls a stream, for one pretended device: copies off it are made when waited for.

    Parameters
    ----------
    device : torch.device
    """

    entered: ClassVar[list[Stream]] = []
    made: ClassVar[list[Stream]] = []

    def __init__(self, device: torch.device) -> None:
        self.device, self.behind = device, 0
        self.pending: list[Callable[[], Any]] = []
        self.kept: list[Pretended] = []
        Stream.made.append(self)

    def wait_stream(self, other: Any) -> None:
        """Begin behind what another stream was asked for."""
        assert other == ("current", self.device)
        self.behind += 1

    def __enter__(self) -> Stream:
        Stream.entered.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        Stream.entered.pop()

    def synchronize(self) -> None:
        """Make every copy that was asked for."""
        while self.pending:
            self.pending.pop(0)()


def _bare(value: Any) -> Any:
    return value.held if isinstance(value, Pretended) else value


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensors: list[torch.Tensor] = []
    tree_map_only(torch.Tensor, tensors.append, (args, kwargs))
    # a number of main memory goes with any device
    devices = {t.device for t in tensors if t.dim() or isinstance(t, Pretended)}
    if func in _INDEXED and args[0].device.type == _KIND:
        devices.discard(torch.device("cpu"))
    if len(devices) > 1 and func not in _MOVES:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{' and '.join(sorted(map(str, devices)))}! (in {func})"
        )
    if func is _ATEN.copy_.default:
        target, source, later = _bare(args[0]), _bare(args[1]), [*args[2:], False][0]
        if later and Stream.entered and not isinstance(args[0], Pretended):
            Stream.entered[-1].pending.append(lambda: target.copy_(source))
        else:
            target.copy_(source)
        return args[0]
    asked = kwargs.get("device")
    own = next((t.device for t in tensors if isinstance(t, Pretended)), torch.device("cpu"))
    target = own if asked is None else _numbered(asked)
    if target.type == _KIND and asked is not None:
        kwargs["device"] = torch.device("cpu")
    given = {id(t.held): t for t in tensors if isinstance(t, Pretended)}
    bare_args, bare_kwargs = tree_map(_bare, (args, kwargs))

    def dressed(value: torch.Tensor) -> torch.Tensor:
        if id(value) in given:  # what an operation changed in place
            return given[id(value)]
        return Pretended(value, target) if target.type == _KIND else value

    return tree_map_only(torch.Tensor, dressed, func(*bare_args, **bare_kwargs))


def _numbered(device: Any) -> torch.device:
    found = torch.device(device)
    return torch.device(_KIND, found.index or 0) if found.type == _KIND else found


def _empty(
    size: Any, dtype: Any = None, layout: Any = None, device: Any = None, *_: Any, **__: Any
) -> torch.Tensor:
    del layout
    return Pretended(torch.empty(size, dtype=dtype), _numbered(device))


def _empty_strided(
    size: Any, stride: Any, dtype: Any = None, layout: Any = None, device: Any = None,
    *_: Any, **__: Any,
) -> torch.Tensor:  # fmt: skip
    del layout
    return Pretended(torch.empty_strided(size, stride, dtype=dtype), _numbered(device))


def _copy_from(source: torch.Tensor, target: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    _bare(target).copy_(_bare(source))
    return target


_LIBRARY = torch.library.Library("aten", "IMPL")
_LIBRARY.impl("empty.memory_format", _empty, "Lazy")
_LIBRARY.impl("empty_strided", _empty_strided, "Lazy")
_LIBRARY.impl("_copy_from", _copy_from, "Lazy")
