"""From the parts of a study, one a concept and method, to means with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core import bad_argument
from ..evaluation import bootstrap_ci
from .jobs import part_path, read_part

__all__ = ["mean_interval", "summarize"]

_NOTHING = {"mean": None, "low": None, "high": None}
_PLAIN = ("suppression", "identical", "substitution")
_BESIDE = ("retention", "random_control", "neurons", "n_scenes")


def summarize(
    folder: Path, concepts: Sequence[str], methods: Sequence[str], *, seed: int = 0
) -> dict[str, Any]:
    """Average each method over concepts.

    Parameters
    ----------
    folder : pathlib.Path
        With ``parts/CONCEPT/METHOD.json``.
    concepts, methods : sequence of str
    seed : int
        Of the bootstrap over concepts (95 %, percentile).

    Returns
    -------
    dict
        ``{concepts, n_scenes, methods}`` as ``mmkn study --json`` prints it, with
        ``per_concept`` beside. ``n_scenes`` is the smallest number of measured scenes with a
        concept; as many without it are measured.
    """
    parts: dict[str, dict[str, dict[str, Any]]] = {}
    for method in methods:
        parts[method] = {}
        for word in concepts:
            path = part_path(folder, word, method)
            held = read_part(path)
            if held is None:
                raise bad_argument("out", str(path), "a whole part; the same run again makes it")
            parts[method][word] = held
    table: dict[str, Any] = {}
    for method, by_word in parts.items():
        row: dict[str, Any] = {
            name: mean_interval([part[name] for part in by_word.values()], seed) for name in _PLAIN
        }
        kept = {
            field: mean_interval([part["retention"][field] for part in by_word.values()], seed)
            for field in ("scene", "other", "headline")
        }
        headline = kept.pop("headline")
        row["retention"] = {**(headline or _NOTHING), **kept}
        controls = [part["random_control"] for part in by_word.values()]
        drawn = [float(one["max"]) for one in controls if one["max"] is not None]
        row["random_control"] = {
            **(mean_interval([one["mean"] for one in controls], seed) or _NOTHING),
            "max": max(drawn, default=None),
        }
        for name in ("bleu", "rougeL", "bertscore"):
            row[name] = {
                side: {
                    when: mean_interval(
                        [_get(part, name, side, when) for part in by_word.values()], seed
                    )
                    for when in ("before", "after", "between")
                }
                for side in ("with", "without")
            }
        row["neurons"] = mean_interval([float(part["neurons"]) for part in by_word.values()], seed)
        table[method] = row
    any_method = parts[methods[0]] if methods else {}
    return {
        "concepts": list(concepts),
        "n_scenes": min((part["n_scenes"]["with"] for part in any_method.values()), default=0),
        "methods": table,
        "per_concept": {
            method: {
                word: {name: part[name] for name in (*_PLAIN, *_BESIDE)}
                for word, part in by_word.items()
            }
            for method, by_word in parts.items()
        },
    }


def _get(part: dict[str, Any], name: str, side: str, when: str) -> float:
    value: Any = part.get(name)
    for key in (side, when):
        value = value.get(key) if isinstance(value, dict) else None
    return math.nan if value is None else float(value)


def mean_interval(values: Sequence[float | None], seed: int = 0) -> dict[str, float] | None:
    """Return the mean with its 95 % bootstrap interval, or None where nothing is known.

    Parameters
    ----------
    values : sequence of float or None
        One for each concept (or pair); None and NaN are left out.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict or None
        ``mean``, ``low``, ``high``.
    """
    known = [float(v) for v in values if v is not None and not math.isnan(v)]
    if not known:
        return None
    mean = sum(known) / len(known)
    low, high = bootstrap_ci(known, seed=seed)
    assert low is not None
    assert high is not None
    return {"mean": mean, "low": low, "high": high}
