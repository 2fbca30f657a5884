"""What JupyterLab's side panel asks the kernel: what the notebook holds of ours, and changes of it.

The panel asks by an expression on the kernel's main shell while that is idle, and by opening a comm
on a subshell while a cell runs. The comm is answered as it opens, because IPython runs its
``post_execute`` hooks (which flush a cell's half-drawn figures) after an execution and after every
later message of a comm, but not then.
"""

from __future__ import annotations

import json
import secrets
import sys
import weakref
from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from ..core import MmknError, bad_argument

if TYPE_CHECKING:
    from ..interventions import Intervention
    from ..models import MultimodalModel

__all__ = ["answer", "answer_json", "on_comm", "overview"]


class _Keys:
    """Names for live objects, never given twice: not in this kernel, nor in the one after it."""

    def __init__(self) -> None:
        self._held: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
        self._kernel = secrets.token_hex(4)
        self._numbers = count(1)

    def of(self, thing: Any) -> str:
        for key, held in list(self._held.items()):
            if held is thing:
                return key
        key = f"{self._kernel}-{next(self._numbers)}"
        self._held[key] = thing
        return key

    def thing(self, key: str, what: str) -> Any:
        held = self._held.get(key)
        if held is None:
            raise bad_argument(what, key, f"one that this kernel still holds: the {what} is gone")
        return held


_KEYS = _Keys()
#: What was switched off in the panel, so that it can be switched on again.
_OFF: weakref.WeakKeyDictionary[Any, list[Intervention]] = weakref.WeakKeyDictionary()


def _notebook() -> Mapping[str, Any]:
    from IPython import get_ipython

    shell = get_ipython()
    return {} if shell is None else shell.user_ns


def _is_ours(value: Any, room: str, name: str) -> bool:
    """Whether a value is of one of our classes, without importing its room."""
    home = f"mmkn_widgets.{room}"
    return any(
        kind.__name__ == name and f"{kind.__module__}.".startswith(f"{home}.")
        for kind in type(value).__mro__
    )


def _is_store(value: Any) -> bool:
    xarray = sys.modules.get("xarray")
    if xarray is None or not isinstance(value, xarray.Dataset):
        return False
    return bool(value.attrs.get("format") == "mmkn-activations")


def _change(item: Intervention, on: bool) -> dict[str, Any]:
    return {
        "key": _KEYS.of(item),
        "name": str(item.name),
        "kind": item.kind,
        "neurons": item.n_neurons,
        "silenced": item.kind == "ablation" and _arguments(item).get("mode") in ("zero", "mean"),
        "on": on,
    }


def _arguments(item: Intervention) -> dict[str, Any]:
    return dict(item.provenance.get("arguments", {}))


def _off(model: MultimodalModel) -> list[Intervention]:
    """Return what the panel switched off and nobody has switched on since."""
    active = model.interventions.active
    return [item for item in _OFF.get(model, []) if not any(item is other for other in active)]


def _touched(model: MultimodalModel) -> int:
    places: dict[int, set[int]] = {}
    for item in model.interventions.active:
        for row, index in item.rows.items():
            places.setdefault(row, set()).update(int(neuron) for neuron in index)
    return sum(len(neurons) for neurons in places.values())


def _model(variable: str, model: MultimodalModel) -> dict[str, Any]:
    return {
        "key": _KEYS.of(model),
        "variable": variable,
        "name": model.name,
        "layers": model.n_layers,
        "neurons": model.n_neurons,
        "device": str(model.device),
        "touched": _touched(model),
        "changes": [
            *(_change(item, True) for item in model.interventions.active),
            *(_change(item, False) for item in _off(model)),
        ],
    }


