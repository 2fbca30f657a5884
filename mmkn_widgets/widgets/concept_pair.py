"""Two concepts side by side: the neurons of each alone, and those of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import traitlets as t

from ..attribution import best_by_both, default_thresholds, nothing_to_find, random_like
from ..core import NeuronSet, bad_argument
from ..interventions import Ablation
from ._base import Answer, Call, bundle, request
from .changes import Changes, Chosen, Following, finite
from .code import Recipe, caption_line, pair_code
from .encode import int32_array, int32_bytes
from .look import Beyond, Look, facts_of, scene_lines
from .own import OwnPictures, is_own
from .saved import Pace, Saved
from .selection import Selection
from .traits import (
    PART_EFFECTS,
    CaptionTraits,
    CutTraits,
    EvidenceTraits,
    ExplorerTraits,
    PictureTraits,
    SceneTraits,
    WordTraits,
    choice,
    flag_of,
    json,
    late,
    like,
    text,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from ..models import Worker
    from .protocols import ModelLike, StudyLike

__all__ = ["PARTS", "SIDES", "ConceptPair", "Side", "compare"]

SIDES = ("a", "b")
#: neurons of the first concept alone, of both, of the second alone
PARTS = ("a", "shared", "b")
#: maps and words of so many neurons travel at once
_PREFETCHED = 1000
_SAVED_SCENES, _WORDS_FIRST = 8, 128
_SCENE = ("picture", "grid", "maps", "map_scale", "map_offset", "map_sign", "caption_before")


class Side(CutTraits):
    """One of the two concepts: its study, its thresholds, what is shown of it.

    Its traits are on the wire with `a_` or `b_` before their names.

    Parameters
    ----------
    study : StudyLike
    thresholds : pair of float, optional
        By default the pair that keeps the default set.

    Attributes
    ----------
    study : StudyLike
    look : Look
    selection : Selection
    """

    concept = like(CaptionTraits.concept)
    concept_forms = like(WordTraits.concept_forms)
    labels = like(EvidenceTraits.labels)
    difference = like(EvidenceTraits.difference)
    gradcam = like(EvidenceTraits.gradcam)
    activation = like(EvidenceTraits.activation)
    words = like(WordTraits.words)
    scene = like(SceneTraits.scene)
    scenes = like(SceneTraits.scenes)
    thumbnails = like(SceneTraits.thumbnails)
    picture = like(PictureTraits.picture)
    grid = like(PictureTraits.grid)
    maps = like(PictureTraits.maps)
    map_scale = like(PictureTraits.map_scale)
    map_offset = like(PictureTraits.map_offset)
    map_sign = like(PictureTraits.map_sign)
    caption_before = like(CaptionTraits.caption_before)
    caption_after = like(ExplorerTraits.caption_after)
    caption_random = late(text("", "greedy, with as many random neurons of the same layers off"))

    unchecked: ClassVar[tuple[int, ...]] = ()
    rows_off: ClassVar[tuple[int, ...]] = ()
    picked: ClassVar[None] = None

    def __init__(self, study: StudyLike, thresholds: tuple[float, float] | None = None) -> None:
        super().__init__()
        self.study = study
        self.on_read: Callable[[], None] = lambda: None  # the pair's, once it is made
        self.look = Look(study)
        self.selection = Selection(study.evidence, self.look.index, self)
        d, g = self.selection.difference, self.selection.gradcam
        cuts = (
            default_thresholds(d, g, nothing=bool(nothing_to_find(study.evidence)))
            if thresholds is None
            else thresholds
        )
        shown = self.look.evidence() | self.look.concept() | {"threshold_d": cuts[0]}
        names = [str(scene.id) for scene in study.scenes]
        own = [is_own(scene) for scene in study.scenes]
        more = {"scenes": scene_lines(names, own=own), "thumbnails": self.look.thumbnails()}
        for name, value in {**shown, "threshold_g": cuts[1], **more}.items():
            if self.has_trait(name):
                setattr(self, name, value)

    @property
    def thresholds(self) -> tuple[float, float]:
        """The two absolute thresholds in force, in any mode."""
        return self.selection.thresholds

    @property
    def kept(self) -> np.ndarray:
        """Flat ids of what passes both, best GradCAM first."""
        return self.selection.kept

    @property
    def neurons(self) -> NeuronSet:
        """What passes both, best GradCAM first."""
        return self.selection.neurons

    def seen(self, scene: int, ids: np.ndarray) -> dict[str, Any]:
        """Return the traits of one scene, with the maps of neurons."""
        made = self.look.scene(scene, ids)
        return {name: made[name] for name in _SCENE}

    def caption(self, scene: int, cancel: Any) -> str:
        """Write a scene's caption with what is active here."""
        image, prompt = self.study.scenes[scene].image, self.study.options["prompt"]
        return str(self.study.model.caption(image, prompt, cancel=cancel))

    def set_line(self, scene: int, **changes: str) -> None:
        """Change a scene's line in the strip."""
        lines = [dict(line) for line in self.scenes]
        if lines[scene] | changes != lines[scene]:
            lines[scene].update(changes)
            self.scenes = lines

    def show(self, values: dict[str, Any]) -> None:
        """Set traits."""
        for name, value in values.items():
            setattr(self, name, value)

    def catch_up(self) -> None:
        """Bring the captions up to date: a trait that shows one is about to be read."""
        self.on_read()


