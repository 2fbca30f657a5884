"""Neuron sets as JSON: the published format of ``*.mmkn.json`` files."""

from __future__ import annotations

import json
from typing import Any

from .._errors import BadArgument, bad_argument
from .neurons import NeuronSet

__all__ = ["FORMAT", "FORMAT_VERSION", "from_text", "to_text"]

FORMAT = "mmkn-neuron-set"
FORMAT_VERSION = 1


def to_text(neurons: NeuronSet) -> str:
    """Return a neuron set as JSON; ``neuron_set.schema.json`` beside this file describes it."""
    entries = []
    for number, neuron in enumerate(neurons):
        entry: dict[str, Any] = {"layer": neuron.layer, "index": neuron.index}
        if neuron.expert >= 0:
            entry["expert"] = neuron.expert
        entry["score"] = neuron.score
        if neurons.sign is not None:
            entry["sign"] = int(neurons.sign[number])
        if neurons.words is not None:
            entry["words"] = list(neurons.words[number])
        entries.append(entry)
    described = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "neurons": entries,
        "provenance": neurons.provenance,
    }
    return json.dumps(described, indent=1)


def from_text(text: str) -> NeuronSet:
    """Read what `to_text` wrote.

    Raises
    ------
    BadArgument
        If the text is no neuron set of this version.
    """
    try:
        data = json.loads(text)
        if data["format"] != FORMAT or data["version"] != FORMAT_VERSION:
            raise BadArgument(
                f"text: got {data['format']} version {data['version']}, expected "
                f"{FORMAT} version {FORMAT_VERSION}"
            )
        neurons = data["neurons"]
        first = neurons[0] if neurons else {}
        return NeuronSet(
            [int(n["layer"]) for n in neurons],
            [int(n["index"]) for n in neurons],
            [int(n.get("expert", -1)) for n in neurons],
            [float(n["score"]) for n in neurons],
            [list(n["words"]) for n in neurons] if "words" in first else None,
            data.get("provenance", {}),
            [int(n["sign"]) for n in neurons] if "sign" in first else None,
        )
    except BadArgument:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise bad_argument("text", text[:40], "the JSON of a neuron set") from error
