"""Errors that a user meets: one sentence that names the argument, what was given, what is right."""

from __future__ import annotations

__all__ = ["BadArgument", "Cancelled", "MmknError", "NotSupported", "bad_argument"]


class MmknError(Exception):
    """Base of every error this package raises on purpose.

    Examples
    --------
    >>> try:
    ...     mmkn.datasets.pocket_world("tset")
    ... except mmkn.MmknError as error:
    ...     print(error)
    split: got 'tset', expected one of ...
    """


class BadArgument(MmknError, ValueError):
    """An argument has a value that cannot be used.

    Examples
    --------
    >>> mmkn.load_model("pocket", dtype="float12")
    Traceback (most recent call last):
    ...
    mmkn_widgets.core.errors.BadArgument: dtype: got 'float12', expected one of 'auto', ...
    """


class NotSupported(MmknError):
    """The model, data or environment cannot do what was asked; the message says why.

    Examples
    --------
    >>> from mmkn_widgets.interventions import edit, load_edit
    >>> import tempfile, torch
    >>> model, half = mmkn.load_model("pocket"), mmkn.load_model("pocket", dtype="bfloat16")
    >>> signs = torch.ones(len(model.sites), model.n_neurons)
    >>> made = edit(model, {5: [3]}, "car", "boat", activation=signs)
    >>> try:
    ...     load_edit(half, made.save(tempfile.mkdtemp() + "/car"))
    ... except mmkn.NotSupported as error:
    ...     print(error)
    path: the patch car.safetensors was made for pocket with weights ...
    """


class Cancelled(MmknError):
    """Long work was cancelled by its `CancelToken`; nothing half done is left.

    Examples
    --------
    >>> token = mmkn.CancelToken()
    >>> token.cancel()  # such as from a button
    >>> mmkn.load_model("pocket").caption(mmkn.datasets.pocket_world("val")[0].image, cancel=token)
    Traceback (most recent call last):
    ...
    mmkn_widgets.core.errors.Cancelled: ...
    """


def bad_argument(name: str, given: object, wanted: str) -> BadArgument:
    """Return the error for a bad argument.

    Parameters
    ----------
    name : str
        The argument's name, as the caller wrote it.
    given : object
        What was given; long values are shortened.
    wanted : str
        What would be right, as the end of the sentence "expected ...".

    Examples
    --------
    >>> str(bad_argument("split", "dev", "one of 'train', 'val', 'test'"))
    "split: got 'dev', expected one of 'train', 'val', 'test'"
    """
    shown = repr(given)
    if len(shown) > 120:
        shown = shown[:117] + "..."
    return BadArgument(f"{name}: got {shown}, expected {wanted}")
