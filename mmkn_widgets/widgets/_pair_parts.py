"""Own and shared neurons of two studies: sets, tables, the code that gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import bad_argument
from ._choice import kept_ids, quantile
from ._explorer_code import setup_code
from ._fallback import Account
from ._pair_traits import PARTS, SIDES, PairTraits

if TYPE_CHECKING:
    import pandas as pd

    from ..attribution import NeuronSet
    from .protocols import StudyLike

__all__ = ["PairParts", "pair_code", "same_model"]


def same_model(a: StudyLike, b: StudyLike) -> None:
    """Refuse studies of two models.

    Raises
    ------
    BadArgument
        If neither the models nor their weights are the same, or the scores differ in shape.
    """
    one, two = a.model, b.model
    hashes = [getattr(model, "weights_hash", None) for model in (one, two)]
    if one is not two and (hashes[0] is None or hashes[0] != hashes[1]):
        raise bad_argument(
            "study_b",
            f"a study of {two.name!r} beside one of {one.name!r}",
            "two studies of one model: neurons of different models have nothing to share",
        )
    shapes = [study.evidence["difference"].shape for study in (a, b)]
    if shapes[0] != shapes[1]:
        raise bad_argument("study_b", f"scores of shape {shapes[1]}", f"shape {shapes[0]}")


def pair_code(a: StudyLike, b: StudyLike) -> str:
    """Return Python lines that make `study_a` and `study_b`; the model is loaded once."""
    first, second = setup_code(a).splitlines(), setup_code(b).splitlines()
    head = {line for line in first if line.startswith(("import ", "model = "))}
    rest = [line for line in second if line and line not in head]
    name = [
        [line.replace("study = ", f"study_{side} = ", 1) for line in lines]
        for side, lines in zip(SIDES, (first, rest), strict=True)
    ]
    return "\n".join([*name[0], *name[1]])


class PairParts(PairTraits):
    """A mixin of `ConceptPair`: which neurons are whose."""

    study_a: StudyLike
    study_b: StudyLike
    _scores: dict[str, tuple[np.ndarray, np.ndarray]]

    def thresholds_of(self, side: str) -> tuple[float, float]:
        """Return the two absolute thresholds in force of ``"a"`` or ``"b"``, in any mode."""
        names = ("quantile_d", "quantile_g")
        if getattr(self, f"{side}_mode") != "quantile":
            names = ("threshold_d", "threshold_g")
            return tuple(float(np.float32(getattr(self, f"{side}_{n}"))) for n in names)  # type: ignore[return-value]
        d, g = self._scores[side]
        valid = np.isfinite(d) & np.isfinite(g)
        first, second = (getattr(self, f"{side}_{n}") for n in names)
        return quantile(d[valid], first), quantile(g[valid], second)

    def kept_of(self, side: str) -> np.ndarray:
        """Return flat ids of what ``"a"`` or ``"b"`` keeps, best GradCAM first."""
        return kept_ids(*self._scores[side], *self.thresholds_of(side))

    def ids_of(self, part: str) -> np.ndarray:
        """Return flat ids of a part, best GradCAM first (of ``"shared"``: by the first concept)."""
        if part not in PARTS:
            raise bad_argument("part", part, "one of " + ", ".join(PARTS))
        a, b = self.kept_of("a"), self.kept_of("b")
        if part == "b":
            return b[~np.isin(b, a)]
        return a[np.isin(a, b) if part == "shared" else ~np.isin(a, b)]

    def neurons_of(self, part: str) -> NeuronSet:
        """Return the neurons of a part: ``"a"``, ``"shared"`` or ``"b"``."""
        score = self._scores["b" if part == "b" else "a"][1]
        return self._as_set(self.ids_of(part), score, part)

    @property
    def own_a(self) -> NeuronSet:
        """Neurons of the first concept alone."""
        return self.neurons_of("a")

    @property
    def shared(self) -> NeuronSet:
        """Neurons of both concepts."""
        return self.neurons_of("shared")

    @property
    def own_b(self) -> NeuronSet:
        """Neurons of the second concept alone."""
        return self.neurons_of("b")

    def _as_set(self, ids: np.ndarray, score: np.ndarray | None = None, part: str = "") -> Any:
        from ..attribution import NeuronSet

        width = int(self.shape[1])
        place = np.asarray([self.rows[int(i) // width] for i in ids], int).reshape(-1, 2)
        made = {
            "method": "pair",
            "part": part,
            "concepts": [self.a_concept, self.b_concept],
            "thresholds": [list(self.thresholds_of(side)) for side in SIDES],
        }
        values = None if score is None else score.ravel()[ids]
        return NeuronSet(place[:, 0], ids % width, place[:, 1], values, provenance=made)

    def _account(self) -> Account:
        """Return what the static view says."""
        from ._static_picture import with_map

        sets = {part: self.ids_of(part) for part in PARTS}
        names = {"a": f"own of {self.a_concept}", "shared": "shared"}
        names["b"] = f"own of {self.b_concept}"
        pictures, lines = [], [f"{names[p]}: {len(ids)} neurons" for p, ids in sets.items()]
        for side in SIDES:
            word = getattr(self, f"{side}_concept")
            kept = self.kept_of(side)
            picture = with_map(self, kept, f"{side}_") or getattr(self, f"{side}_picture")
            pictures.append((f"picture with {word}", picture))
            for label in ("before", "after", "random"):
                if said := getattr(self, f"{side}_caption_{label}"):
                    lines.append(f"{word}, {label}: {said}")
        table = []
        for part, ids in sets.items():
            for i in ids[:4]:
                layer, expert = self.rows[int(i) // self.shape[1]]
                place = (
                    (layer, i % self.shape[1]) if expert < 0 else (layer, expert, i % self.shape[1])
                )
                scores = [f"{values.ravel()[i]:.3g}" for s in SIDES for values in self._scores[s]]
                table.append((names[part], "L" + "·".join(map(str, place)), *scores))
        axes = [f"{n} {getattr(self, f'{s}_concept')}" for s in SIDES for n in ("D", "GradCAM")]
        head = f"{self.a_concept} and {self.b_concept} in {self.facts.get('model', '')}"
        return Account(head, pictures, lines, ("part", "neuron", *axes), table)

    def to_dataframe(self) -> pd.DataFrame:
        """Return every neuron of either concept: part, place, both scores of both concepts."""
        import pandas as pd

        ids = np.concatenate([self.ids_of(part) for part in PARTS]).astype(np.int64)
        part = np.repeat(PARTS, [len(self.ids_of(part)) for part in PARTS])
        place = np.asarray([self.rows[int(i) // self.shape[1]] for i in ids], int).reshape(-1, 2)
        table: dict[str, Any] = {
            "part": part,
            "layer": place[:, 0],
            "expert": place[:, 1],
            "index": ids % self.shape[1],
        }
        for side in SIDES:
            for name, values in zip(("difference", "gradcam"), self._scores[side], strict=True):
                table[f"{name}_{side}"] = values.ravel()[ids]
        return pd.DataFrame(table)
