"""A task for a class: silence a word with few neurons, judged on scenes that nobody looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..attribution import random_uniform
from ..core import (
    NeuronSet,
    NotSupported,
    as_concept,
    bad_argument,
    html_card,
    html_table,
    real_number,
    whole_number,
)
from ..datasets import as_dataset, select
from .atlas import open_atlas
from .judged import truths
from .search import search_thresholds
from .study import Study, study

if TYPE_CHECKING:
    import pandas as pd

    from ..core import Progress
    from ..datasets import Scene, SceneDataset
    from ..models import MultimodalModel

__all__ = ["BUDGETS", "Challenge", "Try", "challenge_score"]

#: of which a task's is drawn: with fewer, some of the pocket model's concepts cannot be silenced
BUDGETS = (5, 6, 7, 8)
_COLUMNS = ("size", "suppression", "retention", "substitution", "random", "score")


def challenge_score(suppression: float, retention: float | None, size: int, budget: int) -> float:
    """Return the points of a neuron set, from 0 to 1.

    ``min(suppression, retention) - max(0, size - budget) / budget``, and never below 0: the word
    has to go *and* the rest has to stay, and a set twice as large as the budget has no points.

    Parameters
    ----------
    suppression : float
        Share of the captions that lose the word.
    retention : float or None
        Share of the other objects that are still named; None, where nothing else was named, takes
        nothing away.
    size : int
        How many neurons are silenced.
    budget : int
        How many may be, at least 1.

    Raises
    ------
    BadArgument
        If a share is not from 0 to 1, or a number is not whole.

    Examples
    --------
    >>> challenge_score(0.9, 1.0, size=5, budget=5), challenge_score(0.9, 0.5, size=3, budget=5)
    (0.9, 0.5)
    >>> challenge_score(1.0, 1.0, size=6, budget=5)
    0.8
    """
    gone = real_number("suppression", suppression, lowest=0, highest=1)
    stays = 1.0 if retention is None else real_number("retention", retention, lowest=0, highest=1)
    over = max(0, whole_number("size", size, lowest=0) - whole_number("budget", budget, lowest=1))
    return max(0.0, min(gone, stays) - over / budget)


@dataclass(frozen=True)
class Try:
    """What silencing a neuron set does on the scenes of the judge.

    Attributes
    ----------
    neurons : NeuronSet
    suppression, random : float
        Share of the captions that lose the word: without these neurons, and without as many random
        neurons of the same layers (mean over draws).
    retention, substitution : float or None
        The smaller of the two fields of `mmkn_widgets.evaluation.retention`; share of captions that
        newly name an object that is not there. None where there was nothing to count.
    budget : int

    Examples
    --------
    >>> one = Try(mmkn.NeuronSet([4, 4], [7, 9]), 0.75, 1.0, 0.5, 0.0, budget=5)
    >>> one.size, one.score
    (2, 0.75)
    """

    neurons: NeuronSet
    suppression: float
    retention: float | None
    substitution: float | None
    random: float
    budget: int

    @property
    def size(self) -> int:
        """How many neurons."""
        return len(self.neurons)

    @property
    def score(self) -> float:
        """The points: see `challenge_score`."""
        return challenge_score(self.suppression, self.retention, self.size, self.budget)

    def __repr__(self) -> str:
        figures = (f"{name} {_shown(value)}" for name, value in self.figures().items())
        return f"<Try: {', '.join(figures)}>"

    def _repr_html_(self) -> str:
        return html_table(_COLUMNS, [list(self.figures().values())])

    def figures(self) -> dict[str, Any]:
        """Return size, suppression, retention, substitution, random and score, by name."""
        return {
            "size": self.size,
            "suppression": self.suppression,
            "retention": self.retention,
            "substitution": self.substitution,
            "random": self.random,
            "score": self.score,
        }


class Challenge:
    """Given a word and a budget: find the few neurons that silence it and spare the rest.

    Look at `study` with everything that the package has, choose neurons or two thresholds, and
    `submit` them. They are scored (`challenge_score`) on scenes that the study has not seen. The
    same seed gives the same task. What the package's own methods reach is measured when
    `reveal` is called and is nowhere before; then the task is over.

    Parameters
    ----------
    model : MultimodalModel
    concept : str or Concept, optional
        By default one of the categories of `scenes` is drawn.
    budget : int, optional
        How many neurons may be silenced; by default 5 to 8, drawn.
    seed : int
        Of the draw of concept, budget and scenes, from 0.
    scenes, test : SceneDataset, or what stands for one
        To look at, and to be judged by. They may be the same: a scene is in one of the two only.
    n_looked, n_judged : int
        Scenes with the concept, and as many without, to look at and to be judged by.
    n_random : int
        Draws of the random control of each try.
    progress : callable or bool, optional
        As in `study`.

    Attributes
    ----------
    study : Study
        To look at.
    without_concept : tuple of Scene
        To look at, without the concept.
    budget, seed : int

    Raises
    ------
    BadArgument
        If `scenes` or `test` is no data set, or has no scene with or without the concept, or none
        is left for the judge.

    Notes
    -----
    Every submission is judged on the same scenes, so that many of them fit these scenes by luck.
    The number of tries stands in the table for that reason.

    Examples
    --------
    >>> task = Challenge(mmkn.load_model("pocket"), seed=3, n_looked=4, n_judged=4, n_random=1)
    >>> task
    <Challenge 3: silence 'star' in pocket with at most 5 neurons; 0 tries>
    >>> task.submit(task.study.neurons(top=30)).score
    0.0
    >>> len(task.tries)
    1
    """

    def __init__(
        self,
        model: MultimodalModel,
        concept: Any = None,
        budget: int | None = None,
        seed: int = 0,
        *,
        scenes: Any = "pocket:val",
        test: Any = "pocket:test",
        n_looked: int = 16,
        n_judged: int = 24,
        n_random: int = 4,
        progress: Progress | bool | None = None,
    ) -> None:
        self.seed = whole_number("seed", seed, lowest=0)
        looked = whole_number("n_looked", n_looked, lowest=1)
        judged = whole_number("n_judged", n_judged, lowest=1)
        self._n_random = whole_number("n_random", n_random, lowest=1)
        shown, held = _data("scenes", scenes, concept), _data("test", test, concept)
        draw = np.random.default_rng(self.seed)
        # drawn also where it is given, so that a seed stands for the same scenes
        word = shown.categories[int(draw.integers(len(shown.categories)))]
        drawn = int(draw.choice(BUDGETS))
        self.concept = as_concept(word if concept is None else concept)
        self.budget = drawn if budget is None else whole_number("budget", budget, lowest=1)
        seen: set[tuple[str, int | str]] = set()
        first = _some(shown, self.concept, looked, draw, seen)
        self.without_concept = _some(shown, self.concept, looked, draw, seen, shows=False)
        self._judging = (
            _some(held, self.concept, judged, draw, seen, name="test"),
            _some(held, self.concept, judged, draw, seen, shows=False, name="test"),
        )
        self._given: dict[str, Any] = {
            **{"concept": concept, "budget": budget, "scenes": scenes, "test": test},
            **{"n_looked": looked, "n_judged": judged, "n_random": self._n_random},
        }
        self.study: Study = study(model, self.concept, first, progress=progress)
        self._before: dict[Any, str] = {}
        self._tries: list[Try] = []
        self._answers: dict[str, Try] | None = None

    @property
    def model(self) -> MultimodalModel:
        """The study's model."""
        return self.study.model

    @property
    def revealed(self) -> bool:
        """Whether the answers were shown, which ends the task."""
        return self._answers is not None

    @property
    def tries(self) -> pd.DataFrame:
        """What was submitted, in order: one row of figures for each."""
        import pandas as pd

        rows = [one.figures() for one in self._tries]
        return pd.DataFrame(rows, columns=_COLUMNS, index=range(1, len(rows) + 1)).rename_axis(
            "try"
        )

    @property
    def best(self) -> Try | None:
        """The submission with the highest score, of equal ones the smallest; None without any."""
        return min(self._tries, key=lambda one: (-one.score, one.size), default=None)

    @property
    def answers(self) -> dict[str, Try]:
        """What each of the package's methods chose, and what it is worth, by name.

        Raises
        ------
        BadArgument
            If they were not revealed yet.
        """
        if self._answers is None:
            raise bad_argument("answers", "a task that is not revealed", "one after reveal()")
        return dict(self._answers)

    @property
    def n_judged(self) -> tuple[int, int]:
        """How many scenes of the judge show the concept, and how many do not."""
        return len(self._judging[0]), len(self._judging[1])

    def again(
        self, seed: int | None = None, *, progress: Progress | bool | None = None
    ) -> Challenge:
        """Make another task of the same kind: what was given stays, what was drawn is drawn anew.

        Parameters
        ----------
        seed : int, optional
            By default the next one.
        progress : callable or bool, optional
            As in `study`.

        Returns
        -------
        Challenge
            Without a try. This one stays as it is.

        Examples
        --------
        >>> task = Challenge(mmkn.load_model("pocket"), seed=3, n_looked=2, n_judged=2, n_random=1)
        >>> task.again()
        <Challenge 4: silence 'ball' in pocket with at most 8 neurons; 0 tries>
        """
        chosen = self.seed + 1 if seed is None else seed
        return Challenge(self.model, seed=chosen, progress=progress, **self._given)

    def submit(
        self,
        neurons: Any = None,
        *,
        threshold_d: float | None = None,
        threshold_g: float | None = None,
        progress: Progress | bool | None = None,
    ) -> Try:
        """Have a choice judged on the scenes that were not looked at.

        Parameters
        ----------
        neurons : NeuronSet or sequence of (layer, index), optional
        threshold_d, threshold_g : float, optional
            Instead of neurons: those of the study that pass both, see `Study.neurons`.
        progress : callable or bool, optional
            As in `study`.

        Returns
        -------
        Try
            Also the last row of `tries`.

        Raises
        ------
        BadArgument
            If both or neither are given, no neuron is chosen, one does not exist in the model, or
            the model names the concept in none of the scenes of the judge.
        NotSupported
            If the answers were revealed: take another seed.
        """
        if self.revealed:
            raise NotSupported(
                f"submit: the answers of seed {self.seed} were shown; take another seed"
            )
        cuts = (threshold_d, threshold_g)
        if (neurons is None) is (cuts == (None, None)):
            raise bad_argument(
                "neurons, thresholds", (neurons, *cuts), "either neurons or thresholds"
            )
        if neurons is None:
            for name, value in zip(("threshold_d", "threshold_g"), cuts, strict=True):
                if value is not None:
                    real_number(name, value)
            chosen = self.study.neurons(*cuts)
        elif isinstance(neurons, NeuronSet):
            chosen = neurons
        else:
            pairs = [tuple(one) for one in neurons]
            if any(len(one) != 2 for one in pairs):
                raise bad_argument("neurons", neurons, "a NeuronSet or pairs (layer, index)")
            chosen = NeuronSet([one[0] for one in pairs], [one[1] for one in pairs])
        if not len(chosen):
            raise bad_argument("neurons", "no neuron", "at least one: lower a threshold")
        chosen.mask(self.model)  # says so if one does not exist
        self._tries.append(self._judge(chosen, progress))
        return self._tries[-1]

    def reveal(self, progress: Progress | bool | None = None) -> pd.DataFrame:
        """End the task: measure what chance and the package's methods reach, beside the best try.

        Parameters
        ----------
        progress : callable or bool, optional
            As in `study`.

        Returns
        -------
        pandas.DataFrame
            One row of figures for each, best first. ``random``: as many neurons as the budget,
            all equally likely. ``proposed thresholds``: `Study.propose_thresholds` within the
            budget, on the scenes to look at. ``default set``: `Study.neurons`, which knows of no
            budget. ``learned mask``: `Study.learned_mask` of the budget's size. ``brute force``:
            the first of the atlas' greedy order, where the atlas is of this model and concept.
        """
        import pandas as pd

        if self._answers is None:
            found = {name: self._judge(one, progress) for name, one in self._solved(progress)}
            self._answers = found
        ranked = self._ranked()
        figures = [one.figures() for one in ranked.values()]
        return pd.DataFrame(figures, columns=_COLUMNS, index=list(ranked))

    def _ranked(self) -> dict[str, Try]:
        """Return the answers and the best try by name, the highest score first."""
        rows = self.answers
        if self.best is not None:
            rows["yours, the best"] = self.best
        return dict(sorted(rows.items(), key=lambda row: (-row[1].score, row[1].size)))

    def _solved(self, progress: Progress | bool | None) -> list[tuple[str, NeuronSet]]:
        """Return what each method chooses, from the scenes to look at alone."""
        made, spared = self.study, self.without_concept
        search = search_thresholds(
            made,
            without_concept=spared,
            kept=range(1, self.budget + 1),
            n_random=0,
            seed=self.seed,
            progress=progress,
        )
        found = [
            ("random", random_uniform(self.model, self.budget, self.seed)),
            ("proposed thresholds", made.neurons(search.threshold_d, search.threshold_g)),
            ("default set", made.neurons()),
            ("learned mask", made.learned_mask(spared, size=self.budget)),
        ]
        atlas = open_atlas()
        known = atlas.attrs["weights"] == self.model.weights_hash
        if known and self.concept.word in atlas["concept"].values:
            order = truths(atlas, self.concept.word)["joint"][: self.budget]
            found.append(
                ("brute force", NeuronSet([at[0] for at in order], [at[1] for at in order]))
            )
        return found

    def _judge(self, chosen: NeuronSet, progress: Progress | bool | None) -> Try:
        effect = self.study.evaluate(
            chosen,
            *self._judging,
            n_random=self._n_random,
            seed=self.seed,
            metrics=(),
            before=self._before,
            prompt=self.study.options["prompt"],
            progress=progress,
        )
        if effect.suppression is None:
            raise bad_argument(
                "concept", self.concept.word,
                "a word that the model says of at least one of the scenes of the judge",
            )  # fmt: skip
        return Try(
            neurons=chosen,
            suppression=effect.suppression,
            retention=effect.retention["headline"],
            substitution=effect.substitution,
            random=float(effect.random_control["mean"] or 0.0),
            budget=self.budget,
        )

    def __repr__(self) -> str:
        n = len(self._tries)
        return (
            f"<Challenge {self.seed}: silence {self.concept.word!r} in {self.model.name} with at "
            f"most {self.budget} neurons; {n} {'try' if n == 1 else 'tries'}>"
        )

    def _repr_html_(self) -> str:
        facts = [
            ("silence", self.concept.word),
            ("in", self.model.name),
            ("with at most", f"{self.budget} neurons"),
            ("look at", f"{len(self.study.scenes)} scenes with it"),
            ("judged on", " + ".join(f"{len(part)}" for part in self._judging) + " others,"
             " with and without it"),
        ]  # fmt: skip
        return html_card("Challenge", facts, self.html_tables(), about=f"seed {self.seed}")

    def html_tables(self) -> str:
        """Return the tries as an HTML table, the last one first; below it what was revealed."""
        best = self.best
        rows = [
            [f"{k} · best" if one is best else f"{k}", *_score_first(one)]
            for k, one in enumerate(self._tries, 1)
        ]
        head = ("score", *_COLUMNS[:-1])
        below = (
            "score = min(suppression, retention) − (size − budget) / budget where over it. Not in "
            "it: substitution, captions that newly name what is not there; random, the suppression "
            "by as many random neurons"
        )
        made = html_table(("try", *head), rows[::-1], below) if rows else ""
        if self._answers is not None:
            shown = [[name, *_score_first(one)] for name, one in self._ranked().items()]
            made += html_table(("who", *head), shown)
        return made


