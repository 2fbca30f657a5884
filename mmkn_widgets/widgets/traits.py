"""Every trait on the wire: its kind, what it may hold, and which part declares it.

js/src/core/traits.ts has the same. What a trait cannot hold is refused, from Python and from the
page alike, in words that name the trait, the value and what would be right.
"""

from __future__ import annotations

import copy
import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

import numpy as np
import traitlets as t

from ..core import BadArgument, bad_argument

__all__ = [
    "NOTHING_ACTIVE",
    "READY",
    "AblationTraits",
    "ActiveTraits",
    "CaptionTraits",
    "CutTraits",
    "EvidenceTraits",
    "ExplorerTraits",
    "MaskTraits",
    "ObjectTraits",
    "PictureTraits",
    "SceneTraits",
    "StatusTraits",
    "TokenTraits",
    "WordTraits",
    "WrongTrait",
    "bad_trait",
    "boolean",
    "choice",
    "data",
    "flag_of",
    "json",
    "late",
    "late_traits",
    "like",
    "number",
    "said",
    "text",
    "whole",
    "wholes",
]

G = TypeVar("G")
_KIND = "wire"
#: longer values are not written out in an error
_SAID_LIST, _SAID_TEXT = 12, 200


class WrongTrait(BadArgument, t.TraitError):
    """A trait was given a value that it cannot hold; also a `traitlets.TraitError`."""


class _Words(str):
    """What an error says of a value, not in quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def said(value: Any) -> object:
    """Return a value of any size and depth as an error may repeat it."""
    if isinstance(value, bytes | bytearray | memoryview):
        return _Words(f"{memoryview(value).nbytes} bytes")
    if isinstance(value, str):
        return value[:_SAID_TEXT]
    if isinstance(value, list | tuple) and len(value) > _SAID_LIST:
        return _Words(f"a list of {len(value)}")
    try:
        return _Words(repr(value)[:_SAID_TEXT])
    except RecursionError:
        return _Words(f"a deeply nested {type(value).__name__}")


def bad_trait(name: str, value: Any, wanted: str) -> WrongTrait:
    """Return the error for a trait; its text is `bad_argument`'s."""
    return WrongTrait(str(bad_argument(name, said(value), wanted)))


# -- kinds: what travels, as the contract with the page names it ---------------------------------


class _Wire(t.TraitType[G, Any], Generic[G]):
    """A trait that travels and that refuses what it cannot hold."""

    kind: ClassVar[str]
    late = False

    def __init__(self, default: Any, doc: str) -> None:
        super().__init__(default, help=doc)
        self.tag(sync=True, **{_KIND: self.kind})

    def default(self, obj: Any = None) -> Any:
        """Return a default of the widget's own: none is shared between two widgets."""
        return copy.deepcopy(self.default_value)

    def wanted(self, obj: Any) -> str:
        """What would be right, as the end of "expected ..."."""
        raise NotImplementedError

    def error(
        self, obj: Any, value: Any, error: Exception | None = None, info: str | None = None
    ) -> NoReturn:
        """Refuse a value."""
        raise bad_trait(f"{type(obj).__name__}.{self.name}", value, self.wanted(obj)) from error

    def get(self, obj: Any, cls: Any = None) -> Any:
        """Return the value; one that is `late` is brought up to date first."""
        if self.late:
            obj.catch_up()
        return super().get(obj, cls)


class _Number(_Wire[float]):
    kind = "float"

    def __init__(self, default: float, doc: str, low: float, high: float) -> None:
        super().__init__(default, doc)
        self.low, self.high = low, high

    def wanted(self, obj: Any) -> str:
        if math.isinf(self.low) and math.isinf(self.high):
            return "a finite number"
        return f"a number from {self.low:g} to {self.high:g}"

    def validate(self, obj: Any, value: Any) -> float:
        if not isinstance(value, bool) and isinstance(value, numbers.Real):
            try:
                found = float(value)
            except OverflowError:
                found = math.inf
            if math.isfinite(found) and self.low <= found <= self.high:
                return found
        self.error(obj, value)


