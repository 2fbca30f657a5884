"""Run a forward only as far as the last layer that is read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from threading import get_ident
from typing import TYPE_CHECKING, Any

from ..core import Handles

if TYPE_CHECKING:
    from ..models import MultimodalModel, Prepared

__all__ = ["forward_as_far"]


class _Enough(Exception):
    """All layers that are read have run."""


def forward_as_far(model: MultimodalModel, prepared: Prepared, rows: Sequence[int]) -> None:
    """Run a forward whose output nobody looks at, up to the last layer of some sites.

    What lies above (later layers, the final norm, the unembedding) is left out; what is below is
    computed as in a whole forward, to the bit. A model that accelerate has spread over devices runs
    whole: its hooks behind each layer have to come to their end.

    Parameters
    ----------
    model : MultimodalModel
    prepared : Prepared
    rows : sequence of int
        Site rows (``model.sites[row]``).

    Examples
    --------
    >>> from mmkn_widgets.activations import record
    >>> model = mmkn.load_model("pocket")
    >>> inputs = model.prepare(mmkn.datasets.pocket_world("val", 1)[0].image)
    >>> with record(model, layers=[0]) as seen:
    ...     forward_as_far(model, inputs, [0])
    >>> sorted(seen.values)
    [0]
    """
    behind = max(model.sites[row].layer for row in rows) + 1
    spread = vars(model.hf).get("hf_device_map") is not None
    unchecked = model.check and not model.checks  # the first forward looks at the whole model
    if behind >= len(model.blocks) or spread or unchecked:
        model.forward(prepared, logits_to_keep=1)
        return
    mine = get_ident()

    def stop(*_: Any) -> None:
        if get_ident() == mine:  # other threads run the same model, whole
            raise _Enough

    block = model.blocks[behind]
    with Handles(block.register_forward_pre_hook(stop) for _ in range(1)), suppress(_Enough):
        model.forward(prepared, logits_to_keep=1)
