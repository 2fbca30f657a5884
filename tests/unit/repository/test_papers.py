"""What ARCHITECTURE.md and CONTRIBUTING.md name is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import mmkn_widgets
from mmkn_widgets import cli

PAPERS = ("ARCHITECTURE.md", "CONTRIBUTING.md")
#: what a paper may quote that is neither a name of ours nor a file
QUOTED = {
    "*",
    "__all__",
    "from .x import name as name",
    "from ..core import NeuronSet",
    "getattr",
    "import mmkn_widgets",
    "Any",
    "noqa",
    "pytest.warns",
    "weights_only=True",
    "with",
}
#: made by `make`, so not in a clone
BUILT = {".venv", "bench.json", "faults.json", "gpu.json", "gpu.md"}


def quoted(text: str) -> list[str]:
    """Return what stands in backticks, each once."""
    return list(dict.fromkeys(re.findall(r"`([^`\n]+)`", re.sub(r"(?s)```.*?```", "", text))))


@cache
def names_of(root: Path) -> frozenset[str]:
    """Return every name that our Python and TypeScript define."""
    found: set[str] = {"mmkn", "model", "store", *mmkn_widgets._ROOMS}
    for path in (root / "mmkn_widgets").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.arg):
                found.add(node.arg)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            elif isinstance(node, ast.Constant) and str(node.value).isidentifier():
                found.add(str(node.value))  # a variable of a Dataset
    for path in (root / "js" / "src").rglob("*.ts"):
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r"\b(?:class|function|const|interface|type) (\w+)", text))
    return frozenset(found)


def missing(root: Path, text: str) -> list[str]:
    """Return what a text names that is not there."""
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    commands = {one.callback.__name__ for one in cli.app.registered_commands}
    gone = []
    for one in quoted(text):
        if one in QUOTED | BUILT:
            continue
        first, _, rest = one.partition(" ")
        if first == "make":
            there = not rest or f"\n{rest.split()[0]}:" in makefile
        elif first == "mmkn":
            there = rest in commands
        elif first == "python":
            there = all((root / word).exists() for word in rest.split() if "/" in word)
        elif "/" in one or re.search(r"\.(py|ts|md|json|toml)$", one):
            there = any((root / base / one).exists() for base in ("", "mmkn_widgets", "js/src"))
        else:
            words = re.split(r"[.,]\s*", one)
            there = all(word in names_of(root) for word in words)
        if not there:
            gone.append(one)
    return gone


@pytest.mark.parametrize("paper", PAPERS)
def test_what_a_paper_names_is_there(root: Path, paper: str) -> None:
    text = (root / paper).read_text(encoding="utf-8")
    if not (root / "mmkn_widgets" / "widgets" / "selection.py").exists():
        text = text.partition("## The widgets")[0]  # they are being built
    assert len(quoted(text)) > 20
    assert missing(root, text) == []


@pytest.mark.parametrize("paper", PAPERS)
def test_every_link_of_a_paper_leads_somewhere(root: Path, paper: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (root / paper).read_text(encoding="utf-8"))
    assert links
    assert [one for one in links if not (root / one).exists()] == []


def test_the_rooms_stand_in_their_order(root: Path) -> None:
    text = (root / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"(?m)^\| `(\w+)/` \|", text)) == mmkn_widgets._ROOMS


def test_what_is_gone_is_found(root: Path) -> None:
    wrong = ["make coffee", "mmkn brew", "attribution/tea.py", "NeuronSoup", "Study.boil"]
    assert missing(root, " ".join(f"`{one}`" for one in wrong)) == wrong
    right = "`make lint` `mmkn find` `studies/run.py` `NeuronSet` `Study.evaluate`"
    assert missing(root, right) == []