class _Whole(_Wire[int]):
    kind = "int"

    def __init__(self, default: int, doc: str, low: int, beyond: Callable[[Any], int]) -> None:
        super().__init__(default, doc)
        self.low, self.beyond = low, beyond

    def wanted(self, obj: Any) -> str:
        return f"a whole number, {self.low} to {max(self.beyond(obj) - 1, self.low)}"

    def validate(self, obj: Any, value: Any) -> int:
        if _is_whole(value) and self.low <= value < max(self.beyond(obj), self.low + 1):
            return int(value)
        self.error(obj, value)


class _Boolean(_Wire[bool]):
    kind = "bool"

    def wanted(self, obj: Any) -> str:
        return "True or False"

    def validate(self, obj: Any, value: Any) -> bool:
        if isinstance(value, bool | np.bool_):
            return bool(value)
        self.error(obj, value)


class _Text(_Wire[str]):
    kind = "text"

    def __init__(self, default: str, doc: str, options: Sequence[str] = ()) -> None:
        super().__init__(default, doc)
        self.options = tuple(options)

    def wanted(self, obj: Any) -> str:
        return "one of " + ", ".join(map(repr, self.options)) if self.options else "a text"

    def validate(self, obj: Any, value: Any) -> str:
        if isinstance(value, str) and (not self.options or value in self.options):
            return str(value)
        self.error(obj, value)


class _Data(_Wire[bytes]):
    kind = "bytes"

    def wanted(self, obj: Any) -> str:
        return "bytes"

    def validate(self, obj: Any, value: Any) -> bytes:
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value)
        self.error(obj, value)


@dataclass(frozen=True)
class Shape:
    """What a JSON value must look like.

    Attributes
    ----------
    wants : str
        In words, as the end of "expected ...".
    fits : callable
        ``fits(value, widget) -> bool``.
    """

    wants: str
    fits: Callable[[Any, Any], bool]


class _Json(_Wire[Any]):
    kind = "json"

    def __init__(self, default: Any, doc: str, shape: Shape) -> None:
        super().__init__(default, doc)
        self.shape = shape

    def wanted(self, obj: Any) -> str:
        return self.shape.wants

    def validate(self, obj: Any, value: Any) -> Any:
        if not self.shape.fits(value, obj):
            self.error(obj, value)
        if isinstance(value, list | tuple):  # a copy: who changes theirs does not change ours
            return list(value)
        return dict(value) if isinstance(value, dict) else value


