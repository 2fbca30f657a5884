"""From two thresholds to neurons: the one copy, for the Explorer, the pair, stores and parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..attribution import passes, quantile_threshold
from ..core import NeuronIndex, NeuronSet, provenance

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["WHERE", "Cuts", "Selection"]


class Cuts(Protocol):
    """What decides which neurons pass, and which of them are kept."""

    @property
    def mode(self) -> str:
        """One of "absolute" and "quantile"."""

    @property
    def threshold_d(self) -> float:
        """Stage 1 in mode absolute."""

    @property
    def threshold_g(self) -> float:
        """Stage 2 in mode absolute."""

    @property
    def quantile_d(self) -> float:
        """Stage 1 in mode quantile."""

    @property
    def quantile_g(self) -> float:
        """Stage 2 in mode quantile."""

    @property
    def rows_off(self) -> Sequence[int]:
        """Rows that are switched off."""

    @property
    def unchecked(self) -> Sequence[int]:
        """Flat ids of neurons that were unchecked by hand."""

    @property
    def picked(self) -> Mapping[str, Any] | None:
        """A set that no thresholds make, and where they stood when it was picked."""


#: what a picked set remembers of the thresholds
WHERE = ("mode", "threshold_d", "threshold_g", "quantile_d", "quantile_g")


class Selection:
    """The neurons that two scores and what is on screen choose.

    Parameters
    ----------
    evidence : xarray.Dataset
        ``difference`` and ``gradcam`` over (layer, neuron); ``activation``, where it is there,
        gives the neurons their signs.
    index : NeuronIndex
        Of the rows of these arrays.
    cuts : Cuts
        Where the thresholds stand: a widget, or a side of one.
    made : dict
        What the neurons' provenance says beside the thresholds; `method` first of all.

    Attributes
    ----------
    difference, gradcam : numpy.ndarray of float32, shape (row, neuron)
    activation : numpy.ndarray of float32, shape (row, neuron), or None
        Mean where the word is predicted: its sign is the side on which a neuron acts.
    """

    def __init__(self, evidence: xr.Dataset, index: NeuronIndex, cuts: Cuts, **made: Any) -> None:
        self.index = index
        self.cuts = cuts
        self.difference = np.asarray(evidence["difference"].values, np.float32)
        self.gradcam = np.asarray(evidence["gradcam"].values, np.float32)
        self.activation = None
        if "activation" in evidence and evidence["activation"].shape == self.difference.shape:
            self.activation = np.asarray(evidence["activation"].values, np.float32)
        self._made = {"method": "two_stage", **made}
        if "provenance" in evidence.attrs:
            self._made["evidence"] = evidence.attrs["provenance"]

    @property
    def thresholds(self) -> tuple[float, float]:
        """The two absolute thresholds in force, whichever the mode."""
        cuts = self.cuts
        if cuts.mode != "quantile":
            return float(np.float32(cuts.threshold_d)), float(np.float32(cuts.threshold_g))
        valid = np.isfinite(self.difference) & np.isfinite(self.gradcam)
        if not valid.any():
            return 0.0, 0.0
        d, g = self.difference[valid], self.gradcam[valid]
        return quantile_threshold(d, cuts.quantile_d), quantile_threshold(g, cuts.quantile_g)

    @property
    def picked(self) -> Mapping[str, Any] | None:
        """The set that is kept instead of what the thresholds keep, while they do not move."""
        picked = self.cuts.picked
        if picked is None or any(picked[name] != getattr(self.cuts, name) for name in WHERE):
            return None
        return picked

    def _passing(self) -> np.ndarray:
        """Return which neurons pass: both thresholds, or those of the picked set."""
        picked = self.picked
        if picked is None:
            return passes(self.difference, self.gradcam, *self.thresholds)
        inside = np.zeros(self.difference.shape, bool)
        inside.ravel()[picked["ids"]] = True
        return inside

    @property
    def kept(self) -> np.ndarray:
        """Flat ids of the checked survivors, best stage-2 score first; int32."""
        inside = self._passing()
        inside[list(self.cuts.rows_off)] = False
        inside.ravel()[list(self.cuts.unchecked)] = False
        ids = np.flatnonzero(inside)
        return ids[np.argsort(-self.gradcam.ravel()[ids], kind="stable")].astype(np.int32)

    @property
    def neurons(self) -> NeuronSet:
        """The checked survivors, best stage-2 score first, by their layers in the model."""
        return self.set_of(self.kept)

    def set_of(self, ids: np.ndarray, **made: Any) -> NeuronSet:
        """Return flat ids as a neuron set with scores, signs and provenance.

        Parameters
        ----------
        ids : numpy.ndarray of int
        **made
            More for the provenance.
        """
        sign = None
        if self.activation is not None:
            sign = np.sign(np.nan_to_num(self.activation.ravel()[ids]))
        score = np.nan_to_num(self.gradcam.ravel()[ids])
        described = {**self._made, **self.described(), **made}
        method = str(described.pop("method"))
        return self.index.neurons(
            ids, score=score, sign=sign, provenance=provenance(method, **described)
        )

    def described(self) -> dict[str, Any]:
        """Return the thresholds in force, and what was taken out by hand, for provenance."""
        threshold_d, threshold_g = self.thresholds
        found: dict[str, Any] = {"threshold_d": threshold_d, "threshold_g": threshold_g}
        picked = self.picked
        if picked is not None:
            found = {"picked": picked["label"]}
        elif self.cuts.mode == "quantile":
            found |= {"quantile_d": self.cuts.quantile_d, "quantile_g": self.cuts.quantile_g}
        if len(self.cuts.rows_off):
            found["rows_off"] = [list(self.index.rows[int(row)]) for row in self.cuts.rows_off]
        if len(self.cuts.unchecked):
            found["unchecked"] = [list(self.place(int(flat))) for flat in self.cuts.unchecked]
        return found

    def place(self, flat: int) -> tuple[int, ...]:
        """Return (layer, index) of a flat id, or (layer, expert, index)."""
        layer, expert, index = self.index.place(flat)
        return (layer, index) if expert < 0 else (layer, expert, index)

    def flat(self, place: Sequence[int]) -> int:
        """Return the flat id of (layer, index) or (layer, expert, index)."""
        if len(place) == 2:
            return self.index.flat(int(place[0]), int(place[1]))
        return self.index.flat(int(place[0]), int(place[2]), int(place[1]))

    def name(self, flat: int) -> str:
        """Return what the page calls a neuron: "L4·233", or "L4·E1·233" of an expert."""
        layer, expert, index = self.index.place(flat)
        return f"L{layer}·{index}" if expert < 0 else f"L{layer}·E{expert}·{index}"

    def python(self, study: str = "study") -> str:
        """Return the Python expression that gives the same neurons of a study.

        Parameters
        ----------
        study : str
            The study's name in that code.
        """
        cuts, picked = self.cuts, self.picked
        if picked is not None:
            return self._places(self.kept)
        if cuts.mode == "quantile":
            given = [f"quantile_d={cuts.quantile_d!r}", f"quantile_g={cuts.quantile_g!r}"]
        else:
            given = [
                f"threshold_{x}={_literal(v)}" for x, v in zip("dg", self.thresholds, strict=True)
            ]
        inside = passes(self.difference, self.gradcam, *self.thresholds).ravel()
        off = [self.place(int(flat)) for flat in cuts.unchecked if inside[int(flat)]]
        if off:
            given.append("exclude=[" + ", ".join(map(str, off)) + "]")
        made = f"{study}.neurons({', '.join(given)})"
        rows = [self.index.rows[int(row)] for row in cuts.rows_off]
        if rows and any(expert >= 0 for _, expert in rows):
            made += f".filter(lambda n: (n.layer, n.expert) not in {{{', '.join(map(str, rows))}}})"
        elif rows:
            layers = ", ".join(str(layer) for layer, _ in rows)
            made += f".filter(lambda n: n.layer not in {{{layers}}})"
        return made

    def _places(self, ids: np.ndarray) -> str:
        """Return Python that makes a set of these neurons, one by one."""
        found = self.index.neurons(ids)
        columns = [found.layer.tolist(), found.index.tolist()]
        if any(expert >= 0 for expert in found.expert):
            columns.append(found.expert.tolist())
        return f"mmkn.NeuronSet({', '.join(map(str, columns))})"


def _literal(value: float) -> str:
    """Return the shortest Python float that is the same float32."""
    return repr(float(str(np.float32(value))))
