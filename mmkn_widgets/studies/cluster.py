"""Work on a Dask cluster: tasks travel out, results come back, and the one who asked writes.

Workers share no folder with him, so that a study's folder is the same with Dask and without.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ..core import MmknError, bad_argument

if TYPE_CHECKING:
    from dask.distributed import Client

    from ..core import CancelToken
    from ..models import MultimodalModel

__all__ = ["on_workers", "worker_model"]

T = TypeVar("T")

#: seconds between two looks at whether the work was cancelled
_LOOK = 0.5

#: by the hash of their weights
_held: dict[str, MultimodalModel] = {}
_loading = threading.Lock()


def worker_model(load: Any, weights: str) -> MultimodalModel:
    """Return a worker's model, which is loaded once for all its tasks.

    Parameters
    ----------
    load : str or callable
        What `load_model` takes, or what returns the model.
    weights : str
        Its `weights_hash` where the work was asked for.

    Raises
    ------
    MmknError
        If the weights here are others.
    """
    from ..models import load_model

    with _loading:
        if weights not in _held:
            model = load() if callable(load) else load_model(load)
            if model.weights_hash != weights:
                raise MmknError(
                    f"load: a worker got {model.name!r} with other weights "
                    f"({model.weights_hash[:12]}) than those of the study ({weights[:12]})"
                )
            _held.clear()  # one model at a time
            _held[weights] = model
        return _held[weights]


def on_workers(
    client: Client,
    work: Callable[..., T],
    tasks: Mapping[str, tuple[Any, ...]],
    done: Callable[[str, T], None],
    cancel: CancelToken | None = None,
) -> None:
    """Run one function on many arguments, and take every result as it comes.

    Parameters
    ----------
    client : dask.distributed.Client
        A worker that dies is survived: its tasks begin again elsewhere, until as many workers have
        died on one task as ``distributed.scheduler.allowed-failures`` says.
    work : callable
        Of a module that the workers have.
    tasks : mapping of str to tuple
        Name to arguments.
    done : callable
        ``done(name, result)``, in this thread.
    cancel : CancelToken, optional
        Looked at twice a second; what runs on a worker then is not waited for.

    Raises
    ------
    BadArgument
        If it is no client.
    MmknError
        If a task failed; raised when all others are done.
    """
    if not all(hasattr(client, name) for name in ("submit", "scheduler_info", "cancel")):
        raise bad_argument("client", client, "a dask.distributed.Client")
    from dask import distributed

    wait: Any = distributed.wait
    running: dict[Any, str] = {
        client.submit(work, *arguments, pure=False): name for name, arguments in tasks.items()
    }
    failed: dict[str, BaseException] = {}
    try:
        while running:
            if cancel is not None:
                cancel.raise_if_cancelled()
            try:
                ended = wait(list(running), timeout=_LOOK, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                continue
            for future in ended:
                name = running.pop(future)
                error = future.exception()
                if error is None:
                    done(name, future.result())
                else:
                    failed[name] = error
    finally:
        if running:
            stop: Any = client.cancel
            stop(list(running), force=True)
    if failed:
        name, error = next(iter(failed.items()))
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise MmknError(f"on the cluster {name!r}{more} failed: {error}") from error