class _Wholes(_Json):
    """A list of whole numbers from 0, each below a limit of the widget."""

    def __init__(self, doc: str, beyond: Callable[[Any], int]) -> None:
        self.beyond = beyond
        super().__init__([], doc, listing(WHOLE))

    def wanted(self, obj: Any) -> str:
        return f"a list of whole numbers from 0 to {self.beyond(obj) - 1}"

    def validate(self, obj: Any, value: Any) -> list[int]:
        last = self.beyond(obj)
        if isinstance(value, list | tuple | np.ndarray):
            found = list(value)
            if all(_is_whole(one) and 0 <= one < last for one in found):
                return [int(one) for one in found]
        self.error(obj, value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def flag_of(trait: t.TraitType[Any, Any]) -> str | None:
    """Return the kind of a synced trait of ours, or None."""
    return trait.metadata.get(_KIND)


def number(
    value: float = 0.0, doc: str = "", *, low: float = -math.inf, high: float = math.inf
) -> _Number:
    """A finite float64."""
    return _Number(value, doc, low, high)


def whole(value: int, doc: str, *, low: int = 0, beyond: Callable[[Any], int]) -> _Whole:
    """A whole number from `low`, below what ``beyond(widget)`` says; `low` itself always is one."""
    return _Whole(value, doc, low, beyond)


def boolean(value: bool = False, doc: str = "") -> _Boolean:
    """True or false."""
    return _Boolean(value, doc)


def text(value: str = "", doc: str = "") -> _Text:
    """Plain text; the page never reads it as HTML."""
    return _Text(value, doc)


def choice(options: Sequence[str], doc: str = "", value: str | None = None) -> _Text:
    """One of some words; the first where nothing else is said."""
    return _Text(options[0] if value is None else value, doc, options)


def data(doc: str = "") -> _Data:
    """Bytes: little-endian arrays or an encoded picture; a binary buffer on the wire."""
    return _Data(b"", doc)


def json(value: Any, doc: str, shape: Shape) -> _Json:
    """Lists and dicts of JSON values (bytes inside travel as binary buffers)."""
    return _Json(value, doc, shape)


def wholes(doc: str, *, beyond: Callable[[Any], int]) -> _Wholes:
    """A list of whole numbers from 0, below what ``beyond(widget)`` says."""
    return _Wholes(doc, beyond)


W = TypeVar("W", bound=_Wire[Any])


def late(trait: W) -> W:
    """Mark a trait that costs work: a widget that no page shows does it when the trait is read."""
    trait.late = True
    return trait


def like(trait: W, of: str = "") -> W:
    """Return a trait like another, for another class.

    Parameters
    ----------
    trait : trait
    of : str
        The attribute of the widget whose trait it mirrors: that object sets the limits.
    """
    made = copy.copy(trait)
    made.metadata = dict(trait.metadata)
    if of and isinstance(made, _Whole | _Wholes):
        beyond = made.beyond
        made.beyond = lambda widget: beyond(getattr(widget, of))
    return made


def late_traits(cls: type) -> frozenset[str]:
    """Return the names of a class's `late` traits."""
    found: dict[str, bool] = {}
    for base in reversed(cls.__mro__):
        found |= {n: v.late for n, v in vars(base).items() if isinstance(v, _Wire)}
    return frozenset(name for name, marked in found.items() if marked)


# -- shapes of JSON values -------------------------------------------------------------------------


def _is_number(value: Any, _: Any = None) -> bool:
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and math.isfinite(float(value))


NUMBER = Shape("a finite number", _is_number)
WHOLE = Shape("a whole number", lambda value, _: _is_whole(value))
TEXT = Shape("a text", lambda value, _: isinstance(value, str))
FLAG = Shape("True or False", lambda value, _: isinstance(value, bool))
BYTES = Shape("bytes", lambda value, _: isinstance(value, bytes | bytearray | memoryview))


def listing(item: Shape, n: int | None = None) -> Shape:
    """A list of one shape, of `n` items where that is said."""

    def fits(value: Any, obj: Any) -> bool:
        right = isinstance(value, list | tuple) and (n is None or len(value) == n)
        return right and all(item.fits(one, obj) for one in value)

    return Shape(f"a list of {'' if n is None else f'{n} '}{item.wants}", fits)


def maybe(item: Shape) -> Shape:
    """A shape, or None."""
    return Shape(
        f"{item.wants}, or None", lambda value, obj: value is None or item.fits(value, obj)
    )


def mapping(item: Shape) -> Shape:
    """A dict from text to one shape."""

    def fits(value: Any, obj: Any) -> bool:
        return isinstance(value, dict) and all(
            isinstance(key, str) and item.fits(one, obj) for key, one in value.items()
        )

    return Shape(f"a dict of {item.wants}", fits)


def record(**fields: Shape) -> Shape:
    """A dict with exactly these keys."""

    def fits(value: Any, obj: Any) -> bool:
        return (
            isinstance(value, dict)
            and value.keys() == fields.keys()
            and all(shape.fits(value[name], obj) for name, shape in fields.items())
        )

    return Shape("a dict of " + ", ".join(fields), fits)


_MEASURE = record(value=NUMBER, random=maybe(NUMBER))
_SAID_OF = record(value=NUMBER, random=maybe(NUMBER), scenes=WHOLE)
_ACTIVE = record(label=TEXT, count=WHOLE, mode=TEXT, own=FLAG)
WORDS = listing(listing(TEXT))
_LINE = record(name=TEXT, before=TEXT, after=TEXT, own=FLAG)
_GRID = record(rows=WHOLE, cols=WHOLE, extent=listing(NUMBER, 4), approximate=FLAG, reason=TEXT)
#: as `PART_EFFECTS` says it: what switching off a part did to either concept
PART_EFFECTS = listing(record(part=TEXT, neurons=WHOLE, a=maybe(_SAID_OF), b=maybe(_SAID_OF)))

READY: dict[str, Any] = {
    "state": "ready",
    "stage": "",
    "done": 0,
    "total": 0,
    "seconds_left": None,
    "action": "",
    "message": "",
    "remedy": "",
}

NOTHING_ACTIVE: dict[str, Any] = {
    "active": [],
    "can_undo": False,
    "can_redo": False,
    "steps": [0, 0, 0],
    "predicted": None,
    "predicted_here": None,
    "measured": None,
    "unit": "",
    "why": "",
    "code": "",
}

NO_GRID: dict[str, Any] = {
    "rows": 0,
    "cols": 0,
    "extent": [0.0, 0.0, 1.0, 1.0],
    "approximate": False,
    "reason": "",
}

PRESETS = ("compact", "teaching", "full")
COLORMAPS = ("inferno", "viridis", "cividis", "greys")


def _n_rows(widget: Any) -> int:
    return int(widget.shape[0])


def _n_ids(widget: Any) -> int:
    return int(widget.shape[0] * widget.shape[1])


def _n_scenes(widget: Any) -> int:
    return len(widget.scenes)


# -- who declares which ------------------------------------------------------------------------


class StatusTraits(t.HasTraits):
    """What a widget is doing, and what went wrong."""

    status = json(
        READY,
        "state, stage, done, total, seconds_left; of an error: action, message, remedy",
        record(
            state=Shape("a state", lambda v, _: v in ("ready", "working", "error", "closed")),
            stage=TEXT,
            done=WHOLE,
            total=WHOLE,
            seconds_left=maybe(NUMBER),
            action=TEXT,
            message=TEXT,
            remedy=TEXT,
        ),
    )
    read_only = boolean(False, "a saved view without a kernel")


class CutTraits(t.HasTraits):
    """Two thresholds."""

    mode = choice(("absolute", "quantile"), "absolute or quantile thresholds")
    threshold_d = number(0.0, "stage 1 keeps what is greater, compared in float32")
    threshold_g = number(0.0, "stage 2 keeps what is greater, compared in float32")
    quantile_d = number(0.95, "stage 1 in mode quantile", low=0, high=1)
    quantile_g = number(0.95, "stage 2 in mode quantile", low=0, high=1)


SHAPE = listing(WHOLE, 2)
ROWS = listing(listing(WHOLE, 2))


_ID = Shape("flat ids", lambda value, widget: _is_whole(value) and 0 <= value < _n_ids(widget))


class EvidenceTraits(CutTraits):
    """The reduced scores of every neuron and the thresholds that choose among them."""

    shape = json([0, 0], "rows and columns of the arrays: (layer, neuron)", SHAPE)
    rows = json([], "layer and expert (-1: dense) of each row", ROWS)
    labels = json({}, "what the axes mean: difference, gradcam, activation, score", mapping(TEXT))
    difference = data("float32 (layer, neuron): stage 1")
    gradcam = data("float32 (layer, neuron): stage 2")
    gradient_sum = data("float32 (layer, neuron): sum over positions of O dy/dO")
    activation = data("float32 (layer, neuron): mean where the word is predicted, or empty")
    unchecked = wholes(
        "flat ids (row * columns + index) of neurons unchecked by hand", beyond=_n_ids
    )
    rows_off = wholes("rows switched off", beyond=_n_rows)
    axis = choice(("", "linear", "log"), "linear, log, or empty: what suits")
    marks = json(
        [],
        "measured points of the threshold search",
        listing(
            record(
                threshold_d=NUMBER,
                threshold_g=NUMBER,
                count=WHOLE,
                suppression=NUMBER,
                retention=NUMBER,
                substitution=maybe(NUMBER),
                random=maybe(NUMBER),
            )
        ),
    )
    picked = json(
        None,
        "a set that no thresholds make, kept while they stay where they were when it was picked",
        maybe(
            record(
                ids=listing(_ID),
                label=TEXT,
                mode=TEXT,
                threshold_d=NUMBER,
                threshold_g=NUMBER,
                quantile_d=NUMBER,
                quantile_g=NUMBER,
            )
        ),
    )
    selected = whole(-1, "flat id of the chosen neuron, -1 for none", low=-1, beyond=_n_ids)


class WordTraits(t.HasTraits):
    """The words that the prefetched neurons write."""

    map_ids = data("int32: flat ids of the prefetched neurons, best first")
    words = json([], "words of the first prefetched neurons, in their order", WORDS)
    concept_forms = json([], "the forms of the concept's word", listing(TEXT))


class PictureTraits(t.HasTraits):
    """The picture, its inpainted twin and the maps that lie on it."""

    picture = data("the picture, PNG or JPEG")
    inpainted = data("the picture without the object, PNG or JPEG")
    grid = json(NO_GRID, "the token grid on the picture", _GRID)
    overlay = choice(
        ("kept", "neuron", "difference", "gradcam", "none"),
        "kept, neuron, difference, gradcam or none",
    )
    opacity = number(0.6, "of the overlay's largest value", low=0, high=1)
    colormap = choice(COLORMAPS, "inferno, viridis, cividis or greys")
    smooth = boolean(True, "bilinear samples instead of patches")
    signed = boolean(False, "maps times the sign of the neuron's mean activation")
    above_percentile = boolean(False, "only what is above the map's 95th percentile")
    maps = data("uint8 (prefetched neuron, row, column)")
    map_scale = data("float32 (prefetched neuron)")
    map_offset = data("float32 (prefetched neuron): value = offset + scale * byte")
    map_sign = data("int8 (prefetched neuron): sign at the predicting position")
    difference_map = data("float32 (row, column): stage 1, mean over the kept, or empty")
    gradcam_map = data("float32 (row, column): stage 2, sum over the kept, or empty")
    patch_words = json([], "words that the logit lens reads at each patch", WORDS)


class CaptionTraits(t.HasTraits):
    """The caption before and after, and what was measured."""

    concept = text("", "the word looked for")
    caption_before = text("", "greedy, of the unchanged model")
    caption_after = text("", "greedy, with what is active; empty when nothing is")
    references = json([], "reference captions", listing(TEXT))
    transplanted = json(
        None,
        "object, word, index, said, success, layers of the transplant in caption_after",
        maybe(
            record(
                object=TEXT,
                word=TEXT,
                index=WHOLE,
                said=TEXT,
                success=maybe(FLAG),
                layers=listing(WHOLE),
            )
        ),
    )
    transplants = boolean(False, "whether words take an object or patches of the picture")
    effect = json(
        None,
        "measures by name (value, random), neurons, scenes, held_out",
        maybe(record(measures=mapping(_MEASURE), neurons=WHOLE, scenes=WHOLE, held_out=FLAG)),
    )


class TokenTraits(t.HasTraits):
    """The sequence and one value per token."""

    tokens = json(
        [],
        "text, role and step of each token",
        listing(record(text=TEXT, role=TEXT, step=WHOLE)),
    )
    token_values = data("float32 (token), or empty")
    token_label = text("", "what the values are")


class ObjectTraits(t.HasTraits):
    """The data set's objects on the picture."""

    mask_shape = json([0, 0], "rows and columns of the mask", SHAPE)
    objects = json(
        [],
        "name and area (share) of the data set's objects",
        listing(record(name=TEXT, area=NUMBER)),
    )
    object_masks = json([], "uint8 mask of each object, in the mask's shape", listing(BYTES))


class MaskTraits(ObjectTraits):
    """The mask of what is painted away."""

    mask = data("uint8 (row, column): above 0 is masked")


ACTIVE = record(
    active=listing(_ACTIVE),
    can_undo=FLAG,
    can_redo=FLAG,
    steps=listing(WHOLE, 3),
    predicted=maybe(NUMBER),
    predicted_here=maybe(NUMBER),
    measured=maybe(NUMBER),
    unit=TEXT,
    why=TEXT,
    code=TEXT,
)


class ActiveTraits(t.HasTraits):
    """What is active on the model."""

    ablation = late(
        json(
            NOTHING_ACTIVE,
            "active interventions, undo and redo, predicted and measured change and their unit, "
            "and the Python lines that do the same",
            ACTIVE,
        )
    )


class AblationTraits(ActiveTraits):
    """What is active on the model, and what the next click does."""

    ablate_mode = choice(
        ("zero", "mean", "scale", "from_inpainted"), "zero, mean, scale or from_inpainted"
    )
    ablate_scale = number(0.0, "the factor of mode scale")


class SceneTraits(t.HasTraits):
    """The study's scenes."""

    scene = whole(0, "which scene is shown", beyond=_n_scenes)
    scenes = json(
        [],
        "name, caption before and after of each scene, and whether it is a picture of one's own",
        listing(_LINE),
    )
    thumbnails = json([], "a small picture of each scene, PNG or JPEG bytes", listing(BYTES))
    stale = wholes(
        "scenes whose mask was painted anew since the scores were computed", beyond=_n_scenes
    )
    uploads = boolean(False, "whether the page may bring a picture of one's own")


FACTS = record(
    model=TEXT,
    layers=WHOLE,
    neurons=WHOLE,
    device=TEXT,
    scenes=WHOLE,
    own=WHOLE,
    seconds=maybe(NUMBER),
    inpainter=TEXT,
    knows=TEXT,
)
#: of a model that nobody has named yet
NO_FACTS: dict[str, Any] = {
    "model": "",
    "layers": 0,
    "neurons": 0,
    "device": "",
    "scenes": 0,
    "own": 0,
    "seconds": None,
    "inpainter": "",
    "knows": "",
}


def facts_trait() -> _Json:
    """Return the trait of the facts in the widget's head."""
    said = "model, layers, neurons, device, scenes, how many of them are one's own, seconds, "
    return json(NO_FACTS, said + "inpainter, and the only pictures that the model knows", FACTS)


class ExplorerTraits(
    EvidenceTraits,
    WordTraits,
    PictureTraits,
    CaptionTraits,
    TokenTraits,
    MaskTraits,
    AblationTraits,
    SceneTraits,
):
    """All of it."""

    caption_after = late(like(CaptionTraits.caption_after))
    caption_inpainted = text(
        "",
        "of the shown scene with the object painted away, by the unchanged model; once asked for",
    )
    transplanted = late(like(CaptionTraits.transplanted))
    facts = facts_trait()
    concepts = json([], "words to offer", listing(TEXT))
    concept_tokens = json([], "the concept's tokens in this tokenizer", listing(TEXT))
    frontier = json(
        None,
        "sets of several methods and sizes with their figures, on how many scenes, held out or not",
        maybe(
            record(
                points=listing(
                    record(
                        method=TEXT,
                        count=WHOLE,
                        suppression=NUMBER,
                        retention=NUMBER,
                        identical=maybe(NUMBER),
                        substitution=maybe(NUMBER),
                        random=maybe(NUMBER),
                        ids=listing(WHOLE),
                    )
                ),
                scenes=WHOLE,
                held_out=FLAG,
            )
        ),
    )
    preset = choice(PRESETS, "compact, teaching or full", "full")
    setup_code = text("", "Python lines that make `study`")
    found_code = text("", "Python lines that print the neurons and the shown scene's caption")
