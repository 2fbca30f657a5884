"""What the benchmarks say of themselves: a figure that misses its goal says why."""

from __future__ import annotations

import ast
import importlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import benchmarks
from tests.benchmarks import __main__ as bench
from tests.benchmarks import profile
from tests.benchmarks.report import Row, profiles, table, write_json

FOLDER = Path(benchmarks.__file__).parent


def test_a_figure_over_its_budget_says_why_and_no_other(tmp_path: Path) -> None:
    rows = [
        Row("slow", 3.0, "ms", 2.0, "", lambda: "3 ms\n2 ms waiting"),
        Row("fast", 1.0, "ms", 2.0, "", lambda: pytest.fail("it keeps its budget")),
        Row("reported", 9.0, "ms"),
    ]
    rows = [row.explained() for row in rows]
    assert [line.split()[-1] for line in table(rows).splitlines()[1:]] == ["OVER", "ok", "ms"]
    assert profiles(rows) == "why slow is over its budget:\n    3 ms\n    2 ms waiting"
    write_json(rows, tmp_path / "bench.json")
    held = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert [row["why"] for row in held] == ["3 ms\n2 ms waiting", "", ""]
    assert [row["within"] for row in held] == [False, True, None]
    with pytest.raises(ValueError, match="no profile that says why"):
        Row("slow", 3.0, "ms", 2.0).explained()


def test_main_prints_the_profile_below_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    class Module:
        @staticmethod
        def measure() -> list[Row]:
            return [Row("slow", 3.0, "ms", 2.0, "", lambda: "2 ms waiting")]

    monkeypatch.setattr(importlib, "import_module", lambda *_: Module)
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    assert bench.main(["import"]) == 0
    assert capsys.readouterr().out.endswith("\nwhy slow is over its budget:\n    2 ms waiting\n")


@pytest.mark.parametrize("file", sorted(path.name for path in FOLDER.glob("*.py")))
def test_every_row_with_a_budget_has_a_profile(file: str) -> None:
    for node in ast.walk(ast.parse((FOLDER / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Row":
            budget = node.args[3] if len(node.args) > 3 else ast.Constant(None)
            if not (isinstance(budget, ast.Constant) and budget.value is None):
                assert len(node.args) > 5, f"{file}:{node.lineno}"


def test_a_profile_names_the_operation_that_takes_longer() -> None:
    values = torch.rand(400, 400)

    def more() -> Any:
        return (values @ values).sort()

    said = profile.of_torch(more, lambda: values @ values)
    assert any("aten::sort" in line for line in said.splitlines()[1:6])
    assert "over the base" in said
    assert "outside operations" in said.splitlines()[-1]
    assert "over the base" not in profile.of_torch(more)


def test_a_profile_of_memory_names_what_takes_it() -> None:
    held: list[torch.Tensor] = []
    said = profile.of_memory(lambda: held.append(torch.rand(1000, 1000) * 2))
    assert "8 MB aten::empty" in said or "4 MB aten::" in said


def test_profiles_of_python_imports_and_bytes(tmp_path: Path) -> None:
    def busy() -> int:
        return sum(n * n for n in range(200_000))

    assert "test_bench.py" in profile.of_python(busy)
    said = profile.of_imports("import json.decoder").splitlines()
    assert " modules, " in said[0]
    assert len(said) == 6
    assert all(" ms with what it imports: " in line for line in said[1:])
    bundle = tmp_path / "one.js"
    bundle.write_text("const style = `a { color: red; }`;\n" + "let x = 1;\n" * 300)
    said = profile.of_bytes(bundle)
    assert said.splitlines()[1].endswith("KB code")
    assert "begins '`a { color: red; }`'" in said
    assert profile.of_parts("ms", [("a", 1.0), ("b", 2.0)]) == "3 ms\n2 ms b\n1 ms a"


def test_a_missed_ratio_is_explained_by_its_own_two_ways() -> None:
    a, b = torch.rand(64, 64), torch.rand(64, 64)
    why = partial(profile.of_torch, lambda: a @ b, lambda: a)
    assert "aten::mm" in Row("x", 2.0, "x", 1.0, "", why).explained().why
