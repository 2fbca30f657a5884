"""The truth to compare with: the measured effect of every single pocket neuron on every concept.

``python -m mmkn_widgets.studies.atlas`` zeroes each neuron by itself, on validation scenes, and
keeps the fall of the log-probability of the concept's word where the caption names it
(teacher-forced). Single effects miss redundancy, so beside them stands a joint reference: the
order in which greedy forward selection would switch neurons off. Every method is then judged
against both.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._errors import bad_argument

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from ..datasets import Scene
    from ..models import MultimodalModel

__all__ = ["TeacherForced", "joint_order", "measure_atlas", "open_atlas", "single_effects"]

_BATCH = 256


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
        from ..attribution import as_concept

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

        from ..interventions import ablate_rows

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


def single_effects(
    forced: TeacherForced, *, batch: int = _BATCH, tick: Callable[[], None] | None = None
) -> np.ndarray:
    """Zero every neuron by itself.

    Returns
    -------
    numpy.ndarray of float32, shape (site, neuron)
        Mean fall of the log-probability over the scenes, in nats; positive means the neuron
        carries the word. NaN where a layer is narrower.
    """
    model = forced.model
    shape = (len(model.sites), model.n_neurons)
    fall = np.full(shape, np.nan, np.float32)
    for site in model.sites:
        total = np.zeros(site.width, np.float64)
        for start in range(0, site.width, batch):
            chosen = np.arange(start, min(start + batch, site.width))
            masks = np.zeros((len(chosen), *shape), bool)
            masks[np.arange(len(chosen)), site.row, chosen] = True
            for scene in range(len(forced)):
                after = forced.log_prob(scene, masks, len(chosen))
                total[chosen] += forced.baseline[scene] - after
        fall[site.row, : site.width] = total / len(forced)
        if tick is not None:
            tick()
    return fall


def joint_order(
    forced: TeacherForced,
    single: np.ndarray,
    n: int = 60,
    *,
    pool: int = 192,
    step: int = 4,
    extra: np.ndarray | None = None,
) -> np.ndarray:
    """Switch neurons off greedily: each round the ones that lower the log-probability most.

    Parameters
    ----------
    forced : TeacherForced
    single : numpy.ndarray, shape (site, neuron)
        From `single_effects`; its `pool` largest are the candidates.
    n : int
        How many neurons to order.
    pool : int
    step : int
        Neurons taken per round before the rest are measured again.
    extra : numpy.ndarray of bool, shape (site, neuron), optional
        Further candidates, so that neurons whose effect shows only jointly can be found.

    Returns
    -------
    numpy.ndarray of int, shape (n, 2)
        (site, neuron) in the order of selection.
    """
    flat = np.nan_to_num(single, nan=-np.inf).ravel()
    candidates = set(np.argsort(-flat)[:pool].tolist())
    if extra is not None:
        candidates |= set(np.flatnonzero(extra.ravel()).tolist())
    off = np.zeros(single.shape, bool)
    order: list[int] = []
    while len(order) < n and candidates:
        ready = sorted(candidates)
        masks = np.repeat(off[None], len(ready), 0)
        masks.reshape(len(ready), -1)[np.arange(len(ready)), ready] = True
        value = np.zeros(len(ready), np.float64)
        for scene in range(len(forced)):
            for start in range(0, len(ready), _BATCH):
                part = masks[start : start + _BATCH]
                value[start : start + _BATCH] += forced.log_prob(scene, part, len(part))
        for place in np.argsort(value, kind="stable")[: min(step, n - len(order))]:
            order.append(ready[place])
            off.ravel()[ready[place]] = True
            candidates.discard(ready[place])
    return np.stack(np.unravel_index(order, single.shape), 1).astype(np.int64)


def measure_atlas(
    model: MultimodalModel,
    concepts: Sequence[str],
    out: Path,
    *,
    n_scenes: int = 16,
    n_joint: int = 60,
) -> Path:
    """Measure all concepts, one file a concept, resumable; then one ``atlas.npz``.

    Parameters
    ----------
    model : MultimodalModel
    concepts : sequence of str
    out : pathlib.Path
        Folder of the parts and of the result.
    n_scenes : int
        Validation scenes a concept.
    n_joint : int
        Length of the joint reference.

    Returns
    -------
    pathlib.Path
        ``out/atlas.npz``.
    """
    from ..datasets import pocket_world

    out.mkdir(parents=True, exist_ok=True)
    scenes = pocket_world("val")
    for concept in concepts:
        part = out / f"{concept}.npz"
        if part.is_file():
            continue
        begun = time.monotonic()
        forced = TeacherForced(model, concept, scenes.with_concept(concept, n_scenes))
        single = single_effects(forced)
        order = joint_order(forced, single, n_joint)
        unfinished = part.with_suffix(f".{os.getpid()}.npz.part")
        with unfinished.open("wb") as file:
            np.savez(file, single=single, joint=order, scenes=len(forced))
        os.replace(unfinished, part)
        print(f"{concept}: {len(forced)} scenes, {time.monotonic() - begun:.0f} s", flush=True)
    parts = [np.load(out / f"{concept}.npz", allow_pickle=False) for concept in concepts]
    result = out / "atlas.npz"
    about = {"weights": model.weights_hash, "split": "pocket:val", "unit": "nats", "version": 1}
    np.savez_compressed(
        result,
        single=np.stack([part["single"] for part in parts]).astype(np.float16),
        joint=np.stack([part["joint"] for part in parts]).astype(np.int16),
        scenes=np.asarray([int(part["scenes"]) for part in parts]),
        concept=np.asarray(concepts),
        about=np.asarray(json.dumps(about)),
    )
    return result


def open_atlas(path: str | Path | None = None) -> xr.Dataset:
    """Open the atlas that ships with the pocket model.

    Parameters
    ----------
    path : str or pathlib.Path, optional
        Another ``atlas.npz``.

    Returns
    -------
    xarray.Dataset
        ``single`` (concept, layer, neuron): fall of the log-probability in nats when that neuron
        alone is zeroed. ``joint`` (concept, rank, place): layer and neuron in the order of greedy
        selection. ``scenes`` (concept).

    Raises
    ------
    BadArgument
        If there is no atlas file; ``make atlas`` measures one.
    """
    import xarray as xr

    from ..pocket import path as pocket_path

    source = Path(path) if path is not None else Path(pocket_path()).parent / "atlas.npz"
    if not source.is_file():
        raise bad_argument("path", str(source), "an atlas.npz; `make atlas` measures one")
    with np.load(source, allow_pickle=False) as held:
        return xr.Dataset(
            {
                "single": (("concept", "layer", "neuron"), held["single"].astype(np.float32)),
                "joint": (("concept", "rank", "place"), held["joint"].astype(np.int64)),
                "scenes": ("concept", held["scenes"]),
            },
            coords={"concept": held["concept"], "place": ["layer", "neuron"]},
            attrs=json.loads(str(held["about"])),
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    from ..datasets import pocket_world
    from ..models import load_model
    from ..pocket import path as pocket_path

    parser = argparse.ArgumentParser(prog="mmkn_widgets.studies.atlas", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/atlas"))
    parser.add_argument("--concepts", nargs="+", default=list(pocket_world("val", 1).categories))
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--parts-only", action="store_true", help="several processes, one folder")
    arguments = parser.parse_args(argv)
    model = load_model("pocket")
    made = measure_atlas(model, arguments.concepts, arguments.out, n_scenes=arguments.scenes)
    if not arguments.parts_only:
        os.replace(made, Path(pocket_path()).parent / "atlas.npz")


if __name__ == "__main__":
    main()