def _shown(value: float | int | None) -> str:
    if value is None:
        return "–"
    return f"{value}" if isinstance(value, int) else f"{value:.2f}"


def _score_first(one: Try) -> list[Any]:
    """Return a row of a table: the score, and then what it is made of."""
    *rest, score = one.figures().values()
    return [score, *rest]


def _data(name: str, given: Any, concept: Any) -> SceneDataset:
    found = as_dataset(given, concept, name=name)
    if found is None:
        raise bad_argument(name, given, "a data set, or a data set's name such as 'pocket:val'")
    return found


def _some(
    data: SceneDataset,
    concept: Any,
    n: int,
    draw: np.random.Generator,
    seen: set[tuple[str, int | str]],
    *,
    shows: bool = True,
    name: str = "scenes",
) -> tuple[Scene, ...]:
    """Return `n` drawn scenes that were not drawn before, or as many as there are."""
    there = select(data, concept, masks=name == "scenes" and shows, shows=shows, name=name)
    found: list[Scene] = []
    for place in draw.permutation(len(there)):
        if len(found) == n:
            break
        scene = there[int(place)]
        if (scene.source, scene.id) not in seen:
            seen.add((scene.source, scene.id))
            found.append(scene)
    if not found:
        kind = "with" if shows else "without"
        raise bad_argument(
            name, data.name, f"a data set with scenes {kind} {concept.word!r} that are left"
        )
    return tuple(found)