#: on the wire: every trait of a side with the side before its name
_SIDE_TRAITS: dict[str, Any] = {
    name: trait for name, trait in Side.class_traits().items() if flag_of(trait)
}
_Sides: Any = t.MetaHasTraits(
    "_Sides",
    (t.HasTraits,),
    {
        f"{side}_{name}": like(_SIDE_TRAITS[name], of=side)
        for side in SIDES
        for name in _SIDE_TRAITS
    },
)


class PairTraits(_Sides):  # type: ignore[misc]
    """What both concepts share."""

    shape = like(EvidenceTraits.shape)
    rows = like(EvidenceTraits.rows)
    facts = like(ExplorerTraits.facts)
    map_ids = like(WordTraits.map_ids)
    part = choice(PARTS, "which neurons are on the pictures: a, shared or b", "shared")
    selected = like(EvidenceTraits.selected)
    opacity = like(PictureTraits.opacity)
    colormap = like(PictureTraits.colormap)
    signed = like(PictureTraits.signed)
    part_effects = json(
        [], "part, neurons, and suppression (value, random) of a and of b", PART_EFFECTS
    )
    setup_code = text("", "Python lines that make `study_a` and `study_b`")


class ConceptPair(PairTraits, Following):
    """The neurons of two concepts in one model: own of the first, shared, own of the second.

    Each concept keeps its own thresholds, scene and caption. A click ablates one of the three
    parts for every view of the model and writes both captions again, beside those with as many
    random neurons of the same layers off.

    Parameters
    ----------
    study_a, study_b : Study or Explorer
        Of one model; their scenes may differ. Of an Explorer its thresholds are taken over.
    seed : int
        Of the random control.
    **traits
        Start values of traits.

    Attributes
    ----------
    a, b : Side
        The two concepts, each with its study and its traits: ``pair.a.threshold_d``,
        ``pair.b.scene``. On the wire, and for ``traitlets.link``, they are ``a_threshold_d``,
        ``b_scene`` and so on.
    own_a, shared, own_b : NeuronSet
        As the thresholds are now.
    part : {"a", "shared", "b"}
        Which neurons are on the pictures and in the table.

    Raises
    ------
    BadArgument
        If the studies are of two models.

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model = mmkn.load_model("pocket")
    >>> world = mmkn.datasets.pocket_world("val", 60)
    >>> car, bus = (mmkn.study(model, w, world.with_concept(w, 2)) for w in ("car", "bus"))
    >>> pair = mmkn.compare(car, bus)
    >>> len(pair.own_a) + len(pair.shared) == len(car.neurons())
    True
    """

    _esm: ClassVar[Any] = bundle("concept_pair")
    owned: ClassVar[dict[str, type]] = {"changes": Changes, "beyond": Beyond, "own": OwnPictures}

    def __init__(self, study_a: Any, study_b: Any, *, seed: int = 0, **traits: Any) -> None:
        self._seed, self._loading = int(seed), True
        self.a, self.b = (
            Side(_study_of(given, name), _cuts_of(given))
            for given, name in ((study_a, "study_a"), (study_b, "study_b"))
        )
        same_model(self.a.study, self.b.study)
        self._model: ModelLike | None = self.a.study.model
        self.changes = Changes(self, self.model)
        self.beyond = Beyond(self)
        self.own = OwnPictures(self)
        self.prefetched = _prefetched(self.a.selection, self.b.selection)
        super().__init__()
        evidence = self.a.look.evidence()
        with self.hold_sync():
            self._show({name: evidence[name] for name in ("shape", "rows")})
            for name, side in self._sides():
                side.show(side.seen(0, self.prefetched))
                side.words = side.look.words(self.prefetched[:_WORDS_FIRST])
                side.set_line(0, before=side.caption_before)
                self._mirror(name, side)
            self._show(
                {
                    "map_ids": int32_bytes(self.prefetched),
                    "facts": facts_of(self.model, self._n_scenes(), "", None),
                    "signed": True,  # as in the Explorer: raw means of both signs cancel
                    "setup_code": pair_code(self.a.study, self.b.study, self.own.folder),
                    "part": next((p for p in ("shared", *PARTS) if len(self.ids_of(p))), "shared"),
                }
            )
            self._show_active()
        self._loading = False
        for name, value in traits.items():
            if not self.has_trait(name):
                raise bad_argument("traits", name, "a trait of ConceptPair, such as a_threshold_d")
            setattr(self, name, value)
        self.follow(self.model.interventions)

    def _n_scenes(self) -> int:
        return len(self.a.study.scenes) + len(self.b.study.scenes)

    def _sides(self) -> list[tuple[str, Side]]:
        return [("a", self.a), ("b", self.b)]

    def side(self, name: str) -> Side:
        """Return a side by its name, "a" or "b"."""
        if name not in SIDES:
            raise bad_argument("side", name, "a or b")
        return self.a if name == "a" else self.b

    def _mirror(self, name: str, side: Side) -> None:
        """Keep a side's traits and those on the wire the same."""
        side.on_read = self.catch_up
        for trait in sorted(_SIDE_TRAITS, key="scene".__eq__):  # a scene after the scenes
            setattr(self, f"{name}_{trait}", getattr(side, trait))

        def travel(change: Any) -> None:
            setattr(self, f"{name}_{change.name}", change.new)

        side.observe(travel, list(_SIDE_TRAITS))

    @t.observe(*(f"{side}_{name}" for side in SIDES for name in _SIDE_TRAITS))
    def _from_wire(self, change: Any) -> None:
        side, _, name = change.name.partition("_")
        setattr(self.side(side), name, change.new)
        if name == "scene" and not self._loading:
            self._submit(self._guarded(lambda: self._load_scene(self.side(side)), f"{side}_scene"))

    @property
    def study_a(self) -> StudyLike:
        """The first concept's study."""
        return self.a.study

    @property
    def study_b(self) -> StudyLike:
        """The second concept's study."""
        return self.b.study

    @property
    def model(self) -> ModelLike:
        """The model of both studies.

        Raises
        ------
        BadArgument
            If the pair was closed: it has let go of the studies and the model.
        """
        if self._model is None:
            raise bad_argument("model", "a closed ConceptPair", "one that is open: make it again")
        return self._model

    @property
    def _worker(self) -> Worker | None:
        return None if self._model is None else self._model.worker

    # -- whose neurons -----------------------------------------------------------------------

    def ids_of(self, part: str) -> np.ndarray:
        """Return flat ids of a part, best GradCAM first (of ``"shared"``: by the first concept)."""
        if part not in PARTS:
            raise bad_argument("part", part, "one of " + ", ".join(PARTS))
        a, b = self.a.kept, self.b.kept
        if part == "b":
            return b[~np.isin(b, a)]
        return a[np.isin(a, b) if part == "shared" else ~np.isin(a, b)]

    def neurons_of(self, part: str) -> NeuronSet:
        """Return the neurons of a part: ``"a"``, ``"shared"`` or ``"b"``."""
        return self._set_of(self.ids_of(part), part)

    def _set_of(self, ids: np.ndarray, part: str) -> NeuronSet:
        chosen = (self.b if part == "b" else self.a).selection
        cuts = {word: side.selection.described() for word, side in self._words().items()}
        return chosen.set_of(ids, method="pair", part=part, cuts=cuts)

    def _words(self) -> dict[str, Side]:
        """Return the sides by what they are called; two studies of one word are told apart."""
        a, b = self.a.concept, self.b.concept
        if a == b:
            a, b = f"{a} (first)", f"{b} (second)"
        return {a: self.a, b: self.b}

    def _names(self) -> dict[str, str]:
        a, b = self._words()
        return {"a": f"own of {a}", "shared": f"shared by {a} and {b}", "b": f"own of {b}"}

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

    def plot(self, *, ax: Axes | None = None, figsize: tuple[float, float] | None = None) -> Axes:
        """Draw both concepts' scores of every neuron on matplotlib Axes, the shared ones marked.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
        figsize : (float, float), optional
            Inches.

        Returns
        -------
        matplotlib.axes.Axes
            See `mmkn_widgets.studies.plot_compared`.
        """
        from ..studies import plot_compared

        a, b = self.a, self.b
        return plot_compared(
            cast("Any", a.study), cast("Any", b.study), a.neurons, b.neurons, ax=ax, figsize=figsize
        )

    def to_dataframe(self, *, words: bool = False) -> pd.DataFrame:
        """Return every neuron of either concept, with what it does for both.

        Parameters
        ----------
        words : bool
            Decode them too: the words of the side on which a neuron acts for either concept.

        Returns
        -------
        pandas.DataFrame
            ``part``, ``layer``, ``expert``, ``index``, and with ``_a`` and ``_b`` behind the name
            ``difference``, ``gradcam``, ``activation`` (the mean where the word is predicted; its
            sign is that side) and ``words``.
        """
        import pandas as pd

        parts = {part: self.ids_of(part) for part in PARTS}
        ids = np.concatenate(list(parts.values())).astype(np.int64)
        neurons = self.a.look.index.neurons(ids)
        table: dict[str, Any] = {
            "part": np.repeat(PARTS, [len(found) for found in parts.values()]),
            "layer": neurons.layer,
            "expert": neurons.expert,
            "index": neurons.index,
        }
        for name, side in self._sides():
            table[f"difference_{name}"] = side.selection.difference.ravel()[ids]
            table[f"gradcam_{name}"] = side.selection.gradcam.ravel()[ids]
            acts = side.selection.activation
            table[f"activation_{name}"] = None if acts is None else acts.ravel()[ids]
            if words:
                table[f"words_{name}"] = [" ".join(line) for line in side.look.words(ids)]
        return pd.DataFrame(table)

    # -- what acts, and both captions --------------------------------------------------------

    def chosen(self, call: Call) -> Chosen:
        """Return the neurons that a click means: those that the page sends, else the part's."""
        part = call.text("part", self.part)
        mine = self.ids_of(part)
        ids = self.a.look.index.checked(int32_array(call.data)) if call.buffers else mine
        if not len(ids):
            raise bad_argument("part", part, "a part with neurons: lower a threshold")
        a, b = (side.selection.python(f"study_{name}") for name, side in self._sides())
        made = {"a": f"{a} - {b}", "shared": f"{a} & {b}", "b": f"{b} - {a}"}[part]
        if not np.array_equal(np.sort(ids), np.sort(mine)):
            places = [self.a.selection.place(int(i)) for i in np.sort(ids)]
            made = "[" + ", ".join(map(str, places)) + "]"
        return Chosen(self._set_of(ids, part), Recipe(made), after=self._names()[part])

    def reference(self, mode: str) -> tuple[Any, str]:
        """Refuse: a part is set to zero."""
        raise bad_argument("mode", mode, "'zero' or 'scale'")

    def rewrite(self, call: Call | None) -> Answer:
        """Write both captions with what is active, then the controls; show each as it comes."""
        self._behind = False
        self._show_active()
        cancel = self._leaving if call is None else call.cancel
        with self.hold_sync():
            for _, side in self._sides():
                side.show({"caption_after": "", "caption_random": ""})
        for write in (self._written, self._written_control):
            for _, side in self._sides():
                cancel.raise_if_cancelled()
                scene = side.scene
                made = write(side, scene, cancel)
                if scene == side.scene:
                    side.show(made)
        return {}

    def follow_up(self) -> None:
        """Write the captions with what others made active."""
        self.rewrite(None)

    def _show_active(self) -> None:
        self.ablation = self.changes.state(self._code_inside, "study_a.model")

    def _code_inside(self) -> list[str]:
        folder = self.own.folder
        return [caption_line(s.study, s.scene, f"study_{k}", folder) for k, s in self._sides()]

    def own_scenes(self) -> list[tuple[Any, Any]]:
        """Return the pictures of one's own that the code speaks of, each with its concept."""
        studies = [side.study for _, side in self._sides()]
        return [(scene, s.concept) for s in studies for scene in s.scenes if is_own(scene)]

    def _written(self, side: Side, scene: int, cancel: Any) -> dict[str, Any]:
        active = self.model.interventions.active
        after = side.caption(scene, cancel) if active else ""
        side.set_line(scene, after=after)
        return {"caption_after": after}

    def _written_control(self, side: Side, scene: int, cancel: Any) -> dict[str, Any]:
        """Write the caption with as many random neurons off, in a clean inner scope."""
        now = self.changes.now
        if not isinstance(now, Ablation):
            return {"caption_random": ""}
        drawn = random_like(self.model, self.changes.neurons_of(now), self._seed)
        how = {"scale": now.scale} if now.mode == "scale" else {}
        with self.model.interventions.suspended(), self.model.ablate(drawn, now.mode, **how):
            return {"caption_random": side.caption(scene, cancel)}

    def ablate(self, part: str | None = None) -> tuple[str, str]:
        """Ablate a part (by default the shown one) as the button does; return both captions."""
        if part is not None:
            self.part = part
        self._submit(lambda: self.changes.ask_ablate(Call("", "ablate", {}, []))).result()
        return self.a.caption_after, self.b.caption_after

    def restore(self) -> None:
        """Take back everything that is active on the model, as the button does."""
        self._submit(lambda: self.changes.ask_restore(Call("", "restore", {}, []))).result()

    # -- what the page asks to see -----------------------------------------------------------

    def _of_scene(self, side: Side, scene: int) -> dict[str, Any]:
        """Return all that a scene of a side brings."""
        return {
            **side.seen(scene, self.prefetched),
            **self._written(side, scene, self._leaving),
            **self._written_control(side, scene, self._leaving),
        }

    def _load_scene(self, side: Side) -> None:
        scene = side.scene
        values = self._of_scene(side, scene)
        if scene == side.scene:
            with self.hold_sync():
                side.show(values)
                side.set_line(scene, before=side.caption_before)
                self._show_active()

    def looked(self, call: Call) -> tuple[Look, int]:
        """Return what a request for maps looks at."""
        side = self.side(call.text("side"))
        return side.look, call.whole("scene", side.scene, beyond=side.look.n_scenes)

    def words_of(self, ids: np.ndarray, call: Call) -> list[list[str]]:
        """Decode each neuron with its sign for one of the concepts."""
        return self.side(call.text("side")).look.words(self.a.look.index.checked(ids))

    @request("evaluate", stage="measuring")
    def _ask_evaluate(self, call: Call) -> Answer:
        """Measure how far each part suppresses either concept, beside random neurons."""
        progress, found = self._progress(), []
        before: dict[str, dict[Any, str]] = {side: {} for side in SIDES}
        names = self._names()
        for part in PARTS:
            neurons = self.neurons_of(part)
            line: dict[str, Any] = {"part": part, "neurons": len(neurons), "a": None, "b": None}
            for key, side in self._sides() if len(neurons) else ():
                scenes = list(side.study.scored)
                said = names[part]
                effect = side.study.evaluate(
                    neurons,
                    scenes,
                    (),
                    metrics=(),
                    before=before[key],
                    progress=lambda stage, k, n, said=said: progress(f"{said}: {stage}", k, n),
                    cancel=call.cancel,
                )
                if effect.suppression is not None:
                    random = effect.random_control.get("mean")
                    line[key] = {
                        "value": float(effect.suppression),
                        "random": None if random is None else finite(random),
                        "scenes": len(scenes),
                    }
            found.append(line)
        self.part_effects = found
        return {}

    # -- without a kernel, and the end -------------------------------------------------------

    def saved_traits(self, pace: Pace) -> Saved:
        """Return what another scene brings, for a page without a kernel."""

        def scenes_of(name: str, side: Side) -> dict[int, dict[str, Any]]:
            found = {}
            scenes = range(min(max(_SAVED_SCENES, side.scene + 1), side.look.n_scenes))
            for scene in pace.each(scenes):
                seen = self._of_scene(side, scene)
                found[scene] = {f"{name}_{trait}": value for trait, value in seen.items()}
            return found

        def made() -> Saved:
            return Saved({f"{name}_scene": scenes_of(name, s) for name, s in self._sides()})

        return self._submit(made).result()

    @property
    def title(self) -> str:
        """What a saved page is called."""
        return f"{self.a.concept} and {self.b.concept}"

    def account(self) -> Any:
        """Return what the static view says."""
        from .html import Account, with_map

        sets = {part: self.ids_of(part) for part in PARTS}
        names = {**self._names(), "shared": "shared"}
        pictures, lines = [], [f"{names[p]}: {len(ids)} neurons" for p, ids in sets.items()]
        for word, side in self._words().items():
            covered = with_map(side, self.map_ids, side.kept, signed=self.signed)
            pictures.append((f"picture with {word}", covered or side.picture))
            said = (
                ("before", side.caption_before),
                ("after", side.caption_after),
                ("random", side.caption_random),
            )
            lines += [f"{word}, {label}: {caption}" for label, caption in said if caption]
        table = [
            (
                names[part],
                self.a.selection.name(int(i)),
                *(
                    f"{scores.ravel()[i]:.3g}"
                    for _, s in self._sides()
                    for scores in (s.selection.difference, s.selection.gradcam)
                ),
            )
            for part, ids in sets.items()
            for i in ids[:4]
        ]
        axes = [f"{score} {word}" for word in self._words() for score in ("D", "GradCAM")]
        head = f"{self.title} in {self.facts['model']}"
        return Account(head, pictures, lines, ("part", "neuron", *axes), table)

    def close(self) -> None:
        """Take back the own ablation, cancel what runs, let go of the studies and the model."""
        if self._closed or self._model is None:
            return
        self.unfollow()
        self.changes.forget()
        super().close()
        self._model = None
        del self.a, self.b, self.changes, self.beyond, self.own


