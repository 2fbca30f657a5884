"""Inputs of any shape: each is taken, or refused in the package's own words."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import struct
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes
from PIL import Image

import mmkn_widgets as mmkn
from mmkn_widgets import cli
from mmkn_widgets.core import BLANK, NeuronSet, neuron_rows, stamp
from mmkn_widgets.datasets import decode_segmentation, read_image, read_mask
from mmkn_widgets.interventions import edit, load_edit
from mmkn_widgets.interventions.editing import _stamped
from tests.unit.core.killed import store as killed_store
from tests.unit.datasets import test_coco_as_tools_write_it as tools
from tests.wire.conftest import Page

from .tally import Tally, share_out

#: what is tried in one run of hypothesis: it remembers all of a run
RUN = 1000
#: what a small file may ask for before it is refused
MOST = 500e6
JSON = tools.JSON
Check = Callable[..., None]


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """Take the package's own errors, with words in them, for an answer."""
    try:
        yield
    except mmkn.MmknError as error:
        said = str(error)
    else:
        return
    assert said.strip(), "an error without words"


def changed(held: Any, draw: Any, value: Any) -> Any:
    """Return a JSON document with one place of it replaced, or taken out (value ...)."""
    keys = list(held) if isinstance(held, dict) else list(range(len(held)))
    if not keys:
        return value
    key = draw(st.sampled_from(keys))
    deeper = isinstance(held[key], dict | list) and held[key] and draw(st.integers(0, 3))
    new = changed(held[key], draw, value) if deeper else value
    if isinstance(held, dict):
        kept = {k: new if k == key else v for k, v in held.items()}
        if new is ...:
            del kept[key]
        return kept
    kept = [new if k == key else v for k, v in enumerate(held)]
    return [v for v in kept if v is not ...]


@st.composite
def documents(draw: Any, whole: Any) -> Any:
    """Return a JSON document with up to three of its places changed."""
    made = whole
    for _ in range(draw(st.integers(1, 3))):
        if isinstance(made, dict | list):
            made = changed(made, draw, draw(JSON | st.just(...)))
    return None if made is ... else made


def sealed(held: Any) -> str:
    """Return JSON text with a checksum that fits, wherever the document has its own."""

    def blank(part: Any) -> Any:
        if isinstance(part, dict):
            return {k: BLANK if k == "checksum" else blank(v) for k, v in part.items()}
        return [blank(v) for v in part] if isinstance(part, list) else part

    text = json.dumps(blank(held), indent=1)
    return stamp(text) if BLANK in text else text


# -- targets: strategies, and a check that takes what they draw -----------------------------------


