"""Rooms import downwards only, and only what is on another room's face; no circle of files.

Read from the syntax tree: an import in a function or under ``TYPE_CHECKING`` counts too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mmkn_widgets

ORDER = (*mmkn_widgets._ROOMS, "cli")
#: conveniences that reach up: model.ablate and model.interventions, store.mmkn.explore()
ALLOWED = {
    ("models/model.py", "interventions"),
    ("activations/accessor.py", "widgets"),
}


@dataclass(frozen=True)
class Import:
    """One imported name: who imports, from which module below the package, and what."""

    file: str
    line: int
    module: tuple[str, ...]
    name: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {'.'.join((*self.module, self.name))}"

    @property
    def room(self) -> str:
        return self.file.split("/")[0].removesuffix(".py")


def imports_of(package: Path) -> Iterator[Import]:
    """Yield every name that a file of the package imports from the package."""
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package).as_posix()
        here = path.relative_to(package).parent.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first, *rest = alias.name.split(".")
                    if first == package.name:
                        yield Import(file, node.lineno, tuple(rest), "")
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                if isinstance(node.args[0], ast.Constant):
                    first, *rest = str(node.args[0].value).split(".")
                    if first == package.name:
                        yield Import(file, node.lineno, tuple(rest), "")
            elif isinstance(node, ast.ImportFrom):
                named = tuple(node.module.split(".")) if node.module else ()
                if node.level:
                    base = (*here[: len(here) + 1 - node.level], *named)
                elif named[:1] == (package.name,):
                    base = named[1:]
                else:
                    continue
                for alias in node.names:
                    yield Import(file, node.lineno, base, alias.name)


def _file_of(package: Path, module: Sequence[str]) -> str | None:
    """Return the file of a module, relative to the package."""
    ends = ("/".join(module) + ".py", "/".join((*module, "__init__.py")))
    return next((file for file in ends if (package / file).is_file()), None)


Faces = dict[tuple[str, str], Import]


def _source(package: Path, faces: Faces, one: Import) -> str | None:
    """Return the file that a name comes from, through the faces that hand it on."""
    file = _file_of(package, one.module)
    if handed_on := faces.get((str(file), one.name)):
        return _source(package, faces, handed_on)
    return (_file_of(package, (*one.module, one.name)) if one.name else None) or file


def circle(package: Path, allowed: set[tuple[str, str]] = ALLOWED) -> list[str]:
    """Return the files of one circle of imports, empty if there is none."""
    found = [one for one in imports_of(package) if one.file != "__init__.py"]
    faces = _faces(found)
    graph: dict[str, set[str]] = {}
    for one in found:
        source = _source(package, faces, one)
        if source not in (None, one.file) and (one.file, "".join(one.module[:1])) not in allowed:
            graph.setdefault(one.file, set()).add(str(source))
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _faces(found: Sequence[Import]) -> Faces:
    return {(one.file, one.name): one for one in found if one.file.endswith("/__init__.py")}


def faults(
    package: Path, order: Sequence[str] = ORDER, allowed: set[tuple[str, str]] = ALLOWED
) -> list[str]:
    """Return what is wrong with the imports of a package, one line each."""
    said = []
    # the package's own face may name every room, and nothing may ask it but for the version
    found = [one for one in imports_of(package) if one.file != "__init__.py"]
    faces = _faces(found)
    for one in found:
        room, target = one.room, one.module or (one.name,)
        if room not in order:
            said.append(f"{one.file} belongs to no room")
        elif target[0] not in order:
            if target[0] != "__version__":
                said.append(f"{one}: the package's face is above every room")
        elif target[0] != room:
            if order.index(target[0]) > order.index(room) and (one.file, target[0]) not in allowed:
                said.append(f"{one}: {target[0]} is above {room}")
            if len(target) > 1 or _is_file(package, faces, one):
                said.append(f"{one}: past the face of {target[0]}")
            if one.name.startswith("_"):
                said.append(f"{one}: a private name of {target[0]}")
    loop = circle(package, allowed)
    return [*said, *([" > ".join(loop) + ": a circle"] if loop else [])]


def _is_file(package: Path, faces: Faces, one: Import) -> bool:
    """Return whether what is imported is a file behind a face, not a name on it."""
    face = _file_of(package, one.module)
    named = (str(face), one.name) in faces
    return bool(one.module and one.name) and not named and _source(package, faces, one) != face


def test_the_package_keeps_its_layers(root: Path) -> None:
    assert faults(root / "mmkn_widgets") == []


def test_both_exceptions_are_still_needed(root: Path) -> None:
    used = {(one.file, *one.module[:1]) for one in imports_of(root / "mmkn_widgets")}
    assert used >= ALLOWED


def test_every_folder_of_python_is_a_room(root: Path) -> None:
    package = root / "mmkn_widgets"
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    assert folders == set(ORDER)


HOUSE = {
    "__init__.py": "from .high import tower as tower",
    "low/__init__.py": "from .ground import _secret as _secret, stone as stone",
    "low/ground.py": "stone = 1",
    "high/__init__.py": "from .tower import tower as tower",
    "high/tower.py": "from ..low import stone\n\ntower = stone",
}


def _build(folder: Path, changed: dict[str, str]) -> Path:
    for name, text in (HOUSE | changed).items():
        path = folder / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "house"


LAZY = "def f():\n    from ..high import tower"
TYPED = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..high import tower"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"low/ground.py": "from ..high import tower"}, "high is above low"),
        ({"low/ground.py": LAZY}, "high is above low"),
        ({"low/ground.py": TYPED}, "high is above low"),
        ({"low/ground.py": "from house.high import tower"}, "high is above low"),
        ({"low/ground.py": "import house.high.tower"}, "high is above low"),
        ({"low/ground.py": "from .. import high"}, "high is above low"),
        ({"low/ground.py": "importlib.import_module('house.high')"}, "high is above low"),
        ({"low/ground.py": "from .. import tower"}, "the package's face is above every room"),
        ({"high/tower.py": "from ..low import _secret"}, "a private name of low"),
        ({"high/tower.py": "from ..low.ground import stone"}, "past the face of low"),
        ({"high/tower.py": "from ..low import ground"}, "past the face of low"),
        ({"high/tower.py": "import house.low.ground"}, "past the face of low"),
        (
            {"low/ground.py": "from .sand import x", "low/sand.py": "from .ground import y"},
            "circle",
        ),
        ({"low/ground.py": "from .sand import x", "low/sand.py": "from . import stone"}, "circle"),
        ({"low/ground.py": "from . import sand", "low/sand.py": LAZY}, "high is above low"),
        ({"attic/__init__.py": "from ..low import stone"}, "belongs to no room"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, changed: dict[str, str], said: str) -> None:
    found = faults(_build(tmp_path, changed), order=("low", "high"))
    assert any(said in one for one in found) if said else found == []


def test_only_the_named_exception_is_let_through(tmp_path: Path) -> None:
    house = _build(tmp_path, {"low/ground.py": LAZY, "low/sand.py": LAZY})
    found = faults(house, ("low", "high"), {("low/ground.py", "high")})
    assert [one for one in found if "ground.py" in one] == []
    assert [one for one in found if "sand.py:2 imports high.tower: high is above low" in one]
