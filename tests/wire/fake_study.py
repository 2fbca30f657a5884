"""A study without a model: random scores, drawn pictures, a stack that only remembers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import xarray as xr
from fake_model import FakeModel
from PIL import Image, ImageDraw

from mmkn_widgets.attribution import NeuronSet, predicted_from_sum, two_stage
from mmkn_widgets.core.errors import BadArgument, NotSupported
from mmkn_widgets.datasets import ObjectInstance, Scene
from mmkn_widgets.studies import Strongest
from mmkn_widgets.studies.on_scene import patch_mask

VOCABULARY = [
    *("car", "cars", "bus", "tree", "wheel", "red", "grass", "house"),
    *("room", "shows", "dark", "fish", "boat", "<b>x</b>", "night", "sea"),
]


def draw_scene(number: int, side: int = 96) -> tuple[Image.Image, Image.Image, np.ndarray]:
    """Return a picture with a car and a tree, the same without the car, and the car's mask."""
    rng = np.random.default_rng(number)
    big = side * 3
    without = Image.new("RGB", (big, big), (146, 200, 250))
    pen = ImageDraw.Draw(without)
    pen.rectangle((0, big // 2, big, big), fill=(104, 178, 74))
    tree = int(rng.uniform(0.55, 0.8) * big)
    pen.rectangle((tree - 8, big * 0.42, tree + 8, big * 0.55), fill=(120, 72, 40))
    pen.ellipse((tree - 50, big * 0.15, tree + 50, big * 0.46), fill=(40, 140, 60))
    picture = without.copy()
    mask = Image.new("1", (big, big))
    x, y = int(rng.uniform(0.12, 0.42) * big), int(rng.uniform(0.6, 0.75) * big)
    color = tuple(int(v) for v in rng.integers(60, 250, 3))
    for canvas, body, wheel in ((picture, color, (40, 40, 48)), (mask, 1, 1)):
        draw = ImageDraw.Draw(canvas)
        draw.rounded_rectangle((x, y, x + 92, y + 34), 10, fill=body)
        draw.rounded_rectangle((x + 18, y - 24, x + 70, y + 12), 10, fill=body)
        for left in (14, 60):
            draw.ellipse((x + left, y + 22, x + left + 24, y + 46), fill=wheel)
    small = (side, side)
    return (
        picture.resize(small, Image.Resampling.LANCZOS),
        without.resize(small, Image.Resampling.LANCZOS),
        np.asarray(mask.resize(small)),
    )


class FakeStudy:
    """What `mmkn_widgets.Study` offers the Explorer, from a seed."""

    def __init__(
        self, word: str = "car", layers: int = 6, neurons: int = 512, scenes: int = 6, seed: int = 0
    ) -> None:
        rng = np.random.default_rng(seed)
        self.rng = rng
        self.model = FakeModel(layers, neurons, word)
        self.concept = SimpleNamespace(
            word=word, forms=(word, word + "s"), named_in=lambda text: word in text
        )
        shape = (layers, neurons)
        d = np.abs(rng.normal(0.35, 0.18, shape)).astype(np.float32)
        g = np.abs(rng.normal(0, 0.012, shape) * (0.3 + d)).astype(np.float32)
        hot = rng.random(shape) < 0.02 * np.linspace(0.1, 2, layers)[:, None]
        d[hot] = rng.uniform(0.8, 2.0, int(hot.sum()))
        g[hot] = rng.uniform(0.03, 0.4, int(hot.sum()))
        activation = (d * rng.choice([-1, 1], shape)).astype(np.float32)
        dims = ("layer", "neuron")
        self.evidence = xr.Dataset(
            {
                "difference": (dims, d),
                "gradcam": (dims, g),
                "gradient_sum": (dims, (g * 0.2).astype(np.float32)),
                "activation": (dims, activation),
            }
        )
        self.options = {
            "positions": "predicting",
            "reduce": "max",
            "difference": "absolute",
            "target": "log_prob",
            "caption": "greedy",
            "prompt": None,
        }
        self._drawn = [draw_scene(k + 100 * seed) for k in range(scenes)]
        self.scenes = tuple(
            Scene(
                f"scene-{k}",
                picture,
                [f"a {word} and a tree", "a big tree on the grass"],
                [ObjectInstance(word, mask, (0, 0, 1, 1))],
                source="drawn",
                categories=[word],
            )
            for k, (picture, _, mask) in enumerate(self._drawn)
        )

    @property
    def scored(self) -> tuple[Scene, ...]:
        return self.scenes

    pairs = SimpleNamespace(name="drawn")
    dataset = None

    @property
    def captions(self) -> dict[int, str]:
        return {}

    def with_scene(self, scene: Any, place: int | None = None) -> Any:
        raise NotSupported("this study is drawn")

    def with_mask(self, scene: int, mask: np.ndarray) -> Any:
        return self

    def scenes_without(self, n: int) -> list[Scene]:
        return []

    def of_word(self, word: str, *, progress: Any = None, cancel: Any = None) -> Any:
        raise BadArgument(f"concept: got {word!r}, expected an object that the scenes show")

    def geometry(self, scene: int) -> Any:
        return SimpleNamespace(shape=(12, 12), approximate=self.approximate, reason=self.reason)

    approximate, reason = False, ""

    def patch_mask(self, scene: int, cells: Any) -> np.ndarray:
        return patch_mask(cells, (12, 12), self.scenes[scene].image.size)

    def strongest_scenes(
        self, row: int, index: int, n: int = 8, *, progress: Any = None, cancel: Any = None
    ) -> list[Strongest]:
        grids = [self.maps([row], [index], scene=k)[0] for k in range(len(self.scenes))]
        found = [Strongest.on(grid, k) for k, grid in enumerate(grids)]
        return sorted(found, key=lambda one: -one.value)[:n]

    def predicted_change(self, neurons: NeuronSet, scale: float = 0.0) -> float:
        sums = self.evidence["gradient_sum"].values
        return predicted_from_sum(sums, neurons.mask(self.model), scale)

    def save(self, path: Any, also: Any = None) -> Any:
        raise NotSupported("this study is drawn")

    def has_pair(self, scene: int) -> bool:
        return True

    def patch_scores(self, rows: Any, indices: Any, *, scene: int) -> Any:
        maps = np.abs(self.maps(rows, indices, scene=scene))
        return SimpleNamespace(difference=maps.mean(0), gradcam=maps.sum(0) * 0.01)

    def patch_words(self, scene: int, k: int = 3) -> list[list[str]]:
        return [[VOCABULARY[(cell + j) % 16] for j in range(k)] for cell in range(144)]

    def word_shares(self, scenes: Any = (), words: Any = (), **options: Any) -> xr.Dataset:
        options["progress"]("reading captions of other words", 1, 1)
        shape = self.evidence["difference"].shape
        values = np.random.default_rng(1).normal(0, 1, (3, *shape)).astype(np.float32)
        dims = ("word", "layer", "neuron")
        return xr.Dataset(
            {
                "contribution": (dims, values),
                "activation": (dims, values * 2),
                "captions": ("word", [6, 4, 2]),
            },
            coords={"word": ["bus", self.concept.word, "tree"]},
            attrs={"scenes": len(self.scenes) + len(scenes)},
        )

    def measured_change(
        self, scene: int, rows: Any = (), indices: Any = (), scale: float = 0.0
    ) -> Any:
        off = sum(item.n_neurons for item in self.model.interventions.active)
        predicted = -0.05 * len(rows) if len(rows) else None
        return SimpleNamespace(measured=-0.04 * off, predicted=predicted, unit="nats")

    def transplant(self, scene: int, index: int, mask: np.ndarray, **options: Any) -> Any:
        object = options.get("object", "")
        if not mask.any():
            raise BadArgument("threshold: the mask covers no patch")
        before = self.caption(scene).split()
        said = object or "patch"
        after = [*before[:index], said, *before[index + 1 :]]
        for piece in after:
            if options.get("cancel") is not None:
                options["cancel"].raise_if_cancelled()
            if options.get("on_token") is not None:
                options["on_token"](piece + " ", 0)
        return SimpleNamespace(
            before=" ".join(before),
            after=" ".join(after),
            word=before[index],
            index=index,
            said=said,
            success=True if object else None,
            layers=(4, 5),
        )

    def pictures(self, scene: int) -> tuple[Image.Image, Image.Image]:
        return self._drawn[scene][0], self._drawn[scene][1]

    def caption(self, scene: int) -> str:
        return f"a red {self.concept.word} next to a big green tree on the grass"

    def references(self, scene: int) -> tuple[str, ...]:
        return self.scenes[scene].captions

    def maps(self, rows: Any, indices: Any, *, scene: int, signed: bool = False) -> np.ndarray:
        rows, indices = np.asarray(rows), np.asarray(indices)
        mask = Image.fromarray(self._drawn[scene][2].astype(np.uint8) * 255).resize((12, 12))
        shape = np.asarray(mask, np.float32) / 255
        activation = self.evidence["activation"].values[rows, indices]
        noise = np.random.default_rng(scene).normal(0, 0.15, (len(rows), 12, 12))
        maps = activation[:, None, None] * (shape + noise)
        return (np.sign(activation)[:, None, None] * maps if signed else maps).astype(np.float32)

    def words(self, rows: Any, indices: Any, k: int = 6) -> list[list[str]]:
        width = self.evidence["difference"].shape[1]
        found = []
        for row, index in zip(rows, indices, strict=True):
            rng = np.random.default_rng(int(row) * width + int(index))
            found.append([str(word) for word in rng.permutation(VOCABULARY)[:k]])
        return found

    def tokens(self, scene: int, row: Any, index: Any) -> tuple[list[tuple[str, str, int]], Any]:
        if np.ndim(row):
            made = [self.tokens(scene, int(r), int(i)) for r, i in zip(row, index, strict=True)]
            return made[0][0], np.stack([values for _, values in made])
        rng = np.random.default_rng(scene * 104729 + row * 7919 + index)
        prompt = [("<s>", "special", -1), *[("", "image", -1)] * 144, ("describe", "text", -1)]
        said = [(word, "generated", k) for k, word in enumerate(self.caption(scene).split())]
        tokens = [*prompt, *said]
        return tokens, rng.normal(0, 1, len(tokens)).astype(np.float32)

    def neurons(self, **cuts: Any) -> NeuronSet:
        """For the tests alone: what the library keeps."""
        return two_stage(self.evidence, **cuts)

    def evaluate(
        self, neurons: NeuronSet, with_concept: Any, without_concept: Any = (), **options: Any
    ) -> Any:
        options["progress"]("captions after", 1, 2)
        return SimpleNamespace(
            suppression=0.94,
            retention={"scene": 0.99, "other": 1.0, "headline": 0.99},
            substitution=0.31,
            bleu={"with": {"between": 0.918}},
            random_control={"mean": 0.02, "max": 0.04},
            n_scenes={"with": len(with_concept), "without": len(without_concept)},
        )

    def frontier(self, with_concept: Any, without_concept: Any = (), **options: Any) -> Any:
        options["progress"]("captions of every set", 1, 2)
        sets = [self.neurons(top=n) for n in (5, 20, 40)]
        shares = {
            "suppression": [0.2, 0.9, np.nan],
            "retention": [1.0, 0.8, 0.5],
            "identical": [0.9, 0.7, 0.1],
            "substitution": [0.0, np.nan, 0.5],
            "random": [0.0, 0.1, 0.2],
        }
        points = xr.Dataset({name: ("point", values) for name, values in shares.items()})
        points["method"] = ("point", ["two_stage", "gradcam", "gradcam"])
        n = {"with": len(with_concept), "without": len(without_concept), "named": 1}
        return SimpleNamespace(points=points, sets=sets, concept=self.concept.word, n_scenes=n)

    def propose_thresholds(self, **options: Any) -> Any:
        d, g = self.evidence["difference"].values, self.evidence["gradcam"].values
        cuts_d, cuts_g = np.quantile(d, [0.9, 0.95, 0.97]), np.quantile(g, [0.95, 0.97, 0.98])
        points = xr.Dataset(
            {
                "threshold_d": ("setting", cuts_d),
                "threshold_g": ("setting", cuts_g),
                "neurons": ("setting", [100, 80, 60]),
                "suppression": ("setting", [0.98, 0.95, 0.81]),
                "retention": ("setting", [0.71, 0.97, 1.0]),
                "random_control": ("setting", [0.01, 0.0, np.nan]),
            }
        )
        return SimpleNamespace(
            points=points,
            frontier=np.arange(3),
            threshold_d=float(cuts_d[1]),
            threshold_g=float(cuts_g[1]),
            met=True,
        )
