"""An effect as lines for people: value, interval, control."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .effect import Effect

__all__ = ["describe_effect"]


def describe_effect(effect: Effect) -> str:
    """Return the lines that a notebook shows of an `Effect`; what is undefined is a dash.

    Parameters
    ----------
    effect : Effect

    Examples
    --------
    >>> from mmkn_widgets.evaluation import Effect
    >>> counts = {"with": 2, "without": 0, "named": 2}
    >>> kept = {"scene": 1.0, "other": None}
    >>> print(Effect(0.5, kept, 0.0, None, {"mean": 0.0, "max": 0.0, "n": 4}, counts))
    Effect on 2 scenes with the concept (2 captions name it) and 0 without
      suppression              0.500
        random neurons         0.000  (max 0.000 of 4 draws, same layers)
      retention, same scenes   1.000
      retention, other scenes      -
      unchanged captions       0.000
      substitution                 -
    """
    known, n = effect.provenance.get("arguments", {}), effect.n_scenes
    what = f" of {known['neurons']} neurons" if "neurons" in known else ""
    concept = repr(known["concept"]) if "concept" in known else "the concept"
    control, kept = effect.random_control, effect.retention
    lines = [
        f"Effect{what} on {n['with']} scenes with {concept} ({n['named']} captions name it) "
        f"and {n['without']} without",
        _line("suppression", effect.suppression, effect.ci.get("suppression")),
    ]
    if control.get("mean") is not None:
        most = f"  (max {control['max']:.3f} of {control['n']} draws, same layers)"
        lines.append(_line("  random neurons", control["mean"]) + most)
    lines += [
        _line("retention, same scenes", kept.get("scene"), effect.ci.get("retention_scene")),
        _line("retention, other scenes", kept.get("other"), effect.ci.get("retention_other")),
        _line("unchanged captions", effect.identical, effect.ci.get("identical")),
        _line("substitution", effect.substitution),
    ]
    for name, metric in (
        ("BLEU", effect.bleu),
        ("ROUGE-L", effect.rougeL),
        ("BERTScore", effect.bertscore),
    ):
        for side in ("with", "without"):
            part = metric.get(side)
            if part and part.get("after") is not None:
                before = part.get("before")
                first = "" if before is None else f"  (before: {before:.3f})"
                lines.append(_line(f"{name}, scenes {side}", part["after"]) + first)
    return "\n".join(lines)


def _line(name: str, value: float | None, interval: Any = None) -> str:
    text = f"  {name:<23}" + ("    -" if value is None else f"{value:6.3f}")
    if value is not None and interval and None not in interval:
        text += f"  [{interval[0]:.3f}, {interval[1]:.3f}]"
    return text
