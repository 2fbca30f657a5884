"""Measure the truth to compare with: the effect of every single pocket neuron on every concept.

``make atlas`` zeroes each neuron by itself, on validation scenes, and keeps the fall of the
log-probability of the concept's word where the caption names it (teacher-forced). Single effects
miss redundancy, so beside them stands a joint reference: the order in which greedy forward
selection switches neurons off. Every method is then judged against both (`judge`).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmkn_widgets.core.errors import bad_argument
from mmkn_widgets.studies.atlas import SCALE
from mmkn_widgets.studies.cluster import on_workers, worker_model
from mmkn_widgets.studies.jobs import turns

from .lesioned_scene import LesionedScene

if TYPE_CHECKING:
    import torch
    from dask.distributed import Client

    from mmkn_widgets.datasets import Scene
    from mmkn_widgets.models import MultimodalModel

__all__ = [
    "BEHIND",
    "TeacherForced",
    "gather_atlas",
    "joint_order",
    "lesioned",
    "measure_atlas",
    "single_effects",
]

#: scenes of a concept that choose neurons in a study; the atlas is measured on those behind them
BEHIND = 48
#: of layers before the last two, so many neurons compete in each round of the greedy selection
_POOL = 32
#: neurons taken in a round
_STEP = 2


def lesioned(model: MultimodalModel, concept: Any, scenes: Sequence[Scene]) -> list[LesionedScene]:
    """Return the scenes whose caption names a concept, ready to be lesioned."""
    found = TeacherForced(model, concept, scenes)
    places = zip(found.images, found.prefixes, found.tokens, strict=True)
    return [LesionedScene(model, *place) for place in places]


def single_effects(
    scenes: Sequence[LesionedScene], shape: tuple[int, int], which: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Zero every neuron by itself.

    Parameters
    ----------
    scenes : sequence of LesionedScene
        Of one concept.
    shape : (int, int)
        Layers and neurons.
    which : numpy.ndarray of bool, shape (layer, neuron), optional
        Only these; the others' values are 0.

    Returns
    -------
    effect : numpy.ndarray of float32, shape (layer, neuron)
        Mean fall of the log-probability over the scenes, in nats; positive means the neuron
        carries the word.
    error : numpy.ndarray of float32, shape (layer, neuron)
        Standard error of that mean; NaN of a single scene.
    """
    asked = [np.arange(shape[1])] * shape[0] if which is None else list(map(np.flatnonzero, which))
    total, squares = np.zeros(shape, np.float64), np.zeros(shape, np.float64)
    for scene in scenes:
        before, _ = scene.lesion(None)
        for layer, neurons in enumerate(asked):
            fall = before - scene.effect_of(layer, neurons).astype(np.float64)
            total[layer, neurons] += fall
            squares[layer, neurons] += fall**2
    n = len(scenes)
    mean = total / n
    spread = np.maximum(squares / n - mean**2, 0) / (n - 1) if n > 1 else np.full(shape, np.nan)
    return mean.astype(np.float32), np.sqrt(spread).astype(np.float32)


def joint_order(
    scenes: Sequence[LesionedScene],
    single: np.ndarray,
    n: int = 60,
    *,
    pool: int = _POOL,
    step: int = _STEP,
) -> tuple[np.ndarray, np.ndarray]:
    """Switch neurons off greedily: each round the ones that lower the log-probability most.

    All neurons of the last two layers compete in every round, and of the layers before them the
    `pool` of largest single effect.

    Parameters
    ----------
    scenes : sequence of LesionedScene
    single : numpy.ndarray, shape (layer, neuron)
        From `single_effects`.
    n : int
        How many neurons to order.
    pool : int
    step : int
        Neurons taken in a round before the rest are measured again.

    Returns
    -------
    order : numpy.ndarray of int, shape (n, 2)
        (layer, neuron) in the order of selection.
    course : numpy.ndarray of float32, shape (n, 2)
        Mean log-probability in nats with the first so many off, and the share of scenes in which
        the concept still is the most probable word there; measured once a round.
    """
    layers, width = single.shape
    early = single[: max(0, layers - 2)].ravel()
    candidates = [divmod(int(at), width) for at in np.argsort(-early)[:pool]]
    candidates += [(layer, i) for layer in range(layers)[-2:] for i in range(width)]
    free = np.zeros(single.shape, bool)
    free[tuple(np.asarray(candidates).T)] = True
    off = np.zeros(single.shape, bool)
    order: list[tuple[int, int]] = []
    course: list[tuple[float, float]] = []
    while len(order) < n and free.any():
        value = np.full(single.shape, np.inf)
        for layer in range(layers):
            ready = np.flatnonzero(free[layer])
            if ready.size:
                value[layer, ready] = sum(scene.effect_of(layer, ready) for scene in scenes)
        best = np.argsort(value, axis=None, kind="stable")[: min(step, n - len(order))]
        taken = [divmod(int(at), width) for at in best if free.ravel()[at]]
        for place in taken:
            off[place], free[place] = True, False
        order += taken
        now = [scene.lesion(off) for scene in scenes]
        point = float(np.mean([p for p, _ in now])), float(np.mean([said for _, said in now]))
        course += [point] * len(taken)
    return np.asarray(order, np.int64), np.asarray(course, np.float32)


