"""What Python declares is what the page was written for."""

from __future__ import annotations

from pathlib import Path

from mmkn_widgets.widgets.contract import contract, contract_json

COMMITTED = Path(__file__).resolve().parents[2] / "js" / "src" / "core" / "contract.json"


def test_committed_contract_is_python_s() -> None:
    """`python -m mmkn_widgets.widgets.contract > js/src/core/contract.json` writes it anew."""
    assert COMMITTED.read_text(encoding="utf-8") == contract_json()


def test_every_part_s_traits_are_the_explorer_s() -> None:
    widgets = contract()["widgets"]
    for name, traits in widgets.items():
        assert traits.items() <= widgets["Explorer"].items(), name
