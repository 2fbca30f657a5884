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
        if name != "ConceptPair":
            assert traits.items() <= widgets["Explorer"].items(), name


def test_both_sides_of_a_pair_have_the_same_traits() -> None:
    """Each is the Explorer's trait of the same name, of the same kind."""
    widgets = contract()["widgets"]
    pair, whole = widgets["ConceptPair"], widgets["Explorer"]
    sides = {
        side: {name[2:]: kind for name, kind in pair.items() if name.startswith(f"{side}_")}
        for side in ("a", "b")
    }
    assert sides["a"] == sides["b"]
    assert sides["a"].pop("caption_random") == "text"
    assert sides["a"].items() <= whole.items()
    shared = {name: kind for name, kind in pair.items() if name[:2] not in ("a_", "b_")}
    assert {"part": "text", "part_effects": "json"}.items() <= shared.items()
    assert shared.keys() - whole.keys() == {"part", "part_effects"}