def measure_atlas(
    model: MultimodalModel,
    concepts: Sequence[str],
    out: Path,
    *,
    n_scenes: int = 16,
    n_joint: int = 60,
    client: Client | None = None,
    load: Any = None,
) -> None:
    """Measure concepts, one file a concept; what is there is not measured again.

    Parameters
    ----------
    model : MultimodalModel
    concepts : sequence of str
    out : pathlib.Path
        Folder of the parts, which several processes may share.
    n_scenes : int
        Validation scenes a concept, behind the `BEHIND` that choose neurons in a study.
    n_joint : int
        Length of the joint reference.
    client : dask.distributed.Client, optional
        Measure on its workers, a concept each; this process writes what they find.
    load : str or callable, optional
        With a `client`: what its workers give to `load_model`, or call; by default the model's
        name.
    """
    out = _parts(model, out)
    out.mkdir(parents=True, exist_ok=True)
    files = {concept: out / f"{concept}.npz" for concept in concepts}
    if client is not None:
        source = model.name if load is None else load
        tasks = {
            concept: (source, model.weights_hash, concept, n_scenes, n_joint)
            for concept, part in files.items()
            if not part.is_file()
        }
        on_workers(client, _on_worker, tasks, lambda name, found: _keep(files[name], found))
        return
    for concept, _ in turns(concepts, [out / "begun" / concept for concept in concepts]):
        if not files[concept].is_file():
            _keep(files[concept], _measured(model, concept, n_scenes, n_joint))


def _measured(
    model: MultimodalModel, concept: str, n_scenes: int, n_joint: int
) -> dict[str, np.ndarray]:
    """Return what the atlas holds of one concept, and say how long it took."""
    from mmkn_widgets.datasets import pocket_world

    begun = time.monotonic()
    chosen = pocket_world("val").with_concept(concept, BEHIND + n_scenes)[BEHIND:]
    scenes = lesioned(model, concept, chosen)
    single, error = single_effects(scenes, (len(model.sites), model.n_neurons))
    between = time.monotonic()
    order, course = joint_order(scenes, single, n_joint)
    print(
        f"{concept}: {len(scenes)} scenes, single effects {between - begun:.0f} s, joint "
        f"reference {time.monotonic() - between:.0f} s",
        flush=True,
    )
    return {
        "single": single,
        "error": error,
        "joint": order,
        "course": course,
        "scenes": np.asarray(len(scenes)),
    }


def _on_worker(load: Any, weights: str, *asked: Any) -> dict[str, np.ndarray]:
    return _measured(worker_model(load, weights), *asked)


def _keep(part: Path, found: dict[str, np.ndarray]) -> None:
    """Write a concept's file at once or not at all."""
    unfinished = part.with_suffix(f".{os.getpid()}.npz.part")
    with unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, **found)
    os.replace(unfinished, part)


def _parts(model: MultimodalModel, out: Path) -> Path:
    """Return the folder of these weights' parts: others are not taken for theirs."""
    return out / model.weights_hash[:16]


def gather_atlas(model: MultimodalModel, concepts: Sequence[str], out: Path, result: Path) -> None:
    """Write the parts of all concepts as one ``atlas.npz``."""
    held = _parts(model, out)
    parts = [np.load(held / f"{concept}.npz", allow_pickle=False) for concept in concepts]
    about = {"weights": model.weights_hash, "split": "pocket:val", "unit": "nats", "version": 2}
    single, error = (np.stack([part[name] for part in parts]) for name in ("single", "error"))
    unfinished = result.with_suffix(f".{os.getpid()}.npz.part")
    with unfinished.open("wb") as file:
        np.savez_compressed(
            file,
            single=(single * SCALE).astype(np.float16),
            error=_rounded(error * SCALE),
            joint=np.stack([part["joint"] for part in parts]).astype(np.int16),
            course=np.stack([part["course"] for part in parts]).astype(np.float32),
            scenes=np.asarray([int(part["scenes"]) for part in parts]),
            concept=np.asarray(concepts),
            about=np.asarray(json.dumps(about)),
        )
    os.replace(unfinished, result)


