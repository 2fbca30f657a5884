"""The Python lines that make the study that is on screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .protocols import StudyLike

__all__ = ["setup_code"]

_DEFAULTS = {
    "positions": "predicting",
    "reduce": "max",
    "difference": "absolute",
    "target": "log_prob",
    "caption": "greedy",
    "prompt": None,
}


def setup_code(study: StudyLike) -> str:
    """Return code that loads the model and the scenes and makes the study again.

    Scenes that come from a named data set are found by their ids; others are left to the reader
    as ``scenes``.
    """
    lines = ["import mmkn_widgets as mmkn", "", f"model = mmkn.load_model({study.model.name!r})"]
    scored = getattr(study, "scored", study.scenes)
    sources = {str(getattr(scene, "source", "")) for scene in scored}
    source = sources.pop() if len(sources) == 1 else ""
    if source.split(":")[0] in ("pocket", "coco", "folder") and ":" in source:
        ids = ", ".join(repr(scene.id) for scene in scored)
        lines.append(f"wanted = [{ids}]")
        lines.append(
            f"found = {{scene.id: scene for scene in mmkn.datasets.open_dataset({source!r})}}"
        )
        lines.append("scenes = [found[name] for name in wanted]")
    else:
        said = "scenes: put here the list of Scene objects that the study was made of"
        lines.append(f"raise NameError({said!r})  # they come from no named data set")
    options: dict[str, Any] = {
        name: value
        for name, value in study.options.items()
        if name in _DEFAULTS and value != _DEFAULTS[name]
    }
    inpainter = str(getattr(getattr(study, "_pairs", None), "name", "telea"))
    if inpainter != "telea":
        options["inpainter"] = inpainter
    word = str(getattr(study.concept, "word", study.concept))
    more = "".join(f", {name}={value!r}" for name, value in options.items())
    lines.append(f"study = mmkn.study(model, {word!r}, scenes{more})")
    return "\n".join(lines)
