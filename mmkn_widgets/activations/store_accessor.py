"""``store.mmkn``: the same questions asked of a whole store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from .._errors import bad_argument
from .accessor import ArrayAccessor
from .picture import ROLES

if TYPE_CHECKING:
    import torch

    from ..attribution import NeuronSet
    from ..models.geometry import Geometry

__all__ = ["StoreAccessor"]


@xr.register_dataset_accessor("mmkn")
class StoreAccessor:
    """What a store can be asked; passes on to its ``activation``.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> store = mmkn.capture(model, mmkn.datasets.pocket_world("val", 1)[0].image)
    >>> store.mmkn.reduce("max", role="image").dims, len(store.mmkn.top(5, role="image"))
    (('layer', 'neuron'), 5)
    >>> len(store.mmkn.words(7, layer=4, k=3))
    3
    """

    def __init__(self, store: xr.Dataset) -> None:
        self._store = store

    def _array(self, variable: str = "activation") -> ArrayAccessor:
        if variable not in self._store:
            raise bad_argument("variable", variable, f"one of {list(self._store.data_vars)}")
        array = self._store[variable]
        return ArrayAccessor(array.assign_attrs({**self._store.attrs, **array.attrs}))

    @property
    def geometry(self) -> Geometry:
        """See `ArrayAccessor.geometry`."""
        return self._array().geometry

    def patch_map(
        self,
        neuron: int | None = None,
        layer: int | None = None,
        *,
        variable: str = "activation",
        **options: Any,
    ) -> xr.DataArray:
        """See `ArrayAccessor.patch_map`."""
        return self._array(variable).patch_map(neuron, layer, **options)

    def reduce(
        self, how: str = "max", role: str | None = None, *, variable: str = "activation"
    ) -> xr.DataArray:
        """See `ArrayAccessor.reduce`; read from disk where the store keeps it."""
        kept = self._store.get(f"{variable}_{how}")
        if kept is not None and role in ROLES:
            return kept.sel(token_role=role, drop=True).rename(variable)
        return self._array(variable).reduce(how, role)

    def top(self, n: int = 20, *, how: str = "max", role: str | None = None) -> NeuronSet:
        """See `ArrayAccessor.top`."""
        return ArrayAccessor(self.reduce(how, role)).top(n, how=how, role=role)

    def words(self, neuron: int | Sequence[int], layer: int | None = None, **options: Any) -> Any:
        """See `ArrayAccessor.words`."""
        name = next(iter(self._store.data_vars))
        return self._array(str(name)).words(neuron, layer, **options)

    def tensor(self, variable: str = "activation") -> torch.Tensor:
        """See `ArrayAccessor.tensor`."""
        return self._array(variable).tensor()

    def explore(self, pictures: Any = None, **options: Any) -> Any:
        """Open the Explorer on this store: activations alone, no pairs, no concept.

        Parameters
        ----------
        pictures : picture or sequence of pictures, optional
            Those that were captured, in their order; without them the maps lie on an empty plate.
        **options
            Of `mmkn_widgets.widgets.StoreExplorer`: ``threshold_d``, ``threshold_g``.

        Returns
        -------
        StoreExplorer
            Sliders over the neurons' largest activations, maps on the picture, words, the chosen
            neuron along the tokens. `mmkn_widgets.Explorer` needs a study.

        Examples
        --------
        >>> import mmkn_widgets as mmkn
        >>> model = mmkn.load_model("pocket")
        >>> picture = mmkn.datasets.pocket_world("val", 1)[0].image
        >>> explorer = mmkn.capture(model, picture).mmkn.explore(picture)
        >>> explorer.threshold_d = 2.0
        >>> explorer.to_neurons() == explorer.to_neurons().top(len(explorer.neurons))
        True
        """
        from ..widgets import StoreExplorer

        return StoreExplorer(self._store, pictures, **options)
