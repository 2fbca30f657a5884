"""The wrong lines of ``make mutants`` still have their right lines in the code."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

FILE = Path(__file__).resolve().parents[3] / "scripts" / "mutants.py"


def test_every_mutant_has_its_line() -> None:
    spec = spec_from_file_location("mutants", FILE)
    assert spec is not None and spec.loader is not None
    mutants = module_from_spec(spec)
    sys.modules["mutants"] = mutants
    spec.loader.exec_module(mutants)
    assert len(mutants.MUTANTS) > 50
    assert mutants.stale(mutants.MUTANTS) == []
