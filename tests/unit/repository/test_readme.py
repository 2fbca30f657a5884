"""What the README shows must run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


def test_the_first_result(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    said = capsys.readouterr().out
    assert "car" not in said.split()
    assert "a picture of" in said


def test_every_link_of_the_readme_leads_somewhere(root: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (root / "README.md").read_text())
    assert links
    assert [one for one in links if "://" not in one and not (root / one).exists()] == []