def compare(study_a: Any, study_b: Any, **options: Any) -> ConceptPair:
    """Show two concepts of one model side by side: shared and own neurons.

    Parameters
    ----------
    study_a, study_b : Study or Explorer
    **options
        Of `ConceptPair`.

    Returns
    -------
    ConceptPair

    Examples
    --------
    >>> import mmkn_widgets as mmkn
    >>> model, val = mmkn.load_model("pocket"), mmkn.datasets.pocket_world("val", 60)
    >>> car, bus = (mmkn.study(model, w, val.with_concept(w, 1)) for w in ("car", "bus"))
    >>> pair = compare(car, bus)
    >>> pair.a.concept, pair.b.concept
    ('car', 'bus')
    """
    return ConceptPair(study_a, study_b, **options)


def same_model(a: StudyLike, b: StudyLike) -> None:
    """Refuse studies of two models.

    Raises
    ------
    BadArgument
        If neither the models nor their weights are the same, or the scores differ in shape.
    """
    one, two = a.model, b.model
    if one is not two and one.weights_hash != two.weights_hash:
        raise bad_argument(
            "study_b",
            f"a study of {two.name!r} beside one of {one.name!r}",
            "two studies of one model: neurons of different models have nothing to share",
        )
    shapes = [study.evidence["difference"].shape for study in (a, b)]
    if shapes[0] != shapes[1]:
        raise bad_argument("study_b", f"scores of shape {shapes[1]}", f"shape {shapes[0]}")


def _study_of(given: Any, name: str) -> StudyLike:
    study: StudyLike = given.study if hasattr(given, "study") else given
    if not hasattr(study, "evidence") or not hasattr(study, "model"):
        raise bad_argument(name, type(given).__name__, "a Study, or an Explorer of one")
    return study


def _cuts_of(given: Any) -> tuple[float, float] | None:
    """Return the thresholds of an Explorer, None for a study."""
    return given.thresholds if hasattr(given, "study") else None


def _prefetched(a: Selection, b: Selection) -> np.ndarray:
    """Return the neurons whose maps travel: the best of both concepts, in turn; int32."""
    best = [best_by_both(one.difference, one.gradcam, _PREFETCHED) for one in (a, b)]
    mixed = np.stack([line[: min(map(len, best))] for line in best], 1).ravel()
    _, first = np.unique(mixed, return_index=True)
    return mixed[np.sort(first)][:_PREFETCHED].astype(np.int32)