def overview(namespace: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what a notebook holds of ours, as JSON can carry it.

    Parameters
    ----------
    namespace : mapping, optional
        Variables by name; by default those of the running notebook.

    Returns
    -------
    dict
        ``models``: key, variable, name, layers, neurons (of a layer), device, touched (the number
        of neurons that anything active changes) and changes (key, name, kind, neurons, silenced,
        on) of each model; ``studies``: variable, concept, model, scenes; ``sets`` (neuron sets):
        variable, neurons and layers (from layer to number); ``stores``: variable, model and sizes.
        A model that only a study holds is listed under the study's variable.

    Examples
    --------
    >>> overview({"x": 1})
    {'models': [], 'studies': [], 'sets': [], 'stores': []}
    """
    names = {
        variable: value
        for variable, value in list((_notebook() if namespace is None else namespace).items())
        if not variable.startswith("_")
    }
    models: dict[int, dict[str, Any]] = {}
    studies, sets, stores = [], [], []
    for variable, value in names.items():
        if _is_ours(value, "models", "MultimodalModel"):
            models.setdefault(id(value), _model(variable, value))
    for variable, value in names.items():
        if _is_ours(value, "studies", "Study"):
            models.setdefault(id(value.model), _model(f"{variable}.model", value.model))
            studies.append(
                {
                    "variable": variable,
                    "concept": value.concept.word,
                    "model": value.model.name,
                    "scenes": len(value.scenes),
                }
            )
        elif _is_ours(value, "core", "NeuronSet"):
            layers = {str(layer): int(n) for layer, n in value.layer_histogram().items()}
            sets.append({"variable": variable, "neurons": len(value), "layers": layers})
        elif _is_store(value):
            stores.append(
                {
                    "variable": variable,
                    "model": str(value.attrs.get("model", "")),
                    "sizes": {str(name): int(size) for name, size in value.sizes.items()},
                }
            )
    return {"models": list(models.values()), "studies": studies, "sets": sets, "stores": stores}


# -- what the panel may ask ----------------------------------------------------------------------


def _restore(model: MultimodalModel) -> None:
    model.interventions.clear()
    _OFF.pop(model, None)


def _switch(model: MultimodalModel, item: Intervention, on: bool) -> None:
    """Take an intervention off the stack, or push it back as the last."""
    off = _off(model)
    active = any(item is other for other in model.interventions.active)
    if on and not active:
        model.interventions.push(item)
        _OFF[model] = [other for other in off if other is not item]
    elif not on and active:
        model.interventions.pop(item)
        _OFF[model] = [*off, item]


def _ablate(model: MultimodalModel, variable: str, names: Mapping[str, Any]) -> None:
    from ..interventions import ablate

    neurons = names.get(variable)
    if not _is_ours(neurons, "core", "NeuronSet"):
        raise bad_argument("neurons", variable, "the name of a variable that holds a NeuronSet")
    model.interventions.push(ablate(model, neurons, name=variable))


def _as_python(variable: str, model: MultimodalModel) -> str:
    """Return the code that makes what is active in a model again, as far as code can."""
    lines = ["import mmkn_widgets as mmkn", ""]
    for item in model.interventions.active:
        made = _arguments(item)
        if item.kind != "ablation" or made.get("mode") not in ("zero", "scale"):
            lines.append(
                f"# {json.dumps(str(item.name))}: {item.kind} of {item.n_neurons} neurons; "
                "only the code that made it makes it again"
            )
            continue
        sites = [(model.sites[row], index) for row, index in item.rows.items()]
        if any(site.expert >= 0 for site, _ in sites):
            neurons = repr([(s.layer, s.expert, int(n)) for s, index in sites for n in index])
        else:
            neurons = repr({int(s.layer): [int(n) for n in index] for s, index in sites})
        options = [f"name={str(item.name)!r}"]
        if made["mode"] == "scale":
            options += ["mode='scale'", f"scale={made['scale']!r}"]
        options += [
            f"{name}={made[name]!r}"
            for name in ("positions", "steps")
            if made.get(name) is not None
        ]
        lines += [
            f"neurons = {neurons}",
            f"{variable}.interventions.push(",
            f"    mmkn.interventions.ablate({variable}, neurons, {', '.join(options)})",
            ")",
        ]
    return "\n".join(lines) + "\n"


def _done(request: Mapping[str, Any], names: Mapping[str, Any]) -> str | None:
    """Do what is asked; return the code asked for, if code was."""
    wanted = request.get("do")
    if wanted == "overview":
        return None
    if wanted not in ("restore", "switch", "ablate", "python"):
        raise bad_argument("do", wanted, "overview, restore, switch, ablate or python")
    model = _KEYS.thing(str(request.get("model")), "model")
    if wanted == "restore":
        _restore(model)
    elif wanted == "switch":
        change = _KEYS.thing(str(request.get("change")), "change")
        _switch(model, change, bool(request.get("on")))
    elif wanted == "ablate":
        _ablate(model, str(request.get("neurons")), names)
    else:
        held = next((v for v, value in names.items() if value is model), "model")
        return _as_python(held, model)
    return None


def answer(
    request: Mapping[str, Any], namespace: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Do what the panel asks, and return what the notebook holds afterwards.

    Parameters
    ----------
    request : mapping
        ``do``: ``"overview"``; ``"restore"`` (take back all of ``model``); ``"switch"`` (``change``
        of ``model`` to ``on``); ``"ablate"`` (the neuron set in the variable ``neurons``);
        ``"python"`` (code that makes what is active again). A model and a change are named by the
        keys of `overview`, which no other kernel and no later object has.
    namespace : mapping, optional
        Variables by name; by default those of the running notebook.

    Returns
    -------
    dict
        ``overview``, and ``python`` where it was asked for; or ``error``, in words.

    Examples
    --------
    >>> answer({"do": "restore", "model": "gone"}, {})["error"]
    "model: got 'gone', expected one that this kernel still holds: the model is gone"
    """
    names = _notebook() if namespace is None else namespace
    try:
        code = _done(request, names)
        found: dict[str, Any] = {"overview": overview(names)}
    except MmknError as error:
        return {"error": str(error)}
    except Exception as error:  # noqa: BLE001 - the panel shows what failed in the kernel
        return {"error": f"{type(error).__name__}: {error}"}
    return found if code is None else found | {"python": code}


def answer_json(request: str) -> str:
    """Return `answer` of the running notebook, both as JSON text."""
    answered = answer(json.loads(request))
    _watch()
    return json.dumps(answered)


# -- comms ---------------------------------------------------------------------------------------


class _Listener:
    """A panel that wants to hear when a model of the notebook changes."""

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self._told = False
        self._seen: weakref.WeakKeyDictionary[Any, Callable[[], None]] = weakref.WeakKeyDictionary()
        comm.on_close(lambda _message: self.stop())

    def watch(self) -> None:
        """Follow the models that are there now; the next change will be told."""
        self._told = False
        for value in list(_notebook().values()):
            model = value.model if _is_ours(value, "studies", "Study") else value
            if _is_ours(model, "models", "MultimodalModel") and model not in self._seen:
                self._seen[model] = model.interventions.observe(self._changed)

    def _changed(self, _event: Any) -> None:
        if not self._told:  # once until the panel asks again: blocks in a loop make thousands
            self._told = True
            self._comm.send({"changed": True})

    def stop(self) -> None:
        """Follow nothing any more."""
        for forget in list(self._seen.values()):
            forget()
        self._seen.clear()
        _LISTENERS.discard(self)


_LISTENERS: set[_Listener] = set()


def on_comm(comm: Any, message: Mapping[str, Any]) -> None:
    """Answer a comm that the panel opens: with one answer, or for as long as it listens."""
    request = message["content"]["data"]
    if request.get("do") == "listen":
        _LISTENERS.add(_Listener(comm))
    else:
        comm.close({"answer": answer(request)})
    _watch()


def _watch() -> None:
    for listener in list(_LISTENERS):
        listener.watch()