class Targets:
    """Everything that takes input from outside, each with what may be given to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = mmkn.load_model("pocket")

    def neuron_set(self) -> tuple[Check, dict[str, Any]]:
        whole = json.loads(
            NeuronSet(
                [1, 2, 5], [3, 500, 7], score=[0.5, 0.25, 1e-9], words=[["a"], ["b"], ["c"]]
            ).to_json()
        )
        numbers = st.lists(JSON | st.integers(0, 600), max_size=4)

        def check(document: Any, text: str, column: Any, other: Any) -> None:
            for given_text in (json.dumps(document), text):
                with refused():
                    made = NeuronSet.from_json(given_text)
                    again = NeuronSet.from_json(made.to_json())
                    assert again == made
            with refused():
                made = NeuronSet(column, other, score=column[:1] or None)
                assert all(isinstance(n.index, int) and n.index >= 0 for n in made)
            with refused():
                rows = neuron_rows(self.model, list(zip(column, other, strict=False)))
                assert all(0 <= i < 512 for index in rows.values() for i in index)

        return check, {
            "document": documents(whole), "text": st.text(max_size=40),
            "column": numbers, "other": numbers,
        }  # fmt: skip

    def patch(self) -> tuple[Check, dict[str, Any]]:
        path = self.folder / "a.safetensors"
        edit(
            self.model, {5: [1, 2], 3: [9]}, "car", "boat", activation=np.ones((6, 512))
        ).save(path)  # fmt: skip
        raw = path.read_bytes()
        size = int.from_bytes(raw[:8], "little")
        header, body = json.loads(raw[8 : 8 + size]), raw[8 + size :]

        def check(document: Any, seal: bool, cut: int | None, tail: bytes, length: int) -> None:
            text = json.dumps(document, separators=(",", ":")).encode()
            made = struct.pack("<Q", max(0, len(text) + length)) + text + body + tail
            if seal and isinstance(document, dict):
                about = document.get("__metadata__")
                found = about.get("checksum") if isinstance(about, dict) else None
                made = _stamped(made, found) if isinstance(found, str) else made
            path.write_bytes(made[:cut])
            with refused():
                load_edit(self.model, path)

        return check, {
            "document": documents(header), "seal": st.booleans(),
            "cut": st.none() | st.integers(0, len(raw)),
            "tail": st.just(b"") | st.binary(max_size=9),
            "length": st.just(0) | st.integers(-9, 2**40),
        }  # fmt: skip

    def store(self) -> tuple[Check, dict[str, Any]]:
        save, _ = killed_store()
        save(self.folder, 1)
        save(self.folder, 2)
        whole, broken = self.folder / "s", self.folder / "broken"
        texts = {f.relative_to(whole): f.read_text() for f in sorted(whole.rglob("*.json"))}
        shutil.copytree(whole, broken)
        names = st.sampled_from(sorted(texts))
        changes = names.flatmap(
            lambda name: st.tuples(st.just(name), documents(json.loads(texts[name])))
        )

        def check(change: Any, seal: bool, raw: bytes) -> None:
            name, document = change
            file = broken / name
            try:
                file.write_text(sealed(document) if seal else json.dumps(document))
                if raw:
                    file.write_bytes(raw)
                with refused():
                    held = mmkn.open_store(broken)
                    assert held.nbytes < MOST, f"takes {held.nbytes / 1e9:.1f} GB"
                    held.load()
                    repr(held)
            finally:
                file.write_text(texts[name])

        return check, {
            "change": changes, "seal": st.booleans(), "raw": st.just(b"") | st.binary(max_size=30),
        }  # fmt: skip

    def coco(self) -> tuple[Check, dict[str, Any]]:
        test = tools.test_any_file_either_loads_or_says_what_is_wrong
        folder = self.folder / "coco"

        def check(changes: Any, cut: Any, area: bool) -> None:
            test.hypothesis.inner_test(folder, changes, cut, area)

        cuts = st.one_of([st.none()] * 5 + [st.integers(0, 900)])
        return check, {"changes": tools.CHANGES, "cut": cuts, "area": st.booleans()}

    def images(self) -> tuple[Check, dict[str, Any]]:
        heads = []
        for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "TGA"):
            held = io.BytesIO()
            Image.new("RGB", (8, 6), (200, 30, 9)).save(held, kind)
            heads.append(held.getvalue())
        pixels = arrays(scalar_dtypes(), array_shapes(min_dims=0, max_dims=4, max_side=5))

        def check(raw: bytes, place: int, junk: bytes, array: np.ndarray, odd: Any) -> None:
            place %= len(raw)
            for source in (raw[:place] + junk + raw[place + len(junk) :], junk, array, odd):
                with refused():
                    made = read_image(source)
                    assert made.mode == "RGB"

        return check, {
            "raw": st.sampled_from(heads), "place": st.integers(0, 2**20),
            "junk": st.binary(max_size=8), "array": pixels, "odd": JSON,
        }  # fmt: skip

    def masks(self) -> tuple[Check, dict[str, Any]]:
        point = st.floats(-1e6, 1e6) | st.floats() | st.integers(-(10**30), 10**30) | st.none()
        polygon = st.lists(point, max_size=12)
        counts = (
            st.lists(st.integers(-5, 1300), max_size=6)
            | st.text(max_size=9)
            | st.binary(max_size=9)
        )
        lengths = st.fixed_dictionaries(
            {"size": st.just([30, 40]) | st.lists(point, max_size=3), "counts": counts}
        )
        shape = st.just((30, 40)) | array_shapes(min_dims=0, max_dims=3, max_side=4)
        values = arrays(scalar_dtypes(), shape)
        anything = st.one_of(
            polygon, st.lists(polygon, max_size=3), lengths, values, JSON,
            st.fixed_dictionaries({"segmentation": JSON | lengths | st.lists(polygon, max_size=2)}),
        )  # fmt: skip

        def check(source: Any, raw: bytes) -> None:
            for given_mask in (source, [source, source], raw):
                with refused():
                    made = read_mask(given_mask, (40, 30))
                    assert made.shape == (30, 40) and made.dtype == bool
            with contextlib.suppress(ValueError):  # as it says: with the reason
                assert decode_segmentation(source, 30, 40).shape == (30, 40)

        return check, {"source": anything, "raw": st.binary(max_size=20)}

    def traits(self) -> tuple[Check, dict[str, Any]]:
        from fake_study import FakeStudy

        explorer = mmkn.Explorer(FakeStudy(layers=2, neurons=40, scenes=2))
        names = [
            name for name, trait in explorer.traits().items()
            if trait.metadata.get("sync") and not name.startswith("_") and name not in
            ("comm", "keys", "layout", "tabbable", "tooltip")
        ]  # fmt: skip

        def check(name: str, value: Any, page: bool) -> None:
            before = getattr(explorer, name)
            if page:
                explorer.set_state({name: value})
            else:
                said = None
                try:
                    setattr(explorer, name, value)
                except mmkn.BadArgument as error:
                    said = str(error)
                if said is not None:
                    assert len(said) < 2000
                    same = getattr(explorer, name)
                    assert same is before or repr(same) == repr(before)
            explorer.wait()
            json.dumps(explorer.status, allow_nan=False)

        return check, {
            "name": st.sampled_from(names),
            "value": JSON | st.binary(max_size=9) | st.lists(st.integers(-1, 90), max_size=3)
            | st.floats() | st.integers(-1, 90),
            "page": st.booleans(),
        }  # fmt: skip

    def messages(self) -> tuple[Check, dict[str, Any]]:
        from tests.wire import test_messages as wire

        pages = {name: Page(make()) for name, make in wire.MAKE.items()}
        log = SimpleNamespace(clear=lambda: None, text="see the log")
        one = wire.test_every_request_gets_one_reply_that_json_can_carry.hypothesis.inner_test
        any_shape = wire.test_messages_of_any_shape_are_answered_or_passed_over
        odd = any_shape.hypothesis.inner_test

        def check(page: str, name: str, args: Any, buffers: Any, content: Any) -> None:
            one(any_page=pages[page], name=name, args=args, buffers=buffers, caplog=log)
            odd(any_page=pages[page], content=content)

        return check, {
            "page": st.sampled_from(sorted(pages)), "name": st.sampled_from(wire.NAMES),
            "args": wire.ARGS | wire.JSON, "buffers": wire.BUFFERS,
            "content": wire.JSON | st.dictionaries(
                st.sampled_from(["kind", "id", "name", "args"]), wire.JSON),
        }  # fmt: skip

    def command_line(self) -> tuple[Check, dict[str, Any]]:
        class Loaded(mmkn.MmknError):
            """The arguments were taken; the rest is work."""

        def loaded(*_: Any) -> Any:
            raise Loaded("loaded")

        options = [
            "--model", "--device", "--dtype", "--json", "--concept", "--image", "--mask",
            "--dataset", "--test", "--threshold-d", "--threshold-g", "--quantile-d", "--top",
            "--inpainter", "--positions", "--difference", "--seed", "--out", "--choose",
            "--concepts", "--methods", "--scenes", "--neurons", "--n-random", "--bertscore",
            "--jobs",
        ]  # fmt: skip
        plain = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
        word = st.one_of(
            plain, st.sampled_from(options), st.integers().map(str), st.floats().map(str),
            st.sampled_from(["cpu", "cuda:9", "auto", "car", "pocket:val", "nan", "..", "/", "~",
                             "x" * 300, "a/b", "-1", "1e400", "\0", "\ud800", "find", "study"]),
        )  # fmt: skip
        valued = st.tuples(st.sampled_from(options), word)
        lines = st.tuples(
            st.sampled_from([["find", "--concept", "car"], ["study", "--out", "new"], ["find"],
                             ["study"], ["explore", "pocket", "--html", "new.html"], []]),
            st.lists(valued | st.tuples(word), max_size=4),
        ).map(lambda given: [*given[0], *(part for more in given[1] for part in more)])  # fmt: skip
        held = cli._load, cli._study_jobs
        cli._load, cli._study_jobs = loaded, loaded  # type: ignore[assignment]
        self.undo = lambda: (setattr(cli, "_load", held[0]), setattr(cli, "_study_jobs", held[1]))
        place = self.folder / "here"
        place.mkdir()

        def check(line: list[str]) -> None:
            said, before = io.StringIO(), Path.cwd()
            os.chdir(place)
            try:
                with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                    code: Any = cli.main(line)
            except SystemExit as stop:
                code = stop.code
            finally:
                os.chdir(before)
            assert code in (0, 2), code
            assert "Traceback" not in said.getvalue()
            assert said.getvalue().strip(), "not a word"
            assert not list(place.iterdir()), "something was written before the work"

        return check, {"line": lines}


TARGETS = ("neuron_set", "patch", "store", "coco", "images", "masks", "traits", "messages",
           "command_line")  # fmt: skip


def run(tally: Tally, count: int, seed: int) -> None:
    """Draw inputs for every target; of a target that fails the smallest input is told."""
    reached: list[str] = []
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, n in share_out(count, TARGETS).items():
            folder = Path(place) / name
            folder.mkdir()
            start = time.perf_counter()
            targets = Targets(folder)
            check, strategies = getattr(targets, name)()
            try:
                tried = _try(tally, name, check, strategies, n, seed)
            finally:
                if name == "command_line":
                    targets.undo()
            reached.append(f"{name} {tried:,} ({time.perf_counter() - start:.0f} s)")
    tally.note = ", ".join(reached)


def _try(
    tally: Tally, name: str, check: Check, strategies: dict[str, Any], n: int, seed: int
) -> int:
    tried = [0]

    def counted(**given_input: Any) -> None:
        tried[0] += 1
        check(**given_input)

    while tried[0] < n:
        asked = settings(
            max_examples=min(RUN, n - tried[0]), deadline=None, database=None,
            phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        test = asked(hypothesis.seed(seed * 10**6 + tried[0])(given(**strategies)(counted)))
        try:
            test()
        except Exception as error:
            notes = " | ".join([*getattr(error, "__notes__", []), *_inside(error)])
            tally.fail(name, f"{type(error).__name__}: {str(error)[:400]} {notes[:900]}")
            break
    tally.tried += tried[0]
    return tried[0]


def _inside(error: BaseException) -> list[str]:
    """Return the errors of a group, each with its input."""
    parts = getattr(error, "exceptions", ())
    return [f"{type(e).__name__}: {e} {' '.join(getattr(e, '__notes__', []))}" for e in parts]
