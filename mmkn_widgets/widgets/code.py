"""The Python lines that do without a widget what is on screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import NeuronIndex
from ..interventions import Ablation
from .own import is_own, picture_code, pictures_folder, scene_code

if TYPE_CHECKING:
    from ..interventions import Intervention
    from .protocols import StudyLike

__all__ = [
    "Recipe",
    "acting_code",
    "caption_line",
    "explicit",
    "found_code",
    "pair_code",
    "setup_code",
]

#: more neurons of somebody else's are not written out one by one
_MOST_PLACES = 2000


def setup_code(study: StudyLike, folder: Path | None = None) -> str:
    """Return code that loads the model and the scenes and makes the study again.

    Scenes that come from a named data set are found by their ids; pictures of one's own are read
    from `folder`, where `OwnPictures` writes them; others are left to the reader as ``scenes``.
    """
    from ..studies import DEFAULTS

    lines = ["import mmkn_widgets as mmkn", "", f"model = mmkn.load_model({study.model.name!r})"]
    where = pictures_folder() if folder is None else folder
    own = filter(is_own, study.scenes)
    mine = {scene: scene_code(scene, study.concept, where) for scene in own}
    if not study.scored and len(mine) == len(study.scenes):
        first = mine[study.scenes[0]]
        made = f"mmkn.studies.blank_study(model, {study.concept.word!r}, {first})"
        return "\n".join([*lines, f"study = {made}  # no scores yet"])
    listed = [scene for scene in study.scored if scene not in mine]
    sources = {scene.source for scene in listed}
    source = sources.pop() if len(sources) == 1 else ""
    if source.startswith("pocket:"):  # of files of one's own a scene tells no place
        ids = ", ".join(repr(scene.id) for scene in listed)
        lines.append(f"wanted = [{ids}]")
        lines.append(
            f"found = {{scene.id: scene for scene in mmkn.datasets.open_dataset({source!r})}}"
        )
    if source.startswith("pocket:") and len(listed) == len(study.scored):
        lines.append("scenes = [found[name] for name in wanted]")
    elif source.startswith("pocket:") or (study.scored and not listed):
        each = [mine.get(scene, f"found[{scene.id!r}]") for scene in study.scored]
        lines += ["scenes = [", *(f"    {one}," for one in each), "]"]
    else:
        said = "scenes: put here the list of Scene objects that the study was made of"
        said += f", of {source}" if source else ""
        lines.append(f"raise NameError({said!r})  # they come from no named data set")
    options: dict[str, Any] = {
        name: value
        for name, value in study.options.items()
        if name in DEFAULTS and value != DEFAULTS[name]
    }
    if study.pairs.name != "telea":
        options["inpainter"] = study.pairs.name
    more = "".join(f", {name}={value!r}" for name, value in options.items())
    lines.append(f"study = mmkn.study(model, {study.concept.word!r}, scenes{more})")
    return "\n".join(lines)


def pair_code(a: StudyLike, b: StudyLike, folder: Path | None = None) -> str:
    """Return Python lines that make `study_a` and `study_b`; the model is loaded once."""
    first, second = setup_code(a, folder).splitlines(), setup_code(b, folder).splitlines()
    head = {line for line in first if line.startswith(("import ", "model = "))}
    rest = [line for line in second if line and line not in head]
    name = [
        [line.replace("study = ", f"study_{side} = ", 1) for line in lines]
        for side, lines in zip("ab", (first, rest), strict=True)
    ]
    return "\n".join([*name[0], *name[1]])


class Recipe:
    """How a click's ablation is made again: an expression for its neurons, and how.

    Parameters
    ----------
    neurons : str
        Python that gives the neurons.
    reference : str
        Python that gives the reference of modes "mean" and "from_inpainted".
    """

    def __init__(self, neurons: str, reference: str = "") -> None:
        self.neurons = neurons
        self.reference = reference

    def how(self, made: Ablation) -> str:
        """Return the arguments behind the neurons."""
        if made.mode == "zero":
            return ""
        if made.mode == "scale":
            return f', mode="scale", scale={made.scale!r}'
        return f', mode="{made.mode}", reference={self.reference}'


def explicit(made: Intervention) -> str:
    """Return the neurons of an intervention as a list of (layer, index) or with the expert."""
    index = NeuronIndex.of(made.model)
    places = [
        place
        for row, found in sorted(made.rows.items())
        for place in index.neurons(index.join([row] * len(found), found)).places
    ]
    if all(expert < 0 for _, expert, _ in places):
        return "[" + ", ".join(f"({layer}, {number})" for layer, _, number in places) + "]"
    return "[" + ", ".join(map(str, places)) + "]"


def _remade(made: Intervention, recipe: Recipe | None) -> tuple[str, str] | None:
    """Return the neurons and how, or None for what cannot be written down."""
    if not isinstance(made, Ablation):
        return None
    if recipe is not None:
        return recipe.neurons, recipe.how(made)
    few = made.n_neurons <= _MOST_PLACES
    if few and made.mode in ("zero", "scale") and made.selection.everywhere:
        return explicit(made), Recipe("").how(made)
    return None


def acting_code(
    active: Sequence[tuple[Intervention, Recipe | None]], inside: Sequence[str], model: str
) -> str:
    """Return code that does what is active, and in it some lines.

    Parameters
    ----------
    active : sequence of (Intervention, Recipe or None)
        In the order in which they act.
    inside : sequence of str
        Such as `caption_line`.
    model : str
        The model's name in that code.

    Returns
    -------
    str
        What was made elsewhere and cannot be written down stands there as a comment.
    """
    lines: list[str] = []
    opened: list[str] = []
    for made, recipe in active:
        found = _remade(made, recipe)
        if found is None:
            lines.append(f"# active too, and made elsewhere: {' '.join(repr(made).split())}")
            continue
        name = "acting" if not opened else f"acting_{len(opened) + 1}"
        lines.append(f"{name} = {found[0]}")
        opened.append(f"{model}.ablate({name}{found[1]})")
    if not opened:
        return "\n".join([*lines, *inside])
    return "\n".join([*lines, f"with {', '.join(opened)}:", *(f"    {line}" for line in inside)])


def found_code(study: StudyLike, scene: int, folder: Path | None = None) -> str:
    """Return lines that print what was found: the neurons, and the caption of the shown scene."""
    return "\n".join(
        [
            'print(f"{len(neurons)} neurons of {study.concept.word!r} in {study.model.name}")',
            "print(neurons.with_words(study.model).to_dataframe().head(20).to_string(index=False))",
            'print("before: ", end="")',
            caption_line(study, scene, folder=folder),
        ]
    )


def caption_line(
    study: StudyLike, scene: int, name: str = "study", folder: Path | None = None
) -> str:
    """Return the line that prints a scene's caption."""
    prompt = "" if study.options["prompt"] is None else f', {name}.options["prompt"]'
    if scene < len(study.scored):
        return f"print({name}.model.caption({name}.scenes[{scene}].image{prompt}))"
    if is_own(study.scenes[scene]):
        picture = picture_code(study.scenes[scene], pictures_folder() if folder is None else folder)
        return f"print({name}.model.caption({picture}{prompt}))"
    said = f"picture: put here the path of {study.scenes[scene].id}"
    return f"raise NameError({said!r})  # print({name}.model.caption(picture{prompt}))"