def _rounded(values: np.ndarray) -> np.ndarray:
    """Return half precision with four bits of mantissa (3 %), which packs into a third."""
    bits = values.astype(np.float16).view(np.uint16).astype(np.uint32)
    rounded: np.ndarray = ((bits + 0x20) & 0xFFC0).astype(np.uint16).view(np.float16)
    return rounded


@contextmanager
def _client(scheduler: str | None, workers: int | None) -> Iterator[Client | None]:
    if scheduler is None and workers is None:
        yield None
        return
    from dask import distributed

    made: Any = distributed.Client
    with (
        made(scheduler)
        if scheduler is not None
        else made(n_workers=workers, threads_per_worker=1, dashboard_address=None)
    ) as client:
        yield client


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    from mmkn_widgets.datasets import pocket_world
    from mmkn_widgets.models import load_model
    from mmkn_widgets.pocket import path as pocket_path

    every = list(pocket_world("val", 1).categories)
    parser = argparse.ArgumentParser(prog="pocket_lab.atlas", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/atlas"))
    parser.add_argument("--concepts", nargs="+", default=every)
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--scheduler", help="of Dask, such as tcp://HOST:8786: measure there")
    parser.add_argument("--workers", type=int, help="of a Dask cluster on this machine")
    arguments = parser.parse_args(argv)
    model = load_model("pocket")
    with _client(arguments.scheduler, arguments.workers) as client:
        measure_atlas(
            model, arguments.concepts, arguments.out, n_scenes=arguments.scenes, client=client
        )
    held = _parts(model, arguments.out)
    if all((held / f"{concept}.npz").is_file() for concept in every):
        gather_atlas(model, every, arguments.out, Path(pocket_path()).parent / "atlas.npz")


class TeacherForced:
    """The position that predicts a concept in each scene's own caption, ready to be lesioned.

    Parameters
    ----------
    model : MultimodalModel
    concept : str or Concept
    scenes : sequence of Scene
        Scenes whose caption does not name the concept are left out.

    Attributes
    ----------
    images : list of PIL.Image.Image
    prefixes : list of list of int
        The caption's token ids before the concept.
    token : int
        The concept's first token.
    baseline : numpy.ndarray of float32, shape (scene,)
        Log-probability of the token in the unchanged model, in nats.
    """

    def __init__(self, model: MultimodalModel, concept: Any, scenes: Sequence[Scene]) -> None:
        from mmkn_widgets.attribution import as_concept

        self.model = model
        wanted = as_concept(concept)
        tokens = set(wanted.first_tokens(model.tokenizer))
        with model.interventions.suspended():
            written = model.generate(model.prepare([scene.image for scene in scenes])).token_ids
        self.images: list[Any] = []
        self.prefixes: list[list[int]] = []
        self.tokens: list[int] = []
        for scene, ids in zip(scenes, written, strict=True):
            place = next((p for p, token in enumerate(ids) if token in tokens), None)
            if place is not None:
                self.images.append(scene.image)
                self.prefixes.append(list(ids[:place]))
                self.tokens.append(ids[place])
        if not self.images:
            raise bad_argument("scenes", len(scenes), f"scenes whose caption names {wanted.word!r}")
        self.baseline = np.concatenate(
            [self.log_prob(scene, None, 1) for scene in range(len(self.images))]
        )

    def __len__(self) -> int:
        return len(self.images)

    def log_prob(self, scene: int, masks: np.ndarray | None, rows: int) -> np.ndarray:
        """Return the concept's log-probability in one scene under many lesions.

        Parameters
        ----------
        scene : int
        masks : numpy.ndarray of bool, shape (rows, site, neuron), or None
            What each row zeroes.
        rows : int

        Returns
        -------
        numpy.ndarray of float32, shape (rows,)
        """
        import torch

        from mmkn_widgets.interventions import ablate_rows

        model = self.model
        one = model.prepare([self.images[scene]], continuation=[self.prefixes[scene]])
        batch = {key: _repeat(value, rows) for key, value in one.inputs.items()}
        with model.interventions.suspended():
            if masks is None:
                logits = model.forward(batch, logits_to_keep=1).logits
            else:
                with ablate_rows(model, masks):
                    logits = model.forward(batch, logits_to_keep=1).logits
        values = torch.log_softmax(logits[:, -1].float(), -1)[:, self.tokens[scene]]
        return values.cpu().numpy()


def _repeat(value: torch.Tensor, rows: int) -> torch.Tensor:
    return value.expand(rows, *value.shape[1:])


if __name__ == "__main__":
    main()
